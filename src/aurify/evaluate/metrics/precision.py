"""Precision: the share of made samples that look real (Kynkaanniemi et al. 2019, Eq. 1 and 2).

    1/m sum_j [|x_i - y_j| <= r_i for some i]

x_i real, y_j made, r_i the distance of x_i to its k-th nearest other real sample.
"""

from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.local import Left, Local, Right
from aurify.evaluate.metric import Made, Real
from aurify.evaluate.neighbours import K, mean_kept, neighbourhoods, share_growth


class Precision(Local):
    """Higher is better, 1 at most. Depends on n, m and k: compare at equal ones, and beside what real samples reach."""

    title = "precision (5 neighbours)"
    source = "Kynkaanniemi et al. 2019, Eq. 2, k = 5, on these features"
    better = "higher"
    bounds = (0.0, 1.0)
    share = True
    smallest = K + 2
    sees = ("noise",)

    def of_selections(self, real: Real, made: Made, left: Left, right: Right) -> Float[Tensor, " C"]:
        found = neighbourhoods(real, made, left, right)
        return mean_kept(found.holding > 0, right)

    def growth(self, whole: float, half: float) -> float:
        return share_growth(whole, half, 1.05)
