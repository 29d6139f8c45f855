"""Metrics of nearest neighbours: each gives its figure of many selections of the samples at once.

All else, the whole figure and those without a block, follows from that; so do the half-samples that `interval` needs.
"""

from abc import abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from aurify.evaluate.metric import Blocks, Made, Metric, Real

Left = Bool[Tensor, "n C"]  # who is in each of C selections
Right = Bool[Tensor, "m C"]


class Local(Metric):
    """A metric of features whose value hangs on each sample's few neighbours."""

    of = "features"

    @abstractmethod
    def of_selections(self, real: Real, made: Made, left: Left, right: Right) -> Float[Tensor, " C"]:
        """The figure of each of C selections of samples."""

    @abstractmethod
    def growth(self, whole: float, half: float) -> float:
        """By how much sqrt(n) times its standard error grows from half the samples, where the figure is `half`, to all,
        where it is `whole`."""

    def value(self, real: Real, made: Made) -> float:
        everyone = (torch.ones(len(x), 1, dtype=torch.bool) for x in (real, made))
        return float(self.of_selections(real, made, *everyone))

    def without(self, real: Real, made: Made, blocks: Blocks) -> Float[Tensor, " B"]:
        every = torch.arange(blocks.number)
        return self.of_selections(real, made, *(block[:, None] != every for block in blocks))
