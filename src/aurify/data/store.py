"""The encoded data set on disk: made once, opened in an instant by every later training on the same data.

    home()/store/<key>/   data.npy offsets.npy labels.npy sides.npy hashes.npy names.jsonl store.json
                         texts.jsonl texts.npy text_offsets.npy, where samples come with texts

`key` is a hash of the listing of the data (names, sizes, times), the codec with its configuration, and the held-out
fraction. A store is complete or absent, and may be deleted at any time.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aurify import atomic, settings
from aurify import codec as codecs
from aurify import spec as specs
from aurify.codec import Codec
from aurify.cond import CondSpec
from aurify.data import encoding, enough, files, split, texts
from aurify.data.report import dropped
from aurify.data.scan import Progress, Scan, scan, without_copies
from aurify.data.source import Columns, Source, fingerprint, open_source
from aurify.data.view import Split
from aurify.errors import UserError
from aurify.home import home
from aurify.spec import Spec, Tokens

VERSION = 3
QUICK = 64 * 2**20  # stores up to this many bytes are hashed whole at every opening, larger ones in places


@dataclass(frozen=True)
class Store:
    """An encoded data set.

    Attributes:
        folder: where it lies.
        spec: what its samples are.
        cond: what they can be asked for with.
        codec: the fitted codec.
        codec_name: its name.
        text: the fitted codec of the texts that samples come with; None where there are none.
        report: what was left out and why, in JSON.
        hash: of the samples' contents and labels: equal data, equal hash, wherever it lies.
        notes: what was decided, in sentences.
        counts: stored samples of each side; of a stream, pieces of text.
    """

    folder: Path
    spec: Spec
    cond: CondSpec
    codec: Codec[Any]
    codec_name: str
    text: Codec[Any] | None
    report: dict[str, Any]
    hash: str
    notes: tuple[str, ...]
    counts: dict[str, int]

    def split(self, name: str) -> Split:
        """The side "train", "held" or "test"; it may be empty.

        Raises:
            UserError: no such side.
        """
        if name not in split.NAMES:
            raise UserError(f"there is no split {name!r}; there are {', '.join(split.NAMES)}")
        side = split.NAMES.index(name)
        sides = self._array("sides.npy")
        first, last = np.searchsorted(sides, [side, side + 1])
        offsets = self._array("offsets.npy") if (self.folder / "offsets.npy").exists() else None
        return Split(
            self.spec,
            self._array("data.npy"),
            offsets,
            self._array("labels.npy"),
            int(first),
            int(last),
            self.folder,
            self._texts(),
        )

    def _texts(self) -> texts.Texts | None:
        if self.cond.text is None:
            return None
        return texts.Texts(self.cond.text, self._array(texts.DATA), self._array(texts.OFFSETS))

    def hashes(self, name: str) -> np.ndarray:
        """SHA-256 (n, 32) of the contents that one side's samples come from."""
        side = self.split(name)
        return self._array("hashes.npy")[side.first : side.last]

    def _array(self, name: str) -> np.ndarray:
        array = np.load(self.folder / name, mmap_mode=None if name in SMALL else "r", allow_pickle=False)
        return np.asarray(array)  # a plain array over the same pages: indexing it is quicker


SMALL = {"sides.npy", "labels.npy", "offsets.npy", texts.OFFSETS}


def open_or_build(
    path: str | Path,
    codec_name: str | None = None,
    config: Mapping[str, Any] | None = None,
    columns: Columns | None = None,
    fraction: float = 0.1,
    progress: Progress | None = None,
    keep_copies: bool = False,
) -> Store:
    """The store of a data set: opened where it exists and is whole, else made.

    Args:
        path: whatever `open_source` reads.
        codec_name: None finds it out.
        config: settings of the codec that differ from its defaults.
        columns: column of a table for a role.
        fraction: share to hold out.
        progress: told (done, total) while it is made.
        keep_copies: keep exact copies with the same label.

    Raises:
        UserError: see `open_source`; nothing to learn from; no room on the disk.
    """
    path = Path(path)
    mark = fingerprint(path, columns)
    source, asked = None, codec_name
    if codec_name is None and (codec_name := _found_before(mark)) is None:
        source = open_source(path, None, columns)
        codec_name = source.codec
    codec = _new(codec_name, config)
    folder = home() / "store" / _key(mark, codec_name, codec, fraction, keep_copies)
    made, notices = _whole(folder)
    if made:
        return made
    source = source or open_source(path, codec_name, columns)
    _make(folder, source, codec, fraction, progress, keep_copies)
    if asked is None:
        _remember(mark, codec_name)
    made = open_store(folder)
    return replace(made, notes=(*notices, *made.notes))


