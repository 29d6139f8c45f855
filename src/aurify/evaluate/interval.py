"""95 % intervals by the block jackknife (Quenouille 1949; Shao & Wu 1989, "A general theory for jackknife variance").

    theta_b            the figure without block b of both sets, b = 1 ... B
    variance           (B - 1) / B sum_b (theta_b - mean theta)^2
    corrected          B theta - (B - 1) mean theta: the bias of order 1/n is gone (Quenouille's correction)
    interval           value -+ t_{B-1} sqrt(variance)

Both sets are cut into blocks and lose theirs together, so one pass covers the chance in either. A paired difference of
two sets against the same reference loses the same blocks on both sides, and what they share cancels.

Figures of nearest neighbours are not smooth. What a sample adds to them depends on its few neighbours, however large
n is; the jackknife counts such a joint effect once for each of those who share it (Efron & Stein 1981), and its
intervals came out 1.3 to 1.7 times too wide. A sample's half is free of that, for such figures have a variance of
order 1/n at any n, and two halves share nothing (balanced half-samples, McCarthy 1969):

    d_s                half the difference between the figures of the two halves of split s, s = 1 ... B - 1
    variance           1 / (B - 1) sum_s d_s^2
    theta_b            theta - 1 / (B - 1) sum_s h_sb d_s       h_sb = 1 or -1: on which side of split s block b is

Halves have other expectations, and a share near 1 scatters less: where a metric knows by how much, it says so
(`growth`), and d_s is multiplied by it.

The splits are the rows of a Hadamard matrix: each pair of blocks is on the same side as often as not. For a mean both
ways give the same theta_b, and the formula for their variance is the jackknife's for both.

The same overcounting meets what few samples share: repeats, strings of words in two texts, and the distance of equals,
in which all chance is of pairs. Such a metric says of how many (`joint`). Leaving blocks out two at a time shows how
much of the variance is shared, and that is taken off once (Efron & Stein 1981):

    Q_j                B theta - (B - 1) (theta_b + theta_b+1) + (B - 2) theta_b,b+1      for b = 1, 3, 5 ...
    variance           jackknife's - TAKEN (B - 1) / (2 (B + 1)) var Q, at least a `joint`-th of the jackknife's

What k samples share is counted k times at most: hence the limit. Ten Q tell it coarsely, and a variance that came out
too small does more harm than one too large: hence not quite all is taken.

A share's interval is that of a count, so that near 0 and 1 it is as lopsided as chance is: Wilson's (1927), of as many
samples as would scatter so. Where all samples are counted, or none is, nothing scatters; it is the exact one then
(Clopper & Pearson 1934).

    n_e                v (1 - v) / variance                   samples that would scatter so (Kish 1965)
    interval           (v + t^2 / 2 n_e -+ t sqrt(v (1 - v) / n_e + t^2 / 4 n_e^2)) / (1 + t^2 / n_e)
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from aurify.evaluate import binomial
from aurify.evaluate.figure import Measured
from aurify.evaluate.local import Local
from aurify.evaluate.metric import Blocks, Made, Metric, Real
from aurify.rng import derive

BLOCKS = 20
TAKEN = 0.75  # of the variance that is counted twice; from 0.75 to 1, 93 to 97 % of intervals held the truth
QUANTILES = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
    2.1314, 2.1199, 2.1098, 2.1009, 2.0930,
)  # fmt: skip  # 97.5 % of Student's t with 1 ... BLOCKS - 1 degrees of freedom
STUDENT = QUANTILES[BLOCKS - 2]


def block_of(n: int, seed: int, blocks: int = BLOCKS) -> Int[Tensor, " n"]:
    """The block of each of n samples: a random deal into equal shares."""
    generator = torch.Generator().manual_seed(derive("blocks", seed, n))
    return torch.randperm(n, generator=generator) % min(blocks, n)


def measure(metric: Metric, real: Any, made: Any, seed: int = 0, extrapolated: bool = True) -> Measured:
    """The metric's figure of `made` against `real`, with its interval. There are BLOCKS blocks, or as many as the
    smaller set has samples. `extrapolated`: to infinitely many, where the metric can be."""
    n, m = len(real), len(made)
    count = min(BLOCKS, n, m)
    blocks = Blocks(block_of(n, seed, count), block_of(m, seed + 1, count))
    if isinstance(metric, Local) and count == BLOCKS:
        value, without = by_halves(metric, real, made, blocks)
    else:
        value, without = metric.both(real, made, blocks)
        if metric.joint > 1 and count == BLOCKS:
            without = counted_once(value, without, metric.without_pairs(real, made, blocks), metric.joint)
    half = student(len(without)) * spread(without)
    centre = corrected(value, without) if metric.unbiased and extrapolated else value
    low, high = centre - half, centre + half
    if metric.share:
        low, high = of_a_share(value, half, student(len(without)), min(n, m))
    least, most = metric.bounds
    return Measured(centre, (max(low, least), min(high, most)), tuple(without.tolist()))


def by_halves(metric: Local, real: Real, made: Made, blocks: Blocks) -> tuple[float, Float[Tensor, " B"]]:
    """The figure, and theta_b from balanced half-samples; there must be BLOCKS blocks."""
    h = splits()
    left, right = ((h[:, block] > 0).T for block in blocks)  # (n, S): who is in the first half of each split
    everyone = (torch.ones(len(x), 1, dtype=torch.bool) for x in (real, made))
    selections = (torch.cat([all_, half, ~half], 1) for all_, half in zip(everyone, (left, right), strict=True))
    whole, *found = metric.of_selections(real, made, *selections).split([1, len(h), len(h)])
    value, (first, second) = float(whole), found
    d = metric.growth(value, float(torch.cat(found).mean())) * (first - second) / 2
    return value, value - h.T @ d / (BLOCKS - 1)


def counted_once(
    value: float, without: Float[Tensor, " B"], two: Float[Tensor, " P"], joint: int
) -> Float[Tensor, " B"]:
    """theta_b, drawn together so far that their spread counts once what samples share. `two`: the figure without the
    blocks 0 and 1, 2 and 3, and so on."""
    B, mean, all_ = len(without), without.mean(), spread(without) ** 2
    Q = B * value - (B - 1) * (without[::2] + without[1::2]) + (B - 2) * two
    twice = (B - 1) / (2 * (B + 1)) * float(Q.var())
    if not all_ > 0:  # nothing scatters, or the figure is no number
        return without
    return mean + math.sqrt(max(1 - TAKEN * twice / all_, 1 / joint)) * (without - mean)


def of_a_share(v: float, half: float, t: float, n: int) -> tuple[float, float]:
    """The interval of a share v whose symmetric one would be v -+ half, which is t standard errors; of n samples."""
    if v in (0, 1):
        return binomial.interval(int(v) * n, n) if half == 0 else (v - half, v + half)
    over = half**2 / (v * (1 - v))  # t^2 / n_e
    reach = math.sqrt(half**2 + over**2 / 4)
    return (v + over / 2 - reach) / (1 + over), (v + over / 2 + reach) / (1 + over)


def splits() -> Float[Tensor, "S B"]:
    """B - 1 ways to cut B = 20 blocks into halves: rows of a Hadamard matrix but the first (Paley 1933), in which
    squares modulo the prime 19 decide."""
    p = BLOCKS - 1
    squares = {i * i % p for i in range(1, p)}
    rows = [[-1.0, *(1.0 if i == j or (j - i) % p in squares else -1.0 for j in range(p))] for i in range(p)]
    return torch.tensor(rows, dtype=torch.float64)


def student(blocks: int) -> float:
    """The 97.5 % quantile of Student's t with blocks - 1 degrees of freedom, from 2 blocks; BLOCKS stand for more."""
    return QUANTILES[min(blocks, BLOCKS) - 2]


