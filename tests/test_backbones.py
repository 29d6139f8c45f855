"""Weights that a user brings: features equal to their own libraries', published names on published weights alone."""

import hashlib
import json

import pytest
import torch

import backbones
from aurify.errors import UserError
from aurify.evaluate import figures
from aurify.evaluate.embedders import clip, inception
from aurify.evaluate.embedders.classifier import Classifier
from aurify.evaluate.embedders.raw import Raw
from aurify.evaluate.embedders.selfsup import SelfSupervised
from aurify.evaluate.figure import Protocol
from aurify.evaluate.metrics.frechet import Frechet
from aurify.evaluate.metrics.kid import Kid
from aurify.evaluate.metrics.mmd import Mmd
from aurify.evaluate.rgb import rgb
from aurify.evaluate.samples import Samples
from aurify.home import home

needs_fidelity = pytest.mark.skipif(not backbones.TORCH_FIDELITY, reason="torch-fidelity, its peer, is not installed")
needs_transformers = pytest.mark.skipif(not backbones.TRANSFORMERS, reason="transformers is not installed")
SIZES = [(32, 32), (28, 41), (120, 67)]  # smaller and larger than the networks' own


@pytest.fixture(autouse=True)
def at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("AURIFY_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    backbones.inception(path)
    return path


def pixels(size, n=3):
    """Smooth pictures in 8 bits, edges and all levels in them."""
    g = torch.Generator().manual_seed(sum(size))
    coarse = torch.rand(n, 3, 5, 5, generator=g) * 400 - 70
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear").clamp(0, 255).to(torch.uint8)


def samples(x, labels=None):
    labels = torch.full((len(x),), -1) if labels is None else labels
    return Samples([None] * len(x), x, labels, tuple(map(str, range(len(x)))))


def test_eight_bits_come_back_and_grey_and_alpha_become_rgb():
    u = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    x = u.float() * (2 / 255) - 1
    assert torch.equal(rgb(x), u.expand(1, 3, 16, 16))
    four = torch.cat([x, -x, 0.5 * x, x], 1)
    assert torch.equal(rgb(four), rgb(four[:, :3]))
    assert rgb(torch.tensor([-7.0, 9.0, torch.nan]).view(1, 1, 1, 3))[0, 0, 0].tolist() == [0, 255, 128]


@needs_fidelity
@pytest.mark.parametrize("size", SIZES)
def test_inception_gives_the_features_of_torch_fidelity(inception_file, size):
    peer = backbones.fidelity("feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    resize = backbones.fidelity("interpolate_compat_tensorflow").interpolate_bilinear_2d_like_tensorflow1x
    home().joinpath("weights").mkdir(parents=True)
    home().joinpath("weights", inception.FILES[2]).symlink_to(inception_file)
    one, u = inception.Inception(), pixels(size)
    list(one.fit(samples(u.float())))
    assert one.weights == hashlib.sha256(inception_file.read_bytes()).hexdigest()[:12]
    assert torch.equal(inception.resized(u.float()), resize(u.float(), (299, 299), align_corners=False))
    theirs = peer("peer", ["2048"], str(inception_file))(u)[0]
    assert theirs.std(0).mean() > 0.01  # pictures differ by far more than is allowed below
    ours = one.embed(samples(u.float() * (2 / 255) - 1))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@needs_transformers
@pytest.mark.parametrize("size", SIZES)
def test_clip_gives_the_features_of_transformers(size):
    import transformers

    folder = home() / "weights" / "clip"
    model, one, u = backbones.clip(folder), clip.Clip(), pixels(size)
    list(one.fit(samples(u.float())))
    processor = transformers.CLIPImageProcessorPil.from_pretrained(folder)
    theirs = processor([picture.permute(1, 2, 0).numpy() for picture in u], return_tensors="pt").pixel_values
    level = 1 / 255 / min(one.prepare.std)
    assert (one.prepare(u) - theirs).abs().max() < 1.01 * level  # two integer resizings round apart now and then
    assert (one.prepare(u) - theirs).abs().mean() < 0.01 * level
    features = one.embed(samples(u.float() * (2 / 255) - 1))
    torch.testing.assert_close(features, model.get_image_features(pixel_values=one.prepare(u)).pooler_output)


@needs_transformers
def test_clip_reads_older_configurations_and_says_what_is_amiss():
    folder = home() / "weights" / "clip"
    backbones.clip(folder)
    path, any_picture = folder / "preprocessor_config.json", samples(torch.zeros(1, 3, 32, 32))
    new = clip.Preparation.read(path)
    old = json.loads(path.read_text()) | {"size": 32, "crop_size": 32}
    path.write_text(json.dumps(old))
    assert clip.Preparation.read(path) == new
    for bad in ({"do_normalize": False}, {"size": 16}, {"resample": 77}, {"crop_size": None}):
        path.write_text(json.dumps(old | bad))
        with pytest.raises(UserError, match="holds no CLIP"):
            list(clip.Clip().fit(any_picture))
    path.unlink()
    with pytest.raises(UserError, match="preprocessor_config"):
        list(clip.Clip().fit(any_picture))


@needs_transformers
def test_clip_never_makes_up_weights_that_are_missing():
    from safetensors.torch import load_file, save_file

    folder = home() / "weights" / "clip"
    backbones.clip(folder)
    state = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in state.items() if k != "visual_projection.weight"}, folder / "model.safetensors")
    with pytest.raises(UserError, match="visual_projection"):
        list(clip.Clip().fit(samples(torch.zeros(1, 3, 32, 32))))


