"""Pictures as networks for photographs read them: red, green and blue in 8 bits."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from aurify.evaluate.samples import Samples

LEAST = 28  # pixels a side: the smallest pictures that published figures are of


def are_pictures(samples: Samples) -> bool:
    """Whether these are grey, RGB or RGBA pictures of at least 28 x 28."""
    x = samples.x
    return x is not None and x.ndim == 4 and x.shape[1] in (1, 3, 4) and min(x.shape[2:]) >= LEAST


def rgb(x: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B 3 H W"]:
    """x about [-1, 1]; grey goes into all three channels, an alpha channel is left out."""
    x = x[:, :3].expand(-1, 3, -1, -1)
    return ((x.nan_to_num(nan=0.0).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
