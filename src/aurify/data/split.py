"""Which samples are trained on and which are held out: decided by content, so the same everywhere and in any order.

    u(group) = BLAKE2b(smallest SHA-256 of the group) / 2^64, uniform in [0, 1);  held out where u < fraction

A group is a sample with its near copies, so that nothing held out has been seen in training. Adding data moves no
sample from one side to the other, but for groups that grow.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int, UInt8

from aurify.errors import UserError

TRAIN, HELD, TEST, OUT = 0, 1, 2, 3  # OUT: trained on nowhere, because it is a copy of what figures are made with
NAMES = ("train", "held", "test")
SIDES = {None: TRAIN, "train": TRAIN, "valid": HELD, "test": TEST}


@dataclass(frozen=True)
class Division:
    """The side of each sample (TRAIN, HELD, TEST or OUT), what should be said about it, how many are OUT by reason."""

    sides: UInt8[np.ndarray, " n"]
    notes: tuple[str, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        return {name: int((self.sides == k).sum()) for k, name in enumerate(NAMES)}


def divide(
    hashes: UInt8[np.ndarray, "n 32"],
    leaders: Int[np.ndarray, " n"],
    splits: Sequence[str | None],
    fraction: float = 0.1,
    names: Sequence[str] = (),
) -> Division:
    """Divide n samples. Explicit splits win; a held-out part is cut from the training part where none is given.

    Training samples that are exact copies of held-out or test ones are left out: figures on those would flatter.

    Args:
        hashes: SHA-256 of each sample's content.
        leaders: position of the sample that leads each one's group of near copies.
        splits: "train", "valid", "test" or None as the data says.
        fraction: share to hold out.
        names: of the samples, for the notes.

    Raises:
        UserError: fraction is not in (0, 0.5].
    """
    if not 0 < fraction <= 0.5:
        raise UserError(f"the held-out fraction must be above 0 and at most 0.5, not {fraction}")
    sides = np.array([SIDES[s] for s in splits], np.uint8)
    notes, dropped = leaks(sides, hashes, leaders, names)
    pool = np.flatnonzero(sides == TRAIN)
    if (sides == HELD).any() or len(pool) < 2:
        return Division(sides, notes, dropped)
    held, said = _cut(hashes[pool], leaders[pool], fraction)
    sides[pool[held]] = HELD
    return Division(sides, (*notes, *said), dropped)


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


def leaks(
    sides: UInt8[np.ndarray, " n"],
    hashes: UInt8[np.ndarray, "n 32"],
    leaders: Int[np.ndarray, " n"],
    names: Sequence[str] = (),
) -> tuple[tuple[str, ...], dict[str, int]]:
    """What the data's own splits have in common. Copies leave training (`sides` is changed); near copies are named.

    Returns:
        What should be said; how many samples were left out, by reason.
    """
    content = np.unique(hashes, axis=0, return_inverse=True)[1].reshape(-1)
    notes, dropped = [], {}
    for side, name in ((HELD, "held-out"), (TEST, "test")):
        copies = np.flatnonzero((sides == TRAIN) & np.isin(content, content[sides == side]))
        if n := len(copies):
            sides[copies] = OUT
            dropped[f"exact copy of a {name} sample"] = n
            notes.append(
                f"{n} training samples are exact copies of {name} samples{_such(names, copies)}: they are left out"
            )
    for side, name in ((HELD, "held-out"), (TEST, "test")):
        near = np.flatnonzero((sides == side) & np.isin(leaders, leaders[sides == TRAIN]))
        if n := len(near):
            notes.append(
                f"{n} {name} samples look much like training samples{_such(names, near)}; "
                "if they are copies, figures on them flatter"
            )
    return tuple(notes), dropped


def _such(names: Sequence[str], chosen: Int[np.ndarray, " k"]) -> str:
    some = [names[int(i)] for i in chosen[:3]] if names else []
    return f" (such as {', '.join(some)})" if some else ""
