"""Symbols in any order, each told from all that are known: masked language modelling as a model of whole samples.

    p(x) = p(m) mean_o prod_i p(x_o(i) | x_o(1) ... x_o(i-1), m)                  o an order (Uria et al. 2014)
    log p(x) >= log p(m) + E_k m/k sum_(i hidden) log p(x_i | x not hidden)     k of m hidden (Hoogeboom et al. 2022)

m is how many symbols there are, k is uniform in 1 ... m, and the hidden places are any k of them. BERT (Devlin et al.
2019) hides 15 % always: it can fill in a little, and make nothing. With every share from one symbol to all, the same
training is a bound on a likelihood, and the network can begin with nothing.

A family brings `tell`, from symbols (n, L) with HIDDEN where they are hidden, and m (n,), to logits (n, L, V).

    n samples, L length of the spec, V alphabet
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aurify.ancestral import choose
from aurify.rng import Rng

HIDDEN = -1

Tell = Callable[[Tensor, Tensor], Tensor]


def bound(tell: Tell, x: Tensor, m: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """m/k sum of log p over the hidden places, (n,); u (n,) and v (n, L) uniform: how many are hidden, and which."""
    k = 1 + (u * m).long().clamp(max=m - 1)
    hidden = ranks(v, there(x, m)) < k[:, None]
    logits = tell(x.masked_fill(hidden, HIDDEN), m)
    log_p = -F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="none").view(x.shape)
    return torch.where(hidden, log_p, 0.0).sum(1) * m / k.clamp(min=1)


def there(x: Tensor, m: Tensor) -> Tensor:
    """The first m places of each row, bool (n, L)."""
    return torch.arange(x.shape[1], device=x.device) < m[:, None]


def ranks(v: Tensor, among: Tensor) -> Tensor:
    """The place of each v in the order of its row's, counted among those that are true; L for the others."""
    order = v.masked_fill(~among, 2.0).argsort(dim=1, stable=True).argsort(dim=1)
    return order.masked_fill(~among, v.shape[1])


def filled(tell: Tell, x: Tensor, m: Tensor, rng: Rng, options: Any, never: int | None = None) -> Tensor:
    """x with its hidden places filled in an order of chance, over options.steps; where these are fewer than the hidden
    places, those of one step do not see each other, and samples no longer follow p.

    Where `tell` gives 2 n rows, the second half are the same rows with nothing asked: guidance, as in `ancestral`.
    """
    v, u = rng.uniform(x.shape[1]).to(x.device), rng.uniform(x.shape[1]).to(x.device)
    hidden = (x == HIDDEN) & there(x, m)
    left = hidden.sum(1)
    steps = left.clamp(max=options.steps)
    turn = ranks(v, hidden) * steps[:, None] // left[:, None].clamp(min=1)  # the step in which each place is filled
    for t in range(int(steps.max())):
        logits = tell(x, m)
        if len(logits) > len(x):
            asked, free = logits.chunk(2)
            logits = torch.where(asked.isfinite(), free + options.guidance * (asked - free), asked)
        chosen = choose(logits.flatten(0, 1), u.flatten(), options, never).view(x.shape)
        x = torch.where(hidden & (turn == t), chosen, x)
    return x
