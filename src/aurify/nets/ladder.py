"""An encoder up and a decoder down one pyramid of grids, with a latent at each of its topmost layers.

    B batch, C channels, Z latent size, K entries of the condition vector, *grid the sample's own axes
    layer 0: a vector z_0 above the pyramid; layer l: a grid z_l on the l-th lowest level

Each posterior is told relative to its prior, in the prior's own units (Vahdat & Kautz 2020, NVAE, Eq. 2):

    p(z_l | z_<l) = N(m, c^2)      q(z_l | z_<l, x) = N(m + c d, (c s)^2)      z_l = m + c (d + s e),  e ~ N(0, 1)

so that neither the divergence of the two nor the ratio of their densities needs m and c. Those of z_0 follow from the
condition, as in Sohn et al. 2015 (Eq. 4), and are 0 and 1 where there is none: else the latents tell the label
themselves, and what they tell goes before what is asked for. The encoder runs once; the decoder meets its features on
the way down (Soenderby et al. 2016, ladder VAE).
"""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from aurify.nets.conv import SLOPE, Block, conv, he, pyramid, resize, shrink, widths
from aurify.nets.unet import fold, padded, unfold

WIDEST = 5.0  # |log s| and |log c| stay below it


class Latent(NamedTuple):
    """What the posterior of one layer is, relative to its prior: z = m + c (d + s e)."""

    d: Float[Tensor, "B *latent"]
    log_s: Float[Tensor, "B *latent"]

    def divergence(self) -> Float[Tensor, "B latents"]:
        """KL(q || p) of each entry: (d^2 + s^2 - 1) / 2 - log s."""
        return ((self.d.square() + (2 * self.log_s).exp() - 1) / 2 - self.log_s).flatten(1)

    def log_ratio(self, e: Float[Tensor, "B *latent"]) -> Float[Tensor, " B"]:
        """log p(z) - log q(z) at z = m + c (d + s e)."""
        z = self.d + self.log_s.exp() * e
        return ((e.square() - z.square()) / 2 + self.log_s).flatten(1).sum(1)


