"""Squared distances between the samples of two sets: quickly, and wrong by no more than `margin`.

    |x - y|^2 = |x|^2 + |y|^2 - 2 x y      x ~ s c,  c whole numbers of 8 bits, s = max_f |x_f| / 127

    in float32   wrong by rounding alone, `slack` (|x|^2 + |y|^2)
    in 8 bits    besides by 2 (|x - s c| |s' c'| + |x| |y - s' c'|), as Cauchy and Schwarz have it

Processors with instructions for neural networks (VNNI) multiply numbers of 8 bits about four times as fast as float32,
and sum them exactly.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from aurify.evaluate.kernels import parts

WHOLE = 127  # the greatest number of 8 bits
THINNER = 16  # of the rows that are multiplied at a time, the share looked at at a time: it stays in the cache
SAFE = 1.001  # for the rounding of norms and residuals themselves


class Coarse(NamedTuple):
    """Samples about a centre in float32, |x|^2 and, where `codes` are not empty, what they are in 8 bits."""

    x: Float[Tensor, "n F"]
    norm: Float[Tensor, " n"]
    codes: Int[Tensor, "n B"]
    step: Float[Tensor, " n"]
    lost: Float[Tensor, " n"]

    @classmethod
    def of(cls, x: Float[Tensor, "n F"]) -> "Coarse":
        x = x.float()
        none = x.new_zeros(len(x))
        return cls(x, x.square().sum(1), torch.zeros(len(x), 0, dtype=torch.int8), none, none)

    def in_bytes(self) -> "Coarse":
        step = (self.x.abs().amax(1) / WHOLE).clamp_min(torch.finfo(torch.float32).tiny)
        whole = (self.x / step[:, None]).round_()
        lost = (self.x - whole * step[:, None]).norm(dim=1)
        return self._replace(codes=whole.to(torch.int8), step=step, lost=lost)

    def part(self, rows: slice) -> "Coarse":
        return Coarse(*(t[rows] for t in self))


def multiplies_bytes() -> bool:
    """Whether the processor has instructions for them; without, torch's sums may overflow."""
    return torch.cpu._is_vnni_supported()


def tiles(a: Coarse, b: Coarse) -> Iterator[tuple[slice, Float[Tensor, "t m"]]]:
    """Rows of a and their distances to all of b: multiplied of many rows at a time, given out of few."""
    across = b.codes.T.contiguous()
    for rows in parts(len(a.x), len(b.x)):
        here = a.part(rows)
        whole = here.codes.shape[1] > 0
        d = torch._int_mm(here.codes, across) if whole else products(here.x, b.x, here.norm, b.norm)
        for few in parts(len(d), THINNER * len(b.x)):
            yield (
                slice(rows.start + few.start, rows.start + few.stop),
                scaled(d[few], here.part(few), b) if whole else d[few],
            )


def scaled(sums: Int[Tensor, "t m"], a: Coarse, b: Coarse) -> Float[Tensor, "t m"]:
    """|x|^2 + |y|^2 - 2 s s' c c'."""
    return torch.mul(sums, b.step).mul_(-2 * a.step[:, None]).add_(b.norm).add_(a.norm[:, None])


def products(x: Tensor, y: Tensor, x2: Tensor, y2: Tensor) -> Float[Tensor, "n m"]:
    """|x|^2 + |y|^2 - 2 x y, by NumPy's product: a tenth faster than torch's on processors of AMD."""
    return torch.from_numpy((x * -2).numpy() @ y.numpy().T).add_(y2).add_(x2[:, None])


def of_pairs(a: Coarse, i: Tensor, b: Coarse, j: Tensor) -> Float[Tensor, " p"]:
    """In float32, of the pairs (i, j)."""
    pieces = parts(len(i), 8 * a.x.shape[1])
    dots = torch.cat([(a.x[i[p]] * b.x[j[p]]).sum(1) for p in pieces] or [a.norm.new_zeros(0)])
    return a.norm[i] + b.norm[j] - 2 * dots


def slack(F: int) -> float:
    """Rounding in float32, relative to |x|^2 + |y|^2: u (4 sqrt(F) + 16), u = 2^-24.

    A sum of F rounded products errs by more than 4 sqrt(F) u once in thousands of millions of pairs (Higham & Mary
    2019, Theorem 2.4).
    """
    return 2.0**-24 * (4 * math.sqrt(F) + 16)


def rounding(a: Coarse, b: Coarse) -> Float[Tensor, " n"]:
    """By how much a distance of each of a to any of b may be wrong in float32, float64."""
    return slack(a.x.shape[1]) * (a.norm + b.norm.max()).double()


def margin(a: Coarse, b: Coarse) -> Float[Tensor, " n"]:
    """The same of what `tiles` gives."""
    reach = (b.norm.sqrt() + b.lost).max()
    return rounding(a, b) + 2 * SAFE * (a.lost * reach + a.norm.sqrt() * b.lost.max()).double()
