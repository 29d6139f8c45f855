"""Which codec a tree of files is for: counted by the endings that codecs read, by first bytes where endings fail."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

from aurify import codec
from aurify.errors import UserError

ABOUT = re.compile(r"(readme|licen[cs]e|copying|notice|copyright|about|citation|changelog)([-_. ].*)?", re.IGNORECASE)
LICENCE = re.compile(r"(licen[cs]e|copying|notice|copyright)([-_. ].*)?", re.IGNORECASE)
METADATA = re.compile(r"metadata\.(jsonl|csv|tsv|parquet)", re.IGNORECASE)
CAPTION = ".txt"
STRAY = 0.05  # a second kind below this share of the files is dropped, not asked about
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")  # never taken for plain text, and hold many samples each
PROBES = 16  # files whose first bytes are looked at for each ending
HEAD = 512  # bytes of a file's start
TELLING = 16  # bytes below which the first ones tell nothing: any letter is a text

FIRST_BYTES = (
    (rb"\x89PNG\r\n\x1a\n", ".png"),
    (rb"\xff\xd8\xff", ".jpg"),
    (rb"GIF8[79]a", ".gif"),
    (rb"RIFF....WEBP", ".webp"),
    (rb"RIFF....WAVE", ".wav"),
    (rb"RIFF....AVI ", ".avi"),
    (rb"BM....\x00\x00\x00\x00", ".bmp"),
    (rb"II\*\x00|MM\x00\*", ".tif"),
    (rb"MThd", ".mid"),
    (rb"fLaC", ".flac"),
    (rb"OggS", ".ogg"),
    (rb"ID3|\xff[\xfb\xf3\xf2]", ".mp3"),
    (rb"....ftyp", ".mp4"),
    (rb"\x1a\x45\xdf\xa3", ".webm"),
)


@cache
def readers() -> dict[str, tuple[str, ...]]:
    """Endings to the names of the codecs that read them, the first being the one taken when nothing is asked.

    A codec whose own library is not installed reads nothing; any other failure to load is a defect and raises.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name in codec.names():
        try:
            suffixes = codec.load(name).suffixes
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("aurify"):
                raise
            continue
        for suffix in suffixes:
            found[suffix] = (*found.get(suffix, ()), name)
    return found


def sniff(head: bytes) -> str | None:
    """The usual ending of what these first bytes begin, ".txt" for text, None for nothing known."""
    for pattern, suffix in FIRST_BYTES:
        if re.match(pattern, head, re.DOTALL):
            return suffix
    try:
        text = head[: HEAD - 4].decode("utf-8") if len(head) >= HEAD else head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end < min(len(head), HEAD - 4):
            return None
        text = head[: error.start].decode("utf-8")
    controls = sum(c < " " and c not in "\t\n\r\f\x1b" for c in text)
    return ".txt" if text and not controls else None


def ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


@dataclass(frozen=True)
class Choice:
    """The codec, the positions of its files, how many files each kind has, and what is passed over by reason."""

    codec: str
    files: tuple[int, ...]
    counts: dict[str, int]
    ignored: dict[str, list[str]]
    notes: tuple[str, ...] = ()


def choose(names: Sequence[str], head: Callable[[int], bytes], asked: str | None = None) -> Choice | None:
    """Find out what a tree of files holds. None: no file that any codec (or the one asked for) reads.

    Args:
        names: files relative to the tree's root.
        head: first bytes of the i-th file.
        asked: the codec that the user named.

    Raises:
        UserError: several kinds and none asked for; the message names their counts.
    """
    ignored: dict[str, list[str]] = {}
    files = [i for i, name in enumerate(names) if not _set_aside(name, ignored)]
    suffixes = _true_endings(names, files, head, asked)
    if asked:
        codec.load(asked)
    kinds = {i: _kind(suffixes[i], asked) for i in files}
    _without_captions(names, kinds, asked, ignored)
    counts = Counter(k for k in kinds.values() if k)
    if not counts or (asked and not counts[asked]):
        return None
    name = asked or _largest(counts)
    mine = tuple(i for i, k in kinds.items() if k == name)
    for i, kind in kinds.items():
        if kind != name:
            reason = f"{kind} file among {name} files" if kind else "no codec reads it"
            ignored.setdefault(reason, []).append(names[i])
    return Choice(name, mine, dict(counts.most_common()), ignored, _notes(name, asked, suffixes, mine))


