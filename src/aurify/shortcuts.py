"""Shortcut models: one network that knows where its field leads in a moment and in a long step (Frans et al. 2024).

    u(x, t, h) = (x_{t + h} - x_t) / h     the mean velocity over the next h; u(x, t, 0) = v(x, t), the field itself
    u(x, t, 2h) = (u(x, t, h) + u(x + h u(x, t, h), t + h, h)) / 2                                          (Eq. 3)

Some rows of every batch learn a long step from two of half its length that the network makes itself, the others the
field as ever. The shortest step is learned from the field by the midpoint rule, so that little error is handed upwards.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from aurify.rng import Rng

HALVINGS = 3  # steps have lengths 1, 1/2, 1/4, 1/8
SHORTEST = 2.0**-HALVINGS

Leap = Callable[[Tensor, Tensor, Tensor], Tensor]  # u(x, t, h), t and h (B,)


def drawn(t: Tensor, share: float, rng: Rng) -> tuple[Tensor, Tensor]:
    """(t, h), each (B,): a share of the rows gets a step length h at random and a start that is a multiple of it; the
    others keep their t, with h = 0."""
    u = rng.uniform(3).to(t)
    h = 0.5 ** (u[:, 1] * (HALVINGS + 1)).floor()
    start = (u[:, 2] / h).floor() * h
    chosen = u[:, 0] < share
    return torch.where(chosen, start, t), torch.where(chosen, h, torch.zeros_like(h))


def target(u: Leap, x: Tensor, t: Tensor, h: Tensor) -> Tensor:
    """What u(x, t, h) should be, from halves of the step; for the shortest v(x + h/2 v(x, t), t + h/2).

    x (B, *grid); u at h = 0 is the field v that is to be followed, guided or not.
    """
    shortest = h <= SHORTEST
    part = torch.where(shortest, torch.zeros_like(h), h / 2)
    first = u(x, t, part)
    second = u(x + rows(h / 2, x) * first, t + h / 2, part)
    return torch.where(rows(shortest, x), second, (first + second) / 2)


def rows(values: Tensor, x: Tensor) -> Tensor:
    """(B,) shaped to meet a batch."""
    return values.reshape(-1, *[1] * (x.ndim - 1))
