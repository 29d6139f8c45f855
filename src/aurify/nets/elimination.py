"""Exact inference in a Bayesian network, for many questions at once: variable elimination.

    p(x_E) = sum over what is hidden of prod_i p(x_i | x_pa_i)        one hidden variable after another is summed out of
                                                                        the tables that name it (Zhang & Poole 1994)

Backwards through the same tables ("buckets", Dechter 1999) the hidden variables are drawn exactly from p(x_H | x_E).
Only what is known, what is asked and the ancestors of both matter. The variable whose sum needs the smallest table
goes first.
"""

# B questions, V variables; the first axis of every table is that of the questions: B, or 1 where all share it

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from aurify.errors import UserError
from aurify.nets.structure import Parents, topological

CELLS = 2**26  # of one table, over all questions

Known = dict[int, Tensor]  # values of variables, int64 (B,), or (1,) where all questions share them


@dataclass(frozen=True)
class Factor:
    """A table over the variables of its scope, each an axis, after the axis of questions."""

    scope: tuple[int, ...]
    table: Float[Tensor, "b *values"]

    def at(self, known: Known) -> "Factor":
        """The table where these variables have these values."""
        axes = [k for k, v in enumerate(self.scope) if v in known]
        if not axes:
            return self
        rest = [k for k in range(len(self.scope)) if k not in axes]
        values = tuple(known[self.scope[k]] for k in axes)
        table = self.table.permute(0, *(1 + k for k in axes), *(1 + k for k in rest))
        shared = len(table) == 1
        table = table[0][values] if shared else table[(torch.arange(len(table), device=table.device), *values)]
        return Factor(tuple(self.scope[k] for k in rest), table)


@dataclass(frozen=True)
class Network:
    """p(x_i | x_pa_i) as tables (values of each parent..., values of i), float64."""

    parents: Parents
    tables: Sequence[Float[Tensor, "..."]]

    @cached_property
    def order(self) -> list[int]:
        return topological(self.parents)

    def factor(self, i: int) -> Factor:
        return Factor((*self.parents[i], i), self.tables[i][None])

    def ancestors(self, of: Iterable[int]) -> set[int]:
        """These variables and all that lie above them."""
        found = set(of)
        for i in reversed(self.order):
            found |= set(self.parents[i]) if i in found else set()
        return found


@dataclass(frozen=True)
class Eliminated:
    """For each variable that was summed out, in order, the tables that named it; what is left; and the logarithm of
    what was divided out, (b,)."""

    buckets: list[tuple[int, list[Factor]]]
    left: list[Factor]
    log_scale: Float[Tensor, " b"]


def eliminate(factors: list[Factor], hidden: set[int], sizes: Sequence[int]) -> Eliminated:
    """Sums the hidden variables out of a product of tables.

    Raises:
        UserError: a table would have more than CELLS cells.
    """
    buckets: list[tuple[int, list[Factor]]] = []
    log_scale, hidden = factors[0].table.new_zeros(1), set(hidden)
    rows = max(len(f.table) for f in factors)
    while hidden:
        scopes = {v: set().union(*(f.scope for f in factors if v in f.scope)) for v in sorted(hidden)}
        v = min(scopes, key=lambda v: math.prod(sizes[w] for w in scopes[v]))
        refuse_large(rows * math.prod(sizes[w] for w in scopes[v]))
        bucket = [f for f in factors if v in f.scope]
        message = product(bucket, tuple(sorted(scopes[v] - {v})))
        top = message.table.flatten(1).amax(1) if message.scope else message.table
        top = top.clamp_min(1e-300)
        scaled = message.table / top.reshape(-1, *[1] * len(message.scope))
        factors = [f for f in factors if v not in f.scope] + [Factor(message.scope, scaled)]
        log_scale = log_scale + top.log()
        buckets.append((v, bucket))
        hidden.remove(v)
    return Eliminated(buckets, factors, log_scale)


def refuse_large(cells: int) -> None:
    if cells > CELLS:
        raise UserError(
            f"this network is too entangled for an exact answer: it needs a table of {cells:,} cells, and {CELLS:,} "
            "are the most. Give fewer columns, or train with --set structure=tree or fewer --set bins"
        )


def product(factors: list[Factor], scope: tuple[int, ...]) -> Factor:
    """Their product, summed over all that is not in the scope."""
    place = {v: 1 + k for k, v in enumerate(sorted({v for f in factors for v in f.scope}))}
    parts = [part for f in factors for part in (f.table, [0, *(place[v] for v in f.scope)])]
    return Factor(scope, torch.einsum(*parts, [0, *(place[v] for v in scope)]))


def prepared(
    net: Network, known: Known, evidence: Sequence[Factor], asked: Iterable[int]
) -> tuple[list[Factor], set[int]]:
    """The tables that matter, at what is known, and the variables in them that are not."""
    relevant = net.ancestors({*known, *asked, *(v for f in evidence for v in f.scope)})
    factors = [net.factor(i).at(known) for i in net.order if i in relevant] + [f.at(known) for f in evidence]
    return factors, relevant - set(known)


def log_evidence(net: Network, known: Known, evidence: Sequence[Factor] = ()) -> Float[Tensor, " b"]:
    """log p(x_E); `evidence`: further tables that the product is multiplied with, such as what is half known."""
    factors, hidden = prepared(net, known, evidence, ())
    if not factors:
        return torch.zeros(1, dtype=torch.float64)
    done = eliminate(factors, hidden, sizes(net))
    total = done.log_scale
    for f in done.left:
        total = total + f.table.log()
    return total


def posterior(net: Network, query: int, known: Known, evidence: Sequence[Factor] = ()) -> Float[Tensor, "b r"]:
    """p(x_q | x_E) of each question."""
    factors, hidden = prepared(net, known, evidence, (query,))
    done = eliminate(factors, hidden - {query}, sizes(net))
    p = product(done.left, (query,)).table
    return p / p.sum(1, keepdim=True)


def draw(net: Network, known: Known, evidence: Sequence[Factor], u: Float[Tensor, "B V"]) -> Int[Tensor, "B V"]:
    """Rows from p(x | x_E), exactly: column i is where u_i falls in the distribution of variable i."""
    factors, hidden = prepared(net, known, evidence, ())
    buckets = eliminate(factors, hidden, sizes(net)).buckets if hidden else []
    drawn = {v: value.expand(len(u)) for v, value in known.items()}
    for v, bucket in reversed(buckets):
        drawn[v] = choose(product([f.at(drawn) for f in bucket], (v,)).table, u[:, v])
    for i in net.order:
        if i not in drawn:
            drawn[i] = choose(net.factor(i).at(drawn).table, u[:, i])
    return torch.stack([drawn[i] for i in range(len(net.tables))], 1)


def choose(p: Float[Tensor, "b r"], u: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
    """The first value whose cumulative share exceeds u."""
    upto = p.expand(len(u), -1).cumsum(1)
    at = torch.searchsorted(upto, u[:, None].to(upto) * upto[:, -1:], right=True)[:, 0]
    return at.clamp_max(p.shape[1] - 1)


def sizes(net: Network) -> list[int]:
    return [table.shape[-1] for table in net.tables]
