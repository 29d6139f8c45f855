"""Coverage: the share of real samples with a made one in their neighbourhood (Naeem et al. 2020, Sec. 3).

    1/n sum_i [|x_i - y_j| <= r_i for some j]

x_i real, y_j made, r_i the distance of x_i to its k-th nearest other real sample. For equal distributions and n = m it
is 1 - 2^-k on average, whatever they are.
"""

from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.local import Left, Local, Right
from aurify.evaluate.metric import Made, Real
from aurify.evaluate.neighbours import K, mean_kept, neighbourhoods, share_growth


class Coverage(Local):
    """Higher is better, 1 at most. Depends on n, m and k: compare at equal ones, and beside what real samples reach."""

    title = "coverage (5 neighbours)"
    source = "Naeem et al. 2020, Sec. 3, k = 5, on these features"
    better = "higher"
    bounds = (0.0, 1.0)
    share = True
    smallest = K + 2
    sees = ("noise", "blur", "dropped-modes", "repeats")

    def of_selections(self, real: Real, made: Made, left: Left, right: Right) -> Float[Tensor, " C"]:
        found = neighbourhoods(real, made, left, right)
        return mean_kept(found.held > 0, left)

    def growth(self, whole: float, half: float) -> float:
        return share_growth(whole, half, 1.03)
