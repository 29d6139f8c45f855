"""The files under a folder, and a digest of names, sizes and times that tells whether anything changed."""

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from aurify.errors import UserError

CLUTTER = {"__macosx", "thumbs.db", "desktop.ini"}
RUN = {"run.json", "data.json", "codec.json"}  # what a training leaves in its folder, which may lie among the data


class File(NamedTuple):
    """One file: its name below the root with forward slashes, its size in bytes, its time of change in ns."""

    name: str
    size: int
    mtime: int


@dataclass(frozen=True)
class Listing:
    """All files below `root`, sorted by name; `ignored` says by reason what was passed over."""

    root: Path
    files: tuple[File, ...]
    ignored: dict[str, list[str]]


def hidden(name: str) -> bool:
    """Whether a file or folder name is one that people do not see: .DS_Store, __MACOSX, Thumbs.db."""
    return name[0] == "." or name.lower() in CLUTTER


def walk(root: Path) -> Listing:
    """Every file below a folder. Links are followed, circles are not.

    Raises:
        UserError: the folder itself cannot be read.
    """
    files: list[File] = []
    ignored: dict[str, list[str]] = {}
    seen = {_identity(root)}
    todo = [(str(root), "")]
    while todo:
        folder, prefix = todo.pop()
        try:
            with os.scandir(folder) as found:
                entries = list(found)
            if prefix and {entry.name for entry in entries} >= RUN:
                ignored.setdefault("a run of aurify", []).append(prefix)
                continue
            todo.extend(_sort_out(entries, prefix, files, ignored, seen))
        except OSError as error:
            if not prefix:
                raise UserError(f"cannot read the folder {root}: {error.strerror}; check its permissions") from None
            ignored.setdefault("folder cannot be read", []).append(prefix)
    return Listing(root, tuple(sorted(files)), {k: sorted(v) for k, v in ignored.items()})


def _sort_out(
    entries: Iterable[os.DirEntry[str]],
    prefix: str,
    files: list[File],
    ignored: dict[str, list[str]],
    seen: set[tuple[int, int]],
) -> list[tuple[str, str]]:
    """Files to `files`, the rest to `ignored`; returns the folders to go on with."""
    folders = []
    for entry in entries:
        name = prefix + entry.name
        if hidden(entry.name):
            ignored.setdefault("hidden", []).append(name)
            continue
        try:
            status = entry.stat()
        except OSError:
            ignored.setdefault("broken link or no permission", []).append(name)
            continue
        if stat.S_ISREG(status.st_mode):
            files.append(File(name, status.st_size, status.st_mtime_ns))
        elif not stat.S_ISDIR(status.st_mode):
            ignored.setdefault("neither file nor folder", []).append(name)
        elif (place := (status.st_dev, status.st_ino)) in seen:
            ignored.setdefault("folder met before through a link", []).append(name)
        else:
            seen.add(place)
            folders.append((entry.path, name + "/"))
    return folders


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def must_exist(path: Path) -> None:
    """Raises: UserError where nothing is, or where one may not look."""
    try:
        if path.exists():
            return
    except OSError as error:
        raise UserError(f"cannot look at {path}: {error.strerror}; check its permissions") from None
    from aurify.catalog import entries  # late: rarely asked

    fetched = f"aurify data get {path} {path} fetches the set of that name"
    raise UserError(f"there is nothing at {path}; {fetched if str(path) in entries() else 'check the spelling'}")


def one(path: Path) -> File:
    """A single file's entry.

    Raises:
        UserError: it is gone or may not be read.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    return File(path.name, status.st_size, status.st_mtime_ns)


def digest(files: Iterable[File]) -> str:
    """SHA-256 of names, sizes and times, in the order given."""
    lines = "\n".join([f"{f.name}\0{f.size}\0{f.mtime}" for f in files])
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
