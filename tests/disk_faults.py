"""Ways in which saving can be cut short: a killed process, a refusing disk, a power cut.

Every change that Python code makes to a disk goes through a function of `os`; here they are watched, counted and made
to fail, so the code under test needs no hooks of its own.
"""

import itertools
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from aurify import checkpoint

CALLS = ("open", "write", "fsync", "ftruncate", "rename", "replace", "unlink", "mkdir", "rmdir")


@contextmanager
def watched(before: Callable[[str], None], after: Callable[..., None] = lambda *_, **__: None) -> Iterator[None]:
    """Calls before(name) ahead of each call that may change a disk, and after(name, result, *args) when it is done."""
    real = {name: getattr(os, name) for name in CALLS}

    def wrapped(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            before(name)
            result = real[name](*args, **kwargs)
            after(name, result, *args, **kwargs)
            return result

        return call

    for name in CALLS:
        setattr(os, name, wrapped(name))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def count(action: Callable[[], Any]) -> int:
    """How many such calls an action makes."""
    calls: list[str] = []
    with watched(calls.append):
        action()
    return len(calls)


@contextmanager
def failing(k: int, fail: Callable[[], None], and_after: tuple[str, ...] = ()) -> Iterator[None]:
    """The k-th call (from 0) fails, and so do the later ones named in `and_after`."""
    number = itertools.count()

    def before(name: str) -> None:
        n = next(number)
        if n == k or (n > k and name in and_after):
            fail()

    with watched(before):
        yield


# What the tests save. Content is a function of the step, so that any checkpoint can be told to be exactly right.


def content(step: int, version: int = 0) -> tuple[checkpoint.Groups, dict[str, Any]]:
    rng = torch.Generator().manual_seed(1000 * version + step)
    w, b = torch.randn(16, 16, generator=rng), torch.randint(0, 256, (5,), generator=rng, dtype=torch.uint8)
    return {"model": {"w": w, "b": b}, "optimizer": {"m": torch.randn(16, 16, generator=rng)}}, {
        "step": step,
        "v": version,
    }


def save(folder: Path, step: int, version: int = 0) -> Path:
    tensors, state = content(step, version)
    return checkpoint.save(folder, step, tensors, state)


def is_whole(found: checkpoint.Loaded) -> bool:
    """Whether it is exactly what `save` saved for its step."""
    tensors, state = content(found.step, found.state["v"])
    same = all(torch.equal(found.tensors[g][n], t) for g, group in tensors.items() for n, t in group.items())
    return same and found.state == state and found.tensors.keys() == tensors.keys()


def step_of(folder: Path) -> int | None:
    """The newest step, after making sure that it is exactly what was saved."""
    found, _ = checkpoint.newest(folder)
    assert found is None or is_whole(found)
    return found.step if found else None


def no_leftovers(folder: Path) -> bool:
    return not [p for p in folder.iterdir() if not p.name.removeprefix("step-").isdigit()]


# What children do.


def save_and_die(folder: Path, step: int, version: int, k: int) -> None:
    """Saves and thins; the process ends at once at the k-th call, as if killed."""
    with failing(k, lambda: os._exit(9)):
        save(folder, step, version)
        checkpoint.thin(folder, keep=2)


def save_on_and_on(folder: Path, saved: Connection) -> None:
    """Saves step after step from where the folder stands, and tells each one that is done."""
    found, _ = checkpoint.newest(folder)
    for step in itertools.count(found.step + 1 if found else 1):
        save(folder, step)
        saved.send(step)
        checkpoint.thin(folder)


def hold(folder: Path, held: Connection) -> None:
    """Holds the run's lock until killed."""
    with checkpoint.lock(folder):
        held.send(True)
        time.sleep(600)


def save_large_file(folder: Path, told: Connection) -> None:
    """Saves where no file may be larger than 100 bytes; tells what was raised."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    try:
        save(folder, 2)
    except checkpoint.NoSpace as error:
        told.send(str(error))


# A power cut. What may be on the disk then is more than any prefix of the calls: content that was not fsynced may be
# missing in part, and names that were not made to last by an fsync of their folder may be missing too.


@dataclass(frozen=True)
class Op:
    kind: str  # create, write, fsync, mkdir, rename, unlink, rmdir
    path: Path  # relative to the root
    data: bytes = b""
    to: Path = Path()


def record(root: Path, action: Callable[[], Any]) -> list[Op]:
    """Every change `action` makes below root, in order."""
    ops: list[Op] = []

    def place(path: Any, dir_fd: int | None = None) -> Path:
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        elif dir_fd is not None:
            path = Path(os.readlink(f"/proc/self/fd/{dir_fd}")) / path
        return Path(path).relative_to(root)

    def after(name: str, result: Any, *args: Any, dir_fd: int | None = None, **_: Any) -> None:
        match name:
            case "open" if args[1] & os.O_CREAT:
                ops.append(Op("create", place(args[0], dir_fd)))
            case "write":
                ops.append(Op("write", place(args[0]), bytes(args[1])[:result]))
            case "rename" | "replace":
                ops.append(Op("rename", place(args[0]), to=place(args[1])))
            case "fsync" | "mkdir" | "unlink" | "rmdir":
                ops.append(Op(name, place(args[0], dir_fd)))

    with watched(lambda _: None, after):
        action()
    return ops


def power_cuts(ops: list[Op], rng: random.Random, most: int) -> Iterator[list[Op]]:
    """Disks that a power cut after these calls may leave, each as the calls that would make it.

    Content not fsynced is there, missing, cut in half or zeros; of the changes in a folder since its last fsync, the
    last few are lost, in each folder independently.
    """
    synced = {op.path: i for i, op in enumerate(ops) if op.kind == "fsync"}
    pending: dict[Path, list[int]] = {}
    for i, op in enumerate(ops):
        if op.kind in ("create", "mkdir", "rename", "unlink", "rmdir") and synced.get(op.path.parent, -1) < i:
            pending.setdefault(op.path.parent, []).append(i)
    losses = list(itertools.product(*[[tuple(p[n:]) for n in range(len(p), -1, -1)] for p in pending.values()]))
    for loss in losses if len(losses) <= most else [losses[0], losses[-1], *rng.sample(losses, most - 2)]:
        lost = set(itertools.chain(*loss))
        for spoil in (bytes, lambda d: d, lambda d: d[: len(d) // 2], lambda d: bytes(len(d))):
            yield [
                Op("write", op.path, spoil(op.data)) if op.kind == "write" and synced.get(op.path, -1) < i else op
                for i, op in enumerate(ops)
                if i not in lost
            ]


def replay(ops: list[Op], root: Path) -> None:
    """Make the changes below root; those whose place is missing, since a change they needed was lost, do nothing."""
    for op in ops:
        path = root / op.path
        match op.kind:
            case "create" if path.parent.is_dir():
                path.touch()
            case "write" if path.is_file():
                path.write_bytes(path.read_bytes() + op.data)
            case "mkdir" if path.parent.is_dir():
                path.mkdir(exist_ok=True)
            case "rename" if path.exists() and (root / op.to).parent.is_dir():
                path.rename(root / op.to)
            case "unlink":
                path.unlink(missing_ok=True)
            case "rmdir":
                shutil.rmtree(path, ignore_errors=True)
