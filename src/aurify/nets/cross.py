"""From one sequence to another: an encoder reads a source, and every position of the target attends to it.

    m = encoder(source)                                                        every symbol sees all others
    h <- h + Wo attention(norm(Wq norm(h)), norm(Wk m), Wv m)                  in each layer of the decoder

Encoder-decoder attention is that of Vaswani et al. 2017 (Section 3.2.3) in the norms of `transformer`. Rotations tell
how far apart two symbols of one sequence lie, and nothing about two sequences: so symbols on both sides also carry
their place, as the paper's sinusoids (Section 3.5).

    B batch, T positions of the target, S of the source, C width, H query heads, K key and value heads, D of a head
"""

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aurify.nets.transformer import SHARPNESS, Block, Look, Sizes, rms_norm, rotations, sinusoids


class Memory(NamedTuple):
    """What was read: states (B, 1 + S, C), normalised, and which of them are there, bool (B, 1 + S)."""

    states: Tensor
    seen: Tensor


class Cross(nn.Module):
    """Attention of a decoder's positions to a memory, as a residual branch."""

    def __init__(self, width: int, heads: int, kv_heads: int, dropout: float):
        super().__init__()
        self.heads, self.kv_heads, self.head_width = heads, kv_heads, width // heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * kv_heads * self.head_width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        for weight in (self.q.weight, self.kv.weight):
            nn.init.normal_(weight, std=width**-0.5)
        nn.init.zeros_(self.out.weight)  # silent at first, as the other branches are

    def forward(self, h: Tensor, memory: Memory) -> Tensor:
        """h (B, T, C)."""
        q = unit(self.q(rms_norm(h)).unflatten(-1, (self.heads, self.head_width)))
        k, v = self.project(memory.states)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        scale, grouped = SHARPNESS * self.head_width**-0.5, self.heads != self.kv_heads
        seen = memory.seen[:, None, None]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale, enable_gqa=grouped)
        return h + self.dropout(self.out(y.transpose(1, 2).flatten(2)))

    def project(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Keys, normalised, and values, (B, S, K, D)."""
        k, v = self.kv(states).unflatten(-1, (2 * self.kv_heads, self.head_width)).chunk(2, 2)
        return unit(k), v


def unit(x: Tensor) -> Tensor:
    """`rms_norm`, in float32 at least."""
    return rms_norm(x.to(torch.promote_types(x.dtype, torch.float32))).to(x.dtype)


class Source(nn.Module):
    """The encoder of a source, and the way to it from each layer of a decoder.

    Symbols (B, S) become a memory of 1 + S states: a symbol of its own stands before them and is always there, so that
    a source of which nothing is left still says that.

    Args:
        sizes: of the decoder; `depth` layers of it attend.
        depth: layers of the encoder.
        vocab: symbols of the source.
        context: the most symbols S.
    """

    table: Tensor
    places: Tensor

    def __init__(self, sizes: Sizes, depth: int, vocab: int, context: int, dropout: float = 0.0):
        super().__init__()
        width, heads, kv_heads = sizes.width, sizes.heads, sizes.kv_heads or sizes.heads
        hidden, self.vocab = sizes.hidden or width * 8 // 3, vocab
        self.embedding = nn.Embedding(vocab + 1, width)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        block = (width, heads, kv_heads, hidden, dropout, False)
        self.blocks = nn.ModuleList(Block(*block) for _ in range(depth))
        self.crosses = nn.ModuleList(Cross(width, heads, kv_heads, dropout) for _ in range(sizes.depth))
        self.register_buffer("table", rotations(context + 1, width // heads), persistent=False)
        self.register_buffer("places", sinusoids(context + 1, width), persistent=False)
        nn.init.normal_(self.embedding.weight)
        for layer in self.blocks:
            assert isinstance(layer, Block)
            layer.initialise()

    def matrices(self) -> list[nn.Parameter]:
        """Hidden matrices: all but the embedding."""
        return [*self.blocks.parameters(), *self.crosses.parameters()]

    def forward(self, symbols: Tensor, seen: Tensor) -> Memory:
        """seen (B, S) bool: which symbols are there."""
        symbols = F.pad(symbols, (1, 0), value=self.vocab)
        seen = F.pad(seen, (1, 0), value=True)
        T = symbols.shape[1]
        h = self.dropout(self.embedding(symbols) + self.places[:T])
        for block in self.blocks:
            h = block(h, self.table[:T], seen=seen)
        return Memory(rms_norm(h), seen)

    @property
    def crossings(self) -> list[Cross]:
        return [cross for cross in self.crosses if isinstance(cross, Cross)]

    def looks(self, memory: Memory) -> list[Look]:
        """What each layer of the decoder does between its two parts."""
        return [partial(cross, memory=memory) for cross in self.crossings]


class Glance:
    """A cross-attention one position at a time: keys and values of the memory are made once.

    Norms are a length and a division, as in `decode`.
    """

    def __init__(self, cross: Cross, memory: Memory):
        k, v = cross.project(memory.states)
        self.k, self.v = (k * cross.head_width**-0.5).transpose(1, 2).contiguous(), v.transpose(1, 2).contiguous()
        self.seen, self.scale = memory.seen[:, None, None], SHARPNESS * cross.head_width**0.5
        self.grouped, self.shape = cross.heads != cross.kv_heads, (cross.heads, 1, cross.head_width)
        self.w_q, self.w_out = cross.q.weight.t().contiguous(), cross.out.weight.t().contiguous()

    def __call__(self, h: Tensor) -> Tensor:
        """h (B, C)."""
        q = (h / torch.linalg.vector_norm(h, dim=-1, keepdim=True) @ self.w_q).unflatten(-1, self.shape)
        q = q / torch.linalg.vector_norm(q, dim=-1, keepdim=True)
        how = {"attn_mask": self.seen, "scale": self.scale, "enable_gqa": self.grouped}
        y = F.scaled_dot_product_attention(q, self.k, self.v, **how)
        return torch.addmm(h, y.reshape(h.shape), self.w_out)
