"""Pictures as sequences of levels: what is kept, in which order, and that a run of them is judged as pictures are."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import toys
from aurify import loop, recipes, sample
from aurify.codecs import image
from aurify.codecs.pixels import Config, Pixels
from aurify.errors import UserError
from aurify.evaluate import embedder, glance, likelihood, of_run, sources
from aurify.png import record_of
from aurify.rng import BatchRng
from aurify.spec import Tokens
from test_cli import aurify, refused

LEVELS = (2, 4, 16, 256)
TINY = ["--set", "width=8", "--set", "depth=3", "--set", "batch=8", "--set", "levels=2"]


def fitted(*samples: np.ndarray, **config: Any) -> Pixels:
    codec = Pixels(Config(**config))
    codec.fit(samples)
    return codec


def ramp(channels: int = 1) -> np.ndarray:
    """Every value of every channel once in its own order, 16 x 16."""
    rng = np.random.default_rng(channels)
    return np.stack([rng.permutation(256).reshape(16, 16) for _ in range(channels)], -1).astype(np.uint8)


@pytest.mark.parametrize(("levels", "channels"), list(itertools.product(LEVELS, (1, 3))))
def test_every_value_becomes_the_nearest_level(levels: int, channels: int) -> None:
    picture, steps = ramp(channels), np.linspace(0, 255, levels)
    codec = fitted(picture, levels=levels)
    back = codec.decode(codec.encode(picture))
    nearest = np.abs(picture[..., None] - steps).min(-1)
    assert (np.abs(back - picture.astype(float)) == nearest).all()
    assert set(np.unique(back)) == set(steps)


@settings(max_examples=40)
@given(st.sampled_from(LEVELS).flatmap(
    lambda k: st.tuples(st.just(k), hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 9)] * 2, st.sampled_from((1, 3))),
                                               elements=st.sampled_from(list(range(0, 256, 255 // (k - 1))))))
), st.sampled_from(("nearest", "drawn")))  # fmt: skip
def test_pictures_of_levels_come_back_exactly(case: tuple[int, np.ndarray], rounding: Any) -> None:
    levels, picture = case
    codec = fitted(picture, levels=levels, rounding=rounding, mode="rgb" if picture.shape[2] == 3 else "grey")
    x = codec.encode(picture)
    assert codec.spec == Tokens(picture.size, levels) and codec.spec.contains(codec.spec.widen(x))
    assert (codec.decode(codec.spec.widen(x)) == picture).all()


def test_symbols_stand_in_raster_order_red_green_blue_in_turn() -> None:
    picture = np.zeros((2, 3, 3), np.uint8)
    for row, column, channel in np.ndindex(picture.shape):
        picture[row, column, channel] = 17 * (((row * 3 + column) * 3 + channel) % 16)
    assert fitted(picture, levels=16).encode(picture).tolist() == [i % 16 for i in range(18)]


@pytest.mark.parametrize("levels", LEVELS)
def test_drawn_levels_have_the_value_as_their_mean_and_are_the_same_each_time(levels: int) -> None:
    for value in (0, 40, 128, 217, 255):
        picture = np.full((128, 128, 1), value, np.uint8)
        codec = fitted(picture, levels=levels, rounding="drawn", longest=128)
        back, gap = codec.decode(codec.encode(picture)).astype(float), 255 / (levels - 1)
        assert abs(back.mean() - value) < 4 * gap / 2 / 128
        assert np.abs(back - value).max() < gap
        assert torch.equal(codec.encode(picture), codec.encode(picture.copy()))


def test_figures_see_the_picture_that_is_decoded() -> None:
    for channels, levels in itertools.product((1, 3), LEVELS):
        codec = fitted(ramp(channels), levels=levels)
        x = codec.spec.like(BatchRng(0, 4))
        natives = [codec.decode(row) for row in x]
        plain = image.Image()
        plain.fit(natives)
        expected = torch.stack([plain.spec.widen(plain.encode(native)) for native in natives])
        torch.testing.assert_close(codec.seen(x), expected, atol=1e-6, rtol=0)


def test_what_lies_beyond_the_alphabet_is_clamped() -> None:
    codec = fitted(ramp(), levels=4)
    assert (codec.decode(torch.full((256,), 99)) == 255).all() and (codec.decode(torch.full((256,), -1)) == 0).all()


def test_size_and_mode_are_found_or_as_asked() -> None:
    large, grey_as_rgb = np.zeros((60, 90, 3), np.uint8), np.full((20, 30, 3), 7, np.uint8)
    assert fitted(large).size == (24, 32) and fitted(large, longest=16).size == (8, 16)
    assert fitted(grey_as_rgb).spec == Tokens(600, 16) and fitted(grey_as_rgb, mode="rgb").spec == Tokens(1800, 16)
    clear = np.zeros((5, 5, 4), np.uint8)  # invisible black, laid on white
    assert (fitted(clear).decode(fitted(clear).encode(clear)) == 255).all()
    with pytest.raises(UserError, match="270,000 symbols a picture"):
        fitted(ramp(3), size=300)
    with pytest.raises(UserError, match="no pictures"):
        fitted()


def finished(steps: Any) -> Any:
    """What a generator of steps returns at its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.fixture(scope="module")
