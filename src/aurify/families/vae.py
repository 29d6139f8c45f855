"""Variational autoencoders: samples are decoded from latents, and an encoder says which latents a sample came from.

    B batch, S importance samples, *grid the sample's axes, z = (z_0, ..., z_L-1) latents, the topmost first

    log p(x) >= E_q(z|x) log p(x|z) - sum_l KL(q(z_l|z_<l, x) || p(z_l|z_<l))        (Kingma & Welling 2014, Eq. 3)
    log p(x) >= E log 1/S sum_s p(x, z_s) / q(z_s|x)                                   (Burda et al. 2016, Eq. 8)

One layer is the classic; more are a ladder (Soenderby et al. 2016) with posteriors relative to their priors (Vahdat &
Kautz 2020); beta weighs the divergence (Higgins et al. 2017), free bits leave some of it unpunished (Kingma et al.
2016). Without hidden layers (depth 0) and with Gaussian likelihood, the optimum is probabilistic PCA (Lucas 2019).
"""

import math
from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn

from aurify import cond as conds
from aurify.cond import Cond, CondSpec
from aurify.family import Family, Params, Phase, Preset
from aurify.muon import Muon
from aurify.nets.conv import pyramid
from aurify.nets.ladder import Ladder, Latent
from aurify.nets.unet import channels_last
from aurify.rng import Rng
from aurify.spec import Grid

LEVELS = 256  # of a stored grey value
SAMPLES, AT_ONCE = 64, 16  # importance samples of `log_prob`; those for which a sample is encoded once
GREY = 4.0  # weight of the divergence under `logistic`: at 1 the last bits of grey fill latents that no draw then meets
FAINT = 0.05  # nats: a layer that says less about a sample says nothing
PATIENCE = 25  # logged steps, of some 500 a training, after which silence is no beginning any more


class Config(BaseModel, frozen=True, extra="forbid"):
    likelihood: Literal["auto", "logistic", "bernoulli", "gaussian"] = Field(
        default="auto",
        description="auto: discretised logistic for grids, gaussian for rows; bernoulli draws black or white from grey",
    )
    latent: int = Field(default=32, ge=1, description="entries of the topmost latent")
    layers: int = Field(default=1, ge=1, description="layers of latents; those below the topmost are grids")
    beta: float | None = Field(
        default=None, ge=0, description="weight of the divergence; left out: 4 for logistic, else 1"
    )
    free: float = Field(default=0.0, ge=0, description="nats of each latent entry that go unpunished (free bits)")
    importance: int = Field(default=1, ge=1, description="samples of the importance-weighted bound; 1: the plain one")
    width: int = Field(
        default=32, ge=4, description="channels at the first level; they double below it, up to four times"
    )
    depth: int = Field(default=1, ge=0, description="residual blocks a level and side; 0: everything linear")
    patch: int = Field(default=1, ge=1, description="places per side folded into channels before the first level")
    drop: float = Field(default=0.1, ge=0, lt=1, description="share of training samples whose label is hidden")
    optimizer: Literal["adamw", "muon"] = Field(default="muon", description="how filters and matrices step")
    lr: float | None = Field(
        default=None, gt=0, description="learning rate; left out: 0.01 beside Muon, which takes twice that, else 0.003"
    )

    @model_validator(mode="after")
    def one_bound(self) -> "Config":
        if self.importance > 1 and (self.beta not in (None, 1) or self.free):
            raise ValueError("the importance-weighted bound (importance > 1) needs beta=1 and free=0")
        return self


class Options(BaseModel, frozen=True, extra="forbid"):
    temperature: float = Field(default=1.0, ge=0, le=2, description="scale of the latents' noise")
    draw: bool = Field(default=False, description="draw each place from its distribution instead of taking its mean")


