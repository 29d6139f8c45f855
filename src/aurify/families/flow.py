"""Flow matching and diffusion: noise is carried to data along a learned velocity field.

    B batch, *grid the sample's axes, t time in [0, 1]: 0 is noise, 1 is data
    x_t = alpha(t) x_1 + sigma(t) x_0      x_1 data, x_0 ~ N(0, 1)
    v(x, t) = E[alpha'(t) x_1 + sigma'(t) x_0 | x_t = x]

Every path and every prediction is one such field (`diffusion`), so solvers and guidance know none of them. Sources:
Lipman et al. 2023 and Liu et al. 2023 (linear path, velocity), Ho et al. 2020 and Nichol & Dhariwal 2021 (DDPM, learned
variance), Song et al. 2021 (VP, VE, likelihood), Karras et al. 2022 (EDM), Esser et al. 2024 (logit-normal times),
Ho & Salimans 2022 (guidance), Frans et al. 2024 (shortcuts).
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn

from aurify import bound, density, shortcuts, solvers
from aurify import cond as conds
from aurify.cond import Cond, CondSpec
from aurify.diffusion import PATHS, Mix, Prediction
from aurify.errors import UserError
from aurify.family import Family, Phase, Preset
from aurify.muon import Muon
from aurify.nets.mlp import Mlp
from aurify.nets.unet import Fourier, UNet, channels_last
from aurify.rng import BatchRng, Rng
from aurify.spec import Grid

EDGE = 1e-3  # how near to 0 and 1 times may come where the change of prediction is singular
HALF_LEVEL = 1 / 255  # half the distance of two grey levels
FINE = 64  # steps of `log_prob`
SPAN = 16  # numbers that tell the network how far a shortcut leads
WORSE = 1.5  # times the error of silence: more is divergence


class Config(BaseModel, frozen=True, extra="forbid"):
    width: int = Field(default=24, ge=4, description="channels of the first level")
    multiples: tuple[int, ...] = Field(default=(1, 2, 3), description="width of each level, in first widths")
    blocks: int = Field(default=1, ge=1, description="residual blocks a level and side")
    patch: int = Field(default=1, ge=1, description="places per side folded into channels before the first level")
    path: Literal["linear", "vp", "ve", "edm", "ddpm"] = Field(
        default="linear", description="how noise and data are mixed"
    )
    prediction: Prediction = Field(
        default="velocity", description="what the network puts out; edm: a mixture of unit variance"
    )
    times: Literal["logit-normal", "uniform", "log-normal", "steps"] = Field(
        default="logit-normal",
        description="which times it learns; log-normal: as EDM has them; steps: the thousand of DDPM",
    )
    drop: float = Field(
        default=0.1, ge=0, lt=1, description="share of training samples whose label is hidden, for guidance"
    )
    learned_variance: bool = Field(
        default=False, description="learn the variance of ancestral steps too (Nichol & Dhariwal 2021)"
    )
    shortcut: float = Field(
        default=0.0, ge=0, le=0.9, description="share of each batch that learns long steps, for sampling in 1 to 8"
    )
    dequantise: bool = Field(default=False, description="noise of one grey level on the data, for better likelihoods")
    optimizer: Literal["muon", "adamw"] = Field(default="muon", description="how the hidden matrices and filters step")
    lr: float = Field(default=0.015, gt=0, description="learning rate of Muon; AdamW takes a fifth")

    @model_validator(mode="after")
    def one_network(self) -> "Config":
        if self.shortcut and (self.path, self.prediction, self.learned_variance) != ("linear", "velocity", False):
            raise ValueError("shortcuts need path=linear, prediction=velocity and no learned variance")
        return self


class Options(BaseModel, frozen=True, extra="forbid"):
    steps: int = Field(default=16, ge=1, le=10_000, description="solver steps")
    solver: Literal["euler", "heun", "dpm2m", "ddim", "ancestral", "churn", "shortcut"] = Field(
        default="dpm2m",
        description="heun and churn cost two evaluations a step; ancestral and churn add noise on the way; shortcut "
        "takes 1, 2, 4 or 8 steps of a run trained with shortcut=0.25",
    )
    guidance: float = Field(
        default=2.25, ge=0, le=50, description="how strongly a label is followed; 1 is the model itself"
    )
    interval: tuple[float, float] = Field(default=(0.15, 0.8), description="times between which guidance acts")
    variance: Literal["auto", "small", "large"] = Field(
        default="auto", description="of ancestral steps; auto: learned where it was trained, else small"
    )
    churn: float = Field(default=10.0, ge=0, description="noise that the solver churn adds, over all its steps")


def network(spec: Grid, vector: int, config: Config) -> nn.Module:
    """A U-Net over the grid's axes; a multilayer network for rows. vector: width of the condition."""
    out = spec.channels * (2 if config.learned_variance else 1)
    if not spec.size:
        return Mlp(spec.channels, 4 * config.width, 2 * config.blocks, vector, out)
    ndim = len(spec.size)
    net = UNet(spec.channels, ndim, config.width, config.multiples, config.blocks, config.patch, vector, out)
    return channels_last(net) if ndim == 2 else net


