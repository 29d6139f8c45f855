"""The nearest training sample of a grid, whatever small edits lie between: mirrored, shifted, brighter, noisy, coded.

    a(x)      x at no more than `PLACES` places, smoothed a little against noise, less its mean, of unit norm
    d(x, t)   min_g |a(crop_g x) - a(crop t)|     crop t leaves out a margin at every edge; crop_g x is as large and
                                                  lies up to a margin away from the middle, mirrored or not

Crops that move over the sample compare real places only: nothing is made up at the edges. Searching every alignment of
every training sample would cost hours. `WIDE` are found on the principal axes of coarse versions, of a few alignments
which lie within half a place of all; of these `CANDIDATES` on coarse versions of every alignment; on these the search
is exact.
"""

import math
from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor

from aurify.evaluate.nearest import NEIGHBOURS, Looked, suspicion
from aurify.evaluate.samples import Samples
from aurify.nets.conv import shrink

PLACES = 1024  # of a sample as it is compared: 32 x 32, 10 x 10 x 10, or 1024
MARGIN = 2  # places along each axis by which a copy may be shifted
COARSE, AXES = 100, 32  # numbers in a coarse version, and of its principal axes
WIDE, CANDIDATES = 2048, 64  # training samples that the first and the second search keep
QUERIES, TRAIN = 32, 1024  # samples compared at a time: their products stay in the processor's cache
BLEND = {  # by margin, rows: means of neighbouring shifts -m ... m that stand for them in the first search
    0: [[1.0]],
    1: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    2: [[0.5, 0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.5, 0.5]],
}

Grids = Float[Tensor, "n C *size"]


class Pictures:
    """Training samples (n, C, *size) to search among, with any number of axes. Rows (no axes) are compared as they are,
    in standard deviations."""

    AT_ONCE = 1024

    def __init__(self, train: Samples):
        self.small = torch.cat([smooth(shrunk(part)) for part in train.grid.split(TRAIN)])
        self.size = tuple(self.small.shape[2:])
        self.margins = margins(self.size)
        self.mean, self.deviation = self.small.mean(0), self.small.std(0, correction=0).clamp_min(1e-6)
        self.coarse = torch.cat([self.vectors(coarsened(self.middle(part))) for part in self.small.split(TRAIN)])
        self.half = self.coarse.square().sum(1) / 2
        self.axes = torch.linalg.eigh(self.coarse.T @ self.coarse).eigenvectors[:, -AXES:]
        self.short = self.coarse @ self.axes

    def look(self, samples: Samples) -> Looked:
        """Column 0: `suspicion` of the distances."""
        found = [self.nearest(part) for part in samples.grid.split(QUERIES)]
        distance, index = (torch.cat(parts) for parts in zip(*found, strict=True))
        return Looked(suspicion(distance)[:, None], index[:, 0], distance[:, 0])

    def nearest(self, x: Grids) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
        """d(x, t) to the nearest training samples, and which they are; nearest first."""
        x = smooth(shrunk(x))
        index = self.candidates(x)  # (n, c)
        ours = self.vectors(self.crops(x).flatten(0, 1)).unflatten(0, (len(x), -1))  # (n, g, D)
        theirs = self.vectors(self.middle(self.small[index.flatten()])).unflatten(0, index.shape)  # (n, c, D)
        distance = torch.cdist(ours, theirs).amin(1).double()
        found = distance.topk(min(NEIGHBOURS, index.shape[1]), largest=False)
        return found.values, index.gather(1, found.indices)

    def candidates(self, x: Grids) -> Int[Tensor, "n k"]:
        """The nearest on coarse versions, those with the greatest a . t - |t|^2 / 2 over alignments a."""
        coarse = coarsened(self.crops(x).flatten(0, 1)).unflatten(0, (len(x), -1))  # (n, g, C, *coarse)
        blended = torch.einsum("bg,ng...->nb...", self.blend, coarse)
        few = self.vectors(blended.flatten(0, 1)) @ self.axes  # (n b, axes)
        likeness = [
            torch.addmm(-half, few, t.T).unflatten(0, (len(x), -1)).amax(1)
            for t, half in zip(self.short.split(TRAIN), self.half.split(TRAIN), strict=True)
        ]
        wide = torch.cat(likeness, 1).topk(min(WIDE, len(self.coarse)), sorted=False).indices  # (n, w)
        every = self.vectors(coarse.flatten(0, 1)).unflatten(0, (len(x), -1))  # (n, g, D)
        exact = (every @ self.coarse[wide].mT - self.half[wide][:, None]).amax(1)
        return wide.gather(1, exact.topk(min(CANDIDATES, wide.shape[1])).indices)

    def middle(self, x: Grids) -> Float[Tensor, "n C *crop"]:
        return x[(..., *(slice(m, n - m) for m, n in zip(self.margins, self.size, strict=True)))]

    def crops(self, x: Grids) -> Float[Tensor, "n g C *crop"]:
        """Every crop as large as the middle; of pictures and films the mirror image's too."""
        starts = [range(2 * m + 1) for m in self.margins]
        sizes = [n - 2 * m for m, n in zip(self.margins, self.size, strict=True)]
        sides = (x, x.flip(-1)) if len(self.size) > 1 else (x,)
        cuts = [tuple(slice(a, a + n) for a, n in zip(at, sizes, strict=True)) for at in product(*starts)]
        return torch.stack([side[(..., *cut)] for side in sides for cut in cuts], 1)

    @property
    def blend(self) -> Float[Tensor, "b g"]:
        """Crops to blended crops: the product of `BLEND` along the axes, for each side."""
        whole = torch.eye(2 if len(self.size) > 1 else 1)
        for m in self.margins:
            whole = torch.kron(whole, torch.tensor(BLEND[m]))
        return whole

    def vectors(self, x: Grids) -> Float[Tensor, "n D"]:
        """Less the mean and of unit norm, so that brightness and contrast do not count; a blank sample is zero."""
        if not self.size:
            return (x - self.mean) / self.deviation
        x = x.flatten(1)
        x = x - x.mean(1, keepdim=True)
        norm = x.norm(dim=1, keepdim=True)
        return x / torch.where(norm > 1e-4, norm, torch.inf)


