"""A residual multilayer network for rows: grids without axes, where a convolution has no neighbours to look at."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from aurify.nets.unet import Fourier


class Mlp(nn.Module):
    """f(x, t, vector) -> row of x's shape: `blocks` residual blocks modulated by the time and the condition."""

    def __init__(self, channels: int, width: int, blocks: int, vector: int = 0):
        super().__init__()
        self.stem, self.head = nn.Linear(channels, width), nn.Linear(width, channels)
        self.time = nn.Sequential(Fourier(width), nn.Linear(width, width))
        self.label = nn.Linear(vector, width, bias=False) if vector else None
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "into": nn.Linear(width, 2 * width),
                    "scale": nn.Linear(width, 2 * width),
                    "out": nn.Linear(2 * width, width),
                }
            )
            for _ in range(blocks)
        )
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Float[Tensor, "B C"], t: Float[Tensor, " B"], vector: Tensor | None) -> Float[Tensor, "B C"]:
        e = self.time(t)
        if self.label is not None and vector is not None:
            e = e + self.label(vector)
        e, h = F.silu(e), self.stem(x)
        for block in self.blocks:
            h = h + block["out"](F.silu(block["into"](h) + block["scale"](e)))
        return self.head(F.silu(h))
