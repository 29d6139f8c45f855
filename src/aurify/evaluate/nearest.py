"""What a search for nearest training samples gives, in whatever space; and the search among features."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

NEIGHBOURS = 32  # of which the nearest is compared with the middle one
SAME = 2e-3  # of the usual distance: what lies below is rounding, hence equal
QUERIES = 512  # samples compared at a time


@dataclass(frozen=True)
class Looked:
    """What was found of n samples.

    Attributes:
        columns: suspicions (n, c), greater is nearer to a copy; each column is one way to look.
        nearest: index of the nearest training sample.
        distance: to it.
    """

    columns: Float[Tensor, "n c"]
    nearest: Int[Tensor, " n"]
    distance: Float[Tensor, " n"]


def suspicion(d: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """log(median d / min d) of the distances to k nearest training samples, in any order.

    The ratio is free of scale, so that an easy class (the digit 1), where all samples are near each other, does not
    look copied (Carlini et al. 2023, "Extracting Training Data from Diffusion Models", Section 5.1). Where samples fill
    D dimensions locally, it has an exponential tail of rate D (Levina & Bickel 2005, Eq. 8); `alarm` relies on that.
    """
    least, middle = d.amin(1), d.sort(1).values[:, d.shape[1] // 2]
    tiny = torch.finfo(d.dtype).tiny  # where all are equal, nothing is said: log 1
    return ((middle + tiny) / (torch.maximum(least, SAME * middle) + tiny)).log()


def neighbours(
    x: Float[Tensor, "n F"], train: Float[Tensor, "m F"], k: int = NEIGHBOURS
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """Euclidean distances to the k nearest training rows (fewer if there are fewer), nearest first, and which."""
    k = min(k, len(train))
    half = train.square().sum(1) / 2
    found = [torch.addmm(-half, part, train.T).topk(k).indices for part in x.split(QUERIES)]
    index = torch.cat(found)
    exact = [
        (train[i] - part[:, None]).double().norm(dim=2) for part, i in zip(x.split(64), index.split(64), strict=True)
    ]
    distance, order = torch.cat(exact).sort(1)
    return distance, index.gather(1, order)


def look(x: Float[Tensor, "n F"], train: Float[Tensor, "m F"]) -> Looked:
    """Features among features: column 0 is `suspicion`."""
    distance, index = neighbours(x, train)
    return Looked(suspicion(distance)[:, None], index[:, 0], distance[:, 0])


def authenticity(looked: Looked, train: Float[Tensor, "m F"]) -> float | None:
    """Share of samples that are farther from their nearest training sample than that one is from its own nearest other
    (Alaa et al. 2022, "How Faithful is your Synthetic Data?", Section 4.3). Fresh real samples reach about a half; None
    where there is but one training sample."""
    distance, index = neighbours(train[looked.nearest], train, 2)
    if distance.shape[1] < 2:
        return None
    other = torch.where(index[:, 0] == looked.nearest, distance[:, 1], distance[:, 0])
    return float((looked.distance > other).double().mean())
