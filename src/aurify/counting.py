"""The M-step as an optimizer: minus the gradient of a log-likelihood in log-probabilities is the expected count.

    n = -dL / d log p            expected counts of a batch, a unit (Eisner 2016, Section 5)
    s <- s + eta (n - s)         what is remembered of earlier batches (Cappé & Moulines 2009, Eq. 11)
    log p <- log (s + prior) - log sum (s + prior)

With eta = 1 on all the data this is expectation maximisation (Baum et al. 1970; Dempster et al. 1977), with falling eta
on parts of it stepwise EM (Liang & Klein 2009), with eta = 1/k on data that hides nothing plain counting.
"""

from typing import Any

import torch
from torch import Tensor

from aurify.family import Params

FLOOR = 1e-30  # of a count: log-probabilities stay finite, and what was never met is as good as impossible
WANTS = {
    "clip": 1e9,
    "warmup": 0.0,
    "ema": 0.0,
    "precision": "float32",
}  # counts are not to be scaled, nor logs averaged


class Counting(torch.optim.Optimizer):
    """Parameters are log-probabilities, each row (last axis) one distribution.

    Args:
        params: tensors or groups, as for every optimizer. One without a gradient stays.
        lr: eta of the first step, at most 1; the loop multiplies it by the run's rate, so its decay lets more and more
            batches be remembered.
        power: eta also falls as (steps + 1) ** -power: 0 with the rate alone, 1 the mean of all batches.
        prior: pseudo-counts of every event, a unit of the loss (a symbol): a Dirichlet prior whose mode is taken.
    """

    def __init__(self, params: Params | list[dict[str, Any]], lr: float = 1.0, power: float = 0.0, prior: float = 0.0):
        super().__init__(params, {"lr": lr, "power": power, "prior": prior})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._count(p, -p.grad, group)

    def _count(self, p: Tensor, n: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state.update(step=torch.zeros((), dtype=torch.long), counts=n.clone())
        eta = min(1.0, group["lr"] * (int(state["step"]) + 1) ** -group["power"])
        s = state["counts"].lerp_(n, eta)
        state["step"] += 1
        p.copy_((s + group["prior"]).clamp_min(FLOOR).log().log_softmax(-1))
