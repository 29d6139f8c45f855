"""Mean and covariance of a set, and of the set without each of its blocks, from block sums.

    s = sum_i x_i      O = sum_i x_i x_i'      S = (O - s s' / n) / (n - 1)

A block's share of s and O is taken off, so that leaving it out costs no second look at the others. Everything is summed
about the mean of the whole set: a constant feature then has a variance of zero and not of rounding.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

WIDE = 512  # features from which on other libraries' products pay: their threads and torch's disturb one another


class Moments(NamedTuple):
    """Mean and unbiased covariance."""

    mean: Float[Tensor, " F"]
    covariance: Float[Tensor, "F F"]


def moments(x: Float[Tensor, "n F"]) -> Moments:
    mean = x.mean(0)
    x = x - mean
    return Moments(mean, gram(x) / (len(x) - 1))


def gram(x: Float[Tensor, "n F"]) -> Float[Tensor, "F F"]:
    """x' x, for which NumPy's product sees that one half is enough, and torch's does not."""
    if x.shape[1] < WIDE:
        return x.T @ x
    rows = x.numpy()
    return torch.from_numpy(rows.T @ rows)


def moments_without(x: Float[Tensor, "n F"], block: Int[Tensor, " n"], blocks: int) -> Iterator[Moments]:
    """Those of x without block b, for b = 0 ... blocks - 1."""
    centre = x.mean(0)
    x = x - centre
    s, outer = x.sum(0), gram(x)
    for b in range(blocks):
        left = x[block == b]
        n, s_b = len(x) - len(left), s - left.sum(0)
        covariance = (outer - gram(left) - torch.outer(s_b, s_b / n)) / (n - 1)
        yield Moments(centre + s_b / n, covariance)
