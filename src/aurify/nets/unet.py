"""A small convolutional U-Net for any number of grid axes, sized for a CPU: predicts a grid from a noisy grid.

    B batch, C channels, E embedding width, *grid the sample's axes (one to three; a row () is a grid of one place)

After Ronneberger et al. 2015 with the residual blocks and time modulation of Dhariwal & Nichol 2021; one normalisation
a block instead of two, no attention above 8 x 8, and a patch stem for large grids keep the cost per picture small.
"""

import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class UNet(nn.Module):
    """f(x, t, vector) -> grid of x's size.

    Args:
        channels: of the sample.
        ndim: grid axes, 1 to 3.
        width: channels of the first level; level i has width * multiples[i].
        multiples: one entry a level; each level halves the grid.
        blocks: residual blocks a level and side.
        patch: places per side folded into channels before the first level (1: none).
        vector: width of the condition vector, 0 for none.
        out: channels that it puts out; None: as many as come in.
    """

    def __init__(
        self,
        channels: int,
        ndim: int,
        width: int,
        multiples: tuple[int, ...] = (1, 2, 3),
        blocks: int = 1,
        patch: int = 1,
        vector: int = 0,
        out: int | None = None,
    ):
        super().__init__()
        self.ndim, self.patch, self.levels = ndim, patch, len(multiples)
        widths = [width * m for m in multiples]
        embed = 4 * width
        self.time = nn.Sequential(Fourier(2 * width), nn.Linear(2 * width, embed), nn.SiLU(), nn.Linear(embed, embed))
        self.label = nn.Linear(vector, embed, bias=False) if vector else None
        folded = channels * patch**ndim
        self.stem = conv(ndim, folded, width)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, w = [width], width
        for i, w_next in enumerate(widths):
            for _ in range(blocks):
                self.down.append(Block(ndim, w, w_next, embed))
                w = w_next
                skips.append(w)
            if i + 1 < len(widths):
                self.down.append(Down(ndim, w))
                skips.append(w)
        self.middle = nn.ModuleList([Block(ndim, w, w, embed), Attention(w), Block(ndim, w, w, embed)])
        for i, w_next in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.up.append(Block(ndim, w + skips.pop(), w_next, embed))
                w = w_next
            if i:
                self.up.append(Up(ndim, w))
        self.norm, self.head = norm(w), conv(ndim, w, (out or channels) * patch**ndim)
        nn.init.zeros_(self.head.weight)

    def forward(
        self, x: Float[Tensor, "B C *grid"], t: Float[Tensor, " B"], vector: Tensor | None
    ) -> Float[Tensor, "B O *grid"]:
        size = x.shape[2:]
        h = self.stem(fold(padded(x, self.patch * 2 ** (self.levels - 1)), self.patch))
        e = self.time(t)
        if self.label is not None and vector is not None:
            e = e + self.label(vector)
        e = F.silu(e)
        skips = [h]
        for layer in self.down:
            h = layer(h, e)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, e)
        for layer in self.up:
            h = layer(torch.cat([h, skips.pop()], 1) if isinstance(layer, Block) else h, e)
        h = unfold(self.head(F.silu(self.norm(h))), self.patch)
        return h[(..., *(slice(0, n) for n in size))]


class Block(nn.Module):
    """x + conv(silu(modulate(norm(conv(silu(x)))))): scale and shift come from the embedding."""

    def __init__(self, ndim: int, c_in: int, c_out: int, embed: int):
        super().__init__()
        self.first, self.second = conv(ndim, c_in, c_out), conv(ndim, c_out, c_out)
        self.norm = norm(c_out)
        self.modulate = nn.Linear(embed, 2 * c_out)
        self.skip = CONV[ndim](c_in, c_out, 1) if c_in != c_out else nn.Identity()
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        scale, shift = self.modulate(e).reshape(len(x), -1, *[1] * (x.ndim - 2)).chunk(2, 1)
        h = self.norm(self.first(F.silu(x)))
        return self.skip(x) + self.second(F.silu(torch.addcmul(shift, h, 1 + scale)))


class Down(nn.Module):
    """Halves the grid by a strided convolution."""

    def __init__(self, ndim: int, width: int):
        super().__init__()
        self.conv = CONV[ndim](width, width, 2, stride=2)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        return self.conv(x)


class Up(nn.Module):
    """Doubles the grid: nearest neighbour, then whatever block follows smooths."""

    def __init__(self, ndim: int, width: int):
        super().__init__()

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Attention(nn.Module):
    """Self-attention over all places, for grids of at most a few hundred."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = norm(width)
        self.heads = next(h for h in range(max(1, width // 32), 0, -1) if width % h == 0)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        places = self.norm(x).flatten(2).transpose(1, 2)  # B N C
        q, k, v = self.qkv(places).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # B heads N C/heads
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.out(seen).transpose(1, 2).reshape(x.shape)


class Fourier(nn.Module):
    """cos and sin of t at fixed log-spaced frequencies from 1/4 to 64 turns over [0, 1]."""

    rates: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("rates", 2 * math.pi * torch.logspace(-2, 6, width // 2, base=2), persistent=False)

    def forward(self, t: Float[Tensor, " B"]) -> Float[Tensor, "B E"]:
        angles = t[:, None] * self.rates
        return torch.cat([angles.cos(), angles.sin()], -1)


def conv(ndim: int, c_in: int, c_out: int) -> nn.Conv1d | nn.Conv2d | nn.Conv3d:
    return CONV[ndim](c_in, c_out, 3, padding=1)


def norm(width: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(8, width), width)


def padded(x: Tensor, multiple: int) -> Tensor:
    """Each axis filled up with its edge value to a multiple, so that any size halves evenly."""
    short = [-n % multiple for n in x.shape[2:]]
    if not any(short):
        return x
    return F.pad(x, [p for n in reversed(short) for p in (0, n)], mode="replicate")


def fold(x: Tensor, p: int) -> Tensor:
    """Space to depth: (B, C, p h, p w) -> (B, C p p, h, w)."""
    if p == 1:
        return x
    for axis in range(2, x.ndim):
        x = torch.cat([x[(slice(None),) * axis + (slice(i, None, p),)] for i in range(p)], 1)
    return x


def unfold(x: Tensor, p: int) -> Tensor:
    """Depth to space, the inverse of `fold`."""
    if p == 1:
        return x
    for axis in reversed(range(2, x.ndim)):
        x = torch.stack(x.chunk(p, 1), axis + 1).flatten(axis, axis + 1)
    return x


def channels_last(net: Network) -> Network:
    """Weights laid out for pictures whose channels lie together: faster on most processors, the same values."""
    return net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
