"""Muon: momentum, its matrix replaced by the nearest semi-orthogonal one (Jordan et al. 2024); AdamW for the rest."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

MOMENTUM = 0.9  # 0.95 forgets too slowly for runs of some hundred steps
BETAS = (0.9, 0.95)
POLAR_EXPRESS = (  # the odd quintics whose composition comes nearest to 1 on [0.001, 1] (Amsel et al. 2025)
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
)


def orthogonal(matrices: list[Tensor]) -> list[Tensor]:
    """About U V' of each U S V', (m, n) with m <= n.

    X <- (a + b G + c G^2) X with G = X X', once for each triple of POLAR_EXPRESS. All factors are polynomials of the
    first Gram matrix and commute, so the iteration runs on m x m matrices, those of equal m as one stack, and touches
    the m x n ones twice. Singular values from a thousandth of the norm upwards end within [0.43, 1.57].
    """
    unit = [g / (torch.linalg.matrix_norm(g) + 1e-7) for g in matrices]
    found = dict[int, Tensor]()
    for same in by_rows(unit):
        factors = inverse_root(torch.stack([unit[i] @ unit[i].mT for i in same]))
        found |= {i: factor @ unit[i] for i, factor in zip(same, factors, strict=True)}
    return [found[i] for i in range(len(unit))]


def by_rows(matrices: list[Tensor]) -> list[list[int]]:
    """Indices of matrices with equally many rows."""
    groups = defaultdict[int, list[int]](list)
    for i, matrix in enumerate(matrices):
        groups[matrix.shape[0]].append(i)
    return list(groups.values())


def inverse_root(gram: Tensor) -> Tensor:
    """About (X X')^-1/2 of a stack of X X', (N, m, m)."""
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    first, *rest = POLAR_EXPRESS
    product = factor = quintic(gram, eye, *first)
    for coefficients in rest:
        gram = factor @ gram @ factor
        factor = quintic(gram, eye, *coefficients)
        product = factor @ product
    return product


def quintic(gram: Tensor, eye: Tensor, a: float, b: float, c: float) -> Tensor:
    """a + b G + c G^2."""
    return torch.baddbmm(gram, gram, gram, beta=b, alpha=c) + a * eye


class Muon(torch.optim.Optimizer):
    """Groups with "orthogonal": True hold matrices (m, n) that step by Nesterov momentum, orthogonalised, times
    sqrt(max(1, m / n)), so that one rate fits every width; all other groups step by AdamW. A filter (m, c, *window) is
    a matrix of n = c * window inputs.

    Weight decay is decoupled. Matrices of one shape go through the iteration as one stack.
    """

    def __init__(self, params: Iterable[Any], lr: float = 0.04, weight_decay: float = 0.0):
        defaults = {"lr": lr, "weight_decay": weight_decay, "orthogonal": False}
        super().__init__(params, defaults | {"fused": True})  # which says that steps are counted on the device

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not group["orthogonal"]:
                self._adamw(params, group)
                continue
            self._orthogonal(params, group)

    def _orthogonal(self, params: list[Tensor], group: dict[str, Any]) -> None:
        wide = [self._wide(p) for p in params]
        for p, direction in zip(params, orthogonal(wide), strict=True):
            m, n = p.shape[0], p[0].numel()
            p.mul_(1 - group["lr"] * group["weight_decay"])
            update = (direction if m <= n else direction.mT).view(p.shape)
            p.add_(update, alpha=-group["lr"] * max(1, m / n) ** 0.5)

    def _wide(self, p: Tensor) -> Tensor:
        """The momentum of p as a matrix with at least as many columns as rows."""
        g = self._nesterov(p).flatten(1)
        return g if g.shape[0] <= g.shape[1] else g.mT

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
