"""Generative adversarial networks: a generator learns to make what a discriminator cannot tell from the data.

    B batch, *grid the sample's axes, z ~ N(0, 1) the latent, r = d(x) and f = d(g(z)) logits of real and made samples

The default is R3GAN (Huang et al. 2024, "The GAN is dead; long live the GAN!"): each made sample is judged against a
real one, and the discriminator's slope is punished on both. The older games differ in two lines each; see GAMES.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, Field
from torch import Tensor

from aurify.cond import Cond, CondSpec
from aurify.family import Family, Params, Phase, Preset
from aurify.nets.augment import augment
from aurify.nets.conv import Discriminator, Generator
from aurify.nets.unet import channels_last
from aurify.parallel import Group
from aurify.rng import Rng
from aurify.spec import Grid

Decay = Annotated[float, Field(ge=0, lt=1)]
Loss = Literal["relativistic", "minimax", "nonsaturating", "hinge", "least_squares"]


class Config(BaseModel, frozen=True, extra="forbid"):
    loss: Loss = Field(default="relativistic", description="the game; relativistic is R3GAN")
    gamma: float = Field(
        default=1.0, ge=0, description="weight of the slope penalties R1 and, where relativistic, R2; 0: none"
    )
    lazy: int = Field(
        default=1, ge=1, description="one row of so many bears the slope penalties; more is quicker and rougher"
    )
    network: Literal["auto", "convolutional", "multilayer"] = Field(
        default="auto",
        description="auto: convolutional where the longest axis has at least 8 places, multilayer otherwise",
    )
    width: int = Field(
        default=24, ge=4, description="channels at the first level; they double below it, up to four times"
    )
    depth: int = Field(default=1, ge=1, description="residual blocks a level")
    patch: int = Field(default=1, ge=1, description="places per side folded into channels before the first level")
    latent: int = Field(default=64, ge=1, description="size of z")
    augment: float = Field(default=0.0, ge=0, le=1, description="strength of augmentation; the plan: 1 below 5,000")
    lr: float = Field(default=1e-3, gt=0, description="learning rate of Adam, both networks")
    betas: tuple[Decay, Decay] = Field(default=(0.0, 0.99), description="decay rates of Adam; no momentum in a game")


class Options(BaseModel, frozen=True, extra="forbid"):
    truncation: float = Field(
        default=1.0, ge=0, le=2, description="scale of z; below 1 more typical and less diverse samples"
    )


Logits = Float[Tensor, " B"]


@dataclass(frozen=True)
class Game:
    """What each side minimises, row by row, and what the discriminator's is worth when it cannot tell."""

    discriminator: Callable[[Logits, Logits], Logits]
    generator: Callable[[Logits, Logits], Logits]
    even: float


GAMES: dict[str, Game] = {
    # Jolicoeur-Martineau 2019; Huang et al. 2024, Eq. 2
    "relativistic": Game(
        lambda r, f: F.softplus(-(r - f)),
        lambda r, f: F.softplus(-(f - r)),
        math.log(2),
    ),
    # Goodfellow et al. 2014, Eq. 1
    "minimax": Game(
        lambda r, f: F.softplus(-r) + F.softplus(f),
        lambda r, f: -F.softplus(f),
        2 * math.log(2),
    ),
    # Goodfellow et al. 2014, Section 3: log d(g(z)) in place of log(1 - d(g(z)))
    "nonsaturating": Game(
        lambda r, f: F.softplus(-r) + F.softplus(f),
        lambda r, f: F.softplus(-f),
        2 * math.log(2),
    ),
    # Lim & Ye 2017; Miyato et al. 2018, Eq. 16 and 17
    "hinge": Game(
        lambda r, f: F.relu(1 - r) + F.relu(1 + f),
        lambda r, f: -f,
        2.0,
    ),
    # Mao et al. 2017, Eq. 9: targets 0 for made, 1 for real
    "least_squares": Game(
        lambda r, f: ((r - 1).square() + f.square()) / 2,
        lambda r, f: (f - 1).square() / 2,
        1 / 4,
    ),
}


