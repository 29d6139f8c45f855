"""k-means by Lloyd's iteration from k-means++ starts: the best of several.

    minimise sum_i |x_i - mu_{a(i)}|^2        a(i) the nearest of k centres, mu_j the mean of those it is nearest to

The next starting centre is drawn with probability proportional to the squared distance to those there are (Arthur &
Vassilvitskii 2007). An iteration that moves no more than one row in a thousand is the last. Rows are sorted first, so
the answer does not depend on their order.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from aurify.rng import derive

SETTLED = 0.001


def kmeans(x: Float[Tensor, "n F"], k: int, seed: int = 0, restarts: int = 5, most: int = 500) -> Int[Tensor, " n"]:
    """The cluster of each row, 0 ... k - 1; k <= n. `most` iterations of each of `restarts` starts."""
    order = torch.from_numpy(_sorted(x))
    generator = torch.Generator().manual_seed(derive("k-means", seed))
    best, found = float("inf"), torch.zeros(len(x), dtype=torch.long)
    for _ in range(restarts):
        _, assignment, inertia = lloyd(x[order], starts(x[order], k, generator), most)
        if inertia < best:
            best = inertia
            found[order] = assignment
    return found


def lloyd(
    x: Float[Tensor, "n F"], mu: Float[Tensor, "k F"], most: int
) -> tuple[Float[Tensor, "k F"], Int[Tensor, " n"], float]:
    """Centres, assignment and inertia once rows keep their centres."""
    a, length = torch.full((len(x),), -1), x.square().sum(1)
    for _ in range(most):
        before, (nearest, a) = a, beyond(x, mu).min(1)
        if int((before != a).sum()) <= SETTLED * len(x):
            break
        size = torch.bincount(a, minlength=len(mu))
        mean = torch.zeros_like(mu).index_add_(0, a, x) / size.clamp(min=1)[:, None]
        farthest = (
            (nearest + length).topk(int((size == 0).sum())).indices
        )  # centres with no row take those that fit badly
        mu = mean.index_copy(0, (size == 0).nonzero()[:, 0], x[farthest])
    nearest, a = beyond(x, mu).min(1)
    return mu, a, float((nearest + length).double().sum())


def starts(x: Float[Tensor, "n F"], k: int, generator: torch.Generator) -> Float[Tensor, "k F"]:
    """k-means++."""
    chosen = [int(torch.randint(len(x), (), generator=generator))]
    length = x.square().sum(1)
    nearest = torch.full_like(length, float("inf"))
    while len(chosen) < k:
        last = chosen[-1]
        nearest = nearest.minimum((beyond(x, x[last : last + 1])[:, 0] + length).clamp(min=0))
        upto = nearest.cumsum(0)
        u = torch.rand((), generator=generator, dtype=x.dtype) * upto[-1]
        chosen.append(min(int(torch.searchsorted(upto, u, right=True)), len(x) - 1))
    return x[chosen]


def beyond(x: Float[Tensor, "n F"], mu: Float[Tensor, "k F"]) -> Float[Tensor, "n k"]:
    """|x_i - mu_j|^2 - |x_i|^2."""
    return torch.addmm(mu.square().sum(1), x, mu.T, alpha=-2)


def _sorted(x: Float[Tensor, "n F"]) -> Int[np.ndarray, " n"]:
    return np.lexsort(x.numpy().T[::-1])
