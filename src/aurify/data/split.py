"""Which samples are trained on and which are held out: decided by content, so the same everywhere and in any order.

    u(group) = BLAKE2b(smallest SHA-256 of the group) / 2^64, uniform in [0, 1);  held out where u < fraction

A group is a sample with its near copies, so that nothing held out has been seen in training. Adding data moves no
sample from one side to the other, but for groups that grow.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

from aurify.errors import UserError

TRAIN, HELD, TEST = 0, 1, 2
NAMES = ("train", "held", "test")
SIDES = {None: TRAIN, "train": TRAIN, "valid": HELD, "test": TEST}


@dataclass(frozen=True)
class Division:
    """The side of each sample (TRAIN, HELD or TEST), and what should be said about it."""

    sides: UInt8[np.ndarray, " n"]
    notes: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        return {name: int((self.sides == k).sum()) for k, name in enumerate(NAMES)}


def divide(
    hashes: UInt8[np.ndarray, "n 32"],
    leaders: Int[np.ndarray, " n"],
    splits: Sequence[str | None],
    fraction: float = 0.1,
) -> Division:
    """Divide n samples. Explicit splits win; a held-out part is cut from the training part where none is given.

    Args:
        hashes: SHA-256 of each sample's content.
        leaders: position of the sample that leads each one's group of near copies.
        splits: "train", "valid", "test" or None as the data says.
        fraction: share to hold out.

    Raises:
        UserError: fraction is not in (0, 0.5].
    """
    if not 0 < fraction <= 0.5:
        raise UserError(f"the held-out fraction must be above 0 and at most 0.5, not {fraction}")
    sides = np.array([SIDES[s] for s in splits], np.uint8)
    notes = _leaks(sides, leaders)
    pool = np.flatnonzero(sides == TRAIN)
    if (sides == HELD).any() or len(pool) < 2:
        return Division(sides, notes)
    held, said = _cut(hashes[pool], leaders[pool], fraction)
    sides[pool[held]] = HELD
    return Division(sides, (*notes, *said))


def _cut(
    hashes: UInt8[np.ndarray, "n 32"], leaders: Int[np.ndarray, " n"], fraction: float
) -> tuple[np.ndarray, tuple[str, ...]]:
    """True for what is held out of n >= 2 samples; at least one, and not all."""
    n = len(hashes)
    order = np.lexsort(hashes.T[::-1])
    _, group, sizes = np.unique(leaders, return_inverse=True, return_counts=True)
    groups = len(sizes)
    if groups == 1:
        held = np.zeros(n, bool)
        held[order[0]] = True
        return held, ("all samples are near copies of one another: the held-out one says nothing about new ones",)
    smallest = np.empty(groups, np.int64)
    smallest[group[order[::-1]]] = order[::-1]  # the last to be written is the smallest hash
    u = np.array([_uniform(hashes[i].tobytes()) for i in smallest])
    large = sizes > max(1, fraction * n)
    out = (u < fraction) & ~large
    if not out.any():
        out[np.lexsort((u, sizes * large))[0]] = True
    if out.all():
        out[u.argmax()] = False
    notes = ()
    if large.any():
        notes = (f"{int(sizes[large].sum())} samples are near copies in large groups; they are all trained on",)
    return out[group], notes if not (large & out).any() else ()


def _uniform(digest: bytes) -> float:
    word = hashlib.blake2b(b"held out?" + digest, digest_size=8).digest()
    return int.from_bytes(word, "big") / 2**64


def _leaks(sides: UInt8[np.ndarray, " n"], leaders: Int[np.ndarray, " n"]) -> tuple[str, ...]:
    """What the data's own splits have in common: near copies of training samples among the others."""
    trained = np.zeros(int(leaders.max(initial=-1)) + 1, bool)
    trained[leaders[sides == TRAIN]] = True
    notes = []
    for side, name in ((HELD, "held-out"), (TEST, "test")):
        if n := int(trained[leaders[sides == side]].sum()):
            notes.append(
                f"{n} {name} samples look much like training samples; if they are copies, figures on them flatter"
            )
    return tuple(notes)
