"""Distinct-3: how many different triples of words there are, of as much text, relative to real text: see `variety`."""

import math
from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.metric import Blocks, Metric, Of
from aurify.evaluate.variety import SOURCE, distinct, distinct_without


class Distinct3(Metric):
    of: ClassVar[Of] = "texts"
    title = "distinct-3, relative to as much real text"
    source = SOURCE
    better = "real"
    bounds = (0.0, math.inf)
    joint = 3
    sees = ("noise", "repeats", "shuffled-words")

    def value(self, real: Sequence[str], made: Sequence[str]) -> float:
        return distinct(3, real, made)

    def without(self, real: Sequence[str], made: Sequence[str], blocks: Blocks) -> Float[Tensor, " B"]:
        return distinct_without(3, real, made, blocks)
