"""An input path as a list of items, whatever its form: folder, archive, table, arrays, one text."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from aurify.codec import Unreadable
from aurify.data import archive, arrays, kinds, listing, table, tree
from aurify.data.item import Item, constant
from aurify.errors import UserError

Columns = Mapping[str, str]
FORMS = "a folder, .zip, .tar(.gz), .jsonl, .csv, .tsv, .parquet, .npz, .idx or .txt"
SPLIT_WORDS = {**table.SPLITS, "t10k": "test"}  # t10k: MNIST's test files


@dataclass(frozen=True)
class Source:
    """What an input path holds.

    Attributes:
        path, columns: as given.
        codec: name of the codec that reads it, found out or asked for.
        items: the samples, none read yet, sorted by name.
        counts: number of files of each kind.
        bad: (name, why) of what already failed.
        ignored: names by reason of what is no sample.
        licences: names of licence files.
        notes: what should be said, in sentences.
    """

    path: Path
    codec: str
    items: tuple[Item, ...]
    counts: dict[str, int]
    bad: tuple[tuple[str, str], ...] = ()
    ignored: dict[str, list[str]] = field(default_factory=dict)
    licences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    columns: Columns = field(default_factory=dict)


def open_source(path: str | Path, codec_name: str | None = None, columns: Columns | None = None) -> Source:
    """Open an input of any form without reading its samples.

    Args:
        path: a folder, .zip, .tar(.gz), .jsonl, .csv, .tsv, .parquet, .npz, .idx or .txt (tables and idx also .gz),
            or one file that a codec reads.
        codec_name: the codec to use; None finds it out.
        columns: the column of a table for a role: text, label, file, source, target, split.

    Raises:
        UserError: nothing there, nothing readable, several kinds without a choice, or an unsafe archive.
    """
    path = Path(path)
    listing.must_exist(path)
    if path.is_dir():
        source = _of_tree(path, tree.of_folder(listing.walk(path)), codec_name, columns)
    elif form(path) in archive.SUFFIXES:
        source = _of_tree(path, tree.of_archive(path), codec_name, columns)
    else:
        source = _of_file(path, codec_name, columns)
    if not source.items:
        why = "".join(f"; {name}: {why}" for name, why in source.bad[:3])
        raise UserError(f"{path} holds no sample that codec {source.codec!r} can read{why}")
    return _with_texts_told(_without_sole_label(replace(source, columns=dict(columns or {}))))


def form(path: Path) -> str:
    """The ending that tells a file's form: ".csv" for rows.csv and rows.csv.gz, ".idx" for all spellings of idx."""
    name = path.name.lower()
    if arrays.is_idx(name):
        return ".idx"
    found = next((s for s in archive.SUFFIXES if name.endswith(s)), None)
    return found or Path(name.removesuffix(".gz")).suffix


def fingerprint(path: Path, columns: Columns | None = None) -> str:
    """A digest of names, sizes and times of all that `open_source` would read: equal means unchanged.

    Raises:
        UserError: nothing there, or no permission.
    """
    listing.must_exist(path)
    if path.is_dir():
        files: Sequence[listing.File] = listing.walk(path).files
    else:
        beside = arrays.labels_beside(path) if form(path) == ".idx" else None
        named = table.references(path, form(path), columns) if form(path) in table.SUFFIXES else []
        others = [p for p in ([beside] if beside else []) + named if p.is_file()]
        files = [listing.one(p) for p in (path, *others)]
    words = repr(sorted((columns or {}).items()))
    return hashlib.sha256((listing.digest(files) + words).encode()).hexdigest()


