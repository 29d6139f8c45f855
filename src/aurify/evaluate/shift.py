"""Grids moved by whole places, turned or enlarged: what leaves is lost, the edge's value fills what is left open."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def shifted(x: Float[Tensor, "N C *size"], by: Sequence[int]) -> Float[Tensor, "N C *size"]:
    """By so many places along each axis."""
    edges = [p for s in reversed(by) for p in (max(s, 0), max(-s, 0))]
    cut = (..., *(slice(max(-s, 0), n + max(-s, 0)) for s, n in zip(by, x.shape[2:], strict=True)))
    return F.pad(x, edges, mode="replicate")[cut]


def turned(x: Float[Tensor, "N C H W"], degrees: float, scale: float) -> Float[Tensor, "N C H W"]:
    """Turned about the middle and enlarged, between places by bilinear interpolation."""
    height, width = x.shape[2:]
    cos, sin = math.cos(math.radians(degrees)) / scale, math.sin(math.radians(degrees)) / scale
    back = torch.tensor([[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]])  # to where it came from
    places = F.affine_grid(back.expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, places, padding_mode="border", align_corners=False)
