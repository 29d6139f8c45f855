"""Column by column, and pair by pair: how far the samples of a table are from real ones.

TV = 1/2 sum_v |p(v) - q(v)|        total variation between the shares of each value, or of each pair of values
"""

# n and m samples, C columns

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from aurify.evaluate.samples import Samples
from aurify.evaluate.sources import Real

NAMED = 3  # columns and pairs that a sentence names
WIDEST = 40  # columns of which all pairs are looked at


@dataclass(frozen=True)
class Apart:
    """One column, or two, in words; its distance to real samples, and that of other real samples in their place."""

    name: str
    made: float
    real: float


def column_distances(
    made: Samples, real: Real, parts: Sequence[int], names: Sequence[str]
) -> tuple[list[Apart], list[Apart]]:
    """Of columns and of pairs, the farthest first; equal numbers of samples on each side."""
    n = min(len(made), real.most)
    everyone = torch.cat([s.grid[:n] for s in (made, real.reference, real.fresh)])
    ours, reference, fresh = values(everyone, parts).split(n)
    single = [Apart(name, *(tv(s[:, [j]], reference[:, [j]]) for s in (ours, fresh))) for j, name in enumerate(names)]
    double = [
        Apart(f"{names[i]} and {names[j]}", *(tv(s[:, [i, j]], reference[:, [i, j]]) for s in (ours, fresh)))
        for i, j in combinations(range(len(names)), 2)
        if len(names) <= WIDEST
    ]
    return sorted(single, key=beyond), sorted(double, key=beyond)


def beyond(apart: Apart) -> float:
    return apart.real - apart.made


def values(x: Float[Tensor, "n F"], parts: Sequence[int]) -> Int[Tensor, "n C"]:
    """A whole number for each different value of each column."""
    return torch.stack([torch.unique(part, dim=0, return_inverse=True)[1] for part in x.split(list(parts), 1)], 1)


def tv(a: Int[Tensor, "n c"], b: Int[Tensor, "m c"]) -> float:
    _, place = torch.unique(torch.cat([a, b]), dim=0, return_inverse=True)
    k = int(place.max()) + 1
    p, q = (torch.bincount(part, minlength=k).double() / len(part) for part in place.split([len(a), len(b)]))
    return float((p - q).abs().sum() / 2)


def sentences(single: list[Apart], double: list[Apart]) -> tuple[str, ...]:
    """The farthest ones."""
    told = []
    for kind, found in (("Columns", single), ("Pairs of columns", double)):
        named = "; ".join(f"{a.name} {a.made:.3f} (other real rows {a.real:.3f})" for a in found[:NAMED])
        if found:
            told.append(f"{kind} farthest from real ones, by total variation of their shares: {named}.")
    return tuple(told)