class Vae(Family):
    """A variational autoencoder on Grid; see the module's equations."""

    kind = Grid
    Config = Config
    Options = Options
    spec: Grid
    config: Config
    chunk = 16
    scored = 1000
    silent: Tensor

    def __init__(self, spec: Grid, cond: CondSpec, config: Config):
        super().__init__(spec, cond, config)
        self.flat = max(spec.size, default=0) < 8
        channels, size = (spec.dims, ()) if self.flat else (spec.channels, spec.size)
        auto = "logistic" if spec.size else "gaussian"
        self.likelihood = auto if config.likelihood == "auto" else config.likelihood
        grey = self.likelihood == "logistic" and config.importance == 1
        self.beta = (GREY if grey else 1.0) if config.beta is None else config.beta
        layers = min(config.layers, 1 + len(pyramid(size, config.patch)))
        shape = {"width": config.width, "depth": config.depth, "patch": config.patch}
        out = 2 if self.likelihood == "logistic" else 1
        self.net = Ladder(channels, size, out, (config.latent, layers), cond.width, **shape)
        self.log_scale = nn.Parameter(torch.zeros(())) if self.likelihood == "gaussian" else None
        self.register_buffer("silent", torch.zeros((), dtype=torch.long))
        if len(size) == 2:
            channels_last(self.net)

    def phases(self) -> list[Phase]:
        return [Phase("vae", list(self.parameters()), self.optimizer)]

    def optimizer(self, params: Params) -> torch.optim.Optimizer:
        """Muon, where asked for, steps what maps features to features; AdamW steps biases and what reads a label."""
        if self.config.optimizer == "adamw":
            lr = self.config.lr or 3e-3
            return torch.optim.AdamW(params, lr=lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
        lr, read = self.config.lr or 1e-2, {id(p) for p in self.net.labelled()}
        matrices = [p for p in params if p.ndim > 1 and id(p) not in read]
        others = [p for p in params if p.ndim < 2 or id(p) in read]
        return Muon([{"params": matrices, "lr": 2 * lr, "orthogonal": True}, {"params": others, "lr": lr}])

    def loss(self, x: Tensor, cond: Cond, phase: str, rng: Rng) -> dict[str, Tensor]:
        """The negative bound a number of the sample; in nats a sample `bound`, `distortion` and the layers' `kl`."""
        cond = conds.drop(cond, self.config.drop, rng)
        x = self.whitened(x, rng)
        S = self.config.importance
        e = [[rng.normal(*shape).to(x) for shape in self.net.shapes] for _ in range(S)]
        log_p, latents, log_w = zip(*self.weighed(x, cond, e), strict=True)
        bound = torch.stack(log_w).logsumexp(0) - math.log(S)
        rates = [latent.divergence() for latent in latents[0]]
        if S == 1:
            punished = sum(rate.clamp(min=self.config.free).sum(1) for rate in rates)
            objective = log_p[0] - self.beta * punished
        else:
            objective = bound
        kl = {f"kl_{i}": rate.detach().sum(1).mean() for i, rate in enumerate(rates)}
        told = {"bound": -bound.detach().mean(), "distortion": -log_p[0].detach().mean(), **kl}
        return {"loss": -objective.mean() / self.spec.dims, **told}

    def whitened(self, x: Tensor, rng: Rng) -> Tensor:
        """Bernoulli likelihoods see black or white, drawn anew each time from grey as a probability (dynamic
        binarisation, Salakhutdinov & Murray 2008); others see x."""
        if self.likelihood != "bernoulli":
            return x
        return (rng.uniform(*self.spec.shape).to(x) < (x + 1) / 2).to(x) * 2 - 1

    def weighed(self, x: Tensor, cond: Cond, e: list[list[Tensor]]) -> Iterator[tuple[Tensor, list[Latent], Tensor]]:
        """log p(x|z), the posteriors, and log p(x, z) - log q(z|x), at the z that each of the draws e leads to."""
        for (put, latents), drawn in zip(self.net(x.flatten(1) if self.flat else x, e, cond.vector), e, strict=True):
            log_p = self.log_likelihood(x, put)
            yield log_p, latents, log_p + sum(q.log_ratio(part) for q, part in zip(latents, drawn, strict=True))

    def log_likelihood(self, x: Float[Tensor, "B C *grid"], put: Tensor) -> Float[Tensor, " B"]:
        """log p(x|z) of each row, from what the decoder puts out."""
        mean, *scale = (part.reshape(x.shape) for part in put.chunk(2 if self.likelihood == "logistic" else 1, 1))
        match self.likelihood:
            case "bernoulli":
                found = -F.binary_cross_entropy_with_logits(mean, (x + 1) / 2, reduction="none")
            case "logistic":
                found = discretised_logistic(x, mean, scale[0])
            case _:
                assert self.log_scale is not None
                found = -((x - mean) / self.log_scale.exp()).square() / 2 - self.log_scale - math.log(2 * math.pi) / 2
        return found.flatten(1).sum(1)

    @torch.no_grad()
    def log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """An estimate from SAMPLES = 64 importance samples with draws of their own; on average it lies below log p(x)
        (Burda et al. 2016, Theorem 1). Of discretised likelihoods a probability, of `gaussian` a density."""
        return self.importance(x, cond, SAMPLES).logsumexp(0) - math.log(SAMPLES)

    @torch.no_grad()
    def importance(self, x: Tensor, cond: Cond, samples: int) -> Float[Tensor, "S B"]:
        """log p(x, z) - log q(z|x) at so many draws from the posterior, always the same ones on one kind of device."""
        generator, weights = torch.Generator(x.device).manual_seed(0), []
        for start in range(0, samples, AT_ONCE):
            e = [self.draws(x, generator) for _ in range(start, min(start + AT_ONCE, samples))]
            weights += [log_w for _, _, log_w in self.weighed(x, cond, e)]
        return torch.stack(weights)

    def draws(self, x: Tensor, generator: torch.Generator) -> list[Tensor]:
        """Standard normal values of each of the latents' shapes, for each row of x."""
        return [torch.randn(len(x), *s, generator=generator, device=x.device).to(x) for s in self.net.shapes]

    @torch.inference_mode()
    def sample(self, cond: Cond, rng: Rng, options: Options) -> Tensor:
        """Draws from the priors, decoded; see Options."""
        e = [options.temperature * rng.normal(*shape).to(self.device) for shape in self.net.shapes]
        put, _ = self.net.decode(e, cond.to(self.device).vector, None)
        shape = (len(put), *self.spec.shape)
        mean, *scale = (part.reshape(shape) for part in put.chunk(2 if self.likelihood == "logistic" else 1, 1))
        u = rng.uniform(*self.spec.shape).to(mean).clamp(1e-6, 1 - 1e-6) if options.draw else None
        match self.likelihood:
            case "bernoulli":
                return 2 * mean.sigmoid() - 1 if u is None else 2 * (u < mean.sigmoid()).to(mean) - 1
            case "logistic":
                return mean if u is None else mean + bounded(scale[0]).exp() * u.logit()
            case _:
                assert self.log_scale is not None
                return mean if u is None else mean + self.log_scale.exp() * torch.special.ndtri(u)

    def notices(self, losses: dict[str, float]) -> list[tuple[str, str]]:
        """Posterior collapse: a layer of latents that goes on saying nothing about the sample."""
        rates = {name.rpartition("_")[2]: value for name, value in losses.items() if "/kl_" in name}
        empty = [layer for layer, rate in rates.items() if rate < FAINT]
        self.silent.copy_(self.silent + 1 if empty else torch.zeros_like(self.silent))
        if int(self.silent) < PATIENCE:
            return []
        text = (
            f"layer {', '.join(empty)} of the latents says nothing about the samples (under {FAINT} nats): posterior "
            "collapse. Try free=0.1, a smaller beta, fewer layers, or a narrower decoder."
        )
        return [("posterior-collapse", text)]

    @classmethod
    def presets(cls, spec: Grid) -> list[Preset]:
        """Widths upwards; large grids are folded as in gan."""
        if max(spec.size, default=0) < 8:
            rows = [(32, 1, 8, 0), (64, 2, 16, 100_000), (128, 2, 16, 1_000_000), (256, 3, 32, 10_000_000)]
            return [Preset(Config(width=w, depth=d, latent=z), 128, n) for w, d, z, n in rows]
        patch = max(1, math.ceil(max(spec.size) / (1024 if len(spec.size) == 1 else 16)))
        grids = [(16, 1, 0), (32, 1, 60_000), (48, 1, 400_000), (64, 2, 2_000_000), (128, 2, 20_000_000)]
        return [Preset(Config(width=w, depth=d, patch=patch), 64, n) for w, d, n in grids]

    @classmethod
    def toy(cls, spec: Grid) -> Config:
        patch = max(1, math.ceil(max(spec.size, default=1) / 16))
        return Config(width=16, patch=patch, latent=8, layers=2, drop=0.0, lr=3e-3)


def discretised_logistic(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """log of the logistic distribution's mass in x's grey level, the outermost levels open outwards (Salimans et al.
    2017, Eq. 2)."""
    half, slope = 1 / (LEVELS - 1), (-bounded(log_scale)).exp()
    above, below = slope * (x + half - mean), slope * (x - half - mean)
    # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)): no difference of near-equal numbers
    inside = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(below - above))
    lowest, highest = x < -1 + half, x > 1 - half
    return torch.where(lowest, F.logsigmoid(above), torch.where(highest, F.logsigmoid(-below), inside))


def bounded(log_scale: Tensor) -> Tensor:
    """Within e^-7, far below half a grey level, and e^7."""
    return 7 * torch.tanh(log_scale / 7)
