"""Nearest neighbours within a set, and balls of one set that hold samples of the other, for many selections at once.

    r_i  the distance of x_i to its k-th nearest other sample of its own set       ball i = {y : |x_i - y| <= r_i}

Precision, recall, density and coverage count who is held by whose ball. Distances come from matrix products in float32
or, between the sets, in 8 bits, see `coarse`; whatever their error could change is computed again, at last in float64
without cancellation, so that counts are exact. A selection of samples (all but a block, or a half) has larger balls:
each sample keeps more than k neighbours, which tell by how much. Distances are squared throughout.

Memory beyond the features: their float32 copies and about 200 MB.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from aurify.evaluate.coarse import Coarse, margin, multiplies_bytes, of_pairs, products, rounding, slack, tiles
from aurify.evaluate.kernels import parts, squared_distances
from aurify.evaluate.remembered import remembered

K = 5  # Naeem et al. 2020
CLOSE, WIDE = K + 3, 32  # neighbours kept: of these 32, fewer than 5 are in a random half once in 10^5 samples
PAIRS = 1 << 16  # doubtful pairs settled at a time
BYTES = 512  # features from which on products of 8-bit numbers pay
TRIED, DOUBT = 64, 0.004  # balls tried beforehand; the share of doubtful pairs that costs what such products save
GROUP = 16  # columns of which the smallest is looked at first


class Nearest(NamedTuple):
    """The nearest other samples of each, by ascending distance; infinite where a nearer one may be missing."""

    distance: Float[Tensor, "n keep"]
    which: Int[Tensor, "n keep"]


class Side(NamedTuple):
    """One of the two sets: features, the same about a centre, who is in each selection, radii."""

    x: Float[Tensor, "n F"]
    coarse: Coarse
    kept: Float[Tensor, "n C"]
    radius: Float[Tensor, "n C"]

    def part(self, rows: slice) -> "Side":
        return Side(self.x[rows], self.coarse.part(rows), self.kept[rows], self.radius[rows])


class Neighbourhoods(NamedTuple):
    """Counts in each selection; those of samples that are not in it mean nothing.

    Attributes:
        holding: balls of real samples that hold made sample j.
        held: made samples that the ball of real sample i holds.
        reached: balls of made samples that hold real sample i.
    """

    holding: Float[Tensor, "m C"]
    held: Float[Tensor, "n C"]
    reached: Float[Tensor, "n C"]


@remembered
def neighbourhoods(
    real: Float[Tensor, "n F"], made: Float[Tensor, "m F"], left: Bool[Tensor, "n C"], right: Bool[Tensor, "m C"]
) -> Neighbourhoods:
    """Who is held by whose ball, in each of C selections: column c of `left` and `right` says who is in it."""
    centre = real.mean(0)
    a, b = in_bytes(side(real, centre, left), side(made, centre, right))
    found = Neighbourhoods(*(torch.zeros(len(s), left.shape[1]) for s in (made, real, real)))
    for rows, d in tiles(a.coarse, b.coarse):
        here = a.part(rows)
        held, holding = held_by(d, here, b)
        _, reached = held_by(d.T, b, here)
        found.held[rows], found.reached[rows] = held, reached
        found.holding.add_(holding)
    return found


def side(x: Float[Tensor, "n F"], centre: Float[Tensor, " F"], kept: Bool[Tensor, "n C"]) -> Side:
    return Side(x, Coarse.of(x - centre), kept.float(), radii(x, kept))


def in_bytes(a: Side, b: Side) -> tuple[Side, Side]:
    """Both with their 8-bit versions, where these are quick and leave few pairs in doubt."""
    if a.x.shape[1] < BYTES or not multiplies_bytes():
        return a, b
    quick = [s._replace(coarse=s.coarse.in_bytes()) for s in (a, b)]
    doubts = [doubt(quick[0], quick[1]), doubt(quick[1], quick[0])]
    return (quick[0], quick[1]) if max(doubts) < DOUBT else (a, b)


def doubt(a: Side, b: Side) -> float:
    """The share of pairs of which 8 bits do not tell whether b's sample lies in a's ball, from some of a's."""
    few = a.part(slice(0, None, -(-len(a.x) // TRIED)))
    d = products(few.coarse.x, b.coarse.x, few.coarse.norm, b.coarse.norm)
    off = (d - few.radius[:, :1]).abs()
    return float((off <= margin(few.coarse, b.coarse)[:, None]).double().mean())


def held_by(d: Float[Tensor, "n m"], centres: Side, points: Side) -> tuple[Tensor, Tensor]:
    """Points held by each ball (n, C), and balls that hold each point (m, C), from coarse distances."""
    wrong = margin(centres.coarse, points.coarse)
    sure = below(d, centres.radius.amin(1) - wrong)  # in every selection
    perhaps = below(d, centres.radius.amax(1) + wrong)
    held, holding = sure @ points.kept, sure.T @ centres.kept
    rows = (perhaps.sum(1) != sure.sum(1)).nonzero()[:, 0]
    row, column = (perhaps[rows] - sure[rows]).nonzero().unbind(1)
    for i, j in zip(rows[row].split(PAIRS), column.split(PAIRS), strict=True):
        inside = (surer(d[i, j].double(), centres, i, points, j)[:, None] <= centres.radius[i]).float()
        held.index_add_(0, i, inside * points.kept[j])
        holding.index_add_(0, j, inside * centres.kept[i])
    return held, holding


def surer(d: Float[Tensor, " p"], a: Side, i: Tensor, b: Side, j: Tensor) -> Float[Tensor, " p"]:
    """Distances of pairs (i, j), anew where their error could decide on which side of a's radius they lie: in float32
    where they come from 8 bits, and in float64 where that is not enough either."""

    def open_(wrong: Float[Tensor, " n"]) -> Int[Tensor, " q"]:
        return ((d[:, None] - a.radius[i]).abs() <= wrong[i, None]).any(1).nonzero()[:, 0]

    if a.coarse.codes.shape[1]:
        at = open_(margin(a.coarse, b.coarse))
        d[at] = of_pairs(a.coarse, i[at], b.coarse, j[at]).double()
    at = open_(rounding(a.coarse, b.coarse))
    d[at] = exact(a.x, i[at], b.x, j[at])
    return d


def below(d: Float[Tensor, "n m"], bound: Float[Tensor, " n"]) -> Float[Tensor, "n m"]:
    """1 where d is at most its row's bound, else 0: as numbers at once, since to make truth values into numbers, and to
    count and find them, takes six times as long."""
    return torch.le(d, bound.float()[:, None], out=torch.empty_like(d))


def exact(x: Tensor, i: Tensor, y: Tensor, j: Tensor) -> Float[Tensor, " p"]:
    """|x_i - y_j|^2 of pairs, in float64 and without cancellation."""
    pieces = parts(len(i), 16 * x.shape[1])
    return torch.cat([(x[i[p]] - y[j[p]]).square_().sum(1) for p in pieces] or [x.new_zeros(0)])


def radii(x: Float[Tensor, "n F"], kept: Bool[Tensor, "n C"]) -> Float[Tensor, "n C"]:
    """r^2 in each selection, for the samples that are in it; the smallest r^2 of the others."""
    if bool(kept.all()) and len(x) > CLOSE:
        return kth(x)[:, None].expand(kept.shape)
    near = nearest(x, WIDE)
    found = torch.full(kept.shape, torch.inf, dtype=x.dtype)
    for c in range(kept.shape[1]):
        rank = (near.distance.isfinite() & kept[near.which, c]).cumsum(1)
        r2 = near.distance.gather(1, (rank >= K).int().argmax(1, keepdim=True))[:, 0]
        for i in ((rank[:, -1] < K) & kept[:, c]).nonzero()[:, 0]:
            others = kept[:, c].index_fill(0, i, False)
            r2[i] = (x[others] - x[i]).square().sum(1).kthvalue(K).values
        found[:, c] = torch.where(kept[:, c], r2, torch.inf)
    return torch.where(kept, found, found.amin(1, keepdim=True))


def kth(x: Float[Tensor, "n F"]) -> Float[Tensor, " n"]:
    """r^2 among all n > CLOSE samples. Where float32 leaves no doubt which neighbour is the K-th, it alone is looked at
    again."""
    found, (_, norm) = candidates(x, CLOSE), about_its_mean(x)
    margin = 2 * slack(x.shape[1]) * (norm + norm.max())
    below, here, above = found.distance[:, K - 2 : K + 1].unbind(1)
    r2 = exact(x, torch.arange(len(x)), x, found.which[:, K - 1])
    doubtful = ((above - here <= margin) | (here - below <= margin)).nonzero()[:, 0]
    r2[doubtful] = refined(x, doubtful, CLOSE).distance[:, K - 1]
    return r2


@remembered
def nearest(x: Float[Tensor, "n F"], keep: int) -> Nearest:
    """The `keep` nearest other samples of each (all others, where they are fewer; WIDE at most)."""
    return refined(x, torch.arange(len(x)), keep)


def refined(x: Float[Tensor, "n F"], rows: Int[Tensor, " r"], keep: int) -> Nearest:
    """`nearest`, of some rows alone."""
    found = candidates(x, min(max(keep, CLOSE), WIDE))
    n, keep, (_, norm) = len(x), min(keep, len(x) - 1), about_its_mean(x)
    certain = found.distance[rows, keep - 1].double() - slack(x.shape[1]) * (norm[rows] + norm.max()).double()
    distance, index = settled(x, rows, found.which[rows, :keep])
    if keep == n - 1:
        return Nearest(distance, index)
    distance[distance > certain[:, None]] = torch.inf
    again = (distance.isfinite().sum(1) < keep - keep // 3).nonzero()[:, 0]  # too many as near as the last: copies
    for some in (again[part] for part in parts(len(again), n)):
        at = rows[some]
        d = squared_distances(x[at] - x.mean(0), x - x.mean(0)).scatter_(1, at[:, None], torch.inf)
        distance[some], index[some] = settled(x, at, d.topk(keep, largest=False).indices)
    return Nearest(distance, index)


@remembered
def candidates(x: Float[Tensor, "n F"], keep: int) -> Nearest:
    """The `keep` nearest other samples of each, by float32; each pair is looked at once."""
    n, keep, (coarse, norm) = len(x), min(keep, len(x) - 1), about_its_mean(x)
    best = Nearest(coarse.new_full((n, keep), torch.inf), torch.zeros(n, keep, dtype=torch.long))
    for rows in parts(n, n // 4):
        d = products(coarse[rows], coarse[rows.start :], norm[rows], norm[rows.start :])
        here = rows.stop - rows.start
        d[:, :here].fill_diagonal_(torch.inf)
        merge(best, rows, d, rows.start)
        if rows.stop < n:
            merge(best, slice(rows.stop, n), d[:, here:].T, rows.start)
    return best


@remembered
def about_its_mean(x: Float[Tensor, "n F"]) -> tuple[Float[Tensor, "n F"], Float[Tensor, " n"]]:
    """x - mean x in float32, and its squared lengths."""
    coarse = (x - x.mean(0)).float()
    return coarse, coarse.square().sum(1)


def merge(best: Nearest, rows: slice, d: Tensor, first: int) -> None:
    """Takes into `best` what is nearer among d, whose columns are samples `first`, `first` + 1, ..."""
    distance, index = best.distance[rows], best.which[rows]
    keep = distance.shape[1]
    values, columns = smallest(d, min(keep, d.shape[1]))
    values, at = torch.cat([distance, values], 1).topk(keep, largest=False)
    index.copy_(torch.cat([index, columns + first], 1).gather(1, at))
    distance.copy_(values)


def smallest(d: Float[Tensor, "n m"], k: int) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """The k smallest of each row and their columns, in any order. Those lie in the k groups of columns with the
    smallest minima: to look for groups first is several times faster than to look at each number."""
    groups = d.shape[1] // GROUP
    if groups < 2 * k:
        found = d.topk(k, largest=False, sorted=False)
        return found.values, found.indices
    least = d[:, : groups * GROUP].unflatten(1, (GROUP, groups)).amin(1)  # of columns g, g + groups, g + 2 groups, ...
    chosen = least.topk(k, largest=False, sorted=False).indices
    columns = (chosen[:, None] + groups * torch.arange(GROUP)[:, None]).flatten(1)
    rest = torch.arange(groups * GROUP, d.shape[1]).expand(len(d), -1)
    columns = torch.cat([columns, rest], 1)
    values, at = d.gather(1, columns).topk(k, largest=False, sorted=False)
    return values, columns.gather(1, at)


def settled(x: Tensor, rows: Tensor, index: Tensor) -> Nearest:
    """Exact distances of x[rows] to their candidates, put in order."""
    i = rows[:, None].expand_as(index)
    distance, order = exact(x, i.flatten(), x, index.flatten()).view_as(index).sort(dim=1, stable=True)
    return Nearest(distance, index.gather(1, order))


def mean_kept(values: Shaped[Tensor, "n C"], kept: Bool[Tensor, "n C"]) -> Float[Tensor, " C"]:
    """The mean over the samples of each selection."""
    return torch.where(kept, values, 0.0).double().sum(0) / kept.sum(0)


def share_growth(whole: float, half: float, rest: float) -> float:
    """By how much sqrt(n) times the standard error of a share of held samples grows from half the samples to all.

    A share scatters as sqrt(p (1 - p)). Besides, smaller balls overlap less, and what is left grows by `rest`: in 4,000
    simulated sets of 8 features, from 150 samples to 300 and by about as much from 300 to 600, by 1.03 (coverage), 1.05
    (precision) and 1.10 (recall). Measured, not derived.
    """
    usual = half * (1 - half)
    return rest * math.sqrt(whole * (1 - whole) / usual) if usual else 1.0
