"""The plan: modes that are right, sizes that fit, and predictions that hold."""

import time
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import toys
from aurify import checkpoint, device, family, plan, recipes
from aurify.bench import Bench, Costs, save, short
from aurify.data.store import open_or_build
from aurify.errors import UserError
from aurify.loop import Loop, train
from aurify.modes import AGREE, disagreement, fastest, gradients
from aurify.needs import MANY
from aurify.spec import Grid, Tokens

MIB = 2**20


@dataclass
class Altered(Bench):
    """A bench whose plain loop, or the other one, is slow, and whose other loop may compute a wrong gradient."""

    slow: str = "plain"
    wrong: bool = False

    def loop(self, preset: Any, **training: Any) -> Loop:
        loop = super().loop(preset, **training)
        kind = "other" if "precision" in training else "plain"
        if kind == self.slow:
            real = loop.losses
            loop.losses = lambda *rows: (time.sleep(0.1), real(*rows))[1]
        if kind == "other" and self.wrong:
            loop.state.family.net.down[0].first.weight.register_hook(lambda g: 1.5 * g)
        return loop


def bench_of(name, tmp_path, kind=Bench, n=24, training=(), **fixed):
    """On a toy folder, of toy size."""
    write = toys.write_texts if family.load(name).kind is Tokens else toys.write_pictures
    store = open_or_build(str(write(tmp_path / "data", n)))
    settings = {"family": toys.TOY.get(name, {}) | fixed, "training": {"batch": 8, **dict(training)}}
    return kind(family.load(name), store, settings, torch.device("cpu"), tmp_path, tmp_path / "run")


@pytest.mark.parametrize("name", family.names())
def test_modes_are_compared_where_a_wrong_gradient_of_any_parameter_shows(name, tmp_path):
    wide = {"width": 16} if "width" in family.load(name).Config.model_fields else {}
    bench = bench_of(name, tmp_path, **wide)  # wide enough that no norm takes a bias back
    loop = bench.loop(bench.presets()[0])
    before = [p.detach().clone() for p in loop.state.family.parameters()]
    truth = gradients(loop)
    assert sum(len(found) for found in truth.values()) == len(before)
    for phase, found in truth.items():
        for parameter, g in found.items():
            wrong = truth | {phase: found | {parameter: 7 * g}}
            assert disagreement(truth, wrong) > max(AGREE.values()), parameter
    assert all(torch.equal(p, was) for p, was in zip(loop.state.family.parameters(), before, strict=True))


@pytest.mark.parametrize("name", ["flow", "transformer"])  # a game's gradient is a difference, which rounding may spoil
def test_the_rounding_of_bfloat16_is_no_error(name, tmp_path):
    bench = bench_of(name, tmp_path, width=16, training={"batch": 16})
    plain, half = (gradients(bench.loop(bench.presets()[0], precision=p)) for p in ("float32", "bfloat16"))
    assert AGREE["float32"] < disagreement(plain, half) <= AGREE["bfloat16"]


def test_a_gradient_that_is_no_number_agrees_with_nothing():
    g = {"phase": {"w": torch.ones(3)}}
    assert disagreement(g, {"phase": {"w": torch.tensor([1.0, torch.nan, 1.0])}}) == float("inf")
    assert disagreement(g, g) == 0


@pytest.mark.parametrize(
    ("slow", "wrong", "taken"), [("plain", False, True), ("plain", True, False), ("other", False, False)]
)
def test_a_mode_is_taken_only_if_its_gradients_are_right_and_it_is_faster(slow, wrong, taken, tmp_path):
    """The other mode is float32 again, so that nothing but what is done to it here tells them apart."""
    bench = bench_of("flow", tmp_path, Altered)
    bench.slow, bench.wrong = slow, wrong
    found = fastest(bench, bench.presets()[0], {}, [("float32", False)], lambda _: None)
    assert found == ({"precision": "float32", "compiled": False} if taken else {})
    assert "gradients differ by" in bench.tried[-1]


