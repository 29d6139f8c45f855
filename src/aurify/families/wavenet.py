"""WaveNet: the next symbol from a past that convolutions see, p(x) = prod_t p(x_t | x_t-r ... x_t-1), exact.

Gated convolutions with dilations 1, 2, 4, ... look r = 1 + stacks (2^depth - 1) symbols back at a price of depth, and
all positions are trained at once (van den Oord et al. 2016, "WaveNet: A Generative Model for Raw Audio"). Drawing a
symbol costs one step whatever r is, see nets/ring_buffers.py. A label conditions every gate (Section 2.5, Eq. 2, 3); it
is hidden now and then in training, so that sampling can lean on it (Ho & Salimans 2022).

    B batch, L length, V alphabet
"""

from collections.abc import Iterator
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, Field
from torch import Tensor

from aurify import ancestral
from aurify import cond as conds
from aurify.ancestral import Options, barrier
from aurify.cond import Cond, CondSpec
from aurify.errors import UserError
from aurify.family import Family, Params, Phase, Preset
from aurify.muon import Muon
from aurify.nets.causal_conv import CausalConv, doubling, receptive_field
from aurify.nets.ring_buffers import Stepping
from aurify.rng import Rng
from aurify.spec import Tokens

DEEPEST = 10  # dilations a stack that presets choose: up to 512, as in the paper
NUMB = 0.5  # share of a layer's units without which it hardly is one


class Config(BaseModel, frozen=True, extra="forbid"):
    width: int = Field(default=32, ge=4, description="channels of the layers")
    skip: int | None = Field(default=None, ge=4, description="channels of what all layers give; none: twice the width")
    stacks: int = Field(default=1, ge=1, description="how often the dilations 1, 2, 4, ... are gone through")
    depth: int = Field(default=8, ge=1, le=16, description="dilations a stack: each doubles how far back it looks")
    drop: float = Field(
        default=0.1, ge=0, lt=1, description="share of samples trained without their label, for guidance"
    )
    optimizer: Literal["muon", "adamw"] = Field(default="muon", description="how the hidden matrices step")
    lr: float = Field(default=0.04, gt=0, description="learning rate of Muon; AdamW takes an eighth")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled, on matrices")


