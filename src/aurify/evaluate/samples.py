"""Samples of one source as figures see them: natives for people and texts, values for whatever is seen as a grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from aurify.codec import Codec


class Decoded(Sequence[Any]):
    """Stored rows (n, ...) as natives, decoded when they are looked at."""

    def __init__(self, codec: Codec[Any], rows: Tensor):
        self.codec, self.rows = codec, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Decoded(self.codec, self.rows[index])
        return self.codec.decode(self.codec.spec.widen(self.rows[int(index)]))


@dataclass(frozen=True)
class Samples:
    """n samples of one source.

    Attributes:
        natives: what the codec reads and decodes: pictures as arrays, texts as strings.
        x: values (n, C, *size) about [-1, 1] as `Codec.seen` gives them; None for texts.
        labels: index of each sample's label, -1 for none.
        names: where each comes from: a path or a number.
        given: the text that led each, None for none; empty where no texts lead.
    """

    natives: Sequence[Any]
    x: Float[Tensor, "n C *size"] | None
    labels: Int[Tensor, " n"]
    names: tuple[str, ...]
    given: tuple[str | None, ...] = ()

    def __len__(self) -> int:
        return len(self.natives)

    def take(self, indices: Sequence[int] | Int[Tensor, " k"]) -> "Samples":
        """Some of them, in the order asked for."""
        rows = [int(i) for i in indices]
        natives = self.natives
        picked = (
            Decoded(natives.codec, natives.rows[rows]) if isinstance(natives, Decoded) else [natives[i] for i in rows]
        )
        x = None if self.x is None else self.x[rows]
        labels, names = self.labels[torch.tensor(rows, dtype=torch.long)], tuple(self.names[i] for i in rows)
        return Samples(picked, x, labels, names, tuple(self.given[i] for i in rows) if self.given else ())

    @cached_property
    def texts(self) -> list[str] | None:
        """The samples as texts; None where they are something else."""
        return [str(t) for t in self.natives] if len(self) and isinstance(self.natives[0], str) else None

    @property
    def grid(self) -> Float[Tensor, "n C *size"]:
        """`x`, of samples that are known to have one."""
        assert self.x is not None, "these samples are not seen as grids"
        return self.x

    @property
    def labelled(self) -> bool:
        """Whether every sample has a label."""
        return len(self) > 0 and bool((self.labels >= 0).all())
