"""One step of diffusion's variational bound, from which a network learns the variance of its steps.

    L_k = KL(q(x' | x, x_1) || p(x' | x)), of the last step -log p(x_1 | x)              (Ho et al. 2020, Eq. 5)
    L_hybrid = L_simple + 0.001 K E_k L_k, the means in L_k held fixed     (Nichol & Dhariwal 2021, Eq. 16)

Both sides are normal: q has the small variance of `solvers.variances`, p one between the small and the large.
"""

import math

import torch
from torch import Tensor

from aurify.diffusion import Path
from aurify.solvers import between, variances

STEPS = 1000  # K, of the chain
WEIGHT = 1e-3 * STEPS

Ends = tuple[Tensor, Tensor]  # (x_1, x_0)


def bound(path: Path, t: Tensor, true: Ends, said: Ends, share: Tensor, half: float) -> Tensor:
    """E_k's term for each row, nats a number, (B,).

    Args:
        t: where the step begins, shaped to meet a batch; it ends at t + 1/K.
        true, said: the two ends of the path, and what the network takes them for.
        share: what it says of the variance, free to leave [0, 1] so that its gradient never dies.
        half: half the distance of two grey levels; 0 for data that have none.
    """
    t_next = (t + 1 / STEPS).clamp(max=1)
    small, large = variances(path, t, t_next)
    least = variances(path, torch.tensor(1 - 2 / STEPS).to(t), torch.tensor(1 - 1 / STEPS).to(t))[0]
    small = small.maximum(least)  # of the last step it is 0
    w = between(share, small, large.maximum(small))
    decay = path.alpha(t) * path.sigma(t_next) / (path.alpha(t_next) * path.sigma(t))
    (x_1, x_0), (said_1, said_0) = true, (end.detach() for end in said)
    off = path.alpha(t_next) * (x_1 - said_1) + decay * path.sigma(t_next) * (x_0 - said_0)
    kl = ((w / small).log() + (small + off.square()) / w - 1) / 2
    return torch.where(t_next >= 1, -log_normal(x_1, said_1, w.sqrt(), half), kl).flatten(1).mean(1)


def log_normal(x: Tensor, mean: Tensor, std: Tensor, half: float) -> Tensor:
    """log of the normal density at x; with grey levels, of the mass in x's own, the outermost open outwards (Ho et al.
    2020, Eq. 13)."""
    if not half:
        return -((x - mean) / std).square() / 2 - std.log() - math.log(2 * math.pi) / 2
    above = torch.where(x > 1 - half, torch.ones_like(x), torch.special.ndtr((x + half - mean) / std))
    below = torch.where(x < half - 1, torch.zeros_like(x), torch.special.ndtr((x - half - mean) / std))
    return (above - below).clamp(min=1e-12).log()
