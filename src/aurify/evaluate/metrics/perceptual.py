"""Perceptual distance: how far made samples lie from the nearest real one in features, that of real ones being 1.

    mean_j min_i |x_i - y_j|  /  mean_i min_{k != i} |x_i - x_k|

x_i real, y_j made. A distance in a network's features is what LPIPS is (Zhang et al. 2018); that one takes a certain
network's layers place by place, with weights learned from people, so its name is left to it.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.kernels import parts, squared_distances
from aurify.evaluate.local import Left, Local, Right
from aurify.evaluate.metric import Made, Real
from aurify.evaluate.remembered import remembered


class Perceptual(Local):
    """About 1 for real samples, 0 for those of the reference itself. Sees what looks like nothing real; says nothing of
    variety, which is `diversity`.
    """

    title = "perceptual distance to the nearest real sample (real = 1)"
    source = "nearest neighbours in features, after Zhang et al. 2018 (LPIPS), on these features"
    better = "lower"
    bounds = (0.0, math.inf)
    smallest = 3
    sees = ("noise",)

    def of_selections(self, real: Real, made: Made, left: Left, right: Right) -> Float[Tensor, " C"]:
        centre = real.mean(0)  # of no consequence but for rounding
        x, y = real - centre, made - centre
        apart, usual = nearest(y, x, right, left), among(real, left)
        return torch.where((apart == 0) & (usual == 0), torch.ones_like(usual), apart / usual)

    def growth(self, whole: float, half: float) -> float:
        return 1.0


@remembered
def among(real: Real, left: Left) -> Float[Tensor, " C"]:
    """`nearest` of real samples to one another."""
    x = real - real.mean(0)
    return nearest(x, x, left, left)


def nearest(x: Float[Tensor, "n F"], y: Float[Tensor, "m F"], left: Left, right: Right) -> Float[Tensor, " C"]:
    """The mean distance of x to the nearest y, in each selection; a sample is not its own neighbour. Samples of y that
    are in the same selections are looked through once."""
    patterns, group = right.unique(dim=0, return_inverse=True)
    total = torch.zeros(left.shape[1], dtype=x.dtype)
    for rows in parts(len(x), len(y)):
        d2 = squared_distances(x[rows], y)
        if x is y:
            d2.diagonal(rows.start).fill_(torch.inf)
        each = torch.stack([d2[:, group == g].amin(1) for g in range(len(patterns))])  # (G, n)
        for c, inside in enumerate(patterns.T):
            if bool(inside.any()):
                total[c] += each[inside].amin(0).sqrt() @ left[rows, c].to(x.dtype)
    return total / left.sum(0)
