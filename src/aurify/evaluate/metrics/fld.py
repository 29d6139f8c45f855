"""Likelihood of real features under made ones, after the feature likelihood divergence (Jiralerspong et al. 2023).

    p(x; s)  = 1/m sum_j N(x; y_j, s^2 I)           a density around the made samples
    L(made)  = max over s of 1/n sum_i log p(x_i; s)
    value    = 100/F [L(real, without x_i itself) - L(made)]        hundredths of a nat per feature

The published divergence fits a width for every made sample to the training set, judges by the test set and takes off a
constant. Here are but two sets, so there is one width for all, fitted to the very samples that judge it (one number,
which n samples cannot overfit), and the constant is what real samples reach as centres of one another. What is lost: a
width for each sample would have told copies of the training set; the alarm for copying does that. What is gained: 0
means as good as real samples.

s^2 is sought among powers of 2, and the maximum read off a + b ln s^2 + c / s^2 through the best three, which is exact
where each sample has one centre near it.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from aurify.evaluate.kernels import parts, squared_distances
from aurify.evaluate.local import Left, Local, Right
from aurify.evaluate.metric import Made, Real

BELOW, ABOVE = 10, 3  # powers of 2 tried for s^2, around the mean variance of a real feature
SAME = 1e-12  # of that variance: a squared distance that is rounding


class Fld(Local):
    """Lower is better: 0 where made samples are centres as good as real ones; samples equal to the judging ones are
    not counted. Needs made samples that are no copies of the judging ones, or goes far below 0.
    """

    title = "divergence of feature likelihood (one width)"
    source = "after Jiralerspong et al. 2023, with one width and no training set"
    better = "lower"
    smallest = 3
    sees = ("noise", "dropped-modes", "repeats")

    def of_selections(self, real: Real, made: Made, left: Left, right: Right) -> Float[Tensor, " C"]:
        variance = float(real.var(0).mean().clamp(min=1e-30))
        near, same = round(math.log2(variance)), SAME * variance * real.shape[1]
        s2 = 2.0 ** torch.arange(near - BELOW, near + ABOVE + 1, dtype=torch.float64)
        centre = real.mean(0)  # of no consequence but for rounding
        real, made = real - centre, made - centre
        reached = likelihoods(real, real, (left, left), s2, same), likelihoods(real, made, (left, right), s2, same)
        return 100 / real.shape[1] * (peaks(reached[0]) - peaks(reached[1]))

    def growth(self, whole: float, half: float) -> float:
        """Measured, not derived, by benchmarks/growth.py: 0.90 to 0.96 from 150 samples of 8 features to 300."""
        return 0.95


def likelihoods(
    x: Float[Tensor, "n F"], y: Float[Tensor, "m F"], kept: tuple[Bool[Tensor, "n C"], Bool[Tensor, "m C"]],
    s2: Float[Tensor, " W"], same: float,
) -> Float[Tensor, "C W"]:  # fmt: skip
    """Mean log likelihood of x around y in each selection and for each width. Centres that are in the same selections
    are summed once."""
    patterns, group = kept[1].unique(dim=0, return_inverse=True)
    members = [(group == g).nonzero()[:, 0] for g in range(len(patterns))]
    total = x.new_zeros(kept[0].shape[1], len(s2))
    for rows in parts(len(x), len(y) * len(s2)):
        d2 = squared_distances(x[rows], y)
        d2[d2 <= same] = torch.inf
        logs = torch.stack([(-d2[:, g, None] / (2 * s2)).logsumexp(1) for g in members])  # (G, n, W)
        centres = torch.stack([d2[:, g].isfinite().sum(1) for g in members])  # (G, n)
        for c, pattern in enumerate(patterns.T):
            here = kept[0][rows, c]
            log_p = logs[pattern][:, here].logsumexp(0) - centres[pattern][:, here].sum(0).log()[:, None]
            total[c] += log_p.sum(0)
    return total / kept[0].sum(0)[:, None] - x.shape[1] / 2 * (2 * math.pi * s2).log()


def peaks(L: Float[Tensor, "C W"]) -> Float[Tensor, " C"]:
    """The maximum of a + b t + c exp(-t), t = ln s^2, through the best power of 2 and its two neighbours."""
    best = L.argmax(1, keepdim=True)
    at = best.clamp(1, L.shape[1] - 2)
    below, here, above = (L.gather(1, at + k)[:, 0] for k in (-1, 0, 1))
    c = 2 * (above + below - 2 * here)  # times exp(-t)
    b = (above - here + c / 2) / math.log(2)
    top = here + b * (c / b).log() + b - c
    inside = (best == at)[:, 0] & (c < 0)
    return torch.where(inside, top, L.gather(1, best)[:, 0])
