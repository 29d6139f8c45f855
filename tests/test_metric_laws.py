"""Laws of every metric, found by name: at its best with itself, of no order and no batch size, worse as samples are."""

import math
from itertools import pairwise

import pytest
import torch

from aurify.evaluate import interval, kernels, metric
from aurify.evaluate.embedders import selfsup
from aurify.evaluate.embedders.selfsup import SelfSupervised
from aurify.evaluate.local import Local
from aurify.evaluate.metric import Blocks
from aurify.evaluate.samples import Samples
from faults import F, draw, pictures, seen, side, spoiled, spoiled_pictures, spoiled_texts

NAMES = metric.names()
CLUSTERED = ("mauve",)  # keeps the clusters of all when a block is left out
OF_VECTORS = ("features", "probabilities", "asked")


def of(*kinds):
    return [name for name in NAMES if metric.load(name).of in kinds]


def looked(name, samples):
    return seen(name, samples) if metric.load(name).of in OF_VECTORS else samples


def sides(name, n=160, m=160):
    kind = metric.load(name).of
    return looked(name, side(kind, n, 0)), looked(name, side(kind, m, 1))


def permuted(samples, seed=0):
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))
    return samples[order] if isinstance(samples, torch.Tensor) else [samples[i] for i in order.tolist()]


def test_every_kind_of_metric_is_found():
    assert {metric.load(name).of for name in NAMES} == {*OF_VECTORS, "texts", "likelihood"}
    assert all(metric.load(name).sees for name in NAMES if metric.load(name).of != "likelihood")


BEST = {
    "frechet": 0, "precision": 1, "recall": 1, "density": 1.2, "coverage": 1, "diversity": 1, "rank": 1, "fld": 0,
    "mauve": 1, "perceptual": 0, "characters": 0, "lengths": 0, "distinct_1": 1, "distinct_2": 1, "distinct_3": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in NAMES if metric.load(name).of != "likelihood"])
def test_a_set_with_itself_is_at_its_best(name):
    """Density counts each sample's own ball: (k + 1) / k. U-statistics leave pairs of a sample and itself out on one
    side only and go below zero. What looks at the made samples alone is then what real samples have."""
    one, (real, _) = metric.load(name)(), sides(name)
    found = one.value(real, real)
    if name in BEST:
        assert found == pytest.approx(BEST[name], abs=1e-7)
    elif name in ("kid", "mmd"):
        assert found <= 0
    else:
        other, _ = sides(name, 150)
        assert found == one.value(permuted(other, 3), real)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_samples_does_not_matter(name):
    one, (real, made) = metric.load(name)(), sides(name, 160, 140)
    assert one.value(permuted(real, 1), permuted(made, 2)) == pytest.approx(one.value(real, made), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_how_many_are_looked_at_together_does_not_matter(name, monkeypatch):
    """Pairs of samples are worked through in pieces of any size."""
    one, (real, made) = metric.load(name)(), sides(name, 160, 140)
    blocks = Blocks(interval.block_of(160, 0), interval.block_of(140, 1))
    whole = one.value(real, made), one.without(real, made, blocks)
    monkeypatch.setattr(kernels, "CELLS", 160 * 7)
    if isinstance(real, torch.Tensor):
        real, made = real.clone(), made.clone()  # of which nothing is remembered
    assert one.value(real, made) == pytest.approx(whole[0], rel=1e-9, abs=1e-12)
    torch.testing.assert_close(one.without(real, made, blocks), whole[1], rtol=1e-9, atol=1e-12)


def badness(name, real, made, other):
    """How far from the best there is; `other` are real samples in the place of the spoiled ones."""
    one = metric.load(name)()
    found = one.value(real, made)
    return {"lower": found, "higher": -found, "real": abs(found - one.value(real, other))}[one.better]


@pytest.mark.parametrize(("name", "fault"), [(n, f) for n in of(*OF_VECTORS) for f in metric.load(n).sees])
def test_a_metric_of_vectors_grows_worse_with_each_failure_it_claims_to_see(name, fault):
    real, made, other = draw(600, 1), draw(600, 2), draw(600, 999)
    degrees = (0, 0.5, 1, 2) if fault == "noise" else (0, 1, 2)
    sets = [spoiled(fault, made, degree, 3) for degree in degrees]
    found = [badness(name, seen(name, real), seen(name, one, made), seen(name, other)) for one in sets]
    assert all(b > a for a, b in pairwise(found)), found


def grids(x):
    return Samples([None] * len(x), x, torch.full((len(x),), -1), tuple(map(str, range(len(x)))))


@pytest.fixture(scope="module")
def seen_pictures():
    """Features of real pictures, of fresh ones in their place twice, and of spoiled ones by fault and degree."""
    one = SelfSupervised()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selfsup, "STEPS", 60)
        list(one.fit(grids(pictures(400, 0))))
    fresh = pictures(300, 2)
    sets = {"real": pictures(300, 1), "fresh": fresh, "other": pictures(300, 3)}
    sets |= {
        (fault, degree): spoiled_pictures(fault, fresh, degree) for fault in ("noise", "blur") for degree in (1, 2)
    }
    return {key: one.embed(grids(x)).double() for key, x in sets.items()}


