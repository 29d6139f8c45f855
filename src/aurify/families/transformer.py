"""A Transformer that says the next symbol: p(x) = prod_t p(x_t | x_1 ... x_t-1), exact for whole samples.

A start symbol of its own stands before each sample, so the first symbol has a probability too. A label is a direction
added to every position; a text is read by an encoder, and every layer attends to what it made of it (Vaswani et al.
2017). Both are hidden now and then in training, so that sampling can lean on them (Ho & Salimans 2022).

With objective=masked every symbol is told from those on both sides instead (Devlin et al. 2019), of which any may be
hidden: see `any_order`.

    B batch, L length, V alphabet, K labels, m symbols of a sample
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn

from aurify import ancestral, any_order
from aurify import cond as conds
from aurify.ancestral import barrier, choose
from aurify.cond import Cond, CondSpec
from aurify.errors import UserError
from aurify.family import Family, Params, Phase, Preset
from aurify.muon import Muon
from aurify.nets.cross import Memory, Source
from aurify.nets.decode import Decoding
from aurify.nets.transformer import Decoder, Look, Sizes
from aurify.rng import Rng
from aurify.spec import Spec, Tokens

DRAWS = 16  # of hidden places, of `log_prob` where the objective is masked
PAYS = 3  # symbols a step for each unit of width from which on Muon pays: below, a step costs more than it saves
FAINT = 0.02  # nats a symbol: a text that tells less tells nothing
PATIENCE = 200  # logged steps, of some 500 a training, after which telling nothing is no beginning any more


class Config(BaseModel, frozen=True, extra="forbid"):
    width: int = Field(default=128, ge=8, description="numbers a position is described by")
    depth: int = Field(default=4, ge=1, description="layers")
    source_depth: int | None = Field(
        default=None, ge=1, description="layers that read a text; none: as many as depth; of data with texts"
    )
    heads: int = Field(default=4, ge=1, description="attention heads; width must be an even multiple of it")
    kv_heads: int | None = Field(default=None, ge=1, description="heads of keys and values; none: as many as heads")
    mlp: float = Field(default=8 / 3, gt=0, description="hidden width of the feed-forward part, in widths")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of activations dropped; 0.2 for little data")
    tie: bool = Field(default=False, description="one matrix for embedding and head: for large alphabets")
    drop: float = Field(
        default=0.1, ge=0, lt=1, description="share of samples trained without label and text, for guidance"
    )
    objective: Literal["causal", "masked"] = Field(
        default="causal", description="say the next symbol, or hidden ones from both sides"
    )
    window: int | None = Field(default=None, ge=1, description="symbols that each sees, itself included; none: all")
    places: bool = Field(
        default=False, description="learn what each place is, for samples of one length, such as pictures and rows"
    )
    optimizer: Literal["muon", "adamw"] = Field(default="muon", description="how the hidden matrices step")
    lr: float = Field(default=0.04, gt=0, description="learning rate of Muon; AdamW takes an eighth at width 128")
    weight_decay: float = Field(default=0.1, ge=0, description="decoupled, on matrices")

    @model_validator(mode="after")
    def one_direction(self) -> "Config":
        if self.window and self.objective == "masked":
            raise ValueError("a window needs objective=causal")
        return self


class Options(ancestral.Options, frozen=True, extra="forbid"):
    fill: tuple[int, ...] = Field(
        default=(), description="masked: the symbols of each sample, -1 where one is to be found"
    )
    steps: int = Field(
        default=64, ge=1, description="masked: evaluations of the network; as many as symbols: one at a time, exact"
    )


class Transformer(Family):
    kind = Tokens
    Config = Config
    Options = Options
    chunk = 4  # one text alone then costs little more than itself
    reads_text = True
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
        self.masked, text = config.objective == "masked", cond.text
        sizes = Sizes(config.width, config.depth, config.heads, kv_heads, hidden, not self.masked, config.window)
        read, waves = (spec.vocab + 1 + self.masked, spec.length + self.masked), self.masked or text is not None
        placed = "learned" if config.places else "waves" if waves else None
        self.net = Decoder(sizes, read[0], spec.vocab, read[1], config.tie, config.dropout, placed)
        depth = config.source_depth or config.depth
        self.source = None if text is None else Source(sizes, depth, text.vocab, text.length, config.dropout)
        self.lengths = nn.Linear(config.width, spec.length + 1) if self.masked and spec.variable else None
        self.label = nn.Linear(cond.width, config.width, bias=False) if cond.width else None
        self.register_buffer("barrier", barrier(spec), persistent=False)
        self.barrier: Tensor | None
        if self.source is not None:
            self.register_buffer("told", torch.zeros(2))  # logged steps, and their mean of "told"
        self.told: Tensor

    def phases(self) -> list[Phase]:
        return [Phase("masked" if self.masked else "next", list(self.parameters()), self.optimizer)]

    def optimizer(self, params: Params) -> torch.optim.Optimizer:
        reading = (self.label, None if self.source is None else self.source.embedding)
        inputs = [p for layer in reading if layer is not None for p in layer.parameters()]
        hidden, outputs, *others = self.net.groups(self.config.lr, self.config.optimizer == "muon", inputs)
        hidden["params"] += [] if self.source is None else self.source.matrices()
        outputs["params"] += [] if self.lengths is None else list(self.lengths.parameters())
        return Muon([hidden, outputs, *others], weight_decay=self.config.weight_decay)

    def loss(self, x: Tensor, cond: Cond, phase: str, rng: Rng) -> dict[str, Tensor]:
        """Mean nats a symbol, with objective=masked a bound on them; "weight" is how many symbols; "told" is how many
        nats a symbol the texts save, by the samples whose text was hidden."""
        cond, mask = conds.drop(cond, self.config.drop, rng), self.spec.mask(x)
        longest = int(mask.sum(1).max())  # what follows every end costs nothing
        x, mask = x[:, :longest], mask[:, :longest]
        if self.masked:
            nll = -self.bound(x, cond, rng.uniform().to(x.device), rng.uniform(self.spec.length).to(x.device))
        else:
            nll = -(self.log_probs(x, cond) * mask).sum(1)
        told = {} if self.source is None else {"told": saved(nll.detach(), mask.sum(1), cond.sequence_mask)}
        return {"loss": nll.sum() / mask.sum(), "weight": mask.sum(), **told}

    def log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """Exact. What follows the first `end` is certain. With objective=masked: an estimate of a lower bound, from
        DRAWS = 16 sets of hidden places."""
        if not self.masked:
            return (self.log_probs(x, cond) * self.spec.mask(x)).sum(1)
        generator, found = torch.Generator().manual_seed(0), []
        for i in range(DRAWS):
            u, v = (torch.rand(len(x), *shape, generator=generator).to(x.device) for shape in ((), x.shape[1:]))
            found.append(self.bound(x, cond, (i + u) / DRAWS, v))
        return torch.stack(found).mean(0)

    def log_probs(self, x: Tensor, cond: Cond) -> Tensor:
        """log p(x_t | x_<t), (B, L)."""
        read = torch.cat((self.starts(len(x)), x[:, :-1]), 1)
        logits = self.net(read, self.extra(cond), self.ways(self.memory(cond, len(x)))).float()
        if self.barrier is not None:
            logits = logits + self.barrier[: x.shape[1]]
        return -F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="none").view(x.shape)

    def starts(self, rows: int) -> Tensor:
        return torch.full((rows, 1), self.spec.vocab, device=self.device)

    def extra(self, cond: Cond) -> Tensor | None:
        return None if self.label is None or cond.vector is None else self.label(cond.vector.to(self.device))

    def memory(self, cond: Cond, rows: int) -> Memory | None:
        """What the encoder makes of the texts; of rows that ask for none, what it makes of nothing."""
        if self.source is None:
            return None
        symbols, seen = cond.sequence, cond.sequence_mask
        if symbols is None or seen is None:
            symbols, seen = torch.zeros(rows, 1, dtype=torch.long), torch.zeros(rows, 1, dtype=torch.bool)
        return self.source(symbols.to(self.device), seen.to(self.device))

    def ways(self, memory: Memory | None) -> list[Look] | None:
        return None if self.source is None or memory is None else self.source.looks(memory)

    def bound(self, x: Tensor, cond: Cond, u: Tensor, v: Tensor) -> Tensor:
        """A bound on log p(x), (B,), by one draw u (B,), v (B, >= L) of the hidden places; see `any_order`."""
        extra, looks, m = self.extra(cond), self.ways(self.memory(cond, len(x))), self.symbols(x)
        found = any_order.bound(partial(self.tell, extra, looks), x, m, u, v[:, : x.shape[1]])
        if self.lengths is None:
            return found
        return found + self.length_logits(extra, looks, len(x)).log_softmax(-1).gather(1, m[:, None])[:, 0]

    def symbols(self, x: Tensor) -> Tensor:
        """How many symbols each sample has, (B,), its end not counted."""
        whole = torch.full((len(x),), x.shape[1], device=x.device)
        return (self.spec.mask(x) & (x != self.spec.end)).sum(1) if self.spec.variable else whole

    def length_logits(self, extra: Tensor | None, looks: list[Look] | None, rows: int) -> Tensor:
        """(B, 1 + L), of how many symbols a document has: what the network makes of the start symbol alone."""
        assert self.lengths is not None
        return self.lengths(self.net.hidden(self.starts(rows), extra, looks)[:, 0]).float()

    def tell(self, extra: Tensor | None, looks: list[Look] | None, x: Tensor, m: Tensor, times: int = 1) -> Tensor:
        """Logits (times B, L, V) of the places of x (B, L), of which those that are hidden read as a blank."""
        blank, end = self.spec.vocab + 1, self.spec.end
        x, m = x.masked_fill(x == any_order.HIDDEN, blank).repeat(times, 1), m.repeat(times)
        seen = F.pad(any_order.there(x, m), (1, 0), value=True)
        logits = self.net(torch.cat((self.starts(len(x)), x), 1), extra, looks, seen)[:, 1:].float()
        if self.spec.variable:
            logits = logits.index_fill(-1, torch.tensor([end], device=logits.device), -torch.inf)
        return logits if self.barrier is None else logits + self.barrier[: x.shape[1]]

    def sample(self, cond: Cond, rng: Rng, options: Options) -> Tensor:
        """(n, T): documents are padded with `end`; streams are the prefix and `length` symbols more."""
        if self.masked:
            return self.filled(cond.to(self.device), rng, options)
        return ancestral.sampled(self.stream(cond, rng, options), self.spec, options)

    def stream(self, cond: Cond, rng: Rng, options: Options) -> Iterator[Tensor]:
        """The columns of `sample`, (n,) each, as soon as they are there; ends when every row has ended."""
        if self.masked:
            return iter(self.sample(cond, rng, options).unbind(1))
        if options.fill:
            raise UserError("filling in needs a run that was trained with --set objective=masked")
        cond, rows = self.guided(cond, rng.n, options)
        with torch.inference_mode():
            extra, memory = self.extra(cond), self.memory(cond, rows)
        source = None if self.source is None or memory is None else (self.source.crossings, memory)
        following = partial(self.next_logits, Decoding(self.net, rows, extra, source))
        return ancestral.columns(following, self.spec, rng, options, self.device)

    def next_logits(self, decoding: Decoding, columns: list[Tensor]) -> Tensor:
        """Logits after `columns`. Where the context is full, its last half is read anew after a start."""
        rows, L = decoding.rows, self.spec.length
        if decoding.t and not decoding.full:
            return decoding.step(columns[-1].repeat(rows // len(columns[-1])))
        read = columns if len(columns) < L else columns[len(columns) - L // 2 :]
        return decoding.start(torch.stack([self.starts(rows)[:, 0]] + [c.repeat(rows // len(c)) for c in read], 1))

    def guided(self, cond: Cond, rows: int, options: Options) -> tuple[Cond, int]:
        """What is asked for, twice where guidance compares it with nothing, and how many rows that is."""
        if options.guidance == 1 or cond == Cond():
            return cond, rows
        return conds.both(cond), 2 * rows

    @torch.inference_mode()
    def filled(self, cond: Cond, rng: Rng, options: Options) -> Tensor:
        """Samples (n, T) in an order of chance, around the prefix or the symbols of `fill` that are given."""
        spec, L, given = self.spec, self.spec.length, options.fill or options.prefix
        total = min(ancestral.total(spec, options), self.room(options))
        cond, rows = self.guided(cond, rng.n, options)
        extra, looks = self.extra(cond), self.ways(self.memory(cond, rows))
        x = torch.full((rng.n, L), any_order.HIDDEN, device=self.device)
        x[:, : len(given)] = torch.tensor(given, dtype=torch.long, device=self.device)
        m, u = torch.full((rng.n,), total, device=self.device), rng.uniform().to(self.device)
        if options.fill and spec.variable:
            m = torch.full_like(m, len(given))
        elif spec.variable:
            logits = self.length_logits(extra, looks, rows)
            if rows > rng.n:
                asked, free = logits.chunk(2)
                logits = free + options.guidance * (asked - free)
            sizes = torch.arange(L + 1, device=self.device)
            m = choose(logits.masked_fill((sizes < len(given)) | (sizes > total), -torch.inf), u, options)
        x = any_order.filled(
            partial(self.tell, extra, looks, times=rows // rng.n), x, m, rng, options, self.spec.unseen
        )
        return torch.where(any_order.there(x, m), x, spec.end or 0)[:, :total]

    def room(self, options: Options) -> int:
        """Columns that a masked sample can have. Raises UserError for what it cannot be."""
        L, fill = self.spec.length, options.fill
        if fill and options.prefix:
            raise UserError("give a prefix or symbols to fill in, not both")
        barred = self.spec.end if self.spec.variable else None
        if any(not -1 <= symbol < self.spec.vocab or symbol == barred for symbol in fill):
            raise UserError(f"what is to be filled in holds a symbol outside 0 ... {self.spec.vocab - 1}")
        if max(len(fill), len(options.prefix) + (options.length or 0)) > L:
            raise UserError(f"a masked sample has at most {L} symbols; ask for fewer")
        return L

    def notices(self, losses: dict[str, float]) -> list[tuple[str, str]]:
        """Texts that go on telling nothing about the samples."""
        told = next((value for name, value in losses.items() if name.endswith("/told")), None)
        if told is None or not self.config.drop:
            return []
        steps, mean = self.told.tolist()
        self.told.copy_(torch.tensor([steps + 1, mean + (told - mean) * max(1 / (steps + 1), 0.05)]))
        if steps + 1 < PATIENCE or float(self.told[1]) > FAINT:
            return []
        text = (
            f"the texts tell nothing about the samples (under {FAINT} nats a symbol). Look whether each belongs to its "
            "sample, such as source and target of one row; if it does, train longer or on more of them."
        )
        return [("text-ignored", text)]

    @classmethod
    def presets(cls, spec: Tokens) -> list[Preset]:
        """Sizes in tokens: (width, depth, heads, a batch, how many before it beats the size below). Batches are large
        enough for Muon: see PAYS."""
        sizes = [
            (64, 4, 2, 800, 0),
            (128, 4, 4, 800, 100_000),
            (192, 6, 6, 1_500, 800_000),
            (256, 8, 4, 2_000, 3_000_000),
            (384, 8, 6, 4_000, 10_000_000),
            (512, 10, 8, 8_000, 40_000_000),
        ]
        return [
            Preset.of_tokens(spec, Config(width=w, depth=d, heads=h, places=whole(spec)), tokens, need)
            for w, d, h, tokens, need in sizes
        ]

    @classmethod
    def for_data(cls, spec: Spec, samples: int) -> dict[str, Any]:
        """AdamW where batches of so few samples hold too few symbols for Muon at the smallest width."""
        most = max(8, 2 ** (samples.bit_length() - 1))
        return {} if most * spec.dims >= PAYS * 64 else {"optimizer": "adamw"}

    @classmethod
    def toy(cls, spec: Tokens) -> Config:
        return Config(width=32, depth=2, heads=2, places=whole(spec))


def whole(spec: Tokens) -> bool:
    """Whether all samples have one length, so that each place has a meaning of its own."""
    return not (spec.stream or spec.variable)


def saved(nll: Tensor, symbols: Tensor, seen: Tensor | None) -> Tensor:
    """Mean nats a symbol of samples whose text was hidden, less that of the others; 0 where a batch lacks either."""
    asked = torch.zeros_like(symbols, dtype=torch.bool) if seen is None else seen.any(1)
    if not asked.any() or asked.all():
        return torch.zeros_like(nll[0])
    hidden, known = (nll[rows].sum() / symbols[rows].sum() for rows in (~asked, asked))
    return hidden - known
