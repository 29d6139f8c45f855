"""Characters: are they used as often as in real text? Jensen-Shannon divergence in bits, 0 the same, 1 none in common.

    JSD = H((P + Q) / 2) - (H(P) + H(Q)) / 2,      H(P) = -sum_c P(c) log2 P(c)

P, Q the shares of each character in all real and all generated text (Lin 1991).
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.grams import codes
from aurify.evaluate.metric import Blocks, Metric, Of


class Characters(Metric):
    of: ClassVar[Of] = "texts"
    title = "divergence of character frequencies"
    source = "Jensen-Shannon divergence, Lin 1991"
    better = "lower"
    bounds = (0.0, 1.0)
    sees = ("noise",)

    def value(self, real: Sequence[str], made: Sequence[str]) -> float:
        one = Blocks(torch.zeros(len(real), dtype=torch.long), torch.zeros(len(made), dtype=torch.long))
        P, Q = counts(real, made, one)
        return float(divergence(P, Q)[0])

    def without(self, real: Sequence[str], made: Sequence[str], blocks: Blocks) -> Float[Tensor, " B"]:
        P, Q = counts(real, made, blocks)
        return divergence(P.sum(0) - P, Q.sum(0) - Q)


def counts(
    real: Sequence[str], made: Sequence[str], blocks: Blocks
) -> tuple[Float[Tensor, "B V"], Float[Tensor, "B V"]]:
    """How often each character of either side stands in each block of each side."""
    both = [codes("".join(side)) for side in (real, made)]
    alphabet, number = np.unique(np.concatenate(both), return_inverse=True)
    B, V = blocks.number, max(1, len(alphabet))
    found = []
    for side, block, part in zip((real, made), blocks, np.split(number, [len(both[0])]), strict=True):
        row = np.repeat(block.numpy(), [len(text) for text in side])
        found.append(torch.from_numpy(np.bincount(row * V + part, minlength=B * V).reshape(B, V)).double())
    return found[0], found[1]


def divergence(P: Float[Tensor, "B V"], Q: Float[Tensor, "B V"]) -> Float[Tensor, " B"]:
    """Of each pair of rows of counts; not defined (nan) where one has no character at all."""
    P, Q = P / P.sum(1, keepdim=True), Q / Q.sum(1, keepdim=True)
    return entropy((P + Q) / 2) - (entropy(P) + entropy(Q)) / 2


def entropy(P: Float[Tensor, "B V"]) -> Float[Tensor, " B"]:
    return -torch.special.xlogy(P, P).sum(1) / math.log(2)
