"""Arrays of pictures or texts: .npz of NumPy, .idx of MNIST."""

import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from aurify.data import archive
from aurify.data.item import Item
from aurify.data.table import label_of, read_whole
from aurify.errors import UserError

VALUES = ("images", "x", "data")
LABELS = ("labels", "y")
IDX = re.compile(r"(.*[-.](idx\d?)(-ubyte)?)(\.gz)?", re.IGNORECASE)
IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def is_idx(name: str) -> bool:
    """Names such as train-images-idx3-ubyte.gz, digits.idx3-ubyte, digits.idx."""
    return IDX.fullmatch(name) is not None


def npz(path: Path) -> tuple[list[Item], list[str]]:
    """Items of images/x/data with labels/y; x_train, y_train, x_test, y_test make splits. Never unpickles.

    Raises:
        UserError: damaged, an archive bomb, pickled objects, or no such keys.
    """
    if not zipfile.is_zipfile(path):
        raise UserError(f"cannot read {path}: it is damaged; save arrays with numpy.savez")
    archive.members(path, zipped=True)  # refuses what is unsafe
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        why = "it holds Python objects, which are never loaded" if "pickle" in str(error) else "it is damaged"
        raise UserError(f"cannot read {path}: {why}; save plain arrays with numpy.savez") from None
    found: list[Item] = []
    notes: list[str] = []
    for suffix, split in (("", None), ("_train", "train"), ("_valid", "valid"), ("_val", "valid"), ("_test", "test")):
        value = next((arrays[k + suffix] for k in VALUES if k + suffix in arrays), None)
        labels = next((arrays[k + suffix] for k in LABELS if k + suffix in arrays), None)
        if value is not None:
            found += _items(value, labels, split, f"{path.name}{suffix}", notes)
    if not found:
        raise UserError(
            f"{path} has the keys {', '.join(arrays) or 'none'}; it needs images (or x, data) and labels (or y)"
        )
    return found, list(dict.fromkeys(notes))


def idx(path: Path, split: str | None = None) -> tuple[list[Item], list[str]]:
    """Items of an .idx file (LeCun's format of MNIST), with labels from the file of the same name with `labels`.

    Raises:
        UserError: damaged, or a label file that does not fit.
    """
    values = parse_idx(read_whole(path), path.name)
    beside = labels_beside(path)
    labels = parse_idx(read_whole(beside), beside.name) if beside else None
    if values.ndim == 1:
        raise UserError(f"{path} holds labels; give the file of the pictures (their labels are found beside it)")
    notes: list[str] = []
    return _items(values, labels, split, path.name, notes), notes


def labels_beside(path: Path) -> Path | None:
    """train-images-idx3-ubyte.gz -> train-labels-idx1-ubyte.gz, whichever spelling exists."""
    match = IDX.fullmatch(path.name.replace("images", "labels"))
    if "images" not in path.name or not match:
        return None
    bare = re.sub(r"idx\d", "idx1", match[1])
    wanted = {bare, bare + ".gz", match[1], match[1] + ".gz"}
    return next((p for p in sorted(path.parent.iterdir()) if p.name in wanted and p.is_file()), None)


def parse_idx(data: bytes, name: str) -> np.ndarray:
    """Bytes 0 0 type rank, then rank sizes (4 bytes, big-endian), then the values."""
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES or not 1 <= data[3] <= 4:
        raise UserError(f"{name} is not an idx file; its first bytes must be 0, 0, a type and a rank of at most 4")
    dtype, rank = np.dtype(IDX_TYPES[data[2]]), data[3]
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    start, count = 4 + 4 * rank, math.prod(shape)
    if len(data) != start + count * dtype.itemsize:
        raise UserError(f"{name} is damaged: {' x '.join(map(str, shape))} values do not fit its {len(data):,} bytes")
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _items(values: np.ndarray, labels: Any, split: str | None, name: str, notes: list[str]) -> list[Item]:
    if labels is not None and (labels.ndim != 1 or len(labels) != len(values)):
        raise UserError(f"{name} has {len(values):,} samples but labels of shape {labels.shape}; give one label each")
    if values.ndim == 1 and values.dtype.kind == "U":
        natives: Any = [str(v) for v in values]
    else:
        natives = _pictures(values, name, notes)
    names = [label_of(v.item()) for v in labels] if labels is not None else [None] * len(natives)
    return [Item(f"{name} row {i + 1}", _At(natives, i), label, None, split) for i, label in enumerate(names)]


class _At:
    """The i-th of some samples, picked when asked for."""

    __slots__ = ("i", "values")

    def __init__(self, values: Any, i: int):
        self.values, self.i = values, i

    def __call__(self) -> Any:
        return self.values[self.i]


def _pictures(x: np.ndarray, name: str, notes: list[str]) -> np.ndarray:
    """Values (n, H, W), (n, H, W, C) or (n, C, H, W) as (n, H, W, C), uint8 or uint16."""
    if x.ndim == 3:
        x = x[..., None]
    elif x.ndim == 4 and x.shape[3] not in (1, 3, 4) and x.shape[1] in (1, 3, 4):
        x = x.transpose(0, 2, 3, 1)
        notes.append(f"{name}: channels came first and were moved last")
    if x.ndim != 4 or x.shape[3] not in (1, 3, 4):
        raise UserError(
            f"{name} has values of shape {x.shape}; pictures need (n, height, width) or (n, height, width, 1|3|4)"
        )
    if x.dtype in (np.uint8, np.uint16) or not x.size:
        return x
    low, high = float(x.min()), float(x.max())
    if x.dtype.kind == "b" or (x.dtype.kind == "f" and low >= 0 and high <= 1):
        notes.append(f"{name}: values from 0 to 1 were scaled to 0 to 255")
        return np.round(x.astype(np.float32) * 255).astype(np.uint8)
    if low >= 0 and high <= 65535 and x.dtype.kind in "iu":
        return x.astype(np.uint8 if high <= 255 else np.uint16)
    raise UserError(
        f"{name} has values from {low:g} to {high:g}; give whole numbers from 0 to 255, or fractions from 0 to 1"
    )
