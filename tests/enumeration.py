"""Spaces so small that all samples can be listed: probabilities sum to one, and samples come as often as they say."""

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from aurify.spec import Tokens

TINY = [Tokens(4, 3), Tokens(4, 3, end=2), Tokens(4, 3, end=0), Tokens(4, 3, sizes=(2, 3, 1, 3))]


def everything(spec: Tokens) -> Tensor:
    """All sequences of a spec, documents padded with `end`."""
    x = torch.tensor(list(itertools.product(range(spec.vocab), repeat=spec.length)))
    if spec.sizes is not None:
        x = x[(x < torch.tensor(spec.sizes)).all(1)]
    return x[(spec.mask(x) | (x == spec.end)).all(1)] if spec.variable else x


def shaken(model: Any, seed: int = 0) -> Any:
    """Weights far from their start, where all symbols are equally likely."""
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.data += torch.randn(p.shape, generator=generator) * (0.5 if p.shape[-1] < 4 else p.shape[-1] ** -0.5)
    return model.eval().requires_grad_(False)


def too_often(samples: Tensor, x: Tensor, p: Tensor) -> float:
    """By how many standard deviations Pearson's chi-square of the samples' frequencies exceeds its mean, where x are
    all sequences and p their probabilities; infinite where a sample is none of them."""
    same = (samples[:, None] == x).all(-1)
    if not same.any(1).all():
        return math.inf
    expected, found = len(samples) * p, same.sum(0)
    often = expected > 5
    rest = expected[~often].sum()
    chi_square = ((found - expected)[often] ** 2 / expected[often]).sum()
    chi_square += (found[~often].sum() - rest) ** 2 / rest.clamp_min(1e-9)
    freedom = int(often.sum())
    return float(chi_square - freedom) / math.sqrt(2 * freedom)
