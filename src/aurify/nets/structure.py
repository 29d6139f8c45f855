"""The structure of a Bayesian network from complete rows: the likeliest tree, and a search among all graphs.

    I(i, j) = sum_ab p(a, b) log (p(a, b) / p(a) p(b))          the tree with the largest sum of I over its arcs is the
                                                                  likeliest of all trees (Chow & Liu 1968)
    score(G) = sum_i s(i, pa_i), the greater the better, with N_jk rows whose parents have values j and child value k

    s BIC    = sum_jk N_jk log (N_jk / N_j) - log(n) / 2 q (r - 1)                                    (Schwarz 1978)
    s BDeu   = sum_j [log G(a/q) - log G(a/q + N_j) + sum_k log G(a/qr + N_jk) - log G(a/qr)]
                                                                             (Heckerman et al. 1995, Eq. 28)

The search adds, removes and reverses arcs, always by the best change that leads to a graph it has not met; so it walks
over plateaus and out of small hollows (tabu search, Glover 1989). It starts from the tree and from nothing.
"""

# n rows, V variables; q joint values of the parents of a variable, r of its own

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int

Parents = tuple[tuple[int, ...], ...]  # of each variable, in ascending order
Score = Literal["bic", "bdeu"]

CELLS = 2**20  # of one variable's table
PATIENCE = 12  # changes in a row that bring nothing better
NOTHING = 1e-9  # nats of mutual information that are rounding


@dataclass(frozen=True)
class Rows:
    """Complete rows: values (V, n) of variables with so many values each. `roots` have no parents."""

    x: Int[np.ndarray, "V n"]
    sizes: tuple[int, ...]
    roots: frozenset[int] = field(default_factory=frozenset)

    @property
    def n(self) -> int:
        return self.x.shape[1]

    def counts(self, child: int, parents: Sequence[int]) -> Float[np.ndarray, "q r"] | None:
        """N_jk; None where the table has too many cells."""
        q, r = int(np.prod([self.sizes[p] for p in parents], dtype=np.float64)), self.sizes[child]
        if q * r > CELLS:
            return None
        code = np.zeros(self.n, np.int64)
        for p in parents:
            code = code * self.sizes[p] + self.x[p]
        return np.bincount(code * r + self.x[child], minlength=q * r).reshape(q, r).astype(float)


def information(rows: Rows) -> Float[np.ndarray, "V V"]:
    """I(i, j) in nats; 0 on the diagonal."""
    V = len(rows.sizes)
    found = np.zeros((V, V))
    for i in range(V):
        for j in range(i):
            if (joint := rows.counts(i, [j])) is not None:
                p = joint / rows.n
                independent = p.sum(1, keepdims=True) * p.sum(0)
                with np.errstate(divide="ignore", invalid="ignore"):
                    found[i, j] = found[j, i] = np.where(p > 0, p * np.log(p / independent), 0).sum()
    return found


def tree(rows: Rows) -> Parents:
    """The likeliest tree, rooted at the first of the roots (else at variable 0), by Prim's algorithm. Variables that
    tell nothing of any other stay alone."""
    I = information(rows)  # noqa: E741
    V, first = len(rows.sizes), min(rows.roots, default=0)
    parents: list[tuple[int, ...]] = [()] * V
    inside, near, gain = {first}, np.full(V, first), I[first].copy()
    for _ in range(V - 1):
        gain[list(inside)] = -1
        j = int(gain.argmax())
        if gain[j] > NOTHING:
            parents[j] = (int(near[j]),)
        inside.add(j)
        nearer = I[j] > gain
        near[nearer], gain[nearer] = j, I[j][nearer]
    return tuple(parents)


def search(rows: Rows, score: Score, most: int, prior: float = 1.0) -> Parents:
    """The best graph found with at most so many parents a variable; `prior`: a of BDeu, its equivalent sample size."""
    found = [Climb(rows, score, most, prior).run(start) for start in (tree(rows), ((),) * len(rows.sizes))]
    return max(found, key=lambda f: f[0])[1]


