"""The texts that samples come with, captions or the sources of pairs, as symbols of a text codec of their own.

texts.npy, text_offsets.npy    symbols end to end; a sample without a text has none, an empty text its `end`
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from aurify import codec as codecs
from aurify.codec import Codec
from aurify.cond import TextRows
from aurify.data import files, table
from aurify.errors import UserError
from aurify.settings import make
from aurify.spec import Tokens

DATA, OFFSETS = "texts.npy", "text_offsets.npy"
SHARED = ("unit", "vocab")  # settings that hold for samples and their texts, where the samples are texts too


@dataclass(frozen=True)
class Texts:
    """Encoded texts of a store's samples: symbols end to end, where each begins, and what they are."""

    spec: Tokens
    data: np.ndarray
    offsets: Int[np.ndarray, " n1"]

    def width(self, rows: Int[np.ndarray, " B"]) -> int:
        """The longest of these samples' texts, rounded up to a multiple of 16."""
        longest = int((self.offsets[rows + 1] - self.offsets[rows]).max(initial=1))
        return min(self.spec.length, -(-longest // 16) * 16)

    def rows(self, rows: Int[np.ndarray, " B"], width: int | None = None) -> TextRows:
        """Symbols (B, S) and which of them are there, of some samples; S is `width`, or what they need."""
        column, lengths = np.arange(width or self.width(rows)), self.offsets[rows + 1] - self.offsets[rows]
        there = column < lengths[:, None]
        place = np.where(there, self.offsets[rows][:, None] + column, 0)
        symbols = np.where(there, self.data[place], self.spec.end or 0).astype(np.int64)
        return torch.from_numpy(symbols), torch.from_numpy(there)


def learn(texts: Sequence[str | None], samples: Codec[Any]) -> Codec[Any] | None:
    """A text codec for these texts of training samples; None where there is nothing to read in them."""
    told = [text for text in texts if text]
    if not told:
        return None
    kind = codecs.load("text")
    shared = {k: getattr(samples.config, k) for k in SHARED} if isinstance(samples, kind) else {}
    codec = kind(make(kind.Config, {"layout": "documents", **shared}))  # pyright: ignore[reportCallIssue]
    codec.fit(told)
    return codec


def write(folder: Path, codec: Codec[Any], texts: Sequence[str | None]) -> int:
    """Encodes a text for each sample; returns how many were cut to the length that the codec found."""
    rows = [np.zeros(0, np.uint16) if text is None else codec.encode(text).numpy() for text in texts]
    files.save(folder / DATA, np.concatenate([*rows, np.zeros(1, np.uint16)]))  # one more: no file is empty
    files.save(folder / OFFSETS, np.cumsum([0, *(len(row) for row in rows)]))
    assert isinstance(codec.spec, Tokens)
    return sum(len(row) == codec.spec.length and bool(row[-1] != codec.spec.end) for row in rows)


def encode(codec: Codec[Any], texts: Sequence[str | None]) -> TextRows:
    """Texts that are asked for, each as wide as any may be, so that a sample never depends on its neighbours' texts.

    Raises:
        UserError: a text is empty, longer than what the run reads, or holds characters that it cannot read.
    """
    known = {text: encoded(codec, text) for text in texts if text is not None}
    return placed(codec, [None if text is None else known[text] for text in texts])


def encode_all(codec: Codec[Any], texts: Sequence[str | None]) -> TextRows:
    """Texts of stored samples, as the store keeps them: what is too long is cut."""
    return placed(codec, [None if text is None else codec.encode(text) for text in texts])


def placed(codec: Codec[Any], rows: Sequence[torch.Tensor | None]) -> TextRows:
    """Symbols of each row in a tensor as wide as any may be, and which of them are there."""
    spec = codec.spec
    assert isinstance(spec, Tokens)
    symbols = torch.full((len(rows), spec.length), spec.end or 0)
    there = torch.zeros(len(rows), spec.length, dtype=torch.bool)
    for row, x in enumerate(rows):
        if x is not None:
            symbols[row, : len(x)], there[row, : len(x)] = spec.widen(x), True
    return symbols, there


def encoded(codec: Codec[Any], text: str) -> torch.Tensor:
    spec, head = codec.spec, repr(text if len(text) <= 40 else text[:39] + "…")
    assert isinstance(spec, Tokens)
    if not text:
        raise UserError("a text to ask with is empty; leave it out to ask for nothing")
    x = spec.widen(codec.encode(text))
    if int(x[-1]) != spec.end:
        raise UserError(f"the text {head} is longer than the {spec.length - 1} symbols that this run reads; shorten it")
    if strange := sorted(set(text) - set(codec.decode(x))):
        more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
        raise UserError(f"the text {head} holds {' '.join(strange[:5])}{more}, never read by this run; replace them")
    return x


def to_ask_with(told: list[str] | None, file: str | None) -> list[str]:
    """The texts themselves, or those of a file: what `--text` and `--texts` say."""
    if told and file:
        raise UserError("give --text or --texts, not both")
    return read(Path(file)) if file else told or []


def read(path: Path) -> list[str]:
    """Texts to ask with from a file: one a line of a .txt, or the column source or text of a table.

    Raises:
        UserError: no such file, no such column, or an empty line.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}; give a .txt with a text a line, or a table with a column source")
    data, suffix = table.read_whole(path), Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix in table.SUFFIXES:
        rows = table.parse(data, suffix, path.name)
        roles = rows.roles()
        column = roles.get("source", roles.get("text"))
        if column is None:
            raise UserError(f"{path} has the columns {', '.join(rows.columns)}; it needs one named source or text")
        if rows.bad:
            raise UserError(f"{path}, {rows.bad[0][0]}: {rows.bad[0][1]}; mend the row")
        found = ["" if value is None else str(value) for value in rows.columns[column]]
    else:
        found = list(lines(codecs.load("text")().read(data)))  # pyright: ignore[reportCallIssue]
    for number, text in enumerate(found, 1):
        if not text:
            raise UserError(f"text {number} of {path} is empty; each is to be asked with, so take the line out")
    return found


def lines(text: str) -> Iterator[str]:
    """Lines without the newline that ends the last."""
    yield from text.removesuffix("\n").split("\n")
