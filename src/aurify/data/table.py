"""Tables: .csv .tsv .jsonl .parquet read as named columns, and rows turned into items by the roles of their columns."""

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aurify.codec import Unreadable
from aurify.data import archive
from aurify.data.item import Item, constant, file_bytes
from aurify.errors import UserError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
ROLES: dict[str, tuple[str, ...]] = {
    "text": ("text", "caption"),
    "label": ("label", "class", "category", "target_label"),
    "file": ("file_name", "filename", "file", "image", "path"),
    "source": ("source",),
    "target": ("target",),
    "split": ("split",),
}
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
MAX_BYTES = 8 * 2**30  # of one table, unpacked
ROW_BYTES = 64  # that a row costs at least, whatever is in it
ROWS = 1024  # of a parquet file, unpacked at a time
BLOCK = 2**20  # bytes of a .gz, unpacked at a time

PROSE = 4  # words that a cell has on average where a column holds texts

Bad = tuple[str, str]  # name, why


@dataclass(frozen=True)
class Table:
    """Columns of equal length by name; `numbers` are the rows' own numbers; `bad` the rows that could not be read."""

    columns: dict[str, Sequence[Any]]
    numbers: Sequence[int]
    bad: list[Bad] = field(default_factory=list)

    def roles(self, given: Mapping[str, str] | None = None) -> dict[str, str]:
        """Which column plays which role: as given, else by its name.

        Raises:
            UserError: an unknown role, or a given column that is not there.
        """
        for role, column in (given or {}).items():
            if role not in ROLES:
                raise UserError(f"there is no role {role!r} for a column; the roles are {', '.join(ROLES)}")
            if column not in self.columns:
                raise UserError(f"there is no column {column!r}; the columns are {', '.join(self.columns)}")
        lower = {name.strip().lower(): name for name in reversed(self.columns)}
        found = {role: lower[n] for role, names in ROLES.items() for n in reversed(names) if n in lower}
        return found | dict(given or {})

    def rows(self) -> list[dict[str, Any]]:
        return [{name: column[i] for name, column in self.columns.items()} for i in range(len(self.numbers))]


def parse(data: bytes, suffix: str, name: str) -> Table:
    """A table from a file's bytes.

    Raises:
        UserError: the file as a whole cannot be read.
    """
    if suffix == ".parquet":
        return _parquet(data, name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 text (byte {error.start:,}); save it again as UTF-8") from None
    return _jsonl(text) if suffix == ".jsonl" else _csv(text, "\t" if suffix == ".tsv" else _delimiter(text), name)


def _delimiter(text: str) -> str:
    """Of a .csv: a comma, or a semicolon where the first line has some and no comma, as many spreadsheets write."""
    head = text.partition("\n")[0]
    return ";" if ";" in head and "," not in head else ","


def _csv(text: str, delimiter: str, name: str) -> Table:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a field may hold a whole book
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header, rows, numbers, bad = None, [], [], []
    try:
        for row in reader:
            if header is None:
                header = [h.strip() for h in row]
            elif row:
                number = len(numbers) + len(bad) + 1
                if len(row) != len(header):
                    bad.append((f"row {number}", f"{len(row)} fields where the header has {len(header)}"))
                else:
                    rows.append(row)
                    numbers.append(number)
    except csv.Error as error:
        raise UserError(f"{name} is no valid table (line {reader.line_num}: {error})") from None
    if not header:
        raise UserError(f"{name} is empty; its first line must name its columns")
    if len(set(header)) < len(header):
        raise UserError(f"the first line of {name} must name its columns, each once; it reads {', '.join(header)!r}")
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return Table(dict(zip(header, columns, strict=True)), numbers, bad)


def _jsonl(text: str) -> Table:
    rows, numbers, bad = [], [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            bad.append((f"row {number}", "not JSON"))
            continue
        if isinstance(row, dict):
            rows.append(row)
            numbers.append(number)
        else:
            bad.append((f"row {number}", "not a JSON object"))
    names = list(dict.fromkeys(key for row in rows for key in row))
    return Table({name: [row.get(name) for row in rows] for name in names}, numbers, bad)


class _Column(Sequence[Any]):
    """A parquet column whose values become Python objects one at a time: pictures stay packed until asked for."""

    def __init__(self, column: Any):
        self.column = column

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, i: Any) -> Any:
        return self.column[i].as_py()


def _parquet(data: bytes, name: str) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(pyarrow.BufferReader(data))
        texts = [f.name for f in schema if f.type in (pyarrow.string(), pyarrow.binary())]
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(data), read_dictionary=texts)
        about, size = file.metadata, 0
        groups = [about.row_group(i) for i in range(about.num_row_groups)]
        stated = about.num_rows * (ROW_BYTES + 8 * about.num_columns)  # repeated values take no room in a file
        _check_volume(name, max(stated, sum(group.total_byte_size for group in groups)), len(data))
        batches = []
        for batch in file.iter_batches(ROWS):
            size += sum(map(_unpacked_size, batch.columns))
            _check_volume(name, size, len(data))
            batches.append(batch)
        table = pyarrow.Table.from_batches(batches, file.schema_arrow)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{name} is no valid parquet file ({str(error).splitlines()[0]})") from None
    if len(set(table.column_names)) < len(table.column_names):
        raise UserError(f"{name} has two columns of one name; rename one")
    columns: dict[str, Sequence[Any]] = {c: _Column(table[c]) for c in table.column_names}
    return Table(columns, range(1, table.num_rows + 1))


