"""A generator and a discriminator without normalisation, for grids of any number of axes and any size.

    B batch, C channels, F features, K entries of the condition vector, Z latent size, *grid the sample's own axes

Residual blocks of two 3x3 convolutions with leaky ReLU; no normalisation, so rows never see each other and the
gradient penalty is that of one sample; instead the weights start so that activations keep their size: He et al. 2015
for the first convolution of a block, zero for the last (Zhang et al. 2019, "Fixup initialization"). Grids shrink by
averaging and grow by linear interpolation, which blur instead of aliasing (Huang et al. 2024, Section 3). A row ()
is a grid of one place, whose convolution is a matrix: there the same blocks make a multilayer perceptron.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from aurify.nets.unet import fold, padded, unfold

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
SLOPE = 0.2  # of the leaky ReLU
BASE = 4  # no axis of the lowest level is longer
FINE = 8  # channels at full size, where a filter sees places side by side that folding takes apart


def pyramid(size: tuple[int, ...], patch: int) -> list[tuple[int, ...]]:
    """Sizes of the levels, largest first: (28, 28) with patch 2 gives (14, 14), (7, 7), (4, 4).

    A single long axis shrinks by 4 a level (Donahue et al. 2019, WaveGAN), several by 2; sizes are rounded up.
    """
    step = 4 if len(size) == 1 else 2
    sizes = [tuple(-(-n // patch) for n in size)]
    while max(sizes[-1], default=0) > BASE:
        sizes.append(tuple(-(-n // step) if n > BASE else n for n in sizes[-1]))
    return sizes


def widths(width: int, levels: int) -> list[int]:
    """Channels of each level: they double as the grid shrinks, up to four times the first."""
    return [width * min(2**i, 4) for i in range(levels)]


class Generator(nn.Module):
    """g(z, vector) -> grid, linear at the end: the discriminator, not a tanh, teaches it the range.

    Args:
        channels, size: of the sample; any size, () included.
        latent: size of z.
        vector: width of the condition, 0 for none.
        width: channels at the largest level; they double with each level below, up to four times.
        depth: residual blocks a level.
        patch: places per side put out at once by the largest level.
    """

    def __init__(
        self, channels: int, size: tuple[int, ...], latent: int, vector: int, *, width: int, depth: int, patch: int
    ):
        super().__init__()
        self.channels, self.size, self.patch, ndim = channels, size, patch, len(size)
        self.sizes = pyramid(size, patch)
        ws = widths(width, len(self.sizes))
        blocks = depth * len(ws)
        self.label = nn.Linear(vector, latent, bias=False) if vector else None
        self.base = he(nn.Linear(latent * (2 if vector else 1), ws[-1] * math.prod(self.sizes[-1])), gain=1.0)
        self.levels = nn.ModuleList(nn.Sequential(*(Block(ndim, w, blocks) for _ in range(depth))) for w in ws)
        self.thin = nn.ModuleList(he(conv(ndim, below, w, 1), gain=1.0) for w, below in pairwise(ws))
        folded = patch > 1 and ndim > 0
        self.head = he(conv(ndim, ws[0], FINE * patch**ndim, 1) if folded else conv(ndim, ws[0], channels), gain=1.0)
        self.fine = he(conv(ndim, FINE, channels), gain=1.0) if folded else None

    def forward(self, z: Float[Tensor, "B Z"], vector: Float[Tensor, "B K"] | None) -> Float[Tensor, "B C *grid"]:
        if self.label is not None:
            asked = torch.zeros_like(z) if vector is None else self.label(vector) * math.sqrt(2)
            z = torch.cat([z, asked], 1)
        h = self.base(z).reshape(len(z), -1, *self.sizes[-1])
        for i in reversed(range(len(self.sizes))):
            h = self.levels[i](h)
            if i:
                h = resize(self.thin[i - 1](h), self.sizes[i - 1])
        h = self.head(F.leaky_relu(h, SLOPE))
        if self.fine is not None:
            h = self.fine(F.leaky_relu(unfold(h, self.patch), SLOPE))
        return h[(..., *(slice(0, n) for n in self.size))]


class Discriminator(nn.Module):
    """d(x, vector) -> logit (B,), by projection: w . phi(x) + (V vector) . phi(x) (Miyato & Koyama 2018, Eq. 3).

    Arguments as of Generator; phi has as many features as the lowest level has channels.
    """

    def __init__(self, channels: int, size: tuple[int, ...], vector: int, *, width: int, depth: int, patch: int):
        super().__init__()
        self.patch, ndim = patch, len(size)
        self.sizes = pyramid(size, patch)
        ws = widths(width, len(self.sizes))
        blocks, features = depth * len(ws), ws[-1]
        folded = patch > 1 and ndim > 0
        self.fine = he(conv(ndim, channels, FINE), gain=1.0) if folded else None
        self.stem = he(conv(ndim, FINE * patch**ndim, ws[0], 1) if folded else conv(ndim, channels, ws[0]), gain=1.0)
        self.levels = nn.ModuleList(nn.Sequential(*(Block(ndim, w, blocks) for _ in range(depth))) for w in ws)
        self.wide = nn.ModuleList(he(conv(ndim, w, below, 1), gain=1.0) for w, below in pairwise(ws))
        self.phi = he(nn.Linear(ws[-1] * math.prod(self.sizes[-1]), features))
        self.logit = he(nn.Linear(features, 1, bias=False), gain=1.0)  # a game of differences never sees a bias
        self.label = he(nn.Linear(vector, features, bias=False), gain=1.0 / math.sqrt(features)) if vector else None

    def forward(self, x: Float[Tensor, "B C *grid"], vector: Float[Tensor, "B K"] | None) -> Float[Tensor, " B"]:
        h = padded(x, self.patch)
        h = self.stem(h if self.fine is None else fold(F.leaky_relu(self.fine(h), SLOPE), self.patch))
        for i, level in enumerate(self.levels):
            if i:
                h = self.wide[i - 1](shrink(h, self.sizes[i]))
            h = level(h)
        phi = F.leaky_relu(self.phi(F.leaky_relu(h.flatten(1), SLOPE)), SLOPE)
        logit = self.logit(phi)[:, 0]
        return logit if self.label is None or vector is None else logit + (self.label(vector) * phi).sum(1)


class Block(nn.Module):
    """h + conv(act(conv(act(h)))).

    Args:
        blocks: how many the network has: the first convolution starts smaller by blocks^(-1/2), the last at zero.
    """

    def __init__(self, ndim: int, width: int, blocks: int):
        super().__init__()
        self.first = he(conv(ndim, width, width), gain=math.sqrt(2 / (1 + SLOPE**2) / blocks))
        self.second = conv(ndim, width, width)
        nn.init.zeros_(self.second.weight)

    def forward(self, h: Float[Tensor, "B C *grid"]) -> Float[Tensor, "B C *grid"]:
        return h + self.second(F.leaky_relu(self.first(F.leaky_relu(h, SLOPE)), SLOPE))


def conv(ndim: int, c_in: int, c_out: int, kernel: int = 3) -> Layer:
    """Keeps the grid's size; without axes it is a matrix."""
    return CONV[ndim - 1](c_in, c_out, kernel, padding=kernel // 2) if ndim else nn.Linear(c_in, c_out)


def he(layer: Layer, gain: float = math.sqrt(2 / (1 + SLOPE**2))) -> Layer:
    """Weights that keep the variance of what comes in, times gain^2 (He et al. 2015, Eq. 10); biases zero."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def resize(h: Tensor, size: tuple[int, ...]) -> Tensor:
    """Linear interpolation up to a size."""
    if by_products(h):
        return along_axes(h, size, partial(F.interpolate, mode="linear"))
    return F.interpolate(h, size=size, mode=("linear", "bilinear", "trilinear")[len(size) - 1])


def shrink(h: Tensor, size: tuple[int, ...]) -> Tensor:
    """Mean of the places that fall together, down to a size."""
    if by_products(h):
        return along_axes(h, size, F.adaptive_avg_pool1d)
    pool: Callable[..., Tensor] = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[len(size) - 1]
    return pool(h, size)


def by_products(h: Tensor) -> bool:
    """Whether sizes change by `along_axes`. Torch's own gradients of such changes add up in any order on a GPU, and so
    end in other bits each time; what its compiler makes of them for processors is wrong (of 2.13)."""
    return h.is_cuda or torch.compiler.is_compiling()


def along_axes(h: Tensor, size: tuple[int, ...], change: Callable[[Tensor, int], Tensor]) -> Tensor:
    """What a linear change of one axis does to each in turn, as products with its matrix."""
    wide = torch.promote_types(h.dtype, torch.float32)
    for axis, n in enumerate(size, 2):
        matrix = change(torch.eye(h.shape[axis], dtype=wide, device=h.device)[None], n)[0]
        h = (h.movedim(axis, -1) @ matrix.to(h)).movedim(-1, axis)
    return h
