"""A residual multilayer network for rows: grids without axes, where a convolution has no neighbours to look at."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from aurify.nets.unet import Fourier


class Mlp(nn.Module):
    """f(x, t, vector) -> row: `blocks` residual blocks modulated by the time and the condition.

    out: numbers that it puts out; None: as many as come in.
    """

    def __init__(self, channels: int, width: int, blocks: int, vector: int = 0, out: int | None = None):
        super().__init__()
        self.stem, self.head = nn.Linear(channels, width), nn.Linear(width, out or channels)
        self.time = nn.Sequential(Fourier(width), nn.Linear(width, width))
        self.label = nn.Linear(vector, width, bias=False) if vector else None
        self.blocks = nn.ModuleList(MlpBlock(width) for _ in range(blocks))
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Float[Tensor, "B C"], t: Float[Tensor, " B"], vector: Tensor | None) -> Float[Tensor, "B O"]:
        e = self.time(t)
        if self.label is not None and vector is not None:
            e = e + self.label(vector)
        e, h = F.silu(e), self.stem(x)
        for block in self.blocks:
            h = block(h, e)
        return self.head(F.silu(h))


class MlpBlock(nn.Module):
    """h + out(silu(into(h) + shift(e)))."""

    def __init__(self, width: int):
        super().__init__()
        self.into, self.shift, self.out = (
            nn.Linear(*n) for n in ((width, 2 * width), (width, 2 * width), (2 * width, width))
        )

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        return h + self.out(F.silu(self.into(h) + self.shift(e)))
