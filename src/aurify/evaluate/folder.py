"""Any folder, archive or table of samples, whoever made them: what can be read of it, and how figures see that.

A long text is cut into passages as training cuts it: all texts one after the other, in windows of the codec's length
that follow one another; what is left at the end is less than a passage.
"""

import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from aurify import codec as codecs
from aurify.codec import Codec, Unreadable
from aurify.data.item import Item, content_hash
from aurify.data.source import open_source
from aurify.errors import UserError
from aurify.evaluate.progress import Steps
from aurify.evaluate.samples import Decoded, Samples
from aurify.evaluate.sources import MOST, capacity, spread, stacked
from aurify.spec import Grid, Tokens

NAMED = 5  # files that a sentence names
READERS, AT_ONCE = 2, 256  # threads, which unpack beside one another; files between two words
LONG = 5e-4  # seconds for a file above which threads pay: with small files they take turns and are three times as slow


@dataclass(frozen=True)
class Folder:
    """What was read: natives, their labels, and where each comes from.

    Attributes:
        path: as it was given.
        codec: name of the codec that reads it.
        natives, labels, names: of each sample.
        items: samples there are; of very many some are read.
        bad: (name, why) of what cannot be read.
    """

    path: str
    codec: str
    natives: list[Any]
    labels: list[str | None]
    names: tuple[str, ...]
    items: int
    bad: tuple[tuple[str, str], ...]

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(sorted({label for label in self.labels if label is not None}))

    @cached_property
    def hashes(self) -> list[str]:
        """Of each sample's content."""
        return [content_hash(native).hex() for native in self.natives]

    @property
    def unreadable(self) -> str | None:
        """What cannot be read and why, in a sentence; None where everything can."""
        if not self.bad:
            return None
        named = ", ".join([f"{name} ({why})" for name, why in self.bad[:NAMED]] + ["..."] * (len(self.bad) > NAMED))
        of = len(self.bad) + len(self.natives)
        return f"{len(self.bad):,} of {of:,} samples of {self.path} could not be read: {named}."


def read(path: str, kind: str | None = None) -> Steps[Folder]:
    """Every readable sample, before a codec is fitted.

    Raises:
        UserError: there is none that can be read, or they are not of this kind.
    """
    source = open_source(Path(path), None)
    if kind not in (None, source.codec):
        raise UserError(f"{path} holds {source.codec}, the others {kind}: sets of two kinds cannot be compared")
    codec = codecs.load(source.codec)()
    natives, labels, names, bad = [], [], [], list(source.bad)
    chosen = [source.items[i] for i in spread(len(source.items), MOST)]
    with ThreadPoolExecutor(READERS) as readers:
        long = False
        for start in range(0, len(chosen), AT_ONCE):
            yield f"reading {path}", start / len(chosen)
            some, began = chosen[start : start + AT_ONCE], time.perf_counter()
            read_some = read_together(readers if long else None, codec, some)
            long = time.perf_counter() - began > LONG * len(some)
            for item, native in zip(some, read_some, strict=True):
                if isinstance(native, Unreadable):
                    bad.append((item.name, str(native)))
                    continue
                natives.append(native)
                names.append(item.name)
                labels.append(item.label)
    found = Folder(path, source.codec, natives, labels, tuple(names), len(source.items), tuple(bad))
    if not natives:
        raise UserError(f"{path} holds no sample that can be read. {found.unreadable} See: aurify check {path}")
    return found


def read_together(readers: ThreadPoolExecutor | None, codec: Codec[Any], items: list[Item]) -> list[Any]:
    """Natives, or why there is none. Reading keeps warnings silent, which is a setting of all threads: afterwards it
    is as it was."""
    each = partial(read_item, codec)
    with warnings.catch_warnings():
        return list(readers.map(each, items) if readers else map(each, items))


def read_item(codec: Codec[Any], item: Item) -> Any:
    """An item's native, or why it cannot be read."""
    try:
        return item.read(codec)[0]
    except Unreadable as error:
        return error


