"""One side of an encoded data set, memory-mapped: rows by index, windows of a stream by position."""

# n samples (of a stream: windows), B rows asked for, L their length, T tokens of a stream

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from aurify.cond import TextRows
from aurify.data.texts import Texts
from aurify.spec import Spec, Tokens

Index = Int[np.ndarray, " B"]


@dataclass(frozen=True)
class Split:
    """Samples first..last of a store, which keeps each side together.

    Attributes:
        spec: of the store.
        data: all samples (n, C, *size), or all tokens end to end.
        offsets: where each sample's tokens begin (one more than samples); None for grids.
        labels: index of each sample's label, -1 for none.
        first, last: this side's samples are those in [first, last).
        folder: of the store, for names and texts.
        asked: the texts that all samples come with, encoded; None where there are none.
    """

    spec: Spec
    data: np.ndarray
    offsets: np.ndarray | None
    labels: np.ndarray
    first: int
    last: int
    folder: Path
    asked: Texts | None = None

    def __len__(self) -> int:
        """Samples; of a stream, whole windows (at least one, if there is any token)."""
        if isinstance(self.spec, Tokens) and self.spec.stream:
            return max(self.tokens // self.spec.length, min(1, self.tokens))
        return self.last - self.first

    @property
    def stream(self) -> bool:
        return isinstance(self.spec, Tokens) and self.spec.stream

    @cached_property
    def lengths(self) -> Int[np.ndarray, " n"]:
        """Tokens of each sample."""
        assert self.offsets is not None
        return np.diff(self.offsets[self.first : self.last + 1])

    @property
    def tokens(self) -> int:
        """All tokens of this side."""
        assert self.offsets is not None
        return int(self.offsets[self.last] - self.offsets[self.first])

    @property
    def window(self) -> int:
        """Length of a stream's windows: that of the spec, or all there is."""
        assert isinstance(self.spec, Tokens)
        return min(self.spec.length, self.tokens)

    def width(self, indices: Index) -> int:
        """How long the rows of a batch of these samples are: the longest, rounded up to a multiple of 16."""
        assert isinstance(self.spec, Tokens)
        if self.stream:
            return self.window
        if self.spec.end is None:
            return self.spec.length
        return min(self.spec.length, -(-int(self.lengths[indices].max(initial=1)) // 16) * 16)

    def rows(self, indices: Index, width: int | None = None) -> tuple[Tensor, Tensor]:
        """Samples by index, of a stream the windows that follow one another from its beginning.

        Returns:
            Stored values (B, C, *size) of a grid, or int64 tokens (B, width) closed and padded with `spec.end`;
            labels int64 (B,), -1 for none.
        """
        indices = np.asarray(indices, np.int64)
        if self.stream:
            return self.windows(indices * self.window)
        labels = torch.from_numpy(self.labels[self.first + indices].astype(np.int64))
        if isinstance(self.spec, Tokens):
            return torch.from_numpy(self._padded(indices, width or self.width(indices))), labels
        return torch.from_numpy(np.asarray(self.data[self.first + indices])), labels

    def windows(self, starts: Index) -> tuple[Tensor, Tensor]:
        """Windows (B, L) of a stream from the given places; its end is followed by its beginning.

        A window's label is that of the document where it starts.
        """
        assert self.offsets is not None and self.stream
        begin, starts = int(self.offsets[self.first]), np.asarray(starts, np.int64) % self.tokens
        place = begin + (starts[:, None] + np.arange(self.window)) % self.tokens
        document = np.searchsorted(self.offsets, begin + starts, side="right") - 1
        labels = self.labels[document].astype(np.int64)
        return torch.from_numpy(self.data[place].astype(np.int64)), torch.from_numpy(labels)

    def _padded(self, indices: Index, width: int) -> Int[np.ndarray, "B L"]:
        assert self.offsets is not None and isinstance(self.spec, Tokens)
        column = np.arange(width)
        inside = column < self.lengths[indices][:, None]
        place = np.where(inside, self.offsets[self.first + indices][:, None] + column, 0)
        return np.where(inside, self.data[place], self.spec.end or 0).astype(np.int64)

    def names(self, indices: Sequence[int] | Index) -> list[str]:
        """Where samples come from: a path below the data's root, or a row."""
        return self._pick("names.jsonl", indices)

    def texts(self, indices: Sequence[int] | Index) -> list[str | None]:
        """Captions or source texts of samples; None where there is none."""
        return self._pick("texts.jsonl", indices) if (self.folder / "texts.jsonl").exists() else [None] * len(indices)

    def text_rows(self, indices: Index, of: Int[np.ndarray, " W"] | None = None) -> TextRows | None:
        """Symbols and mask (B, S) of samples' texts, as wide as those of the samples `of` need (left out: their own);
        None where the data has none."""
        if self.asked is None:
            return None
        rows = self.first + np.asarray(indices, np.int64)
        return self.asked.rows(rows, self.asked.width(rows if of is None else self.first + np.asarray(of, np.int64)))

    def _pick(self, file: str, indices: Sequence[int] | Index) -> list[Any]:
        lines = self._lines(file)
        return [json.loads(lines[self.first + int(i)]) for i in indices]

    def _lines(self, file: str) -> list[str]:
        cache = self.__dict__.setdefault("_files", {})
        if file not in cache:
            cache[file] = (self.folder / file).read_text(encoding="utf-8").splitlines()
        return cache[file]
