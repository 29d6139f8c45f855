"""Flow matching and diffusion: noise is carried to data along a learned velocity field.

    B batch, *grid the sample's axes, t time in [0, 1]: 0 is noise, 1 is data
    x_t = alpha(t) x_1 + sigma(t) x_0      x_1 data, x_0 ~ N(0, 1)
    v(x, t) = E[alpha'(t) x_1 + sigma'(t) x_0 | x_t = x]

Every path (linear, variance-preserving, variance-exploding) and every prediction (velocity, data, noise) is one such
field, so solvers and guidance know none of them. Sources: Lipman et al. 2023 and Liu et al. 2023 (linear path,
velocity), Ho et al. 2020 and Song et al. 2021 (VP, VE, noise), Karras et al. 2022 (input scaling), Esser et al. 2024
(logit-normal times), Ho & Salimans 2022 (guidance).
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from aurify import cond as conds
from aurify import solvers
from aurify.cond import Cond, CondSpec
from aurify.family import Family, Phase, Preset
from aurify.muon import Muon
from aurify.nets.mlp import Mlp
from aurify.nets.unet import UNet, channels_last
from aurify.rng import Rng
from aurify.spec import Grid


class Config(BaseModel, frozen=True, extra="forbid"):
    width: int = Field(default=24, ge=4, description="channels of the first level")
    multiples: tuple[int, ...] = Field(default=(1, 2, 3), description="width of each level, in first widths")
    blocks: int = Field(default=1, ge=1, description="residual blocks a level and side")
    patch: int = Field(default=1, ge=1, description="places per side folded into channels before the first level")
    path: Literal["linear", "vp", "ve"] = Field(default="linear", description="how noise and data are mixed")
    prediction: Literal["velocity", "data", "noise"] = Field(
        default="velocity", description="what the network puts out"
    )
    times: Literal["logit-normal", "uniform"] = Field(default="logit-normal", description="which times it learns")
    drop: float = Field(
        default=0.1, ge=0, lt=1, description="share of training samples whose label is hidden, for guidance"
    )
    optimizer: Literal["muon", "adamw"] = Field(default="muon", description="how the hidden matrices and filters step")
    lr: float = Field(default=0.015, gt=0, description="learning rate of Muon; AdamW takes a fifth")


class Options(BaseModel, frozen=True, extra="forbid"):
    steps: int = Field(default=16, ge=1, le=10_000, description="solver steps")
    solver: Literal["euler", "heun", "dpm2m"] = Field(default="dpm2m", description="heun costs two evaluations a step")
    guidance: float = Field(
        default=2.25, ge=0, le=50, description="how strongly a label is followed; 1 is the model itself"
    )
    interval: tuple[float, float] = Field(default=(0.15, 0.8), description="times between which guidance acts")


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


def network(spec: Grid, cond: CondSpec, config: Config) -> nn.Module:
    """A U-Net over the grid's axes; a multilayer network for rows."""
    if not spec.size:
        return Mlp(spec.channels, 4 * config.width, 2 * config.blocks, cond.width)
    ndim = len(spec.size)
    net = UNet(spec.channels, ndim, config.width, config.multiples, config.blocks, config.patch, cond.width)
    return channels_last(net) if ndim == 2 else net


PATHS = {"linear": Linear(), "vp": VariancePreserving(), "ve": VarianceExploding()}
EDGE = 1e-3  # how near to 0 and 1 times may come where the change of prediction is singular