@pytest.mark.parametrize(
    ("name", "fault"), [(n, f) for n in of("features") for f in metric.load(n).sees if f in ("noise", "blur")]
)
def test_spoiled_pictures_rank_below_the_floor(name, fault, seen_pictures):
    """Small pictures seen through an embedder, its features and not the pictures being compared."""
    sets = seen_pictures
    floor, little, much = (
        badness(name, sets["real"], sets[key], sets["other"]) for key in ("fresh", (fault, 1), (fault, 2))
    )
    assert floor < little < much, (floor, little, much)


@pytest.mark.parametrize(("name", "fault"), [(n, f) for n in of("texts") for f in metric.load(n).sees])
def test_a_metric_of_texts_grows_worse_with_each_failure_it_claims_to_see(name, fault):
    real, made = side("texts", 300, 0), side("texts", 300, 1)
    shares = {"noise": (0, 0.02, 0.06, 0.2), "repeats": (0, 0.1, 0.3, 0.5)}.get(fault, (0, 0.2, 0.5, 0.9))
    found = [badness(name, real, spoiled_texts(fault, made, share), made) for share in shares]
    assert all(b > a for a, b in pairwise(found)), found


@pytest.mark.parametrize("name", of("likelihood"))
def test_a_likelihood_grows_worse_with_each_nat(name):
    rows = side("likelihood", 60, 0)
    found = [metric.load(name)().value(None, rows * torch.tensor([more, 1, 1])) for more in (1, 1.1, 1.5, 3)]
    assert all(b > a for a, b in pairwise(found)), found


@pytest.mark.parametrize("sizes", [(240, 240), (150, 210)])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in CLUSTERED])
def test_leaving_out_a_block_is_the_figure_of_the_others(name, sizes):
    one, (real, made) = metric.load(name)(), sides(name, *sizes)
    blocks = Blocks(interval.block_of(sizes[0], 0), interval.block_of(sizes[1], 1))
    fast, slow = one.without(real, made, blocks), metric.Metric.without(one, real, made, blocks)
    assert len(fast) == interval.BLOCKS
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)
    assert float(slow.std()) > 0 or one.better == "real"
    pairs = metric.Metric.without(one, real, made, Blocks(blocks.real // 2, blocks.made // 2))
    torch.testing.assert_close(one.without_pairs(real, made, blocks), pairs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [n for n in NAMES if issubclass(metric.load(n), Local)])
def test_the_figures_of_selections_are_those_of_the_selected(name):
    real, made = draw(150, 1), draw(130, 2) * 1.1
    left, right = torch.rand(150, 6) < 0.5, torch.rand(130, 6) < 0.5
    one = metric.load(name)()
    truth = [one.value(real[left[:, c]], made[right[:, c]]) for c in range(6)]
    assert one.of_selections(real, made, left, right).tolist() == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_fewest_samples_a_metric_states_are_enough(name):
    n = max(metric.load(name).smallest, F + 1 if name == "frechet" else 0)
    found = interval.measure(metric.load(name)(), *sides(name, n, n))
    assert all(map(math.isfinite, (found.value, *found.interval)))
