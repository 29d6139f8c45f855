"""Recall: the share of real samples that could have been made (Kynkaanniemi et al. 2019, Eq. 1 and 2).

    1/n sum_i [|x_i - y_j| <= r_j for some j]

x_i real, y_j made, r_j the distance of y_j to its k-th nearest other made sample. Strays have large balls, which
flatter it.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from aurify.evaluate.metric import Metric
from aurify.evaluate.neighbours import K, mean_kept, neighbourhoods, share_growth


class Recall(Metric):
    """Higher is better, 1 at most. Depends on n, m and k: compare at equal ones, and beside what real samples reach."""

    of = "features"
    title = "recall (5 neighbours)"
    source = "Kynkaanniemi et al. 2019, Eq. 2, k = 5, on these features"
    better = "higher"
    smallest = K + 2
    sees = ("blur", "dropped-modes", "repeats")

    def value(self, real: Float[Tensor, "n F"], made: Float[Tensor, "m F"]) -> float:
        everyone = (torch.ones(len(x), 1, dtype=torch.bool) for x in (real, made))
        return float(self.of_selections(real, made, *everyone))

    def without(
        self,
        real: Float[Tensor, "n F"],
        made: Float[Tensor, "m F"],
        blocks: tuple[Int[Tensor, " n"], Int[Tensor, " m"]],
    ) -> Float[Tensor, " B"]:
        every = torch.arange(int(torch.cat(blocks).max()) + 1)
        return self.of_selections(real, made, *(block[:, None] != every for block in blocks))

    def of_selections(
        self,
        real: Float[Tensor, "n F"],
        made: Float[Tensor, "m F"],
        left: Bool[Tensor, "n C"],
        right: Bool[Tensor, "m C"],
    ) -> Float[Tensor, " C"]:
        """The figure of each of C selections of samples, which is what intervals are made from."""
        found = neighbourhoods(real, made, left, right)
        return mean_kept(found.reached > 0, left)

    def growth(self, whole: float, half: float) -> float:
        return share_growth(whole, half)
