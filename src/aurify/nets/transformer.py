"""A causal Transformer decoder whose weights map one to one onto Hugging Face's Qwen3.

    h <- h + Wo attention(rope(norm(q)), rope(norm(k)), v)        q, k, v = split(Wqkv norm(h))
    h <- h + Wd (silu(g) * u)                                     g, u = split(Wgu norm(h))

RMSNorm before every branch (Zhang & Sennrich 2019), per-head RMSNorm on queries and keys (Henry et al. 2020; at scale
Dehghani et al. 2023), rotary positions (Su et al. 2021), grouped queries (Ainslie et al. 2023), SwiGLU (Shazeer 2020),
no biases. The norms have no gains: the matrix that follows holds them. A window W lets each position see itself and the
W - 1 before it (Beltagy et al. 2020).

    B batch, T positions, C width, H query heads, K key and value heads, D width of a head, V alphabet
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-6  # only against 0 / 0
SHARPNESS = 1.7  # attention logits lie within 1.7 sqrt(D); chosen by trial
BASE = 10000.0  # of the rotary frequencies
FEW = 1024  # symbols

Look = Callable[[Tensor], Tensor]  # what a layer does between its two parts, such as attention to another sequence


class _RMSNorm(torch.autograd.Function):
    """Written out, because the gradient torch derives from `F.rms_norm` makes twice as many passes over memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        r = norm.clamp_(min=EPSILON).reciprocal_().mul_(x.shape[-1] ** 0.5)
        y = x * r
        ctx.save_for_backward(y, r)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # dx = r (g - y mean(g y))
        (g,), (y, r) = gradients, ctx.saved_tensors
        return torch.addcmul(g, y, (g * y).mean(-1, keepdim=True), value=-1).mul_(r)


def rms_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean(x^2)) over the last axis."""
    y = _RMSNorm.apply(x)
    assert isinstance(y, Tensor)
    return y


def rotations(positions: int, width: int) -> Tensor:
    """(cos, sin) of t base^(-2j/D), (T, 1, D/2, 2): as complex numbers, what rotary positions multiply by
    (Su et al. 2021, Eq. 34)."""
    frequencies = BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.outer(torch.arange(positions, dtype=torch.float64), frequencies)
    return torch.stack((angles.cos(), angles.sin()), -1).float()[:, None]


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Each pair (x_2j, x_2j+1) times table_j: x (..., T, H, D), table (T, 1, D/2, 2)."""
    pairs = x.unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling():  # it fuses real products, and no complex ones
        (a, b), (c, s) = pairs.unbind(-1), table.unbind(-1)
        return torch.stack((a * c - b * s, a * s + b * c), -1).flatten(-2)
    return torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(table)).flatten(-2)


def sinusoids(positions: int, width: int) -> Tensor:
    """(T, C): sin(t base^(-2j/C)) and cos of it, side by side (Vaswani et al. 2017, Section 3.5)."""
    turns = rotations(positions, width)[:, 0]
    return torch.cat((turns[..., 1], turns[..., 0]), -1)


def windowed(q: Tensor, k: Tensor, v: Tensor, window: int, **how: Any) -> Tensor:
    """Causal attention of queries (B, H, T, D) that see themselves and the window - 1 before them.

    Blocks of `window` queries against their own keys and those of the block before, so that time and memory grow as
    T W and not as T^2; the first block is plain causal attention.
    """
    T, W, whole = q.shape[2], window, -(-q.shape[2] // window) * window
    first = F.scaled_dot_product_attention(q[:, :, :W], k[:, :, :W], v[:, :, :W], is_causal=True, **how)
    if whole == W:
        return first
    q, k, v = (F.pad(x, (0, 0, 0, whole - T)).unflatten(2, (-1, W)) for x in (q, k, v))
    k, v = (torch.cat((x[:, :, :-1], x[:, :, 1:]), 3) for x in (k, v))  # (B, K, blocks - 1, 2 W, D)
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (q[:, :, 1:], k, v))
    i, j = torch.arange(W, 2 * W, device=q.device)[:, None], torch.arange(2 * W, device=q.device)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=(j <= i) & (j > i - W), **how)
    rest = y.unflatten(0, (len(first), -1)).transpose(1, 2).flatten(2, 3)
    return torch.cat((first, rest), 2)[:, :, :T]


def embedded(tokens: Tensor, weight: Tensor) -> Tensor:
    """Rows of the embedding; of few symbols on a GPU as a product, because there the many tokens that add to one row's
    gradient would wait for each other."""
    if not tokens.is_cuda or len(weight) > FEW:
        return F.embedding(tokens, weight)
    with torch.autocast("cuda", enabled=False):
        return F.one_hot(tokens, len(weight)).to(weight) @ weight


