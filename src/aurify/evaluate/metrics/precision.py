"""Precision: the share of made samples that look real (Kynkaanniemi et al. 2019, Eq. 1 and 2).

    1/m sum_j [|x_i - y_j| <= r_i for some i]

x_i real, y_j made, r_i the distance of x_i to its k-th nearest other real sample.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from aurify.evaluate.metric import Metric
from aurify.evaluate.neighbours import K, mean_kept, neighbourhoods, share_growth


class Precision(Metric):
    """Higher is better, 1 at most. Depends on n, m and k: compare at equal ones, and beside what real samples reach."""

    of = "features"
    title = "precision (5 neighbours)"
    source = "Kynkaanniemi et al. 2019, Eq. 2, k = 5, on these features"
    better = "higher"
    smallest = K + 2
    sees = ("noise",)

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
        return mean_kept(found.holding > 0, right)

    def growth(self, whole: float, half: float) -> float:
        return share_growth(whole, half)
