"""The n-gram baseline against its equations written out, and against what it was fitted on."""

import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from aurify.errors import UserError
from aurify.evaluate.ngram import CODE_POINTS, Ngram
from aurify.evaluate.words import WORD
from prose import prose

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
