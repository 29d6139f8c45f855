"""Negative log-likelihood in nats, the mean over held-out samples: mean_i -ln p(x_i)."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.left_out import sums
from aurify.evaluate.metric import Blocks, Metric, Of


class Nats(Metric):
    of: ClassVar[Of] = "likelihood"
    title = "negative log-likelihood, nats a sample"
    source = "the logarithmic score, Good 1952, Rational Decisions"
    better = "lower"

    def value(self, real: object, made: Float[Tensor, "m 3"]) -> float:
        return float(made[:, 0].mean())

    def without(self, real: object, made: Float[Tensor, "m 3"], blocks: Blocks) -> Float[Tensor, " B"]:
        counted = torch.stack((made[:, 0], torch.ones_like(made[:, 0])), 1)
        nats, n = sums(counted, blocks[1], blocks.number).unbind(-1)
        return nats / n
