"""One sample before it is read: where its value comes from, and what is known about it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aurify.codec import Codec, Unreadable


@dataclass(frozen=True, slots=True)
class Item:
    """A named sample.

    Attributes:
        name: path below the root, or "row 17".
        load: gives a file's bytes, or the sample itself (a str from a column, an array from .npz or .idx).
        label: its class, from a folder or a column.
        text: its caption, or the source of a pair.
        split: "train", "valid" or "test" where the data says so.
    """

    name: str
    load: Callable[[], Any]
    label: str | None = None
    text: str | None = None
    split: str | None = None

    def read(self, codec: Codec[Any]) -> tuple[Any, bytes]:
        """The native sample and the SHA-256 of its content.

        Raises:
            Unreadable: with a reason of a few words; whatever a damaged file makes a library raise becomes one.
        """
        try:
            value = self.load()
            native = codec.read(value) if isinstance(value, bytes) else value
        except Unreadable:
            raise
        except OSError as error:
            raise Unreadable(error.strerror or type(error).__name__) from None
        except Exception as error:  # a bad file must not end the reading of the good ones
            raise Unreadable(type(error).__name__) from error
        return native, content_hash(value)


def content_hash(value: Any) -> bytes:
    """SHA-256 of a file's bytes, of a text's UTF-8, of an array's type, shape and values, or of a row as JSON."""
    if isinstance(value, bytes):
        return hashlib.sha256(value).digest()
    if isinstance(value, str):
        return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
    if isinstance(value, np.ndarray):
        head = f"{value.dtype.str} {value.shape} ".encode()
        return hashlib.sha256(head + np.ascontiguousarray(value).tobytes()).digest()
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).digest()


def numbered(digest: bytes, nth: int) -> bytes:
    """A hash of its own for each of equal samples that are no copies, such as rows of a table: the nth, from 0."""
    return hashlib.sha256(digest + nth.to_bytes(8, "little")).digest() if nth else digest


def constant(value: Any) -> Callable[[], Any]:
    return partial(_same, value)


def file_bytes(path: Path) -> Callable[[], bytes]:
    return partial(Path.read_bytes, path)


def _same(value: Any) -> Any:
    return value