def _whole(folder: Path) -> tuple[Store | None, tuple[str, ...]]:
    """The store in this folder if there is one; a damaged one is removed, and that is said."""
    if not folder.exists():
        return None, ()
    try:
        return open_store(folder), ()
    except Damaged as damage:
        _remove(folder)
        return None, (f"the encoded data was damaged ({damage}) and has been made again",)


class Damaged(ValueError):
    """A store on disk is not what was written; the message says which file."""


def open_store(folder: Path, verify: bool | None = None) -> Store:
    """Open a store.

    Args:
        folder: where it lies.
        verify: compare every byte with what was written (True), some blocks of each file (False), or every byte where
            that takes no time (None).

    Raises:
        Damaged: a file is missing, of another size, or of other content.
    """
    try:
        about = json.loads((folder / "store.json").read_text(encoding="utf-8"))
        if _digest({k: v for k, v in about.items() if k != "sha256"}) != about["sha256"]:
            raise Damaged("store.json has changed")
        kept = about["files"]
        verify = sum(f["size"] for f in kept.values()) <= QUICK if verify is None else verify
        for name, fact in kept.items():
            file = folder / name
            if not file.is_file() or file.stat().st_size != fact["size"]:
                raise Damaged(f"{name} is missing or cut off")
            if files.sha256(file) != fact["sha256"] if verify else files.sampled(file) != fact["sampled"]:
                raise Damaged(f"{name} has changed")
        codec = _restored(about["codec"])
        text = _restored(about["text"]) if about["text"] else None
        return Store(
            folder=folder,
            spec=specs.from_json(about["spec"]),
            cond=CondSpec(tuple(about["labels"]), text and text.spec),  # pyright: ignore[reportArgumentType]
            codec=codec,
            codec_name=about["codec"]["name"],
            text=text,
            report=about["report"],
            hash=about["hash"],
            notes=tuple(about["notes"]),
            counts=about["counts"],
        )
    except (OSError, KeyError, TypeError, AttributeError, UserError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"store.json cannot be read: {type(error).__name__}") from error


def _lost(found: Scan) -> list[str]:
    """That samples are left out because they cannot be read."""
    if not found.unreadable:
        return []
    n, (name, why) = len(found.unreadable), found.unreadable[0]
    return [f"{n:,} of the data cannot be read and {'is' if n == 1 else 'are'} left out, such as {name} ({why})"]


def _make(
    folder: Path, source: Source, codec: Codec[Any], fraction: float, progress: Progress | None, keep_copies: bool
) -> None:
    """Read, divide, fit, encode, write. Samples are read once if they fit into memory, else three times."""
    n = len(source.items)
    clock = _Clock(progress, 3 * n)
    everything = scan(source, codec, lambda done, _: clock.at(done))
    if not everything.items:
        why = "; ".join(f"{name}: {why}" for name, why in everything.unreadable[:3])
        raise UserError(f"none of the {n:,} samples of {source.path} can be read: {why}")
    if lacking := enough.lacking(everything):
        raise UserError(f"{source.path}: {lacking}")
    doubts = [f"warning: {doubt}" for doubt in (*_lost(everything), *enough.doubts(everything))]
    found = everything if keep_copies else without_copies(everything)
    read = encoding.Reader(found, codec, fraction, clock.tick)
    plan = encoding.plan(read)
    enough.refuse_constant(plan.spec)
    with files.appearing(folder) as work:
        written = encoding.write(work, read, plan)
        text, said = _write_texts(work, found, plan, written, codec)
        about = {
            "version": VERSION,
            "hash": encoding.content_hash(found),
            "spec": specs.to_json(plan.spec),
            "labels": list(written.labels),
            "codec": _kept(source.codec, codec),
            "text": text and _kept("text", text),
            "fraction": fraction,
            "counts": {name: sum(p.side == k for p in written.pieces) for k, name in enumerate(split.NAMES)},
            "notes": [*source.notes, *plan.notes, *codec.notes, *said, *doubts],
            "report": _report(source, everything, read.bad, plan, written),
            "files": {p.name: files.facts(p) for p in sorted(work.iterdir())},
        }
        files.save_text(work / "store.json", json.dumps({**about, "sha256": _digest(about)}, indent=1) + "\n")
    clock.at(3 * n)