def spread(without: Tensor) -> float:
    """Standard error from leave-one-block-out values."""
    B = len(without)
    return math.sqrt(float((B - 1) / B * (without - without.mean()).square().sum()))


def corrected(value: float, without: Tensor) -> float:
    B = len(without)
    return B * value - (B - 1) * float(without.mean())


def pooled(values: Sequence[float]) -> Measured:
    """Mean of independent repeats, two or more, with Student's interval."""
    x = torch.tensor(values, dtype=torch.float64)
    value, half = float(x.mean()), student(len(x)) * float(x.std()) / math.sqrt(len(x))
    return Measured(value, (value - half, value + half))


def difference(a: Measured, b: Measured) -> Measured:
    """a - b of two sets measured against the same reference with the same seed."""
    left, right = (torch.tensor(m.without, dtype=torch.float64) for m in (a, b))
    without = left - right
    value, half = a.value - b.value, student(len(without)) * spread(without)
    return Measured(value, (value - half, value + half), tuple(without.tolist()))


def ratio(a: Measured, b: Measured) -> tuple[float, float] | None:
    """The interval of a / b (Fieller 1954): every c for which a - c b may be 0. None where b itself may be.

        (a - c b)^2 <= t^2 (v_aa - 2 c v_ab + c^2 v_bb)       v: variances and covariance by the paired jackknife

    A ratio's own jackknife goes wild where b is hardly more than its chance.
    """
    rows = torch.tensor((a.without, b.without), dtype=torch.float64)
    B = rows.shape[1]
    rows = rows - rows.mean(1, keepdim=True)
    t2 = student(B) ** 2
    (v_aa, v_ab), (_, v_bb) = ((B - 1) / B * rows @ rows.T * t2).tolist()
    square, linear, rest = b.value**2 - v_bb, a.value * b.value - v_ab, a.value**2 - v_aa
    if square <= 0:
        return None
    half = math.sqrt(max(linear**2 - square * rest, 0.0))
    return (linear - half) / square, (linear + half) / square
