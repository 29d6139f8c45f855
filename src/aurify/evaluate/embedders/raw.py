"""The values themselves, averaged down to at most 64 numbers a channel."""

from collections.abc import Iterator
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from aurify.evaluate.embedder import Embedder
from aurify.evaluate.samples import Samples
from aurify.spec import Grid

SIDES = {1: 64, 2: 8, 3: 4}
POOL = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


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
        assert samples.x is not None
        axes = samples.x.ndim - 2
        if axes == 0:
            return samples.x
        size = [min(SIDES[axes], side) for side in samples.x.shape[2:]]
        return POOL[axes](samples.x, size if axes > 1 else size[0]).flatten(1)
