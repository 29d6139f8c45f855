"""Negative log-likelihood in nats, the mean over held-out samples: mean_i -ln p(x_i)."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from aurify.evaluate.left_out import number_of, sums
from aurify.evaluate.metric import Metric, Of


class Nats(Metric):
    of: ClassVar[Of] = "likelihood"
    title = "negative log-likelihood, nats a sample"
    source = "the logarithmic score, Good 1952, Rational Decisions"
    better = "lower"

    def value(self, real: object, made: Float[Tensor, "m 3"]) -> float:
        return float(made[:, 0].mean())

    def without(
        self, real: object, made: Float[Tensor, "m 3"], blocks: tuple[Int[Tensor, " n"], Int[Tensor, " m"]]
    ) -> Float[Tensor, " B"]:
        counted = torch.stack((made[:, 0], torch.ones_like(made[:, 0])), 1)
        nats, n = sums(counted, blocks[1], number_of(blocks)).unbind(-1)
        return nats / n
