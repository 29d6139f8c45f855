"""Bits per character of held-out text: what coding it with the model costs, whatever the model's symbols are.

sum_i -log2 p(x_i) / sum_i characters of x_i
"""

import math
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.left_out import sums
from aurify.evaluate.metric import Blocks, Metric, Of


class BitsPerCharacter(Metric):
    of: ClassVar[Of] = "likelihood"
    title = "bits per character"
    source = "Shannon 1951, Prediction and Entropy of Printed English"
    better = "lower"

    def value(self, real: object, made: Float[Tensor, "m 3"]) -> float:
        return float(ratio(made.sum(0)))

    def without(self, real: object, made: Float[Tensor, "m 3"], blocks: Blocks) -> Float[Tensor, " B"]:
        return ratio(sums(made, blocks[1], blocks.number))


def ratio(totals: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B"]:
    nats, _, characters = totals.unbind(-1)
    return nats / math.log(2) / characters
