"""Squared maximum mean discrepancy of a Gaussian kernel (Gretton et al. 2012, Eq. 3), unbiased.

    k(x, y) = exp(-|x - y|^2 / (2 s^2)),  s^2 the median of |x_i - x_j|^2 over pairs of real samples
    d2 = mean over i != j of k(x_i, x_j) + mean over i != j of k(y_i, y_j) - 2 mean of k(x_i, y_j)

Unlike the cubic kernel it is characteristic: in the limit no difference between distributions escapes it. The median
comes from a histogram whose bins are 0.8 % wide, between whose edges it is interpolated; leaving samples out then needs
no sorting anew.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from aurify.evaluate.kernels import mmd2, parts, squared_distances
from aurify.evaluate.metric import Blocks, Made, Metric, Real
from aurify.evaluate.remembered import remembered

MANTISSA = 16  # bits of a float32 that a bin does not tell apart; 7 of its fraction are left: 2^-7 = 0.8 %
BINS = 0x7F800000 >> MANTISSA  # of all finite positive float32
TERMS, EXACT = 12, 1e-11  # of the series in `sums`, at most; error of one value of k


class Mmd(Metric):
    """Lower is better. 0 on average for equal distributions, so that a sample of it may lie below zero; a set with
    itself has less than zero. At most 2.
    """

    of = "features"
    title = "MMD, Gaussian kernel"
    source = "Gretton et al. 2012, Eq. 3, bandwidth the median distance of real samples"
    better = "lower"
    unbiased = True
    smallest = 3
    sees = ("noise", "blur", "dropped-modes")

    def value(self, real: Real, made: Made) -> float:
        return float(discrepancies(real, made, Blocks.nobody(real, made), 1))

    def without(self, real: Real, made: Made, blocks: Blocks) -> Float[Tensor, " B"]:
        return self.both(real, made, blocks)[1]

    def both(self, real: Real, made: Made, blocks: Blocks) -> tuple[float, Float[Tensor, " B"]]:
        *without, whole = discrepancies(real, made, blocks, blocks.number + 1)
        return float(whole), torch.stack(without)


def discrepancies(x: Float[Tensor, "n F"], y: Float[Tensor, "m F"], blocks: Blocks, count: int) -> Float[Tensor, " B"]:
    """d2 without block b, for b = 0 ... count - 1; without a block that has no samples it is that of all."""
    s2, xx = among(x, blocks[0], count)
    centre = x.mean(0)  # of no consequence but for rounding
    x, y = x - centre, y - centre
    of_x, of_y = ((block[:, None] != torch.arange(count)).double() for block in blocks)
    n, m = of_x.sum(0), of_y.sum(0)
    yy, xy = sums(y, y, of_y, of_y, s2), sums(x, y, of_x, of_y, s2)
    return mmd2(xx - n, yy - m, xy, n, m)  # k(x, x) = 1


@remembered
def among(x: Float[Tensor, "n F"], block: Int[Tensor, " n"], count: int) -> tuple[Tensor, Tensor]:
    """Of one set without block b: the median squared distance, which is the bandwidth, and the sum of k over pairs."""
    s2 = medians_without(x, block, count)
    x = x - x.mean(0)  # of no consequence but for rounding
    of = (block[:, None] != torch.arange(count)).double()
    return s2, sums(x, x, of, of, s2)


def sums(
    x: Float[Tensor, "n F"], y: Float[Tensor, "m F"], of_x: Float[Tensor, "n B"], of_y: Float[Tensor, "m B"],
    s2: Float[Tensor, " B"],
) -> Float[Tensor, " B"]:  # fmt: skip
    """The sum of k over all pairs of each selection, whose bandwidths differ a little: with r_b = s^2 / s_b^2 - 1,

    exp(-a (1 + r_b)) = exp(-a) sum_p (-a r_b)^p / p!        a = |x - y|^2 / 2 s^2
    """
    middle = s2.median().clamp(min=1e-300)
    r = middle / s2.clamp(min=1e-300) - 1
    terms = terms_for(float(r.abs().max()))
    if terms is None:
        each = [sums(x, y, of_x[:, [b]], of_y[:, [b]], s2[[b]]) for b in range(len(s2))]
        return torch.cat(each)
    total = torch.zeros_like(s2)
    for rows in parts(len(x), len(y)):
        a = squared_distances(x[rows], y)
        if x is y:
            a.diagonal(rows.start).zero_()
        k = a.mul_(0.5 / middle).neg().exp_()
        for p in range(terms):
            total += (-r) ** p / math.factorial(p) * (of_x[rows] * (k @ of_y)).sum(0)
            k.mul_(a)
    return total


def terms_for(r: float) -> int | None:
    """How many terms of the series leave an error below EXACT, None where too many would be needed: what is left out
    after q of them is at most (r / (1 - r))^q / sqrt(2 pi q), for a^q exp(-a (1 - r)) has its peak at a = q / (1 - r).
    """
    ratio = r / (1 - r) if r < 1 else math.inf
    return next((q for q in range(1, TERMS + 1) if ratio**q < EXACT * math.sqrt(2 * math.pi * q)), None)


@remembered
def medians_without(x: Float[Tensor, "n F"], block: Int[Tensor, " n"], count: int) -> Float[Tensor, " B"]:
    """The median of |x_i - x_j|^2 over pairs, without block b; floats above zero are ordered as their bits are."""
    x = x - x.mean(0)
    touching, both = x.new_zeros(count + 1, BINS + 1), x.new_zeros(count + 1, BINS + 1)
    row = block.clamp(max=count)
    for rows in parts(len(x), len(x)):
        d2 = squared_distances(x[rows], x)
        d2.diagonal(rows.start).fill_(torch.inf)  # the bin after the last
        cell = (d2.float().view(torch.int32) >> MANTISSA) + row[rows, None] * (BINS + 1)
        touching += torch.bincount(cell.flatten(), minlength=touching.numel()).view_as(touching)
        same = cell[row[rows, None] == row]
        both += torch.bincount(same, minlength=both.numel()).view_as(both)
    counts = (touching.sum(0) - 2 * touching[:count] + both[:count])[:, :BINS]
    return interpolated_median(counts)


def interpolated_median(counts: Float[Tensor, "B bins"]) -> Float[Tensor, " B"]:
    """Where half of the counts lie below, each bin's spread evenly from its edge to the next."""
    edges = (torch.arange(BINS + 1, dtype=torch.int32) << MANTISSA).view(torch.float32).double()
    below = counts.cumsum(1)
    half = below[:, -1:] / 2
    k = torch.searchsorted(below, half).clamp(max=BINS - 1)
    inside = 1 - (below.gather(1, k) - half) / counts.gather(1, k).clamp(min=1)
    k = k[:, 0]
    return edges[k] + inside[:, 0] * (edges[k + 1] - edges[k])