@needs_fidelity
def test_a_file_that_is_no_inception_is_refused(inception_file):
    path, any_picture = home() / "weights" / "inception.pth", samples(torch.zeros(1, 3, 32, 32))
    path.parent.mkdir(parents=True)
    whole = inception_file.read_bytes()
    other, zipped = path.with_name("other"), path.with_name("zipped")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    torch.save(net.state_dict(), other, _use_new_zipfile_serialization=False)
    torch.save(net.state_dict(), zipped)
    for content in (whole[: len(whole) // 2], whole[:-3], other.read_bytes(), zipped.read_bytes(), b""):
        path.write_bytes(content)
        with pytest.raises(UserError, match="no Inception-v3"):
            list(inception.Inception().fit(any_picture))


@needs_transformers
def test_they_suit_pictures_where_their_weights_are_and_come_before_raw_values_alone():
    x = torch.zeros(48, 3, 32, 32)
    labelled, plain = samples(x, torch.arange(48) % 2), samples(x[:, :1])
    assert inception.Inception.suits(plain) == clip.Clip.suits(plain) == 0
    for name in ("inception.pth", "clip/model.safetensors"):
        path = home() / "weights" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for one in (inception.Inception, clip.Clip):
        assert one.suits(labelled) == one.suits(plain) == 1
        assert one.suits(samples(x[:, :2])) == one.suits(samples(x[..., :27])) == one.suits(samples(x[..., 0])) == 0
    unlabelled = samples(torch.cat([x] * 5))
    assert min(Classifier.suits(labelled), SelfSupervised.suits(unlabelled)) > 1 >= Raw.suits(plain)


@pytest.mark.parametrize(
    ("weights", "frechet", "kid"),
    [
        (inception.SHA256[:12], "FID∞", "KID"),
        (inception.SHA256[:11] + "0", Frechet.title, Kid.title),
        ("", Frechet.title, Kid.title),
    ],
)
def test_a_published_name_stands_on_its_own_backbone_alone(weights, frechet, kid):
    g = torch.Generator().manual_seed(0)
    looked = {kind: torch.randn(60, 3, generator=g, dtype=torch.float64) for kind in ("made", "reference", "fresh")}
    protocol = Protocol("Inception-v3", weights, 60, "", "", "", 0, 20)
    titles = [figures.figure(k, m, looked, protocol).title for k, m in zip(
        ("frechet", "kid", "mmd"), (Frechet(), Kid(), Mmd()), strict=True)]  # fmt: skip
    assert titles == [frechet, kid, Mmd.title]
