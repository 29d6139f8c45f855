"""Labels that a classifier reads in real samples and hardly ever in made ones: distances forgive it, users do not.

A label is missing where its share of the samples is shown (one-sided binomial, p < 0.001) to lie below half of what the
lower end of its interval among real samples says.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from aurify.evaluate import binomial

LEVEL = 1e-3
NAMED = 5  # labels that are told of


def missing(made: Float[Tensor, "n K"], real: Float[Tensor, "m K"], names: Sequence[str]) -> tuple[str, ...]:
    """A sentence for each label that is missing, from probabilities of the labels."""
    K, n, m = made.shape[1], len(made), len(real)
    if len(names) != K:
        return ()
    ours, theirs = (torch.bincount(p.argmax(1), minlength=K).tolist() for p in (made, real))
    told = [
        f"{name} is read in {k} of {n} samples, but in {j} of {m} real ones: the samples lack it."
        for name, k, j in zip(names, ours, theirs, strict=True)
        if binomial.at_least(n - k, n, 1 - binomial.interval(j, m)[0] / 2) < LEVEL
    ]
    more = [f"{len(told) - NAMED} more labels are missing."] if len(told) > NAMED else []
    return (*told[:NAMED], *more)
