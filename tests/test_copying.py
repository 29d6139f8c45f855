"""The copying alarm against planted truths, and its parts against brute force."""

import json
from functools import cache
from itertools import combinations
from math import comb

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from aurify.errors import UserError
from aurify.evaluate import binomial, controls, nearest, three_sample
from aurify.evaluate.alarm import LEVEL, Unit, alarm, apart
from aurify.evaluate.copying import copying, looking
from aurify.evaluate.nearest_pictures import Pictures
from aurify.evaluate.nearest_texts import LADDER, Texts, Windows, plain
from aurify.evaluate.samples import Samples
from aurify.evaluate.shift import shifted, turned

SYLLABLES = [a + b for a in "b d f g k l m n r s t v".split() for b in "a e i o u".split()]


def draw(rng, side=20):
    """A grey picture of three strokes and an ellipse, drawn large and made small."""
    picture = Image.new("L", (4 * side, 4 * side))
    pen = ImageDraw.Draw(picture)
    for _ in range(3):
        pen.line(
            [tuple(rng.integers(8, 72, 2).tolist()) for _ in range(2)],
            fill=int(rng.integers(120, 255)),
            width=int(rng.integers(4, 12)),
        )
    (left, top), (w, h) = rng.integers(8, 40, 2).tolist(), rng.integers(10, 32, 2).tolist()
    pen.ellipse((left, top, left + w, top + h), outline=int(rng.integers(120, 255)), width=5)
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX), np.float32) / 127.5 - 1


def grids(x):
    return Samples([None] * len(x), x, torch.full((len(x),), -1), tuple(str(i) for i in range(len(x))))


def texts(strings):
    return Samples(list(strings), None, torch.full((len(strings),), -1), tuple(str(i) for i in range(len(strings))))


@cache
def drawn():
    """1,900 pictures."""
    rng = np.random.default_rng(7)
    return torch.from_numpy(np.stack([draw(rng) for _ in range(1900)]))[:, None]


@cache
def written():
    """2,400 texts of a grammar over made-up words, with much in common and much entropy."""
    rng = np.random.default_rng(3)
    words = ["".join(rng.choice(SYLLABLES, rng.integers(1, 4))) for _ in range(400)]
    weights = 1 / np.arange(1, 401)
    weights /= weights.sum()
    verbs = words[5:400:7]

    def sentence():
        subject, thing = (" ".join(rng.choice(words, rng.integers(1, 4), p=weights)) for _ in range(2))
        return f"The {subject} {rng.choice(verbs)}s the {thing}."

    return [" ".join(sentence() for _ in range(rng.integers(2, 7))) for _ in range(2400)]


def sets_of(kind):
    """Training samples, held-out ones and fresh ones."""
    if kind == "pictures":
        x = drawn()
        return grids(x[:700]), grids(x[700:1300]), grids(x[1300:])
    t = written()
    return texts(t[:1200]), texts(t[1200:1800]), texts(t[1800:])


