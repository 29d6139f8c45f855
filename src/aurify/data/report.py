"""The data report: what is there, what is bad, what would be dropped and why."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aurify import codec as codecs
from aurify.data import enough, split
from aurify.data.item import Item
from aurify.data.scan import Progress, Scan, scan, without_copies
from aurify.data.source import Columns, Source, open_source

COMMON = 8  # sizes named one by one
SHOWN = 5  # examples of anything


@dataclass(frozen=True)
class DataReport:
    """What `check` found. Plain values all through: `to_json` is a dict of them.

    Attributes:
        path, codec: what was read, and by which codec.
        samples: readable samples; `characters` of them, if they are texts.
        counts: files by kind.
        sizes: the most common ones with their counts; `smallest` and `largest`.
        labels: samples of each; `unlabelled` have none.
        texts: samples with a caption or a source text.
        splits: how training will divide them: train, held, test.
        unreadable: (name, why).
        copies: groups of names with the same content; `near` the same for near copies.
        conflicts: (names, labels) of equal samples under unlike labels.
        ignored: what is no sample, by reason; `licences` among the files.
        dropped: how many samples training leaves out, by reason.
        notes: what was found out; `warnings`: what deserves a thought.
        lacking: why training would refuse these samples, and what to do; empty where it would not.
    """

    path: str
    codec: str
    samples: int
    characters: int
    counts: dict[str, int]
    sizes: dict[str, int]
    smallest: str
    largest: str
    labels: dict[str, int]
    unlabelled: int
    texts: int
    splits: dict[str, int]
    unreadable: tuple[tuple[str, str], ...]
    copies: tuple[tuple[str, ...], ...]
    near: tuple[tuple[str, ...], ...]
    conflicts: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    ignored: dict[str, list[str]]
    licences: tuple[str, ...]
    dropped: dict[str, int]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    lacking: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def sections(self) -> dict[str, list[str]]:
        """Titles to lines, for people; empty ones are left out."""
        found = {
            "Samples": list(self._samples()),
            "Labels": [f"{name}: {n:,}" for name, n in _first(self.labels, 20)] + self._more(self.labels, 20, "label"),
            "Division": [", ".join(f"{name} {n:,}" for name, n in self.splits.items() if n)],
            "Unreadable": [f"{n}: {why}" for n, why in self.unreadable[:SHOWN]]
            + self._more(self.unreadable, SHOWN, "file"),
            "Copies": list(self._copies()),
            "Not samples": [f"{why}: {len(n):,} ({_some(n)})" for why, n in sorted(self.ignored.items())],
            "Licences": list(self.licences) or ["none found among the files"],
            "Dropped in training": [f"{why}: {n:,}" for why, n in self.dropped.items()],
            "Found out": list(self.notes),
            "Warnings": list(self.warnings),
        }
        return {title: lines for title, lines in found.items() if lines}

    def _samples(self) -> Iterator[str]:
        text = f", {self.characters:,} characters" if self.characters else ""
        yield f"{self.samples:,} readable in {self.path} (codec {self.codec}){text}"
        if len(self.counts) > 1:
            yield "files: " + ", ".join(f"{n:,} {kind}" for kind, n in self.counts.items())
        yield "sizes: " + ", ".join(f"{size} ({n:,})" for size, n in self.sizes.items())
        if len(self.sizes) > 1:
            yield f"from {self.smallest} to {self.largest}"
        if self.texts:
            yield f"with a text: {self.texts:,}"
        if self.labels and self.unlabelled:
            yield f"without a label: {self.unlabelled:,}"

    def _copies(self) -> Iterator[str]:
        for kind, groups in (("exact", self.copies), ("near", self.near)):
            if groups:
                extra = sum(len(g) - 1 for g in groups)
                yield f"{extra:,} {kind} in {len(groups):,} group{'s' * (len(groups) > 1)}, such as {_some(groups[0])}"
        for names, labels in self.conflicts[:SHOWN]:
            yield f"equal under unlike labels: {_some(names)} ({', '.join(labels)})"
        yield from self._more(self.conflicts, SHOWN, "conflict")

    @staticmethod
    def _more(values: Any, shown: int, word: str) -> list[str]:
        n = len(values) - shown
        return [f"and {n:,} {word}{'s' if n > 1 else ''} more"] if n > 0 else []


def check(
    path: str | Path,
    codec: str | None = None,
    progress: Progress | None = None,
    columns: Columns | None = None,
    fraction: float = 0.1,
) -> DataReport:
    """Read all of a data set once and report on it.

    Args:
        path: whatever `open_source` reads.
        codec: name of the codec; None finds it out.
        progress: told (done, total).
        columns: column of a table for a role.
        fraction: share that training will hold out.

    Raises:
        UserError: see `open_source`.
    """
    source = open_source(path, codec, columns)
    found = scan(source, codecs.load(source.codec)(), progress, keep=0)  # pyright: ignore[reportCallIssue]
    return report(source, found, fraction)


def report(source: Source, found: Scan, fraction: float = 0.1) -> DataReport:
    """What a scan says about its source."""
    items = found.items
    kept = without_copies(found)
    names, splits = [i.name for i in kept.items], [i.split for i in kept.items]
    division = split.divide(kept.hashes, kept.leaders, splits, fraction, names)
    labels = Counter(item.label for item in items)
    unlabelled = labels.pop(None, 0)
    copies, conflicts = _copies(found)
    near = _near(kept)
    ordered = sorted(found.sizes, key=_magnitude)
    return DataReport(
        path=str(source.path),
        codec=source.codec,
        samples=len(items),
        characters=found.characters,
        counts=source.counts,
        sizes=dict(sorted(found.sizes.items(), key=lambda s: (-s[1], _magnitude(s[0])))[:COMMON]),
        smallest=ordered[0] if ordered else "",
        largest=ordered[-1] if ordered else "",
        labels={name: labels[name] for name in sort_labels(labels)},
        unlabelled=unlabelled,
        texts=sum(item.text is not None for item in items),
        splits=division.counts(),
        unreadable=found.unreadable,
        copies=copies,
        near=near,
        conflicts=conflicts,
        ignored=source.ignored,
        licences=source.licences,
        dropped=dropped(source, found) | division.dropped,
        notes=(*source.notes, *division.notes, *_of_editions(found, near), *_of_few_texts(found, fraction)),
        warnings=tuple(_warnings(source, found, labels, conflicts)),
        lacking=enough.lacking(found),
    )


def _of_few_texts(found: Scan, fraction: float) -> list[str]:
    """How texts are divided that are one stream."""
    from aurify.data.encoding import few_texts  # late: it sorts labels as reports do

    return [f"learned as one stream, of every text the last {fraction:.0%} are held out"] if few_texts(found) else []


def dropped(source: Source, found: Scan) -> dict[str, int]:
    """How much of the source training does not see, by reason."""
    copies = int(found.again.sum())
    why = {"unreadable": len(found.unreadable), "exact copy of another with the same label": copies}
    return {k: n for k, n in why.items() if n} | {k: len(names) for k, names in sorted(source.ignored.items())}


def sort_labels(labels: Any) -> list[str]:
    """0, 1, 2, ..., 10, then words; numbers within words count as numbers."""
    return sorted(labels, key=lambda s: (not s.isdecimal(), [_part(p) for p in re.split(r"(\d+)", s)], s))


def _part(part: str) -> tuple[int, int, str]:
    return (0, int(part), "") if part.isdecimal() else (1, 0, part.lower())


def _copies(found: Scan) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]]:
    """Groups of equal content, and those among them whose labels differ."""
    groups: dict[bytes, list[Item]] = defaultdict(list)
    for digest, item in zip(found.hashes, found.items, strict=True):
        groups[digest.tobytes()].append(item)
    several = [g for g in groups.values() if len(g) > 1]
    conflicts = []
    for group in several:
        labels = sort_labels({item.label for item in group if item.label is not None})
        if len(labels) > 1:
            conflicts.append((tuple(item.name for item in group), tuple(labels)))
    return tuple(tuple(sorted(item.name for item in g)) for g in several), tuple(conflicts)


def _near(kept: Scan) -> tuple[tuple[str, ...], ...]:
    """Groups of near copies, largest first; equal contents count once."""
    order = np.argsort(kept.leaders, kind="stable")
    bounds = np.flatnonzero(np.diff(kept.leaders[order])) + 1
    groups = []
    for group in np.split(order, bounds) if len(order) else []:
        unlike = {kept.hashes[i].tobytes(): kept.items[i].name for i in group}
        if len(unlike) > 1:
            groups.append(tuple(sorted(unlike.values())))
    return tuple(sorted(groups, key=lambda g: (-len(g), g)))


def _of_editions(found: Scan, near: Sequence[Any]) -> tuple[str, ...]:
    said = "of texts that hold much of one another only the longest is trained on, if all are learned as one stream"
    return (said,) if found.characters and near else ()


def _warnings(source: Source, found: Scan, labels: Counter[Any], conflicts: Sequence[Any]) -> Iterator[str]:
    yield from enough.doubts(found)
    if labels and (rare := [name for name, m in labels.items() if m < 10]):
        yield f"{len(rare)} labels have fewer than 10 samples (such as {rare[0]!r}); they will be learned badly"
    empty = sum(item.label is None for item in found.items)
    if labels and empty:
        yield f"{empty:,} samples have no label; they are learned as unlabelled"
    if conflicts:
        yield f"{len(conflicts):,} samples occur under unlike labels; one of the labels is probably wrong"
    lost = len(found.unreadable)
    if lost > 0.05 * (lost + len(found.items)):
        yield f"{lost:,} of {lost + len(found.items):,} samples cannot be read"


def _magnitude(size: str) -> tuple[float, str]:
    product = 1.0
    for number in re.findall(r"\d[\d,]*(?:\.\d+)?", size):
        product *= float(number.replace(",", ""))
    return product, size


def _first(counts: dict[str, int], n: int) -> list[tuple[str, int]]:
    return list(counts.items())[:n]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
