"""Label accuracy: of samples asked for by label, the share in which a classifier reads that label.

    1/m sum_i [argmax_y p(y | x_i) = y_i]

The classifier saw the real training split alone. The floor is its accuracy on unseen real samples (the classification
accuracy score of Shmelkov et al. 2018, "How good is my GAN?", GAN-test).
"""

from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.metric import Metric


class LabelAccuracy(Metric):
    """A share; `real` is not used. It can be bought with sameness, so read it beside coverage."""

    of = "asked"
    title = "label accuracy"
    source = "Shmelkov et al. 2018, Sec. 3 (GAN-test)"
    better = "higher"
    bounds = (0, 1)
    share = True
    sees = ("noise",)

    def value(self, real: Float[Tensor, " n"], made: Float[Tensor, " m"]) -> float:
        return float(made.mean())
