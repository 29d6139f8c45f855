"""Laws of embedders, over every one found by name, and the exactness of the one that comes with weights."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

import backbones
from aurify.errors import UserError
from aurify.evaluate import embedder
from aurify.evaluate.embedders import classifier, raw
from aurify.evaluate.samples import Samples
from aurify.evaluate.torch_file import tensors

WORDS = "the river runs under an old bridge while wind walks over hills and we sleep until rain wakes us".split()


def pictures(n, labels, channels, side, seed=0):
    """A bright block whose place is the label, with noise."""
    rng = np.random.default_rng(seed)
    found = torch.arange(n) % labels
    x = torch.from_numpy(rng.normal(-0.6, 0.2, (n, channels, side, side)).astype(np.float32))
    for i, label in enumerate(found.tolist()):
        at = label * side // labels
        x[i, :, at : at + side // labels] += 1.0
    return Samples([None] * n, x.clamp(-1, 1), found, tuple(map(str, range(n))))


def texts(n, seed=0):
    rng = np.random.default_rng(seed)
    made = [" ".join(rng.choice(WORDS, rng.integers(20, 60))) + "." for _ in range(n)]
    return Samples(made, None, torch.full((n,), -1), tuple(map(str, range(n))))


def unlabelled(samples):
    return Samples(samples.natives, samples.x, torch.full((len(samples),), -1), samples.names)


SETS = {
    "labelled pictures": pictures(240, 2, 1, 8),
    "pictures without labels": unlabelled(pictures(240, 2, 1, 8)),
    "colour pictures": pictures(48, 2, 3, 32),
    "rows": Samples([None] * 60, torch.randn(60, 5), torch.full((60,), -1), tuple(map(str, range(60)))),
    "texts": texts(240),
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Every (embedder, set) that suit each other, fitted once; those that want a user's weights have small ones."""
    made, home = {}, tmp_path_factory.mktemp("home")
    backbones.give(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AURIFY_HOME", str(home))
        for name in embedder.names():
            kind = embedder.load(name)
            for told, samples in SETS.items():
                if kind.suits(samples):
                    one = kind()
                    shares = list(one.fit(samples))
                    assert shares == sorted(shares) and shares[-1] == 1
                    made[name, told] = one, samples
        yield made


def test_every_set_has_an_embedder_and_every_installed_embedder_a_set(fitted):
    assert {told for _, told in fitted} == set(SETS)
    missing = set(embedder.names()) - {name for name, _ in fitted}
    needs = {"inception": backbones.TORCH_FIDELITY, "clip": backbones.TRANSFORMERS}
    assert missing <= {"minilm", "efficientnet"} | {name for name, there in needs.items() if not there}


def test_features_do_not_depend_on_batch_or_order(fitted):
    for (name, _), (one, samples) in fitted.items():
        some = samples.take(range(20))
        whole = one.embed(some)
        assert whole.dtype == torch.float32 and len(whole) == 20 and whole.isfinite().all(), name
        alone = torch.cat([one.embed(some.take([i])) for i in (3, 17)])
        torch.testing.assert_close(alone, whole[[3, 17]], rtol=1e-4, atol=1e-5)
        turned = one.embed(some.take(range(19, -1, -1))).flip(0)
        torch.testing.assert_close(turned, whole, rtol=1e-4, atol=1e-5)


def test_equal_training_gives_equal_weights_and_what_is_kept_comes_back(fitted):
    for (name, told), (one, samples) in fitted.items():
        if told == "colour pictures" and one.state():
            continue  # the same learning, slower
        again = embedder.load(name)()
        list(again.fit(samples))
        assert one.weights and again.weights == one.weights, name
        if one.state():
            back = embedder.load(name)()
            back.restore({k: v.clone() for k, v in one.state().items()}, samples)
            assert back.weights == one.weights
            assert torch.equal(back.embed(samples.take([5])), one.embed(samples.take([5])))


def test_learned_features_tell_labels_apart_that_they_were_not_told(fitted):
    """Nearest neighbours share the place of the block, which self-supervision never heard of."""
    for name, told in (("selfsup", "pictures without labels"), ("classifier", "labelled pictures")):
        one, samples = fitted[name, told]
        fresh = pictures(80, 2, 1, 8, seed=1)
        distances = torch.cdist(one.embed(fresh), one.embed(samples))
        truth = pictures(240, 2, 1, 8).labels
        assert (truth[distances.argmin(1)] == fresh.labels).double().mean() > 0.9, name


def test_probabilities_are_those_of_the_labels(fitted):
    one, samples = fitted["classifier", "labelled pictures"]
    p = one.probabilities(one.embed(samples))
    torch.testing.assert_close(p.sum(1), torch.ones(len(p)))
    assert (p.argmax(1) == samples.labels).double().mean() > 0.95


@pytest.mark.skipif(importlib.util.find_spec("efficientnet_lite_pytorch") is None, reason="its peer is not installed")
def test_efficientnet_gives_the_features_of_the_package_its_weights_are_from(fitted):
    from efficientnet_lite_pytorch import EfficientNet as Peer

    from aurify.evaluate.embedders import efficientnet

    spec = importlib.util.find_spec(efficientnet.PACKAGE)
    peer = Peer.from_name("efficientnet-lite0")
    peer.load_state_dict(tensors(Path(spec.origin).parent / efficientnet.FILE))
    x = SETS["colour pictures"].x[:2]
    grown = torch.nn.functional.interpolate(x, (224, 224), mode="bilinear", antialias=True)
    with torch.inference_mode():
        theirs = peer.eval().extract_features((grown * 127.5 + 0.5) / 128).mean((2, 3))
        ours = fitted["efficientnet", "colour pictures"][0].features(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_file_that_is_no_state_dict_is_refused_without_running_it(tmp_path):
    path = tmp_path / "bad.pth"
    path.write_bytes(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R." * 5)
    with pytest.raises(ValueError, match="no state dict"):
        tensors(path)


def learned(data="data", seen=None):
    """A classifier by way of what is kept; whether it was fitted anew."""
    seen = seen or SETS["labelled pictures"]
    *shares, one = embedder.fitted(classifier.Classifier(), seen, data)
    return one, bool(shares)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("AURIFY_HOME", str(tmp_path))
    monkeypatch.setattr("aurify.evaluate.judge.BATCH", 16)
    one, anew = learned()
    assert anew
    (path,) = (tmp_path / "embedders").iterdir()
    return one, path


def test_what_was_learned_is_used_again(kept):
    again, anew = learned()
    assert not anew and again.weights == kept[0].weights


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "other"])
def test_a_damaged_file_of_what_was_learned_is_learned_anew(kept, damage):
    one, path = kept
    whole = path.read_bytes()
    flipped = bytes([*whole[:-9], whole[-9] ^ 1, *whole[-8:]])
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "flipped": flipped, "other": b"x" * 99}[damage])
    again, anew = learned()
    assert anew and again.weights == one.weights and path.read_bytes() == whole


def test_another_recipe_does_not_take_what_was_learned_by_the_last(kept, monkeypatch):
    monkeypatch.setattr(classifier.Classifier, "recipe", classifier.Classifier.recipe + 1)
    assert learned()[1]


def test_values_that_are_not_finite_are_refused_and_the_first_sample_is_named():
    rows = SETS["rows"]
    x = rows.x.clone()
    x[7, 2], x[9, 0] = torch.nan, torch.inf
    odd = Samples(rows.natives, x, rows.labels, tuple(f"row {i}" for i in range(60)))
    with pytest.raises(UserError, match=r"2 of 60 .*averaged raw values.* the first is row 7\."):
        list(embedder.features(raw.Raw(), odd))
    assert torch.equal(list(embedder.features(raw.Raw(), rows))[-1], rows.x)