def _set_aside(name: str, ignored: dict[str, list[str]]) -> bool:
    base = name.rpartition("/")[2]
    if ABOUT.fullmatch(base):
        ignored.setdefault("about the data", []).append(name)
    elif METADATA.fullmatch(base):
        ignored.setdefault("metadata", []).append(name)
    else:
        return False
    return True


def _true_endings(
    names: Sequence[str], files: list[int], head: Callable[[int], bytes], asked: str | None
) -> dict[int, str]:
    """Each file's ending, or that of its first bytes where the ending is unknown or lies.

    Unknown endings that hold text (sources, annotations) count as text only where nothing else is to be found.
    """
    suffixes = {i: ending(names[i]) for i in files}
    groups: dict[str, list[int]] = {}
    for i, suffix in suffixes.items():
        groups.setdefault(suffix, []).append(i)
    texts: list[int] = []
    for suffix, group in groups.items():
        claimed = _kind(suffix, asked)

        def told(i: int, claimed: str | None = claimed) -> str | None:
            suffix = sniff(head(i))
            return suffix if suffix and (suffix == CAPTION or _kind(suffix, asked) not in (None, claimed)) else None

        probes = Counter(told(i) for i in group[:: max(1, len(group) // PROBES)])
        (first, n), half = probes.most_common(1)[0], probes.total() / 2
        if first and first != CAPTION and n > half:
            suffixes.update({i: s for i in group if (s := told(i)) and s != CAPTION})
        elif claimed is None and suffix not in TABLES and probes[CAPTION] > half:
            texts += group
    if not any(_kind(s, asked) == asked if asked else _kind(s, None) for s in suffixes.values()):
        suffixes.update(dict.fromkeys(texts, CAPTION))
    return suffixes


def _kind(suffix: str, asked: str | None) -> str | None:
    names = () if suffix in TABLES else readers().get(suffix, ())
    return asked if asked in names else names[0] if names else None


def _without_captions(names: Sequence[str], kinds: dict[int, str | None], asked: str | None, ignored: dict) -> None:
    """Texts beside a file of another kind with the same stem are its captions, not samples (unless asked for)."""
    text = _kind(CAPTION, asked)
    if asked is not None and asked == text:
        return
    stems = {names[i].rpartition(".")[0] for i, k in kinds.items() if k and k != text}
    beside = [i for i, k in kinds.items() if k == text and names[i].rpartition(".")[0] in stems]
    for i in (i for i in beside if ending(names[i]) == CAPTION):
        del kinds[i]
        ignored.setdefault("caption", []).append(names[i])


def _largest(counts: Counter[str]) -> str:
    (name, _), *others = counts.most_common()
    if all(m < STRAY * counts.total() for _, m in others):
        return name
    listed = " and ".join(f"{m:,} {k} files" for k, m in counts.most_common())
    choices = " or ".join(f"--codec {k}" for k, _ in counts.most_common())
    raise UserError(f"there are {listed} here; say which to learn from with {choices}")


def _notes(name: str, asked: str | None, suffixes: dict[int, str], mine: tuple[int, ...]) -> tuple[str, ...]:
    also = sorted({k for i in mine for k in readers().get(suffixes[i], ()) if k != name})
    said = f"codec {name}, as asked" if asked else f"codec {name}, found out from the files"
    return (said + (f"; {' and '.join(also)} could read them too (--codec)" if also else ""),)
