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
from jaxtyping import Bool, Float, Int
from torch import Tensor

from aurify.evaluate.kernels import parts, squared_distances
from aurify.evaluate.local import Left, Local, Right
from aurify.evaluate.metric import Made, Real
from aurify.evaluate.remembered import remembered

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
        s2, same = widths(real)
        centre = real.mean(0)  # of no consequence but for rounding
        reached = among(real, left), likelihoods(real - centre, made - centre, (left, right), s2, same)
        return 100 / real.shape[1] * (peaks(reached[0]) - peaks(reached[1]))

    def growth(self, whole: float, half: float) -> float:
        """Measured, not derived, by benchmarks/growth.py: 0.90 to 0.96 from 150 samples of 8 features to 300."""
        return 0.95


def widths(real: Real) -> tuple[Float[Tensor, " W"], float]:
    """s^2 to be tried, each twice the one before, and the squared distance of equal samples."""
    variance = float(real.var(0).mean().clamp(min=1e-30))
    near = round(math.log2(variance))
    s2 = 2.0 ** torch.arange(near - BELOW, near + ABOVE + 1, dtype=torch.float64)
    return s2, SAME * variance * real.shape[1]


@remembered
def among(real: Real, left: Left) -> Float[Tensor, "C W"]:
    """`likelihoods` of real samples around one another."""
    centred = real - real.mean(0)
    return likelihoods(centred, centred, (left, left), *widths(real))


def likelihoods(
    x: Float[Tensor, "n F"], y: Float[Tensor, "m F"], kept: tuple[Bool[Tensor, "n C"], Bool[Tensor, "m C"]],
    s2: Float[Tensor, " W"], same: float,
) -> Float[Tensor, "C W"]:  # fmt: skip
    """Mean log likelihood of x around y in each selection and for each width. Centres that are in the same selections
    are summed once."""
    patterns, group = kept[1].unique(dim=0, return_inverse=True)
    groups = group.argsort(stable=True).split(group.bincount().tolist())
    index = torch.nn.utils.rnn.pad_sequence(list(groups), batch_first=True, padding_value=-1)  # (G, most)
    total = x.new_zeros(kept[0].shape[1], len(s2))
    for rows in parts(len(x), index.numel() * len(s2)):
        logs, centres = sums(x[rows], y, index, s2, same)
        for c, pattern in enumerate(patterns.T):
            here = kept[0][rows, c]
            log_p = logs[pattern][:, here].logsumexp(0) - centres[pattern][:, here].sum(0).log()[:, None]
            total[c] += log_p.sum(0)
    return total / kept[0].sum(0)[:, None] - x.shape[1] / 2 * (2 * math.pi * s2).log()


def sums(
    x: Float[Tensor, "n F"], y: Float[Tensor, "m F"], index: Int[Tensor, "G most"], s2: Float[Tensor, " W"], same: float
) -> tuple[Float[Tensor, "G n W"], Float[Tensor, "G n"]]:
    """log sum_j exp(-|x_i - y_j|^2 / 2 s^2) over each group of centres, a row of `index` (-1: none), and how many
    centres count. From the widest s^2 each narrower one is half, so what is summed is the square of what was."""
    d2 = squared_distances(x, y[index.flatten()]).unflatten(1, index.shape)
    d2.masked_fill_((d2 <= same) | (index < 0), torch.inf)
    nearest = d2.amin(2).nan_to_num(posinf=0.0)
    centres = d2.isfinite().sum(2).to(x.dtype)
    e = (nearest[..., None] - d2).div_(2 * s2[-1]).exp_()
    logs = []
    for width in s2.flip(0):
        logs.append(e.sum(2).log() - nearest / (2 * width))
        e.square_()
    return torch.stack(logs[::-1], 2).transpose(0, 1), centres.T


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