class Climb:
    """One search from one start."""

    def __init__(self, rows: Rows, score: Score, most: int, prior: float):
        self.rows, self.score, self.most, self.prior = rows, score, most, prior
        self.of = lru_cache(maxsize=None)(self.family_score)

    def family_score(self, child: int, parents: tuple[int, ...]) -> float:
        """s(i, pa_i); minus infinity where the table would be too large."""
        N = self.rows.counts(child, parents)
        return -np.inf if N is None else (bic(N) if self.score == "bic" else bdeu(N, self.prior))

    def total(self, graph: Parents) -> float:
        return sum(self.of(i, parents) for i, parents in enumerate(graph))

    def run(self, start: Parents) -> tuple[float, Parents]:
        graph, best, seen, waited = start, (self.total(start), start), {start}, 0
        adds, drops = self.gains(graph, range(len(graph)), None)
        while waited < PATIENCE:
            after = self.best_change(graph, adds, drops, seen)
            if after is None:
                break
            changed = [i for i in range(len(graph)) if after[i] != graph[i]]
            graph = after
            seen.add(graph)
            adds, drops = self.gains(graph, changed, (adds, drops))
            waited += 1
            if (reached := self.total(graph)) > best[0] + 1e-6:
                best, waited = (reached, graph), 0
        return best

    def gains(
        self, graph: Parents, children: Sequence[int], known: tuple[np.ndarray, np.ndarray] | None
    ) -> tuple[Float[np.ndarray, "V V"], Float[np.ndarray, "V V"]]:
        """What adding arc i -> j gains, [i, j], and what removing it does; minus infinity where that cannot be."""
        V = len(graph)
        adds, drops = known or (np.full((V, V), -np.inf), np.full((V, V), -np.inf))
        for j in children:
            now, mine = self.of(j, graph[j]), graph[j]
            adds[:, j] = drops[:, j] = -np.inf
            for i in range(V):
                if i in mine:
                    drops[i, j] = self.of(j, without(mine, i)) - now
                elif i != j and j not in self.rows.roots and len(mine) < self.most:
                    adds[i, j] = self.of(j, with_one(mine, i)) - now
        return adds, drops

    def best_change(self, graph: Parents, adds: np.ndarray, drops: np.ndarray, seen: set[Parents]) -> Parents | None:
        """The graph after the change that gains most, or loses least, of those that lead to one not yet seen."""
        V, path = len(graph), paths(graph)
        adding = np.where(path.T, -np.inf, adds)  # no way back from j to i
        turning = np.where(detours(graph, path), -np.inf, drops + adds.T)
        gains = np.round(np.concatenate([adding, drops, turning]), 6)  # equal scores in the order of the variables
        for place in np.argsort(-gains, axis=None, kind="stable"):
            kind, i, j = int(place) // V // V, int(place) // V % V, int(place) % V
            if not np.isfinite(gains[kind * V + i, j]):
                return None
            after = list(graph)
            after[j] = with_one(graph[j], i) if kind == 0 else without(graph[j], i)
            if kind == 2:
                after[i] = with_one(graph[i], j)
            if tuple(after) not in seen:
                return tuple(after)
        return None


def with_one(parents: tuple[int, ...], i: int) -> tuple[int, ...]:
    return tuple(sorted((*parents, i)))


def without(parents: tuple[int, ...], i: int) -> tuple[int, ...]:
    return tuple(p for p in parents if p != i)


def bic(N: Float[np.ndarray, "q r"]) -> float:
    each = N.sum(1, keepdims=True)
    fit = (N * np.log(np.where(N > 0, N / np.maximum(each, 1), 1))).sum()
    return float(fit - np.log(max(N.sum(), 1)) / 2 * N.shape[0] * (N.shape[1] - 1))


def bdeu(N: Float[np.ndarray, "q r"], a: float) -> float:
    q, r = N.shape
    N = N[N.sum(1) > 0]  # the others give zero
    G = lambda v: torch.lgamma(torch.as_tensor(v, dtype=torch.float64)).numpy()  # noqa: E731
    rows = G(a / q) - G(a / q + N.sum(1))
    return float(rows.sum() + (G(a / q / r + N) - G(a / q / r)).sum())


def paths(graph: Parents) -> np.ndarray:
    """[i, j]: whether a way along the arcs leads from i to j."""
    V = len(graph)
    reach = np.zeros((V, V), bool)
    for j in topological(graph):
        for p in graph[j]:
            reach[:, j] |= reach[:, p]
            reach[p, j] = True
    return reach


def detours(graph: Parents, path: np.ndarray) -> np.ndarray:
    """[i, j]: whether a way leads from i to j besides the arc i -> j: turning that arc would close a circle."""
    found = np.zeros_like(path)
    for j, parents in enumerate(graph):
        for p in parents:
            found[:, j] |= path[:, p]
    return found


def topological(graph: Parents) -> list[int]:
    """Parents before children, else in ascending order.

    Raises:
        ValueError: the arcs go round in a circle.
    """
    placed: list[int] = []
    while len(placed) < len(graph):
        ready = [i for i, parents in enumerate(graph) if i not in placed and set(parents) <= set(placed)]
        if not ready:
            raise ValueError("the arcs go round in a circle")
        placed += ready
    return placed
