"""Paths from noise to data, and what a network may be asked for on them.

    x_t = alpha(t) x_1 + sigma(t) x_0      x_1 data, x_0 ~ N(0, 1), t from 0 (noise) to 1 (data)
    s = sigma / alpha                      noise a unit of data: what two paths have in common

Diffusion and flow matching are one thing: a path is a schedule of noise, and whatever is predicted at x_t, the
data, the noise or a mixture of both, the rest follows. Sources: Lipman et al. 2023 and Liu et al. 2023 (linear), Ho et
al. 2020 (ddpm), Nichol & Dhariwal 2021 (vp), Song et al. 2021 (ve), Karras et al. 2022 (edm, and its preconditioning).
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

SPREAD = 0.5  # standard deviation of data that the preconditioning of Karras et al. 2022 assumes
Prediction = Literal["velocity", "data", "noise", "edm"]


@runtime_checkable
class Path(Protocol):
    """Coefficients of x_t = alpha(t) x_1 + sigma(t) x_0, their slopes in t, and the t at which sigma / alpha = s."""

    def alpha(self, t: Tensor) -> Tensor: ...
    def sigma(self, t: Tensor) -> Tensor: ...
    def d_alpha(self, t: Tensor) -> Tensor: ...
    def d_sigma(self, t: Tensor) -> Tensor: ...
    def time(self, s: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Linear:
    """Straight lines: alpha = t, sigma = 1 - t."""

    def alpha(self, t: Tensor) -> Tensor:
        return t

    def sigma(self, t: Tensor) -> Tensor:
        return 1 - t

    def d_alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)

    def time(self, s: Tensor) -> Tensor:
        return 1 / (1 + s)


@dataclass(frozen=True)
class VariancePreserving:
    """alpha = sin(pi t / 2), sigma = cos(pi t / 2): alpha^2 + sigma^2 = 1 (Nichol & Dhariwal 2021)."""

    def alpha(self, t: Tensor) -> Tensor:
        return (t * math.pi / 2).sin()

    def sigma(self, t: Tensor) -> Tensor:
        return (t * math.pi / 2).cos()

    def d_alpha(self, t: Tensor) -> Tensor:
        return math.pi / 2 * (t * math.pi / 2).cos()

    def d_sigma(self, t: Tensor) -> Tensor:
        return -math.pi / 2 * (t * math.pi / 2).sin()

    def time(self, s: Tensor) -> Tensor:
        return (1 / s).atan() * 2 / math.pi


@dataclass(frozen=True)
class VarianceExploding:
    """alpha = 1, sigma = top (1 - t)^rho: the schedule of Karras et al. 2022, Eq. 5, with sigma_min = 0."""

    top: float = 20.0
    rho: float = 3.0

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.top * (1 - t) ** self.rho

    def d_alpha(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        return -self.top * self.rho * (1 - t) ** (self.rho - 1)

    def time(self, s: Tensor) -> Tensor:
        return (1 - (s / self.top) ** (1 / self.rho)).clamp(0, 1)


@dataclass(frozen=True)
class Karras:
    """alpha = 1, sigma = (top^(1/rho) + t (bottom^(1/rho) - top^(1/rho)))^rho (Karras et al. 2022, Eq. 5).

    It ends at half a grey level of noise, which nobody sees, instead of none.
    """

    top: float = 80.0
    bottom: float = 0.002
    rho: float = 7.0

    def root(self, t: Tensor) -> Tensor:
        return self.top ** (1 / self.rho) + t * self.fall

    @property
    def fall(self) -> float:
        return self.bottom ** (1 / self.rho) - self.top ** (1 / self.rho)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.root(t) ** self.rho

    def d_alpha(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        return self.rho * self.fall * self.root(t) ** (self.rho - 1)

    def time(self, s: Tensor) -> Tensor:
        return ((s ** (1 / self.rho) - self.top ** (1 / self.rho)) / self.fall).clamp(0, 1)


@dataclass(frozen=True)
class Ddpm:
    """alpha^2 = prod_{i <= k} (1 - beta_i) after k = steps (1 - t) steps of noise, beta_i from `first` to `last` in
    equal steps (Ho et al. 2020, Section 4); sigma^2 = 1 - alpha^2.

    As 1 - beta_i falls by b a step, the product is b^k Gamma(c + 1) / Gamma(c + 1 - k) with c = (1 - first) / b, which
    also holds between the steps. Large Gammas that nearly cancel ask for float64, on the processor.
    """

    steps: int = 1000
    first: float = 1e-4
    last: float = 0.02

    @property
    def b(self) -> float:
        return (self.last - self.first) / (self.steps - 1)

    @property
    def c(self) -> float:
        return (1 - self.first) / self.b

    def log_square(self, t: Tensor) -> Tensor:
        """log alpha^2, float64 on the processor."""
        k, c = self.steps * (1 - t.to("cpu", torch.float64)), self.c + 1
        return k * math.log(self.b) + math.lgamma(c) - (c - k).lgamma()

    def slope(self, t: Tensor) -> Tensor:
        """Its derivative in t."""
        k = self.steps * (1 - t.to("cpu", torch.float64))
        return -self.steps * (math.log(self.b) + (self.c + 1 - k).digamma())

    def alpha(self, t: Tensor) -> Tensor:
        return (self.log_square(t) / 2).exp().to(t)

    def sigma(self, t: Tensor) -> Tensor:
        return (-self.log_square(t).expm1()).clamp(min=0).sqrt().to(t)

    def d_alpha(self, t: Tensor) -> Tensor:
        return ((self.log_square(t) / 2).exp() * self.slope(t) / 2).to(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        """-alpha alpha' / sigma: without bound at t = 1, as the path has it."""
        return (-self.log_square(t).exp() * self.slope(t) / 2).to(t) / self.sigma(t)

    def time(self, s: Tensor) -> Tensor:
        """Newton's method on log alpha^2 = -log(1 + s^2), which is nearly a parabola in t."""
        goal = -s.to("cpu", torch.float64).square().log1p()
        t = 1 - (-2 * goal / (self.steps * self.last)).sqrt()
        for _ in range(6):
            t = (t - (self.log_square(t) - goal) / self.slope(t)).clamp(0, 1)
        return t.to(s)


