"""Writing that is all or nothing: arrays that grow row by row, and a folder that appears complete or not at all."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from aurify import atomic

PLACES, BLOCK = 64, 2**14  # of a file that is too large to be read whole
STALE = 24 * 3600  # seconds after which an unfinished folder belongs to nobody


class Growing:
    """A .npy file of rows that are not counted beforehand, as a context: leaving it writes the header and flushes."""

    def __init__(self, path: Path, dtype: np.dtype[Any], row: tuple[int, ...] = ()):
        self.dtype, self.row, self.n = dtype, row, 0
        self.file = open(path, "wb")  # noqa: SIM115

    def __enter__(self) -> "Growing":
        self._head()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._finish()
        else:
            with suppress(OSError):  # what is still in the buffer fails as its forerunner did
                self.file.close()

    def write(self, rows: np.ndarray) -> None:
        """Append rows of shape (k, *row)."""
        assert rows.shape[1:] == self.row and rows.dtype == self.dtype, (rows.shape, rows.dtype, self.row, self.dtype)
        self.file.write(np.ascontiguousarray(rows).data)
        self.n += len(rows)

    def _finish(self) -> None:
        start = self.file.tell() - self.n * self.dtype.itemsize * int(np.prod(self.row))
        self.file.seek(0)
        self._head()
        assert self.file.tell() == start, "a .npy header leaves room for its first axis to grow"
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()

    def _head(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (self.n, *self.row),
        }
        np.lib.format.write_array_header_1_0(self.file, header)


def save(path: Path, array: np.ndarray) -> None:
    """One .npy file, flushed to the disk."""
    with Growing(path, array.dtype, array.shape[1:]) as growing:
        growing.write(array)


def save_text(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def save_lines(path: Path, values: list[Any]) -> None:
    """One JSON value a line."""
    save_text(path, "".join(json.dumps(v) + "\n" for v in values))


def facts(path: Path) -> dict[str, Any]:
    """By which a file is known again: its size, the hash of all of it, and that of some blocks."""
    return {"size": path.stat().st_size, "sha256": sha256(path), "sampled": sampled(path)}


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sampled(path: Path) -> str:
    """SHA-256 of PLACES blocks from the first to the last, evenly spread: a few milliseconds however large the file is.
    What is lost, zeroed or another file's is seen; a flipped byte is not, unless it lies there."""
    digest, last = hashlib.sha256(), max(0, path.stat().st_size - BLOCK)
    with open(path, "rb") as file:
        for i in range(PLACES):
            file.seek(last * i // (PLACES - 1))
            digest.update(file.read(BLOCK))
    return digest.hexdigest()


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the name `folder` once its block is done; an error leaves nothing behind.

    If another process made `folder` meanwhile, that one stays.

    Raises:
        UserError: the disk refuses.
    """
    with atomic.explained(folder.parent, "write the encoded data"):
        atomic.make(folder.parent)
        _sweep(folder.parent)
        work = atomic.beside(folder)
        work.mkdir()
        try:
            yield work
            try:
                atomic.publish(work, folder)
            except OSError:
                if not folder.is_dir():
                    raise
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Delete what a killed process left."""
    for left in parent.glob(f"*{atomic.TMP}*"):
        times = [p.stat().st_mtime for p in (left, *left.glob("*")) if p.exists()]
        if times and time.time() - max(times) > STALE:
            shutil.rmtree(left, ignore_errors=True)
