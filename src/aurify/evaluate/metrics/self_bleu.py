"""Self-BLEU: how much texts repeat one another (Zhu et al. 2018): BLEU-4 of each against all the others, averaged.

    BLEU = min(1, exp(1 - r/c)) exp(1/4 sum_n ln p_n)            (Papineni et al. 2002)
    p_n  = sum_g min(c_g, max_j c_gj) / sum_g c_g

c, r   words of the text, and of the other one that is nearest in length (the shorter of two)
c_g    how often the string g of n words stands in the text; c_gj in another text j
where nothing of length n is found again, 0.1 stands for the numerator (Chen & Cherry 2014, method 1)

All the others are references, none is left out for speed: max_j needs only the two texts that hold g most often. The
more texts, the more is found again: compare only figures of equal n.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from aurify.evaluate.metric import Blocks, Metric, Of
from aurify.evaluate.words import Words

ORDER = 4
EPSILON = 0.1


class SelfBleu(Metric):
    of: ClassVar[Of] = "texts"
    title = "self-BLEU-4"
    source = "Zhu et al. 2018, Texygen; BLEU of Papineni et al. 2002"
    better = "real"
    bounds = (0.0, 1.0)
    smallest = 3
    joint = 3
    sees = ("noise", "repeats", "shuffled-words")

    def value(self, real: Sequence[str], made: Sequence[str]) -> float:
        return self_bleu(*counted(made), np.ones(len(made), bool))

    def without(self, real: Sequence[str], made: Sequence[str], blocks: Blocks) -> Float[Tensor, " B"]:
        orders, lengths = counted(made)
        kept = [blocks[1].numpy() != b for b in range(blocks.number)]
        return torch.tensor([self_bleu(orders, lengths, k) for k in kept], dtype=torch.float64)


@dataclass(frozen=True)
class Counts:
    """How often each text holds each string of n words, sorted by string, the most frequent first."""

    gram: Int[np.ndarray, " R"]
    text: Int[np.ndarray, " R"]
    count: Int[np.ndarray, " R"]


def counted(texts: Sequence[str]) -> tuple[list[Counts], Int[np.ndarray, " n"]]:
    """Counts for strings of 1 ... 4 words, and the words of each text."""
    words, orders = Words.of(texts), []
    for n in range(1, ORDER + 1):
        gram, text = words.grams(n)
        both, count = np.unique(gram * len(texts) + text, return_counts=True)
        gram, text = both // len(texts), both % len(texts)
        order = np.lexsort((-count, gram))
        orders.append(Counts(gram[order], text[order], count[order]))
    return orders, words.lengths


def self_bleu(orders: list[Counts], lengths: Int[np.ndarray, " n"], kept: Bool[np.ndarray, " n"]) -> float:
    """The mean BLEU of the kept texts, each against the other kept ones."""
    log_p = np.zeros(len(kept))
    empty = ~kept
    for n, counts in enumerate(orders, 1):
        matched, total = precision(counts, kept)
        if n == 1:
            empty = matched == 0  # no word in common: nothing to smooth
        log_p += np.log(np.where(matched > 0, matched, EPSILON) / np.maximum(total, 1)) / ORDER
    brevity = np.minimum(0, 1 - nearest(lengths[kept]) / np.maximum(lengths[kept], 1))
    bleu = np.where(empty[kept], 0.0, np.exp(brevity + log_p[kept]))
    return math.fsum(bleu) / len(bleu)


def precision(counts: Counts, kept: Bool[np.ndarray, " n"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Numerator and denominator of p_n for each text."""
    inside = kept[counts.text]
    gram, text, count = counts.gram[inside], counts.text[inside], counts.count[inside]
    first = np.diff(gram, prepend=-1) != 0
    start = np.maximum.accumulate(np.where(first, np.arange(len(gram)), 0))
    second = np.append(np.where(first[1:], 0, count[1:]), 0)[: len(gram)]  # of the same string, next in frequency
    others = np.where(first, second, count[start])  # max_j c_gj
    return tuple(np.bincount(text, w, minlength=len(kept)) for w in (np.minimum(count, others), count))  # pyright: ignore[reportReturnType]


def nearest(lengths: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """For each length that of the others which is nearest, the shorter of two."""
    order = np.argsort(lengths, kind="stable")
    sorted_ = lengths[order]
    far = 2 * int(sorted_[-1]) + 2
    below, above = np.append(-far, sorted_[:-1]), np.append(sorted_[1:], 2 * far)
    found = np.empty_like(lengths)
    found[order] = np.where(sorted_ - below <= above - sorted_, below, above)
    return found
