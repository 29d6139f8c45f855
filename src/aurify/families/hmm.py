"""A hidden Markov model: a chain of states that nobody sees, each of which says a symbol.

    p(x) = sum_z pi(z_1) B(z_1, x_1) prod_t A(z_t-1, z_t) B(z_t, x_t)                  (Baum et al. 1970; Rabiner 1989)

The sum over paths, and the expected count of each event, come from forward and backward (nets/forward_backward.py). The
gradient of log p(x) in log pi, log A, log B is that count, so backward() is the E-step, and the optimizer is the M-step
(counting.py). A row of a table has moves and symbols of its own for each column.

    B batch, T positions, K states, V alphabet, C labels
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, Field
from torch import Tensor, nn

from aurify import ancestral
from aurify import cond as conds
from aurify.ancestral import Options, barrier
from aurify.cond import Cond, CondSpec
from aurify.counting import WANTS, Counting
from aurify.family import Family, Params, Phase, Preset
from aurify.nets.forward_backward import Chain, Filter, log_likelihood, viterbi
from aurify.rng import Rng
from aurify.spec import Tokens

ALIKE = 0.01  # nats that a state says about its symbol: below, all states say the same
IDLE = 0.01  # of its even share of the symbols: a state that has less is not used
PATIENCE = 25  # logged steps, of some 500 a training, after which this is no beginning any more


class Config(BaseModel, frozen=True, extra="forbid"):
    states: int = Field(default=64, ge=1, description="hidden states")
    lr: float = Field(default=1.0, gt=0, le=1, description="weight of a batch beside what is remembered, at first")
    power: float = Field(
        default=0.7, ge=0, le=1, description="how fast that falls: (steps + 1) ** -power; 0 for batches of all the data"
    )
    prior: float = Field(default=1e-6, ge=0, description="pseudo-count of every event, a symbol of the training data")
    drop: float = Field(default=0.1, ge=0, lt=1, description="share of training samples whose label is hidden")


class Hmm(Family):
    """A hidden Markov model on Tokens; see the module's equation.

    With labels, what a state says is shared, and each label has its own start and moves; so have samples without one.
    """

    kind = Tokens
    Config = Config
    Options = Options
    chunk = 4
    wants = WANTS
    spec: Tokens
    config: Config
    waited: Tensor

    def __init__(self, spec: Tokens, cond: CondSpec, config: Config):
        super().__init__(spec, cond, config)
        K, sets = config.states, cond.width + 1 if cond.width else 1
        P, Q = (1, 1) if spec.sizes is None else (max(1, spec.length - 1), spec.length)
        self.start, self.moves, self.emits = drawn(sets, K), drawn(P, sets, K, K), drawn(Q, K, spec.vocab)
        self.register_buffer("barrier", barrier(spec), persistent=False)
        self.barrier: Tensor | None
        self.register_buffer("waited", torch.zeros(2, dtype=torch.long))

    def phases(self) -> list[Phase]:
        return [Phase("em", list(self.parameters()), self.optimizer)]

    def optimizer(self, params: Params) -> torch.optim.Optimizer:
        config = self.config
        return Counting(params, lr=config.lr, power=config.power, prior=config.prior)

    def loss(self, x: Tensor, cond: Cond, phase: str, rng: Rng) -> dict[str, Tensor]:
        """Mean nats a symbol; "weight" is how many symbols. `states`: how many are in use, as the exponential of their
        entropy; `idle`: how many are not; `said`: nats that a state says about its symbol."""
        mask = self.spec.mask(x)
        longest = int(mask.sum(1).max())  # what follows every end costs nothing
        chain = self.chain(conds.drop(cond, self.config.drop, rng), longest)
        log_p, seen = log_likelihood(chain, x[:, :longest], mask[:, :longest])
        return {"loss": -log_p.sum() / mask.sum(), "weight": mask.sum(), **usage(seen, chain.emits.detach())}

    def log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """Exact, in float64. What follows the first `end` is certain."""
        return log_likelihood(self.chain(cond, x.shape[1]), x, self.spec.mask(x))[0]

    def viterbi(self, x: Int[Tensor, "B T"], cond: Cond | None = None) -> tuple[Int[Tensor, "B T"], Tensor]:
        """The likeliest states of each row, -1 behind its end, and log p of them together with x, (B,)."""
        return viterbi(self.chain(cond or Cond(), x.shape[1]), x, self.spec.mask(x))

    def chain(self, cond: Cond, length: int = 0) -> Chain:
        """The rows' own chain: of all rows together, or with labels of each."""
        start, moves, emits = normalised(self.start), normalised(self.moves), normalised(self.emits, self.barrier)
        if self.spec.sizes is not None and length:
            moves, emits = moves[: max(1, length - 1)], emits[:length]
        which = self.labels(cond)
        return Chain(start[which], moves[:, which], emits)

    def labels(self, cond: Cond) -> Int[Tensor, " G"]:
        """Which set each row's start and moves are of, the last where nothing is asked; one for all without labels."""
        if cond.vector is None or not self.cond.width:
            return torch.full((1,), self.cond.width, device=self.device)
        asked = cond.vector.to(self.device)
        return torch.where(asked.sum(1) > 0, asked.argmax(1), self.cond.width)

    def sample(self, cond: Cond, rng: Rng, options: Options) -> Tensor:
        """(n, T): documents are padded with `end`; streams are the prefix and `length` symbols more."""
        return ancestral.sampled(self.stream(cond, rng, options), self.spec, options)

    def stream(self, cond: Cond, rng: Rng, options: Options) -> Iterator[Tensor]:
        """The columns of `sample`, (n,) each, drawn from p(x_t | x_1 ... x_t-1): a prefix is taken up exactly."""
        guided = options.guidance != 1 and cond.vector is not None and bool(self.cond.width)
        rows = rng.n * (1 + guided)
        if guided:
            cond = conds.both(cond)
        with torch.no_grad():
            following = Filter(self.chain(cond), rows)
        return ancestral.columns(following, self.spec, rng, options, self.device)

    def notices(self, losses: dict[str, float]) -> list[tuple[str, str]]:
        """States that all say the same, and states that nothing needs."""
        K, idle = self.config.states, losses["em/idle"]
        wrong = torch.tensor([K > 1 and losses["em/said"] < ALIKE, idle > K / 2], device=self.device)
        self.waited.copy_((self.waited + 1) * wrong)
        alike, unused = (self.waited >= PATIENCE).tolist()
        found = []
        if alike:
            text = (
                f"all states say the same (a state tells under {ALIKE} nats about its symbol): either the symbols do "
                "not depend on those before them, or the states never parted. Try another --seed or a smaller batch."
            )
            found.append(("states-alike", text))
        if unused:
            text = (
                f"{idle:.0f} of {K} states are hardly used; fewer do as well: --set states={max(1, round(K - idle))}."
            )
            found.append(("idle-states", text))
        return found

    @classmethod
    def presets(cls, spec: Tokens) -> list[Preset]:
        """Numbers of states upwards; a batch is some 16,000 symbols."""
        sizes = [(16, 0), (32, 50_000), (64, 200_000), (128, 1_000_000), (256, 5_000_000)]
        batch = max(4, round(16_000 / spec.dims))
        return [Preset(Config(states=K), batch, symbols // spec.dims) for K, symbols in sizes]

    @classmethod
    def for_data(cls, spec: Tokens, samples: int) -> dict[str, Any]:
        """A tenth of a count for every event."""
        return {"prior": 0.1 / (samples * spec.dims)}

    @classmethod
    def toy(cls, spec: Tokens) -> Config:
        return Config(states=16, power=0.0, prior=1e-4, drop=0.0)


def drawn(*shape: int) -> nn.Parameter:
    """Logs of distributions (last axis) drawn evenly from all there are: exponential values, divided by their sum."""
    return nn.Parameter(torch.empty(shape).exponential_().clamp_min(1e-6).log().log_softmax(-1))


def normalised(
    log_p: Float[Tensor, "*rows V"], barrier: Float[Tensor, "L V"] | None = None
) -> Float[Tensor, "*rows V"]:
    """In float64, where a row sums to one but for its last digits: what float32 lost is put back, and nothing is given
    to what `barrier` forbids. The gradient is that of the log-probabilities as they are, an expected count."""
    log_p = log_p.double() if log_p.device.type != "mps" else log_p
    if barrier is not None:
        log_p = log_p + barrier[: len(log_p), None].to(log_p)
    return log_p - log_p.logsumexp(-1, keepdim=True).detach()


def usage(seen: Float[Tensor, " K"], emits: Float[Tensor, "Q K V"]) -> dict[str, Tensor]:
    """How the states are used: see `Hmm.loss`."""
    share = seen / seen.sum()
    p = emits.exp()
    mean = torch.einsum("k,qkv->qv", share, p)
    said = torch.einsum("k,qkv->q", share, torch.xlogy(p, p)) - torch.xlogy(mean, mean).sum(-1)
    idle = (share < IDLE / len(share)).sum()
    return {"states": (-torch.xlogy(share, share).sum()).exp(), "idle": idle.double(), "said": said.mean()}
