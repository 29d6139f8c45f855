"""Effective rank: in how many directions features really vary (Roy & Vetterli 2007), made relative to real.

    p_k = s_k / sum_l s_l       erank = exp(-sum_k p_k log p_k)       value = erank(made) / erank(real)

s_k are the singular values of the centred features: the square roots of the covariance's eigenvalues, up to a factor.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.metric import Blocks, Made, Metric, Real
from aurify.evaluate.moments import moments, moments_without


class Rank(Metric):
    """1 for as many directions as real samples; less for sameness, more for noise.

    Each rank grows with n while n is not much larger than F; at equal n on both sides most of that cancels.
    """

    of = "features"
    title = "effective rank (real = 1)"
    source = "Roy & Vetterli 2007, of centred features"
    better = "real"
    smallest = 3
    sees = ("noise", "blur")

    def value(self, real: Real, made: Made) -> float:
        return erank(moments(made).covariance) / erank(moments(real).covariance)

    def without(self, real: Real, made: Made, blocks: Blocks) -> Float[Tensor, " B"]:
        count = blocks.number
        pairs = zip(moments_without(real, blocks[0], count), moments_without(made, blocks[1], count), strict=True)
        values = [erank(b.covariance) / erank(a.covariance) for a, b in pairs]
        return torch.tensor(values, dtype=torch.float64)


def erank(S: Float[Tensor, "F F"]) -> float:
    """The effective rank of a covariance; 1 where nothing varies."""
    eigenvalues = torch.linalg.eigvalsh(S)
    noise = len(S) * torch.finfo(S.dtype).eps * eigenvalues[-1]
    s = eigenvalues[eigenvalues > noise.clamp(min=0)].sqrt()  # without those that rounding made
    p = s / s.sum()
    return float((-torch.xlogy(p, p).sum()).exp())
