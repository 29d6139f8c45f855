"""A metric compares a set of samples with real ones, in one number. One file in metrics/ each."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from aurify import plugins

PACKAGE = "aurify.evaluate.metrics"

Of = Literal["features", "probabilities", "asked", "texts", "likelihood"]

Real = Float[Tensor, "n F"]  # features
Made = Float[Tensor, "m F"]


class Blocks(NamedTuple):
    """Which of the jackknife's blocks each sample is in, on either side."""

    real: Int[Tensor, " n"]
    made: Int[Tensor, " m"]

    @property
    def number(self) -> int:
        return int(torch.cat(self).max()) + 1

    @classmethod
    def nobody(cls, real: Tensor, made: Tensor) -> "Blocks":
        """All in block 1, so that nobody is missing where block 0 is left out."""
        return cls(torch.ones(len(real), dtype=torch.long), torch.ones(len(made), dtype=torch.long))


class Metric(ABC):
    """One number from two sets; its unit, direction and source are stated.

    What `real` and `made` are follows from `of`:
        features       (n, F) and (m, F), float64, of one embedder
        probabilities  (n, K) and (m, K), of a classifier of the data's labels
        asked          (n,) and (m,), 1 where a classifier reads the label that the sample has or was asked by, else 0
        texts          two lists of strings
        likelihood     rows (nats, symbols, characters), one a held-out sample: `real` is not used

    Attributes:
        title: as figures show it; a published name stands in its place on its own backbone (figures.PUBLISHED).
        source: paper and equation.
        better: "lower", "higher", or "real": as close to what real samples have as can be.
        smallest: samples on each side below which it is not defined.
        bounds: between which it lies by its definition; intervals end there.
        share: it is a share of samples, so its interval is that of a count.
        unbiased: the jackknife's correction for finite n is taken, so the figure is that of infinitely many samples.
        joint: how many samples share what it counts, or make its chance where sets are alike; see `interval`.
        by_symbols: it counts a model's own symbols, so only models of the same symbols may be compared.
        sees: failures it claims to see, each provoked by a law: noise, blur, dropped-modes, repeats, shuffled-words,
            loops, cut-short.
    """

    of: ClassVar[Of]
    title: ClassVar[str]
    source: ClassVar[str]
    better: ClassVar[Literal["lower", "higher", "real"]]
    smallest: ClassVar[int] = 2
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    share: ClassVar[bool] = False
    unbiased: ClassVar[bool] = False
    joint: ClassVar[int] = 1
    by_symbols: ClassVar[bool] = False
    sees: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def value(self, real: Any, made: Any) -> float:
        """The figure of two sets: of no order, in no batches."""

    def without(self, real: Any, made: Any, blocks: Blocks) -> Float[Tensor, " B"]:
        """The figure with block b left out of both sides, for every b. Overridden where it can be had for less than B
        times the work."""
        values = [
            self.value(_outside(real, blocks.real != b), _outside(made, blocks.made != b)) for b in range(blocks.number)
        ]
        return torch.tensor(values, dtype=torch.float64)

    def both(self, real: Any, made: Any, blocks: Blocks) -> tuple[float, Float[Tensor, " B"]]:
        """`value` and `without`. Overridden where one look at the samples gives both."""
        return self.value(real, made), self.without(real, made, blocks)

    def without_pairs(self, real: Any, made: Any, blocks: Blocks) -> Float[Tensor, " P"]:
        """The figure without blocks 0 and 1, without 2 and 3, and so on; of an even number of blocks."""
        return self.without(real, made, Blocks(blocks.real // 2, blocks.made // 2))


def _outside(samples: Any, keep: Tensor) -> Any:
    if isinstance(samples, Tensor):
        return samples[keep]
    return [s for s, kept in zip(samples, keep.tolist(), strict=True) if kept]


def names() -> tuple[str, ...]:
    return plugins.names(PACKAGE)


def load(name: str) -> type[Metric]:
    return cast(type[Metric], plugins.load(PACKAGE, name, Metric))
