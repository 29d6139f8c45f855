"""What a sample is asked for with: a label, a text, a picture or mask. Dropping and guiding are written here, once.

Three slots carry every condition: a vector (labels, attributes), a sequence (a text) and a grid (a picture, a mask).
"None asked" is the slot filled with zeros, so a batch may mix asked and unasked rows. A text is its symbols and a mask
of those that are there; a family that reads texts embeds them itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from aurify.errors import UserError, nearest
from aurify.rng import Rng
from aurify.spec import Tokens

TextRows = tuple[Tensor, Tensor]  # symbols of texts, int64 (B, S), and which of them are there, bool (B, S)


@dataclass(frozen=True)
class CondSpec:
    """What a run can be asked for: the names of its labels, in the order of the vector's entries, and what its texts
    are; None where it reads none."""

    labels: tuple[str, ...] = ()
    text: Tokens | None = None

    @property
    def width(self) -> int:
        """Entries of the vector slot; 0 where there are no labels."""
        return len(self.labels)

    def index(self, label: str) -> int:
        known = list(self.labels)
        if not known:
            raise UserError(f"this run knows no label {label!r}: its data has none, as subfolders or a column")
        if label not in known:
            have = f"Labels: {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}"
            several = {part.strip() for part in label.split(",")} <= set(known)
            hint = " For several, give --label once for each." if several else nearest(label, known)
            raise UserError(f"this run knows no label {label!r}.{hint} {have}")
        return self.labels.index(label)


@dataclass(frozen=True)
class Cond:
    """vector (B, K), sequence of symbols, int64 (B, S), sequence_mask, bool (B, S), grid (B, C, *size); None where a
    slot is unused."""

    vector: Tensor | None = None
    sequence: Tensor | None = None
    sequence_mask: Tensor | None = None
    grid: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> "Cond":
        """The same condition with `change` applied to every slot in use."""
        slots = {f.name: getattr(self, f.name) for f in fields(self)}
        return Cond(**{k: None if v is None else change(v) for k, v in slots.items()})

    def to(self, device: torch.device | str) -> "Cond":
        return self.each(lambda slot: slot.to(device))


def from_labels(labels: Sequence[int | None] | Tensor, spec: CondSpec) -> Cond:
    """One-hot rows (B, K); None or a negative index leaves the row at zero: nothing asked."""
    if not spec.width:
        return Cond()
    index = torch.tensor([-1 if i is None else int(i) for i in labels])
    vector = torch.zeros(len(index), spec.width)
    asked = index >= 0
    vector[asked, index[asked]] = 1
    return Cond(vector=vector)


def from_rows(labels: Tensor, texts: TextRows | None, spec: CondSpec) -> Cond:
    """The condition of stored samples: labels (B,), negative for none, and their texts, if the run reads any."""
    cond = from_labels(labels, spec)
    return cond if spec.text is None or texts is None else replace(cond, sequence=texts[0], sequence_mask=texts[1])


def drop(cond: Cond, p: float, rng: Rng) -> Cond:
    """Forget the condition of each row with probability p, so that one network learns with and without it."""
    if cond == Cond() or p == 0:
        return cond
    keep = rng.uniform() >= p
    return cond.each(lambda slot: slot * keep.to(slot).reshape(-1, *[1] * (slot.ndim - 1)))


def unasked(cond: Cond) -> Cond:
    """The same slots with nothing asked."""
    return cond.each(torch.zeros_like)


def both(cond: Cond) -> Cond:
    """Each row as it is asked for, and below them each row again with nothing asked: what guidance compares."""
    return cond.each(lambda slot: torch.cat((slot, torch.zeros_like(slot))))