def compared(size: tuple[int, ...]) -> tuple[int, ...]:
    """The size at which samples of this size are compared: at most `PLACES` places."""
    if math.prod(size) <= PLACES:
        return size
    side = round(PLACES ** (1 / len(size)))
    return tuple(min(side, n) for n in size)


def margins(size: tuple[int, ...]) -> tuple[int, ...]:
    """Of samples at the size at which they are compared."""
    return tuple(min(MARGIN, n // 8) for n in size)


def reach(size: tuple[int, ...]) -> tuple[int, ...]:
    """By how many of its own places along each axis a copy may be shifted and is still looked for."""
    small = compared(size)
    return tuple(m * n // s for m, n, s in zip(margins(small), size, small, strict=True))


def shrunk(x: Grids) -> Float[Tensor, "n C *less"]:
    """At the size at which samples are compared, by means over blocks."""
    size = compared(tuple(x.shape[2:]))
    return x if size == x.shape[2:] else shrink(x, size)


def smooth(x: Grids) -> Grids:
    """(1 2 1) / 4 along every axis: takes six tenths of white noise away in two dimensions, and little of a sample."""
    for axis in range(2, x.ndim):
        n = x.shape[axis]
        first, last = x.narrow(axis, 0, 1), x.narrow(axis, n - 1, 1)
        wide = torch.cat((first, x, last), axis)
        x = (wide.narrow(axis, 0, n) + 2 * x + wide.narrow(axis, 2, n)) / 4
    return x


def coarsened(x: Grids) -> Float[Tensor, "n C *less"]:
    """Low-pass, by means over blocks: noise, coding and half a place of shift then hardly count."""
    if x.ndim == 2:
        return x
    side = max(2, int((COARSE / x.shape[1]) ** (1 / (x.ndim - 2))))
    return shrink(x, tuple(min(side, n, max(n // 2, 6)) for n in x.shape[2:]))
