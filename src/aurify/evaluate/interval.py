"""95 % intervals by the block jackknife (Quenouille 1949; Shao & Wu 1989, "A general theory for jackknife variance").

    theta_b            the figure without block b of both sets, b = 1 ... B
    variance           (B - 1) / B sum_b (theta_b - mean theta)^2
    corrected          B theta - (B - 1) mean theta: the bias of order 1/n is gone (Quenouille's correction)
    interval           value -+ t_{B-1} sqrt(variance)

Both sets are cut into blocks and lose theirs together, so one pass covers the chance in either. A paired difference of
two sets against the same reference loses the same blocks on both sides, and what they share cancels.
"""

import math

import torch
from jaxtyping import Int
from torch import Tensor

from aurify.evaluate.figure import Measured
from aurify.evaluate.metric import Metric
from aurify.rng import derive

BLOCKS = 20
STUDENT = 2.0930  # the 97.5 % quantile of Student's t with BLOCKS - 1 degrees of freedom


def block_of(n: int, seed: int, blocks: int = BLOCKS) -> Int[Tensor, " n"]:
    """The block of each of n samples: a random deal into equal shares."""
    generator = torch.Generator().manual_seed(derive("blocks", seed, n))
    return torch.randperm(n, generator=generator) % min(blocks, n)


def measure(metric: Metric, real: object, made: object, seed: int = 0) -> Measured:
    """The metric's figure of `made` against `real`, with its interval."""
    sizes = len(real), len(made)  # pyright: ignore[reportArgumentType]
    blocks = block_of(sizes[0], seed), block_of(sizes[1], seed + 1)
    value = metric.value(real, made)
    without = metric.without(real, made, blocks)
    half = STUDENT * spread(without)
    centre = corrected(value, without) if metric.unbiased else value
    return Measured(centre, (centre - half, centre + half), tuple(without.tolist()))


def spread(without: Tensor) -> float:
    """Standard error from leave-one-block-out values."""
    B = len(without)
    return math.sqrt(float((B - 1) / B * (without - without.mean()).square().sum()))


def corrected(value: float, without: Tensor) -> float:
    B = len(without)
    return B * value - (B - 1) * float(without.mean())


def difference(a: Measured, b: Measured) -> Measured:
    """a - b of two sets measured against the same reference with the same seed."""
    left, right = (torch.tensor(m.without, dtype=torch.float64) for m in (a, b))
    without = left - right
    value, half = a.value - b.value, STUDENT * spread(without)
    return Measured(value, (value - half, value + half), tuple(without.tolist()))
