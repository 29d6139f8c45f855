"""The loop: exactness, interruption, divergence, memory."""

import hashlib
import itertools
import json

import pytest
import torch

import toys
from aurify import device, family, heldout
from aurify.events import Done, Evaluated, Notice, Previewed, Progress, Saved
from aurify.loop import Diverged, Loop, train
from aurify.parallel import Group
from aurify.run import Run
from aurify.sample import sample


def everything(run):
    """Hashes of all that must be equal after equal trainings: newest checkpoint, log, previews, samples."""
    newest = max(run.checkpoints.iterdir())
    files = {p.name: p.read_bytes() for p in sorted(newest.iterdir()) if p.name != "MANIFEST.json"}
    files["events"] = run.events.read_bytes()
    files |= {p.name: p.read_bytes() for p in sorted((run.path / "previews").iterdir())}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return hashes | {"samples": [repr(s.native) for s in sample(run, 3, seed=5)]}


@pytest.mark.parametrize("name", family.names())
def test_interrupted_and_resumed_equals_uninterrupted_to_the_last_bit(name, tmp_path):
    data = toys.data_for(name, tmp_path / "data")
    whole = toys.make(data, name, tmp_path / "whole", steps=12, save_every=5)
    list(train(whole))
    parts = toys.make(data, name, tmp_path / "parts", steps=12, save_every=5)
    for stop_after in (3, 7):  # dropped without a word, as by a kill: between checkpoints, twice
        events = train(parts)
        for event in events:
            if isinstance(event, Progress) and event.step == stop_after:
                break
        events.close()
    assert isinstance(list(train(Run.load(parts.path)))[-1], Done)
    assert everything(parts) == everything(whole)


def test_what_a_killed_preview_left_behind_is_gone_afterwards(tmp_path):
    run = toys.make(toys.write_pictures(tmp_path / "data"), "flow", tmp_path / "run", steps=4, save_every=2)
    left = run.path / "previews" / "step-00000002.png.tmp-0123"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"half")
    list(train(run))
    assert not left.exists() and len(list(left.parent.iterdir())) > 1


def test_a_stop_saves_at_once_and_changes_nothing(tmp_path):
    """Ctrl-C (here: the flag it sets) saves between two planned checkpoints; the end is the same."""
    data = toys.write_pictures(tmp_path / "data")
    whole = toys.make(data, "flow", tmp_path / "whole", steps=9, save_every=100)
    list(train(whole))
    parts = toys.make(data, "flow", tmp_path / "parts", steps=9, save_every=100)
    interrupted = Loop(parts, device.choose(), Group())

    class Stop:
        asked = False

    stop = Stop()
    with interrupted.writer:
        for event in interrupted.events(stop):
            stop.asked = stop.asked or (isinstance(event, Progress) and event.step == 4)
            last = event
    assert isinstance(last, Notice) and "aurify resume" in last.text
    assert max(p.name for p in parts.checkpoints.iterdir()) == "step-00000004"
    list(train(parts))
    whole_state, part_state = everything(whole), everything(parts)
    assert part_state == whole_state


def test_the_events_of_a_training_tell_its_story(tmp_path):
    run = toys.make(toys.write_pictures(tmp_path / "data"), "flow", tmp_path / "run", steps=8, save_every=4)
    events = list(train(run))
    kinds = {type(e) for e in events}
    assert {Progress, Evaluated, Previewed, Saved, Done} <= kinds
    assert [e.step for e in events if isinstance(e, Progress)] == list(range(1, 9))
    assert all((run.path / e.path).is_file() for e in events if isinstance(e, Previewed))
    logged = run.log()
    assert {line["event"] for line in logged} == {"progress", "evaluated", "previewed"}
    assert any(p.name.startswith("events.out") for p in (run.path / "tensorboard").iterdir())


def test_what_a_family_notices_is_said_once_in_a_run(tmp_path):
    """A generator that cannot learn: whatever it makes is far from the data, at every logged step, before and after a
    stop."""
    data = toys.write_pictures(tmp_path / "data")
    run = toys.make(data, "gan", tmp_path / "run", steps=40, save_every=10, lr=0.1, gamma=0)
    events = train(run)
    said = [e.kind for e in events if isinstance(e, Notice)]
    assert "runaway" in said and len(said) == len(set(said))
    (run.checkpoints / "step-00000040" / "state.json").unlink()
    again = [e.kind for e in train(Run.load(run.path)) if isinstance(e, Notice)]
    assert "damaged" in again and "runaway" not in again


def test_what_looking_at_a_training_costs_is_kept(tmp_path):
    run = toys.make(toys.write_pictures(tmp_path / "data"), "flow", tmp_path / "run", steps=8, save_every=4)
    list(train(run))
    kept = json.loads((run.path / "timing.json").read_text())
    assert 0 < kept["watching"] < kept["seconds"]


