"""Classifier score: how surely samples are of one label each, and of how many labels (Salimans et al. 2016, Sec. 4).

    exp(mean_i KL(p(y | x_i) || p(y)))  =  exp(H[mean_i p_i] - mean_i H[p_i]),     H[p] = -sum_y p_y log p_y

It is the Inception score of the data's own classifier. The published rule, the more the better, rewards samples surer
than real ones; here the best is what real samples score (Barratt & Sharma 2018, "A Note on the Inception Score").
"""

import torch
from jaxtyping import Float
from torch import Tensor

from aurify.evaluate.metric import Blocks, Metric


class ClassifierScore(Metric):
    """From 1 (unsure, or one label only) to K labels. Real samples' score, which stands beside it, is the aim; the
    score itself looks at made samples alone. Its bias of order 1/n is taken off by the jackknife (Chong & Forsyth
    2020).
    """

    of = "probabilities"
    title = "classifier score"
    source = "Salimans et al. 2016, Sec. 4, with a classifier of the data's own labels"
    better = "real"
    unbiased = True
    sees = ("dropped-modes",)

    def value(self, real: Float[Tensor, "n K"], made: Float[Tensor, "m K"]) -> float:
        return float(score(made.sum(0), entropy(made).sum(), len(made)))

    def without(self, real: Float[Tensor, "n K"], made: Float[Tensor, "m K"], blocks: Blocks) -> Float[Tensor, " B"]:
        of = torch.nn.functional.one_hot(blocks[1], blocks.number).double()
        H = entropy(made)
        return score(made.sum(0) - of.T @ made, H.sum() - of.T @ H, len(made) - of.sum(0))


def score(p: Float[Tensor, "*B K"], H: Float[Tensor, "*B"], m: Float[Tensor, "*B"] | int) -> Float[Tensor, "*B"]:
    """From sums of p_i and of H[p_i] over m samples."""
    m = torch.as_tensor(m, dtype=p.dtype)
    return (entropy(p / m[..., None]) - H / m).exp()


def entropy(p: Float[Tensor, "*B K"]) -> Float[Tensor, "*B"]:
    return -torch.xlogy(p, p).sum(-1)
