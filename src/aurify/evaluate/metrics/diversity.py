"""Diversity: how far made samples lie from one another, relative to real ones (as LPIPS diversity is used by Zhu et
al. 2017, BicycleGAN, here on any features).

    mean over i < j of |y_i - y_j| / mean over i < j of |x_i - x_j|
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from aurify.evaluate.kernels import members, sizes_without, squared_distances, within, without
from aurify.evaluate.metric import Blocks, Made, Metric, Real
from aurify.evaluate.remembered import remembered


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
        return self.both(real, made, Blocks.nobody(real, made))[0]

    def without(self, real: Real, made: Made, blocks: Blocks) -> Float[Tensor, " B"]:
        return self.both(real, made, blocks)[1]

    def both(self, real: Real, made: Made, blocks: Blocks) -> tuple[float, Float[Tensor, " B"]]:
        count = blocks.number
        G = among(made, blocks[1], count), among(real, blocks[0], count)
        n = [sizes_without(block, count) for block in (blocks[1], blocks[0])]
        whole = (g.sum() / (len(x) * (len(x) - 1)) for g, x in zip(G, (made, real), strict=True))
        rest = (without(g) / (k * (k - 1)) for g, k in zip(G, n, strict=True))
        return float(ratio(*whole)), ratio(*rest)


@remembered
def among(x: Float[Tensor, "n F"], block: Int[Tensor, " n"], count: int) -> Float[Tensor, "B B"]:
    """Sums of distances within one set, by blocks: those of real samples are wanted for every other set."""
    return within(distances, x - x.mean(0), members(block, count))


def distances(x: Float[Tensor, "n F"], y: Float[Tensor, "m F"]) -> Float[Tensor, "n m"]:
    return squared_distances(x, y).sqrt_()


def ratio(made: Tensor, real: Tensor) -> Tensor:
    """made / real; 1 where neither varies at all."""
    return torch.where((made == 0) & (real == 0), torch.ones_like(real), made / real)