class Ladder(nn.Module):
    """The networks of a variational autoencoder.

    Args:
        channels, size: of the sample; any size, () included.
        out: numbers put out for each number of the sample.
        latents: entries of z_0; layers, 1 for z_0 alone. Grids z_l have a fourth of their level's channels.
        vector: width of the condition, 0 for none.
        width, depth, patch: as of conv.Generator; depth 0 makes everything linear.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, ...],
        out: int,
        latents: tuple[int, int],
        vector: int,
        *,
        width: int,
        depth: int,
        patch: int,
    ):
        super().__init__()
        (entries, layers), self.patch = latents, patch
        self.size, self.linear, ndim = size, depth == 0, len(size)
        self.sizes = pyramid(size, self.patch)
        ws = widths(width, len(self.sizes))
        assert 1 <= layers <= 1 + len(ws), f"there are {len(ws)} levels for grids of latents"
        blocks, places = max(1, depth * len(ws)), math.prod(self.sizes[-1])
        folded = channels * self.patch**ndim

        def level(w: int) -> nn.Sequential:
            return nn.Sequential(*(Block(ndim, w, blocks) for _ in range(depth)))

        self.stem = he(conv(ndim, folded, ws[0]), gain=1.0)
        self.up, self.down = nn.ModuleList(map(level, ws)), nn.ModuleList(map(level, ws))
        self.wide = nn.ModuleList(he(conv(ndim, w, below, 1), gain=1.0) for w, below in pairwise(ws))
        self.thin = nn.ModuleList(he(conv(ndim, below, w, 1), gain=1.0) for w, below in pairwise(ws))
        self.told = nn.Linear(vector, ws[-1], bias=False) if vector else None
        self.asked = nn.Linear(vector, entries, bias=False) if vector else None
        self.top = he(nn.Linear(ws[-1] * places, 2 * entries), gain=1.0)
        self.base = he(nn.Linear(entries * (2 if vector else 1), ws[-1] * places), gain=1.0)
        lowest = list(reversed(ws))[: layers - 1]
        self.shapes = [(entries,), *((max(1, w // 4), *self.sizes[-1 - i]) for i, w in enumerate(lowest))]
        rows = [(w, max(1, w // 4)) for w in lowest]
        self.prior = nn.ModuleList(he(conv(ndim, w, 2 * c, 1), gain=0.1) for w, c in rows)
        self.posterior = nn.ModuleList(he(conv(ndim, 2 * w, 2 * c, 1), gain=1.0) for w, c in rows)
        self.into = nn.ModuleList(he(conv(ndim, c, w, 1), gain=1.0) for w, c in rows)
        self.head = he(conv(ndim, ws[0], out * folded), gain=1.0)
        self.top_prior = he(nn.Linear(vector, 2 * entries), gain=1.0) if vector else None

    def labelled(self) -> list[nn.Parameter]:
        """What reads the condition."""
        return [p for part in (self.told, self.asked, self.top_prior) if part is not None for p in part.parameters()]

    def forward(
        self, x: Float[Tensor, "B C *grid"], draws: list[list[Tensor]], vector: Tensor | None
    ) -> list[tuple[Float[Tensor, "B out *grid"], list[Latent]]]:
        """What `decode` gives of each of the draws, through the posteriors of x."""
        features = self.encode(x, vector)
        return [self.decode(e, vector, features) for e in draws]

    def encode(self, x: Float[Tensor, "B C *grid"], vector: Tensor | None) -> list[Tensor]:
        """Features of each level, the lowest first."""
        h, found = self.stem(fold(padded(x, self.patch), self.patch)), []
        for i, level in enumerate(self.up):
            if i:
                h = self.wide[i - 1](shrink(h, self.sizes[i]))
            h = level(h)
            found.append(h)
        if self.told is not None and vector is not None:
            found[-1] = found[-1] + self.told(vector).reshape(len(h), -1, *[1] * (h.ndim - 2))
        return found[::-1]

    def decode(
        self, e: list[Tensor], vector: Tensor | None, features: list[Tensor] | None
    ) -> tuple[Float[Tensor, "B out *grid"], list[Latent]]:
        """From standard normal draws, one of each of `shapes`: through the posteriors where there are features of a
        sample, else through the priors."""
        found: list[Latent] = []
        if features is not None:
            found.append(latent(self.top(self.act(features[0]).flatten(1))))
        h = self.base(self.led(drawn(e[0], found), vector)).reshape(len(e[0]), -1, *self.sizes[-1])
        for i in range(len(self.sizes)):
            if i:
                h = resize(self.thin[-i](h), self.sizes[-1 - i])
            if i < len(self.prior):
                m, log_c = latent(self.prior[i](self.act(h)))
                if features is not None:
                    found.append(latent(self.posterior[i](self.act(torch.cat([h, features[i]], 1)))))
                h = h + self.into[i](m + log_c.exp() * drawn(e[i + 1], found))
            h = self.down[-1 - i](h)
        h = unfold(self.head(self.act(h)), self.patch)
        return h[(..., *(slice(0, n) for n in self.size))], found

    def led(self, z: Float[Tensor, "B Z"], vector: Float[Tensor, "B K"] | None) -> Tensor:
        """z_0 = m + c z of the condition's own prior, with the condition beside it, (B, 2 Z); z where none is known."""
        if self.asked is None or self.top_prior is None:
            return z
        if vector is None:
            return torch.cat([z, torch.zeros_like(z)], 1)
        m, log_c = latent(self.top_prior(vector))
        return torch.cat([m + log_c.exp() * z, self.asked(vector) * math.sqrt(2)], 1)

    def act(self, h: Tensor) -> Tensor:
        return h if self.linear else F.leaky_relu(h, SLOPE)


def latent(h: Tensor) -> Latent:
    """Centre and bounded log width, from two halves of channels."""
    d, log_s = h.chunk(2, 1)
    return Latent(d, WIDEST * torch.tanh(log_s / WIDEST))


def drawn(e: Tensor, found: list[Latent]) -> Tensor:
    """d + s e of the layer found last; e itself where nothing was looked at."""
    return found[-1].d + found[-1].log_s.exp() * e if found else e
