"""Every sample read once: its content hash, its fingerprint, its size in words. What follows needs no second look."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8

from aurify.codec import Codec, Unreadable
from aurify.data import duplicates, editions
from aurify.data.item import Item, numbered
from aurify.data.source import Source

KEEP_BYTES = 512 * 2**20  # natives up to this volume stay in memory and are not read again

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Scan:
    """The readable samples of a source, in order of their content hash (then label, text, name).

    Attributes:
        items: n samples.
        hashes: SHA-256 of each one's content; of equal samples that are no copies, with their number.
        nth: that number; 0 for all others.
        leaders: the earliest sample of its group of near copies; itself where it has none.
        again: True for exact copies of an earlier sample with the same label, text and split.
        sizes: how often each description occurs ("28 x 28 grey").
        unreadable: (name, why).
        volume: bytes of all natives.
        characters: of all natives that are texts; 0 otherwise.
        letters: unlike characters among them but for white space around, counted no further than past one.
        natives: those kept in memory, by position.
    """

    items: tuple[Item, ...]
    hashes: UInt8[np.ndarray, "n 32"]
    nth: Int[np.ndarray, " n"]
    leaders: Int[np.ndarray, " n"]
    again: Bool[np.ndarray, " n"]
    sizes: Counter[str]
    unreadable: tuple[tuple[str, str], ...]
    volume: int
    characters: int
    letters: int
    natives: dict[int, Any]

    def native(self, i: int, codec: Codec[Any]) -> Any:
        """The i-th sample, from memory or read again. Raises Unreadable where its file changed meanwhile."""
        if i in self.natives:
            return self.natives[i]
        native, digest = self.items[i].read(codec)
        if numbered(digest, int(self.nth[i])) != self.hashes[i].tobytes():
            raise Unreadable("changed while it was being read")
        return native


def scan(source: Source, codec: Codec[Any], progress: Progress | None = None, keep: int = KEEP_BYTES) -> Scan:
    """Read every sample. What cannot be read is listed, never fatal.

    Args:
        progress: told (done, total) now and then.
        keep: natives are kept in memory up to this many bytes.
    """
    read: list[tuple[bytes, Item, bytes, Any]] = []
    bad = list(source.bad)
    sizes: Counter[str] = Counter()
    volume, characters, total = 0, 0, len(source.items)
    sketches, letters = editions.Sketches(), set[str]()
    for done, item in enumerate(source.items, 1):
        try:
            native, digest = item.read(codec)
            size, mark = _facts(native, codec, lone=total == 1)
        except Unreadable as error:
            bad.append((item.name, str(error)))
        else:
            sizes[size] += 1
            volume += weight(native)
            if isinstance(native, str):
                characters += len(native)
                letters |= set(native.strip()) if len(letters) < 2 else set()
                if total > 1:  # a lone text has nothing to be told from
                    sketches.add(digest, native)
            read.append((digest, item, mark, native if volume <= keep else None))
        if progress and (done % 64 == 0 or done == total):
            progress(done, total)
    read.sort(key=_order)
    nth = _told_apart(read) if codec.repeats else [0] * len(read)
    items = tuple(r[1] for r in read)
    hashes = np.frombuffer(b"".join(r[0] for r in read), np.uint8).reshape(-1, 32)
    prints = np.frombuffer(b"".join(r[2] for r in read), np.uint8).reshape(-1, 32)
    return Scan(
        items=items,
        hashes=hashes,
        nth=np.array(nth, np.int64),
        leaders=_leaders(hashes, prints, sketches),
        again=_again(hashes, items),
        sizes=sizes,
        unreadable=tuple(bad),
        volume=volume,
        characters=characters,
        letters=len(letters),
        natives={i: r[3] for i, r in enumerate(read) if r[3] is not None},
    )


def _order(read: tuple[bytes, Item, bytes, Any]) -> tuple[bytes, str, str, str]:
    digest, item, *_ = read
    return digest, item.label or "", item.text or "", item.name


def _told_apart(read: list[tuple[bytes, Item, bytes, Any]]) -> list[int]:
    """Numbers equal samples and puts their numbers into their hashes; `read` is in order, and is put in order again."""
    seen: Counter[bytes] = Counter()
    told = []
    for digest, *rest in read:
        told.append(((numbered(digest, seen[digest]), *rest), seen[digest]))
        seen[digest] += 1
    told.sort(key=lambda t: _order(t[0]))
    read[:] = [entry for entry, _ in told]
    return [nth for _, nth in told]


def _facts(native: Any, codec: Codec[Any], lone: bool) -> tuple[str, bytes]:
    """Description and fingerprint; a lone sample has nothing to be told from."""
    try:
        mark = bytes(32) if lone else np.asarray(codec.fingerprint(native), np.uint8).tobytes()
        return codec.describe(native), mark
    except Exception as error:  # a value that no file could give, such as an odd array in a table
        raise Unreadable(f"not a sample of this kind ({type(error).__name__})") from error


def weight(native: Any) -> int:
    """About how many bytes a native sample holds."""
    if isinstance(native, np.ndarray):
        return native.nbytes
    return len(native) if isinstance(native, str | bytes) else 256


def _leaders(
    hashes: UInt8[np.ndarray, "n 32"], prints: UInt8[np.ndarray, "n 32"], sketches: editions.Sketches
) -> Int[np.ndarray, " n"]:
    """Exact copies share a group whatever their fingerprint says; the earliest stands for them."""
    n = len(hashes)
    if n == 0:
        return np.empty(0, np.int64)
    new = np.ones(n, bool)
    new[1:] = (hashes[1:] != hashes[:-1]).any(1)
    first = np.flatnonzero(new)  # hashes are sorted: copies lie together
    grouped = sketches.merge([hashes[i].tobytes() for i in first], duplicates.leaders(prints[first]))
    return first[grouped][np.cumsum(new) - 1]


def _again(hashes: UInt8[np.ndarray, "n 32"], items: tuple[Item, ...]) -> Bool[np.ndarray, " n"]:
    seen: set[tuple[bytes, str | None, str | None, str | None]] = set()
    again = np.zeros(len(items), bool)
    for i, item in enumerate(items):
        key = (hashes[i].tobytes(), item.label, item.text, item.split)
        again[i] = key in seen
        seen.add(key)
    return again


def without_copies(found: Scan) -> Scan:
    """The scan without exact copies of the same label, text and split."""
    kept = np.flatnonzero(~found.again)
    place = np.cumsum(~found.again) - 1
    position = {int(old): new for new, old in enumerate(kept)}
    return replace(
        found,
        items=tuple(found.items[i] for i in kept),
        hashes=found.hashes[kept],
        nth=found.nth[kept],
        leaders=place[found.leaders[kept]],
        again=found.again[kept],
        natives={position[i]: v for i, v in found.natives.items() if i in position},
    )
