"""Diversity: how far made samples lie from one another, relative to real ones (as LPIPS diversity is used by Zhu et
al. 2017, BicycleGAN, here on any features).

    mean over i < j of |y_i - y_j| / mean over i < j of |x_i - x_j|
"""

import torch
from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.kernels import members, sizes_without, squared_distances, within, without
from aurify.evaluate.metric import Blocks, Made, Metric, Real


class Diversity(Metric):
    """1 for as diverse as real samples, less for sameness; more means strays, not merit."""

    of = "features"
    title = "diversity (mean distance, real = 1)"
    source = "mean pairwise distance, as in Zhu et al. 2017 (BicycleGAN)"
    better = "real"
    unbiased = True
    smallest = 3
    sees = ("noise", "blur", "dropped-modes")

    def value(self, real: Real, made: Made) -> float:
        spreads = (
            within(distances, x - x.mean(0), x.new_ones(len(x), 1)) / (len(x) * (len(x) - 1)) for x in (made, real)
        )
        return float(ratio(*spreads))

    def without(self, real: Real, made: Made, blocks: Blocks) -> Float[Tensor, " B"]:
        count = blocks.number
        spreads = []
        for x, block in ((made, blocks[1]), (real, blocks[0])):
            n = sizes_without(block, count)
            spreads.append(without(within(distances, x - x.mean(0), members(block, count))) / (n * (n - 1)))
        return ratio(*spreads)


def distances(x: Float[Tensor, "n F"], y: Float[Tensor, "m F"]) -> Float[Tensor, "n m"]:
    return squared_distances(x, y).sqrt_()


def ratio(made: Tensor, real: Tensor) -> Tensor:
    """made / real; 1 where neither varies at all."""
    return torch.where((made == 0) & (real == 0), torch.ones_like(real), made / real)
