"""A CausalConv one symbol at a time, at the price of one step whatever its receptive field (Paine et al. 2016).

Each layer keeps its last d_l inputs in a ring: what stands where the new one goes is the one from d_l steps ago. All
of these are known when a step begins, so what the past adds is one product for all layers; so are the skips, and what
the rings take in. Left for each layer are four kernels, for at one position a small network costs what its kernel
launches cost:

    a_l = past_l + W_l h_l        u = tanh(a_l)        y_l = u_f + u_f u_g = 2 z_l        h_l+1 = h_l + R_l / 2 y_l

since sigmoid(b) = (1 + tanh(b / 2)) / 2: the halves ride on the weights.

    B rows, C residual channels, N layers, V alphabet
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from aurify.nets.causal_conv import CausalConv, linears


class Stepping:
    """A batch of sequences that grow together, over the weights `net` has now.

    Args:
        rows: B.
        vector: (B, K), what `CausalConv.forward` is conditioned on.
    """

    @torch.inference_mode()
    def __init__(self, net: CausalConv, rows: int, vector: Float[Tensor, "B K"] | None = None):
        C, N, weight = net.width, len(net.dilations), net.embedding.weight
        self.net, self.rows, self.t = net, rows, 0
        half = torch.cat((weight.new_ones(C), weight.new_full((C,), 0.5)))  # of filters and of gates
        taps = torch.stack([tap.weight for tap in linears(net.taps)]).mT * half  # (N, 2C in, 2C out)
        self.past, now = taps[:, :C].contiguous(), taps[:, C:].contiguous()
        bias = (torch.stack([tap.bias for tap in linears(net.taps)]) * half)[:, None]
        told = net.condition(vector)
        self.bias = (bias if told is None else bias + told.transpose(0, 1) * half).expand(N, rows, 2 * C).contiguous()
        residual = [by_input(layer.weight / 2) for layer in linears(net.residual)]
        self.skip = by_input(net.skip.weight / 2)
        self.hidden, self.head = by_input(net.hidden.weight), by_input(net.head.weight)
        self.dilations = torch.tensor(net.dilations, device=weight.device)
        self.first = self.dilations.cumsum(0) - self.dilations  # where each layer's ring begins
        self.rings = weight.new_zeros(sum(net.dilations), rows, C)
        self.h, self.a = weight.new_empty(N, rows, C), weight.new_empty(N, rows, 2 * C)
        self.y = weight.new_empty(rows, N, C)
        each = (self.h, self.a, now, *self.a.chunk(2, -1), self.y.unbind(1))
        self.layers = list(zip(*each, [*residual, None], [*self.h[1:], None], strict=True))

    @torch.inference_mode()
    def step(self, tokens: Int[Tensor, " B"]) -> Float[Tensor, "B V"]:
        """Read one more symbol a row: logits of the next."""
        net, h = self.net, self.h
        place = self.first + torch.remainder(self.t, self.dilations)
        torch.baddbmm(self.bias, self.rings[place], self.past, out=self.a)
        if net.places is None:
            torch.index_select(net.embedding.weight, 0, tokens, out=h[0])
        else:
            torch.add(F.embedding(tokens, net.embedding.weight), net.places[self.t], out=h[0])
        for h_l, a, now, f, g, y, residual, after in self.layers:
            a.addmm_(h_l, now).tanh_()
            torch.addcmul(f, f, g, out=y)
            if after is not None:
                torch.addmm(h_l, y, residual, out=after)
        self.rings[place] = h
        self.t += 1
        y = torch.addmm(net.skip.bias, self.y.view(self.rows, -1), self.skip)
        y = torch.addmm(net.hidden.bias, y.relu_(), self.hidden)
        return torch.addmm(net.head.bias, y.relu_(), self.head)


def by_input(weight: Tensor) -> Tensor:
    """(out, in) to (in, out) in memory, which a product with few rows reads faster."""
    return weight.t().contiguous()
