"""Hidden Markov chains on batches: the likelihood with its expected counts, the likeliest path, the next symbol.

    alpha_1 = pi e_1,   alpha_t = (alpha_t-1 A) e_t,   log p(x) = sum_t log c_t          (Rabiner 1989, Eqs. 19-21)
    beta_T  = 1,        beta_t-1 = A (e_t beta_t)                                            (Eqs. 24-25)

e_t(k) = B(k, x_t), and c_t is the sum that alpha_t is divided by at each step, so that nothing underflows (Section V).
Counts are products of alpha and beta: the gradient in the log-probabilities, which autograd is told and need not find
its way back to through T sums of exponentials.

    T positions, G groups of R rows that share their moves, B = G R rows, K states, V symbols
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Chain:
    """Log-probabilities of a chain; each row (last axis) sums to one, so that nothing follows a row's end.

    Attributes:
        start: log pi.
        moves: log A, one for all steps (P = 1) or one a step (P = T - 1).
        emits: log B, one for all positions (Q = 1) or one a position (Q = T).
    """

    start: Float[Tensor, "G K"]
    moves: Float[Tensor, "P G K K"]
    emits: Float[Tensor, "Q K V"]


def log_likelihood(chain: Chain, x: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """log p(x) of each row as far as its mask. Its gradient in the chain's log-probabilities is the expected count of
    each event."""
    return _Sum.apply(chain.start, chain.moves, chain.emits, x, mask)  # pyright: ignore[reportReturnType]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, start: Tensor, moves: Tensor, emits: Tensor, x: Tensor, mask: Tensor) -> Any:
        pi, A, G = start.exp(), moves.exp(), len(start)
        place = places(emits, x, mask)
        e = at(emits.exp(), place).unflatten(1, (G, -1))  # (T, G, R, K)
        alpha, c = torch.empty_like(e), e.new_empty(*e.shape[:3], 1)
        e_, alpha_, c_, A_ = (steps(z, G) for z in (e, alpha, c, A))
        for t in range(len(e)):
            if t:
                product(alpha_[t - 1], A_[min(t, len(A_)) - 1], out=alpha_[t])
                alpha_[t].mul_(e_[t])
            else:
                torch.mul(pi[:, None], e[0], out=alpha[0])
            torch.sum(alpha_[t], -1, keepdim=True, out=c_[t])
            alpha_[t].div_(c_[t])
        ctx.save_for_backward(A, emits, alpha, c, place, mask)
        inside = mask.T.to(alpha)
        return (c.log().reshape(inside.shape) * inside).sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weight: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Expected counts, each row's as often as `weight` says."""
        A, emits, alpha, c, place, mask = ctx.saved_tensors
        T, G, _, K = alpha.shape
        e = at(emits.exp(), place).view_as(alpha).div_(c)
        beta = torch.empty_like(alpha)
        beta[-1] = weight.unflatten(0, (G, -1))[..., None]
        e_, beta_, back = steps(e, G), steps(beta, G), steps(A.mT, G)
        for t in range(T - 1, 0, -1):
            e_[t].mul_(beta_[t])  # e_t beta_t / c_t from here on
            product(e_[t], back[min(t, len(back)) - 1], out=beta_[t - 1])
        gamma = beta.mul_(alpha).flatten(1, 2)  # p(z_t = k | x)
        counts = gamma.new_zeros(len(emits) * (emits.shape[2] + 1), K)
        counts.scatter_add_(0, place.flatten()[:, None].expand(-1, K), gamma.flatten(0, 1))
        emitted = counts.unflatten(0, (len(emits), -1))[:, :-1].mT
        e[1:] *= mask.T[1:].unflatten(1, (G, -1))[..., None]
        return gamma[0].unflatten(0, (G, -1)).sum(1), moved(alpha, e, A), emitted, None, None


