"""Killed, out of space or out of power while a checkpoint is written: the last or the one before is there."""

import errno
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

import disk_faults
from aurify import atomic, checkpoint
from aurify.checkpoint import NoSpace, newest, thin
from aurify.errors import UserError
from disk_faults import content, count, failing, is_whole, no_leftovers, save, step_of


def test_content_differs_from_step_to_step() -> None:
    """The tests above tell checkpoints apart by their content: it must be able to."""
    assert not torch.equal(content(1)[0]["model"]["w"], content(2)[0]["model"]["w"])
    assert not torch.equal(content(1)[0]["model"]["w"], content(1, version=1)[0]["model"]["w"])


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where there is such a place: thousands of small folders are made here, and a kill spares memory too."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(dir=memory, prefix="aurify-") as folder:
        yield Path(folder)


# Killed.


def scenarios() -> dict[str, tuple[list[int], int, int]]:
    """Steps that are there, the step to be saved, its version."""
    return {
        "the first": ([], 1, 0),
        "the next": ([1], 2, 0),
        "one more, and old ones thinned": ([10, 20, 30, 40, 50, 60], 70, 0),
        "the newest again": ([1, 2], 2, 1),
        "the only one again": ([1], 1, 1),
    }


def prepared(root: Path, steps: list[int]) -> Path:
    """root/run/checkpoints with these steps, copied from one that is saved once."""
    folder, model = root / "run" / "checkpoints", root.parent / "model"
    for step in () if model.exists() else steps:
        save(model / "run" / "checkpoints", step)
    model.mkdir(exist_ok=True)
    shutil.copytree(model, root)
    return folder


def before_or_after(folder: Path, steps: list[int], step: int) -> int | None:
    """Newest step, which must be the last or the one before, and no damage."""
    found, damaged = newest(folder)
    assert not damaged
    assert found is None or is_whole(found)
    newest_step = found.step if found else None
    assert newest_step in ((steps[-1] if steps else None), step)
    return newest_step


@pytest.mark.parametrize("name", scenarios())
def test_killed_at_any_change_of_the_disk_the_last_or_the_one_before_is_there(
    tmp_path: Path, name: str, fork: Any
) -> None:
    steps, step, version = scenarios()[name]
    whole = prepared(tmp_path / "whole", steps)
    calls = count(lambda: (save(whole, step, version), thin(whole, keep=2)))
    assert calls > 15
    seen = set()
    for k in range(calls):
        folder = prepared(tmp_path / str(k), steps)
        child = fork.Process(target=disk_faults.save_and_die, args=(folder, step, version, k))
        child.start()
        child.join()
        assert child.exitcode == 9, f"call {k} of {calls} was not reached"
        seen.add(before_or_after(folder, steps, step))
        save(folder, step + 1)  # life goes on, and nothing is left lying about
        assert step_of(folder) == step + 1 and no_leftovers(folder)
        shutil.rmtree(tmp_path / str(k))
    assert seen == {steps[-1] if steps else None, step}, "kills before and after the decisive moment"


@pytest.mark.parametrize("times", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_at_random_instants_what_was_saved_is_there(tmp_path: Path, times: int, fork: Any) -> None:
    rng, last, in_between = random.Random(times), 0, 0
    for _ in range(times):
        receive, send = fork.Pipe(duplex=False)
        child = fork.Process(target=disk_faults.save_on_and_on, args=(tmp_path, send))
        child.start()
        send.close()
        last = receive.recv()
        time.sleep(rng.random() * 0.05)
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        while receive.poll():
            try:
                last = receive.recv()
            except EOFError:
                break
        receive.close()
        in_between += not no_leftovers(tmp_path)
        assert step_of(tmp_path) in (last, last + 1)
    assert in_between, "no kill met a save: the test has not tested anything"


# A disk that refuses.


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Path]:
    """A folder with checkpoints of steps 1 and 2."""
    save(tmp_path, 1)
    save(tmp_path, 2)
    yield tmp_path
    assert no_leftovers(tmp_path)


