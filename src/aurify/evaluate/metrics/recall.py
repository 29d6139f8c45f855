"""Recall: the share of real samples that could have been made (Kynkaanniemi et al. 2019, Eq. 1 and 2).

    1/n sum_i [|x_i - y_j| <= r_j for some j]

x_i real, y_j made, r_j the distance of y_j to its k-th nearest other made sample. Strays have large balls, which
flatter it.
"""

from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.local import Left, Local, Right
from aurify.evaluate.metric import Made, Real
from aurify.evaluate.neighbours import K, mean_kept, neighbourhoods, share_growth


class Recall(Local):
    """Higher is better, 1 at most. Depends on n, m and k: compare at equal ones, and beside what real samples reach."""

    title = "recall (5 neighbours)"
    source = "Kynkaanniemi et al. 2019, Eq. 2, k = 5, on these features"
    better = "higher"
    bounds = (0.0, 1.0)
    share = True
    smallest = K + 2
    sees = ("blur", "dropped-modes", "repeats")

    def of_selections(self, real: Real, made: Made, left: Left, right: Right) -> Float[Tensor, " C"]:
        found = neighbourhoods(real, made, left, right)
        return mean_kept(found.reached > 0, left)

    def growth(self, whole: float, half: float) -> float:
        return share_growth(whole, half, 1.10)
