"""Frechet distance between Gaussians fitted to two sets of features (Dowson & Landau 1982; Heusel et al. 2017).

    d2 = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^(1/2) S2 S1^(1/2))^(1/2)

The eigenvalues of S1^(1/2) S2 S1^(1/2) are those of S2 S1, found as those of R' S2 R, R R' = S1, which is symmetric:
hence they are real, which those of the product itself need not be in floating point. R is the Cholesky root, or any
other where S1 is singular. LAPACK has that problem as one, without the products: for wide matrices that is faster.
"""

import contextlib
from typing import Any

import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.metric import Blocks, Made, Metric, Real
from aurify.evaluate.moments import WIDE, Moments, moments, moments_without


class Frechet(Metric):
    """Lower is better; 0 for equal means and covariances.

    The plain figure is too large by about a constant over n, and by how much depends on the model (Chong & Forsyth
    2020): the jackknife takes that off. Both sets need more samples than features, n > F, or covariances are singular
    and neither figure means much; twice as many is a fair minimum.
    """

    of = "features"
    title = "Frechet distance"
    source = "Heusel et al. 2017, Eq. 6, on these features; extrapolated to infinite n by the jackknife"
    better = "lower"
    unbiased = True
    smallest = 3
    joint = 2
    sees = ("noise", "blur", "dropped-modes", "repeats")

    def value(self, real: Real, made: Made) -> float:
        return distance(moments(real), moments(made))

    def without(self, real: Real, made: Made, blocks: Blocks) -> Float[Tensor, " B"]:
        count = blocks.number
        pairs = zip(moments_without(real, blocks[0], count), moments_without(made, blocks[1], count), strict=True)
        return torch.tensor([distance(*pair) for pair in pairs], dtype=torch.float64)


def distance(a: Moments, b: Moments) -> float:
    """d2 of two Gaussians."""
    traces = a.covariance.trace() + b.covariance.trace()
    shared = eigenvalues(a.covariance, b.covariance).clamp(min=0)
    return float((a.mean - b.mean).square().sum() + traces - 2 * shared.sqrt().sum())


def eigenvalues(A: Float[Tensor, "F F"], B: Float[Tensor, "F F"]) -> Float[Tensor, " F"]:
    """Those of B A, both symmetric, in rising order."""
    how: Any = {"type": 2, "eigvals_only": True, "driver": "gv", "check_finite": False}
    if len(A) >= WIDE:
        with contextlib.suppress(scipy.linalg.LinAlgError):  # A has no Cholesky root
            return torch.from_numpy(scipy.linalg.eigh(B.numpy(), A.numpy(), **how))
    R = root(A)
    return torch.linalg.eigvalsh(R.T @ B @ R)


def root(A: Float[Tensor, "F F"]) -> Float[Tensor, "F F"]:
    """An R with R R' = A: Cholesky's where there is one."""
    R, failed = torch.linalg.cholesky_ex(A)
    if not failed:
        return R
    w, vectors = torch.linalg.eigh(A)
    return vectors * w.clamp(min=0).sqrt()