class Gan(Family):
    """A generator and a discriminator on Grid; neither normalises over the batch, so rows never see each other."""

    kind = Grid
    Config = Config
    Options = Options
    spec: Grid
    config: Config
    chunk = 16
    held_out_tells = False  # what one network loses the other wins
    wants: ClassVar[dict[str, Any]] = {"decay": "late"}
    told: Tensor
    fresh: Tensor

    def __init__(self, spec: Grid, cond: CondSpec, config: Config):
        super().__init__(spec, cond, config)
        self.game = GAMES[config.loss]
        small = max(spec.size, default=0) < 8
        self.flat = not spec.size or config.network == "multilayer" or (config.network == "auto" and small)
        channels, size = (spec.dims, ()) if self.flat else (spec.channels, spec.size)
        shape = {"width": config.width, "depth": config.depth, "patch": config.patch}
        self.generator = Generator(channels, size, config.latent, cond.width, **shape)
        self.discriminator = Discriminator(channels, size, cond.width, **shape)
        none = torch.zeros(1 + cond.width, dtype=torch.long)
        self.register_buffer("told", none)  # how many training samples came with each label; the last: with none
        self.register_buffer("fresh", none.clone(), persistent=False)  # in this step, here
        if len(size) == 2:
            channels_last(self)

    def phases(self) -> list[Phase]:
        return [
            Phase("discriminator", list(self.discriminator.parameters()), self.optimizer, gather=self.gather),
            Phase("generator", list(self.generator.parameters()), self.optimizer),
        ]

    def gather(self, crew: Group) -> None:
        """Adds the labels of a step up, over all processes."""
        crew.sum_([self.fresh])
        self.told += self.fresh
        self.fresh.zero_()

    def optimizer(self, params: Params) -> torch.optim.Optimizer:
        return torch.optim.Adam(params, lr=self.config.lr, betas=self.config.betas, fused=True)

    def loss(self, x: Tensor, cond: Cond, phase: str, rng: Rng) -> dict[str, Tensor]:
        z = rng.normal(self.config.latent).to(x)
        return {"discriminator": self.discriminate, "generator": self.deceive}[phase](x, z, cond, rng)

    def discriminate(self, x: Tensor, z: Tensor, cond: Cond, rng: Rng) -> dict[str, Tensor]:
        """The discriminator's side, with gamma/2 E|grad d|^2 at the data (R1) and at what is made (R2).

        Mescheder et al. 2018, Eq. 9; Huang et al. 2024, Eq. 4; of some rows alone (Karras et al. 2020, "Analyzing and
        Improving the Image Quality of StyleGAN", Section 3.1, of some steps). `doubt` is 1 where it cannot tell and 0
        where it is always right.
        """
        if self.training and cond.vector is not None:
            self.fresh += torch.cat((cond.vector, ~cond.vector.any(1, keepdim=True)), 1).sum(0).long()
        with torch.no_grad():
            made = self.generate(z, cond)
        real, made = (augment(s, self.config.augment, rng).detach() for s in (x, made))
        gamma, rows = self.config.gamma, rng.every(self.config.lazy)
        both = self.config.loss == "relativistic"
        r, r1 = self.sloped(real, cond, rows if gamma else [])
        f, r2 = self.sloped(made, cond, rows if gamma and both else [])
        adversarial = self.game.discriminator(r, f).mean()
        losses = {"adversarial": adversarial.detach(), "doubt": adversarial.detach() / self.game.even}
        slopes = ({"r1": r1} if gamma else {}) | ({"r2": r2} if gamma and both else {})
        total = adversarial + gamma / 2 * sum(slopes.values())
        return {"loss": total, **losses, **{k: v.detach() for k, v in slopes.items()}}

    def sloped(self, x: Float[Tensor, "B C *grid"], cond: Cond, rows: list[int]) -> tuple[Logits, Tensor]:
        """Logits, those of `rows` first, and lazy / B sum |grad d|^2 over these: an estimate of E|grad d|^2. Whatever
        the parts in which a batch is computed, theirs add up to that of the whole."""
        if not rows:
            return self.judge(x, cond), x.new_zeros(())
        few = x[rows].requires_grad_()
        logits = [self.judge(few, cond.each(lambda slot: slot[rows]))]
        slope = squared_slope(logits[0], few).sum() * (self.config.lazy / len(x))
        others = [i for i in range(len(x)) if i not in set(rows)]
        if others:
            logits.append(self.judge(x[others], cond.each(lambda slot: slot[others])))
        return torch.cat(logits), slope

    def deceive(self, x: Tensor, z: Tensor, cond: Cond, rng: Rng) -> dict[str, Tensor]:
        """The generator's side. `apart`, `off` and `reach` are logged for `notices`; see `distance`."""
        made = self.generate(z, cond)
        r, f = (self.judge(augment(s, self.config.augment, rng), cond) for s in (x, made))
        with torch.no_grad():
            again = self.generate(rng.normal(self.config.latent).to(x), cond)
            seen = {"apart": distance(made, again), "off": distance(x, made), "reach": made.abs().mean()}
        return {"loss": self.game.generator(r, f).mean(), **seen}

    def generate(self, z: Float[Tensor, "B Z"], cond: Cond) -> Float[Tensor, "B C *grid"]:
        return self.generator(z, cond.vector).reshape(-1, *self.spec.shape)

    def judge(self, x: Float[Tensor, "B C *grid"], cond: Cond) -> Logits:
        return self.discriminator(x.flatten(1) if self.flat else x, cond.vector)

    @torch.inference_mode()
    def sample(self, cond: Cond, rng: Rng, options: Options) -> Tensor:
        """One pass of the generator."""
        z = rng.normal(self.config.latent).to(self.device)
        return self.generate(options.truncation * z, self.chosen(cond.to(self.device), rng))

    def chosen(self, cond: Cond, rng: Rng) -> Cond:
        """A row that asks for no label gets one by chance, as often as training samples had it: the mixture
        p(x) = sum_y p(y) p(x | y) covers what a generator that never sees a label would have to find by itself."""
        if cond.vector is None or not self.told.any():
            return cond
        K, u = self.cond.width, rng.uniform().to(self.device)
        drawn = torch.searchsorted(self.told.cumsum(0), (u * self.told.sum()).long(), right=True).clamp(max=K)
        by_chance = F.one_hot(drawn, K + 1)[:, :K].to(cond.vector)
        return replace(cond, vector=torch.where(cond.vector.any(1, keepdim=True), cond.vector, by_chance))

    def notices(self, losses: dict[str, float]) -> list[tuple[str, str]]:
        """Collapse, values out of all bounds, and a discriminator that has won: seen in the logged figures."""
        figures = {"apart": 1.0, "off": 1.0, "reach": 0.0, "doubt": 1.0}
        figures |= {name.rpartition("/")[2]: value for name, value in losses.items()}
        share = (figures["apart"] + SLACK) / (figures["off"] + SLACK)
        found = {
            "collapse": (
                share < COLLAPSED,
                f"the generator makes nearly the same sample again and again (diversity {share:.2f} of the data's). "
                "Try loss=relativistic with a larger gamma, a smaller lr, or augment=1 if there are few samples.",
            ),
            "runaway": (
                figures["reach"] > RUNAWAY,
                f"the generator's values run away (about {figures['reach']:.0f}, where the data lies within 1). "
                "Try a smaller lr or a larger gamma.",
            ),
            "discriminator-won": (
                figures["doubt"] < WON,
                f"the discriminator is nearly always right ({figures['doubt']:.3f} of an even game's loss), so the "
                "generator learns little. Try a larger gamma, or augment=1 if there are few samples.",
            ),
        }
        return [(kind, text) for kind, (seen, text) in found.items() if seen]

    @classmethod
    def presets(cls, spec: Grid) -> list[Preset]:
        """Widths upwards; large grids are folded so that the first level has at most 16 places a side (waves 1024).

        Rows want a weaker penalty: between the modes of a few numbers the discriminator must be steep.
        """
        if max(spec.size, default=0) < 8:
            rows = [(48, 2, 128, 0), (96, 2, 256, 300_000), (256, 3, 256, 3_000_000), (512, 4, 512, 30_000_000)]
            return [Preset(Config(width=w, depth=d, gamma=0.02, lr=3e-3), batch=b, samples=n) for w, d, b, n in rows]
        patch = max(1, math.ceil(max(spec.size) / (1024 if len(spec.size) == 1 else 16)))
        grids = [
            (16, 1, 32, 0),
            (24, 1, 32, 60_000),
            (32, 1, 64, 300_000),
            (64, 1, 64, 1_500_000),
            (96, 2, 128, 8_000_000),
            (192, 2, 256, 50_000_000),
        ]
        return [Preset(Config(width=w, depth=d, patch=patch, lazy=4), batch=b, samples=n) for w, d, b, n in grids]

    @classmethod
    def for_data(cls, spec: Grid, samples: int) -> dict[str, Any]:
        """Augmentation where samples are few: there a discriminator learns them by heart (Zhao et al. 2020)."""
        return {"augment": 1.0} if samples < FEW and spec.size else {}

    @classmethod
    def toy(cls, spec: Grid) -> Config:
        patch = max(1, math.ceil(max(spec.size, default=1) / 16))
        return Config(width=16, patch=patch, latent=16, lr=2e-3, lazy=2)


