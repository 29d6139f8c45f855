"""Fit a codec on training samples and write every sample's encoded form as plain .npy files."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aurify import atomic
from aurify.codec import Codec, Unreadable
from aurify.data import editions, files, split
from aurify.data.report import sort_labels
from aurify.data.scan import Scan
from aurify.errors import UserError
from aurify.spec import Spec, Tokens

FEW_TEXTS = 100  # a stream of fewer texts holds out the end of each, not some of them whole
SPARE = 2**24  # bytes of disk left free beside the data
CHUNK = 256  # samples encoded between two writes


@dataclass(frozen=True)
class Piece:
    """What is stored as one sample: an item, or the part of a text before or after the place of the cut."""

    item: int
    side: int
    part: str = ""  # "", "head", "tail"


@dataclass(frozen=True)
class Plan:
    """Pieces by side, then content hash; the spec that the codec learned from those trained on; what to say; and how
    many samples are on no side, by reason."""

    pieces: tuple[Piece, ...]
    spec: Spec
    notes: tuple[str, ...]
    dropped: dict[str, int] = field(default_factory=dict)


class Reader:
    """The natives of pieces. What became unreadable since the scan is noted in `bad`."""

    def __init__(self, found: Scan, codec: Codec[Any], fraction: float, tick: Callable[[], None]):
        self.found, self.codec, self.fraction, self.tick = found, codec, fraction, tick
        self.bad: dict[str, str] = {}

    def __call__(self, pieces: list[Piece]) -> Iterator[tuple[Piece, Any]]:
        for piece in pieces:
            self.tick()
            try:
                yield piece, cut(self.found.native(piece.item, self.codec), piece.part, self.fraction)
            except Unreadable as error:
                self.bad[self.found.items[piece.item].name] = str(error)

    def fit(self, pieces: list[Piece]) -> Spec:
        return self.codec.fit(native for _, native in self(pieces))


def cut(text: Any, part: str, fraction: float) -> Any:
    """The first 1 - fraction of a text's characters ("head"), or the rest ("tail")."""
    if not part:
        return text
    place = len(text) - max(1, round(len(text) * fraction))
    return text[:place] if part == "head" else text[place:]


def plan(read: Reader) -> Plan:
    """Divide, and fit the codec on what is trained on. A stream of few texts is divided by position.

    Raises:
        UserError: no training sample.
    """
    found = read.found
    splits = [item.split for item in found.items]
    if few_texts(found) and (positional := _by_position(read, splits)) is not None:
        return positional
    names = [item.name for item in found.items]
    division = split.divide(found.hashes, found.leaders, splits, read.fraction, names)
    pieces = [Piece(i, int(side)) for i, side in enumerate(division.sides) if side != split.OUT]
    pieces.sort(key=lambda p: (p.side, p.item))
    train = [p for p in pieces if p.side == split.TRAIN]
    if not train:
        raise UserError(f"there is no readable sample to train on. {'; '.join(division.notes)}".rstrip(". "))
    return Plan(tuple(pieces), read.fit(train), division.notes, division.dropped)


def few_texts(found: Scan) -> bool:
    """Whether the samples are texts that, if they are learned as one stream, are divided by position."""
    few = bool(found.characters) and len(found.items) < FEW_TEXTS
    return few and all(item.split != "valid" for item in found.items)


