"""Grids moved by whole places: what leaves is lost, the edge's value fills what is left open."""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def shifted(x: Float[Tensor, "N C *size"], by: Sequence[int]) -> Float[Tensor, "N C *size"]:
    """By so many places along each axis."""
    edges = [p for s in reversed(by) for p in (max(s, 0), max(-s, 0))]
    cut = (..., *(slice(max(-s, 0), n + max(-s, 0)) for s, n in zip(by, x.shape[2:], strict=True)))
    return F.pad(x, edges, mode="replicate")[cut]
