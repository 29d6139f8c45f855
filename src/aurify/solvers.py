"""Solvers of dx/dt = v(x, t) from noise (t = 0) to data (t = 1), as plain functions of a field.

    B batch, *grid the sample's own axes, K steps between K + 1 times

Each yields x after every step, the last being the sample, so that a caller can show progress or stop early.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

Batch = Float[Tensor, "B *grid"]
Field = Callable[[Tensor, Tensor], Tensor]  # v(x, t), or any other prediction at (x, t); t has no axes
Times = Float[Tensor, " times"]  # K + 1 of them, from noise to data


@runtime_checkable
class Path(Protocol):
    """Coefficients of x_t = alpha(t) x_1 + sigma(t) x_0 and their derivatives in t; see families/flow.py."""

    def alpha(self, t: Tensor) -> Tensor: ...
    def sigma(self, t: Tensor) -> Tensor: ...
    def d_alpha(self, t: Tensor) -> Tensor: ...
    def d_sigma(self, t: Tensor) -> Tensor: ...


def euler(v: Field, x: Batch, times: Times, path: Path) -> Iterator[Batch]:
    """First order: x' = x + h v(x, t). One evaluation a step."""
    for t, t_next in pairwise(times):
        x = x + (t_next - t) * v(x, t)
        yield x


def heun(v: Field, x: Batch, times: Times, path: Path) -> Iterator[Batch]:
    """Second order (Karras et al. 2022, Algorithm 1): x' = x + h/2 (v(x, t) + v(x + h v(x, t), t + h)). Two a step."""
    for t, t_next in pairwise(times):
        h = t_next - t
        slope = v(x, t)
        x = x + h / 2 * (slope + v(x + h * slope, t_next))
        yield x


def dpm2m(v: Field, x: Batch, times: Times, path: Path) -> Iterator[Batch]:
    """DPM-Solver++(2M), second order with one evaluation a step (Lu et al. 2022, Algorithm 2).

    With lambda = log(alpha / sigma) and h the step in lambda, D the predicted data:
    x' = sigma'/sigma x + alpha' (1 - exp(-h)) (D + h/(2 h_before) (D - D_before)).
    The first step, and a step that ends at sigma = 0 (h infinite), are of first order.
    """
    before, h_before = None, None
    for t, t_next in pairwise(times):
        (alpha, sigma), (alpha_next, sigma_next) = ((path.alpha(s), path.sigma(s)) for s in (t, t_next))
        data = predicted_data(v(x, t), x, t, path)
        decay = alpha * sigma_next / (alpha_next * sigma)  # exp(-h), which stays finite where lambda does not
        h, blended = -decay.log(), data
        if before is not None and h_before is not None and h.isfinite() and h_before.isfinite():
            blended = data + h / (2 * h_before) * (data - before)
        x = sigma_next / sigma * x + alpha_next * (1 - decay) * blended
        before, h_before = data, h
        yield x


def predicted_data(v: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
    """x_1 from the velocity: solves x = alpha x_1 + sigma x_0 and v = alpha' x_1 + sigma' x_0 for x_1."""
    alpha, sigma, d_alpha, d_sigma = path.alpha(t), path.sigma(t), path.d_alpha(t), path.d_sigma(t)
    return (sigma * v - d_sigma * x) / (d_alpha * sigma - alpha * d_sigma)


def guided(asked: Field, free: Field, both: Field, scale: float, interval: tuple[float, float]) -> Field:
    """Classifier-free guidance (Ho & Salimans 2022, Eq. 6): v = v_free + scale (v_asked - v_free).

    `both` evaluates asked and free in one call, stacked (2B, *grid). Outside `interval` of t, and at scale 1, the asked
    field alone is used (Kynkaanniemi et al. 2024: guidance at high noise costs diversity, at low noise does nothing).
    """
    if scale == 1:
        return asked
    if scale == 0:
        return free

    def field(x: Tensor, t: Tensor) -> Tensor:
        if not interval[0] <= float(t) <= interval[1]:
            return asked(x, t)
        v_asked, v_free = both(torch.cat([x, x]), t).chunk(2)
        return v_free + scale * (v_asked - v_free)

    return field
