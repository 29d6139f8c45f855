"""The values themselves, averaged down to at most 64 numbers a channel."""

from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor

from aurify.evaluate.embedder import Embedder
from aurify.evaluate.samples import Samples
from aurify.nets.conv import shrink
from aurify.spec import Grid

SIDES = {1: 64, 2: 8, 3: 4}


class Raw(Embedder):
    """Knows nothing of shapes: a floor under what better embedders must see."""

    kind = Grid
    title: ClassVar[str] = "averaged raw values"
    source: ClassVar[str] = "none: nothing is learned"

    @classmethod
    def suits(cls, train: Samples) -> int:
        return 0 if train.x is None else 1

    def fit(self, train: Samples, seed: int = 0) -> Iterator[float]:
        self.weights = "none"
        yield 1.0

    def embed(self, samples: Samples) -> Tensor:
        size = samples.grid.shape[2:]
        return shrink(samples.grid, tuple(min(SIDES[len(size)], n) for n in size)).flatten(1) if size else samples.grid