def moved(alpha: Tensor, after: Tensor, A: Tensor) -> Tensor:
    """Expected moves (P, G, K, K): sum of alpha_t-1(j) A(j, k) e_t(k) beta_t(k) / c_t."""
    if len(alpha) == 1:
        return torch.zeros_like(A)
    if len(A) > 1:
        return alpha[:-1].mT @ after[1:] * A
    left, right = (z.transpose(0, 1).flatten(1, 2) for z in (alpha[:-1], after[1:]))
    return (left.mT @ right)[None] * A


def places(emits: Tensor, x: Tensor, mask: Tensor) -> Int[Tensor, "T B"]:
    """Where in the table of `at` each symbol's row stands; what lies behind the mask is a symbol of its own."""
    Q, _, V = emits.shape
    place = torch.where(mask, x, V).T
    return place if Q == 1 else place + (V + 1) * torch.arange(len(place), device=x.device)[:, None]


def at(B: Float[Tensor, "Q K V"], place: Int[Tensor, "T B"]) -> Float[Tensor, "T B K"]:
    """Columns of B; the symbol behind the mask is certain in every state."""
    table = torch.nn.functional.pad(B, (0, 1), value=1.0).mT.flatten(0, 1)
    return table.index_select(0, place.flatten()).unflatten(0, place.shape)


def steps(z: Float[Tensor, "T G ..."], G: int) -> tuple[Tensor, ...]:
    """The positions of z; one group's axis is left out, because a product of two matrices is faster than of stacks."""
    return (z[:, 0] if G == 1 else z).unbind(0)


def product(a: Tensor, b: Tensor, out: Tensor) -> None:
    (torch.mm if a.ndim == 2 else torch.bmm)(a, b, out=out)


@torch.no_grad()
def viterbi(chain: Chain, x: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> tuple[Int[Tensor, "B T"], Tensor]:
    """The likeliest states of each row, -1 behind its mask, and log p of them with x, (B,)  (Viterbi 1967)."""
    (B, T), (G, K) = x.shape, chain.start.shape
    log_e = at(chain.emits.exp(), places(chain.emits, x, mask)).log().unflatten(1, (G, -1))  # (T, G, R, K)
    delta = chain.start[:, None] + log_e[0]
    came = torch.arange(K, device=x.device).repeat(T, B, 1)  # from which state the best path to each came
    for t in range(1, T):
        best, where = (delta[..., None] + chain.moves[min(t, len(chain.moves)) - 1][:, None]).max(2)
        inside = mask[:, t].unflatten(0, (G, -1))[..., None]
        delta = torch.where(inside, best + log_e[t], delta)
        came[t] = torch.where(inside, where, came[t].view_as(where)).view(B, K)
    found, state = delta.view(B, K).max(1)
    path = [state]
    for t in range(T - 1, 0, -1):
        path.append(came[t].gather(1, path[-1][:, None])[:, 0])
    return torch.stack(path[::-1], 1).masked_fill(~mask, -1), found


class Filter:
    """p(x_t | x_1 ... x_t-1) of growing rows: what is known of the state is carried along, so a prefix of any length
    is taken up exactly."""

    def __init__(self, chain: Chain, rows: int):
        self.A, self.B, self.t = chain.moves.exp(), chain.emits.exp(), 0
        self.belief = chain.start.exp().repeat_interleave(rows // len(chain.start), 0)  # p(z_t | x_1 ... x_t-1)

    def __call__(self, columns: list[Tensor]) -> Float[Tensor, "B V"]:
        """log p of the symbol after these columns; those of earlier calls are known by now."""
        for x in columns[self.t :]:
            known = self.belief * self.emits()[:, x.repeat(len(self.belief) // len(x))].T
            known = known / known.sum(1, keepdim=True)
            A = self.A[min(self.t + 1, len(self.A)) - 1]
            self.belief = (known.view(len(A), -1, known.shape[1]) @ A).flatten(0, 1)
            self.t += 1
        return (self.belief @ self.emits()).clamp_min(torch.finfo(self.belief.dtype).tiny).log()

    def emits(self) -> Tensor:
        return self.B[min(self.t + 1, len(self.B)) - 1]