def _of_tree(path: Path, files: tree.Tree, asked: str | None, columns: Columns | None) -> Source:
    if not files.names:
        raise UserError(f"{path} is empty{' but for hidden files' if files.ignored else ''}; put samples into it")
    choice = kinds.choose(files.names, files.head, asked)
    if choice is None:
        return _of_many(path, files, asked, columns)
    if columns and not any(kinds.METADATA.fullmatch(name.rpartition("/")[2]) for name in files.names):
        raise _without_columns(path)
    found = tree.items(files, choice.files, columns)
    return Source(
        path=path,
        codec=choice.codec,
        items=tuple(found.items),
        counts=choice.counts,
        bad=tuple(found.bad),
        ignored=files.ignored | choice.ignored,
        licences=tuple(n for n in files.names if kinds.LICENCE.fullmatch(n.rpartition("/")[2])),
        notes=(*choice.notes, *found.notes),
    )


def _of_many(path: Path, files: tree.Tree, asked: str | None, columns: Columns | None) -> Source:
    """A folder of tables or arrays, such as train.jsonl and test.jsonl, or the four files of MNIST."""
    wanted = (*table.SUFFIXES, ".npz", ".idx")
    tables = [n for n in files.names if path.is_dir() and form(Path(n)) in wanted and "labels" not in n]
    if not tables:
        reads = "no codec reads" if asked is None else f"codec {asked!r} does not read"
        raise UserError(f"{path} holds {len(files.names):,} files that {reads}, such as {files.names[0]}; give {FORMS}")
    parts = [_of_file(path / name, asked, columns) for name in tables]
    if len({part.codec for part in parts}) > 1:
        raise UserError(f"{path} holds tables of different kinds ({', '.join(tables[:3])}, ...); give one of them")
    named = [
        replace(item, name=f"{name}: {item.name}", split=item.split or _split_in(name))
        for name, part in zip(tables, parts, strict=True)
        for item in part.items
    ]
    if not any(item.split == "train" for item in named):
        named = [replace(item, split=None) for item in named]
    bad = [(f"{name}: {n}", why) for name, part in zip(tables, parts, strict=True) for n, why in part.bad]
    rest = [n for n in files.names if n not in tables and not ("labels" in n and arrays.is_idx(Path(n).name))]
    return Source(
        path=path,
        codec=parts[0].codec,
        items=tuple(named),
        counts={parts[0].codec: len(named)},
        bad=tuple(bad),
        ignored=files.ignored | ({"no codec reads it": rest} if rest else {}),
        licences=tuple(n for n in rest if kinds.LICENCE.fullmatch(n.rpartition("/")[2])),
        notes=(
            f"read from {len(tables)} files: {', '.join(tables[:5])}",
            *dict.fromkeys(sum((p.notes for p in parts), ())),
        ),
    )


def _split_in(name: str) -> str | None:
    word = re.match(r"[a-z0-9]+", name.rpartition("/")[2].lower())
    return SPLIT_WORDS.get(word[0]) if word else None


def _of_file(path: Path, asked: str | None, columns: Columns | None) -> Source:
    suffix = form(path)
    if columns and suffix not in table.SUFFIXES:
        raise _without_columns(path)
    if suffix == ".npz" or suffix == ".idx":
        items, notes = (arrays.npz if suffix == ".npz" else arrays.idx)(path)
        return _of_values(path, items, [], asked, notes)
    if suffix in table.SUFFIXES:
        return _of_table(path, suffix, asked, columns)
    head = _head(path)
    names = kinds.readers().get(suffix) or kinds.readers().get(kinds.sniff(head) or "", ())
    if not asked and names and suffix not in kinds.readers() and len(head) < kinds.TELLING:
        raise UserError(
            f"{path} has no known ending, and its {len(head)} byte{'s' if len(head) > 1 else ''} are too few to tell "
            "what it is; give it the ending of its kind, such as .txt, or say which codec reads it with --codec"
        )
    codec = asked or next(iter(names), None)
    if codec is None:
        raise UserError(f"{path} is of no form that is read; give {FORMS}")
    item = Item(path.name, constant(table.read_whole(path)))
    return Source(path, codec, (item,), {codec: 1}, notes=(f"codec {codec}, {'as asked' if asked else 'found out'}",))


def _without_columns(path: Path) -> UserError:
    return UserError(
        f"{path} is no table and holds no metadata table, so it has no columns to name; leave --column out"
    )


