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
from aurify.rng import BatchRng, Rng
from aurify.spec import Tokens

ALIKE = 0.01  # nats that a state says about its symbol: below, all states say the same
IDLE = 0.01  # of its even share of the symbols: a state that has less is not used
PATIENCE = 25  # logged steps, of some 500 a training, after which this is no beginning any more
AHEAD = 64  # symbols by which one sees which states are used
LOOKED, TRIED = 8_000, 15  # symbols that starts are tried on, and steps of each


class Config(BaseModel, frozen=True, extra="forbid"):
    states: int = Field(default=64, ge=1, description="hidden states")
    starts: int = Field(default=4, ge=1, description="starts that are tried on a part of the data; the best goes on")
    lr: float = Field(default=1.0, gt=0, le=1, description="weight of a batch beside earlier ones; falls with the rate")
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
    looks = 512
    spec: Tokens
    config: Config
    waited: Tensor

    def __init__(self, spec: Tokens, cond: CondSpec, config: Config):
        super().__init__(spec, cond, config)
        K, sets = config.states, cond.width + 1 if cond.width else 1
        P, Q = (1, 1) if spec.sizes is None else (max(1, spec.length - 1), spec.length)
        shapes = (sets, K), (P, sets, K, K), (Q, K, spec.vocab)
        self.start, self.moves, self.emits = (nn.Parameter(drawn(*shape)) for shape in shapes)
        self.register_buffer("barrier", barrier(spec), persistent=False)
        self.barrier: Tensor | None
        self.register_buffer("waited", torch.zeros(2, dtype=torch.long))

    def phases(self) -> list[Phase]:
        return [Phase("em", list(self.parameters()), self.optimizer)]

    def optimizer(self, params: Params) -> torch.optim.Optimizer:
        config = self.config
        return Counting(params, lr=config.lr, prior=config.prior)

    def look(self, x: Tensor, cond: Cond) -> None:
        """Goes on with the best of several starts, each after some steps of EM on a part of the data: EM climbs the
        nearest hill (Rabiner 1989, Section V.C). Every other one begins with states that mostly stay."""
        every = max(1, x.numel() // LOOKED)
        x, cond = x[::every], cond.each(lambda slot: slot[::every])
        tried = [self.tried(x, cond, stay=0.5 * (i % 2)) for i in range(self.config.starts)]
        with torch.no_grad():
            for p, best in zip(self.parameters(), min(tried, key=lambda found: found[0])[1], strict=True):
                p.copy_(best)

    def tried(self, x: Tensor, cond: Cond, stay: float) -> tuple[float, list[Tensor]]:
        """The loss that a new start comes to, and its parameters there."""
        params = list(self.parameters())
        with torch.no_grad():
            for p in params:
                p.copy_(drawn(*p.shape, even=0.5 if stay else 1.0))
            own = torch.eye(self.config.states, device=self.device)
            self.moves.copy_(((1 - stay) * self.moves.exp() + stay * own).log())
        optimizer, loss = Counting(params, prior=self.config.prior), torch.tensor(torch.inf)
        for _ in range(TRIED):
            optimizer.zero_grad()
            loss = self.loss(x, cond, "em", BatchRng(0, len(x)))["loss"]
            loss.backward()
            optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach()), [p.detach().clone() for p in params]

    def loss(self, x: Tensor, cond: Cond, phase: str, rng: Rng) -> dict[str, Tensor]:
        """Mean nats a symbol; "weight" is how many symbols. `states`: how many are in use, as the exponential of their
        entropy; `idle`: how many are not; `said`: nats that a state says about its symbol."""
        mask = self.spec.mask(x)
        longest = int(mask.sum(1).max())  # what follows every end costs nothing
        chain = self.chain(conds.drop(cond, self.config.drop, rng), longest)
        log_p = log_likelihood(chain, x[:, :longest], mask[:, :longest])
        return {"loss": -log_p.sum() / mask.sum(), "weight": mask.sum(), **self.usage()}

    @torch.no_grad()
    def usage(self) -> dict[str, Tensor]:
        """How the chain as it is uses its states, in its first AHEAD symbols: see `loss`."""
        start, moves = normalised(self.start).exp(), normalised(self.moves).exp()
        share, p = [start[:, None]], normalised(self.emits, self.barrier).exp()
        for t in range(1, min(self.spec.length, AHEAD)):
            share.append(share[-1] @ moves[min(t, len(moves)) - 1])
        share = torch.stack(share).mean((0, 1, 2))
        mean = torch.einsum("k,qkv->qv", share, p)
        said = torch.einsum("k,qkv->q", share, torch.xlogy(p, p)) - torch.xlogy(mean, mean).sum(-1)
        idle = (share < IDLE / len(share)).sum()
        return {"states": (-torch.xlogy(share, share).sum()).exp(), "idle": idle.double(), "said": said.mean()}

    def log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """Exact, in float64. What follows the first `end` is certain."""
        return log_likelihood(self.chain(cond, x.shape[1]), x, self.spec.mask(x))

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
        wrong = torch.tensor([K > 1 and losses["em/said"] < ALIKE, idle > K / 4], device=self.device)
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
        """Numbers of states upwards; more states take more symbols a batch."""
        sizes = [(16, 0), (32, 50_000), (64, 200_000), (128, 1_000_000), (256, 5_000_000)]
        return [Preset(Config(states=K), max(4, round(128 * K / spec.dims)), need // spec.dims) for K, need in sizes]

    @classmethod
    def for_data(cls, spec: Tokens, samples: int) -> dict[str, Any]:
        """A tenth of a count for every event."""
        return {"prior": float(f"{0.1 / (samples * spec.dims):.0e}")}

    @classmethod
    def toy(cls, spec: Tokens) -> Config:
        return Config(states=16, prior=1e-4, drop=0.0)


def drawn(*shape: int, even: float = 1.0) -> Tensor:
    """Logs of distributions (last axis) drawn evenly from all there are: exponential values, divided by their sum. A
    lower power of them is nearer to an even one."""
    return (even * torch.empty(shape).exponential_().clamp_min(1e-6).log()).log_softmax(-1)


def normalised(
    log_p: Float[Tensor, "*rows V"], barrier: Float[Tensor, "L V"] | None = None
) -> Float[Tensor, "*rows V"]:
    """In float64, where a row sums to one but for its last digits: what float32 lost is put back, and nothing is given
    to what `barrier` forbids. The gradient is that of the log-probabilities as they are, an expected count."""
    log_p = log_p.double() if log_p.device.type != "mps" else log_p
    if barrier is not None:
        log_p = log_p + barrier[: len(log_p), None].to(log_p)
    return log_p - log_p.logsumexp(-1, keepdim=True).detach()
