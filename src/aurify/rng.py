"""Randomness as an argument: every row of a batch has its own, whatever batch it happens to stand in.

Two sources with one face. `BatchRng` serves training: row i of step s's global batch is a function of (seed, s, i),
so accumulation and several processes see the noise that one big batch would. `SampleRng` serves sampling: sample i is
a function of (seed, i) and of nothing else. Samples are drawn on the CPU, so every device gets the same; a training on
a GPU draws there, because a processor would take longer to draw its noise than it takes to learn from it.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Rng(Protocol):
    """Random values with one leading axis of n rows, float32."""

    n: int

    def normal(self, *shape: int) -> Tensor:
        """Standard normal values (n, *shape)."""
        ...

    def uniform(self, *shape: int) -> Tensor:
        """Uniform values in [0, 1), (n, *shape)."""
        ...

    def every(self, k: int) -> list[int]:
        """Which of the n rows have a number that k divides: in the whole batch, or among all samples."""
        ...


def derive(*words: int | str) -> int:
    """A 63-bit seed from any words: the same on every machine, unrelated for unlike words."""
    digest = hashlib.blake2b(repr(words).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class BatchRng:
    """Rows [start, stop) of a global batch of `total` rows: the whole is drawn, the rows are cut out. Another kind of
    device draws other values."""

    def __init__(self, seed: int, total: int, start: int = 0, stop: int | None = None, device: str = "cpu"):
        self.generator = torch.Generator(device).manual_seed(seed)
        self.total, self.rows = total, slice(start, total if stop is None else stop)
        self.n = self.rows.stop - self.rows.start

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.total, *shape, generator=self.generator, device=self.generator.device)[self.rows]

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(self.total, *shape, generator=self.generator, device=self.generator.device)[self.rows]

    def every(self, k: int) -> list[int]:
        return list(range(-self.rows.start % k, self.n, k))


class SampleRng:
    """One generator per sample index."""

    def __init__(self, seed: int, indices: Sequence[int]):
        self.generators = [torch.Generator().manual_seed(derive("sample", seed, i)) for i in indices]
        self.indices, self.n = indices, len(self.generators)

    def normal(self, *shape: int) -> Tensor:
        return torch.stack([torch.randn(shape, generator=g) for g in self.generators])

    def uniform(self, *shape: int) -> Tensor:
        return torch.stack([torch.rand(shape, generator=g) for g in self.generators])

    def every(self, k: int) -> list[int]:
        return [row for row, i in enumerate(self.indices) if i % k == 0]
