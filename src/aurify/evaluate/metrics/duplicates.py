"""Duplicates: the share of samples that say again what another one says, exactly or nearly.

    1 - 1/m sum_j 1 / #{l : |y_j - y_l| <= r}        r = 1/10 of the median distance between real samples

y_l includes y_j itself. Of k equal samples each counts 1/k: they are one sample and k - 1 duplicates. Samples are near
in the features of an embedder, so a picture coded anew, or a text with another line break, repeats its like.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.kernels import parts, squared_distances
from aurify.evaluate.metric import Blocks, Made, Metric, Real
from aurify.evaluate.metrics.mmd import medians_without

NEAR = 0.1  # of the median distance between real samples
PAIRS = 1 << 18  # doubtful pairs counted at a time
ROUNDING = 1e-12  # of the features' mean square: what two equal samples may be apart


class Duplicates(Metric):
    """What real samples have is best: they too may repeat."""

    of = "features"
    title = "duplicates among samples"
    source = "near pairs in these features; what is told of generators by birthdays, Arora & Zhang 2017"
    better = "real"
    bounds = (0.0, 1.0)
    share = True
    smallest = 3
    joint = 3
    sees = ("repeats",)

    def value(self, real: Real, made: Made) -> float:
        return float(duplicates(real, made, Blocks.nobody(real, made), 1))

    def without(self, real: Real, made: Made, blocks: Blocks) -> Float[Tensor, " B"]:
        return self.both(real, made, blocks)[1]

    def both(self, real: Real, made: Made, blocks: Blocks) -> tuple[float, Float[Tensor, " B"]]:
        *without, whole = duplicates(real, made, blocks, blocks.number + 1)
        return float(whole), torch.stack(without)


def duplicates(real: Real, made: Made, blocks: Blocks, count: int) -> Float[Tensor, " B"]:
    """The figure without block b, for b = 0 ... count - 1; without a block that has no samples it is that of all."""
    centre = real.mean(0)  # of no consequence but for rounding
    x, y = real - centre, made - centre
    radii = NEAR**2 * medians_without(real, blocks[0], count)
    radii = radii.clamp(min=ROUNDING * float(x.square().sum(1).mean()))
    kept = (blocks[1][:, None] != torch.arange(count)).double()
    alone = torch.zeros(count, dtype=torch.float64)
    for rows in parts(len(y), len(y)):
        alone += (kept[rows] / counted(y, rows, radii, kept)).sum(0)
    return 1 - alone / kept.sum(0)


def counted(
    y: Float[Tensor, "m F"], rows: slice, radii: Float[Tensor, " B"], kept: Float[Tensor, "m B"]
) -> Float[Tensor, "r B"]:
    """How many samples of each selection are within its radius of each row, at least 1."""
    d2 = squared_distances(y[rows], y)
    d2.diagonal(rows.start).zero_()
    surely = d2 <= radii.min()  # in every selection
    counts = surely.to(kept.dtype) @ kept
    row, other = (d2 <= radii.max()).logical_xor_(surely).nonzero().unbind(1)
    for i, j in zip(row.split(PAIRS), other.split(PAIRS), strict=True):
        counts.index_add_(0, i, kept[j] * (d2[i, j][:, None] <= radii))
    return counts.clamp(min=1)