class Flow(Family):
    """Flow matching on Grid with a U-Net; see the module's equations."""

    kind = Grid
    Config = Config
    Options = Options
    spec: Grid
    config: Config
    chunk = 16

    def __init__(self, spec: Grid, cond: CondSpec, config: Config):
        super().__init__(spec, cond, config)
        self.path = PATHS[config.path]
        self.net = network(spec, cond, config)

    def phases(self) -> list[Phase]:
        return [Phase("flow", list(self.parameters()), self.optimizer)]

    def optimizer(self, params: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Muon for what maps features to features; AdamW for what reads or writes samples, times and labels."""
        outer = ("stem", "head", "time", "label")
        names = {id(p): name for name, p in self.net.named_parameters()}
        hidden = [p for p in params if p.ndim > 1 and names[id(p)].split(".")[0] not in outer]
        others = [p for p in params if all(p is not q for q in hidden)]
        muon, narrow = self.config.optimizer == "muon", self.config.lr / 5
        groups = [
            {"params": hidden, "lr": self.config.lr if muon else narrow, "orthogonal": muon, "weight_decay": 0.02},
            {"params": others, "lr": narrow},
        ]
        return Muon([g for g in groups if g["params"]])

    def loss(self, x: Tensor, cond: Cond, phase: str, rng: Rng) -> dict[str, Tensor]:
        """Conditional flow matching (Lipman et al. 2023, Eq. 23): mean |f(x_t, t) - target|^2."""
        x_1, x_0 = x, rng.normal(*self.spec.shape).to(x)
        t = self.times(rng).to(x)
        cond = conds.drop(cond, self.config.drop, rng)
        x_t = self.at(t, self.path.alpha) * x_1 + self.at(t, self.path.sigma) * x_0
        target = {
            "velocity": lambda: self.at(t, self.path.d_alpha) * x_1 + self.at(t, self.path.d_sigma) * x_0,
            "data": lambda: x_1,
            "noise": lambda: x_0,
        }[self.config.prediction]()
        return {"loss": (self.predict(x_t, t, cond) - target).square().mean()}

    def times(self, rng: Rng) -> Tensor:
        """Training times (B,): logit-normal puts them where the field is hardest (Esser et al. 2024, Eq. 19)."""
        if self.config.times == "uniform":
            return rng.uniform() * (1 - 2 * EDGE) + EDGE
        return rng.normal().sigmoid().clamp(EDGE, 1 - EDGE)

    def at(self, t: Tensor, coefficient) -> Tensor:
        """A coefficient of time (B,) shaped to multiply a batch."""
        return coefficient(t).reshape(-1, *[1] * len(self.spec.shape))

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The network on an input of about unit variance: x_t / sqrt(alpha^2 + sigma^2)."""
        scale = (self.at(t, self.path.alpha).square() + self.at(t, self.path.sigma).square()).sqrt()
        return self.net(x_t / scale, t, cond.vector)

    def velocity(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """v(x, t) from whatever the network predicts; t has no axes."""
        t = t.clamp(EDGE, 1 - EDGE) if self.config.prediction != "velocity" else t
        f = self.predict(x, t.expand(len(x)), cond)
        if self.config.prediction == "velocity":
            return f
        alpha, sigma = self.path.alpha(t), self.path.sigma(t)
        x_1, x_0 = (f, (x - alpha * f) / sigma) if self.config.prediction == "data" else ((x - sigma * f) / alpha, f)
        return self.path.d_alpha(t) * x_1 + self.path.d_sigma(t) * x_0

    @torch.inference_mode()
    def sample(self, cond: Cond, rng: Rng, options: Options) -> Tensor:
        """Solve the field from noise to data; see Options."""
        x = rng.normal(*self.spec.shape).to(self.device)
        x = x * self.path.sigma(torch.zeros(()))
        cond = cond.to(self.device)
        free = conds.unasked(cond)
        both = cond.each(lambda slot: torch.cat([slot, torch.zeros_like(slot)]))
        field = lambda c: lambda x, t: self.velocity(x, t, c)  # noqa: E731
        scale = options.guidance if cond != Cond() else 1.0
        v = solvers.guided(field(cond), field(free), field(both), scale, options.interval)
        times = torch.linspace(0, 1, options.steps + 1, device=x.device)
        return deque(getattr(solvers, options.solver)(v, x, times, self.path), maxlen=1)[0]

    @classmethod
    def presets(cls, spec: Grid) -> list[Preset]:
        """Grids are folded so that the first level has 10 to 20 places a side: there convolutions run at the speed of
        matrix products. Large ones get more levels; what a size needs was measured on digits."""
        side = max(spec.size, default=1)
        patch = 2 ** max(0, round(math.log2(side / 14))) if side > 12 else 1
        levels = (1, 2) if side / patch < 24 else (1, 2, 2)
        return [
            Preset(Config(width=w, multiples=levels, blocks=b, patch=patch), batch=64, samples=n)
            for w, b, n in [(16, 1, 0), (32, 1, 60_000), (64, 1, 400_000), (96, 2, 3_000_000), (192, 2, 30_000_000)]
        ]

    @classmethod
    def toy(cls, spec: Grid) -> Config:
        return Config(width=8, multiples=(1, 2), drop=0.0)
