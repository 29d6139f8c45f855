"""A Decoder one token at a time: keys and values are kept, buffers are made once, and each layer is fifteen kernels.

At one position a small network costs what its kernel launches cost, so norms are a length and a division (their
constants ride on the next matrix and on the attention's scale), and keys and values lie side by side to be stored in
one copy. A larger one costs what it takes to read its matrices: W x for a few columns x reads them up to three times as
fast as x' W' for a few rows. Of a network with a window W, the last W positions are kept, the newest in the place of
the one that falls out of sight. Keys and values of a source are made once.

    B rows, C width, H query heads, K key and value heads, D width of a head, V alphabet
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.linalg import vector_norm

from aurify.nets.cross import Cross, Glance, Memory
from aurify.nets.transformer import SHARPNESS, Block, Decoder, rms_norm


class Decoding:
    """A batch of sequences that grow together, over the weights `net` has now.

    Args:
        rows: B.
        extra: (B, C), what `Decoder.forward` adds to every position.
        source: the ways to a memory, one a layer, and the memory.
    """

    @torch.inference_mode()
    def __init__(
        self,
        net: Decoder,
        rows: int,
        extra: Tensor | None = None,
        source: tuple[list[Cross], Memory] | None = None,
    ):
        block, weight = net.layers[0], net.embedding.weight
        self.net, self.rows, self.extra, self.t = net, rows, extra, 0
        self.heads, self.kv_heads, self.head_width = block.heads, block.kv_heads, block.head_width
        self.kept = min(net.context, block.window or net.context)
        kv = (len(net.blocks), rows, 2 * block.kv_heads, self.kept, block.head_width)
        self.cache = weight.new_zeros(kv)  # (layers, B, K keys of length 1 then K values, T, D)
        self.slots = [layer.unbind(2) for layer in self.cache]
        self.table = torch.view_as_complex(net.table).unbind(0)
        self.layers = [Layer(block, rows) for block in net.layers]
        self.source = source
        nothing = [None] * len(net.blocks)
        self.glances = nothing if source is None else [Glance(cross, source[1]) for cross in source[0]]
        self.head = net.output * math.sqrt(net.width)

    @torch.inference_mode()
    def start(self, tokens: Tensor) -> Tensor:
        """Forget all and read tokens (B, T): logits (B, V) of what comes next."""
        net, self.t = self.net, tokens.shape[1]
        h, places = net.embed(tokens, self.extra), self.places()
        for i, (block, cache) in enumerate(zip(net.layers, self.cache, strict=True)):
            q, k, v = block.project(h, net.table[: self.t])
            unit = k * self.head_width**-0.5
            cache[:, :, places] = torch.cat((unit, v), 2).transpose(1, 2)[:, :, -self.kept :]
            h = block.attend(h, q, k, v)
            h = h if self.source is None else self.source[0][i](h, self.source[1])
            h = block.feed_forward(h)
        return F.linear(rms_norm(h[:, -1]), net.output)

    @torch.inference_mode()
    def step(self, tokens: Tensor) -> Tensor:
        """Read one more token a row, (B,): logits (B, V) of the next."""
        t, K, scale = self.t, self.kv_heads, SHARPNESS * math.sqrt(self.head_width)
        seen, table, grouped = self.cache[:, :, :, : t + 1], self.table[t], self.heads != self.kv_heads
        place = t % self.kept
        keys, values = seen[:, :, :K].unbind(0), seen[:, :, K:].unbind(0)
        h = F.embedding(tokens, self.net.embedding.weight)
        for told in (self.net.waves, self.net.places):
            h = h if told is None else h + told[t]
        if self.extra is not None:
            h = h + self.extra
        for layer, glance, slots, k, v in zip(self.layers, self.glances, self.slots, keys, values, strict=True):
            torch.mm(layer.w_qkv, (h / vector_norm(h, dim=-1, keepdim=True)).t(), out=layer.columns)
            layer.qkv.copy_(layer.columns.t())
            layer.qk.div_(vector_norm(layer.qk, dim=-1, keepdim=True))
            layer.pairs.mul_(table)
            slots[place].copy_(layer.kv)
            y = F.scaled_dot_product_attention(layer.q, k, v, scale=scale, enable_gqa=grouped)
            h = h + torch.mm(layer.w_out, y.view(h.shape).t()).t()
            h = h if glance is None else glance(h)
            torch.mm(layer.w_gate_up, (h / vector_norm(h, dim=-1, keepdim=True)).t(), out=layer.gate_up)
            torch.mul(F.silu(layer.gate), layer.up, out=layer.gated.t())
            h = h + torch.mm(layer.w_down, layer.gated.t()).t()
        self.t = t + 1
        return torch.mm(self.head, (h / vector_norm(h, dim=-1, keepdim=True)).t()).t().contiguous()

    def places(self) -> Tensor:
        """Where the positions read so far lie in the cache, as many as it keeps."""
        return torch.arange(max(0, self.t - self.kept), self.t, device=self.cache.device) % self.kept

    @property
    def full(self) -> bool:
        """No position is left."""
        return self.t >= self.net.context


class Layer:
    """Weights and buffers of one layer of a decoding, with the views that a step needs."""

    def __init__(self, block: Block, rows: int):
        H, K, D = block.heads, block.kv_heads, block.head_width
        root = math.sqrt(block.qkv.in_features)
        self.w_qkv, self.w_gate_up = block.qkv.weight * root, block.gate_up.weight * root
        self.w_out, self.w_down = block.out.weight.detach(), block.down.weight.detach()
        self.columns = self.w_qkv.new_empty((H + 2 * K) * D, rows)
        self.qkv = self.w_qkv.new_empty(rows, (H + 2 * K) * D)
        by_head = self.qkv.view(rows, H + 2 * K, D)
        self.q, self.qk, self.kv = by_head[:, :H, None], by_head[:, : H + K], by_head[:, H:]
        self.pairs = torch.view_as_complex(self.qk.unflatten(-1, (-1, 2)))
        self.gate_up = self.w_qkv.new_empty(len(self.w_gate_up), rows)
        self.gate, self.up = self.gate_up.chunk(2)
        self.gated = self.w_qkv.new_empty(rows, len(self.gate))