def rows_seen(monkeypatch):
    """How many rows each loss of a loop is computed on, from now on."""
    seen, real = [], Loop.losses

    def losses(self, phase, start, stop):
        seen.append(stop - start)
        return real(self, phase, start, stop)

    monkeypatch.setattr(Loop, "losses", losses)
    return seen


def test_no_step_takes_more_than_memory_holds(tmp_path, monkeypatch):
    bench = bench_of("flow", tmp_path, training={"batch": 64})
    preset = bench.presets()[0]
    whole = bench.loop(preset)
    assert not whole.state.micro
    monkeypatch.setattr(device, "memory_left", lambda _: 4 * MIB)
    part, seen = bench.loop(preset), rows_seen(monkeypatch)
    assert 1 <= part.state.micro < 64
    plan.choose_size(bench, 2.0, lambda _: None)
    assert max(seen) <= max(MANY, part.state.micro)
    made = plan.make_plan(bench_of("flow", tmp_path, training={"batch": 64, "steps": 2}), None)
    assert made.training.micro and max(seen) <= max(MANY, made.training.micro)
    assert f"{made.training.micro} at a time" in "\n".join(made.lines())


def test_sizes_that_memory_does_not_hold_are_not_tried(tmp_path, monkeypatch):
    bench = bench_of("flow", tmp_path, training={"steps": 10**6})
    bench.settings["family"] = {}
    monkeypatch.setattr(device, "memory_left", lambda _: 20 * MIB)
    assert plan.choose_size(bench, None, lambda _: None).config.width == 32
    assert "memory does not hold" in bench.tried[-1]


def test_data_that_memory_does_not_hold_is_refused_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "memory_left", lambda _: MIB // 2)
    seen = rows_seen(monkeypatch)
    data = toys.write_pictures(tmp_path / "data")
    with pytest.raises(UserError, match=r"--set size=32.*--set width=8"):
        recipes.prepare(recipes.Wish(str(data), "flow", minutes=1, out=str(tmp_path / "run")))
    assert seen == [1] and not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", family.names())
def test_an_evaluation_takes_no_more_at_a_time_than_the_training_and_finds_the_same(name, tmp_path, monkeypatch):
    bench = bench_of(name, tmp_path, n=120)
    preset, kind, seen = bench.presets()[0], bench.kind, []
    real = kind.loss
    monkeypatch.setattr(kind, "loss", lambda self, x, *more: (seen.append(len(x)), real(self, x, *more))[1])
    whole = bench.loop(preset).held_out()
    assert max(seen) > 5
    part = bench.loop(preset, micro=5)
    seen.clear()
    found = part.held_out()
    assert max(seen) == 5 and not any(p.requires_grad for p in part.state.family.parameters())
    assert found == {key: pytest.approx(value, rel=1e-4, abs=1e-5) for key, value in whole.items()}


COSTS = Costs(start=1.0, step=0.1, evaluation=0.5, preview=1.0, save=0.2)


def test_as_many_steps_as_fit_into_the_time_left_and_no_more(tmp_path):
    bench = bench_of("flow", tmp_path)
    made = plan.choose_steps(bench, {"batch": 8}, COSTS, 60.0)
    assert COSTS.of(made) <= 60 < COSTS.of(made.model_copy(update={"steps": made.steps + 1}))
    with pytest.raises(UserError, match="--minutes"):
        plan.choose_steps(bench, {"batch": 8}, COSTS, 5.0)


def test_checkpoints_that_take_long_to_write_are_rarer_and_counted(tmp_path):
    bench = bench_of("flow", tmp_path)
    dear = Costs(1.0, 0.1, 0.5, 1.0, save=30.0)
    cheap, rare = (plan.choose_steps(bench, {"batch": 8}, costs, 3600.0) for costs in (COSTS, dear))
    assert rare.save_every >= 9 * cheap.save_every
    assert dear.of(rare) - COSTS.of(rare) >= 29 * len(rare.evaluations())


