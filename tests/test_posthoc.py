"""Averages of any length after the training: profiles against sums, reconstructions against averages really kept."""

import hashlib

import numpy as np
import pytest
import torch

import toys
from aurify import checkpoint, posthoc
from aurify.errors import UserError
from aurify.loop import train
from aurify.posthoc import LENGTHS, Profile
from aurify.run import Run
from aurify.sample import load_model, sample

STEPS = 400


def weights_of_steps(length, steps=STEPS):
    """The weight of each step in an average: averaged are unit vectors, a different one at every step."""
    power = Profile(length, 1).power
    average = torch.zeros(steps, dtype=torch.float64)
    for step in range(1, steps + 1):
        unit = torch.zeros(steps, dtype=torch.float64)
        unit[step - 1] = 1
        average.lerp_(unit, 1 - (1 - 1 / step) ** power)
    return average.numpy()


@pytest.mark.parametrize("length", [0.02, 0.05, 0.1, 0.25])
def test_the_length_is_the_standard_deviation_of_the_profile(length):
    weights, places = weights_of_steps(length), (np.arange(STEPS) + 0.5) / STEPS
    assert weights.sum() == pytest.approx(1)
    mean = (weights * places).sum()
    assert np.sqrt((weights * (places - mean) ** 2).sum()) == pytest.approx(length, rel=0.02)


def test_inner_products_are_those_of_the_weights_still_to_come():
    def later(length, steps):
        return np.pad(weights_of_steps(length, steps)[::-1].cumsum()[::-1], (0, STEPS - steps))

    for a, b in ((0.05, 0.05), (0.05, 0.1), (0.2, 0.05)):
        left, right = later(a, STEPS), later(b, STEPS // 2)
        assert Profile(a, STEPS).inner(Profile(b, STEPS // 2)) == pytest.approx(float(left @ right), rel=0.01)
        assert Profile(a, STEPS).way == pytest.approx(float(((1 - left) ** 2).sum()), rel=0.05)


def test_what_is_kept_is_what_was_said():
    """`update` walks as the profile says, in both averages at once."""
    generator = torch.Generator().manual_seed(0)
    path = torch.randn(STEPS, 3, generator=generator).cumsum(0)
    kept = posthoc.begun([torch.full((3,), 9.0)])
    for step, weights in enumerate(path, 1):
        posthoc.update(kept, [weights], step)
    for length in LENGTHS:
        expected = torch.from_numpy(weights_of_steps(length)) @ path.double()
        torch.testing.assert_close(kept[posthoc.name(length)][0].double(), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("length", [0.04, 0.05, 0.08, 0.13, 0.2])
def test_an_average_that_was_not_kept_is_met_by_those_that_were(length):
    """From the five checkpoints that a run keeps; weights wander and settle, as in a training whose rate falls."""
    generator = torch.Generator().manual_seed(1)
    rates = torch.linspace(1, 0, STEPS)[:, None]
    path = (rates * torch.randn(STEPS, 50, generator=generator)).cumsum(0).double()
    kept = [Profile(each, round(part * STEPS)) for part in (0.25, 0.5, 0.75, 0.95, 1) for each in LENGTHS]
    found, off = posthoc.coefficients(Profile(length, STEPS), kept)
    values = [torch.from_numpy(weights_of_steps(p.length, p.step)) @ path[: p.step] for p in kept]
    made = sum(float(w) * value for w, value in zip(found, values, strict=True))
    true = torch.from_numpy(weights_of_steps(length)) @ path
    moved = (true - path[-1]).norm()
    assert off < 0.1
    assert float((made - true).norm()) < 0.07 * float(moved)


def test_one_checkpoint_alone_comes_near_to_what_it_holds_only():
    kept = [Profile(each, STEPS) for each in LENGTHS]
    assert posthoc.coefficients(Profile(0.1, STEPS), kept)[1] < 1e-3
    assert posthoc.coefficients(Profile(0.2, STEPS), kept)[1] > posthoc.FAR


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A toy run that keeps averages, and how it ended."""
    folder = tmp_path_factory.mktemp("posthoc")
    run = toys.make(toys.write_pictures(folder / "data"), "flow", folder / "run", steps=12, save_every=3, posthoc=True)
    list(train(run))
    return run


def test_the_average_chosen_is_used_and_recorded(trained):
    (kept,) = (checkpoint.load(p) for p in trained.checkpoints.iterdir() if p.name == "step-00000012")
    model, step = load_model(trained, "ema=0.1")
    assert step == 12
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.detach(), kept.tensors["power_10"][name], rtol=1e-4, atol=1e-6)
    (made,) = sample(trained, 1, checkpoint="ema=0.08")
    assert made.record["weights"] == "ema=0.08"
    (last,) = sample(trained, 1)
    assert "weights" not in last.record and repr(last.native) != repr(made.native)


def test_averages_survive_an_interruption_to_the_last_bit(trained, tmp_path):
    from aurify.events import Progress

    data = trained.data.source
    parts = toys.make(data, "flow", tmp_path / "parts", steps=12, save_every=3, posthoc=True)
    events = train(parts)
    for event in events:
        if isinstance(event, Progress) and event.step == 7:
            break
    events.close()
    list(train(Run.load(parts.path)))

    def groups(run):
        folder = run.checkpoints / "step-00000012"
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.safetensors")}

    assert set(groups(parts)) == {f"{g}.safetensors" for g in ("model", "ema", "optimizer", "power_05", "power_10")}
    assert groups(parts) == groups(trained)


def test_what_cannot_be_averaged_is_said(trained, tmp_path):
    run = toys.make(trained.data.source, "flow", tmp_path / "run", steps=3)
    list(train(run))
    with pytest.raises(UserError, match="--set posthoc=true"):
        load_model(run, "ema=0.1")
    for which, why in (("ema=much", "names no average"), ("ema=0.5", "too short or too long"), ("ema=0", "too short")):
        with pytest.raises(UserError, match=why):
            load_model(trained, which)
