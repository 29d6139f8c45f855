"""Where sets of samples come from: a side of a store, a run that makes them, or any folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from aurify import codec as codecs
from aurify import sample as sampling
from aurify.codec import Codec, Unreadable
from aurify.data.item import content_hash
from aurify.data.source import open_source
from aurify.data.store import Store
from aurify.data.view import Split
from aurify.errors import UserError
from aurify.evaluate.progress import Steps
from aurify.evaluate.samples import Decoded, Samples
from aurify.family import Family
from aurify.rng import derive
from aurify.run import Run
from aurify.spec import Grid, Spec

MOST, BYTES = 60_000, 2**30  # of each side that is looked at: so many samples, and as many as fit into so many bytes


def capacity(spec: Spec) -> int:
    """How many samples of a side are looked at."""
    return max(1, min(MOST, BYTES // (spec.dims * (4 if isinstance(spec, Grid) else 8))))


def of_split(codec: Codec[Any], split: Split, most: int = MOST) -> Samples:
    """Samples of one side of a store, evenly chosen where there are very many; windows of a stream in their order."""
    indices = spread(len(split), min(most, capacity(codec.spec)))
    rows, labels = split.rows(indices)
    names = [f"window {i}" for i in indices] if split.stream else split.names(indices)
    return Samples(Decoded(codec, rows), widened(codec.spec, rows), labels, tuple(names))


def widened(spec: Spec, rows: Tensor) -> Tensor | None:
    return spec.widen(rows) if isinstance(spec, Grid) else None


@dataclass(frozen=True)
class Real:
    """Real samples, each in one place only: what a model learned from, what figures refer to, and what stands in the
    generated samples' place for the floor."""

    train: Samples
    reference: Samples
    fresh: Samples
    told: str  # which the last two are, in words
    known: int  # training samples there are, of which `train` may be a part

    @property
    def most(self) -> int:
        """Samples on each side of a figure."""
        return len(self.fresh)


def of_store(store: Store, seed: int) -> Real:
    """The training side, and what it never saw dealt into two halves."""
    train, sides = store.split("train"), {name: store.split(name) for name in ("held", "test")}
    parts = [of_split(store.codec, side) for side in sides.values() if len(side)]
    if not parts:
        raise UserError("this data set has no held-out samples, so nothing can be judged; give more samples")
    unseen = joined(parts)
    told = " and ".join({"held": "held-out", "test": "test"}[n] for n, side in sides.items() if len(side)) + " samples"
    reference, fresh = dealt(unseen, seed)
    return Real(of_split(store.codec, train), reference, fresh, f"half of the {told}", len(train))


def dealt(unseen: Samples, seed: int) -> tuple[Samples, Samples]:
    """Two halves at random."""
    order = torch.randperm(len(unseen), generator=torch.Generator().manual_seed(derive("deal", seed)))
    half = len(unseen) // 2
    return unseen.take(order[:half]), unseen.take(order[half : 2 * half])


def joined(parts: list[Samples]) -> Samples:
    """All samples of several sets of one codec."""
    if len(parts) == 1:
        return parts[0]
    natives: Sequence[Any] = [native for part in parts for native in part.natives]
    stored = [part.natives for part in parts if isinstance(part.natives, Decoded)]
    if len(stored) == len(parts):
        natives = Decoded(stored[0].codec, stacked(stored[0].codec.spec, [part.rows for part in stored]))
    xs = [part.x for part in parts if part.x is not None]
    x = torch.cat(xs) if xs else None
    names = tuple(name for part in parts for name in part.names)
    return Samples(natives, x, torch.cat([part.labels for part in parts]), names)


def stacked(spec: Spec, rows: list[Tensor]) -> Tensor:
    """All rows as one tensor; texts are closed and padded to the longest."""
    if isinstance(spec, Grid):
        return torch.cat(rows)
    width = max(part.shape[1] for part in rows)
    return torch.cat([F.pad(part, (0, width - part.shape[1]), value=spec.end or 0) for part in rows])


def spread(n: int, most: int) -> np.ndarray:
    """At most `most` of n indices, evenly over their order."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)


def of_run(run: Run, model: Family, n: int, seed: int, options: dict[str, Any]) -> Steps[Samples]:
    """n samples of a run, labels in the training data's own proportions."""
    chosen = sampling.make_options(model, options)
    labels = asked_labels(run, n)
    names = [run.cond.labels[i] for i in labels.tolist()] if run.cond.labels else None
    made: list[Tensor] = []
    for index, x in sampling.tensors(model, run, (0, n), seed, names, chosen):  # pyright: ignore[reportArgumentType]
        made.append(x)
        yield "sampling", (index + 1) / n
    natives = [run.codec.decode(x) for x in made]
    x = torch.stack(made) if isinstance(run.spec, Grid) else None
    return Samples(natives, x, labels, tuple(f"sample {i}" for i in range(n)))


def asked_labels(run: Run, n: int) -> Tensor:
    """n labels in the proportions of the training split's labelled samples, in a fixed order; -1 where no label is."""
    if not run.cond.labels:
        return torch.full((n,), -1)
    train = run.store.split("train")
    known = train.labels[train.first : train.last]
    counts = np.bincount(known[known >= 0], minlength=len(run.cond.labels))
    places = (np.arange(n) + 0.5) / n * counts.sum()
    labels = np.searchsorted(np.cumsum(counts), places, side="right")
    return torch.from_numpy(labels)[torch.randperm(n, generator=torch.Generator().manual_seed(0))]


@dataclass(frozen=True)
class Folder:
    """What can be read of a folder, archive or table: natives, their labels, and where each comes from."""

    codec: str
    natives: list[Any]
    labels: list[str | None]
    names: tuple[str, ...]
    items: int  # samples there are; of very many some are read

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(sorted({label for label in self.labels if label is not None}))

    @cached_property
    def hashes(self) -> list[str]:
        """Of each sample's content."""
        return [content_hash(native).hex() for native in self.natives]


def read(path: str | Path, kind: str | None = None) -> Folder:
    """Every readable sample, before a codec is fitted.

    Raises:
        UserError: there is none that can be read, or they are not of this kind.
    """
    source = open_source(Path(path), None)
    if kind not in (None, source.codec):
        raise UserError(f"{path} holds {source.codec}, the others {kind}: sets of two kinds cannot be compared")
    codec = codecs.load(source.codec)()
    natives, labels, names = [], [], []
    for item in (source.items[i] for i in spread(len(source.items), MOST)):
        try:
            natives.append(item.read(codec)[0])
        except Unreadable:
            continue
        names.append(item.name)
        labels.append(item.label)
    if not natives:
        raise UserError(f"{path} holds no sample that can be read; see: aurify check {path}")
    return Folder(source.codec, natives, labels, tuple(names), len(source.items))


def of_folder(folder: Folder, codec: Codec[Any], labels: tuple[str, ...] = ()) -> Samples:
    """A folder's samples as a fitted codec sees them."""
    rows = spread(len(folder.natives), capacity(codec.spec)).tolist()
    natives = [folder.natives[i] for i in rows]
    grid = isinstance(codec.spec, Grid)
    x = torch.stack([codec.spec.widen(codec.encode(native)) for native in natives]) if grid else None
    found = [labels.index(folder.labels[i]) if folder.labels[i] in labels else -1 for i in rows]
    return Samples(natives, x, torch.tensor(found), tuple(folder.names[i] for i in rows))
