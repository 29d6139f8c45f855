"""A run folder is trained by one process at a time."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

import disk_faults
from aurify import checkpoint
from aurify.errors import UserError


def test_a_second_process_is_refused_and_told_who_trains(tmp_path: Path, fork: Any) -> None:
    receive, send = fork.Pipe(duplex=False)
    child = fork.Process(target=disk_faults.hold, args=(tmp_path, send))
    child.start()
    assert receive.recv()
    says = f"is being trained by process {child.pid} on .*; stop it or wait"
    with pytest.raises(UserError, match=says), checkpoint.lock(tmp_path):
        pass
    child.kill()
    child.join()
    with checkpoint.lock(tmp_path):  # the lock of a killed process is free at once
        pass
    receive.close()
    send.close()


def test_a_second_training_in_one_process_is_refused(tmp_path: Path) -> None:
    with checkpoint.lock(tmp_path):
        with pytest.raises(UserError, match=r"this process trains .* already"), checkpoint.lock(tmp_path / "." / ""):
            pass
        with checkpoint.lock(tmp_path / "another"):
            pass
    with checkpoint.lock(tmp_path):
        pass


def test_a_failed_training_gives_its_lock_back(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), checkpoint.lock(tmp_path):
        raise RuntimeError
    with checkpoint.lock(tmp_path):
        pass


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({}, False),  # this machine, a process that is gone
        ({"boot": "before the last start"}, False),
        ({"host": "the name of a container that is gone"}, False),
        ({"boot": "of another machine", "host": "another"}, True),
    ],
    ids=["killed", "machine restarted", "container replaced", "another machine"],
)
def test_a_lock_left_behind_counts_only_if_another_machine_left_it(
    tmp_path: Path, change: dict[str, str], taken: bool
) -> None:
    with checkpoint.lock(tmp_path):
        owner = json.loads((tmp_path / ".lock").read_bytes())
    (tmp_path / ".lock").write_text(json.dumps(owner | change))
    if not taken:
        with checkpoint.lock(tmp_path):
            assert json.loads((tmp_path / ".lock").read_bytes()) == owner
        return
    says = r"trained by process \d+ on another; if nothing trains there any more, delete .*lock"
    with pytest.raises(UserError, match=says), checkpoint.lock(tmp_path):
        pass


@pytest.mark.parametrize("half", [b"", b'{"host": "oth', b"[1]", b"\xff\xfe"])
def test_a_lock_file_that_was_cut_short_is_free(tmp_path: Path, half: bytes) -> None:
    (tmp_path / ".lock").write_bytes(half)
    with checkpoint.lock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_bytes())["pid"] == os.getpid()
