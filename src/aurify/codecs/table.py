"""Rows of a table: a symbol for each column, a category or the bin of a number, and one file for all samples.

x_j = place of the cell's value among the column's categories, or of the bin that holds it
"""

# L columns that are learned, S_j symbols of column j, n training rows

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Integer, UInt
from pydantic import BaseModel, Field, field_validator
from torch import Tensor

from aurify.codec import Codec, Preview, Unreadable
from aurify.data import table
from aurify.data.columns import Category, Column, Rules, column_from, column_of, missing, shown
from aurify.errors import UserError, nearest
from aurify.rng import derive
from aurify.spec import Tokens, from_json, to_json

Row = dict[str, Any]

WIDEST = 24  # characters of a cell that a screen shows
SHORT = 12  # rows that a screen shows


class Config(BaseModel, frozen=True, extra="forbid"):
    bins: int | None = Field(
        default=None, ge=2, le=1024, description="of a number column; by default the cube root of the rows, 4 to 32"
    )
    categories: int = Field(default=128, ge=1, le=4096, description="most values of a column; rarer ones are pooled")
    rare: float = Field(
        default=0.0005,
        ge=0,
        lt=1,
        description="share of the rows below which a value is pooled, and never one row alone",
    )
    leave_out: tuple[str, ...] = Field(default=(), description="columns that are not learned")
    keep: tuple[str, ...] = Field(default=(), description="columns to learn although they number or name the rows")
    written: Literal["csv", "tsv", "jsonl", "parquet"] = Field(default="csv", description="form of the samples' file")

    @field_validator("leave_out", "keep", mode="before")
    @classmethod
    def one_name_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class Table(Codec[Row]):
    """Rows as {column: cell}; cells are words, numbers, dates, or missing.

    What `fit` decides, column by column (`aurify.data.columns`): numbers that take few values are kept as they are,
    others go into bins of about equally many rows; dates are numbers of days (with a time of day: of seconds); all else
    is a category. A missing cell is a value of its own. Rare values are one, "(other)". Columns that number the rows,
    or of whose cells more than half are rare, are left out, and so are those that are empty or hold lists.

    Stated loss: a number in bins comes back as another of its bin, which the whole row determines, so that equal rows
    stay equal and a table has as many values as a real one; a rare value as "(other)"; a column that is left out not
    at all. A category never met in training cannot be encoded, unless others were pooled.

    Equal rows are different samples: people may be alike. So they are no copies of one another.
    """

    suffixes: ClassVar[tuple[str, ...]] = table.SUFFIXES
    gives = Tokens
    repeats = True
    Config = Config
    config: Config
    spec: Tokens  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, config: Config | None = None):
        self.config = config or Config()

    def fit(self, samples: Iterable[Row]) -> Tokens:
        rows = list(samples)
        names = list(dict.fromkeys(name for row in rows for name in row))
        self._refuse_unknown(names)
        rules = Rules(
            bins=self.config.bins or min(32, max(4, round(len(rows) ** (1 / 3)))),
            most=self.config.categories,
            least=max(2, math.ceil(self.config.rare * len(rows))) if len(rows) >= 20 else 1,
        )
        found: list[Column] = []
        self.left_out: dict[str, str] = {}
        for name in names:
            made = (
                "as asked"
                if name in self.config.leave_out
                else self._column(name, [row.get(name) for row in rows], rules)
            )
            if isinstance(made, str):
                self.left_out[name] = made
            else:
                found.append(made)
        if not found:
            told = "; ".join(f"{name}: {why}" for name, why in list(self.left_out.items())[:5])
            raise UserError(f"no column of this table can be learned ({told or 'it has none'})")
        self._learn(found)
        self.notes = self._told()
        return self.spec

    def _column(self, name: str, cells: list[Any], rules: Rules) -> Column | str:
        return column_of(name, cells, rules, kept=name in self.config.keep)

    def _refuse_unknown(self, names: list[str]) -> None:
        for name in (*self.config.leave_out, *self.config.keep):
            if name not in names:
                raise UserError(f"there is no column {name!r}.{nearest(name, names)} There are: {', '.join(names)}")

    def _learn(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        sizes = tuple(column.size for column in columns)
        self.spec = Tokens(len(sizes), max(sizes), sizes=sizes)  # pyright: ignore[reportIncompatibleVariableOverride]

    def _told(self) -> tuple[str, ...]:
        """What became of each column."""
        told = ["; ".join(f"{column.name}: {column.told}" for column in self.columns)]
        told += [f"column {name} is left out: {why}" for name, why in self.left_out.items()]
        return tuple(told)

    @property
    def positions(self) -> tuple[str, ...]:
        """The column of each symbol."""
        return tuple(column.name for column in self.columns)

    @property
    def parts(self) -> tuple[int, ...]:
        """How many of the values of `seen` belong to each column."""
        return tuple(column.width for column in self.columns)

    def read(self, data: bytes) -> Row:
        """The one row of a table of any form."""
        try:
            found = table.parse(data, _form(data), "it")
        except UserError as error:
            raise Unreadable(str(error)) from None
        if len(found.numbers) != 1:
            raise Unreadable(f"a table of {len(found.numbers)} rows where one row is a sample")
        return found.rows()[0]

    def write(self, sample: Row, path: Path, record: dict[str, Any]) -> Path:
        return self._save([sample], path, record)

    def write_many(self, samples: Iterable[tuple[str, Row, dict[str, Any]]], folder: Path) -> Iterator[Path]:
        """One table, with the record of all rows beside it: what differs between rows is a list there."""
        _, rows, records = zip(*samples, strict=True)
        merged = {key: [record[key] for record in records] for key in records[0]}
        record = {key: values[0] if all(v == values[0] for v in values) else values for key, values in merged.items()}
        yield self._save(rows, folder / "table", record)

    def _save(self, rows: Sequence[Row], path: Path, record: dict[str, Any]) -> Path:
        path = path.with_name(f"{path.name}.{self.config.written}")
        names = list(dict.fromkeys(name for row in rows for name in row))
        path.write_bytes(_FORMS[self.config.written](names, rows))
        note = json.dumps(record, ensure_ascii=False, indent=1) + "\n"
        path.with_suffix(".json").write_text(note, encoding="utf-8")
        return path

    def encode(self, sample: Row) -> UInt[Tensor, " L"]:
        """Raises Unreadable for a value that training never had."""
        return torch.tensor([c.encode(sample.get(c.name)) for c in self.columns], dtype=torch.uint16)

    def decode(self, x: Integer[Tensor, " L"]) -> Row:
        """Numbers are drawn from their bin by a hash of the row's symbols: equal rows are equal, others vary."""
        symbols = x.flatten().tolist()
        seed = derive("row", *symbols)
        places = [derive(seed, j) / 2**63 for j in range(len(symbols))]
        return {c.name: c.decode(s, u) for c, s, u in zip(self.columns, symbols, places, strict=True)}

    def given(self, cells: Row) -> dict[int, int]:
        """Some cells as {position: symbol}. Raises UserError for what this table has not."""
        found = {}
        for name, cell in cells.items():
            if name not in self.positions:
                known = list(self.positions)
                why = f"it is left out ({self.left_out[name]})" if name in self.left_out else "it is not there"
                raise UserError(
                    f"column {name!r} cannot be given: {why}.{nearest(name, known)} There are: {', '.join(known)}"
                )
            place = self.positions.index(name)
            try:
                found[place] = self.columns[place].encode(cell)
            except Unreadable as error:
                column = self.columns[place]
                known = f"; it has {column.listed}" if isinstance(column, Category) else ""
                raise UserError(f"{error}{known}") from None
        return found

    def seen(self, x: Int[Tensor, "n L"]) -> Float[Tensor, "n F"]:
        """Numbers by the rank of their bin, -1 to 1; a 0 or 1 for each category, and for what is missing."""
        return torch.cat([c.seen(symbols) for c, symbols in zip(self.columns, x.unbind(1), strict=True)], 1)

    def preview(self, samples: list[Row]) -> Preview:
        """All rows in aligned columns; the terminal shows the first few."""
        page = _aligned(samples, 10**6)
        more = f"\nand {len(samples) - SHORT} rows more" if len(samples) > SHORT else ""
        return Preview(".txt", (page + "\n").encode(), _aligned(samples[:SHORT], WIDEST) + more)

    def fingerprint(self, sample: Row) -> np.ndarray:
        """No bit: a row that is like another is no copy of it."""
        return np.zeros(32, np.uint8)

    def describe(self, sample: Row) -> str:
        empty = sum(map(missing, sample.values()))
        return f"{len(sample)} columns" + (f", {empty} of them missing" if empty else "")

    def same(self, a: Row, b: Row) -> bool:
        return all(c.alike(a.get(c.name), b.get(c.name)) for c in self.columns)

    @classmethod
    def examples(cls, n: int, seed: int) -> list[Row]:
        """Made-up animals."""
        rng = np.random.default_rng(seed)
        kinds = (("cat", 4, 4.0), ("bird", 2, 0.3), ("spider", 8, 0.02))
        rows = []
        for _ in range(n):
            name, legs, weight = kinds[rng.integers(3)]
            grams = round(weight * float(rng.lognormal(0, 0.3)), 3)
            day = f"2024-0{rng.integers(1, 10)}-{rng.integers(10, 29)}"
            tame = ("yes", "no", None)[rng.integers(3)]
            rows.append({"animal": name, "legs": legs, "weight": grams, "seen": day, "tame": tame})
        return rows

    @property
    def state(self) -> dict[str, Any]:
        columns = [column.state for column in self.columns]
        return {"columns": columns, "left_out": self.left_out, "spec": to_json(self.spec)}

    def restore(self, state: dict[str, Any]) -> Tokens:
        self._learn([column_from(column) for column in state["columns"]])
        self.left_out = dict(state["left_out"])
        self.notes = self._told()
        assert from_json(state["spec"]) == self.spec
        return self.spec


def _form(data: bytes) -> str:
    if data.startswith(b"PAR1"):
        return ".parquet"
    if data.lstrip().startswith(b"{"):
        return ".jsonl"
    return ".tsv" if b"\t" in data.partition(b"\n")[0] else ".csv"


def _delimited(delimiter: str, names: list[str], rows: Sequence[Row]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([shown(row.get(name)) for name in names] for row in rows)
    return out.getvalue().encode()


def _jsonl(names: list[str], rows: Sequence[Row]) -> bytes:
    lines = ({name: row.get(name) for name in names} for row in rows)
    return "".join(json.dumps(line, ensure_ascii=False, default=str) + "\n" for line in lines).encode()


def _parquet(names: list[str], rows: Sequence[Row]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({name: [row.get(name) for row in rows] for name in names}), out)
    return out.getvalue()


_FORMS = {
    "csv": lambda names, rows: _delimited(",", names, rows),
    "tsv": lambda names, rows: _delimited("\t", names, rows),
    "jsonl": _jsonl,
    "parquet": _parquet,
}


def _aligned(rows: Sequence[Row], widest: int) -> str:
    """A line a row under the columns' names; numbers stand to the right."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = []
    for name in names:
        cells = [shown(row.get(name)) for row in rows]
        short = [" ".join(c.split()) for c in (name, *cells)]
        short = [c if len(c) <= widest else c[: widest - 1] + "…" for c in short]
        width = max(map(len, short))
        right = all(isinstance(row.get(name), int | float) or missing(row.get(name)) for row in rows)
        columns.append([c.rjust(width) if right else c.ljust(width) for c in short])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))
