"""What a codec yields and a family models: the only thing the two share.

Grid    continuous values on a 0-, 1-, 2- or 3-d grid, about [-1, 1]
Tokens  discrete symbols: whole documents closed by `end`, or windows of an endless stream
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from aurify.rng import Rng


@dataclass(frozen=True)
class Grid:
    """Continuous samples x of shape (channels, *size), float32, about [-1, 1].

    Picture (H, W), wave (T,), video (T, H, W), row ().
    """

    channels: int
    size: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, *self.size)

    def widen(self, stored: Tensor) -> Tensor:
        """Compact stored values to what a family sees: uint8 or uint16 to float32 in [-1, 1]; float32 as it is."""
        if stored.dtype.is_floating_point:
            return stored.float()
        top = 255 if stored.dtype == torch.uint8 else 65535
        return stored.to(torch.float32) * (2 / top) - 1

    def contains(self, x: Tensor) -> bool:
        """True for one sample (C, *size) or a batch (B, C, *size) of finite float values."""
        return (
            x.dtype.is_floating_point and tuple(x.shape[-len(self.shape) :]) == self.shape and bool(x.isfinite().all())
        )

    def like(self, rng: Rng) -> Tensor:
        """Smooth-looking random values of this spec, shape (rng.n, C, *size): for tests and probes."""
        return rng.normal(*self.shape).tanh()

    @property
    def dims(self) -> int:
        """How many numbers one sample has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Tokens:
    """Discrete samples x of shape (length,), int64 in [0, vocab).

    Args:
        length: the longest document, or the window of a stream.
        vocab: number of symbols, `end` included.
        end: the symbol that closes a document, stands between documents of a stream, and pads. None: every sample
            has exactly `length` symbols (rows, pictures).
        stream: samples are windows of an endless text; `end` inside a window closes nothing.
        sizes: the alphabet of each position, where they differ (tables).
        unseen: a symbol that training data never has and no sample may have: it stands for what was never met.
    """

    length: int
    vocab: int
    end: int | None = None
    stream: bool = False
    sizes: tuple[int, ...] | None = None
    unseen: int | None = None

    @property
    def variable(self) -> bool:
        """Whether samples end before `length`."""
        return self.end is not None and not self.stream

    def widen(self, stored: Tensor) -> Tensor:
        return stored.long()

    def mask(self, x: Tensor) -> Tensor:
        """True up to and including the first `end`, shape of x; all True where nothing ends early."""
        if not self.variable:
            return torch.ones_like(x, dtype=torch.bool)
        ended = (x == self.end).long().cumsum(-1) - (x == self.end).long()  # how many ends lie before
        return ended == 0

    def contains(self, x: Tensor) -> bool:
        """True for one sample (L,) or a batch (B, L) of symbols in range; L is `length` unless samples vary."""
        if x.dtype.is_floating_point or x.shape[-1] == 0:
            return False
        fits = x.shape[-1] <= self.length if self.variable else self.stream or x.shape[-1] == self.length
        top = self.vocab if self.sizes is None else torch.tensor(self.sizes, device=x.device)
        return bool(fits) and bool(((x >= 0) & (x < top)).all())

    def like(self, rng: Rng) -> Tensor:
        """Random symbols of this spec, shape (rng.n, length); documents are closed at random places."""
        u = rng.uniform(self.length)
        top = self.vocab if self.sizes is None else torch.tensor(self.sizes)
        x = (u * top).long()
        if self.variable and self.end is not None:
            cut = (rng.uniform() * self.length).long()[:, None]
            x = torch.where(torch.arange(self.length) >= cut, self.end, x)
        return x

    @property
    def dims(self) -> int:
        """How many symbols one sample has at most."""
        return self.length


Spec = Grid | Tokens


def to_json(spec: Spec) -> dict[str, Any]:
    return {"kind": type(spec).__name__, **asdict(spec)}


def from_json(state: dict[str, Any]) -> Spec:
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in state.items() if k != "kind"}
    return {"Grid": Grid, "Tokens": Tokens}[state["kind"]](**fields)
