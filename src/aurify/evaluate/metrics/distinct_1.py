"""Distinct-1: how many different words there are, of as much text, relative to real text: see `variety`."""

import math
from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.metric import Blocks, Metric, Of
from aurify.evaluate.variety import SOURCE, distinct, distinct_without


class Distinct1(Metric):
    of: ClassVar[Of] = "texts"
    title = "distinct-1, relative to as much real text"
    source = SOURCE
    better = "real"
    bounds = (0.0, math.inf)
    sees = (
        "noise",
        "repeats",
    )

    def value(self, real: Sequence[str], made: Sequence[str]) -> float:
        return distinct(1, real, made)

    def without(self, real: Sequence[str], made: Sequence[str], blocks: Blocks) -> Float[Tensor, " B"]:
        return distinct_without(1, real, made, blocks)