def test_steps_that_are_set_are_those_that_are_predicted(tmp_path):
    data = str(toys.write_pictures(tmp_path / "data"))
    settings = {**toys.TOY["flow"], "batch": 8, "precision": "float32", "steps": 3}
    wish = recipes.Wish(data, "flow", minutes=1, out=str(tmp_path / "run"), settings=settings)
    _, made = recipes.prepare(wish)
    assert made.training.steps == made.training.save_every == 3
    assert made.seconds < 30 and f"{made.flops / 3:.3g}" == f"{flops_of(data, settings, tmp_path):.3g}"
    told = next(line for line in made.lines() if line.startswith("time"))
    assert plan.clock(made.seconds + made.calibration) in told and "calibration" in told


def flops_of(data, settings, tmp_path):
    """Of a step, by a plan without minutes: the settings alone say how many."""
    wish = recipes.Wish(data, "flow", out=str(tmp_path / "other"), settings={**settings, "steps": 1})
    return recipes.prepare(wish)[1].flops


@pytest.mark.parametrize("name", ["flow", "ngram"])  # and where what is kept grows with each step
def test_the_disk_that_is_predicted_holds_all_checkpoints(name, tmp_path):
    data = toys.data_for(name, tmp_path / "data")
    settings = {**toys.TOY.get(name, {}), "batch": 8, "save_every": 1}
    run, made = recipes.prepare(recipes.Wish(str(data), name, steps=8, out=str(tmp_path / "run"), settings=settings))
    list(train(run))
    used = sum(f.stat().st_size for f in run.checkpoints.rglob("*.safetensors"))
    assert used <= made.disk


def test_thinning_leaves_no_more_checkpoints_than_the_plan_counts(tmp_path):
    counts = []
    for step in range(1, 60):
        checkpoint.save(tmp_path, step, {"model": {"w": torch.zeros(1)}}, {})
        checkpoint.thin(tmp_path, also=5)
        counts.append(len(checkpoint.found(tmp_path)))
    assert max(counts) == checkpoint.MOST


def test_a_trial_checkpoint_leaves_nothing_behind(tmp_path):
    bench = bench_of("flow", tmp_path)
    before = sorted(tmp_path.iterdir())
    save(bench.loop(bench.presets()[0]), tmp_path / "runs" / "first")
    assert sorted(tmp_path.iterdir()) == before


def test_a_gan_of_few_samples_is_augmented_unless_told_otherwise(tmp_path):
    for asked, strength in (({}, 1.0), ({"augment": 0}, 0.0)):
        config = bench_of("gan", tmp_path, **asked).presets()[0].config
        assert config.augment == strength
        assert ("augment 1.0" in short(config)) == (strength > 0)
    kind = family.load("gan")
    assert kind.for_data(Grid(1, (28, 28)), 57_000) == {} == kind.for_data(Grid(6, ()), 100)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flow", "transformer"])
def test_a_training_ends_when_it_was_said_to(name, tmp_path, monkeypatch):
    """In processor seconds, on the one thread that tests have: what else runs on the machine does not count."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    data = str((toys.write_texts if name == "transformer" else toys.write_pictures)(tmp_path / "data", n=200))
    open_or_build(data)  # reading comes before
    began = time.perf_counter()
    run, made = recipes.prepare(recipes.Wish(data, name, minutes=0.4, out=str(tmp_path / "run")))
    done = list(train(run))[-1]
    assert done.seconds == pytest.approx(made.seconds, rel=0.3)
    assert time.perf_counter() - began == pytest.approx(24, rel=0.3)


def test_a_training_is_looked_at_less_where_looking_would_take_more_than_a_part_of_its_time(tmp_path):
    bench = bench_of("flow", tmp_path)
    looks = []
    for seconds in (60.0, 200.0, 3600.0):
        made = plan.choose_steps(bench, {"batch": 8}, COSTS, seconds)
        assert COSTS.of(made) <= seconds < COSTS.of(made.model_copy(update={"steps": made.steps + 1}))
        assert made.looks == 1 or COSTS.watching(made) <= plan.WATCHED * COSTS.of(made)
        assert made.steps in made.previews()
        looks.append(made.looks)
    assert looks == sorted(looks) and looks[0] < looks[-1] == 6
    bench.settings["training"]["looks"] = 6
    assert plan.choose_steps(bench, {"batch": 8, "looks": 6}, COSTS, 60.0).looks == 6
