"""Solvers of dx/dt = v(x, t) from noise (t = 0) to data (t = 1), as plain functions of a field.

    B batch, *grid the sample's own axes, K steps between K + 1 times
    x = alpha x_1 + sigma x_0 at t, alpha' and sigma' at the next time, decay = alpha sigma' / (alpha' sigma)

Each yields x after every step, the last being the sample, so that a caller can show progress or stop early. All but
`leaps` take any field on any path. Two add noise on the way: `noise` draws a standard normal batch.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from aurify.diffusion import Path

Batch = Float[Tensor, "B *grid"]
Field = Callable[[Tensor, Tensor], Tensor]  # v(x, t), or any other prediction at (x, t); t has no axes
Times = Float[Tensor, " times"]  # K + 1 of them, from noise to data
Noise = Callable[[], Tensor]


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


def ddim(v: Field, x: Batch, times: Times, path: Path) -> Iterator[Batch]:
    """First order, exact where the predicted data stay the same (Song et al. 2021, Eq. 12 with no noise):
    x' = alpha' x_1 + sigma' x_0, both as predicted at x. One evaluation a step; on the linear path it is Euler's."""
    for t, t_next in pairwise(times):
        slope = v(x, t)
        data, noise = predicted_data(slope, x, t, path), predicted_noise(slope, x, t, path)
        x = path.alpha(t_next) * data + path.sigma(t_next) * noise
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


def ancestral(v: Field, x: Batch, times: Times, path: Path, noise: Noise, share: float | None = 0.0) -> Iterator[Batch]:
    """Draws x' given x as if the predicted data were the data (Ho et al. 2020, Algorithm 2; here on any path):

        x' = alpha' x_1 + decay sigma' x_0 + sqrt(w) z      log w = share log large + (1 - share) log small

    `share`: 0 or 1 for the two variances of Ho et al. (see `variances`); None where the field gives it beside the
    velocity, in as many more channels (Nichol & Dhariwal 2021, Eq. 15). One evaluation a step; no noise in the last.
    """
    for t, t_next in pairwise(times):
        out = v(x, t)
        slope, part = (out, share) if share is not None else out.chunk(2, 1)
        part = part.clamp(0, 1) if isinstance(part, Tensor) else part
        data, e = predicted_data(slope, x, t, path), predicted_noise(slope, x, t, path)
        decay = path.alpha(t) * path.sigma(t_next) / (path.alpha(t_next) * path.sigma(t))
        x = path.alpha(t_next) * data + decay * path.sigma(t_next) * e
        if t_next < times[-1]:
            x = x + between(part, *variances(path, t, t_next)).sqrt() * noise()
        yield x


def variances(path: Path, t: Tensor, t_next: Tensor) -> tuple[Tensor, Tensor]:
    """(small, large): the variance of x' given x where the data are known, and where they are N(0, 1).

    On variance-preserving paths beta~ and beta of Ho et al. 2020, Section 3.2; the true one lies between them.
    """
    (alpha, sigma), (alpha_next, sigma_next) = ((path.alpha(s), path.sigma(s)) for s in (t, t_next))
    added = sigma.square() - (alpha / alpha_next * sigma_next).square()  # on the way from x' to x
    small = added * sigma_next.square() / sigma.square()
    return small, added * (alpha_next.square() + sigma_next.square()) / (alpha.square() + sigma.square())


def between(share: float | Tensor, small: Tensor, large: Tensor) -> Tensor:
    """small^(1 - share) large^share."""
    return (share * large.log() + (1 - share) * small.log()).exp()


def churn(v: Field, x: Batch, times: Times, path: Path, noise: Noise, amount: float) -> Iterator[Batch]:
    """Heun's method from a little more noise than there is (Karras et al. 2022, Algorithm 2), on any path:

        s^ = s (1 + min(amount / K, sqrt(2) - 1))     s = sigma / alpha, at the time t^ <= t
        x^ = a x + sqrt(sigma^^2 - (a sigma)^2) z      a = alpha^ / alpha

    then a step of `heun` from t^ to the next time. Noise added and taken away mends errors of earlier steps.
    """
    more = 1 + min(amount / (len(times) - 1), 2**0.5 - 1)
    for t, t_next in pairwise(times):
        z, alpha, sigma = noise(), path.alpha(t), path.sigma(t)
        if alpha > 0:
            t = torch.minimum(path.time(more * sigma / alpha), t)
            a = path.alpha(t) / alpha
            x = a * x + (path.sigma(t).square() - (a * sigma).square()).clamp(min=0).sqrt() * z
        h = t_next - t
        slope = v(x, t)
        x = x + h / 2 * (slope + v(x + h * slope, t_next))
        yield x


def leaps(u: Callable[[Tensor, Tensor, Tensor], Tensor], x: Batch, times: Times) -> Iterator[Batch]:
    """x' = x + h u(x, t, h), u the mean velocity over the whole step: as exact as u, however long. One evaluation."""
    for t, t_next in pairwise(times):
        x = x + (t_next - t) * u(x, t, t_next - t)
        yield x


def predicted_data(v: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
    """x_1 from the velocity: solves x = alpha x_1 + sigma x_0 and v = alpha' x_1 + sigma' x_0 for x_1."""
    alpha, sigma, d_alpha, d_sigma = path.alpha(t), path.sigma(t), path.d_alpha(t), path.d_sigma(t)
    return (sigma * v - d_sigma * x) / (d_alpha * sigma - alpha * d_sigma)


def predicted_noise(v: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
    """x_0 from the velocity, by the same two equations."""
    alpha, sigma, d_alpha, d_sigma = path.alpha(t), path.sigma(t), path.d_alpha(t), path.d_sigma(t)
    return (d_alpha * x - alpha * v) / (d_alpha * sigma - alpha * d_sigma)


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
