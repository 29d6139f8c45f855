"""Durable writes: after a crash or a power cut a file or folder is either whole or not there.

The order is what makes it so (Pillai et al. 2014, "All File Systems Are Not Created Equal"): write under a name nobody
reads, fsync the content, fsync the folder that names it, rename, fsync the folder that holds the new name.
"""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aurify.errors import UserError

TMP = ".tmp-"  # what stands between a name and a random suffix while a file or folder is not to be read


class NoSpace(UserError):
    """The disk is full, or would be. What was there before is untouched."""


def beside(path: Path, mark: str = TMP) -> Path:
    """A fresh name in the same folder, hence on the same disk: "step-1" -> "step-1.tmp-5f0c..."."""
    return path.with_name(f"{path.name}{mark}{uuid.uuid4().hex}")


def create(path: Path, data: bytes) -> None:
    """A new file with this content, on the disk when this returns. Its name lasts once `sync` of its folder is done."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    finally:
        os.close(file)


def sync(folder: Path) -> None:
    """Make the names in a folder last: files created, renamed and removed in it."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def make(folder: Path) -> None:
    """Create a folder and those above it, each name made to last; nothing happens where it is there already."""
    if folder.is_dir():
        return
    make(folder.parent)
    try:
        os.mkdir(folder)
    except FileExistsError:
        if not folder.is_dir():
            raise
    sync(folder.parent)


def publish(tmp: Path, path: Path) -> None:
    """Give a finished folder its real name, for good. `path` must not exist."""
    sync(tmp)
    os.rename(tmp, path)
    sync(path.parent)


def appear(tmp: Path, path: Path) -> None:
    """`publish` where an empty folder may have the real name already: it may be one that cannot be renamed over, such
    as a mount point or where somebody stands, so the content moves into it, in the order of its making."""
    if not path.is_dir():
        return publish(tmp, path.resolve())
    for file in sorted(tmp.iterdir(), key=lambda file: file.stat().st_mtime_ns):
        os.rename(file, path / file.name)
    sync(path)


def write(path: Path, data: bytes) -> None:
    """A file whose content is the old or the new, never a mixture.

    Raises:
        UserError: the disk is full or the folder may not be written to; the old content stays.
    """
    tmp = beside(path)
    with explained(path.parent, f"write {path.name}", len(data)):
        try:
            create(tmp, data)
            os.replace(tmp, path)
            sync(path.parent)
        finally:
            tmp.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Removes what writes that were killed left in a folder. Only for who alone writes there."""
    for left in folder.glob(f"*{TMP}*"):
        left.unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Delete a folder; a crash on the way leaves it whole under its name, or remains under a name nobody reads."""
    gone = folder if TMP in folder.name else beside(folder)
    if gone != folder:
        os.rename(folder, gone)
        sync(folder.parent)
    shutil.rmtree(gone)


def free(folder: Path) -> int:
    """Bytes an ordinary user may still write on the disk this folder is, or would be, on."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def reserve(folder: Path, size: int, what: str) -> None:
    """Look before writing.

    Raises:
        NoSpace: fewer than `size` bytes are free.
    """
    if free(folder) < size:
        raise NoSpace(_full(folder, what, size))


@contextmanager
def explained(folder: Path, what: str = "write", size: int = 0) -> Iterator[None]:
    """Turn the operating system's refusals into sentences: explained(folder, "save the checkpoint of step 8", bytes).

    Raises:
        NoSpace: disk or quota full, or the largest allowed file size reached.
        UserError: everything else the system refuses.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise NoSpace(f"cannot {what} in {folder}: files may not be that large here; raise `ulimit -f`.") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(_full(folder, what, size)) from error
        raise UserError(f"cannot {what} in {folder}: {_refusal(error)}") from error


def _full(folder: Path, what: str, size: int) -> str:
    need = f"it needs {megabytes(size)}, " if size else ""
    return (
        f"cannot {what} in {folder}: the disk or your quota is full ({need}{megabytes(free(folder))} is free); "
        "free some space there, or choose another disk."
    )


def _refusal(error: OSError) -> str:
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return "you may not write there; change its permissions, or choose another folder."
        case errno.EROFS:
            return "that disk is read-only; choose another folder."
        case errno.EIO:
            return "the disk reports an input/output error; check the disk, then choose another folder."
        case errno.ENOTDIR | errno.EEXIST:
            return "a file stands where a folder is needed; move it away, or choose another folder."
        case _:
            return f"{error.strerror or error}; mend that, or choose another folder."


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