@cache
def found(kind, n):
    """The alarm on 500 samples, n of which are copies, edited in every way in turn."""
    train, held, fresh = sets_of(kind)
    edited = [made for kind, made in controls.planted(train, seed=5).items() if kind not in controls.UNPROMISED]
    copies = [edited[i % len(edited)].take([i // len(edited)]) for i in range(n)]
    parts = [*copies, fresh.take(range(500 - n))]
    if kind == "pictures":
        return copying(grids(torch.cat([part.x for part in parts])), train, held, seed=1)
    return copying(texts([t for part in parts for t in part.natives]), train, held, seed=1)


@pytest.mark.parametrize("kind", ["pictures", "texts"])
def test_a_copycat_rings(kind):
    train, held, _ = sets_of(kind)
    result = copying(train.take(range(200)), train.take(range(600)), held.take(range(300)))
    assert result.rings and result.share > 0.99
    assert result.sentence is not None and "200 of 200" in result.sentence
    assert (result.nearest == torch.arange(200)).float().mean() > 0.99


@pytest.mark.parametrize("kind", ["pictures", "texts"])
def test_half_a_copycat_rings(kind):
    result = found(kind, 250)
    assert result.rings and 0.45 < result.share < 0.55


@pytest.mark.parametrize("kind", ["pictures", "texts"])
def test_one_copy_in_a_hundred_rings_and_stands_first_among_the_closest_pairs(kind):
    result = found(kind, 5)
    assert result.rings
    assert sum(i < 5 for i, _, _ in result.closest[:8]) >= 4
    suspicions = [s for _, _, s in result.closest]
    assert suspicions == sorted(suspicions, reverse=True)


@pytest.mark.parametrize("kind", ["pictures", "texts"])
def test_planted_copies_of_every_kind_are_found_and_fresh_real_samples_are_not(kind):
    result = found(kind, 5).controls
    kinds = {
        "pictures": {"exact", "noisy", "shifted", "mirrored", "recompressed"},
        "texts": {"exact", "re-cased", "re-spaced", "spliced"},
    }
    assert set(result.found) == kinds[kind] | (set(controls.UNPROMISED) if kind == "pictures" else set())
    promised = {found for name, found in result.found.items() if name not in controls.UNPROMISED}
    assert all(n == 100 and k >= 95 for k, n in promised), result.found
    assert not result.missed and not result.blind
    flagged, n = result.fresh
    assert flagged <= 0.02 * n and not result.fresh_rings


def coded(samples):
    """Near copies: pictures through JPEG, texts in capitals."""
    if samples.texts is not None:
        return texts([text.upper() for text in samples.texts])
    return grids(torch.stack([controls.recompressed(one) for one in samples.x]))


@pytest.mark.parametrize("kind", ["pictures", "texts"])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_held_out_samples_that_are_near_copies_of_training_samples_blind_the_alarm(kind, share):
    train, held, fresh = (s.take(range(n)) for s, n in zip(sets_of(kind), (600, 300, 100), strict=True))
    copies, others = train.take(range(round(300 * share))), held.take(range(round(300 * (1 - share))))
    parts = [coded(copies), others] if share else [others]
    mixed = (
        grids(torch.cat([p.x for p in parts])) if kind == "pictures" else texts([t for p in parts for t in p.natives])
    )
    found = copying(fresh, train, mixed)
    assert (found.blind is not None) == (share > 0)
    if share:
        likest, known = found.held_closest[0]
        assert f"{likest} is much like {known}" in found.blind and likest == known  # of equal names: the copy


def test_a_shift_beyond_the_search_is_planted_too_and_what_is_found_of_it_is_told():
    planted = controls.planted(sets_of("pictures")[0], seed=0)
    far, near, plain = planted[controls.FAR], planted["shifted"], planted["exact"].x
    for made, places in ((near, (1, 2)), (far, (3, 4))):
        by = {(abs(a), abs(b)) for one, x in zip(made.x, plain, strict=True) for a, b in [displacement(one, x)]}
        assert {a for pair in by for a in pair} == set(places)
    assert all(kind in found("pictures", 5).controls.sentences[0] for kind in controls.UNPROMISED)


def test_a_turned_picture_comes_back_by_quarters_and_an_enlarged_one_keeps_its_middle():
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(turned(x, 90, 1), x.rot90(dims=(2, 3)))
    torch.testing.assert_close(turned(turned(x, 90, 1), -90, 1), x)
    wide = turned(x, 0, 2)  # half as much of it: places 2 to 5 become two each
    torch.testing.assert_close(wide.mean((2, 3)), x[..., 2:6, 2:6].mean((2, 3)), atol=0.05, rtol=0)
    long = torch.zeros(1, 1, 9, 17)
    long[..., 4, :] = 1
    upright = turned(long, 90, 1)  # places are as wide as high
    assert upright[..., :, 8].eq(1).all() and upright.sum() == pytest.approx(9, abs=1e-3)


def test_a_long_search_tells_how_far_it_is():
    train, held, fresh = (s.take(range(150)) for s in sets_of("pictures"))
    *shares, result = looking(fresh, train, held)
    assert shares == sorted(shares) and len(set(shares)) > 5 and 0 < shares[0] < shares[-1] <= 1
    assert result.scores.equal(copying(fresh, train, held).scores)


def displacement(moved, x):
    """By how many places, down and to the right."""
    tried = [(a, b) for a in range(-5, 6) for b in range(-5, 6)]
    return min(tried, key=lambda by: float((shifted(x[None], by)[0] - moved).abs().sum()))


@pytest.mark.parametrize("n", [20, 50, 600])
@pytest.mark.parametrize("kind", ["pictures", "texts"])
def test_fresh_real_samples_hardly_ever_ring(kind, n):
    """200 deals of fresh samples into judged and held-out: by construction about one in a hundred may ring."""
    train, held, fresh = sets_of(kind)
    space = Pictures(train) if kind == "pictures" else Texts(train, held)
    columns = torch.cat((space.look(held).columns, space.look(fresh).columns))
    rings = 0
    for seed in range(200):
        order = torch.randperm(len(columns), generator=torch.Generator().manual_seed(seed))
        theirs, ours = columns[order[:n]], columns[order[n : n + 500]]
        unit = Unit.of(theirs, columns.shape[1])
        rings += alarm(unit.score(ours), apart(theirs, columns.shape[1])).rings
    assert rings <= 6


@pytest.mark.parametrize("n", [2, 3, 20, 201])
def test_each_held_out_sample_is_scored_in_the_unit_of_the_others(n):
    columns = torch.empty(n, 3).exponential_(generator=torch.Generator().manual_seed(n))
    for i, score in enumerate(apart(columns, 2)):
        others = torch.cat((columns[:i], columns[i + 1 :]))
        assert score == Unit.of(others, 2).score(columns[i : i + 1])


def test_of_three_ways_to_look_none_makes_few_held_out_samples_ring():
    """In a unit of their own, 50 held-out samples would ring in one of eight sets of fresh ones."""
    generator, rings = torch.Generator().manual_seed(0), 0
    for _ in range(300):
        x = torch.empty(550, 3).exponential_(generator=generator)
        rings += alarm(Unit.of(x[:50], 2).score(x[50:]), apart(x[:50], 2)).rings
    assert rings <= 8


def test_what_is_found_fits_in_json():
    told = found("texts", 5).to_json()
    assert set(told) == {"title", "sentences", "numbers"}
    assert json.loads(json.dumps(told, allow_nan=False))["numbers"]["rings"] is True


def test_copies_are_found_among_features_where_the_native_space_shows_nothing():
    """Samples whose features are a training sample's ring, whatever their pictures look like."""
    train, held, fresh = (s.take(range(200)) for s in sets_of("pictures"))
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(len(s), 8, generator=generator) for s in (fresh, train, held)]
    assert not copying(fresh, train, held, tuple(features)).rings
    features[0][:40] = features[1][100:140] + 0.01 * torch.randn(40, 8, generator=generator)
    result = copying(fresh, train, held, tuple(features))
    assert result.rings and (result.nearest[:40] == torch.arange(100, 140)).all()


def test_features_give_the_published_figures_of_copies_and_of_fresh_samples():
    generator = torch.Generator().manual_seed(1)
    train, held, fresh = (torch.randn(n, 4, generator=generator) for n in (800, 400, 400))
    blank = [grids(torch.zeros(n, 1, 4, 4)) for n in (400, 800, 400)]
    copies = train[:400] + 0.01 * torch.randn(400, 4, generator=generator)
    worst = copying(*blank, (copies, train, held)).published
    good = copying(*blank, (fresh, train, held)).published
    assert worst.c_t < -15 and worst.c_t_cells < -5 and worst.c_t_p < 1e-9 and worst.authenticity < 0.05
    assert abs(good.c_t) < 3 and abs(good.c_t_cells) < 3 and good.c_t_p > 0.001
    assert abs(good.authenticity - good.authenticity_held) < 0.1


def test_c_t_is_strongly_negative_for_copies_and_near_zero_for_fresh_samples():
    assert found("pictures", 250).published.c_t < -10
    assert abs(found("pictures", 5).published.c_t) < 3.5


def test_without_held_out_samples_the_mend_is_named():
    train, held, fresh = sets_of("texts")
    with pytest.raises(UserError, match="held-out"):
        copying(fresh, train, held.take([]))


def test_few_held_out_samples_give_a_coarse_limit_and_say_so():
    train, held, fresh = sets_of("pictures")
    result = copying(fresh.take(range(30)), train.take(range(60)), held.take(range(12)))
    assert result.alarm.rate == pytest.approx(1 / 13)
    assert any("12 held-out samples" in s for s in result.sentences)


@pytest.mark.parametrize("shape", [(2,), (1, 64), (3, 12, 9), (1, 8, 8, 8)])
def test_grids_with_any_number_of_axes_are_searched(shape):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(260, *shape, generator=generator)
    train, fresh = grids(x[:200]), grids(x[200:])
    space = Pictures(train)
    copies = space.look(train.take(range(20)))
    assert (copies.nearest == torch.arange(20)).all() and copies.columns.min() > 3
    assert space.look(fresh).columns.median() < 2.5


def test_shifted_and_mirrored_copies_are_nearest_to_their_source():
    train, *_ = sets_of("pictures")
    space = Pictures(train)
    x = train.x[:50]
    moved = torch.roll(x, (2, -1), (-2, -1)).flip(-1)  # the edges of these pictures are empty
    looked = space.look(grids(moved))
    assert (looked.nearest == torch.arange(50)).all()
    assert looked.distance.median() < 0.01 and looked.distance.max() < 0.15


def test_large_pictures_are_compared_at_thirty_two_places_a_side():
    big = torch.nn.functional.interpolate(drawn()[:300], size=(90, 70), mode="bilinear")
    space = Pictures(grids(big[:200]))
    assert space.size == (32, 32)
    looked = space.look(grids(big[:10] * 0.8 + 0.1))
    assert (looked.nearest == torch.arange(10)).all()


def test_the_longest_run_is_that_of_brute_force():
    train, held, fresh = sets_of("texts")
    train, fresh = train.take(range(40)), fresh.take(range(25))
    cut = texts([t[:80] for t in fresh.natives] + ["", "zzz"])
    space = Texts(train, held.take(range(10)))
    runs, place = space.longest(Windows(list(cut.natives), between=1))
    whole = [plain(t) for t in train.natives]
    for text, run, at in zip(map(plain, cut.natives), runs, place, strict=True):
        fits = [n for n in LADDER if any(text[i : i + n] in w for i in range(len(text) - n + 1) for w in whole)]
        assert run == max(fits, default=0)
        document = int(np.searchsorted(space.train.starts, at, side="right")) - 1
        assert run == 0 or any(text[i : i + run] in whole[document] for i in range(len(text) - run + 1))


def test_the_share_covered_is_that_of_brute_force():
    train, held, fresh = sets_of("texts")
    train, fresh = train.take(range(40)), fresh.take(range(25))
    space = Texts(train, held.take(range(30)))
    covered = space.covered(Windows(list(fresh.natives), between=1))
    n, whole = space.usual_run, [plain(t) for t in train.natives]
    for text, share in zip(map(plain, fresh.natives), covered, strict=True):
        inside = np.zeros(len(text), bool)
        for i in range(len(text) - n + 1):
            if any(text[i : i + n] in w for w in whole):
                inside[i : i + n] = True
        assert share == pytest.approx(inside.mean())


def test_binomial_tails_and_intervals_are_those_of_the_definition():
    for n, p in ((7, 0.3), (40, 0.01)):
        for k in range(n + 1):
            exact = sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
            assert binomial.at_least(k, n, p) == pytest.approx(exact, abs=1e-12)
    low, high = binomial.interval(3, 50)
    assert binomial.at_least(3, 50, low) == pytest.approx(0.025)
    assert 1 - binomial.at_least(4, 50, high) == pytest.approx(0.025)
    assert binomial.interval(0, 10)[0] == 0 and binomial.interval(10, 10)[1] == 1


def test_the_law_of_new_samples_beyond_old_ones_is_that_of_all_orders():
    """Every way to deal ranks 0 ... m + n - 1 is equally likely."""
    m, n, k = 4, 5, 2
    deals = list(combinations(range(m + n), m))
    for j in range(m + 1):
        hits = 0
        for new in deals:
            old = sorted(set(range(m + n)) - set(new), reverse=True)
            hits += sum(r > old[k - 1] for r in new) >= j
        assert binomial.beyond(j, m, k, n) == pytest.approx(hits / len(deals))


def test_the_far_rule_keeps_its_level_on_exponential_tails_and_sees_one_outlier():
    generator = torch.Generator().manual_seed(0)
    rings = 0
    for _ in range(400):
        s = torch.empty(900).exponential_(generator=generator)
        rings += alarm(s[:500], s[500:]).rings
    assert rings <= 400 * (2 * LEVEL + 0.002) + 6
    s[0] = 40.0
    assert alarm(s[:500], s[500:]).far == 1


def test_mann_whitney_is_the_count_of_pairs():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randint(0, 30, (n,), generator=generator).double() for n in (40, 60))
    u = ((a[:, None] > b).double() + (a[:, None] == b).double() / 2).sum()
    counts = torch.cat((a, b)).unique(return_counts=True)[1].double()
    variance = 40 * 60 / 12 * (101 - (counts**3 - counts).sum() / (100 * 99))
    assert three_sample.z(a, b) == pytest.approx(float((u - 1200) / variance.sqrt()))


def test_neighbours_are_those_of_all_distances():
    generator = torch.Generator().manual_seed(0)
    x, train = torch.randn(30, 6, generator=generator), torch.randn(200, 6, generator=generator)
    distance, index = nearest.neighbours(x, train, 5)
    exact = torch.cdist(x.double(), train.double()).topk(5, largest=False)
    assert (index == exact.indices).all()
    torch.testing.assert_close(distance, exact.values, rtol=1e-5, atol=1e-6)
