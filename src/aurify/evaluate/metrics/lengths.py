"""Lengths: how far the lengths of texts, in characters, lie from real ones.

    W_1 = integral |F_real(l) - F_made(l)| dl        over      the standard deviation of real lengths, at least 1

F is the share of texts of at most l characters. 1: a text is on average one real standard deviation too long or short.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from aurify.evaluate.metric import Metric, Of


class Lengths(Metric):
    of: ClassVar[Of] = "texts"
    title = "distance of lengths, in real standard deviations"
    source = "Wasserstein distance of order 1, Vallender 1974"
    better = "lower"
    bounds = (0.0, math.inf)
    sees = ("cut-short",)

    def value(self, real: Sequence[str], made: Sequence[str]) -> float:
        left, right = (np.sort([len(text) for text in side]) for side in (real, made))
        at = np.sort(np.concatenate((left, right)))
        F, G = (np.searchsorted(side, at[:-1], side="right") / len(side) for side in (left, right))
        return float((np.abs(F - G) * np.diff(at)).sum() / max(1.0, left.std()))
