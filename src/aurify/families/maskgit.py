"""A Transformer that sees both ways and fills in what is hidden, many symbols at a time.

    -log p(x) <= E_k E_m L/k sum_{i in m} -log p(x_i | x outside m),     k ~ U{1 ... L}, m: k places at random

p is the mixture over all orders in which the places can be filled one by one (Uria et al. 2014, Hoogeboom et al. 2022);
the bound is also that of diffusion that hides symbols (Sahoo et al. 2024, Shi et al. 2024). Sampling fills the places
one by one, or, faster and no longer exact, those first that it is surest of (MaskGIT, Chang et al. 2022).

A document is closed and padded with `end` to the length of all. What follows a visible `end` is known to be `end`, and
before a visible symbol there is none: so every document has one way to be written, and p is over documents.

    B batch, L places, V alphabet; a hidden symbol is -1
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, Field
from torch import Tensor, nn

from aurify import ancestral
from aurify import cond as conds
from aurify.ancestral import barrier, choose
from aurify.cond import Cond, CondSpec
from aurify.errors import UserError
from aurify.family import Family, Params, Phase, Preset
from aurify.muon import Muon
from aurify.nets.transformer import Decoder, Sizes
from aurify.rng import Rng, derive
from aurify.spec import Spec, Tokens

SAMPLES = 16  # sets of hidden places of `log_prob`
HIDDEN = -1
READS = 0.05  # nats by which a symbol must be easier with all others visible than with none
PATIENCE, RECENT = 150, 50  # logged steps, of some 500 a training: before which nothing is said, and that are averaged


class Config(BaseModel, frozen=True, extra="forbid"):
    width: int = Field(default=128, ge=8, multiple_of=2, description="numbers a place is described by")
    depth: int = Field(default=4, ge=1, description="layers")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of activations dropped; 0.2 for little data")
    tie: bool = Field(default=False, description="one matrix for embedding and head: for large alphabets")
    hide: Literal["uniform", "cosine"] = Field(
        default="uniform", description="uniform: the loss is the bound; cosine: as in MaskGIT, most is hidden"
    )
    drop: float = Field(
        default=0.1, ge=0, lt=1, description="share of samples trained without their label, for guidance"
    )
    lr: float = Field(default=0.04, gt=0, description="learning rate of Muon; AdamW takes an eighth at width 128")
    weight_decay: float = Field(default=0.1, ge=0, description="decoupled, on matrices")

    @property
    def heads(self) -> int:
        """About 32 numbers a head."""
        return next(h for h in range(max(1, self.width // 32), 0, -1) if self.width % (2 * h) == 0)


class Options(ancestral.Options, frozen=True, extra="forbid"):
    steps: int = Field(default=32, ge=1, description="evaluations of the network; as many as symbols: one at a time")
    order: Literal["surest", "random"] = Field(default="surest", description="which places are filled first")
    noise: float = Field(default=4.5, ge=0, description="chance in what counts as surest; it fades to 0")
    schedule: Literal["cosine", "linear"] = Field(
        default="cosine", description="places filled at a step: few at first, or always as many"
    )
    fill: tuple[int, ...] = Field(default=(), description="symbols each sample keeps, -1 where one is to be filled in")


class MaskGit(Family):
    """A bidirectional Transformer on Tokens; see the module's equations."""

    kind = Tokens
    Config = Config
    Options = Options
    chunk = 4  # one text alone then costs little more than itself
    spec: Tokens
    config: Config
    reads: Tensor
    logged: Tensor

    def __init__(self, spec: Tokens, cond: CondSpec, config: Config):
        super().__init__(spec, cond, config)
        if spec.vocab < 2:
            raise UserError("the data has one symbol only, so there is nothing to learn; give data with two or more")
        sizes = Sizes(config.width, config.depth, config.heads, causal=False)
        self.net = Decoder(sizes, spec.vocab + 1, spec.vocab, spec.length, config.tie, config.dropout)
        self.label = nn.Linear(cond.width, config.width, bias=False) if cond.width else None
        self.register_buffer("barrier", barrier(spec), persistent=False)
        self.register_buffer("reads", torch.zeros(()))  # recent mean of what `loss` calls so
        self.register_buffer("logged", torch.zeros((), dtype=torch.long))
        self.barrier: Tensor | None

    def phases(self) -> list[Phase]:
        return [Phase("fill", list(self.parameters()), self.optimizer)]

    def optimizer(self, params: Params) -> torch.optim.Optimizer:
        label = [] if self.label is None else list(self.label.parameters())
        return Muon(self.net.groups(self.config.lr, True, label), weight_decay=self.config.weight_decay)

    # Likelihood

    def loss(self, x: Tensor, cond: Cond, phase: str, rng: Rng) -> dict[str, Tensor]:
        """The bound in nats a symbol, with hide="cosine" the mean nats of a hidden one; "weight" is how many symbols.
        `reads`: about a sixth of what a symbol costs more with all others hidden than with none."""
        cond = conds.drop(cond, self.config.drop, rng)
        symbols = self.spec.mask(x).sum(1)
        x = self.whole(x)
        L, u, places = x.shape[1], rng.uniform()[:, None].to(self.device), rng.uniform(x.shape[1]).to(self.device)
        share = u if self.config.hide == "uniform" else (u * math.pi / 2).cos()
        k = (share * L).floor().clamp(max=L - 1) + 1
        nats, hidden = self.nats(x, places.argsort(1).argsort(1) < k, self.extra(cond))
        if self.config.hide == "cosine":
            return {"loss": nats.sum() / hidden.sum().clamp(min=1), "weight": hidden.sum()}
        bound = nats.sum(1) * (L / k[:, 0])
        over = bound.detach() - symbols * math.log(self.spec.vocab)  # a constant off, so that chance is small
        reads = (over * (2 * k[:, 0] - L - 1) / L).sum() / symbols.sum()
        return {"loss": bound.sum() / symbols.sum(), "weight": symbols.sum(), "reads": reads}

    @torch.no_grad()
    def log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """An estimate of the bound, on average below log p(x): the mean over SAMPLES = 16 sets of hidden places, whose
        sizes k are spread evenly over 1 ... L. The draws are a function of x alone."""
        x, extra = self.whole(x), self.extra(cond)
        L = x.shape[1]
        seeded = [torch.Generator().manual_seed(derive("places", *row)) for row in x.tolist()]
        total = torch.zeros(len(x), device=x.device)
        for s in range(SAMPLES):
            draw = torch.stack([torch.rand(L + 1, generator=g) for g in seeded]).to(x.device)
            k = ((s + draw[:, :1]) / SAMPLES * L).floor().clamp(max=L - 1) + 1
            nats, _ = self.nats(x, draw[:, 1:].argsort(1).argsort(1) < k, extra)
            total = total - nats.sum(1) * (L / k[:, 0]) / SAMPLES
        return total

    def whole(self, x: Tensor) -> Tensor:
        """Documents closed and padded with `end` to the length of all."""
        if not self.spec.variable:
            return x
        x = x.masked_fill(~self.spec.mask(x), self.spec.end or 0)
        return F.pad(x, (0, self.spec.length - x.shape[1]), value=self.spec.end or 0)

    def nats(self, x: Tensor, hidden: Tensor, extra: Tensor | None) -> tuple[Tensor, Tensor]:
        """-log p(x_i | what is visible), (B, L), 0 where x_i is visible or known; and which are neither."""
        seen = self.known(x.masked_fill(hidden, HIDDEN))
        found = F.cross_entropy(self.logits(seen, extra).flatten(0, 1), x.flatten(), reduction="none")
        return found.view(x.shape) * (seen < 0), seen < 0

    def logits(self, seen: Tensor, extra: Tensor | None) -> Tensor:
        """(B, L, V), float32, -inf for what cannot be, from what is visible."""
        logits = self.net(seen.masked_fill(seen < 0, self.spec.vocab), extra).float()
        if self.barrier is not None:
            logits = logits + self.barrier[: seen.shape[1]]
        if self.spec.variable and self.spec.end is not None:
            symbol = (seen >= 0) & (seen != self.spec.end)
            later = symbol.flip(1).cumsum(1).flip(1) > symbol.long()
            is_end = torch.arange(self.spec.vocab, device=seen.device) == self.spec.end
            logits = logits.masked_fill(later[..., None] & is_end, -torch.inf)
        return logits

    def known(self, seen: Tensor) -> Tensor:
        """What is visible, and what follows from it: after an `end`, only `end`."""
        if not self.spec.variable or self.spec.end is None:
            return seen
        return seen.masked_fill((seen == self.spec.end).cumsum(1) > 0, self.spec.end)

    def extra(self, cond: Cond) -> Tensor | None:
        return None if self.label is None or cond.vector is None else self.label(cond.vector.to(self.device))

    # Sampling

    @torch.inference_mode()
    def sample(self, cond: Cond, rng: Rng, options: Options) -> Tensor:
        """(n, T): what is given, filled in; documents have the length of all. A stream longer than a window is filled
        window by window, each seeing the last half of the one before."""
        given = torch.tensor(self.given(options), device=self.device).repeat(rng.n, 1)
        T, L = given.shape[1], self.spec.length
        guided = options.guidance != 1 and self.label is not None and cond.vector is not None
        extra = self.extra(conds.both(cond) if guided else cond)
        x = given[:, :0]
        while x.shape[1] < T:
            past = x[:, max(0, x.shape[1] - L // 2) :]
            window = torch.cat((past, given[:, x.shape[1] : x.shape[1] + L - past.shape[1]]), 1)
            made = self.filled(window, extra, rng, options)
            x = torch.cat((x, made[:, past.shape[1] :]), 1)
        return x

    def filled(self, window: Tensor, extra: Tensor | None, rng: Rng, options: Options) -> Tensor:
        """(n, T) with every -1 filled in (Chang et al. 2022, Section 3.2). The network sees a whole window: what lies
        beyond T stays hidden."""
        (n, T), L = window.shape, self.spec.length
        seen = self.known(F.pad(window, (0, L - T), value=HIDDEN))
        ours = torch.arange(L, device=seen.device) < T
        N = int(((seen < 0) & ours).sum(1).max())
        steps = min(options.steps, N)
        for t in range(1, steps + 1):
            u, v = rng.uniform(L).to(seen.device), rng.uniform(L).to(seen.device)
            logits = self.guided(seen, extra, n, options)
            drawn = choose(logits.flatten(0, 1), u.flatten(), options, self.spec.unseen).view(n, L)
            done = t / steps
            left = math.floor(N * (math.cos(math.pi / 2 * done) if options.schedule == "cosine" else 1 - done))
            todo = (seen < 0) & ours
            score = self.score(logits, drawn, v, options, 1 - done).masked_fill(~todo, -torch.inf)
            rank = score.argsort(dim=1, descending=True, stable=True).argsort(1)
            seen = self.known(torch.where(todo & (rank < (todo.sum(1, True) - left).clamp(min=1)), drawn, seen))
        return seen[:, :T]

    def guided(self, seen: Tensor, extra: Tensor | None, n: int, options: Options) -> Tensor:
        """Logits (n, L, V); where `extra` has 2 n rows, free + guidance (asked - free) (Ho & Salimans 2022, Eq. 6)."""
        twice = 1 if extra is None else len(extra) // n
        asked, *free = self.logits(seen.repeat(twice, 1), extra).chunk(twice)
        logits = free[0] + options.guidance * (asked - free[0]) if free else asked
        logits = logits.nan_to_num(nan=-torch.inf, neginf=-torch.inf)  # what cannot be, less what cannot be
        if options.fill and self.spec.end is not None:
            logits[..., self.spec.end] = -torch.inf  # a gap is as long as it was said to be
        return logits

    def score(self, logits: Tensor, drawn: Tensor, v: Tensor, options: Options, left: float) -> Tensor:
        """Which places to fill first, (n, L): by v alone, or log p of what was drawn with fading Gumbel noise."""
        if options.order == "random":
            return v
        log_p = logits.log_softmax(-1).gather(-1, drawn[..., None])[..., 0]
        gumbel = -torch.log(-torch.log(v.clamp(1e-7, 1 - 1e-7)))
        return log_p + options.noise * left * gumbel

    def given(self, options: Options) -> tuple[int, ...]:
        """The symbols of a sample that are given, -1 where one is to be made; documents end with what was asked for.
        Raises UserError for what cannot be."""
        spec, asked = self.spec, options.fill
        if asked:
            self.refuse(options)
        else:
            asked = (*options.prefix, *(HIDDEN,) * (ancestral.total(spec, options) - len(options.prefix)))
        return (*asked, *(spec.end or 0,) * (spec.length - len(asked) if spec.variable else 0))

    def refuse(self, options: Options) -> None:
        """Raises UserError for gaps that no sample can have."""
        spec = self.spec
        if HIDDEN not in options.fill:
            raise UserError('there is no gap to fill: write _ for each symbol to be found, as in --fill "to be, ___"')
        if options.prefix or options.length:
            raise UserError("what is to be filled in says where it begins and how long it is: no prefix or length")
        if not spec.stream and len(options.fill) > spec.length:
            raise UserError(f"there are {len(options.fill)} symbols to keep and fill, a sample has {spec.length}")
        if not spec.stream and not spec.variable and len(options.fill) != spec.length:
            raise UserError(f"every sample has {spec.length} symbols; fill has {len(options.fill)}")
        if ancestral.outside([max(symbol, 0) for symbol in options.fill], spec) or min(options.fill) < HIDDEN:
            raise UserError(f"fill holds a symbol outside 0 ... {spec.vocab - 1}; -1 stands for one to be made")

    def notices(self, losses: dict[str, float]) -> list[tuple[str, str]]:
        """A network that guesses by frequency and does not read what is visible."""
        if "fill/reads" not in losses:
            return []
        self.logged += 1
        self.reads.lerp_(torch.tensor(losses["fill/reads"]).to(self.reads), 1 / min(int(self.logged), RECENT))
        if int(self.logged) < PATIENCE or float(self.reads) > READS / 6:
            return []
        text = (
            "what is visible does not help to guess what is hidden, so symbols come by frequency alone. Either they do "
            "not depend on each other, or the training is too short or its rate wrong: give more --minutes, or try "
            f"--set lr={self.config.lr / 3:.2g}."
        )
        return [("context-unused", text)]

    @classmethod
    def presets(cls, spec: Spec) -> list[Preset]:
        """Sizes in tokens: (width, depth, a batch, how many before it beats the size below)."""
        sizes = [
            (64, 4, 1_500, 0),
            (128, 4, 2_000, 200_000),
            (192, 6, 4_000, 2_000_000),
            (256, 8, 4_000, 8_000_000),
            (384, 8, 8_000, 25_000_000),
            (512, 10, 16_000, 100_000_000),
        ]
        return [Preset.of_tokens(spec, Config(width=w, depth=d), *tokens) for w, d, *tokens in sizes]

    @classmethod
    def toy(cls, spec: Spec) -> Config:
        return Config(width=32, depth=2, drop=0.0, lr=0.01)
