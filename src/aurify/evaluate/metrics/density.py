"""Density: how many neighbourhoods of real samples a made one lies in (Naeem et al. 2020, Sec. 3).

    1/(k m) sum_j sum_i [|x_i - y_j| <= r_i]

x_i real, y_j made, r_i the distance of x_i to its k-th nearest other real sample. A real outlier, whose ball is large
and nearly empty, counts little here, where precision counts it in full.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from aurify.evaluate.metric import Metric
from aurify.evaluate.neighbours import K, mean_kept, neighbourhoods


class Density(Metric):
    """About 1 for real samples; less away from them, more where made ones crowd together where real ones are many."""

    of = "features"
    title = "density (5 neighbours)"
    source = "Naeem et al. 2020, Sec. 3, k = 5, on these features"
    better = "real"
    smallest = K + 2
    sees = ("noise", "blur")

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
        return mean_kept(found.holding, right) / K

    def growth(self, whole: float, half: float) -> float:
        return 1.0