def test_accumulation_gives_the_gradient_of_the_whole_batch(tmp_path):
    for name in family.names():
        data = toys.data_for(name, tmp_path / f"data-{name}")
        found = []
        for micro in (None, 3):
            run = toys.make(data, name, tmp_path / f"{name}-{micro}", **({"micro": micro} if micro else {}))
            trial = Loop(run, device.choose(), Group())
            phase = trial.state.phases[0]
            heldout.only(trial.state.params, phase)
            trial.accumulate(phase)
            found.append(torch.cat([p.grad.flatten() for p in phase.params if p.grad is not None]))
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


def test_running_out_of_memory_halves_what_is_computed_at_a_time(tmp_path, monkeypatch):
    run = toys.make(toys.write_pictures(tmp_path / "data"), "flow", tmp_path / "run", steps=3)
    kind = family.load("flow")
    real = kind.loss

    def tight(self, x, cond, phase, rng):
        if len(x) > 3:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes")
        return real(self, x, cond, phase, rng)

    monkeypatch.setattr(kind, "loss", tight)
    trial = Loop(run, device.choose(), Group())
    events = list(trial.step())
    assert [e.kind for e in events if isinstance(e, Notice)] == ["memory", "memory"]
    assert trial.state.micro == 2 and trial.state.step == 1


def poisoned(monkeypatch, bad_at, value, name="flow"):
    """A family with a loss that turns bad at given calls of the loop's steps."""
    kind = family.load(name)
    real, calls = kind.loss, itertools.count()

    def loss(self, x, cond, phase, rng):
        out = real(self, x, cond, phase, rng)
        return out if not self.training or next(calls) not in bad_at else {**out, "loss": out["loss"] * value}

    monkeypatch.setattr(kind, "loss", loss)


def test_a_value_that_is_not_finite_never_reaches_the_weights(tmp_path, monkeypatch):
    run = toys.make(toys.write_pictures(tmp_path / "data"), "flow", tmp_path / "run", steps=8, save_every=100)
    poisoned(monkeypatch, {3}, float("nan"))
    trial = Loop(run, device.choose(), Group())
    with trial.writer:
        for _ in range(3):
            list(trial.step())
        before = [p.detach().clone() for p in trial.state.family.parameters()]
        events = list(trial.step())
    assert [e.kind for e in events] == ["not-finite"]
    assert all(torch.equal(a, b) for a, b in zip(before, trial.state.family.parameters(), strict=True))
    assert trial.state.step == 4


def test_a_spike_rolls_back_skips_the_window_and_says_so(tmp_path, monkeypatch):
    run = toys.make(toys.write_pictures(tmp_path / "data"), "flow", tmp_path / "run", steps=60, save_every=20)
    poisoned(monkeypatch, {50, 51, 52}, 1e4)
    events = list(train(run))
    notices = [e for e in events if isinstance(e, Notice)]
    (back,) = (n for n in notices if n.kind == "rolled-back")
    kept = max(e.step for e in events[: events.index(back)] if isinstance(e, Saved))
    assert {n.kind for n in notices} <= {"diverging", "rolled-back"} and f"back to step {kept}" in back.text
    assert 40 <= kept < 50
    assert isinstance(events[-1], Done) and events[-1].step == 60
    assert any(line["event"] == "notice" for line in run.log())


def test_a_hopeless_training_stops_after_three_rollbacks_with_advice(tmp_path, monkeypatch):
    run = toys.make(toys.write_pictures(tmp_path / "data"), "flow", tmp_path / "run", steps=60, save_every=20)
    poisoned(monkeypatch, range(30, 10_000), float("inf"))
    with pytest.raises(Diverged, match="--set lr="):
        list(train(run))
    assert list(sample(run, 1))  # the last healthy state is there


def test_the_rate_rises_and_falls_and_the_average_remembers():
    from aurify.training import TrainConfig

    config = TrainConfig(steps=100, warmup=0.1)
    rates = [config.rate(s) for s in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] > 0.9 and rates[-1] == pytest.approx(0.01)
    assert config.rate(150) == 0, "steps timed beyond the last would climb"
    assert config.previews() <= config.evaluations() and 100 in config.previews()


def test_bfloat16_or_compiled_is_a_setting_that_survives_in_the_run(tmp_path):
    run = toys.make(toys.write_pictures(tmp_path / "data"), "flow", tmp_path / "run", precision="bfloat16", steps=2)
    assert json.loads((run.path / "run.json").read_text())["training"]["precision"] == "bfloat16"
    assert isinstance(list(train(run))[-1], Done)


def test_out_of_memory_is_told_from_other_errors():
    assert device.out_of_memory(MemoryError())
    assert device.out_of_memory(RuntimeError("DefaultCPUAllocator: not enough memory: you tried"))
    assert not device.out_of_memory(RuntimeError("shapes do not match"))


def test_python_users_train_and_load_as_often_as_they_like(tmp_path):
    import aurify as au

    data = toys.write_pictures(tmp_path / "data")
    for i in range(2):
        seen = []
        asked = {"width": 8, "multiples": [1, 2], "batch": 8}
        run = au.train(data, seen.append, family="flow", steps=2, out=str(tmp_path / str(i)), settings=asked)
        assert isinstance(seen[-1], Done)
    assert len(au.load(run.path).sample(3, seed=1, label="left")) == 3