def understood(folder: Folder, codec: Codec[Any]) -> Folder:
    """Without rows of a table that hold what the codec never met; these are among the unreadable ones then."""
    if not codec.repeats:
        return folder
    kept, bad = list[int](), list(folder.bad)
    for i, native in enumerate(folder.natives):
        try:
            codec.encode(native)
            kept.append(i)
        except Unreadable as error:
            bad.append((folder.names[i], str(error)))
    if not kept:
        raise UserError(f"no row of {folder.path} is like those of the reference; the first: {bad[0][1]}")
    natives, labels = [folder.natives[i] for i in kept], [folder.labels[i] for i in kept]
    return replace(folder, natives=natives, labels=labels, names=tuple(folder.names[i] for i in kept), bad=tuple(bad))


def samples(folder: Folder, codec: Codec[Any], labels: tuple[str, ...] = ()) -> tuple[Samples, int]:
    """A folder's samples as a fitted codec sees them, and how many there are: of very many some are taken.

    Raises:
        UserError: a text that is shorter than one passage.
    """
    place = {label: i for i, label in enumerate(labels)}
    found = torch.tensor([place.get(label or "", -1) for label in folder.labels])
    if isinstance(codec.spec, Tokens) and codec.spec.stream:
        return passages(folder, codec, codec.spec.length, found)
    rows = spread(len(folder.natives), capacity(codec.spec)).tolist()
    natives = [folder.natives[i] for i in rows]
    names = tuple(folder.names[i] for i in rows)
    return Samples(natives, values(natives, codec), found[rows], names), folder.items - len(folder.bad)


def values(natives: list[Any], codec: Codec[Any]) -> Float[Tensor, "n C *size"] | None:
    """As figures see samples, many at a time; None for texts."""
    parts = (natives[i : i + AT_ONCE] for i in range(0, len(natives), AT_ONCE))
    stored = (stacked(codec.spec, [codec.encode(native)[None] for native in part]) for part in parts)
    seen = [x for part in stored if (x := codec.seen(codec.spec.widen(part))) is not None]
    return torch.cat(seen) if seen else None


def passages(folder: Folder, codec: Codec[Any], length: int, labels: torch.Tensor) -> tuple[Samples, int]:
    """All texts as one stream, in windows; a window's label is that of the text where it starts."""
    texts = [codec.encode(native) for native in folder.natives]
    stream = torch.cat(texts)
    n = len(stream) // length
    if n == 0:
        raise UserError(
            f"{folder.path} holds {len(stream)} symbols, less than one passage of {length}: a long text is judged in "
            "passages of that many; give more text"
        )
    at = torch.from_numpy(spread(n, capacity(codec.spec)))
    rows = stream[: n * length].reshape(n, length)[at]
    ends = np.cumsum([len(text) for text in texts])
    starts = torch.from_numpy(np.searchsorted(ends, at.numpy() * length, side="right"))
    return Samples(Decoded(codec, rows), None, labels[starts], tuple(f"passage {i}" for i in at.tolist())), n


def refitted(folder: Folder, codec: Codec[Any]) -> str:
    """What the codec made of samples that were not as it takes them: "300 of 300 were 32 x 32 grey", or ""."""
    if not isinstance(codec.spec, Grid):
        return ""
    usual = codec.describe(codec.decode(codec.encode(folder.natives[0])))
    others = Counter(codec.describe(native) for native in folder.natives)
    others.pop(usual, None)
    if not others:
        return ""
    kinds = ", ".join([kind for kind, _ in others.most_common(3)] + ["..."] * (len(others) > 3))
    resized = len(codec.spec.size) == 2 and any(n.shape[:2] != codec.spec.size for n in folder.natives)
    how = " (resized by Lanczos)" if resized else ""
    return f"{others.total():,} of {len(folder.natives):,} were {kinds} and became {usual}{how}"