def _head(path: Path) -> bytes:
    """First bytes of a file. Raises UserError where it may not be read."""
    try:
        with open(path, "rb") as file:
            return file.read(kinds.HEAD)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def _of_table(path: Path, suffix: str, asked: str | None, columns: Columns | None) -> Source:
    rows = table.parse(table.read_whole(path), suffix, path.name)
    roles = rows.roles(columns)
    own = kinds.readers().get(suffix, ())  # codecs of whole rows
    if asked in own or (own and not asked and table.sample_in(roles) is None):
        return _of_rows(path, rows, asked, own[0], columns)
    items, bad = table.items(rows, roles, path.parent)
    if not rows.numbers:
        raise UserError(f"{path} has no rows below its head; add some")
    if not items and not bad:
        raise UserError(
            f"{path} has the columns {', '.join(rows.columns) or 'none'}; it needs a column text, or file_name, "
            "or source and target (or say which is which, such as --column text=NAME)"
        )
    notes = [f"columns: {', '.join(f'{role} = {column}' for role, column in roles.items())}"]
    return _of_values(path, items, bad, asked, notes)


def _of_rows(path: Path, rows: table.Table, asked: str | None, usual: str, columns: Columns | None) -> Source:
    """A table whose rows are the samples. Raises UserError for prose in it, unless it was asked for, and for columns
    that play no part in a row."""
    codec = asked or usual
    if idle := set(columns or {}) - {"label", "split"}:
        role = sorted(idle)[0]
        raise UserError(f"leave out --column {role}={(columns or {})[role]}: codec {codec} learns rows as a whole")
    if not asked and (prose := table.prose(rows)):
        raise UserError(
            f"{path} has the columns {', '.join(rows.columns)}, and {prose!r} holds texts: say --column text={prose} "
            f"to learn these, or --codec {usual} to learn the rows without them"
        )
    items = table.row_items(rows, columns or {})
    why = "as asked" if asked else "because no column is called text or file_name"
    told = f"codec {codec}, {why}: each row is a sample, with the columns {', '.join(rows.columns)}"
    other = () if asked else ("where one column is the sample, name it: --column text=NAME or --column file=NAME",)
    return Source(path, codec, tuple(items), {codec: len(items)}, tuple(rows.bad), notes=(told, *other))


def _of_values(path: Path, items: list[Item], bad: list, asked: str | None, notes: list[str]) -> Source:
    """Rows whose value tells the kind: texts, arrays of pictures, bytes of files."""
    codec = asked or _codec_of_value(items)
    if codec is None:
        raise UserError(f"what {path} holds is of no kind that a codec reads; say which with --codec")
    said = f"codec {codec}, {'as asked' if asked else 'found out from the values'}"
    return Source(path, codec, tuple(items), {codec: len(items)}, tuple(bad), notes=(said, *notes))


def _codec_of_value(items: list[Item]) -> str | None:
    for item in items:
        try:
            value = item.load()
        except (Unreadable, OSError):
            continue
        suffix = ".txt" if isinstance(value, str) else kinds.sniff(value) if isinstance(value, bytes) else ".png"
        if names := kinds.readers().get(suffix or ""):
            return names[0]
    return None


def _without_sole_label(source: Source) -> Source:
    """One label on everything tells nothing apart: it is dropped, and said."""
    labels = {item.label for item in source.items}
    if len(labels) != 1 or None in labels:
        return source
    note = f"all samples have the one label {labels.pop()!r}, which tells nothing apart; it is left out"
    items = tuple(replace(item, label=None) for item in source.items)
    return replace(source, items=items, notes=(*source.notes, note))


def _with_texts_told(source: Source) -> Source:
    """Captions and the sources of pairs, which some families are led by."""
    told = sum(item.text is not None for item in source.items)
    if not told:
        return source
    note = f"{told:,} samples come with a text (a caption, the source of a pair): families that read texts use it"
    return replace(source, notes=(*source.notes, note))
