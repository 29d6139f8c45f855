"""A Transformer that says the next symbol: p(x) = prod_t p(x_t | x_1 ... x_t-1), exact for whole samples.

A start symbol of its own stands before each sample, so the first symbol has a probability too. A label is a direction
added to every position; it is hidden now and then in training, so that sampling can lean on it (Ho & Salimans 2022).

    B batch, L length, V alphabet, K labels
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, Field
from torch import Tensor, nn

from aurify import cond as conds
from aurify.cond import Cond, CondSpec
from aurify.errors import UserError
from aurify.family import Family, Params, Phase, Preset
from aurify.muon import Muon
from aurify.nets.decode import Decoding
from aurify.nets.transformer import Decoder, Sizes
from aurify.rng import Rng
from aurify.spec import Spec, Tokens

BLOCK = 64  # uniform values drawn at a time


class Config(BaseModel, frozen=True, extra="forbid"):
    width: int = Field(default=128, ge=8, description="numbers a position is described by")
    depth: int = Field(default=4, ge=1, description="layers")
    heads: int = Field(default=4, ge=1, description="attention heads; width must be an even multiple of it")
    kv_heads: int | None = Field(default=None, ge=1, description="heads of keys and values; none: as many as heads")
    mlp: float = Field(default=8 / 3, gt=0, description="hidden width of the feed-forward part, in widths")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of activations dropped; 0.2 for little data")
    tie: bool = Field(default=False, description="one matrix for embedding and head: for large alphabets")
    drop: float = Field(
        default=0.1, ge=0, lt=1, description="share of samples trained without their label, for guidance"
    )
    optimizer: Literal["muon", "adamw"] = Field(default="muon", description="how the hidden matrices step")
    lr: float = Field(default=0.04, gt=0, description="learning rate of Muon; AdamW takes an eighth at width 128")
    weight_decay: float = Field(default=0.1, ge=0, description="decoupled, on matrices")


class Options(BaseModel, frozen=True, extra="forbid"):
    temperature: float = Field(default=1.0, ge=0, le=10, description="below 1: safer; 0: always the likeliest")
    top_k: int = Field(default=0, ge=0, description="choose among the k likeliest symbols; 0: among all")
    top_p: float = Field(default=1.0, gt=0, le=1, description="choose among the likeliest that hold this probability")
    guidance: float = Field(default=1.0, ge=0, le=50, description="how strongly a label is followed; 1: as learned")
    length: int | None = Field(default=None, ge=1, description="most new symbols; none: what the data's length allows")
    prefix: tuple[int, ...] = Field(default=(), description="symbols each sample begins with")


class Transformer(Family):
    kind = Tokens
    Config = Config
    Options = Options
    chunk = 4  # one text alone then costs little more than itself
    spec: Tokens
    config: Config

    def __init__(self, spec: Tokens, cond: CondSpec, config: Config):
        super().__init__(spec, cond, config)
        kv_heads = config.kv_heads or config.heads
        if config.width % (2 * config.heads) or config.heads % kv_heads:
            fitting = 2 * config.heads * max(4, config.width // 2 // config.heads)
            raise UserError(
                f"width {config.width} must be an even multiple of heads {config.heads}, and heads a multiple of "
                f"kv_heads {kv_heads}; for example --set width={fitting}"
            )
        hidden = max(32, round(config.mlp * config.width / 32) * 32)
        sizes = Sizes(config.width, config.depth, config.heads, kv_heads, hidden)
        self.net = Decoder(sizes, spec.vocab + 1, spec.vocab, spec.length, config.tie, config.dropout)
        self.label = nn.Linear(cond.width, config.width, bias=False) if cond.width else None
        self.register_buffer("barrier", barrier(spec), persistent=False)
        self.barrier: Tensor | None

    def phases(self) -> list[Phase]:
        return [Phase("next", list(self.parameters()), self.optimizer)]

    def optimizer(self, params: Params) -> torch.optim.Optimizer:
        """Rates that hold at every width (Yang et al. 2022): Muon's is one, Adam's falls as 1 / width for what reads
        a wide vector."""
        config, net = self.config, self.net
        narrow = config.lr / 8
        wide = narrow * 128 / config.width
        inputs = [] if self.label is None else [self.label.weight]
        outputs = [net.embedding.weight] if net.head is None else [net.head.weight]
        inputs += [] if net.head is None else [net.embedding.weight]
        muon = config.optimizer == "muon"
        groups = [
            {"params": net.matrices(), "lr": config.lr if muon else wide, "orthogonal": muon},
            {"params": outputs, "lr": wide},
            {"params": inputs, "lr": narrow, "weight_decay": 0.0},
        ]
        return Muon([g for g in groups if g["params"]], weight_decay=config.weight_decay)

    def loss(self, x: Tensor, cond: Cond, phase: str, rng: Rng) -> dict[str, Tensor]:
        """Mean nats a symbol; "weight" is how many symbols."""
        mask = self.spec.mask(x)
        longest = int(mask.sum(1).max())  # what follows every end costs nothing
        x, mask = x[:, :longest], mask[:, :longest]
        nll = -self.log_probs(x, conds.drop(cond, self.config.drop, rng)) * mask
        return {"loss": nll.sum() / mask.sum(), "weight": mask.sum()}

    def log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """Exact. What follows the first `end` is certain."""
        return (self.log_probs(x, cond) * self.spec.mask(x)).sum(1)

    def log_probs(self, x: Tensor, cond: Cond) -> Tensor:
        """log p(x_t | x_<t), (B, L)."""
        logits = self.net(torch.cat((self.starts(len(x)), x[:, :-1]), 1), self.extra(cond)).float()
        if self.barrier is not None:
            logits = logits + self.barrier[: x.shape[1]]
        return -F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="none").view(x.shape)

    def starts(self, rows: int) -> Tensor:
        return torch.full((rows, 1), self.spec.vocab, device=self.device)

    def extra(self, cond: Cond) -> Tensor | None:
        return None if self.label is None or cond.vector is None else self.label(cond.vector.to(self.device))

    def sample(self, cond: Cond, rng: Rng, options: Options) -> Tensor:
        """(n, T): documents are padded with `end`; streams are the prefix and `length` symbols more."""
        x = torch.stack(list(self.stream(cond, rng, options)), 1)
        missing = self.total(options) - x.shape[1]
        return F.pad(x, (0, missing), value=self.spec.end or 0)

    def stream(self, cond: Cond, rng: Rng, options: Options) -> Iterator[Tensor]:
        """The columns of `sample`, (n,) each, as soon as they are there; ends when every row has ended."""
        total, end = self.total(options), self.spec.end if self.spec.variable else None
        columns = [torch.full((rng.n,), symbol, device=self.device) for symbol in options.prefix]
        yield from columns
        guided = options.guidance != 1 and self.label is not None and cond.vector is not None
        decoding = Decoding(self.net, rng.n * (1 + guided), self.extras(cond, guided))
        u = torch.empty(rng.n, 0)
        ended = torch.zeros(rng.n, dtype=torch.bool, device=self.device)
        for t in range(total - len(columns)):
            if t % BLOCK == 0:
                u = rng.uniform(BLOCK).to(self.device)
            logits = self.next_logits(decoding, columns, t == 0)
            if guided:
                asked, free = logits.chunk(2)
                logits = free + options.guidance * (asked - free)
            if self.barrier is not None:
                logits = logits + self.barrier[len(columns)]
            column = choose(logits, u[:, t % BLOCK], options)
            if end is not None:
                column = torch.where(ended, end, column)
                ended = ended | (column == end)
            columns.append(column)
            yield column
            if end is not None and bool(ended.all()):
                return

    def next_logits(self, decoding: Decoding, columns: list[Tensor], first: bool) -> Tensor:
        """Logits after `columns`. Where the context is full, its last half is read anew after a start."""
        rows, L = decoding.rows, self.spec.length
        if not first and not decoding.full:
            return decoding.step(columns[-1].repeat(rows // len(columns[-1])))
        read = columns if len(columns) < L else columns[len(columns) - L // 2 :]
        return decoding.start(torch.stack([self.starts(rows)[:, 0]] + [c.repeat(rows // len(c)) for c in read], 1))

    def extras(self, cond: Cond, guided: bool) -> Tensor | None:
        asked = self.extra(cond)
        return torch.cat((asked, torch.zeros_like(asked))) if guided and asked is not None else asked

    def total(self, options: Options) -> int:
        """Columns of a sample, the prefix included. Raises UserError for what no sample can be."""
        spec, begun = self.spec, len(options.prefix)
        if any(not 0 <= symbol < spec.vocab for symbol in options.prefix):
            raise UserError(f"prefix holds a symbol outside 0 ... {spec.vocab - 1}")
        if spec.stream:
            return begun + (options.length or spec.length)
        if begun > spec.length:
            raise UserError(f"the prefix has {begun} symbols, a sample at most {spec.length}; shorten it")
        if spec.variable:
            return min(spec.length, begun + (options.length or spec.length))
        if options.length not in (None, spec.length - begun):
            raise UserError(f"every sample has {spec.length} symbols; leave the length out")
        return spec.length

    @classmethod
    def presets(cls, spec: Spec) -> list[Preset]:
        """Sizes in tokens: (width, depth, heads, a batch, how many before it beats the size below)."""
        sizes = [
            (64, 4, 2, 800, 0),
            (128, 4, 4, 800, 100_000),
            (192, 6, 6, 1_500, 800_000),
            (256, 8, 4, 2_000, 3_000_000),
            (384, 8, 6, 4_000, 10_000_000),
            (512, 10, 8, 8_000, 40_000_000),
        ]
        return [
            Preset(Config(width=w, depth=d, heads=h), max(4, round(tokens / spec.dims)), need // spec.dims)
            for w, d, h, tokens, need in sizes
        ]

    @classmethod
    def toy(cls, spec: Spec) -> Config:
        return Config(width=32, depth=2, heads=2)


def barrier(spec: Tokens) -> Tensor | None:
    """(L, V): -inf where a position cannot hold a symbol; None where every position has the whole alphabet."""
    if spec.sizes is None:
        return None
    impossible = torch.arange(spec.vocab) >= torch.tensor(spec.sizes)[:, None]
    return torch.zeros(impossible.shape).masked_fill(impossible, -torch.inf)


def choose(logits: Tensor, u: Tensor, options: Any) -> Tensor:
    """One symbol a row, (B,): the first whose cumulative probability exceeds u."""
    if options.temperature == 0:
        return logits.argmax(-1)
    logits = logits / options.temperature
    if options.top_k and options.top_k < logits.shape[-1]:
        least = logits.topk(options.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    p = logits.double().softmax(-1)
    if options.top_p < 1:
        p = nucleus(p, options.top_p)
    cumulative = p.cumsum(-1)
    return torch.searchsorted(cumulative, u.double()[:, None] * cumulative[:, -1:], right=True)[:, 0]


def nucleus(p: Tensor, mass: float) -> Tensor:
    """p with zeros outside the smallest set of likeliest symbols that holds `mass` (Holtzman et al. 2020)."""
    ordered, index = p.sort(descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(p).scatter(-1, index, ordered * (before < mass))