class Block(nn.Module):
    """One layer. Weights that read the same input are one matrix."""

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int,
        hidden: int,
        dropout: float,
        causal: bool = True,
        window: int | None = None,
    ):
        super().__init__()
        self.heads, self.kv_heads, self.head_width = heads, kv_heads, width // heads
        self.causal, self.window = causal, window
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * self.head_width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def initialise(self) -> None:
        """Branches start silent: their last matrix is zero."""
        for weight in (self.qkv.weight, self.gate_up.weight):
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
        for weight in (self.out.weight, self.down.weight):
            nn.init.zeros_(weight)

    def forward(self, h: Tensor, table: Tensor, look: Look | None = None, seen: Tensor | None = None) -> Tensor:
        """h (B, T, C), table (T, 1, D/2, 2); seen (B, T) bool, if not all positions may be."""
        h = self.attend(h, *self.project(h, table), seen)
        return self.feed_forward(h if look is None else look(h))

    def project(self, h: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, T, H, D), keys and values (B, T, K, D); queries and keys normalised and rotated."""
        H, K = self.heads, self.kv_heads
        qk, v = self.qkv(rms_norm(h)).unflatten(-1, (-1, self.head_width)).split([H + K, K], 2)
        wide = qk.to(torch.promote_types(qk.dtype, torch.float32))  # there is no complex bfloat16
        q, k = rotate(rms_norm(wide), table).to(v.dtype).split([H, K], 2)
        return q, k, v

    def attend(self, h: Tensor, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        how = {"scale": SHARPNESS * self.head_width**-0.5, "enable_gqa": self.heads != self.kv_heads}
        if self.window is not None and self.window < q.shape[2]:
            y = windowed(q, k, v, self.window, **how)
        elif seen is not None:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None, None], **how)
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal, **how)
        return h + self.dropout(self.out(y.transpose(1, 2).flatten(2)))

    def feed_forward(self, h: Tensor) -> Tensor:
        gate, up = self.gate_up(rms_norm(h)).chunk(2, -1)
        return h + self.dropout(self.down(F.silu(gate) * up))


@dataclass(frozen=True)
class Sizes:
    """How large a decoder is; by default kv_heads = heads, and hidden = 8/3 width inside the SwiGLU. Not causal: every
    position sees all others (an encoder). A window is how many positions each sees, itself included."""

    width: int
    depth: int
    heads: int
    kv_heads: int | None = None
    hidden: int | None = None
    causal: bool = True
    window: int | None = None


class Decoder(nn.Module):
    """Tokens (B, T) to logits (B, T, V), causal unless its sizes say otherwise.

    Args:
        symbols: rows of the embedding; more than `vocab` where some symbols are read but never written.
        vocab: V, symbols the head can write.
        context: the most positions T.
        tie: the head is the first V rows of the embedding.
        placed: each symbol also carries its place: "waves", for attention to what has no rotations in common with it,
            or "learned", for places that have a meaning of their own.
    """

    table: Tensor
    places: Tensor | None
    waves: Tensor | None

    def __init__(
        self,
        sizes: Sizes,
        symbols: int,
        vocab: int,
        context: int,
        tie: bool = False,
        dropout: float = 0.0,
        placed: Literal["waves", "learned"] | None = None,
    ):
        super().__init__()
        width, heads, kv_heads = sizes.width, sizes.heads, sizes.kv_heads or sizes.heads
        hidden = sizes.hidden or width * 8 // 3
        assert width % heads == 0 and heads % kv_heads == 0 and width // heads % 2 == 0
        self.vocab, self.context, self.width = vocab, context, width
        self.embedding = nn.Embedding(symbols, width)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        block = (width, heads, kv_heads, hidden, dropout, sizes.causal, sizes.window)
        self.blocks = nn.ModuleList(Block(*block) for _ in range(sizes.depth))
        self.head = None if tie else nn.Linear(width, vocab, bias=False)
        self.register_buffer("table", rotations(context, width // heads), persistent=False)
        waves = sinusoids(context, width) * (width**-0.5 if tie else 1.0) if placed == "waves" else None
        self.register_buffer("waves", waves, persistent=False)
        self.places = nn.Parameter(torch.zeros(context, width)) if placed == "learned" else None
        self.initialise()

    def initialise(self) -> None:
        """Inputs of unit scale, branches that start silent (their last matrix is zero), even first predictions."""
        nn.init.normal_(self.embedding.weight, std=1.0 if self.head is not None else self.width**-0.5)
        for block in self.layers:
            block.initialise()
        if self.head is not None:
            nn.init.zeros_(self.head.weight)

    @property
    def layers(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    @property
    def output(self) -> Tensor:
        """The matrix of the head, (V, C)."""
        return self.embedding.weight[: self.vocab] if self.head is None else self.head.weight

    def matrices(self) -> list[nn.Parameter]:
        """Hidden matrices: those between the embedding and the head."""
        return [p for block in self.layers for p in block.parameters()]

    def groups(self, lr: float, muon: bool, others: list[nn.Parameter]) -> list[dict[str, Any]]:
        """What `Muon` takes, with rates that hold at every width (Yang et al. 2022): Muon's is one, Adam's falls as
        1 / width for what reads a wide vector. `others` read narrow ones, as the embedding does."""
        narrow = lr / 8
        wide = narrow * 128 / self.width
        outputs = self.embedding.weight if self.head is None else self.head.weight
        inputs = [*others, *(p for p in (self.places,) if p is not None)]
        inputs += [] if self.head is None else [self.embedding.weight]
        groups = [
            {"params": self.matrices(), "lr": lr if muon else wide, "orthogonal": muon},
            {"params": [outputs], "lr": wide},
            {"params": inputs, "lr": narrow, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def forward(
        self,
        tokens: Tensor,
        extra: Tensor | None = None,
        looks: Sequence[Look] | None = None,
        seen: Tensor | None = None,
    ) -> Tensor:
        """`extra` (B, C) is added to the embedding of every position; `looks`, one a layer, are what each does between
        its two parts; `seen` (B, T) bool are the positions that may be seen, where not causal."""
        return F.linear(self.hidden(tokens, extra, looks, seen), self.output)

    def hidden(
        self, tokens: Tensor, extra: Tensor | None, looks: Sequence[Look] | None, seen: Tensor | None = None
    ) -> Tensor:
        """What the head reads, (B, T, C)."""
        h = self.embed(tokens, extra)
        table = self.table[: tokens.shape[1]]
        for block, look in zip(self.blocks, looks or [None] * len(self.blocks), strict=True):
            h = block(h, table, look, seen)
        return rms_norm(h)

    def embed(self, tokens: Tensor, extra: Tensor | None) -> Tensor:
        h = embedded(tokens, self.embedding.weight)
        for told in (self.waves, self.places):
            h = h if told is None else h + told[: tokens.shape[1]]
        return self.dropout(h if extra is None else h + extra[:, None])


def to_qwen3(net: Decoder) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The same function as a `transformers` Qwen3ForCausalLM: (arguments of Qwen3Config, state dict).

    Symbols that are read but never written have zero rows in the head: leave their logits out when choosing the next.
    """
    block = net.layers[0]
    assert net.waves is None and net.places is None and block.causal
    config = {
        "vocab_size": net.embedding.num_embeddings, "hidden_size": net.width, "num_hidden_layers": len(net.blocks),
        "num_attention_heads": block.heads, "num_key_value_heads": block.kv_heads, "head_dim": block.head_width,
        "intermediate_size": block.down.in_features, "max_position_embeddings": net.context, "rope_theta": BASE,
        "rms_norm_eps": 0.0, "tie_word_embeddings": net.head is None, "attention_bias": False,
    }  # fmt: skip
    if block.window is not None:
        config |= {"use_sliding_window": True, "sliding_window": block.window, "max_window_layers": 0}
    head = net.embedding.weight if net.head is None else F.pad(
        net.output, (0, 0, 0, net.embedding.num_embeddings - net.vocab)
    )  # fmt: skip
    ones = torch.ones(net.width)
    state = {"model.embed_tokens.weight": net.embedding.weight, "model.norm.weight": ones, "lm_head.weight": head}
    for i, layer in enumerate(net.layers):
        state |= {f"model.layers.{i}.{name}": value for name, value in _qwen3_layer(layer).items()}
    return config, {name: value.detach().clone() for name, value in state.items()}


def _qwen3_layer(block: Block) -> dict[str, Tensor]:
    D = block.head_width
    q, k, v = block.qkv.weight.split([block.heads * D, block.kv_heads * D, block.kv_heads * D])
    gate, up = block.gate_up.weight.chunk(2)
    ones = torch.ones(block.out.out_features)
    return {
        "self_attn.q_proj.weight": _halves(q, D), "self_attn.k_proj.weight": _halves(k, D),
        "self_attn.v_proj.weight": v, "self_attn.o_proj.weight": block.out.weight,
        "self_attn.q_norm.weight": torch.full((D,), SHARPNESS),
        "self_attn.k_norm.weight": torch.ones(D), "mlp.gate_proj.weight": gate, "mlp.up_proj.weight": up,
        "mlp.down_proj.weight": block.down.weight, "input_layernorm.weight": ones,
        "post_attention_layernorm.weight": ones,
    }  # fmt: skip


def _halves(weight: Tensor, width: int) -> Tensor:
    """Rows of each head from rotated pairs (0, 1), (2, 3), ... to Qwen3's (0, D/2), (1, D/2 + 1), ..."""
    return weight.unflatten(0, (-1, width // 2, 2)).transpose(1, 2).flatten(0, 2)
