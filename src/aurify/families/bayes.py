"""A Bayesian network over the columns of a row: each depends on a few others, its parents.

    p(x) = prod_i p(x_i | x_pa_i)                  theta_i[j, k] = log p(x_i = k | the parents' j-th values)

The graph is learned once, before the first step (nets/structure.py). For complete rows the gradient of log p(x) in
theta is the count N_jk of each event, so backward() counts, and a step of the optimizer (counting.py) gives the tables

    p(x_i = k | j) = (N_jk + a / qr) / (N_j + a / q)             the Dirichlet prior of BDeu (Heckerman et al. 1995)

A label is one more variable, without parents; where it is not known it is summed over, and counts are expected ones.
Given any columns, the others are drawn exactly (nets/elimination.py).

    B rows, L columns, V variables: the columns and, where there are labels, the label; K labels
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import BaseModel, Field
from torch import Tensor, nn

from aurify.cond import Cond, CondSpec
from aurify.counting import WANTS, Counting
from aurify.errors import UserError
from aurify.family import Family, Params, Phase, Preset
from aurify.nets import graph_drawing, structure
from aurify.nets.elimination import Factor, Network, draw, log_evidence, posterior
from aurify.nets.structure import Parents, Score
from aurify.rng import Rng
from aurify.spec import Tokens

CELLS = 2**25  # of all tables
WIDE, WIDEST = 64, 512  # columns up to which graphs are searched, and trees are found
BATCH = 8192  # rows counted at a time


class Config(BaseModel, frozen=True, extra="forbid"):
    structure: Literal["auto", "search", "tree", "chain", "none"] = Field(
        default="auto",
        description="search: among all graphs; tree: the likeliest one; chain: each column on the one before; none: "
        "every column alone; auto: search to 64 columns, tree to 512, chain beyond and for texts",
    )
    score: Score = Field(default="bdeu", description="what the search goes by: bdeu, or bic, which grants fewer arcs")
    parents: int = Field(default=3, ge=1, le=8, description="most parents of a column in a search")
    prior: float = Field(default=1.0, gt=0, description="rows that the even prior of each table is worth")
    edges: tuple[tuple[int, int], ...] | None = Field(
        default=None, description="arcs (parent, child) by column, from 0; the label comes last; learned where left out"
    )
    rows: int = Field(default=1000, ge=1, description="training rows, which the prior is weighed against; counted")


class Options(BaseModel, frozen=True, extra="forbid"):
    given: dict[int, int] = Field(default={}, description="known columns, {column: symbol}; of a table: --given")


class Bayes(Family):
    """A Bayesian network on Tokens; see the module's equations. Of documents what follows the first end is cut off."""

    kind = Tokens
    Config = Config
    Options = Options
    chunk = 64
    wants: ClassVar[dict[str, Any]] = {**WANTS, "decay": "none"}
    studies = 20_000
    passes = 10  # one is enough for complete rows; expected counts of labels that are not known settle meanwhile
    spec: Tokens
    config: Config

    def __init__(self, spec: Tokens, cond: CondSpec, config: Config):
        super().__init__(spec, cond, config)
        self.sizes = sizes_of(spec, cond)
        self.parents = graph(config, len(self.sizes), spec.length)
        q = [math.prod(self.sizes[p] for p in of) for of in self.parents]
        self.cells = sum(a * b for a, b in zip(q, self.sizes, strict=True))
        if self.cells > CELLS:
            raise UserError(
                f"the tables of this network would have {self.cells:,} cells, and {CELLS:,} are the most: take fewer "
                "symbols (of a table --set bins=8, of texts --set unit=characters), --set structure=none, or another "
                "family, such as transformer"
            )
        self.theta = nn.ParameterList(torch.full(qr, 1 / qr[1]).log() for qr in zip(q, self.sizes, strict=True))

    def phases(self) -> list[Phase]:
        return [Phase("count", list(self.parameters()), self.optimizer)]

    def optimizer(self, params: Params) -> torch.optim.Optimizer:
        """The mean of all batches; the prior of each cell is a / qr rows, in units of the loss."""
        unit = self.config.prior / self.config.rows / len(self.sizes)
        return Counting([{"params": [p], "prior": unit / p.numel()} for p in params], power=1.0)  # pyright: ignore[reportArgumentType]

    def loss(self, x: Tensor, cond: Cond, phase: str, rng: Rng) -> dict[str, Tensor]:
        """Mean nats a variable of complete rows: of documents all that follows the end is told too."""
        x, units = self.whole(x), torch.tensor(float(x.shape[0] * len(self.sizes)))
        theta = list(self.theta)
        if not self.cond.width:
            log_p = joint(theta, self.parents, x)
        else:
            asked, free, label = self.labelled(cond, len(x))
            known = torch.cat([x[asked], label[asked, None]], 1)
            log_p = torch.cat([joint(theta, self.parents, known), self.over_labels(theta, x[free]).logsumexp(1)])
        return {"loss": -log_p.sum() / units, "weight": units}

    def whole(self, x: Int[Tensor, "B T"]) -> Int[Tensor, "B L"]:
        """Documents padded with `end` to the full length."""
        return F.pad(x, (0, self.spec.length - x.shape[1]), value=self.spec.end or 0)

    def labelled(self, cond: Cond, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """Which rows have a label, which have none, and the label of each, (B,)."""
        vector = torch.zeros(rows, self.cond.width) if cond.vector is None else cond.vector
        vector = vector.to(self.device)
        asked = vector.sum(1) > 0
        return asked.nonzero()[:, 0], (~asked).nonzero()[:, 0], vector.argmax(1)

    def over_labels(self, theta: Sequence[Tensor], x: Int[Tensor, "B L"]) -> Float[Tensor, "B K"]:
        """log p(x, y) for every label y."""
        K = self.cond.width
        label = torch.arange(K, device=x.device).expand(len(x), K)
        rows = torch.cat([x[:, None].expand(-1, K, -1), label[..., None]], 2).flatten(0, 1)
        return joint(theta, self.parents, rows).unflatten(0, (len(x), K))

    @torch.no_grad()
    def log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """Exact, in float64; of a document all that could follow its end is summed over."""
        net, evidence, found = self.network(), self.evidence(cond, len(x)), None
        for last in self.spec.mask(x).sum(1).unique().tolist():
            rows = (self.spec.mask(x).sum(1) == last).nonzero()[:, 0]
            known = {i: x[rows, i] for i in range(last)}
            mine = [Factor(f.scope, f.table[rows]) for f in evidence]
            log_p = log_evidence(net, known, mine)
            if mine:  # p(x, y) / p(y) where y is asked for
                log_p = log_p - log_evidence(net, {}, mine)
            found = log_p.new_zeros(len(x)) if found is None else found
            found[rows] = log_p
        assert found is not None, "no rows"
        return found

    def network(self) -> Network:
        """The distributions as tables of a network, in float64."""
        tables = [
            wide(t.detach()).softmax(-1).reshape(*(self.sizes[p] for p in of), -1)
            for t, of in zip(self.theta, self.parents, strict=True)
        ]
        return Network(self.parents, tables)

    def evidence(self, cond: Cond, rows: int) -> list[Factor]:
        """What is asked of the label: one where it is the one asked for, or all where none is."""
        if not self.cond.width:
            return []
        vector = torch.zeros(rows, self.cond.width) if cond.vector is None else cond.vector
        vector = wide(vector.to(self.device))
        return [Factor((len(self.sizes) - 1,), torch.where(vector.sum(1, keepdim=True) > 0, vector, 1.0))]

    @torch.no_grad()
    def posterior(self, column: int, given: dict[int, Int[Tensor, " B"]], cond: Cond | None = None) -> Tensor:
        """p(x_column | given columns), (B, symbols), float64: exact, all questions at once."""
        rows = max((len(v) for v in given.values()), default=1)
        return posterior(self.network(), column, given, self.evidence(cond, rows) if cond else [])

    @torch.inference_mode()
    def sample(self, cond: Cond, rng: Rng, options: Options) -> Tensor:
        """Rows drawn exactly, given what is known."""
        given = {i: torch.tensor([k], device=self.device) for i, k in self.checked(options.given).items()}
        u = wide(rng.uniform(len(self.sizes)).to(self.device))
        x = draw(self.network(), given, self.evidence(cond, rng.n), u)[:, : self.spec.length]
        return torch.where(self.spec.mask(x), x, self.spec.end or 0)

    def checked(self, given: dict[int, int]) -> dict[int, int]:
        for column, symbol in given.items():
            if not (0 <= column < self.spec.length and 0 <= symbol < self.sizes[column]):
                raise UserError(f"there is no symbol {symbol} in column {column}: given needs {{column: symbol}}")
        return given

    def drawing(self, names: Sequence[str]) -> dict[str, str]:
        """The graph, by the ending of a file: words and SVG. `names`: of the columns; without them they are numbers."""
        known = list(names) or [str(i) for i in range(self.spec.length)]
        known += ["the label"] * (len(self.sizes) - len(known))
        return {".txt": graph_drawing.as_text(known, self.parents), ".svg": graph_drawing.as_svg(known, self.parents)}

    def notices(self, losses: dict[str, float]) -> list[tuple[str, str]]:
        """Tables with more cells than rows to fill them, and columns that nothing ties together."""
        found = []
        if self.cells > self.config.rows * len(self.sizes):
            text = (
                f"the tables have {self.cells:,} cells for {self.config.rows:,} rows: most were never met, and what "
                "they say is the prior. Give it more rows, fewer bins (--set bins=8) or --set parents=1."
            )
            found.append(("empty-tables", text))
        if len(self.sizes) > 1 and self.config.structure != "none" and not any(self.parents):
            text = (
                "no column was found to tell anything of another: each is drawn on its own. Give it more rows or fewer "
                "bins (--set bins=4)."
            )
            found.append(("no-arcs", text))
        return found

    @classmethod
    def presets(cls, spec: Tokens) -> list[Preset]:
        return [Preset(Config(), batch=BATCH, samples=0)]

    @classmethod
    def study(cls, config: Config, spec: Tokens, x: Tensor, cond: Cond, samples: int) -> Config:
        """The graph of these rows.

        Raises:
            UserError: too few rows, or nothing in them differs.
        """
        if samples < 2:
            raise UserError(
                "a single row tells nothing of others: give a table of some more, a few hundred are a start"
            )
        if bool((x == x[0]).all()):
            raise UserError("all rows are equal: there is nothing to learn; give data in which some column varies")
        kind = config.structure if config.structure != "auto" else fitting(spec)
        edges = learned(config, kind, spec, x, cond) if config.edges is None else config.edges
        return config.model_copy(update={"structure": kind, "edges": edges, "rows": samples})

    @classmethod
    def toy(cls, spec: Tokens) -> Config:
        return Config(structure="chain", rows=4, prior=0.1)


def joint(theta: Sequence[Tensor], parents: Parents, x: Int[Tensor, "B V"]) -> Float[Tensor, " B"]:
    """log p(x) = sum_i theta_i[j, k]: j from the parents' values, the first counting most, and k = x_i."""
    total = x.new_zeros(len(x), dtype=theta[0].dtype)
    for i, (table, of) in enumerate(zip(theta, parents, strict=True)):
        j = torch.zeros_like(x[:, 0])
        for p in of:
            j = j * theta[p].shape[1] + x[:, p]
        total = total + table[j, x[:, i]]
    return total


def sizes_of(spec: Tokens, cond: CondSpec) -> tuple[int, ...]:
    """Symbols of each variable."""
    columns = spec.sizes or (spec.vocab,) * spec.length
    return (*columns, cond.width) if cond.width else columns


def graph(config: Config, variables: int, columns: int) -> Parents:
    """The parents of each variable.

    Raises:
        UserError: arcs that go round in a circle, or name a variable that is not there.
    """
    edges = config.edges
    if edges is None:
        edges = tuple((i, i + 1) for i in range(columns - 1)) if config.structure == "chain" else ()
        edges += tuple((columns, i) for i in range(columns) if variables > columns and config.structure == "chain")
    if any(not (0 <= p < variables and 0 <= c < variables) for p, c in edges):
        raise UserError(f"edges name a variable that is not there: the columns are 0 to {variables - 1}")
    parents = tuple(tuple(sorted({p for p, child in edges if child == i})) for i in range(variables))
    try:
        structure.topological(parents)
    except ValueError as error:
        raise UserError(f"edges cannot be a network: {error}") from None
    return parents


def fitting(spec: Tokens) -> Literal["search", "tree", "chain"]:
    """The structure that is affordable: texts have too many columns, and few places of their own."""
    if spec.end is not None or spec.length > WIDEST:
        return "chain"
    return "search" if spec.length <= WIDE else "tree"


def learned(config: Config, kind: str, spec: Tokens, x: Tensor, cond: Cond) -> tuple[tuple[int, int], ...] | None:
    """Arcs from data; None for structures that need none."""
    if kind in ("chain", "none"):
        return None
    columns = x.shape[1]
    sizes = spec.sizes or (spec.vocab,) * columns
    values, roots = x, frozenset[int]()
    if cond.vector is not None:
        labelled = cond.vector.sum(1) > 0
        values = torch.cat([x, cond.vector.argmax(1, keepdim=True)], 1)[labelled]
        sizes, roots = (*sizes, cond.vector.shape[1]), frozenset({columns})
    rows = structure.Rows(np.ascontiguousarray(values.cpu().numpy().T), sizes, roots)
    found = (
        structure.tree(rows) if kind == "tree" else structure.search(rows, config.score, config.parents, config.prior)
    )
    return tuple((p, i) for i, of in enumerate(found) for p in of)


def wide(x: Tensor) -> Tensor:
    """In float64, where the device has it."""
    return x if x.device.type == "mps" else x.double()
