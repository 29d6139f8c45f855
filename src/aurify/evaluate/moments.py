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

PANEL = 256  # columns of a symmetric matrix computed at a time


class Moments(NamedTuple):
    """Mean and unbiased covariance."""

    mean: Float[Tensor, " F"]
    covariance: Float[Tensor, "F F"]


def moments(x: Float[Tensor, "n F"]) -> Moments:
    mean = x.mean(0)
    x = x - mean
    return Moments(mean, gram(x) / (len(x) - 1))


def gram(x: Float[Tensor, "n F"]) -> Float[Tensor, "F F"]:
    """x' x, of which but the lower half is computed."""
    G = x.new_zeros(x.shape[1], x.shape[1])
    for a in range(0, len(G), PANEL):
        G[a:, a : a + PANEL] = x[:, a:].T @ x[:, a : a + PANEL]
    return G.tril() + G.tril(-1).T


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
