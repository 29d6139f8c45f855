"""A run folder is trained by one process at a time.

The kernel keeps a POSIX record lock for as long as its process lives and gives it to no child, so the lock of a killed
training is free at once and no stale file has to be guessed about. Only a folder shared by several machines may sit on
a file system that does not pass locks on: there the owner's name in the file decides.
"""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aurify.atomic import explained, make
from aurify.errors import UserError

NAME = ".lock"
_held: set[Path] = set()  # record locks do not see a second request of the same process


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process, until the block ends or the process dies.

    Raises:
        UserError: another process, on this machine or elsewhere, holds it; the message says which.
    """
    path = folder.resolve() / NAME
    if path in _held:
        raise UserError(f"this process trains {folder} already; wait until it ends, or choose another folder.")
    with explained(folder, "lock the run"):
        make(folder)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _take(file, folder)
        _held.add(path)
        try:
            yield
        finally:
            _held.discard(path)
            os.ftruncate(file, 0)  # the file stays: removing it would let a third process lock another one of that name
    finally:
        os.close(file)


def _take(file: int, folder: Path) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise _taken(folder, _owner(file), "stop it or wait until it ends, or choose another folder.") from None
    owner, me = _owner(file), _me()
    here = owner.get("host") == me["host"] or (me["boot"] and owner.get("boot") == me["boot"])
    if owner and not here:
        mend = f"if nothing trains there any more, delete {folder / NAME}."
        raise _taken(folder, owner, mend)
    with explained(folder, "lock the run"):
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(me).encode(), 0)


def _taken(folder: Path, owner: dict[str, Any], mend: str) -> UserError:
    who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}" if owner else "another process"
    return UserError(f"{folder} is being trained by {who}; {mend}")


def _owner(file: int) -> dict[str, Any]:
    """Whom the file names; empty where it names nobody, or was cut off while being written."""
    try:
        owner = json.loads(os.pread(file, 4096, 0))
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _me() -> dict[str, Any]:
    """The boot id is one a kernel and start: containers of one machine share it though their host names differ."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return {"boot": boot.read_text().strip() if boot.exists() else "", "host": socket.gethostname(), "pid": os.getpid()}
