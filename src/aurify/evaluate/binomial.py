"""Exact laws of counts: how many of n samples are something, and how many lie beyond a limit set by other samples.

    n samples, p probability, k count
    X ~ Bin(n, p)                        counts against a known probability
    J ~ BetaBin(m; k, n - k + 1)         of m new samples, those above the k-th greatest of n old ones

The second law holds whatever the samples' distribution, as long as it is one and continuous (Wilks 1942, "Statistical
prediction with special reference to the problem of tolerance limits"): the limit's own chance is in it.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def at_least(k: int, n: int, p: float) -> float:
    """P(X >= k), X ~ Bin(n, p)."""
    if k <= 0:
        return 1.0
    if k > n or p <= 0:
        return 0.0
    if p >= 1:
        return 1.0
    i = torch.arange(k, n + 1, dtype=torch.float64)
    logs = choose(torch.full_like(i, n), i) + i * math.log(p) + (n - i) * math.log1p(-p)
    return min(1.0, float(logs.exp().sum()))


def interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Of p, where k of n were counted (Clopper & Pearson 1934); exact, so it is never too narrow."""
    if n == 0:
        return 0.0, 1.0
    half = (1 - level) / 2
    low = 0.0 if k == 0 else _solve(lambda p: at_least(k, n, p) - half)
    high = 1.0 if k == n else _solve(lambda p: at_least(k + 1, n, p) - (1 - half))
    return low, high


def _solve(rising: Callable[[float], float]) -> float:
    """Where a rising function of [0, 1] is zero."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def beyond(j: int, m: int, k: int, n: int) -> float:
    """P(J >= j): at least j of m new samples lie above the k-th greatest of n old ones of the same distribution.

    P(J = j) = C(j + k - 1, j) C(m - j + n - k, m - j) / C(m + n, m)
    """
    if j <= 0:
        return 1.0
    i = torch.arange(j, m + 1, dtype=torch.float64)
    logs = (
        choose(i + k - 1, i) + choose(m - i + n - k, m - i) - choose(torch.full_like(i, m + n), torch.full_like(i, m))
    )
    return min(1.0, float(logs.exp().sum()))


def choose(n: Float[Tensor, "*n"], k: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """log C(n, k)."""
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)


def share(k: int, n: int) -> str:
    """A count as a person reads it: "97 of 100 (95 % interval 91.5 % to 99.4 %)"."""
    low, high = interval(k, n)
    return f"{k:,} of {n:,} (95 % interval {low:.1%} to {high:.1%})"
