"""Interpolated modified Kneser-Ney smoothing: how likely a symbol is after others, from counts of strings.

    p_k(w | h) = [c(hw) - D(c(hw))] / C(h) + L(h) p_k-1(w | h')               (Chen & Goodman 1999, Section 3.1)

h     the k - 1 symbols before w; h' the same without the first
c     at the highest order how often hw occurs; below it how many different symbols came before hw
C(h)  sum_w c(hw);     L(h) = sum_w D(c(hw)) / C(h)
D     what is taken off counts of 1, 2, and 3 or more; estimated from counts of counts for each order

A string hw is a number: the place of h among the strings one shorter, times W, plus w. Strings of each length are kept
sorted, so all that begin with h stand together. The empty string is a root; several roots keep several books.

    N symbols of a text, W width of the alphabet, G strings of one length, S roots
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Text:
    """Rows one after another.

    Attributes:
        symbols: in [0, W).
        place: how many symbols of its row stand before each.
        root: of each, the empty string that it follows; -1 where there is none, and nothing is known.
    """

    symbols: Int[Tensor, " N"]
    place: Int[Tensor, " N"]
    root: Int[Tensor, " N"]


@dataclass(frozen=True)
class Roots:
    """The empty strings.

    Attributes:
        follow: of each, the empty string one symbol later: itself, or that of the next column of a table.
        first: whether nothing can stand before.
        book: each book's discounts are estimated from its own strings.
    """

    follow: Int[Tensor, " S"]
    first: Bool[Tensor, " S"]
    book: Int[Tensor, " S"]


@dataclass(frozen=True)
class Counts:
    """Strings of 1 ... K symbols: their numbers in order, and how often each occurs."""

    codes: tuple[Int[Tensor, " _"], ...]
    raw: tuple[Int[Tensor, " _"], ...]


@dataclass(frozen=True)
class Level:
    """All strings hw of k symbols."""

    codes: Int[Tensor, " G"]
    share: Float[Tensor, " G"]  # [c(hw) - D(c(hw))] / C(h)
    escape: Float[Tensor, " H"]  # L(h)


def count(text: Text, order: int, width: int, mark: int = -1) -> Counts:
    """The strings that end at each symbol; `mark` begins a row and is only ever a context."""
    codes, raw, found = [], [], text.root
    for k in range(1, order + 1):
        there = (text.place >= k - 1).nonzero()[:, 0]
        h = found[there - 1] if k > 1 else found
        strings, number, often = torch.unique(h * width + text.symbols[there], return_inverse=True, return_counts=True)
        codes.append(strings)
        raw.append(often if k > 1 else often.masked_fill(strings % width == mark, 0))
        found = torch.full_like(found, -1)
        found[there] = number
    return Counts(tuple(codes), tuple(raw))


def merge(a: Counts, b: Counts, width: int) -> Counts:
    """The counts of two texts together."""
    codes, raw, to_a, to_b = [], [], None, None
    for a_codes, a_raw, b_codes, b_raw in zip(a.codes, a.raw, b.codes, b.raw, strict=True):
        both, to_a, to_b = _united(_renumbered(a_codes, to_a, width), _renumbered(b_codes, to_b, width))
        often = torch.zeros_like(both)
        often[to_a] = a_raw
        often[to_b] += b_raw
        codes.append(both)
        raw.append(often)
    return Counts(tuple(codes), tuple(raw))


def _renumbered(codes: Tensor, places: Tensor | None, width: int) -> Tensor:
    """The same strings, where those one shorter have moved to `places`; their order stays."""
    return codes if places is None else places[codes // width] * width + codes % width


def _united(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both sorted lists as one, and where the members of each went. Costs what a has, not its sorting."""
    at = torch.searchsorted(a, b)
    new = torch.ones_like(b, dtype=torch.bool)
    if len(a):
        new = (at == len(a)) | (a[at.clamp_max(len(a) - 1)] != b)
    at = at[new]
    to_a = torch.arange(len(a), device=a.device) + torch.bincount(at, minlength=len(a) + 1)[: len(a)].cumsum(0)
    both = a.new_empty(len(a) + len(at))
    both[to_a] = a
    both[at + torch.arange(len(at), device=a.device)] = b[new]
    return both, to_a, torch.searchsorted(both, b)


