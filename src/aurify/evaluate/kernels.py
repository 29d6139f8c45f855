"""Sums of a function k(x, y) over pairs of samples, by blocks: what kernel metrics and their jackknife are made of.

    G[b, c] = sum over i in block b, j in block c of k(x_i, y_j)
    sum without block b = sum G - sum_c G[b, c] - sum_c G[c, b] + G[b, b]

Within one set no sample is paired with itself, which makes averages over pairs unbiased (U-statistics).
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

Kernel = Callable[[Tensor, Tensor], Tensor]  # (n, F), (m, F) -> (n, m)

CELLS = 1 << 22  # values held at a time: 32 MB of float64


def parts(n: int, width: int) -> Iterator[slice]:
    """Rows 0 ... n in pieces of about CELLS / width."""
    step = max(1, CELLS // max(1, width))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def squared_distances(x: Float[Tensor, "n F"], y: Float[Tensor, "m F"]) -> Float[Tensor, "n m"]:
    """|x - y|^2 = |x|^2 + |y|^2 - 2 x y, never below zero."""
    products = torch.addmm(y.square().sum(1), x, y.T, alpha=-2)
    return products.add_(x.square().sum(1)[:, None]).clamp_(min=0)


def members(block: Int[Tensor, " n"], blocks: int) -> Float[Tensor, "n B"]:
    """1 where sample i is in block b."""
    return torch.nn.functional.one_hot(block, blocks).double()


def between(
    kernel: Kernel,
    x: Float[Tensor, "n F"],
    y: Float[Tensor, "m F"],
    of_x: Float[Tensor, "n B"],
    of_y: Float[Tensor, "m B"],
) -> Float[Tensor, "B B"]:
    """G of two sets."""
    total = x.new_zeros(of_x.shape[1], of_y.shape[1])
    for rows in parts(len(x), len(y)):
        total += of_x[rows].T @ kernel(x[rows], y) @ of_y
    return total


def within(kernel: Kernel, x: Float[Tensor, "n F"], of: Float[Tensor, "n B"]) -> Float[Tensor, "B B"]:
    """G of one set, without pairs of a sample and itself; each pair is looked at once, for k is symmetric."""
    total = x.new_zeros(of.shape[1], of.shape[1])
    for rows in parts(len(x), len(x)):
        k = kernel(x[rows], x[rows.start :])
        here = rows.stop - rows.start
        k[:, :here].fill_diagonal_(0)
        later = of[rows].T @ k[:, here:] @ of[rows.stop :]
        total += of[rows].T @ k[:, :here] @ of[rows] + later + later.T
    return total


def without(G: Float[Tensor, "B B"]) -> Float[Tensor, " B"]:
    """The sum without block b, for every b."""
    return G.sum() - G.sum(0) - G.sum(1) + G.diagonal()


def sizes_without(block: Int[Tensor, " n"], blocks: int) -> Float[Tensor, " B"]:
    return (len(block) - torch.bincount(block, minlength=blocks)).double()


def mmd2(within_x: Tensor, within_y: Tensor, between_xy: Tensor, n: Tensor | int, m: Tensor | int) -> Tensor:
    """The unbiased estimate of the squared maximum mean discrepancy, from sums over pairs (Gretton 2012, Eq. 3)."""
    return within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * between_xy / (n * m)
