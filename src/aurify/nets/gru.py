"""Gated recurrent units: all that a layer keeps of what it has read is a state h of C numbers (Cho et al. 2014).

    r = sigmoid(W_r x + U_r h + b_r)                how much of the state the proposal sees
    z = sigmoid(W_z x + U_z h + b_z)                how much of the state stays
    n = tanh(W_n x + b_n + r (U_n h + c_n))         what is proposed in its place
    h <- (1 - z) n + z h

Their Equations 5 to 8, with r after the product U_n h, as in cuDNN and torch.nn.GRU, whose parameters these are.

    B batch, T positions, C width, V alphabet
"""

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from aurify.nets.transformer import embedded

FEW = 1024  # symbols up to which the first input matrix is applied to the alphabet, and not to the text
REMEMBER = 1.0  # first bias of z: states stay for some symbols, so that gradients reach back (Jozefowicz et al. 2015)


class Recurrence(torch.autograd.Function):
    """All states of one layer, written out: with what torch derives, each position has a product of its own for dU.

    dh_t-1 = z dh_t + U' dg_t,   dg_t = dh_t k_t,   dU = sum_t dg_t h_t-1' (one product after the loop),
    k = (a (U_n h + c) r (1 - r), (h - n) z (1 - z), a r),   a = (1 - z) (1 - n^2)
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, u: Tensor, c: Tensor) -> Tensor:
        """States (T, B, C) from x = W x + b (T, B, 3C), the first state h (B, C), u (3C, C) and c (3C,)."""
        T, B, C = x.shape[0], *h.shape
        states, n, g = x.new_empty(T + 1, B, C), x.new_empty(T, B, C), torch.empty_like(x)
        states[0] = h
        r, z, inner = g.chunk(3, -1)
        rows = (g, g[..., : 2 * C], r, z, inner, n, x[..., : 2 * C], x[..., 2 * C :], states[1:])
        u_t = u.t().contiguous()
        for g_t, rz_t, r_t, z_t, inner_t, n_t, x_rz, x_n, new in zip(*(part.unbind(0) for part in rows), strict=True):
            torch.addmm(c, h, u_t, out=g_t)
            rz_t.add_(x_rz).sigmoid_()
            torch.addcmul(x_n, r_t, inner_t, out=n_t).tanh_()
            h = torch.lerp(n_t, h, z_t, out=new)
        ctx.save_for_backward(states, n, g, u)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        states, n, g, u = ctx.saved_tensors
        (T, B, C), before, (r, z, inner) = n.shape, states[:-1], g.chunk(3, -1)
        a = (1 - z) * (1 - n * n)
        k = torch.cat((a * inner * r * (1 - r), (before - n) * z * (1 - z), a * r), -1).view(T, B, 3, C)
        dg, dhs, dh = torch.empty_like(k), torch.empty_like(n), torch.zeros_like(n[0])
        flat = dg.view(T, B, 3 * C)
        rows = (grads[0], k, dg, flat, dhs, z)
        for grad_t, k_t, dg_t, flat_t, dh_t, z_t in zip(*(part.unbind(0)[::-1] for part in rows), strict=True):
            torch.add(dh, grad_t, out=dh_t)
            torch.mul(dh_t[:, None], k_t, out=dg_t)
            dh = torch.addmm(dh_t * z_t, flat_t, u)
        dx = torch.cat((flat[..., : 2 * C], dhs * a), -1)
        return dx, dh, flat.flatten(0, 1).t() @ before.flatten(0, 1), flat.sum((0, 1))


@torch.compiler.disable  # unrolled, the loop over positions would take minutes to compile
def recur(x: Tensor, h: Tensor, u: Tensor, c: Tensor) -> Tensor:
    """`Recurrence` in float32 at least: rounding would add up over positions."""
    with torch.autocast(x.device.type, enabled=False):
        wide = torch.promote_types(u.dtype, torch.float32)
        states = Recurrence.apply(x.to(wide), h.to(wide), u, c)
    assert isinstance(states, Tensor)
    return states


class Recurrent(nn.Module):
    """Tokens (B, T) to logits (B, T, V) of the symbol after each.

    Args:
        symbols: rows of the embedding; more than `vocab` where some symbols are read but never written.
        vocab: V, symbols the head can write.
        tie: the head is the first V rows of the embedding.
        dropout: share of each layer's outputs that is dropped on its way up.
    """

    def __init__(self, symbols: int, vocab: int, width: int, depth: int, tie: bool = False, dropout: float = 0.0):
        super().__init__()
        self.vocab, self.width, self.depth = vocab, width, depth
        self.embedding = nn.Embedding(symbols, width)
        self.gru = nn.GRU(width, width, depth, dropout=dropout if depth > 1 else 0.0)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.head = None if tie else nn.Linear(width, vocab, bias=False)
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Inputs of unit scale, orthogonal recurrence (Saxe et al. 2014), even first predictions."""
        nn.init.normal_(self.embedding.weight, std=1.0 if self.head is not None else self.width**-0.5)
        for i in range(self.depth):
            w, u, b, c = self.layer(i)
            nn.init.normal_(w, std=self.width**-0.5)
            for gate in u.chunk(3):
                nn.init.orthogonal_(gate)
            b.zero_()[self.width : 2 * self.width] = REMEMBER
            c.zero_()
        if self.head is not None:
            nn.init.zeros_(self.head.weight)

    def layer(self, i: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """W (3C, C), U (3C, C), b (3C,) and c (3C,) of a layer, each for r, z and n."""
        w, u, b, c = (getattr(self.gru, f"{name}_l{i}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        return w, u, b, c

    @property
    def output(self) -> Tensor:
        """The matrix of the head, (V, C)."""
        return self.embedding.weight[: self.vocab] if self.head is None else self.head.weight

    def forward(self, tokens: Tensor, extra: Tensor | None = None, cut: int | None = None) -> tuple[Tensor, Tensor]:
        """Logits, and the states of the layers that lead to them, (layers, T, B, C): all of them, but on CUDA, where
        cuDNN gives the topmost alone.

        Args:
            extra: (B, C), added to the embedding of every position.
            cut: positions after which the state goes on and its gradient does not (Williams & Peng 1990).
        """
        parts, state = [], None
        for part in tokens.split(cut or tokens.shape[1], 1):
            states, state = self.read(part, extra, state)
            state = state.detach()
            parts.append(states)
        states = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
        return F.linear(self.dropout(states[-1]), self.output).transpose(0, 1), states

    def read(self, tokens: Tensor, extra: Tensor | None, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """The states (layers, T, B, C) that `forward` gives over tokens (B, T), and the last of each layer (depth, B,
        C); from such last ones on, or from zero."""
        if state is None:
            state = self.output.new_zeros(self.depth, len(tokens), self.width)
        if tokens.is_cuda:
            return self.fused(tokens, extra, state)
        x, h, found = self.first(tokens.t(), extra), state.unbind(0), []
        for i in range(self.depth):
            w, u, b, c = self.layer(i)
            if i:
                x = F.linear(self.dropout(found[-1]), w, b)
            found.append(recur(x, h[i], u, c))  # pyright: ignore[reportCallIssue]
        states = torch.stack(found) if self.depth > 1 else found[0][None]
        return states, states[:, -1]

    def fused(self, tokens: Tensor, extra: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        """`read` by torch.nn.GRU: where cuDNN runs it, one kernel takes all positions."""
        x = embedded(tokens.t(), self.embedding.weight)
        with warnings.catch_warnings():  # weights that were averaged or loaded lie apart; it puts them together itself
            warnings.filterwarnings("ignore", "RNN module weights", UserWarning)
            top, last = self.gru(x if extra is None else x + extra, state)
        return top[None], last

    def first(self, tokens: Tensor, extra: Tensor | None) -> Tensor:
        """W x + b of the first layer, (T, B, 3C), for tokens (T, B)."""
        w, _, b, _ = self.layer(0)
        if self.embedding.num_embeddings <= FEW:
            with torch.autocast(w.device.type, enabled=False):  # many positions add to one row's gradient
                x = F.embedding(tokens, F.linear(self.embedding.weight, w, b))
        else:
            x = F.linear(self.embedding(tokens), w, b)
        return x if extra is None else x + F.linear(extra, w)


class Reading:
    """A batch of sequences read a symbol at a time, over the weights `net` has now. Its state is all it keeps, so a
    step costs the same however much was read.

    Args:
        rows: B.
        extra: (B, C), what `Recurrent.forward` adds to every position.
    """

    @torch.inference_mode()
    def __init__(self, net: Recurrent, rows: int, extra: Tensor | None = None):
        self.net, self.rows, self.extra = net, rows, extra
        layers = [net.layer(i) for i in range(net.depth)]
        self.layers = [(w.t().contiguous(), u.t().contiguous(), b, c) for w, u, b, c in layers]
        w, _, b, _ = layers[0]
        self.table = F.linear(net.embedding.weight, w, b)  # W x + b of every symbol
        self.more = None if extra is None else F.linear(extra, w)
        self.head = net.output.t().contiguous()
        self.state: list[Tensor] = []  # (B, C) of each layer, once something was read

    @torch.inference_mode()
    def start(self, tokens: Tensor) -> Tensor:
        """Forget all and read tokens (B, T): logits (B, V) of what comes next."""
        self.state = list(self.net.read(tokens, self.extra, None)[1].unbind(0))
        return self.state[-1] @ self.head

    @torch.inference_mode()
    def step(self, tokens: Tensor) -> Tensor:
        """Read one more token a row, (B,): logits (B, V) of the next."""
        C = self.net.width
        x = F.embedding(tokens, self.table)
        if self.more is not None:
            x = x + self.more
        for i, ((w, u, b, c), h) in enumerate(zip(self.layers, self.state, strict=True)):
            if i:
                x = torch.addmm(b, self.state[i - 1], w)
            g = torch.addmm(c, h, u)
            r, z = (x[:, : 2 * C] + g[:, : 2 * C]).sigmoid_().chunk(2, -1)
            n = torch.addcmul(x[:, 2 * C :], r, g[:, 2 * C :]).tanh_()
            self.state[i] = torch.lerp(n, h, z)
        return self.state[-1] @ self.head
