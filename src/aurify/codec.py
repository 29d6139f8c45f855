"""A codec turns samples of one modality into tensors and back, and does nothing more. One file in codecs/ each."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
from pydantic import BaseModel
from torch import Tensor

from aurify import plugins
from aurify.errors import UserError
from aurify.spec import Grid, Spec

Native = TypeVar("Native")


class Unreadable(ValueError):
    """One file cannot be read; the message says why in a few words ("truncated PNG"). It is skipped and listed."""


@dataclass(frozen=True)
class Preview:
    """Some samples at a glance: a file for the run folder, and characters for a text screen."""

    suffix: str  # ".png", ".txt"
    data: bytes
    terminal: str  # may hold ANSI colours


class Codec(ABC, Generic[Native]):
    """The constructor stores its settings, `fit` learns, `state` keeps what was learned (JSON).

    Attributes:
        suffixes: endings of the files this codec reads, lower case, with the dot.
        Config: frozen pydantic model of the settings, the single source for flags, JSON and docs.
        gives: Grid or Tokens, the class of its spec.
        repeats: whether equal samples are different ones, such as rows of a table, and no copies of one another.
        spec: what `encode` yields once widened; set by `fit` or `restore`.
    """

    suffixes: ClassVar[tuple[str, ...]]
    Config: ClassVar[type[BaseModel]]
    gives: ClassVar[type]
    repeats: ClassVar[bool] = False
    config: Any
    spec: Spec

    @abstractmethod
    def fit(self, samples: Iterable[Native]) -> Spec:
        """Learn sizes, alphabet, scale from training samples (iterated once). Says in `notes` what it decided."""

    @abstractmethod
    def read(self, data: bytes) -> Native:
        """One file's bytes to one sample. Raises Unreadable."""

    @abstractmethod
    def write(self, sample: Native, path: Path, record: dict[str, Any]) -> Path:
        """Write one sample as a person wants it (path's suffix is chosen here); `record` says where it comes from,
        inside the file where the format can carry it and in a `.json` beside it where not. Returns the path written."""

    def write_many(self, samples: Iterable[tuple[str, Native, dict[str, Any]]], folder: Path) -> Iterator[Path]:
        """Write samples by name, each with its record. A file each; overridden where a person wants one of them all."""
        for name, sample, record in samples:
            yield self.write(sample, folder / name, record)

    @abstractmethod
    def encode(self, sample: Native) -> Tensor:
        """The compact stored form: uint8, uint16 or float32; `spec.widen` gives what a family sees."""

    @abstractmethod
    def decode(self, x: Tensor) -> Native:
        """Any tensor of the spec (no batch axis) to a valid sample: total, never raises."""

    @abstractmethod
    def preview(self, samples: list[Native]) -> Preview:
        """A grid, a page, a player: what these samples look like together."""

    def seen(self, x: Tensor) -> Tensor | None:
        """Widened samples (n, ...) as figures look at them: values (n, C, *size) in [-1, 1], as a Grid has them;
        None where they are read as texts. Overridden where tokens are the parts of something that people look at."""
        return x if isinstance(self.spec, Grid) else None

    @property
    def parts(self) -> tuple[int, ...]:
        """How many values of `seen` belong together, one after another, where they do: the columns of a table."""
        return ()

    def tokens(self, text: str) -> list[int]:
        """The symbols of a text that samples begin with or hold, not closed by an `end`; overridden where
        samples are texts. Raises UserError for any other sample, and for a text that none can hold."""
        raise UserError(
            f"only a text has a beginning, gaps or a stop in words (codec text), and codec {self.name!r} makes none; "
            "leave --prefix, --fill and --stop out"
        )

    def given(self, cells: dict[str, Any]) -> dict[int, int]:
        """Known cells of a row as {position: symbol}; overridden where samples are rows of a table.
        Raises UserError for any other sample, and for cells that no row can have."""
        raise UserError(
            f"only rows of a table have columns (codec table), and codec {self.name!r} makes none; leave --given out"
        )

    @property
    def name(self) -> str:
        """Its file's."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def fingerprint(self, sample: Native) -> np.ndarray:
        """256 bits, uint8 (32,), packed: near copies share most set bits (Jaccard), unlike samples few."""

    @abstractmethod
    def describe(self, sample: Native) -> str:
        """The sample's size and kind for the data report: "28 x 28 grey", "57 characters"."""

    @abstractmethod
    def same(self, a: Native, b: Native) -> bool:
        """Whether decode(encode(a)) = b honours this codec's stated loss."""

    @classmethod
    @abstractmethod
    def examples(cls, n: int, seed: int) -> list[Native]:
        """n small made-up samples, for the laws and the docs."""

    @property
    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What `fit` learned, as JSON; `restore` takes it back."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> Spec:
        """Take back a `state`; sets and returns `spec`."""

    notes: tuple[str, ...] = ()  # what `fit` decided, in plain sentences, for the data report


def names() -> tuple[str, ...]:
    return plugins.names("aurify.codecs")


def load(name: str) -> type[Codec[Any]]:
    return cast(type[Codec[Any]], plugins.load("aurify.codecs", name, Codec))
