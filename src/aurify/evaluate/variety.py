"""Distinct-n: how many different strings of n words there are (Li et al. 2016), of as much text, relative to real text.

    distinct(m) = 1/m sum_g [1 - C(N - c_g, m) / C(N, m)],      value = distinct_made(m) / distinct_real(m)

c_g  how often the string g occurs among all N strings of a set
m    the smaller N of the two sets

The more text, the rarer a new string, so raw distinct-n of unequal amounts cannot be compared. The sum is what m of N
strings, drawn at random, would hold on average (rarefaction, Hurlbert 1971); at m = N it is Li's own figure. 1: as
varied as real text. Loops and copies lie below, words in no order above.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from aurify.evaluate.metric import Blocks
from aurify.evaluate.words import Words

SOURCE = "Li et al. 2016, A Diversity-Promoting Objective Function; rarefied as in Hurlbert 1971"


def distinct(n: int, real: Sequence[str], made: Sequence[str]) -> float:
    """Of strings of n words."""
    left, right = (np.bincount(Words.of(side).grams(n)[0]) for side in (real, made))
    return relative(left, right)


def distinct_without(n: int, real: Sequence[str], made: Sequence[str], blocks: Blocks) -> Float[Tensor, " B"]:
    """The same without each block."""
    sides = [Words.of(side).grams(n) for side in (real, made)]
    values = []
    for b in range(blocks.number):
        kept = [gram[block.numpy()[text] != b] for (gram, text), block in zip(sides, blocks, strict=True)]
        values.append(relative(np.bincount(kept[0]), np.bincount(kept[1])))
    return torch.tensor(values, dtype=torch.float64)


def relative(real: Int[np.ndarray, " G"], made: Int[np.ndarray, " H"]) -> float:
    """From how often each string occurs; not defined (nan) where a side has none."""
    m = int(min(real.sum(), made.sum()))
    return rarefied(made, m) / rarefied(real, m) if m else float("nan")


def rarefied(counts: Int[np.ndarray, " G"], m: int) -> float:
    """Different ones expected among m drawn at random without replacement."""
    often = np.bincount(counts)  # how many occur c times
    c, N = torch.from_numpy(np.flatnonzero(often)), int(counts.sum())
    missed = torch.where(c <= N - m, (choose(N - c, m) - choose(torch.tensor(N), m)).exp(), 0.0)
    return float((torch.from_numpy(often)[c] * (1 - missed)).sum())


def choose(n: Int[Tensor, "*C"], m: int) -> Float[Tensor, "*C"]:
    """ln C(n, m), for n >= m."""
    n = n.double().clamp(min=m)
    return torch.lgamma(n + 1) - torch.lgamma(n - m + 1) - torch.lgamma(torch.tensor(m + 1.0, dtype=torch.float64))
