"""Gated causal convolutions whose dilations double: a past that grows as 2^layers (van den Oord et al. 2016, WaveNet).

    z_l = tanh(F_l h_l(t - d_l) + F'_l h_l(t) + V_l c) * sigmoid(G_l h_l(t - d_l) + G'_l h_l(t) + U_l c)      (Eq. 2, 3)
    h_l+1 = h_l + R_l z_l        logits = O relu(P relu(sum_l S_l z_l))                       (Section 2.4, Figure 4)

h_0(t) is the symbol before t and, where samples have one length, the place t itself; before the first, all h_l are 0.

    B batch, T positions, C residual channels, S skip channels, N layers, V alphabet, K entries of the condition vector
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from aurify.nets.transformer import embedded

NUMB = 0.01  # a unit whose slope is below this lets no gradient through; 0.5 is the most a gate allows
PROBES = 16  # positions at which that is looked at


def doubling(stacks: int, depth: int) -> tuple[int, ...]:
    """Dilations 1, 2, 4, ..., 2^(depth - 1), and the same again for each further stack."""
    return tuple(2**i for i in range(depth)) * stacks


def receptive_field(dilations: Sequence[int]) -> int:
    """How many symbols back a prediction looks."""
    return 1 + sum(dilations)


class CausalConv(nn.Module):
    """Symbols (B, T), each the one before the one to be said, to logits (B, T, V).

    Args:
        symbols: rows of the embedding; more than `vocab` where some symbols are read but never written.
        vocab: V.
        dilations: d_l of each layer.
        width, skip: C and S.
        vector: K, 0 for none.
        places: the one length of all samples, whose places are then told apart; 0: none are.
    """

    def __init__(
        self, symbols: int, vocab: int, dilations: Sequence[int], *, width: int, skip: int, vector: int, places: int
    ):
        super().__init__()
        self.dilations, self.width, N = tuple(dilations), width, len(dilations)
        self.embedding = nn.Embedding(symbols, width)
        self.places = nn.Parameter(torch.zeros(places, width)) if places else None
        self.taps = nn.ModuleList(nn.Linear(2 * width, 2 * width) for _ in dilations)  # (past, now) -> (filter, gate)
        self.residual = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in dilations[1:])
        self.skip = nn.Linear(N * width, skip)  # all S_l side by side
        self.hidden, self.head = nn.Linear(skip, skip), nn.Linear(skip, vocab)
        self.told = nn.Linear(vector, N * 2 * width, bias=False) if vector else None
        self.initialise()

    def initialise(self) -> None:
        """Inputs of unit scale, activations that keep theirs, even first predictions."""
        for layer in self.matrices:
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        nn.init.normal_(self.skip.weight, std=2 * self.skip.in_features**-0.5)  # a gate is half open at first
        for layer in (*linears(self.taps), self.skip, self.hidden, self.head):
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.head.weight)
        if self.told is not None:
            nn.init.normal_(self.told.weight, std=0.5)

    @property
    def matrices(self) -> list[nn.Linear]:
        """Layers between hidden activations."""
        return [*linears(self.taps), *linears(self.residual), self.skip, self.hidden]

    def embed(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T C"]:
        h = embedded(tokens, self.embedding.weight)
        return h if self.places is None else h + self.places[: tokens.shape[1]]

    def condition(self, vector: Float[Tensor, "B K"] | None) -> Float[Tensor, "B N gates"] | None:
        """V_l c and U_l c of every layer."""
        return None if self.told is None or vector is None else self.told(vector).unflatten(1, (len(self.taps), -1))

    def forward(
        self, tokens: Int[Tensor, "B T"], vector: Float[Tensor, "B K"] | None = None
    ) -> tuple[Float[Tensor, "B T V"], Float[Tensor, ""]]:
        """Logits, and the share of numb units in the layer that has most: those that no probed position moves."""
        h, told = self.embed(tokens), self.condition(vector)
        gated, numb = [], []
        for i, d in enumerate(self.dilations):
            a = self.taps[i](torch.cat((delayed(h, d), h), -1))
            f, g = (a if told is None else a + told[:, i, None]).chunk(2, -1)
            f, g = f.tanh(), g.sigmoid()
            gated.append(f * g)
            numb.append(still(f.detach(), g.detach()))
            if i < len(self.residual):
                h = h + self.residual[i](gated[-1])
        y = self.skip(torch.cat(gated, -1))
        return self.head(F.relu(self.hidden(F.relu(y)))), torch.stack(numb).amax()


def linears(modules: nn.ModuleList) -> list[nn.Linear]:
    return [m for m in modules if isinstance(m, nn.Linear)]


def delayed(h: Float[Tensor, "B T C"], d: int) -> Float[Tensor, "B T C"]:
    """h(t - d), zero before the beginning."""
    d = min(d, h.shape[1])
    return F.pad(h[:, : h.shape[1] - d], (0, 0, d, 0))


def still(f: Float[Tensor, "B T C"], g: Float[Tensor, "B T C"]) -> Float[Tensor, ""]:
    """Share of units z = tanh(a) sigmoid(b) = f g whose slope |dz/da| + |dz/db| is below NUMB wherever looked."""
    every = max(1, f.shape[1] // PROBES)
    f, g = f[:, ::every], g[:, ::every]
    slope = (1 - f.square()) * g + f.abs() * g * (1 - g)
    return (slope.amax((0, 1)) < NUMB).to(f).mean()
