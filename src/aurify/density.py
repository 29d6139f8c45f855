"""log p(x) of what a field carries noise to: the change of variables along its path (Chen et al. 2018, Theorem 1).

    d log p(x_t) / dt = -div v(x_t, t)      hence      log p_1(x) = log p_0(x_0) - integral_0^1 div v(x_t, t) dt

For diffusion this is the likelihood of the probability-flow equation (Song et al. 2021, Section 4.3). The divergence is
the sum of e' J e over the unit vectors e: exact, at a backward pass each. Over one random vector of signs it is an
unbiased estimate (Hutchinson 1989; Grathwohl et al. 2019, FFJORD), its mean over many x nearly exact.
"""

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from aurify.solvers import Batch, Field, Times

EXACT = 16  # numbers a sample, up to which all unit vectors are gone through


def log_density(v: Field, x: Batch, times: Times, signs: Batch, sigma: Tensor) -> Float[Tensor, " B"]:
    """log p(x) in nats by Heun's method.

    Args:
        v: the field; its time has no axes.
        x: data.
        times: from data to noise, falling.
        signs: random signs, of x's shape, for samples of more than EXACT numbers.
        sigma: standard deviation of the noise that the path begins with.
    """
    probes = units(x) if x[0].numel() <= EXACT else [signs]
    gathered = torch.zeros(len(x), device=x.device)
    for t, t_next in pairwise(times):
        h = t_next - t
        slope, there = divergence(v, x, t, probes)
        slope_next, there_next = divergence(v, x + h * slope, t_next, probes)
        x = x + h / 2 * (slope + slope_next)
        gathered = gathered + h / 2 * (there + there_next)
    normal = -((x / sigma).square() + math.log(2 * math.pi)) / 2 - sigma.log()
    return normal.flatten(1).sum(1) + gathered  # h < 0: the integral's sign


def divergence(v: Field, x: Batch, t: Tensor, probes: list[Tensor]) -> tuple[Batch, Float[Tensor, " B"]]:
    """v(x, t) and the sum of e' J e over the probes e, J its Jacobian; no gradient is kept."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        slope = v(x, t)
        found = torch.zeros(len(x), device=x.device)
        for i, e in enumerate(probes):
            (row,) = torch.autograd.grad(slope, x, e, retain_graph=i + 1 < len(probes))
            found = found + (row * e).flatten(1).sum(1)
    return slope.detach(), found


def units(x: Batch) -> list[Tensor]:
    """The unit vectors of a sample's numbers, each for every row."""
    shape, n = x.shape[1:], x[0].numel()
    return [e.reshape(shape).expand_as(x) for e in torch.eye(n).to(x)]