def _write_texts(
    work: Path, found: Scan, plan: encoding.Plan, written: encoding.Written, codec: Codec[Any]
) -> tuple[Codec[Any] | None, list[str]]:
    """Encodes the texts of all pieces, learned on those trained on; their codec, if any, and what to say."""
    told = [found.items[p.item].text for p in written.pieces]
    trained = [text for text, p in zip(told, written.pieces, strict=True) if p.side == split.TRAIN]
    if not any(trained):
        return None, []
    if isinstance(plan.spec, Tokens) and plan.spec.stream:
        return None, ["the samples are learned as one stream, so no text leads a sample; with layout=documents they do"]
    made = texts.learn(trained, codec)
    if made is None:
        return None, []
    cut = texts.write(work, made, told)
    said = [f"Of the texts that samples come with: {note}" for note in made.notes]
    return made, [*said, f"{cut} texts are longer than that and are cut."] if cut else said


def _kept(name: str, codec: Codec[Any]) -> dict[str, Any]:
    config = codec.config.model_dump(mode="json")
    return {"name": name, "config": config, "state": codec.state, "notes": list(codec.notes)}


def _restored(kept: dict[str, Any]) -> Codec[Any]:
    codec = _new(kept["name"], kept["config"])
    codec.restore(kept["state"])
    codec.notes = tuple(kept["notes"])
    return codec


class _Clock:
    """Tells (done, total) now and then, total at the end."""

    def __init__(self, progress: Progress | None, total: int):
        self.progress, self.total, self.done = progress, total, 0

    def tick(self) -> None:
        self.done += 1
        if self.done % 64 == 0:
            self.at(self.done)

    def at(self, done: int) -> None:
        self.done = min(done, self.total)
        if self.progress:
            self.progress(self.done, self.total)


def _remove(folder: Path) -> None:
    with suppress(FileNotFoundError):  # another process may be first
        atomic.remove(folder)


def _digest(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _report(
    source: Source, everything: Scan, bad: dict[str, str], plan: encoding.Plan, written: encoding.Written
) -> dict[str, Any]:
    """What was left out and why, in short."""
    lost = dict(everything.unreadable) | bad
    return {
        "path": str(source.path),
        "samples": len({p.item for p in written.pieces}),
        "dropped": dropped(source, everything) | plan.dropped | ({"unreadable": len(lost)} if lost else {}),
        "unreadable": dict(list(lost.items())[:100]),
        "cut to length": written.shortened,
        "licences": list(source.licences),
    }


def _new(name: str, config: Mapping[str, Any] | None) -> Codec[Any]:
    kind = codecs.load(name)
    return kind(settings.make(kind.Config, dict(config or {})))  # pyright: ignore[reportCallIssue]


def _key(mark: str, name: str, codec: Codec[Any], fraction: float, keep_copies: bool) -> str:
    words = (VERSION, mark, name, codec.config.model_dump(mode="json"), fraction, keep_copies)
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:32]


def _found_before(mark: str) -> str | None:
    """The codec found out for the same listing before, so that no file need be looked into again."""
    file = home() / "store" / f"{mark[:32]}.codec"
    name = file.read_text(encoding="utf-8").strip() if file.is_file() else None
    return name if name in codecs.names() else None


def _remember(mark: str, name: str) -> None:
    file = home() / "store" / f"{mark[:32]}.codec"
    if not file.exists():
        atomic.write(file, f"{name}\n".encode())