FEW = 5_000  # training samples: a tenth of CIFAR-10, where Zhao et al. 2020 gain most (Table 2)
COLLAPSED = 0.2  # of the data's diversity; healthy trainings stay above 0.5 from the first step on
SLACK = 0.01  # a distance that is no distance: data with one value has no diversity to lose
RUNAWAY = 10.0  # mean size of made values; a sample's own values are about [-1, 1]
WON = 0.02  # of an even game's discriminator loss


def squared_slope(logits: Logits, x: Float[Tensor, "B C *grid"]) -> Float[Tensor, " B"]:
    """|grad d(x)|^2 of each row, itself differentiable."""
    (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return slope.square().flatten(1).sum(1)


def distance(a: Float[Tensor, "B C *grid"], b: Float[Tensor, "B C *grid"]) -> Float[Tensor, ""]:
    """Mean over rows of the root mean square difference.

    Two samples made for one label lie as far apart as a made one from a real one, E|g - g'| = E|x - g|, where the
    generator has learned the data (both are E|x - x'|, by which the energy distance of Szekely & Rizzo 2013 is zero).
    Where it repeats itself the left side goes to zero and the right side does not. Each row is measured by itself, so
    the figures of parts of a batch add up.
    """
    return (a - b).square().flatten(1).mean(1).sqrt().mean()
