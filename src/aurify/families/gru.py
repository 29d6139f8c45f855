"""A recurrent network that says the next symbol: all it knows of those before is a state of fixed size.

    p(x) = prod_t p(x_t | h_t),    h_t = GRU(h_t-1, x_t-1),    p(. | h) = softmax(O h)         (Cho et al. 2014)

A start symbol of its own stands before each sample. The state is carried through a whole sample or window; `cut` lets
it go on and stops its gradient (truncated back-propagation through time, Williams & Peng 1990). A label is a direction
added to every input; it is hidden now and then in training, so that sampling can lean on it (Ho & Salimans 2022).

    B batch, L length, V alphabet, K labels
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from pydantic import BaseModel, Field
from torch import Tensor, nn

from aurify import ancestral
from aurify import cond as conds
from aurify.ancestral import Options, barrier
from aurify.cond import Cond, CondSpec
from aurify.errors import UserError
from aurify.family import Family, Params, Phase, Preset
from aurify.nets.gru import Reading, Recurrent
from aurify.rng import Rng
from aurify.spec import Spec, Tokens

FULL = 0.99  # a state this near to -1 or 1 is saturated: its gradient is a fiftieth
STILL = 1e-3  # a state that moves by less from one symbol to the next stands still
EXPLODING = 100.0  # norm of the gradient; healthy trainings stay below 10
MOST_FULL, MOST_STILL = 0.9, 0.65  # shares of the states; in healthy trainings at most 0.7 and 0.3 were seen
PATIENCE = 25  # logged steps in a row, of some 500 a training


class Config(BaseModel, frozen=True, extra="forbid"):
    width: int = Field(default=256, ge=1, description="numbers in the state of a layer")
    depth: int = Field(default=1, ge=1, description="layers")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of activations dropped between layers")
    tie: bool = Field(default=False, description="one matrix for embedding and head: for large alphabets")
    cut: int | None = Field(
        default=None, ge=1, description="symbols after which gradients stop, while the state goes on; none: nowhere"
    )
    drop: float = Field(
        default=0.1, ge=0, lt=1, description="share of samples trained without their label, for guidance"
    )
    lr: float = Field(default=4e-3, gt=0, description="learning rate of AdamW")
    weight_decay: float = Field(default=0.01, ge=0, description="decoupled, on matrices")


class Gru(Family):
    kind = Tokens
    Config = Config
    Options = Options
    chunk = 4  # one text alone then costs little more than itself
    spec: Tokens
    config: Config
    full: Tensor
    still: Tensor

    def __init__(self, spec: Tokens, cond: CondSpec, config: Config):
        super().__init__(spec, cond, config)
        if spec.vocab < 2:
            raise UserError("the data has one symbol only, so there is nothing to learn; give data with two or more")
        sizes = (config.width, config.depth, config.tie, config.dropout)
        self.net = Recurrent(spec.vocab + 1, spec.vocab, *sizes)
        self.label = nn.Linear(cond.width, config.width, bias=False) if cond.width else None
        self.register_buffer("barrier", barrier(spec), persistent=False)
        self.register_buffer("full", torch.zeros((), dtype=torch.long))
        self.register_buffer("still", torch.zeros((), dtype=torch.long))
        self.barrier: Tensor | None

    def phases(self) -> list[Phase]:
        return [Phase("next", list(self.parameters()), self.optimizer)]

    def optimizer(self, params: Params) -> torch.optim.Optimizer:
        matrices = [p for p in params if p.ndim > 1]
        vectors = {"params": [p for p in params if p.ndim == 1], "weight_decay": 0.0}
        rates = {"lr": self.config.lr, "weight_decay": self.config.weight_decay, "betas": (0.9, 0.99)}
        return torch.optim.AdamW([{"params": matrices}, vectors], **rates, fused=True)

    def loss(self, x: Tensor, cond: Cond, phase: str, rng: Rng) -> dict[str, Tensor]:
        """Mean nats a symbol; "weight" is how many symbols. `full` and `still` are shares of the states that are
        saturated, and that do not move."""
        mask = self.spec.mask(x)
        longest = int(mask.sum(1).max())  # what follows every end costs nothing
        x, mask = x[:, :longest], mask[:, :longest]
        log_p, states = self.log_probs(x, conds.drop(cond, self.config.drop, rng))
        told = {name: (share.t() * mask).sum() / mask.sum() for name, share in health(states.detach()).items()}
        return {"loss": -(log_p * mask).sum() / mask.sum(), "weight": mask.sum(), **told}

    def log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """Exact. What follows the first `end` is certain."""
        return (self.log_probs(x, cond)[0] * self.spec.mask(x)).sum(1)

    def log_probs(self, x: Tensor, cond: Cond) -> tuple[Tensor, Tensor]:
        """log p(x_t | x_<t), (B, L), and the states (layers, L, B, C) they come from."""
        read = torch.cat((self.starts(len(x)), x[:, :-1]), 1)
        logits, states = self.net(read, self.extra(cond), self.config.cut)
        by_time = logits.transpose(0, 1).float()  # as it lies in memory
        if self.barrier is not None:
            by_time = by_time + self.barrier[: x.shape[1], None]
        nll = F.cross_entropy(by_time.flatten(0, 1), x.t().flatten(), reduction="none")
        return -nll.view(x.t().shape).t(), states

    def starts(self, rows: int) -> Tensor:
        return torch.full((rows, 1), self.spec.vocab, device=self.device)

    def extra(self, cond: Cond) -> Tensor | None:
        return None if self.label is None or cond.vector is None else self.label(cond.vector.to(self.device))

    def sample(self, cond: Cond, rng: Rng, options: Options) -> Tensor:
        """(n, T): documents are padded with `end`; streams are the prefix and `length` symbols more."""
        return ancestral.sampled(self.stream(cond, rng, options), self.spec, options)

    def stream(self, cond: Cond, rng: Rng, options: Options) -> Iterator[Tensor]:
        """The columns of `sample`, (n,) each, as soon as they are there; ends when every row has ended."""
        guided = options.guidance != 1 and self.label is not None and cond.vector is not None
        extra = self.extra(conds.both(cond) if guided else cond)
        reading = Reading(self.net, rng.n * (1 + guided), extra)

        def following(columns: list[Tensor]) -> Tensor:
            if reading.state:
                return reading.step(columns[-1].repeat(1 + guided))
            return reading.start(torch.stack([self.starts(rng.n)[:, 0], *columns], 1).repeat(1 + guided, 1))

        return ancestral.columns(following, self.spec, rng, options, self.device)

    def notices(self, losses: dict[str, float]) -> list[tuple[str, str]]:
        """Gradients that explode through time (Pascanu et al. 2013), saturated states, dead ones."""
        norm, full, still = (losses.get(f"next/{name}", 0.0) for name in ("gradient", "full", "still"))
        found = []
        if norm > EXPLODING:
            text = (
                f"the gradient's norm is {norm:.3g}: it explodes on its way back through time. It is clipped, so the "
                "training goes on, but slowly; try a lower rate, or --set cut=32, or shorter samples."
            )
            found.append(("exploding-gradient", text))
        for count, share, most in ((self.full, full, MOST_FULL), (self.still, still, MOST_STILL)):
            count.copy_(count + 1 if share > most else torch.zeros_like(count))
        if int(self.full) >= PATIENCE:
            text = (
                f"{full:.0%} of the states are saturated, at -1 or 1: little can be learned through them. Train anew "
                f"with a lower rate, for example --set lr={self.config.lr / 3:.2g}."
            )
            found.append(("saturated", text))
        if int(self.still) >= PATIENCE:
            text = (
                f"{still:.0%} of the states do not move with what is read: dead units. Train anew with a lower rate, "
                f"for example --set lr={self.config.lr / 3:.2g}, or a smaller width."
            )
            found.append(("dead-units", text))
        return found

    @classmethod
    def presets(cls, spec: Spec) -> list[Preset]:
        """Sizes in tokens: (width, depth, a batch, how many before it beats the size below)."""
        sizes = [
            (64, 1, 2_000, 0),
            (128, 1, 2_000, 100_000),
            (256, 1, 4_000, 800_000),
            (512, 1, 4_000, 3_000_000),
            (512, 2, 8_000, 15_000_000),
            (1024, 2, 16_000, 60_000_000),
        ]
        return [Preset.of_tokens(spec, Config(width=w, depth=d), *tokens) for w, d, *tokens in sizes]

    @classmethod
    def toy(cls, spec: Spec) -> Config:
        return Config(width=32, lr=1e-2)


def health(states: Tensor) -> dict[str, Tensor]:
    """Shares (T, B) of the states (layers, T, B, C) that are saturated, and that did not move."""
    before = F.pad(states[:, :-1], (0, 0, 0, 0, 1, 0))
    full, still = states.abs() > FULL, (states - before).abs() < STILL
    return {name: found.float().mean((0, 3)) for name, found in (("full", full), ("still", still))}
