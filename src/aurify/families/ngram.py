"""An n-gram model: the next symbol from how often it followed the same few symbols, smoothed as Kneser and Ney did.

    p_k(w | h) = [c(hw) - D(c(hw))] / C(h) + L(h) p_k-1(w | h'),   p_0 = 1 / V       (Chen & Goodman 1999, Section 3.1)

Training is one pass of counting, on the one loop: the loss of a batch is its code length under the counts so far, and
the optimizer's step adds the batch's strings to them. The gradient of a log-likelihood in log-probabilities is a count
(Eisner 2016); that of strings is sparse and grows, so backward() leaves it with the table instead of in `.grad`.

Every label has a book of strings of its own, which falls back on the book of all samples where others fall on 1 / V.

    B batch, T positions, N symbols, V alphabet, W = V + 1 with the mark that stands before each document
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import BaseModel, Field
from torch import Tensor, nn

from aurify import ancestral
from aurify.ancestral import Options, barrier
from aurify.cond import Cond, CondSpec
from aurify.family import Family, Params, Phase, Preset
from aurify.nets import kneser_ney
from aurify.nets.kneser_ney import Counts, Level, Roots, Text
from aurify.parallel import Group
from aurify.rng import Rng
from aurify.spec import Tokens

DOUBLED = 100  # strings of even counts, from which on a lack of odd ones says that the data was counted twice


class Config(BaseModel, frozen=True, extra="forbid"):
    order: int = Field(default=7, ge=1, le=16, description="symbols of the longest strings that are counted")


class Ngram(Family):
    """An interpolated modified Kneser-Ney model on Tokens; see the module's equation."""

    kind = Tokens
    Config = Config
    Options = Options
    chunk = 4
    wants = {"precision": "float32"}  # noqa: RUF012
    passes = 1
    spec: Tokens
    config: Config

    def __init__(self, spec: Tokens, cond: CondSpec, config: Config):
        super().__init__(spec, cond, config)
        self.unit = nn.Parameter(torch.zeros(()))  # log of what all probabilities sum to
        self.table = Table(spec, cond.width, config.order)

    def phases(self) -> list[Phase]:
        return [Phase("count", [self.unit], self.optimizer, gather=self.table.gather)]

    def optimizer(self, params: Params) -> torch.optim.Optimizer:
        return Adding(params, self.table)

    def loss(self, x: Tensor, cond: Cond, phase: str, rng: Rng) -> dict[str, Tensor]:
        """Mean nats a symbol under the counts so far; "weight" is how many symbols. `strings`: how many of the highest
        order are known; `odd`, `even`: how many of them were met 1 or 3, and 2 or 4 times."""
        n, rows = self.spec.mask(x).sum(), torch.cat((self.books(cond, len(x))[:, None], x.cpu()), 1)
        with torch.no_grad():
            nats = -self.log_probs(rows).sum().to(self.unit)
        total = _Coded.apply(self.unit, nats, n, lambda: self.table.fresh.append(rows))
        return {"loss": total / n, "weight": n, **self.table.sizes()}

    def log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """Exact, in float64, on the CPU. What follows the first `end` is certain."""
        return self.log_probs(torch.cat((self.books(cond, len(x))[:, None], x.cpu()), 1))

    def log_probs(self, rows: Int[Tensor, "B T1"]) -> Float[Tensor, " B"]:
        """log p of rows, each after the number of its book."""
        table, books, x = self.table, rows[:, 0], rows[:, 1:]
        everything = table.text(x, torch.zeros_like(books))
        p = table.base[everything.root, everything.symbols]
        for text in (everything, table.text(x, books.where(books > 0, -1))) if books.any() else (everything,):
            p = kneser_ney.probabilities(table.levels, text, table.width, p)
        row = torch.arange(len(x)).repeat_interleave(self.spec.mask(x).sum(1) + (table.mark >= 0))
        told = everything.symbols != table.mark
        return p.new_zeros(len(x)).index_add_(0, row[told], p[told].log())

    def books(self, cond: Cond, rows: int) -> Int[Tensor, " B"]:
        """Which book each row asks for: that of its label, 0 where nothing is asked."""
        if cond.vector is None or not self.cond.width:
            return torch.zeros(rows, dtype=torch.long)
        asked = cond.vector.cpu()
        return torch.where(asked.sum(1) > 0, asked.argmax(1) + 1, 0)

    def sample(self, cond: Cond, rng: Rng, options: Options) -> Tensor:
        """(n, T): documents are padded with `end`; streams are the prefix and `length` symbols more."""
        return ancestral.sampled(self.stream(cond, rng, options), self.spec, options).to(self.device)

    def stream(self, cond: Cond, rng: Rng, options: Options) -> Iterator[Tensor]:
        """The columns of `sample`, (n,) each, as soon as they are there, on the CPU."""
        books = self.books(cond, rng.n)
        if options.guidance != 1 and books.any():
            books = torch.cat((books, torch.zeros_like(books)))
        return ancestral.columns(Following(self.table, books), self.spec, rng, options)

    def notices(self, losses: dict[str, float]) -> list[tuple[str, str]]:
        """Data that was counted more than once: then nothing is rare, and what is new is thought less likely than it
        is."""
        odd, even = losses["count/odd"], losses["count/even"]
        if even < DOUBLED or 4 * odd > even:
            return []
        text = (
            "nearly all strings were met an even number of times: the data seems to have been counted twice, which an "
            "n-gram model takes for certainty. Train with fewer --steps, or leave the steps to the plan."
        )
        return [("counted-twice", text)]

    @classmethod
    def presets(cls, spec: Tokens) -> list[Preset]:
        """One: longer strings than the data holds often do no harm, they are only not used. A batch is some 64,000
        symbols, because each step costs what the table holds."""
        return [Preset(Config(order=7 if spec.vocab <= 512 else 5), max(4, 64_000 // spec.dims), 0)]

    @classmethod
    def toy(cls, spec: Tokens) -> Config:
        return Config(order=2)


class Table(nn.Module):
    """How often each string occurs, in buffers that grow and stay in main memory; the model of them is made when it is
    asked for.

    Book 0 holds the strings of all samples, book l + 1 those of label l. In tables of rows, each column has an empty
    string of its own, which says where one is.
    """

    def __init__(self, spec: Tokens, labels: int, order: int):
        super().__init__()
        self.spec, self.labels, self.order, self.width = spec, labels, order, spec.vocab + 1
        self.columns = spec.length if spec.sizes is not None else 1
        self.mark = spec.vocab if spec.sizes is None and not spec.stream else -1
        barred = barrier(spec)
        possible = torch.ones(1, spec.vocab) if barred is None else barred.exp()
        self.base = F.pad(possible.double() / possible.sum(1, keepdim=True), (0, 1))  # p_0; a mark is never an outcome
        for k in range(1, order + 1):
            self.register_buffer(f"codes_{k}", torch.zeros(0, dtype=torch.long))
            self.register_buffer(f"raw_{k}", torch.zeros(0, dtype=torch.long))
        self.fresh: list[Tensor] = []  # rows of a batch, each after its book: the gradient that waits for a step
        self._levels: tuple[Level, ...] | None = None

    @property
    def counts(self) -> Counts:
        ks = range(1, self.order + 1)
        return Counts(*(tuple(self.get_buffer(f"{name}_{k}") for k in ks) for name in ("codes", "raw")))

    @property
    def roots(self) -> Roots:
        root = torch.arange((self.labels + 1) * self.columns)
        column = root % self.columns
        tabular = self.spec.sizes is not None
        follow = torch.where(column < self.columns - 1, root + 1, root) if tabular else root
        return Roots(follow, (column == 0) & tabular, (root >= self.columns).long())

    @property
    def levels(self) -> tuple[Level, ...]:
        if self._levels is None:
            self._levels = kneser_ney.levels(self.counts, self.width, self.roots, self.mark)
        return self._levels

    def text(self, x: Int[Tensor, "B T"], books: Int[Tensor, " B"]) -> Text:
        """The rows up to their ends, one after another, in a book each; -1: in none."""
        mask = self.spec.mask(x)
        if self.mark >= 0:
            x, mask = F.pad(x, (1, 0), value=self.mark), F.pad(mask, (1, 0), value=True)
        place = torch.arange(x.shape[1]).expand_as(x)
        root = books[:, None] * self.columns + (place if self.columns > 1 else 0)
        root = torch.where(books[:, None] >= 0, root, -1).expand_as(x)
        return Text(x[mask], place[mask], root[mask])

    def add(self, rows: Int[Tensor, "B T1"]) -> None:
        """Counts rows, each after the number of its book, and in the book of all."""
        books, x = rows[:, 0], rows[:, 1:]
        for chosen, book in ((x, torch.zeros_like(books)), (x[books > 0], books[books > 0])):
            if len(chosen):
                new = kneser_ney.count(self.text(chosen, book), self.order, self.width, self.mark)
                self._put(kneser_ney.merge(self.counts, new, self.width))

    def gather(self, crew: Group) -> None:
        """The fresh rows of all processes in each of them."""
        if crew.size > 1:
            self.fresh = [of_all(crew, torch.cat(self.fresh or [torch.zeros(0, 1, dtype=torch.long)]))]

    def _put(self, counts: Counts) -> None:
        for k, (codes, raw) in enumerate(zip(counts.codes, counts.raw, strict=True), 1):
            self._buffers[f"codes_{k}"], self._buffers[f"raw_{k}"] = codes, raw
        self._levels = None

    def sizes(self) -> dict[str, Tensor]:
        often = torch.bincount(self.counts.raw[-1].clamp_max(5), minlength=6).double()
        return {"strings": often.sum(), "odd": often[1] + often[3], "even": often[2] + often[4]}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:  # pyright: ignore
        """Takes tables of any size."""
        for name, mine in self._buffers.items():
            if mine is not None and (theirs := state_dict.get(prefix + name)) is not None:
                self._buffers[name] = mine.new_empty(theirs.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._levels = None

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "Table":
        return self  # look-ups in sorted lists gain nothing elsewhere


class Adding(torch.optim.Optimizer):
    """A step adds to the table what backward() left there since `zero_grad`."""

    def __init__(self, params: Params, table: Table):
        super().__init__(params, {"lr": 1.0})
        self.table = table

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        self.table.fresh.clear()

    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if self.table.fresh:
            self.table.add(torch.cat(self.table.fresh))


def of_all(crew: Group, rows: Int[Tensor, "n T"]) -> Int[Tensor, "m T_"]:
    """The rows of all processes, in their order."""
    shapes = rows.new_zeros(crew.size, 2)
    shapes[crew.rank] = torch.tensor(rows.shape)
    crew.sum_([shapes])
    before, whole = int(shapes[: crew.rank, 0].sum()), rows.new_zeros(int(shapes[:, 0].sum()), int(shapes[:, 1].max()))
    whole[before : before + len(rows), : rows.shape[1]] = rows
    crew.sum_([whole])
    return whole


class _Coded(torch.autograd.Function):
    """The code length of a batch. Its gradient in `unit` is the number of symbols; the strings go to `remember`."""

    @staticmethod
    def forward(ctx: Any, unit: Tensor, nats: Tensor, n: Tensor, remember: Callable[[], None]) -> Tensor:
        ctx.n, ctx.remember, ctx.dtype = n, remember, unit.dtype
        return nats.clone()

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.remember()
        return (-weight * ctx.n).to(ctx.dtype), None, None, None


class Following:
    """p(x_t | x_1 ... x_t-1) of growing rows."""

    def __init__(self, table: Table, books: Int[Tensor, " n"]):
        self.table, self.t = table, 0
        asked = torch.where(books > 0, books * table.columns, -1)
        self.contexts = [[torch.zeros_like(books)], *([[asked]] if books.any() else [])]
        if table.mark >= 0:
            self.read(torch.full_like(books, table.mark))

    def __call__(self, columns: list[Tensor]) -> Float[Tensor, "n V"]:
        """log p of the symbol after these columns; those of earlier calls are known by now."""
        rows = len(self.contexts[0][0])
        for x in columns[self.t :]:
            self.read(x.repeat(rows // len(x)))
            self.t += 1
        base = self.table.base
        p = base[min(self.t, len(base) - 1)].expand(rows, -1)
        for contexts in self.contexts:
            p = kneser_ney.following(self.table.levels, contexts, self.table.width, p)
        return p[:, :-1].clamp_min(torch.finfo(p.dtype).tiny).log()

    def read(self, x: Int[Tensor, " n"]) -> None:
        table, follow = self.table, self.table.roots.follow
        self.contexts = [kneser_ney.extended(table.levels, c, x, table.width, follow) for c in self.contexts]