class Flow(Family):
    """Flow matching on Grid with a U-Net; see the module's equations."""

    kind = Grid
    Config = Config
    Options = Options
    spec: Grid
    config: Config
    chunk = 16
    slow_likelihood = True

    def __init__(self, spec: Grid, cond: CondSpec, config: Config):
        super().__init__(spec, cond, config)
        self.path = PATHS[config.path]
        self.span = Fourier(SPAN) if config.shortcut else None
        self.net = network(spec, cond.width + (SPAN if config.shortcut else 0), config)

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
        """Conditional flow matching (Lipman et al. 2023, Eq. 23): mean |f(x_t, t) - target|^2; `idle` is what a network
        that always says 0 would have. With shortcuts, rows of a long step have another target."""
        x_1 = self.dequantised(x, rng) if self.config.dequantise else x
        x_0 = rng.normal(*self.spec.shape).to(x)
        t, h = self.times(rng).to(x), None
        cond = conds.drop(cond, self.config.drop, rng)
        if self.config.shortcut:
            t, h = shortcuts.drawn(t, self.config.shortcut, rng)
        mix = self.mix(t, x.ndim)
        x_t = mix.alpha * x_1 + mix.sigma * x_0
        target = mix.target(x_1, x_0)
        idle = target.square().mean()
        if h is not None:
            target = self.far(target, x_t, t, h, cond)
        f, share = self.parts(self.predict(x_t, t, cond, h))
        loss = (f - target).square().mean()
        found = {"loss": loss, "idle": idle}
        if h is not None:
            long = (f.detach() - target).square().flatten(1).mean(1) * (h > 0)
            found["long"] = long.mean() / self.config.shortcut
        if share is not None:
            ends = (x_1, x_0), mix.ends(x_t, f)
            nats = bound.bound(self.path, shortcuts.rows(t, x), *ends, share, self.half_level).mean()
            found |= {"loss": loss + bound.WEIGHT * nats, "simple": loss.detach(), "bound": nats.detach()}
        return found

    def times(self, rng: Rng) -> Tensor:
        """Training times (B,): logit-normal puts them where the field is hardest (Esser et al. 2024, Eq. 19), and so
        does log-normal in s = sigma / alpha (Karras et al. 2022, Table 1)."""
        match self.config.times:
            case "uniform":
                return rng.uniform() * (1 - 2 * EDGE) + EDGE
            case "logit-normal":
                return rng.normal().sigmoid().clamp(EDGE, 1 - EDGE)
            case "log-normal":
                return self.path.time((1.2 * rng.normal() - 1.2).exp()).clamp(EDGE, 1 - EDGE)
            case "steps":
                k = (rng.uniform() * bound.STEPS).floor() + 1
                return (1 - k / bound.STEPS).clamp(EDGE, 1 - EDGE)

    def mix(self, t: Tensor, ndim: int) -> Mix:
        """The path's coefficients at t, a scalar or (B,), shaped to multiply a batch."""
        return Mix.at(self.path, self.config.prediction, t, ndim)

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond, h: Tensor | None = None) -> Tensor:
        """The network on an input of about unit variance; t and, of a shortcut, its length h are (B,)."""
        vector = cond.vector
        if self.span is not None:
            asked = t.new_zeros(len(t), self.cond.width) if vector is None else vector
            vector = torch.cat([asked, self.span(torch.zeros_like(t) if h is None else h)], 1)
        return self.net(x_t / self.mix(t, x_t.ndim).scale, t, vector)

    def parts(self, out: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the network says of the path, and of the variance where it learns that."""
        if not self.config.learned_variance:
            return out, None
        f, share = out.chunk(2, 1)
        return f, share

    def velocity(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """v(x, t) from whatever the network predicts; t has no axes."""
        return self.parts(self.answer(x, t, cond))[0]

    def answer(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """v(x, t), and beside it, in as many more channels, the share of the variance where that is learned."""
        t = t.clamp(EDGE, 1 - EDGE) if self.config.prediction != "velocity" else t
        f, share = self.parts(self.predict(x, t.expand(len(x)), cond))
        v = self.mix(t, x.ndim).velocity(x, f)
        return v if share is None else torch.cat([v, share], 1)

    @torch.no_grad()
    def far(self, target: Tensor, x_t: Tensor, t: Tensor, h: Tensor, cond: Cond) -> Tensor:
        """The target, that of rows with a long step replaced."""
        long = h > 0
        if not long.any():
            return target
        some = cond.each(lambda slot: slot[long])
        made = shortcuts.target(lambda x, t, h: self.led(x, t, h, some), x_t[long], t[long], h[long])
        target[long] = made.to(target)
        return target

    def led(self, x: Tensor, t: Tensor, h: Tensor, cond: Cond) -> Tensor:
        """u(x, t, h), guided at h = 0 as samples are by default: long steps learn to end where guided short ones do."""
        u, (low, high) = self.predict(x, t, cond, h), Options().interval
        act = (h == 0) & (low <= t) & (t <= high)
        if cond != Cond() and act.any():
            free = self.predict(x[act], t[act], conds.unasked(cond).each(lambda slot: slot[act]), h[act])
            u[act] = free + Options().guidance * (u[act] - free)
        return u

    @torch.inference_mode()
    def sample(self, cond: Cond, rng: Rng, options: Options) -> Tensor:
        """Solve the field from noise to data; see Options."""
        x = rng.normal(*self.spec.shape).to(self.device)
        x = x * self.path.sigma(torch.zeros(()))
        times = torch.linspace(0, 1, options.steps + 1, device=x.device)
        return deque(self.solve(x, times, cond.to(self.device), rng, options), maxlen=1)[0]

    def solve(self, x: Tensor, times: Tensor, cond: Cond, rng: Rng, options: Options) -> Iterator[Tensor]:
        """x after every step of the solver that was asked for."""
        noise = lambda: rng.normal(*self.spec.shape).to(self.device)  # noqa: E731
        v = self.guided(self.velocity, cond, options)
        match options.solver:
            case "shortcut":
                return solvers.leaps(self.leap(cond, options), x, times)
            case "ancestral" if options.variance == "auto" and self.config.learned_variance:
                return solvers.ancestral(self.guided(self.answer, cond, options), x, times, self.path, noise, None)
            case "ancestral":
                return solvers.ancestral(v, x, times, self.path, noise, float(options.variance == "large"))
            case "churn":
                return solvers.churn(v, x, times, self.path, noise, options.churn)
            case name:
                return getattr(solvers, name)(v, x, times, self.path)

    def guided(self, answer: Callable[[Tensor, Tensor, Cond], Tensor], cond: Cond, options: Options) -> solvers.Field:
        """The field that follows what was asked as strongly as the options say."""
        free = conds.unasked(cond)
        both = cond.each(lambda slot: torch.cat([slot, torch.zeros_like(slot)]))
        field = lambda c: lambda x, t: answer(x, t, c)  # noqa: E731
        scale = options.guidance if cond != Cond() else 1.0
        return solvers.guided(field(cond), field(free), field(both), scale, options.interval)

    def leap(self, cond: Cond, options: Options) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """u(x, t, h) of shortcuts, where t and h have no axes.

        Raises:
            UserError: the run has not learned them, or not of this length or guidance.
        """
        lengths = [2**k for k in range(shortcuts.HALVINGS + 1)]
        if self.span is None:
            raise UserError("this run has learned no shortcuts: train with --set shortcut=0.25, or say another solver")
        if options.steps not in lengths:
            raise UserError(f"solver=shortcut takes {', '.join(map(str, lengths))} steps; say one of them: steps=1")
        if (options.guidance, options.interval) != (Options().guidance, Options().interval):
            raise UserError("shortcuts have learned how strongly they follow a label: leave guidance and interval out")
        return lambda x, t, h: self.predict(x, t.expand(len(x)), cond, h.expand(len(x)))

    def log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """Of the probability-flow equation (Song et al. 2021, Section 4.3), in FINE steps of Heun's method. Rows: the
        density, its divergence exact up to density.EXACT numbers, else estimated without bias (Hutchinson). Grids with
        axes: of 256 grey levels the bound of uniform dequantisation (Theis et al. 2016, Section 3.1), at one draw."""
        with torch.inference_mode(False):
            x, cond, rng = x.clone(), cond.each(torch.clone), BatchRng(0, len(x))
            signs = (2 * (rng.uniform(*self.spec.shape) < 0.5).float() - 1).to(x)
            x = self.dequantised(x, rng) if self.half_level else x
            times = torch.linspace(1, 0, FINE + 1).to(x)
            v = lambda x, t: self.velocity(x, t, cond)  # noqa: E731
            found = density.log_density(v, x, times, signs, self.path.sigma(torch.zeros(()).to(x)))
        return found + self.spec.dims * math.log(2 * HALF_LEVEL) if self.half_level else found

    @property
    def half_level(self) -> float:
        """Half the distance of two grey levels; 0 for rows, which have none."""
        return HALF_LEVEL if self.spec.size else 0.0

    def dequantised(self, x: Tensor, rng: Rng) -> Tensor:
        """x somewhere in its grey level."""
        return x + self.half_level * (2 * rng.uniform(*self.spec.shape).to(x) - 1)

    def notices(self, losses: dict[str, float]) -> list[tuple[str, str]]:
        """Divergence: answers that are worse than none, of the field or of shortcuts."""
        told = {name.rpartition("/")[2]: value for name, value in losses.items()}
        idle = told.get("idle", 0.0)
        errors = {"answers": told.get("simple", told.get("loss", 0.0)), "long steps": told.get("long", 0.0)}
        for what, error in errors.items():
            if idle > 1e-3 and error > WORSE * idle:
                text = (
                    f"the network's {what} are {error / idle:.1f} times as wrong as saying nothing would be: it "
                    "diverges. "
                    f"Train anew with a lower rate, for example --set lr={self.config.lr / 5:.2g}."
                )
                return [("diverging", text)]
        return []

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