def _by_position(read: Reader, splits: list[str | None]) -> Plan | None:
    """The last part of every text is held out; None where the codec takes texts as documents of their own.

    What is held out of one text must not be learned from another: near copies of a longer text are left out, and a
    text whose end stands in another one too is trained on whole.
    """
    found = read.found
    sides = np.array([split.TEST if s == "test" else split.TRAIN for s in splits], np.uint8)
    notes, dropped = split.leaks(sides, found.hashes, found.leaders, [item.name for item in found.items])
    trained = [i for i in np.flatnonzero(sides == split.TRAIN).tolist() if len(found.native(i, read.codec)) > 1]
    chosen = _without_editions(read, trained)
    if out := len(trained) - len(chosen):
        such = next(found.items[i].name for i in trained if i not in chosen)
        dropped |= {"near copy of a longer text": out}
        notes += (f"{out} texts hold much of what a longer one holds (such as {such}): only the longer is trained on",)
    whole, said = _shared_ends(read, chosen)
    heads = [Piece(i, split.TRAIN, "" if i in whole else "head") for i in chosen]
    tails = [Piece(i, split.HELD, "tail") for i in chosen if i not in whole]
    spec = read.fit(heads) if heads else None
    if not (isinstance(spec, Tokens) and spec.stream):
        return None
    test = [Piece(i, split.TEST) for i, s in enumerate(splits) if s == "test"]
    note = f"one stream: the last {read.fraction:.0%} of every text is held out"
    return Plan((*heads, *tails, *test), spec, (note, *notes, *said), dropped)


def _without_editions(read: Reader, texts: list[int]) -> list[int]:
    """The texts, less those that longer near copies hold most of; exact copies of what stays, stay."""
    found = read.found
    groups: dict[int, dict[bytes, int]] = {}
    for i in texts:
        groups.setdefault(int(found.leaders[i]), {}).setdefault(found.hashes[i].tobytes(), i)
    kept: set[bytes] = set()
    for group in groups.values():
        natives = {digest: found.native(i, read.codec) for digest, i in group.items()}
        longest = sorted(group, key=lambda digest: -len(natives[digest]))
        new = editions.with_something_new([natives[digest] for digest in longest])
        kept |= {digest for digest, something in zip(longest, new, strict=True) if something}
    return [i for i in texts if found.hashes[i].tobytes() in kept]


def _shared_ends(read: Reader, texts: list[int]) -> tuple[set[int], tuple[str, ...]]:
    """Texts whose end is found in others, and what to say about it; never all of them."""
    found = read.found
    once = [i for k, i in enumerate(texts) if k == 0 or (found.hashes[i] != found.hashes[texts[k - 1]]).any()]
    if len(once) < 2:
        return set(), ()
    natives = [found.native(i, read.codec) for i in once]
    shared = editions.found_elsewhere([cut(text, "tail", read.fraction) for text in natives], natives)
    if shared.all():
        return set(), ("the end of every text is found in others too: what is held out says little about new text",)
    contents = {found.hashes[i].tobytes() for i, s in zip(once, shared.tolist(), strict=True) if s}
    whole = {i for i in texts if found.hashes[i].tobytes() in contents}
    note = f"the ends of {int(shared.sum())} texts are found in others too: these are trained on whole"
    return whole, (note,) if whole else ()


@dataclass(frozen=True)
class Written:
    """Facts of what was written: the pieces that could be encoded, label names, and how many were cut to the length."""

    pieces: tuple[Piece, ...]
    labels: tuple[str, ...]
    shortened: int


