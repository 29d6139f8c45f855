"""MAUVE: the area under the divergence curve of two sets of quantised features (Pillutla et al. 2021).

    C = {(exp(-c KL(Q | R)), exp(-c KL(P | R)))}      R = w P + (1 - w) Q,  0 < w < 1,  c = 5

P, Q  shares of real and generated samples in each of k = n / 10 clusters, found by k-means in the joint features, which
      have length one and are reduced to the principal components that hold 90 % of their variance
area  from (0, 1) to (1, 0), by the trapezium rule through 25 points: 1 where P = Q, towards 0 where they are apart

Shares are (count + 1/2) / (n + k/2), the estimator of Krichevsky & Trofimov that the authors recommend for sets of this
size (Pillutla et al. 2023, "MAUVE Scores for Generative Models"). Their name for it is MAUVE*, and they use GPT-2's
features: only figures of the same features may be compared.

The jackknife keeps the clusters of all samples: k-means on fewer may settle elsewhere, and the jackknife multiplies any
such jump by the number of blocks.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from aurify.evaluate.kmeans import kmeans
from aurify.evaluate.metric import Blocks, Made, Metric, Of, Real

SCALE = 5.0
POINTS = 25
VARIANCE = 0.9
PER_CLUSTER = 10  # samples of a side for each cluster
CLUSTERS = 500  # at most, as in the paper


class Mauve(Metric):
    of: ClassVar[Of] = "features"
    title = "MAUVE* of these features"
    source = "Pillutla et al. 2021, MAUVE; smoothed as in Pillutla et al. 2023"
    better = "higher"
    bounds = (0.0, 1.0)
    smallest = 20
    sees = ("noise", "dropped-modes")

    def value(self, real: Real, made: Made) -> float:
        return mauve(real, made)

    def without(self, real: Real, made: Made, blocks: Blocks) -> Float[Tensor, " B"]:
        return self.both(real, made, blocks)[1]

    def both(self, real: Real, made: Made, blocks: Blocks) -> tuple[float, Float[Tensor, " B"]]:
        cells = quantised(real, made)
        k = int(torch.cat(cells).max()) + 1
        P, Q = (_histograms(cell, block, k, blocks.number) for cell, block in zip(cells, blocks, strict=True))
        *rest, whole = (area(*curve(smooth(p), smooth(q))) for p, q in zip(P, Q, strict=True))
        return float(whole), torch.stack(rest)


def mauve(real: Float[Tensor, "n F"], made: Float[Tensor, "m F"], seed: int = 0) -> float:
    """The smoothed figure; `seed` is of k-means."""
    cells = quantised(real, made, seed)
    k = int(torch.cat(cells).max()) + 1
    P, Q = (torch.bincount(cell, minlength=k).double() for cell in cells)
    return float(area(*curve(smooth(P), smooth(Q))))


def quantised(
    real: Float[Tensor, "n F"], made: Float[Tensor, "m F"], seed: int = 0
) -> tuple[Int[Tensor, " n"], Int[Tensor, " m"]]:
    """The cluster of each sample, in the joint features of both sets."""
    n, m = len(real), len(made)
    x = F.normalize(torch.cat((real, made)).double(), dim=1)
    cells = kmeans(principal(x).float(), max(2, min(round(min(n, m) / PER_CLUSTER), CLUSTERS)), seed)
    return cells[:n], cells[n:]


def principal(x: Float[Tensor, "N F"]) -> Float[Tensor, "N G"]:
    """The first principal components that together hold 90 % of the variance."""
    x = x - x.mean(0)
    variance, axes = torch.linalg.eigh(x.T @ x)
    variance, axes = variance.flip(0), axes.flip(1)
    kept = int((variance.cumsum(0) < VARIANCE * variance.sum()).sum()) + 1
    return x @ axes[:, :kept]


def smooth(counts: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    return (counts + 0.5) / (counts.sum() + 0.5 * len(counts))


def curve(P: Float[Tensor, " k"], Q: Float[Tensor, " k"]) -> tuple[Float[Tensor, " W"], Float[Tensor, " W"]]:
    """The divergence curve from (0, 1) to (1, 0)."""
    w = torch.linspace(1e-6, 1 - 1e-6, POINTS, dtype=P.dtype)[:, None]
    R = w * P + (1 - w) * Q
    zero, one = torch.zeros(1, dtype=P.dtype), torch.ones(1, dtype=P.dtype)
    x, y = (-SCALE * divergence(Q, R)).exp(), (-SCALE * divergence(P, R)).exp()  # x falls as w grows
    return torch.cat((zero, x.flip(0), one)), torch.cat((one, y.flip(0), zero))


def divergence(P: Float[Tensor, " k"], R: Float[Tensor, "W k"]) -> Float[Tensor, " W"]:
    """KL(P | R) in nats."""
    return (torch.special.xlogy(P, P) - torch.special.xlogy(P, R)).sum(1)


def area(x: Float[Tensor, " W"], y: Float[Tensor, " W"]) -> Float[Tensor, ""]:
    return torch.trapezoid(y, x)


def _histograms(cell: Int[Tensor, " n"], block: Int[Tensor, " n"], k: int, B: int) -> Float[Tensor, "C k"]:
    """How many are in each cluster without each of B blocks, and at last of all: C = B + 1 rows."""
    each = torch.bincount(block * k + cell, minlength=B * k).reshape(B, k).double()
    return torch.cat([each.sum(0) - each, each.sum(0, keepdim=True)])