class WaveNet(Family):
    """Dilated causal convolutions on Tokens; see the module's equations."""

    kind = Tokens
    Config = Config
    Options = Options
    chunk = 16
    spec: Tokens
    config: Config

    def __init__(self, spec: Tokens, cond: CondSpec, config: Config):
        super().__init__(spec, cond, config)
        dilations = doubling(config.stacks, config.depth)
        deepest = in_sight(spec, config.stacks)
        if spec.stream and receptive_field(dilations) > spec.length and config.depth > deepest:
            raise UserError(
                f"{config.stacks} x {config.depth} layers look {receptive_field(dilations)} symbols back, but training "
                f"sees windows of {spec.length}, so what lies farther back is never learned: --set depth={deepest}, or "
                f"longer windows, --set length={receptive_field(dilations)}"
            )
        whole = not spec.stream and spec.end is None  # of one length: a place means the same in every sample
        sizes = {"width": config.width, "skip": config.skip or 2 * config.width}
        places = {"vector": cond.width, "places": spec.length if whole else 0}
        self.net = CausalConv(spec.vocab + 1, spec.vocab, dilations, **sizes, **places)
        self.register_buffer("barrier", barrier(spec), persistent=False)
        self.barrier: Tensor | None

    def phases(self) -> list[Phase]:
        return [Phase("next", list(self.parameters()), self.optimizer)]

    def optimizer(self, params: Params) -> torch.optim.Optimizer:
        config, muon = self.config, self.config.optimizer == "muon"
        matrices = [layer.weight for layer in self.net.matrices]
        known = {id(p) for p in matrices}
        rest = [p for p in params if id(p) not in known]
        narrow = {"lr": config.lr / 8, "weight_decay": 0.0}
        groups = [
            {"params": matrices, "lr": config.lr if muon else config.lr / 8, "orthogonal": muon},
            {"params": rest, **narrow},
        ]
        return Muon(groups, weight_decay=config.weight_decay)

    def loss(self, x: Tensor, cond: Cond, phase: str, rng: Rng) -> dict[str, Tensor]:
        """Mean nats a symbol; "weight" is how many symbols; "numb" the share of units no gradient passes, in the layer
        that has most."""
        mask = self.spec.mask(x)
        longest = int(mask.sum(1).max())  # what follows every end costs nothing
        x, mask = x[:, :longest], mask[:, :longest]
        log_p, numb = self.log_probs(x, conds.drop(cond, self.config.drop, rng))
        return {"loss": -(log_p * mask).sum() / mask.sum(), "weight": mask.sum(), "numb": numb}

    def log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """Exact. What follows the first `end` is certain."""
        return (self.log_probs(x, cond)[0] * self.spec.mask(x)).sum(1)

    def log_probs(self, x: Tensor, cond: Cond) -> tuple[Tensor, Tensor]:
        """log p(x_t | x_<t), (B, L), and the share of numb units."""
        logits, numb = self.net(torch.cat((self.starts(len(x))[:, None], x[:, :-1]), 1), cond.vector)
        logits = logits.float()
        if self.barrier is not None:
            logits = logits + self.barrier[: x.shape[1]]
        nll = F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="none").view(x.shape)
        return -nll, numb

    def starts(self, rows: int) -> Tensor:
        """The symbol that stands before every sample."""
        return torch.full((rows,), self.spec.vocab, device=self.device)

    def sample(self, cond: Cond, rng: Rng, options: Options) -> Tensor:
        """(n, T): documents are padded with `end`; streams are the prefix and `length` symbols more, without limit."""
        return ancestral.sampled(self.stream(cond, rng, options), self.spec, options)

    def stream(self, cond: Cond, rng: Rng, options: Options) -> Iterator[Tensor]:
        """The columns of `sample`, (n,) each, as soon as they are there; ends when every row has ended."""
        cond = conds.both(cond) if options.guidance != 1 else cond
        vector = None if cond.vector is None else cond.vector.to(self.device)
        stepping = Stepping(self.net, rng.n if vector is None else len(vector), vector)
        return ancestral.columns(partial(self.following, stepping), self.spec, rng, options, self.device)

    def following(self, stepping: Stepping, columns: list[Tensor]) -> Tensor:
        """Logits after `columns`, of which `stepping` has read all but the last, or, at first, none."""
        logits = stepping.step(self.starts(stepping.rows)) if stepping.t == 0 else None
        for column in columns[stepping.t - 1 :]:
            logits = stepping.step(column.repeat(stepping.rows // len(column)))
        assert logits is not None, "there is one column more each time"
        return logits

    def notices(self, losses: dict[str, float]) -> list[tuple[str, str]]:
        """Saturation: gates and filters so far out that nothing moves them any more."""
        numb = losses.get("next/numb", 0.0)
        if numb < NUMB:
            return []
        text = (
            f"{numb:.0%} of a layer's units are numb, gates shut or filters at the end of their range whatever comes: "
            f"they learn no more. Train anew with a lower rate, for example --set lr={self.config.lr / 4:.2g}"
        )
        return [("dead-units", text)]

    @classmethod
    def presets(cls, spec: Tokens) -> list[Preset]:
        """Sizes in tokens: (width, stacks, a batch, how many before it beats the size below)."""
        sizes = [
            (32, 1, 6_000, 0),
            (48, 2, 8_000, 6_000_000),
            (64, 3, 12_000, 30_000_000),
            (128, 3, 24_000, 200_000_000),
        ]
        return [
            Preset.of_tokens(spec, Config(width=w, stacks=s, depth=in_sight(spec, s)), *tokens)
            for w, s, *tokens in sizes
        ]

    @classmethod
    def toy(cls, spec: Tokens) -> Config:
        return Config(width=16, depth=min(3, in_sight(spec, 1)), optimizer="adamw", lr=0.08)


def in_sight(spec: Tokens, stacks: int) -> int:
    """Dilations a stack: as few as see the whole of a sample, at most DEEPEST; in a stream, whose windows are cut
    anywhere, as many as see no farther than a window, for what lies beyond is never learned."""
    depths = range(1, DEEPEST + 1)
    fields = [receptive_field(doubling(stacks, depth)) for depth in depths]
    if spec.stream:
        return max([depth for depth, field in zip(depths, fields, strict=True) if field <= spec.length], default=1)
    whole = [depth for depth, field in zip(depths, fields, strict=True) if field >= spec.length - 1]
    return min(whole, default=DEEPEST)
