"""C_T: are generated samples nearer to the training samples than held-out ones are? (Meehan, Chaudhuri & Dasgupta 2020,
"A Non-Parametric Test to Detect Data-Copying in Generative Models", Definition 4.1 and Section 4.2.)

    d(x)    distance of x to its nearest training sample
    U       number of pairs (made, held) in which d(made) > d(held), half for a tie
    Z       (U - m n / 2) / sqrt(m n (m + n + 1) / 12)      Mann & Whitney 1947, corrected for ties
    C_T     sum_cells P(cell) Z(cell) / sum_cells P(cell)   P: share of held-out samples; small cells are left out

Far below 0: copying, or samples more typical than real ones. Far above 0: the samples miss the data. It depends on m
and n, and a model with few copies among many fresh samples passes it: the alarm rests on `alarm`, not on this.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from aurify.evaluate.kmeans import beyond, lloyd, starts
from aurify.rng import derive

CELLS, ROUNDS = 5, 10
LEAST = 20  # samples of either side in a cell


def z(made: Float[Tensor, " m"], held: Float[Tensor, " n"]) -> float:
    """Standard normal if both come from one distribution; negative where `made` are smaller."""
    m, n = len(made), len(held)
    both = torch.cat((made, held)).double()
    _, place, counts = both.unique(return_inverse=True, return_counts=True)
    below = counts.cumsum(0) - counts
    ranks = (below + (counts + 1) / 2)[place]
    u = float(ranks[:m].sum()) - m * (m + 1) / 2
    ties = float((counts.double() ** 3 - counts).sum()) / ((m + n) * (m + n - 1))
    variance = m * n / 12 * (m + n + 1 - ties)
    return (u - m * n / 2) / math.sqrt(variance) if variance > 0 else 0.0


def c_t(
    made: tuple[Float[Tensor, " m"], Int[Tensor, " m"]], held: tuple[Float[Tensor, " n"], Int[Tensor, " n"]]
) -> float | None:
    """From distances and cells of both sides; None where no cell has enough samples."""
    total, weight = 0.0, 0
    for cell in held[1].unique():
        ours, theirs = made[0][made[1] == cell], held[0][held[1] == cell]
        if min(len(ours), len(theirs)) >= LEAST:
            total += len(theirs) * z(ours, theirs)
            weight += len(theirs)
    return total / weight if weight else None


def p_value(statistic: float) -> float:
    """P(Z <= statistic) of a standard normal: small where samples are nearer than chance allows."""
    return math.erfc(-statistic / math.sqrt(2)) / 2


def cells(x: Float[Tensor, "n F"], seed: int) -> Float[Tensor, "k F"]:
    """Centres of k cells (k-means)."""
    generator = torch.Generator().manual_seed(derive("cells", seed))
    return lloyd(x, starts(x, min(CELLS, len(x)), generator), ROUNDS)[0]


def cell_of(x: Float[Tensor, "n F"], centres: Float[Tensor, "k F"]) -> Int[Tensor, " n"]:
    """The nearest centre of each row."""
    return beyond(x, centres).argmin(1)
