"""Which checkpoint a training goes on from: past damaged ones, past those made while it left its path; and its log."""

import pytest
import torch

import disk_faults
import toys
from aurify import checkpoint, device, family, recovery
from aurify.checkpoint import Damaged
from aurify.events import Done, Notice, Progress, Saved
from aurify.loop import Loop, train
from aurify.parallel import Group
from aurify.rng import derive
from aurify.run import Run
from test_train import everything, poisoned


def flip(path):
    """Changes one byte of a checkpoint's averaged weights."""
    file = path / "ema.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def stopped_at(run, step):
    """The events of a training that is asked to stop at a step, as by Ctrl-C."""
    trial = Loop(run, device.choose(), Group())

    class Stop:
        asked = False

    stop = Stop()
    with trial.writer:
        for event in trial.events(stop):
            stop.asked |= isinstance(event, Progress) and event.step == step
            yield event


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training with a checkpoint a step, and its data."""
    folder = tmp_path_factory.mktemp("whole")
    data = toys.write_texts(folder / "data")
    run = toys.make(data, "transformer", folder / "run", steps=4, save_every=1)
    list(train(run))
    return run, data


@pytest.mark.parametrize("damaged", [[4], [4, 3]])
def test_damaged_checkpoints_are_set_aside_and_hinder_no_later_save(whole, tmp_path, damaged):
    undisturbed, data = whole
    run = toys.make(data, "transformer", tmp_path / "run", steps=4, save_every=1)
    list(train(run))
    kept = {}
    for step in damaged:
        path = run.checkpoints / f"step-{step:08d}"
        flip(path)
        kept[path.name] = (path / "ema.safetensors").read_bytes()
    told = list(stopped_at(run, min(damaged)))  # with a save below a step that was damaged
    notices = [e.text for e in told if isinstance(e, Notice) and e.kind == "damaged"]
    assert len(notices) == len(damaged) and all("is now called damaged-step-" in text for text in notices)
    assert any(isinstance(e, Saved) and e.step == min(damaged) for e in told)
    for name, content in kept.items():
        assert (run.checkpoints / f"damaged-{name}" / "ema.safetensors").read_bytes() == content
    assert isinstance(list(train(run))[-1], Done)
    assert everything(run)["ema.safetensors"] == everything(undisturbed)["ema.safetensors"]


def test_nothing_is_set_aside_where_no_checkpoint_is_whole(tmp_path):
    for step in (1, 2):
        disk_faults.save(tmp_path, step)
        (tmp_path / f"step-{step:08d}" / "state.json").write_bytes(b"{}")
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(Damaged, match="none of its 2"):
        recovery.newest_whole(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_name_that_is_taken_is_not_taken_again(tmp_path):
    first, second = (checkpoint.set_aside(disk_faults.save(tmp_path, 1)) for _ in range(2))
    assert (first.name, second.name) == ("damaged-step-00000001", "damaged-step-00000001-2")
    assert not checkpoint.found(tmp_path)


def test_what_was_saved_on_the_way_off_the_path_is_no_place_to_go_back_to(tmp_path):
    for step, healthy in ((1, True), (2, True), (3, False), (4, False)):
        checkpoint.save(tmp_path, step, {}, {"healthy": healthy})
    found, told = recovery.before_trouble(tmp_path)
    assert found and found.step == 2
    assert ["step 4" in told[0], "step 3" in told[1]] == [True, True]
    assert [p.name for p in checkpoint.found(tmp_path)] == ["step-00000002", "step-00000001"]


def test_a_spike_over_a_planned_save_leads_back_before_the_spike(tmp_path, monkeypatch):
    """Steps 51 to 53 are bad, and a checkpoint is due at each of them."""
    data = toys.write_texts(tmp_path / "data")
    run = toys.make(data, "transformer", tmp_path / "run", steps=56, save_every=1)
    poisoned(monkeypatch, {50, 51, 52}, 1e4, "transformer")
    told = list(train(run))
    rolled = [e.text for e in told if isinstance(e, Notice) and e.kind == "rolled-back"]
    assert len(rolled) == 1 and "back to step 50," in rolled[0]
    assert isinstance(told[-1], Done)


def test_a_stop_in_the_midst_of_a_spike_is_no_place_to_go_back_to(tmp_path, monkeypatch):
    data = toys.write_texts(tmp_path / "data")
    run = toys.make(data, "transformer", tmp_path / "run", steps=56, save_every=25)
    poisoned(monkeypatch, {50, 51, 52}, 1e4, "transformer")
    assert any(isinstance(e, Saved) and e.step == 52 for e in stopped_at(run, 52))
    told = list(train(run))
    rolled = [e.text for e in told if isinstance(e, Notice) and e.kind == "rolled-back"]
    assert len(rolled) == 1 and "back to step 50," in rolled[0] and "step 52, made on the way" in rolled[0]
    assert isinstance(told[-1], Done)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_a_run_that_starts_anew_is_compiled_anew(tmp_path):
    plain = toys.make(toys.write_pictures(tmp_path / "data"), "flow", tmp_path / "run")
    card = plain.card.model_copy(update={"training": plain.card.training | {"compiled": True}})
    run = Run(plain.path, card, plain.data)
    trial = Loop(run, device.choose(), Group())
    trial.compile()
    before = trial.state.family
    list(trial.roll_back("a test wants it"))  # there is no checkpoint
    assert trial.state.family is not before
    assert all(network._compiled_call_impl is not None for network in trial.state.family.children())


def test_a_bad_generator_leaves_the_discriminators_step_and_says_so(tmp_path, monkeypatch):
    data = toys.write_pictures(tmp_path / "data")
    kind = family.load("gan")
    real, bad = kind.loss, derive("noise", 0, 4, "generator")

    def loss(self, x, cond, phase, rng):
        out = real(self, x, cond, phase, rng)
        return out if rng.generator.initial_seed() != bad else {"loss": out["loss"] * float("nan")}

    monkeypatch.setattr(kind, "loss", loss)
    run = toys.make(data, "gan", tmp_path / "run", steps=7, save_every=3)
    trial = Loop(run, device.choose(), Group())
    for _ in range(4):
        list(trial.step())
    sides = {name: getattr(trial.state.family, name) for name in ("generator", "discriminator")}
    before = {name: [p.detach().clone() for p in side.parameters()] for name, side in sides.items()}
    (notice,) = trial.step()
    assert isinstance(notice, Notice) and "the generator's part of this step was not applied" in notice.text
    same = {n: all(map(torch.equal, before[n], side.parameters())) for n, side in sides.items()}
    assert same == {"generator": True, "discriminator": False}
    assert all(p.isfinite().all() for p in trial.state.family.parameters())
    parts = toys.make(data, "gan", tmp_path / "parts", steps=7, save_every=3)
    list(train(run))
    list(stopped_at(parts, 5))  # right after the bad step
    list(train(parts))
    assert everything(parts) == everything(run)


@pytest.mark.parametrize("loss", ["gone", "short", "torn"])
def test_a_log_that_lost_lines_is_said_and_stays_valid(whole, tmp_path, loss):
    _, data = whole
    run = toys.make(data, "transformer", tmp_path / "run", steps=4, save_every=2)
    list(stopped_at(run, 3))
    logged = run.events.read_bytes()
    match loss:
        case "gone":
            run.events.unlink()
        case "short":
            run.events.write_bytes(logged[: logged.index(b"\n") + 1])
        case "torn":
            run.events.write_bytes(logged[:-5])
            assert len(run.log()) == logged.count(b"\n") - 1
    told = list(train(run))
    assert [e.kind for e in told if isinstance(e, Notice)] == ["log"]
    assert b"\0" not in run.events.read_bytes()
    assert run.log()[-1]["step"] == 4