def levels(counts: Counts, width: int, roots: Roots, mark: int = -1) -> tuple[Level, ...]:
    """The model of these counts."""
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor, int]] = []
    earlier, contexts = [], len(roots.follow)
    suffix, begins, book = roots.follow, roots.first, roots.book  # of the strings one shorter, which are the contexts
    for k, (codes, raw) in enumerate(zip(counts.codes, counts.raw, strict=True)):
        if not len(codes):
            break  # no row is that long
        h, w = codes // width, codes % width
        suffix = suffix[h] if k == 0 else look_up(counts.codes[k - 1], suffix[h], w, width)
        if k:
            earlier.append(torch.bincount(suffix, minlength=contexts))
        begins = begins[h] | (w == mark) if k == 0 else begins[h]
        book = book[h]
        parts.append((codes, h, raw, begins, book, contexts))
        contexts = len(codes)
    return tuple(_level(*part, before) for part, before in zip(parts, [*earlier, None], strict=False))


def _level(
    codes: Tensor, h: Tensor, raw: Tensor, begins: Tensor, book: Tensor, contexts: int, before: Tensor | None
) -> Level:
    """Strings with nothing before them count as often as they occur."""
    c = raw if before is None else torch.where(begins, raw, before)
    D = torch.stack([discounts(c[book == b]) for b in range(int(book.max()) + 1 if len(book) else 1)]).to(c.device)
    taken = D[book, c.clamp_max(3)]
    C = torch.bincount(h, c.double(), minlength=contexts)
    escape = torch.where(C > 0, torch.bincount(h, taken, minlength=contexts) / C.clamp_min(1), 1.0)
    return Level(codes, (c - taken) / C.clamp_min(1)[h], escape)


def discounts(c: Int[Tensor, " _"]) -> Float[Tensor, "4"]:
    """D(0) = 0, D(1), D(2), D(3+) (Chen & Goodman 1999, Eq. 26), kept within what can be taken off."""
    n = torch.bincount(c.clamp_max(5), minlength=6).clamp_min(1).tolist()
    Y = n[1] / (n[1] + 2 * n[2])
    raw = [j - (j + 1) * Y * n[j + 1] / n[j] for j in (1, 2, 3)]
    return torch.tensor([0.0, *(min(max(d, 0.1), j - 0.1) for j, d in enumerate(raw, 1))], dtype=torch.float64)


def look_up(codes: Int[Tensor, " G"], h: Int[Tensor, " n"], w: Int[Tensor, " n"], width: int) -> Int[Tensor, " n"]:
    """The place of each string hw, -1 where it, or h, was never met."""
    if not len(codes):
        return torch.full_like(h, -1)
    asked = h * width + w
    at = torch.searchsorted(codes, asked).clamp_max(len(codes) - 1)
    return torch.where((h >= 0) & (codes[at] == asked), at, -1)


def probabilities(model: Sequence[Level], text: Text, width: int, base: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """p of each symbol given those before it in its row; `base` is p_0 of each."""
    p, found = base, text.root
    for k, level in enumerate(model, 1):
        h = torch.where(text.place >= k - 1, found.roll(1), -1) if k > 1 else found
        found = look_up(level.codes, h, text.symbols, width)
        share = torch.where(found >= 0, level.share[found], 0.0)
        p = torch.where(h >= 0, share + level.escape[h] * p, p)
    return p


def extended(
    model: Sequence[Level], contexts: list[Tensor], symbols: Int[Tensor, " n"], width: int, follow: Int[Tensor, " S"]
) -> list[Tensor]:
    """The contexts of n rows, (n,) each, one symbol later: their last 0, 1, ... symbols, -1 where never met."""
    longer = [look_up(level.codes, h, symbols, width) for level, h in zip(model[:-1], contexts, strict=False)]
    root = contexts[0]
    return [torch.where(root >= 0, follow[root], -1), *longer]


def following(
    model: Sequence[Level], contexts: list[Tensor], width: int, base: Float[Tensor, "n W"]
) -> Float[Tensor, "n W"]:
    """p of every symbol after these contexts."""
    p = base
    for level, h in zip(model, contexts, strict=False):
        first, last = (torch.searchsorted(level.codes, (h + next_) * width) for next_ in (0, 1))
        size = torch.where(h >= 0, last - first, 0)
        row = torch.arange(len(h), device=h.device).repeat_interleave(size)
        at = (first - F.pad(size.cumsum(0), (1, 0))[:-1])[row] + torch.arange(len(row), device=h.device)
        p = p * torch.where(h >= 0, level.escape[h], 1.0)[:, None]
        p[row, level.codes[at] % width] += level.share[at]
    return p
