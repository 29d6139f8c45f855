"""Muon: momentum, its matrix replaced by the nearest semi-orthogonal one (Jordan et al. 2024); AdamW for the rest."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

MOMENTUM = 0.9  # 0.95 forgets too slowly for runs of some hundred steps
BETAS = (0.9, 0.95)


def orthogonal(g: Tensor, steps: int = 5) -> Tensor:
    """About U V' of g = U S V', for a stack (N, m, n) with m <= n, by Newton-Schulz.

    X <- (a + b G + c G^2) X with G = X X'. All factors are polynomials of the first Gram matrix and commute, so the
    iteration runs on m x m matrices and touches the m x n ones twice. Singular values end in about [0.7, 1.2].
    """
    x = g / (torch.linalg.matrix_norm(g, keepdim=True) + 1e-7)
    gram = x @ x.mT
    eye = torch.eye(gram.shape[-1], dtype=g.dtype, device=g.device)
    product = factor = quintic(gram, eye)
    for _ in range(steps - 1):
        gram = factor @ gram @ factor
        factor = quintic(gram, eye)
        product = factor @ product
    return product @ x


def quintic(gram: Tensor, eye: Tensor) -> Tensor:
    """a + b G + c G^2, whose coefficients lift small singular values fastest while (0, 1] stays within (0, 1.2]."""
    a, b, c = 3.4445, -4.7750, 2.0315
    return torch.baddbmm(gram, gram, gram, beta=b, alpha=c) + a * eye


class Muon(torch.optim.Optimizer):
    """Groups with "orthogonal": True hold matrices (m, n) that step by Nesterov momentum, orthogonalised, times
    sqrt(max(1, m / n)), so that one rate fits every width; all other groups step by AdamW. A filter (m, c, *window) is
    a matrix of n = c * window inputs.

    Weight decay is decoupled. Matrices of one shape go through the iteration as one stack.
    """

    def __init__(self, params: Iterable[Any], lr: float = 0.04, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not group["orthogonal"]:
                self._adamw(params, group)
                continue
            shapes = defaultdict(list)
            for p in params:
                shapes[p.shape].append(p)
            for same in shapes.values():
                self._orthogonal(same, group)

    def _orthogonal(self, params: list[Tensor], group: dict[str, Any]) -> None:
        m, n = params[0].shape[0], params[0][0].numel()
        g = torch.stack([self._nesterov(p).flatten(1) for p in params])
        update = orthogonal(g) if m <= n else orthogonal(g.mT).mT
        for p, direction in zip(params, update, strict=True):
            p.mul_(1 - group["lr"] * group["weight_decay"])
            p.add_(direction.view(p.shape), alpha=-group["lr"] * max(1, m / n) ** 0.5)

    def _nesterov(self, p: Tensor) -> Tensor:
        gradient, buffer = p.grad, self._state(p, "momentum")["momentum"]
        assert gradient is not None
        return gradient.lerp(buffer.lerp_(gradient, 1 - MOMENTUM), MOMENTUM)

    def _adamw(self, params: list[Tensor], group: dict[str, Any]) -> None:
        if not params:
            return
        states = [self._state(p, "exp_avg", "exp_avg_sq") for p in params]
        adamw(
            params, [p.grad for p in params if p.grad is not None], [s["exp_avg"] for s in states],
            [s["exp_avg_sq"] for s in states], [], [s["step"] for s in states], fused=True, amsgrad=False,
            maximize=False, lr=group["lr"], beta1=BETAS[0], beta2=BETAS[1], eps=1e-8,
            weight_decay=group["weight_decay"],
        )  # fmt: skip

    def _state(self, p: Tensor, *names: str) -> dict[str, Tensor]:
        state = self.state[p]
        if not state:
            state.update({name: torch.zeros_like(p) for name in names}, step=torch.zeros((), device=p.device))
        return state
