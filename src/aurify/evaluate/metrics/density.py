"""Density: how many neighbourhoods of real samples a made one lies in (Naeem et al. 2020, Sec. 3).

    1/(k m) sum_j sum_i [|x_i - y_j| <= r_i]

x_i real, y_j made, r_i the distance of x_i to its k-th nearest other real sample. A real outlier, whose ball is large
and nearly empty, counts little here, where precision counts it in full.
"""

import math

from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.local import Left, Local, Right
from aurify.evaluate.metric import Made, Real
from aurify.evaluate.neighbours import K, mean_kept, neighbourhoods


class Density(Local):
    """About 1 for real samples; less away from them, more where made ones crowd together where real ones are many."""

    title = "density (5 neighbours)"
    source = "Naeem et al. 2020, Sec. 3, k = 5, on these features"
    better = "real"
    bounds = (0.0, math.inf)
    smallest = K + 2
    sees = ("noise", "blur")

    def of_selections(self, real: Real, made: Made, left: Left, right: Right) -> Float[Tensor, " C"]:
        found = neighbourhoods(real, made, left, right)
        return mean_kept(found.holding, right) / K

    def growth(self, whole: float, half: float) -> float:
        return 1.0
