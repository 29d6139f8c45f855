"""Figures of text: against brute force, closed forms and planted faults."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch

from aurify.evaluate import interval, metric
from aurify.evaluate.metrics.self_bleu import nearest
from aurify.evaluate.variety import rarefied
from aurify.evaluate.words import WORD, Words
from prose import prose, shuffled

TEXTS = [name for name in metric.names() if metric.load(name).of == "texts"]
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
    distinct = metric.load("distinct_2")()
    real = ["a b c d e", "f g h i j"]  # eight pairs, all different
    assert distinct.value(real, ["v w x y z", "q r s t u"]) == pytest.approx(1)
    assert distinct.value(real, ["a b c d e", "a b c d e"]) == pytest.approx(0.5)
    assert distinct.value(real, ["v w x"]) == pytest.approx(1)  # less text is no less varied
    assert math.isnan(distinct.value(real, ["alone"]))
    one, three = metric.load("distinct_1")(), metric.load("distinct_3")()
    assert one.value(["a b c d"], ["a b a b"]) == pytest.approx(2 / 4)
    assert three.value(["a b c d e f"], ["a b c a b c"]) == pytest.approx(3 / 4)


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


# Faults


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
