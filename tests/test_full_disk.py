"""The disk fills while a run is made or trained: it is said, what is there stays readable, and the run can go on."""

import errno
import json
import os

import pytest

import disk_faults
import toys
from aurify import atomic, checkpoint
from aurify.atomic import NoSpace
from aurify.board import Board
from aurify.errors import UserError
from aurify.events import Done, Notice
from aurify.journal import Journal
from aurify.loop import train
from aurify.run import Run
from aurify.sample import sample
from disk_faults import count, failing

WRITES = ("write", "fsync", "mkdir")


def full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# A file that grows.


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "from then on"])
def test_a_journal_holds_whole_lines_at_any_refusal_and_all_once_there_is_room(tmp_path, for_good):
    lines = [b"first\n", b"second\n", b"third\n"]

    def fill(path):
        journal = Journal(path)
        for line in lines:
            try:
                journal.append(line)
            except NoSpace as error:
                assert "full" in str(error) and path.name in str(error)
        return journal

    calls = count(lambda: fill(tmp_path / "model"))
    assert calls == 4
    for k in range(1, calls):
        path = tmp_path / str(k)
        with failing(k, full, WRITES if for_good else ()):
            journal = fill(path)
        assert path.read_bytes() in (b"", b"first\n", b"first\nsecond\n", b"".join(lines))
        journal.append(b"last\n")
        assert path.read_bytes() == b"".join(lines) + b"last\n"
        journal.close()


def test_half_a_record_is_cut_off_again(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "log")
    journal.append(b"whole\n")
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:3]) if len(data) > 3 else full())
    with pytest.raises(NoSpace):
        journal.append(b"halves\n")
    assert journal.path.read_bytes() == b"whole\n" and journal.sync() == 6
    monkeypatch.setattr(os, "write", write)
    journal.close()
    assert journal.path.read_bytes() == b"whole\nhalves\n"


def test_a_journal_that_is_too_short_is_not_stretched(tmp_path):
    journal = Journal(tmp_path / "log")
    journal.append(b"one\ntwo\nthr")
    assert not journal.cut(100) and journal.path.read_bytes() == b"one\ntwo\n"
    assert journal.cut(4) and journal.path.read_bytes() == b"one\n"
    journal.append(b"2\n")
    assert journal.path.read_bytes() == b"one\n2\n"


