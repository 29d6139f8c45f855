"""Repetition: how much of a text says again what the same text has said (Welleck et al. 2020, seq-rep-n, n = 4).

    mean over texts of 1 - (different strings of 4 words) / (strings of 4 words)

A text of fewer than 4 words repeats nothing.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.left_out import sums
from aurify.evaluate.metric import Blocks, Metric, Of
from aurify.evaluate.words import Words

N = 4


class Repetition(Metric):
    of: ClassVar[Of] = "texts"
    title = "repetition within a text (seq-rep-4)"
    source = "Welleck et al. 2020, Neural Text Generation With Unlikelihood Training, seq-rep-n"
    better = "real"
    bounds = (0.0, 1.0)
    sees = ("loops",)

    def value(self, real: Sequence[str], made: Sequence[str]) -> float:
        return float(repetition(made).mean())

    def without(self, real: Sequence[str], made: Sequence[str], blocks: Blocks) -> Float[Tensor, " B"]:
        each = repetition(made)
        kept, n = sums(torch.stack((each, torch.ones_like(each)), 1), blocks[1], blocks.number).unbind(-1)
        return kept / n


def repetition(texts: Sequence[str]) -> Float[Tensor, " n"]:
    """The share of repeated strings in each text."""
    gram, text = Words.of(texts).grams(N)
    G, n = int(gram.max(initial=0)) + 1, len(texts)
    all_, different = np.bincount(text, minlength=n), np.bincount(np.unique(text * G + gram) // G, minlength=n)
    return torch.from_numpy(1 - different / np.maximum(all_, 1)) * torch.from_numpy(all_ > 0)
