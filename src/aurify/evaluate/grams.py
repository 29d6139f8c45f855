"""Texts as code points, and numbers for the runs of characters in them that hardly two different runs share."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt32, UInt64

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd: 2^64 over the golden ratio

Codes = UInt32[np.ndarray, " n"]
Hashes = UInt64[np.ndarray, " n"]


def codes(text: str) -> Codes:
    """Code points; lone halves of surrogate pairs are characters too."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def mixed(x: UInt32[np.ndarray, " n"] | Hashes) -> Hashes:
    """Unrelated 64-bit values (the finaliser of splitmix64, Steele et al. 2014)."""
    x = (x.astype(np.uint64) + np.uint64(1)) * MULTIPLIER
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def grams(text: str, longest: int) -> Iterator[Hashes]:
    """Hashes of every run of 1, 2, ... `longest` characters, length by length."""
    letters = mixed(codes(text))
    hashes = np.zeros(len(letters), np.uint64)
    for n in range(1, min(longest, len(letters)) + 1):
        hashes = mixed(hashes[: len(letters) - n + 1] ^ letters[n - 1 :])
        yield hashes
