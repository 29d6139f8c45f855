"""How much of a text stands word for word in the training text, whatever its case and spacing.

    R(x)          longest run of characters of x found in one training text, on a ladder of lengths 10 % apart
    column 0      log R(x) - median log R(held-out texts of about x's length)
    column 1      share of x covered by runs of at least L characters, L the median of held-out texts' R: a text that is
                  spliced from several training texts is covered by them
    hash          h(c_1 ... c_L) = sum_j m(c_j) B^j mod 2^64; of all windows at once from differences of prefix sums
                  (Karp & Rabin 1987), so equal runs are found in one pass over the training text for each length

Whether a run of length L exists falls with L, so the longest is found by bisection, all texts of one step together.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.lib.stride_tricks import sliding_window_view

from aurify.evaluate.grams import MULTIPLIER, codes, mixed
from aurify.evaluate.nearest import Looked
from aurify.evaluate.samples import Samples

LONGEST = 1024  # characters: a longer run says no more
ALIKE = 64  # held-out texts of the nearest lengths, which say what is usual
CHUNK = 1 << 20  # windows hashed at a time
BASE = int(MULTIPLIER)  # odd, so that it has an inverse mod 2^64
INVERSE = pow(BASE, -1, 1 << 64)

Lengths = Int[np.ndarray, " n"]
Runs = Int[np.ndarray, " r"]  # one entry a run that was looked for


def ladder() -> Lengths:
    """2, 3, ..., 10, 11, 12, ..., each at most a tenth longer than the one below."""
    lengths = [2]
    while lengths[-1] < LONGEST:
        lengths.append(max(lengths[-1] + 1, int(lengths[-1] * 1.1)))
    return np.array(lengths)


LADDER = ladder()


def plain(text: str) -> str:
    """Case and spacing away."""
    return " ".join(text.casefold().split())


class Windows:
    """All runs of characters of some texts: their hashes at any length. No run crosses from one text to the next."""

    def __init__(self, texts: list[str], between: int):
        each = [codes(plain(text)) for text in texts]
        self.lengths = np.array([len(c) for c in each], np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.lengths + 1)[:-1]]).astype(np.int64)
        bar = np.array([between], np.uint32)
        joined = np.concatenate([part for c in each for part in (c, bar)])
        self.n = len(joined)
        powers = np.cumprod(np.full(self.n, BASE, np.uint64))  # arrays of uint64 reckon mod 2^64
        self.sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed(joined) * powers)])
        self.back = np.cumprod(np.full(self.n, INVERSE, np.uint64))

    def hashes(self, at: Runs | slice, length: int) -> np.ndarray:
        """Of the runs that begin at `at`, uint64."""
        ends = slice(at.start + length, at.stop + length) if isinstance(at, slice) else at + length
        return (self.sums[ends] - self.sums[at]) * self.back[at]

    def begins(self, which: Lengths, length: int) -> tuple[Runs, Runs]:
        """Where runs of this length begin in the texts asked for, and in which of these (0, 1, ...) each lies."""
        counts = np.maximum(self.lengths[which] - length + 1, 0)
        owner = np.repeat(np.arange(len(which)), counts)
        inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.starts[which][owner] + inside, owner


def roundest(low: Lengths, high: Lengths) -> Lengths:
    """The number in (low, high] that the greatest power of two divides, so that unlike texts try the same lengths."""
    found = high
    for power in range(int(high.max()).bit_length()):
        even = (high >> power) << power
        found = np.where(even > low, even, found)
    return found


class Texts:
    """Training texts to search among, and what held-out texts have in common with them."""

    AT_ONCE = 1 << 30  # all: the training text is gone through as often for few as for many

    def __init__(self, train: Samples, held: Samples):
        self.train = Windows(train.texts or [], between=0)
        texts = Windows(held.texts or [], between=1)
        runs, _ = self.longest(texts)
        self.usual_run = max(2, int(np.median(runs)))
        order = np.argsort(texts.lengths, kind="stable")
        self.held_lengths = texts.lengths[order]
        alike = min(ALIKE, len(order))
        self.medians = np.median(sliding_window_view(np.log(np.maximum(runs[order], 1)), alike), axis=1)

    def look(self, samples: Samples) -> Looked:
        """Columns 0 and 1 as above; the nearest training text is one that holds the longest run."""
        texts = Windows(samples.texts or [], between=1)
        runs, place = self.longest(texts)
        excess = np.log(np.maximum(runs, 1)) - self.usual(texts.lengths)
        columns = np.stack([excess, self.covered(texts)], 1)
        nearest = np.searchsorted(self.train.starts, np.maximum(place, 0), side="right") - 1
        return Looked(torch.from_numpy(columns), torch.from_numpy(nearest), torch.from_numpy(np.exp(-excess)))

    def usual(self, lengths: Lengths) -> Float[np.ndarray, " n"]:
        """The median log R of the held-out texts nearest in length."""
        middle = np.searchsorted(self.held_lengths, lengths)
        first = middle - (len(self.held_lengths) - len(self.medians) + 1) // 2
        return self.medians[np.clip(first, 0, len(self.medians) - 1)]

    def longest(self, texts: Windows) -> tuple[Lengths, Lengths]:
        """R of each text and where in the training text such a run begins; 0 and -1 where there is none."""
        low, high = np.zeros(len(texts.lengths), np.int64), np.searchsorted(LADDER, texts.lengths, side="right")
        place = np.full(len(low), -1)
        while (low < high).any():
            middle, unsure = roundest(low, high), low < high
            for rung in np.unique(middle[unsure]):
                which = np.flatnonzero(unsure & (middle == rung))
                at, owner = self.found(texts, which, int(LADDER[rung - 1]))[1:]
                hit = np.full(len(which), -1)
                np.maximum.at(hit, owner, at)
                low[which[hit >= 0]], high[which[hit < 0]] = rung, rung - 1
                place[which[hit >= 0]] = hit[hit >= 0]
        return np.where(low > 0, LADDER[low - 1], 0), place

    def covered(self, texts: Windows) -> Float[np.ndarray, " n"]:
        """Share of each text that lies in runs of at least the usual length."""
        begins, at, _ = self.found(texts, np.arange(len(texts.lengths)), self.usual_run)
        edges = np.zeros(texts.n + 1, np.int64)
        np.add.at(edges, begins[at >= 0], 1)
        np.add.at(edges, begins[at >= 0] + self.usual_run, -1)
        inside = np.concatenate([[0], np.cumsum(np.cumsum(edges)[:-1] > 0)])
        return (inside[texts.starts + texts.lengths] - inside[texts.starts]) / np.maximum(texts.lengths, 1)

    def found(self, texts: Windows, which: Lengths, length: int) -> tuple[Runs, Runs, Runs]:
        """Every run of this length in the texts asked for: where it begins there, where in the training text (-1:
        nowhere), and in which of the texts it lies."""
        begins, owner = texts.begins(which, length)
        hashes = texts.hashes(begins, length)
        wanted, back = np.unique(hashes, return_inverse=True)
        place = np.full(len(wanted) + 1, -1)
        bits = min(24, max(10, len(wanted).bit_length() + 4))  # a table of their first bits leaves little to compare
        table = np.zeros(1 << bits, bool)
        table[wanted >> np.uint64(64 - bits)] = True
        for start in range(0, max(0, self.train.n - length + 1), CHUNK):
            theirs = self.train.hashes(slice(start, min(start + CHUNK, self.train.n - length + 1)), length)
            maybe = np.flatnonzero(table[theirs >> np.uint64(64 - bits)])
            rank = np.minimum(np.searchsorted(wanted, theirs[maybe]), max(0, len(wanted) - 1))
            same = wanted[rank] == theirs[maybe] if len(wanted) else np.zeros(0, bool)
            place[rank[same]] = start + maybe[same]
        return begins, place[back], owner
