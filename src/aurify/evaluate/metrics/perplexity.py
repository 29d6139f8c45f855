"""Perplexity per symbol: among how many equally likely symbols the model seems to choose, its own symbols counted.

    exp(sum_i -ln p(x_i) / sum_i symbols of x_i)

Comparable only between models of the same symbols; bits per character is comparable between all.
"""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.left_out import sums
from aurify.evaluate.metric import Blocks, Metric, Of


class Perplexity(Metric):
    of: ClassVar[Of] = "likelihood"
    title = "perplexity per symbol"
    source = "Jelinek et al. 1977, Perplexity: a measure of the difficulty of speech recognition tasks"
    better = "lower"
    by_symbols = True

    def value(self, real: object, made: Float[Tensor, "m 3"]) -> float:
        return float(perplexity(made.sum(0)))

    def without(self, real: object, made: Float[Tensor, "m 3"], blocks: Blocks) -> Float[Tensor, " B"]:
        return perplexity(sums(made, blocks[1], blocks.number))


def perplexity(totals: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B"]:
    nats, symbols, _ = totals.unbind(-1)
    return (nats / symbols).exp()
