"""Where sets of samples come from: a side of a store, or a run that makes them; any folder: see `folder`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from aurify import sample as sampling
from aurify.codec import Codec
from aurify.data.store import Store
from aurify.data.texts import encoded
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
    given = () if split.asked is None else tuple(split.texts(indices))
    return Samples(Decoded(codec, rows), codec.seen(codec.spec.widen(rows)), labels, tuple(names), given)


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
    """The training side, and what it never saw dealt into two halves.

    Raises:
        UserError: nothing was held out, or what was is in the training side too (names the files).
    """
    refuse_seen(store)
    train, sides = store.split("train"), {name: store.split(name) for name in ("held", "test")}
    parts = [of_split(store.codec, side) for side in sides.values() if len(side)]
    if not parts:
        raise UserError("this data set has no held-out samples, so nothing can be judged; give more samples")
    unseen = joined(parts)
    told = " and ".join({"held": "held-out", "test": "test"}[n] for n, side in sides.items() if len(side)) + " samples"
    reference, fresh = dealt(unseen, seed)
    return Real(of_split(store.codec, train), reference, fresh, f"half of the {told}", len(train))


def refuse_seen(store: Store) -> None:
    """Samples of equal content on both sides; but two parts of one text are no copies of each other."""
    train, both = store.split("train"), list[tuple[str, str]]()
    known: dict[bytes, list[int]] = {}
    for i, digest in enumerate(store.hashes("train")):
        known.setdefault(digest.tobytes(), []).append(i)
    for side in ("held", "test"):
        found = [(i, known[h.tobytes()]) for i, h in enumerate(store.hashes(side)) if h.tobytes() in known]
        for name, seen in zip(store.split(side).names([i for i, _ in found]), [s for _, s in found], strict=True):
            names = train.names(seen)
            if not (train.stream and name in names):
                both.append((name, names[0]))
    if both:
        raise UserError(
            f"{len(both)} held-out samples were trained on too ({some_of(both)}), so nothing can be judged by them: "
            "take the copies out of the data and train again"
        )


def positional(store: Store) -> bool:
    """Whether what is held out is the last part of the very texts that were trained on."""
    known = {digest.tobytes() for digest in store.hashes("train")}
    return store.split("train").stream and any(h.tobytes() in known for h in store.hashes("held"))


def some_of(both: list[tuple[str, str]]) -> str:
    """The first few pairs of names, in words."""
    return "; ".join([f"{a} is {b}" for a, b in both[:5]] + ["..."] * (len(both) > 5))


def dealt(unseen: Samples, seed: int) -> tuple[Samples, Samples]:
    """Two halves at random.

    Raises:
        UserError: there are not two.
    """
    if len(unseen) < 2:
        raise UserError(
            f"there {'is' if len(unseen) == 1 else 'are'} only {len(unseen)} real samples that the model has "
            "not seen; keep more of them apart: 100 are the least for a verdict"
        )
    order = torch.randperm(len(unseen), generator=torch.Generator().manual_seed(derive("deal", seed)))
    half = len(unseen) // 2
    return unseen.take(order[:half]), unseen.take(order[half : 2 * half])


def mixed(samples: Samples, seed: int) -> Samples:
    """The same in an order of chance: a folder lists label after label, and figures may compare some of them alone."""
    return samples.take(torch.randperm(len(samples), generator=torch.Generator().manual_seed(derive("mixed", seed))))


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
    given = tuple(text for part in parts for text in part.given) if all(part.given for part in parts) else ()
    return Samples(natives, x, torch.cat([part.labels for part in parts]), names, given)


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
    """n samples of a run, labels in the training data's own proportions, texts of held-out samples in turn."""
    chosen = sampling.make_options(model, options)
    labels = asked_labels(run, n)
    names = [run.cond.labels[i] for i in labels.tolist()] if run.cond.labels else None
    given = asked_texts(run)
    made: list[Tensor] = []
    asked = sampling.Asked(names, given or None)  # pyright: ignore[reportArgumentType]
    for index, x in sampling.tensors(model, run, (0, n), seed, asked, chosen):
        made.append(x)
        yield "sampling", (index + 1) / n
    natives = [run.codec.decode(x) for x in made]
    led = tuple(given[i % len(given)] for i in range(n)) if given else ()
    seen = [values for x in made if (values := run.codec.seen(x[None])) is not None]
    return Samples(natives, torch.cat(seen) if seen else None, labels, tuple(f"sample {i}" for i in range(n)), led)


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


def asked_texts(run: Run) -> list[str]:
    """The texts of held-out samples that the run can read, to lead made ones; none where it reads no texts."""
    if run.cond.text is None:
        return []
    held = run.store.split("held")
    return [text for text in held.texts(range(len(held))) if text and readable(run.text_codec, text)]


def readable(codec: Codec[Any], text: str) -> bool:
    try:
        return len(encoded(codec, text)) > 0
    except UserError:
        return False
