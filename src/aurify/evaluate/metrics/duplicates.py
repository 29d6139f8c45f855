"""Duplicates: the share of samples that say again what another one says, exactly or nearly.

    1 - 1/m sum_j 1 / #{l : |y_j - y_l| <= r}        r = 1/10 of the median distance between real samples

y_l includes y_j itself. Of k equal samples each counts 1/k: they are one sample and k - 1 duplicates. Samples are near
in the features of an embedder, so a picture coded anew, or a text with another line break, repeats its like.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from aurify.evaluate.kernels import parts, squared_distances
from aurify.evaluate.metric import Blocks, Made, Metric, Real
from aurify.evaluate.metrics.mmd import medians_without

NEAR = 0.1  # of the median distance between real samples
ROUNDING = 1e-12  # of the features' mean square: what two equal samples may be apart


class Duplicates(Metric):
    """What real samples have is best: they too may repeat. Where samples come twice by chance, the jackknife counts
    each pair for both and its interval is 1.4 times too wide; where one comes very often, it is right."""

    of = "features"
    title = "duplicates among samples"
    source = "near pairs in these features; what is told of generators by birthdays, Arora & Zhang 2017"
    better = "real"
    bounds = (0.0, 1.0)
    share = True
    smallest = 3
    sees = ("repeats",)

    def value(self, real: Real, made: Made) -> float:
        nobody = Blocks(torch.ones(len(real), dtype=torch.long), torch.ones(len(made), dtype=torch.long))
        return float(duplicates(real, made, nobody, 1))  # without block 0, which is empty

    def without(self, real: Real, made: Made, blocks: Blocks) -> Float[Tensor, " B"]:
        return duplicates(real, made, blocks, blocks.number)


def duplicates(real: Real, made: Made, blocks: Blocks, count: int) -> Float[Tensor, " B"]:
    """The figure without block b, for b = 0 ... count - 1."""
    centre = real.mean(0)  # of no consequence but for rounding
    x, y = real - centre, made - centre
    radii = NEAR**2 * medians_without(real, blocks[0], count)
    radii = radii.clamp(min=ROUNDING * float(x.square().sum(1).mean()))
    kept = (blocks[1][:, None] != torch.arange(count)).double()
    alone = torch.zeros(count, dtype=torch.float64)
    for rows in parts(len(y), len(y)):
        near = near_pairs(y, rows, float(radii.max()))
        for b in range(count):
            alone[b] += kept[rows, b] @ (1 / counted(near, radii[b], kept[:, b]))
    return 1 - alone / kept.sum(0)


def near_pairs(
    y: Float[Tensor, "m F"], rows: slice, most: float
) -> tuple[Int[Tensor, "2 P"], Float[Tensor, " P"], int]:
    """Pairs (row, other) no farther apart than `most`, their squared distances, and how many rows there are."""
    d2 = squared_distances(y[rows], y)
    d2.diagonal(rows.start).zero_()
    pairs = (d2 <= most).nonzero().T
    return pairs, d2[pairs[0], pairs[1]], len(d2)


def counted(
    near: tuple[Int[Tensor, "2 P"], Float[Tensor, " P"], int], radius: Float[Tensor, ""], kept: Float[Tensor, " m"]
) -> Float[Tensor, " r"]:
    """How many kept samples are within the radius of each row, at least 1."""
    (row, other), d2, n = near
    counts = torch.zeros(n, dtype=torch.float64).index_add_(0, row, kept[other] * (d2 <= radius))
    return counts.clamp(min=1)