@pytest.mark.parametrize("name", scenarios())
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "from then on"])
def test_a_full_disk_at_any_change_is_said_and_what_was_there_stays(tmp_path: Path, name: str, for_good: bool) -> None:
    steps, step, version = scenarios()[name]
    folder = prepared(tmp_path / "whole", steps)
    calls = count(lambda: save(folder, step, version))

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for k in range(calls):
        folder = prepared(tmp_path / str(k), steps)
        says = r"cannot save the checkpoint of step \d+ in .* full .*it needs .*free some"
        later = ("write", "fsync", "mkdir") if for_good else ()
        with failing(k, full, later), pytest.raises(NoSpace, match=says):
            save(folder, step, version)
        before_or_after(folder, steps, step)
        assert not list(folder.glob("step-*[0-9].tmp-*")) or version, "nothing half-written is left"
        save(folder, step + 1)
        assert step_of(folder) == step + 1 and no_leftovers(folder)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.EACCES, "you may not write there; change its permissions"),
        (errno.EROFS, "read-only; choose another folder"),
        (errno.EIO, "input/output error; check the disk"),
        (errno.EMFILE, "Too many open files"),
        (errno.EDQUOT, "quota"),
    ],
)
def test_every_refusal_is_a_sentence_that_says_how_to_mend_it(two: Path, code: int, says: str) -> None:
    def refuse() -> None:
        raise OSError(code, os.strerror(code))

    for k in range(count(lambda: save(two, 3))):
        shutil.rmtree(two / "step-00000003")
        with failing(k, refuse), pytest.raises(UserError, match=f"cannot save the checkpoint of step 3 in .*{says}"):
            save(two, 3)
        save(two, 3)


def test_a_limit_on_the_size_of_files_is_said(two: Path, fork: Any) -> None:
    receive, send = fork.Pipe(duplex=False)
    shutil.rmtree(two / "step-00000002")
    child = fork.Process(target=disk_faults.save_large_file, args=(two, send))
    child.start()
    send.close()
    assert "ulimit -f" in receive.recv()
    receive.close()
    child.join()
    assert step_of(two) == 1


def test_too_little_space_is_seen_before_anything_is_written(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "free", lambda folder: 1000)
    fits, too_large = torch.zeros(400, dtype=torch.uint8), torch.zeros(500, dtype=torch.uint8)
    calls = count(lambda: checkpoint.save(two, 3, {"model": {"x": fits}}, {}))
    assert calls > 10
    refused = []
    with disk_faults.watched(refused.append), pytest.raises(NoSpace, match=r"it needs 0\.0 MB, 0\.0 MB is free"):
        checkpoint.save(two, 4, {"model": {"x": too_large}}, {})
    assert not refused


def test_short_writes_are_gone_on_with(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:7]))
    save(two, 3)
    assert step_of(two) == 3


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "run.json"

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    atomic.write(path, b"old")
    calls = count(lambda: atomic.write(path, b"old"))
    for k in range(calls):
        with failing(k, full), pytest.raises(NoSpace, match=r"cannot write run\.json in"):
            atomic.write(path, b"new")
        assert path.read_bytes() in (b"old", b"new") and [p.name for p in tmp_path.iterdir()] == ["run.json"]
        atomic.write(path, b"old")


# A power cut.


def power_cut_states(
    tmp_path: Path, name: str, forget: Callable[[disk_faults.Op], bool]
) -> Iterator[tuple[bool, Path]]:
    """(whether `save` had returned, folder) for every disk a power cut may leave in this scenario. What `forget` names
    is taken out of the record: a way to see what the code would be without it."""
    steps, step, version = scenarios()[name]
    rng = random.Random(0)
    start, work, trial = tmp_path / "start", tmp_path / "work", tmp_path / "trial"
    prepared(start, steps)
    shutil.copytree(start, work)
    saved = disk_faults.record(work, lambda: save(work / "run" / "checkpoints", step, version))
    thinned = disk_faults.record(work, lambda: thin(work / "run" / "checkpoints", keep=2))
    ops = [op for op in saved + thinned if not forget(op)]
    done = len([op for op in saved if not forget(op)])
    for k in range(len(ops) + 1):
        for left in disk_faults.power_cuts(ops[:k], rng, most=6):
            shutil.copytree(start, trial)
            disk_faults.replay(left, trial)
            yield k >= done, trial / "run" / "checkpoints"
            shutil.rmtree(trial)


@pytest.mark.parametrize("name", scenarios())
def test_after_a_power_cut_the_last_or_the_one_before_is_there(tmp_path: Path, name: str) -> None:
    steps, step, _ = scenarios()[name]
    states = 0
    for returned, folder in power_cut_states(tmp_path, name, lambda op: False):
        there = before_or_after(folder, steps, step)
        assert there == step or not returned, "save had returned: the checkpoint must last"
        states += 1
    assert states > 100


@pytest.mark.parametrize("file", ["files", "folders"])
def test_the_power_cuts_would_see_a_missing_fsync(tmp_path: Path, file: str) -> None:
    def forget(op: disk_faults.Op) -> bool:
        return op.kind == "fsync" and (op.path.suffix != "") == (file == "files")

    lost = 0
    for returned, folder in power_cut_states(tmp_path, "the next", forget):
        found, _ = newest(folder)
        lost += returned and (found is None or found.step != 2)
    assert lost
