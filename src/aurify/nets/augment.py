"""Differentiable augmentation (Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training").

    B batch, C channels, *grid the sample's own axes, u ~ U[0, 1) drawn for each row

The discriminator sees real and generated samples only through the same random T, and the generator is trained through
T: so T may distort the data without the generator learning the distortion. All of it is linear in the sample.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from aurify.rng import Rng

Batch = Float[Tensor, "B C *grid"]


def augment(x: Batch, strength: float, rng: Rng) -> Batch:
    """Colour, translation and cutout, each row by its own draw; strength 0 is the identity, 1 the paper's setting.

    Waves get a loudness instead of colours; rows (B, C) have no places to move and stay as they are.
    """
    axes = x.ndim - 2
    if strength == 0 or axes == 0:
        return x
    for change in (loudness if axes == 1 else colour, translate, cutout):
        x = change(x, strength, rng)
    return x


def loudness(x: Float[Tensor, "B C T"], strength: float, rng: Rng) -> Float[Tensor, "B C T"]:
    """Times a factor in 1 +- strength / 2."""
    return x * (1 + strength * (per_row(rng.uniform(), x) - 0.5))


def colour(x: Batch, strength: float, rng: Rng) -> Batch:
    """Brightness + s (u - 1/2), saturation times 1 + s (2u - 1), contrast times 1 + s (u - 1/2)."""
    brightness, saturation, contrast = (per_row(u, x) for u in rng.uniform(3).unbind(1))
    x = x + strength * (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (1 + strength * (2 * saturation - 1))
    level = x.mean(tuple(range(1, x.ndim)), keepdim=True)
    return level + (x - level) * (1 + strength * (contrast - 0.5))


def translate(x: Batch, strength: float, rng: Rng) -> Batch:
    """Moved along each axis by up to strength / 8 of it, whole places; zeros come in."""
    for axis, u in enumerate(rng.uniform(x.ndim - 2).to(x).unbind(1), start=2):
        n = x.shape[axis]
        moved = ((2 * u - 1) * strength * n / 8).round().long()
        source = torch.arange(n, device=x.device) - moved[:, None]  # B n: where each place comes from
        inside = along(axis, (source >= 0) & (source < n), x)
        x = x.gather(axis, along(axis, source.clamp(0, n - 1), x).expand_as(x)) * inside
    return x


def cutout(x: Batch, strength: float, rng: Rng) -> Batch:
    """A box of strength / 2 of each axis set to zero."""
    hole = torch.ones(len(x), *[1] * (x.ndim - 1), dtype=torch.bool, device=x.device)
    for axis, u in enumerate(rng.uniform(x.ndim - 2).to(x).unbind(1), start=2):
        n = x.shape[axis]
        side = math.floor(strength * n / 2 + 0.5)
        start = (u * (n + 1)).floor() - side // 2
        place = torch.arange(n, device=x.device)
        hole = hole & along(axis, (place >= start[:, None]) & (place < start[:, None] + side), x)
    return x * ~hole


def per_row(u: Float[Tensor, " B"], x: Batch) -> Tensor:
    """One value a row, shaped to multiply a batch."""
    return u.to(x).reshape(-1, *[1] * (x.ndim - 1))


def along(axis: int, values: Tensor, x: Batch) -> Tensor:
    """Values (B, n) shaped to meet a batch along one axis."""
    return values.reshape(len(values), *[-1 if a == axis else 1 for a in range(1, x.ndim)])
