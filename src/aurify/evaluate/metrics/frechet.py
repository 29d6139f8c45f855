"""Frechet distance between Gaussians fitted to two sets of features (Dowson & Landau 1982; Heusel et al. 2017).

    d2 = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^(1/2) S2 S1^(1/2))^(1/2)

Any root R of S1, R R' = S1, gives the symmetric matrix R' S2 R the eigenvalues of S1^(1/2) S2 S1^(1/2): Cholesky's is
the cheapest, and eigenvectors give one where S1 is singular. All are eigenvalues of a symmetric matrix, hence real,
which those of S1 S2 in floating point need not be.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.metric import Blocks, Made, Metric, Real
from aurify.evaluate.moments import Moments, moments, moments_without

PANEL = 256  # columns of a symmetric matrix computed at a time


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
    sees = ("noise", "blur", "dropped-modes", "repeats")

    def value(self, real: Real, made: Made) -> float:
        return distance(moments(real), moments(made))

    def without(self, real: Real, made: Made, blocks: Blocks) -> Float[Tensor, " B"]:
        count = blocks.number
        pairs = zip(moments_without(real, blocks[0], count), moments_without(made, blocks[1], count), strict=True)
        return torch.tensor([distance(*pair) for pair in pairs], dtype=torch.float64)


def distance(a: Moments, b: Moments) -> float:
    """d2 of two Gaussians."""
    R = root(a.covariance)
    eigenvalues = torch.linalg.eigvalsh(lower(R, b.covariance)).clamp(min=0)
    traces = a.covariance.trace() + b.covariance.trace()
    return float((a.mean - b.mean).square().sum() + traces - 2 * eigenvalues.sqrt().sum())


def root(S: Float[Tensor, "F F"]) -> Float[Tensor, "F F"]:
    """Lower triangular R with R R' = S."""
    R, failed = torch.linalg.cholesky_ex(S)
    if not failed:
        return R
    eigenvalues, vectors = torch.linalg.eigh(S)
    return torch.linalg.qr((vectors * eigenvalues.clamp(min=0).sqrt()).T).R.T


def lower(R: Float[Tensor, "F F"], S: Float[Tensor, "F F"]) -> Float[Tensor, "F F"]:
    """The lower half of R' S R, which is all that `eigvalsh` reads; R's zeros are passed over."""
    M, r, s = torch.zeros_like(S), R.numpy(), S.numpy()
    for a in range(0, len(S), PANEL):
        M[a:, a : a + PANEL] = torch.from_numpy(r[a:, a:].T @ (s[a:, a:] @ r[a:, a : a + PANEL]))
    return M