def test_the_board_is_what_tensorboard_reads(tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    made = Board(tmp_path / "tensorboard")
    made.add(3, {"train/loss": 0.5, "train/gradient": 2.0})
    made.add(4, {"train/loss": 0.25})
    (file,) = (tmp_path / "tensorboard").iterdir()
    found = list(loader.LegacyEventFileLoader(str(file)).Load())
    assert found[0].file_version == "brain.Event:2"
    points = [(e.step, v.tag, v.simple_value) for e in found[1:] for v in e.summary.value]
    assert points == [(3, "train/loss", 0.5), (3, "train/gradient", 2.0), (4, "train/loss", 0.25)]


# A run.


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing disturbed, where its data lies, and how many calls to the disk it made."""
    folder = tmp_path_factory.mktemp("whole")
    data = toys.write_texts(folder / "data")
    run = toys.make(data, "transformer", folder / "run", steps=4, save_every=2)
    return run, data, count(lambda: list(train(run)))


def test_a_run_is_made_whole_or_not_at_all(whole, tmp_path):
    model = whole[0]

    def make(path):
        return Run.create(path, model.card, model.data, model.codec.state)

    calls = count(lambda: make(tmp_path / "counted"))
    assert calls > 10
    for k in range(calls):
        home = tmp_path / str(k)
        home.mkdir()
        with failing(k, full, WRITES):
            try:
                make(home / "run")
            except NoSpace as error:
                assert "full" in str(error)
                assert not list(home.iterdir()) or Run.load(home / "run")
        if not list(home.iterdir()):
            make(home / "run")
        assert Run.load(home / "run").codec.state == model.codec.state


def test_a_run_takes_an_empty_folder_even_the_one_where_somebody_stands(whole, tmp_path, monkeypatch):
    model = whole[0]
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    made = Run.create(empty.relative_to(empty), model.card, model.data, model.codec.state)
    assert made.card == model.card and Run.load(empty).codec.state == model.codec.state
    with pytest.raises(UserError, match="aurify resume"):
        Run.create(empty, model.card, model.data, model.codec.state)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="is not a run; choose another --out"):
        Run.create(tmp_path / "mine", model.card, model.data, model.codec.state)


# A training.


def weights(run):
    found, damaged = checkpoint.newest(run.checkpoints)
    assert found and not damaged
    return found.step, {name: tensor.tolist() for name, tensor in found.tensors["ema"].items()}


@pytest.mark.parametrize("share", [0.15, 0.3, 0.45, 0.6, 0.75, 0.9])
def test_a_disk_that_fills_during_a_training_costs_no_weights_and_leaves_a_valid_log(whole, tmp_path, share):
    undisturbed, data, calls = whole
    run = toys.make(data, "transformer", tmp_path / "run", steps=4, save_every=2)
    told = []
    with failing(int(share * calls), full, WRITES), pytest.raises(NoSpace, match="full"):
        for event in train(run):
            told.append(event)
    assert not any(isinstance(event, Done) for event in told)
    kinds = [event.kind for event in told if isinstance(event, Notice)]
    assert kinds.count("not-written") <= 3, "each kind of file is told once"
    run.log()
    assert all(json.loads(line) for line in run.events.read_text().splitlines())
    if checkpoint.found(run.checkpoints):
        assert list(sample(run, 1)), "the last good checkpoint is there"
    assert isinstance(list(train(run))[-1], Done)
    assert weights(run) == weights(undisturbed)


def test_a_preview_and_a_line_that_cannot_be_written_are_said_and_training_goes_on(whole, tmp_path, monkeypatch):
    undisturbed, data, _ = whole
    run = toys.make(data, "transformer", tmp_path / "run", steps=4, save_every=2)
    write = os.write

    def refuses(file, content):
        place = os.readlink(f"/proc/self/fd/{file}")
        return full() if place.endswith("events.jsonl") or "/previews/" in place else write(file, content)

    monkeypatch.setattr(os, "write", refuses)
    told = list(train(run))
    assert isinstance(told[-1], Done)
    texts = [event.text for event in told if isinstance(event, Notice)]
    assert (
        sum("events.jsonl" in text for text in texts) == 1
        and sum("without this preview" in text for text in texts) == 1
    )
    assert weights(run) == weights(undisturbed)
    assert not run.log()


def test_a_stop_that_cannot_be_saved_does_not_say_that_it_was(whole, tmp_path):
    _, data, _ = whole
    run = toys.make(data, "transformer", tmp_path / "run", steps=40, save_every=40)
    told = []
    with disk_faults.watched(lambda name: full() if told and name in WRITES else None), pytest.raises(NoSpace):
        for event in train(run):
            told.append(event)
            os.kill(os.getpid(), 15)
    assert not any("Stopped and saved" in event.text for event in told if isinstance(event, Notice))


def test_a_new_checkpoint_takes_the_room_of_older_ones_where_there_is_no_other(whole, tmp_path, monkeypatch):
    """A disk with room for three checkpoints, more or less."""
    _, data, _ = whole
    run = toys.make(data, "transformer", tmp_path / "run", steps=8, save_every=1)
    sizes, reserve = [], atomic.reserve

    def little(folder, size, what):
        if what.startswith("save"):
            sizes.append(size)
            if len(list(run.checkpoints.glob("step-*"))) > 2:
                raise NoSpace(f"no room to {what}.")
        reserve(folder, size, what)

    monkeypatch.setattr(atomic, "reserve", little)
    told = list(train(run))
    assert isinstance(told[-1], Done) and not any(isinstance(e, Notice) and e.kind == "no-space" for e in told)
    kept = sorted(p.name for p in run.checkpoints.iterdir())
    assert kept[-1] == "step-00000008" and 2 <= len(kept) <= 3