def write(folder: Path, read: Reader, plan: Plan) -> Written:
    """Encode all pieces into data.npy (and offsets.npy), with labels.npy, sides.npy, hashes.npy and names.jsonl.

    Raises:
        UserError: nothing could be encoded, or the disk has no room.
    """
    encoder = _TokenRows(plan.spec) if isinstance(plan.spec, Tokens) else _GridRows()
    kept: list[Piece] = []
    pieces = list(plan.pieces)
    first = next(_encoded(read, pieces), None)
    if first is None:
        raise UserError(f"no sample could be encoded; the first: {next(iter(read.bad.items()), '')}")
    dtype, row = encoder.form(first[1])
    size = encoder.volume(first[1], pieces, read.found)
    atomic.reserve(folder, size + size // 20 + SPARE, "write the encoded data")
    with files.Growing(folder / "data.npy", dtype, row) as growing:
        batch = []
        for piece, x in _encoded(read, pieces):
            kept.append(piece)
            batch.append(encoder.row(x).astype(dtype, copy=False))
            if len(batch) == CHUNK:
                growing.write(encoder.join(batch))
                batch = []
        if batch:
            growing.write(encoder.join(batch))
    encoder.finish(folder)
    labels = _save_facts(folder, read.found, kept)
    return Written(tuple(kept), labels, encoder.shortened)


def _encoded(read: Reader, pieces: list[Piece]) -> Iterator[tuple[Piece, torch.Tensor]]:
    for piece, native in read(pieces):
        try:
            x = read.codec.encode(native)
        except Exception as error:  # one odd sample must not end the encoding of the others
            read.bad[read.found.items[piece.item].name] = f"cannot be encoded ({type(error).__name__}: {error})"
        else:
            yield piece, x


class _GridRows:
    """Rows of one shape."""

    shortened = 0

    def form(self, x: torch.Tensor) -> tuple[np.dtype[Any], tuple[int, ...]]:
        return x.numpy().dtype, tuple(x.shape)

    def volume(self, x: torch.Tensor, pieces: list[Piece], found: Scan) -> int:
        return x.numpy().nbytes * len(pieces)

    def row(self, x: torch.Tensor) -> np.ndarray:
        return x.numpy()

    def join(self, batch: list[np.ndarray]) -> np.ndarray:
        return np.stack(batch)

    def finish(self, folder: Path) -> None:
        pass


class _TokenRows:
    """Rows of any length, end to end, in the smallest type that holds the vocabulary; documents are cut to length."""

    def __init__(self, spec: Tokens):
        self.spec, self.offsets, self.shortened = spec, [0], 0

    def form(self, x: torch.Tensor) -> tuple[np.dtype[Any], tuple[int, ...]]:
        return np.min_scalar_type(self.spec.vocab - 1) if self.spec.vocab <= 2**16 else np.dtype(np.int32), ()

    def volume(self, x: torch.Tensor, pieces: list[Piece], found: Scan) -> int:
        most = found.characters if self.spec.end is not None and found.characters else self.spec.length * len(pieces)
        return (most + len(pieces)) * self.form(x)[0].itemsize

    def row(self, x: torch.Tensor) -> np.ndarray:
        values = x.numpy()
        if not self.spec.stream and len(values) > self.spec.length:
            values, self.shortened = values[: self.spec.length], self.shortened + 1
        self.offsets.append(self.offsets[-1] + len(values))
        return values

    def join(self, batch: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(batch)

    def finish(self, folder: Path) -> None:
        files.save(folder / "offsets.npy", np.array(self.offsets))


def _save_facts(folder: Path, found: Scan, pieces: list[Piece]) -> tuple[str, ...]:
    """Labels are those of training: one that is never trained on cannot be asked for."""
    items = [found.items[p.item] for p in pieces]
    trained = {i.label for i, p in zip(items, pieces, strict=True) if p.side == split.TRAIN and i.label is not None}
    labels = tuple(sort_labels(trained))
    place = {label: k for k, label in enumerate(labels)}
    files.save(folder / "labels.npy", np.array([place.get(i.label or "", -1) for i in items], np.int32))
    files.save(folder / "sides.npy", np.array([p.side for p in pieces], np.uint8))
    files.save(folder / "hashes.npy", found.hashes[[p.item for p in pieces]])
    files.save_lines(folder / "names.jsonl", [i.name for i in items])
    if any(i.text is not None for i in items):
        files.save_lines(folder / "texts.jsonl", [i.text for i in items])
    return labels


def content_hash(found: Scan) -> str:
    """SHA-256 over the sorted hashes of all samples with their labels, texts and splits."""
    lines = sorted(
        f"{digest.tobytes().hex()} {(item.label, item.text, item.split)!r}"
        for digest, item in zip(found.hashes, found.items, strict=True)
    )
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