PATHS: dict[str, Path] = {
    "linear": Linear(),
    "vp": VariancePreserving(),
    "ve": VarianceExploding(),
    "edm": Karras(),
    "ddpm": Ddpm(),
}


@dataclass(frozen=True)
class Mix:
    """A path's coefficients at some times, shaped to multiply a batch, and what follows from them.

    With "edm" the network's input and target have unit variance where the data's standard deviation is SPREAD = d; with
    n^2 = sigma^2 + alpha^2 d^2 its target is F = (sigma x_1 / d - alpha d x_0) / n (Karras et al. 2022, Table 1 and
    Eq. 7, on any path), and the loss |F_theta - F|^2 has their weights.
    """

    prediction: Prediction
    alpha: Tensor
    sigma: Tensor
    d_alpha: Tensor
    d_sigma: Tensor

    @classmethod
    def at(cls, path: Path, prediction: Prediction, t: Tensor, ndim: int) -> "Mix":
        """t: a scalar or (B,); ndim: of the batch."""
        shape = (-1, *[1] * (ndim - 1)) if t.ndim else ()
        found = (c(t).reshape(shape) for c in (path.alpha, path.sigma, path.d_alpha, path.d_sigma))
        return cls(prediction, *found)

    @property
    def n(self) -> Tensor:
        return (self.sigma.square() + (SPREAD * self.alpha).square()).sqrt()

    @property
    def scale(self) -> Tensor:
        """What x_t is divided by before the network sees it."""
        return self.n if self.prediction == "edm" else (self.alpha.square() + self.sigma.square()).sqrt()

    def target(self, x_1: Tensor, x_0: Tensor) -> Tensor:
        """What the network is asked for."""
        match self.prediction:
            case "velocity":
                return self.d_alpha * x_1 + self.d_sigma * x_0
            case "data":
                return x_1
            case "noise":
                return x_0
            case "edm":
                return (self.sigma / SPREAD * x_1 - self.alpha * SPREAD * x_0) / self.n

    def ends(self, x: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
        """(x_1, x_0) from x_t and what the network said: solves x = alpha x_1 + sigma x_0 with `target`."""
        match self.prediction:
            case "velocity":
                det = self.d_alpha * self.sigma - self.alpha * self.d_sigma
                return (self.sigma * f - self.d_sigma * x) / det, (self.d_alpha * x - self.alpha * f) / det
            case "data":
                return f, (x - self.alpha * f) / self.sigma
            case "noise":
                return (x - self.sigma * f) / self.alpha, f
            case "edm":
                n, d = self.n, SPREAD
                return (
                    (self.alpha * d**2 * x + self.sigma * d * n * f) / n.square(),
                    (self.sigma * x - self.alpha * d * n * f) / n.square(),
                )

    def velocity(self, x: Tensor, f: Tensor) -> Tensor:
        """dx/dt = alpha' x_1 + sigma' x_0 from what the network said."""
        if self.prediction == "velocity":
            return f
        x_1, x_0 = self.ends(x, f)
        return self.d_alpha * x_1 + self.d_sigma * x_0
