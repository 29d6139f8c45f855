"""k-means by Lloyd's iteration from k-means++ starts: of several, the one that falls fastest.

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
HEAT = 4  # iterations after which the starts are compared
ROWS = 1024  # looked at at a time: what they give stays in the processor's cache


def kmeans(x: Float[Tensor, "n F"], k: int, seed: int = 0, restarts: int = 5, most: int = 500) -> Int[Tensor, " n"]:
    """The cluster of each row, 0 ... k - 1; k <= n. Of `restarts` starts the one that is best after HEAT iterations
    goes on, `most` of them in all."""
    order = torch.from_numpy(_sorted(x))
    generator = torch.Generator().manual_seed(derive("k-means", seed))
    heats = [lloyd(x[order], starts(x[order], k, generator), HEAT) for _ in range(restarts)]
    best, _, _ = min(heats, key=lambda heat: heat[2])
    found = torch.zeros(len(x), dtype=torch.long)
    _, found[order], _ = lloyd(x[order], best, most - HEAT)
    return found


def lloyd(
    x: Float[Tensor, "n F"], mu: Float[Tensor, "k F"], most: int
) -> tuple[Float[Tensor, "k F"], Int[Tensor, " n"], float]:
    """Centres, assignment and inertia once rows keep their centres."""
    a, length = torch.full((len(x),), -1), x.square().sum(1)
    for _ in range(most):
        before, (nearest, a) = a, assigned(x, mu)
        if int((before != a).sum()) <= SETTLED * len(x):
            break
        size = torch.bincount(a, minlength=len(mu))
        mean = torch.zeros_like(mu).index_add_(0, a, x) / size.clamp(min=1)[:, None]
        farthest = (
            (nearest + length).topk(int((size == 0).sum())).indices
        )  # centres with no row take those that fit badly
        mu = mean.index_copy(0, (size == 0).nonzero()[:, 0], x[farthest])
    nearest, a = assigned(x, mu)
    return mu, a, float((nearest + length).double().sum())


def assigned(x: Float[Tensor, "n F"], mu: Float[Tensor, "k F"]) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
    """The smallest |x_i - mu_j|^2 - |x_i|^2 of each row, and its centre."""
    found = [beyond(part, mu).min(1) for part in x.split(ROWS)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


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