def run(tmp_path_factory: Any) -> Any:
    """A trained run of black and white pictures by label."""
    top = tmp_path_factory.mktemp("pixels")
    data = toys.write_pictures(top / "data", 80)
    tiny = {"width": 8, "depth": 3, "batch": 8, "levels": 2}
    wish = recipes.Wish(str(data), "wavenet", "pixels", steps=20, out=str(top / "run"), settings=tiny)
    made, _ = recipes.prepare(wish)
    list(loop.train(made))
    return made


def test_the_whole_path_by_the_command_line(capsys: Any, tmp_path: Any) -> None:
    data, made, out = toys.write_pictures(tmp_path / "data"), tmp_path / "run", tmp_path / "out"
    assert aurify(capsys, "check", data, "--codec", "pixels")[0] == 0
    train = ["train", data, "--codec", "pixels", "--family", "wavenet", "--steps", 3, "--out", made]
    assert aurify(capsys, *train, *TINY)[0] == 0
    assert aurify(capsys, "sample", made, "-n", 3, "--label", "left", "--out", out, "--seed", 7)[0] == 0
    path = out / "00001-left.png"
    assert set(np.unique(image.Image().read(path.read_bytes()))) <= {0, 255} and (out / "overview.png").is_file()
    record = record_of(path)
    assert record is not None and record["label"] == "left" and record["index"] == 1
    assert list((made / "previews").glob("*.png"))
    assert "prefix" in refused(capsys, "sample", made, "--prefix", "a", "--out", tmp_path / "no")
    assert "2, 4, 16 or 256" in refused(capsys, *train[:-1], tmp_path / "no", "--set", "levels=3")


def test_a_run_is_looked_at_as_pictures(run: Any) -> None:
    real = sources.of_store(run.store, 1)
    model, _ = sample.load_model(run)
    made = finished(sources.of_run(run, model, 20, 1, {}))
    for some in (real.train, real.reference, made):
        assert some.grid.shape == (len(some), 1, 8, 8) and set(some.grid.unique().tolist()) <= {-1.0, 1.0}
        assert (some.natives[2][..., 0] == (some.grid[2, 0].numpy() + 1) * 127.5).all()
    assert {name for name in embedder.names() if embedder.load(name).suits(real.train)} >= {"classifier", "raw"}
    assert glance.Glance(run).look(made) is not None
    *_, rows = likelihood.likelihood(run, model, real.reference)
    assert (rows[:, 1] == 64).all() and rows[:, 0].isfinite().all()


@pytest.mark.slow
def test_a_run_is_judged_as_pictures_are(run: Any) -> None:
    *_, report = of_run.evaluate(run, n=50)
    figures = {f.metric for f in report.figures}
    assert {"kid", "nats", "label_accuracy"} <= figures and "bits_per_character" not in figures
    assert report.copying and report.membership and all(p.suffix == ".png" for p in report.shown)
    nats = next(f for f in report.figures if f.metric == "nats")
    assert 0 < nats.measured.value < 64 * np.log(2) * 1.1