def _unpacked_size(column: Any) -> int:
    """Bytes of a column's values, also of those that it holds once and names often."""
    import pyarrow
    import pyarrow.compute

    if not pyarrow.types.is_dictionary(column.type):
        return column.nbytes
    if not pyarrow.types.is_string(column.type.value_type) and not pyarrow.types.is_binary(column.type.value_type):
        return column.dictionary_decode().nbytes
    lengths = pyarrow.compute.call_function("binary_length", [column.dictionary]).take(column.indices)
    return pyarrow.compute.call_function("sum", [lengths]).as_py() or 0


def read_whole(path: Path) -> bytes:
    """A file's bytes, unpacked if its name ends in .gz.

    Raises:
        UserError: unreadable, damaged, or unpacking to more than honest data does.
    """
    try:
        if path.suffix.lower() != ".gz":
            return path.read_bytes()
        packed, data, rows = path.stat().st_size, bytearray(), 0
        with gzip.open(path) as stream:
            while block := stream.read(BLOCK):
                data += block
                rows += block.count(b"\n")
                _check_volume(str(path), len(data) + ROW_BYTES * rows, packed)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    return bytes(data)


def _check_volume(name: str, size: int, packed: int) -> None:
    """Raises: UserError for more bytes or compression than honest data has; the limits are those of archives."""
    if size > MAX_BYTES:
        raise UserError(f"{name} unpacks to more than {MAX_BYTES // 2**30} GiB; give it as a folder of files")
    if size > archive.FREE_BYTES and size > archive.MAX_RATIO * packed:
        raise UserError(
            f"{name} unpacks to more than {archive.MAX_RATIO} times its size, as a bomb does; unpack it with care"
        )


def label_of(value: Any) -> str | None:
    """A cell as a label: 3, 3.0 and " 3 " are "3"; empty is none."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def split_of(value: Any) -> str | None:
    return SPLITS.get(str(value).strip().lower()) if value is not None else None


def sample_in(roles: Mapping[str, str]) -> str | None:
    """The column that holds the samples: the target of pairs, files, or texts; None where the rows are the samples."""
    if "source" in roles and "target" in roles:
        return roles["target"]
    return roles.get("file", roles.get("text"))


def prose(table: Table) -> str | None:
    """The first column of texts: of several words on average, hardly one cell like another."""
    for name, column in table.columns.items():
        texts = [cell for cell in column if isinstance(cell, str)]
        words = sum(len(text.split()) for text in texts)
        if texts and words >= PROSE * len(column) and len(set(texts)) > 0.9 * len(texts):
            return name
    return None


def row_items(table: Table, given: Mapping[str, str]) -> list[Item]:
    """Each row as a sample. A label is a column that was named so, and stays in the row; a split is a column of this
    name that holds nothing else, and leaves it."""
    roles = table.roles(given)
    label = table.columns[given["label"]] if "label" in given else None
    split = table.columns.get(roles.get("split", ""))
    sides = [split_of(cell) for cell in split] if split is not None and len(split) else []
    sides = sides if None not in sides else []
    left = {roles["split"]} if sides else set()
    return [
        Item(
            f"row {number}",
            constant({name: cell for name, cell in row.items() if name not in left}),
            label_of(label[i]) if label else None,
            split=sides[i] if sides else None,
        )
        for i, (number, row) in enumerate(zip(table.numbers, table.rows(), strict=True))
    ]


def items(table: Table, roles: dict[str, str], folder: Path) -> tuple[list[Item], list[Bad]]:
    """Rows as items: source and target columns are a pair, a file column names files below `folder`, else a text."""
    pair = "source" in roles and "target" in roles
    main = sample_in(roles)
    beside = roles["source"] if pair else roles.get("text") if "file" in roles else None
    if main is None:
        return [], []
    found, bad = [], list(table.bad)
    labels = table.columns[roles["label"]] if "label" in roles else None
    splits = table.columns[roles["split"]] if "split" in roles else None
    for i, number in enumerate(table.numbers):
        value, text = table.columns[main][i], table.columns[beside][i] if beside else None
        name = f"row {number}"
        if value is None or value == "" or (pair and not text):
            bad.append((name, "empty"))
            continue
        try:
            name, load = _loader(value, name, folder if main == roles.get("file") else None)
        except Unreadable as error:
            bad.append((name, str(error)))
            continue
        label = label_of(labels[i]) if labels else None
        found.append(
            Item(name, load, label, None if text is None else str(text), split_of(splits[i]) if splits else None)
        )
    return found, bad


def _loader(value: Any, name: str, folder: Path | None) -> tuple[str, Any]:
    if isinstance(value, dict):  # the picture of a parquet file: {"bytes": ..., "path": ...}
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return name, constant(value)
    if folder is None:
        return name, constant(str(value))
    path = reference(folder, str(value))
    if not path.is_file():
        raise Unreadable(f"there is no file {value}")
    return f"{value} ({name})", file_bytes(path)


def reference(folder: Path, name: str) -> Path:
    """The file that a table names.

    Raises:
        Unreadable: it would lie outside the table's folder.
    """
    path = folder / name.replace("\\", "/")
    if "\0" in name or not path.resolve().is_relative_to(folder.resolve()):
        raise Unreadable(f"{name!r} lies outside the table's folder")
    return path


def references(path: Path, suffix: str, columns: Mapping[str, str] | None) -> list[Path]:
    """The files beside a table that it names, for telling whether they changed."""
    table = parse(read_whole(path), suffix, path.name)
    roles = table.roles(columns)
    if "file" not in roles or ("source" in roles and "target" in roles):
        return []
    column = table.columns[roles["file"]]
    return [path.parent / v for v in (column[i] for i in range(len(table.numbers))) if isinstance(v, str) and v]
