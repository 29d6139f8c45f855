"""Columns of a table as finite alphabets: categories, and numbers or dates in bins of about equally many rows.

    symbol of a number v: the bin k with h_{k-1} < v <= h_k,   h_k half-way between bin k and the next one

A bin is a run of values that training met; a value as frequent as a whole bin has one of its own. Inside a bin a number
is drawn from the quantiles of the training values that fell into it.
"""

# n rows, W values that figures see of a column

import datetime
import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from aurify.codec import Unreadable

MISSING = {"", "na", "n/a", "nan", "null", "?"}
OTHER = "(other)"
FEW = 10  # distinct numbers that are kept as they are, if there are not more bins than that
QUANTILES = 9  # that a bin is drawn from
DENSE = 1.25  # distinct whole numbers that fill so much of a range number the rows
NUMBER = re.compile(r"[+-]?(?!0\d)(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")  # 007 is a name, not seven
DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?")
EPOCH = datetime.datetime(1970, 1, 1)

COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|(?!0\d)\d+)(,\d+)?")  # 1.234,5 as half of Europe writes it

Form = Literal["number", "comma", "date", "time", "minute"]  # comma: a decimal one; minute: a time without seconds


@dataclass(frozen=True)
class Rules:
    """At most so many bins of numbers, and `most` values of a category, each in `least` rows or more."""

    bins: int
    most: int
    least: int


def missing(cell: Any) -> bool:
    """None, not a number, and what people write for it: nothing, NA, N/A, NaN, null, ?."""
    if isinstance(cell, float | Decimal):
        return cell != cell
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING)


def shown(cell: Any) -> str:
    """A cell as a delimited file has it."""
    if missing(cell):
        return ""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def word(cell: Any) -> str:
    """A cell as a category: 3, 3.0 and " 3 " are one."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return shown(cell).strip()


def number(cell: Any) -> float | None:
    """A cell as a finite number, None where it is none."""
    if isinstance(cell, bool):
        return None
    if isinstance(cell, str):
        text = cell.strip()
        cell = float(text) if NUMBER.fullmatch(text) else None
    if isinstance(cell, int | float | Decimal) and math.isfinite(cell):
        return float(cell)
    return None


def pointed(cell: Any) -> str | None:
    """A number with a decimal comma as one with a point, None where it is none: 1.234,5 is 1234.5."""
    text = cell.strip() if isinstance(cell, str) else ""
    return text.replace(".", "").replace(",", ".") if COMMA.fullmatch(text) else None


def moment(cell: Any) -> tuple[float, Form] | None:
    """A date as days, one with a time of day as seconds, since 1970; None where it is neither, or names a time zone."""
    if isinstance(cell, str) and (match := DATE.fullmatch(cell.strip())):
        try:
            cell = datetime.datetime.fromisoformat(match[0])
        except ValueError:
            return None
        cell = cell if match[1] else cell.date()
    if isinstance(cell, datetime.datetime) and cell.tzinfo is None:
        return (cell - EPOCH).total_seconds(), "time"
    if isinstance(cell, datetime.date) and not isinstance(cell, datetime.datetime):
        return float(cell.toordinal() - EPOCH.toordinal()), "date"
    return None


@dataclass(frozen=True)
class Category:
    """Values in the order of their frequency, a missing one (None) at last; then, if `other`, a symbol for the rest."""

    name: str
    values: tuple[str | None, ...]
    other: bool
    pooled: int = 0  # values that became OTHER

    @cached_property
    def place(self) -> dict[str | None, int]:
        return {value: i for i, value in enumerate(self.values)}

    @property
    def size(self) -> int:
        return len(self.values) + self.other

    def encode(self, cell: Any) -> int:
        value = None if missing(cell) else word(cell)
        if value in self.place:
            return self.place[value]
        if self.other and value is not None:
            return len(self.values)
        raise Unreadable(f"column {self.name} never {'has a gap' if value is None else f'holds {value!r}'} in training")

    def decode(self, symbol: int, u: float) -> str | None:
        return self.values[symbol] if symbol < len(self.values) else OTHER

    def alike(self, a: Any, b: Any) -> bool:
        """Whether a is what b comes back as."""
        a, b = (None if missing(cell) else word(cell) for cell in (a, b))
        return a == (b if b in self.place else OTHER)

    @property
    def width(self) -> int:
        return self.size

    def seen(self, symbols: Int[Tensor, " n"]) -> Float[Tensor, "n W"]:
        return torch.nn.functional.one_hot(symbols.long(), self.size).float()

    @property
    def listed(self) -> str:
        known = ["nothing" if v is None else repr(v) for v in self.values]
        return ", ".join(known[:12] + ["..."] * (len(known) > 12))

    @property
    def told(self) -> str:
        """What was made of the column, for people."""
        gaps = ", missing among them" if None in self.values else ""
        rest = f"; {self.pooled} rare ones are {OTHER!r}" if self.other else ""
        return f"{len(self.values)} value{'' if len(self.values) == 1 else 's'}{gaps}{rest}"

    @property
    def state(self) -> dict[str, Any]:
        return {"name": self.name, "values": list(self.values), "other": self.other, "pooled": self.pooled}


@dataclass(frozen=True)
class Number:
    """Bins from low to high, each as the quantiles of its values (one value: it is kept as it is); then, if `gaps`, a
    symbol for missing ones. `decimals` after the point, None for as many as come."""

    name: str
    bins: tuple[tuple[float, ...], ...]
    gaps: bool
    decimals: int | None
    form: Form = "number"

    @cached_property
    def edges(self) -> list[float]:
        """Half-way between each bin and the next."""
        return [(low[-1] + high[0]) / 2 for low, high in zip(self.bins, self.bins[1:])]  # noqa: B905

    @property
    def size(self) -> int:
        return len(self.bins) + self.gaps

    def value(self, cell: Any) -> float:
        """Raises Unreadable for what is no such number or date."""
        found = number(pointed(cell) or cell if self.form == "comma" else cell)
        if self.form not in ("number", "comma"):
            at = moment(cell)
            found = at[0] if at and at[1] == self.kind else None
        if found is None:
            one = shown(self.cell(self.bins[0][0]))
            raise Unreadable(f"column {self.name} holds {self.kind}s, such as {one}, not {shown(cell)!r}")
        return found

    @property
    def kind(self) -> str:
        return {"minute": "time", "comma": "number"}.get(self.form, self.form)

    def encode(self, cell: Any) -> int:
        if not missing(cell):
            return bisect_left(self.edges, self.value(cell))
        if self.gaps:
            return len(self.bins)
        raise Unreadable(f"column {self.name} never has a gap in training")

    def decode(self, symbol: int, u: float) -> Any:
        """The value at the share u of the bin's rows."""
        if symbol >= len(self.bins):
            return None
        points = self.bins[symbol]
        at = u * (len(points) - 1)
        k = min(int(at), max(0, len(points) - 2))
        value = points[k] if len(points) == 1 else points[k] + (at - k) * (points[k + 1] - points[k])
        return self.cell(value)

    def cell(self, value: float) -> Any:
        if self.form == "date":
            return datetime.date.fromordinal(round(value) + EPOCH.toordinal()).isoformat()
        if self.form == "minute":
            return (EPOCH + datetime.timedelta(minutes=round(value / 60))).isoformat(" ", "minutes")
        if self.form == "time":
            return (EPOCH + datetime.timedelta(seconds=round(value))).isoformat(" ")
        if self.form == "comma":
            return f"{value:.{self.decimals or 0}f}".replace(".", ",")
        if self.decimals is None:
            return float(value)
        return round(value) if self.decimals == 0 else round(float(value), self.decimals)

    def alike(self, a: Any, b: Any) -> bool:
        """Whether a is what b may come back as: in the same bin, which values beyond all bins are near."""
        if missing(a) or missing(b):
            return missing(a) and missing(b)
        low, *_, high = self.bins[self.encode(b)] * 2
        return low <= self.value(a) <= high

    @property
    def width(self) -> int:
        return 1 + self.gaps

    def seen(self, symbols: Int[Tensor, " n"]) -> Float[Tensor, "n W"]:
        gap = symbols == len(self.bins)
        rank = 2 * symbols.float() / max(1, len(self.bins) - 1) - 1
        columns = [torch.where(gap, 0.0, rank)] + [gap.float()] * self.gaps
        return torch.stack(columns, 1)

    @property
    def told(self) -> str:
        low, high = (shown(self.cell(v)) for v in (self.bins[0][0], self.bins[-1][-1]))
        whole = all(len(points) == 1 for points in self.bins)
        what = f"{len(self.bins)} {self.kind}s as they are" if whole else f"{self.kind}s in {len(self.bins)} bins"
        return f"{what}, {low} to {high}{', missing among them' if self.gaps else ''}"

    @property
    def state(self) -> dict[str, Any]:
        bins = [list(points) for points in self.bins]
        return {"name": self.name, "bins": bins, "gaps": self.gaps, "decimals": self.decimals, "form": self.form}


Column = Category | Number


def column_from(state: dict[str, Any]) -> Column:
    """The column whose `state` this is."""
    if "values" in state:
        return Category(**{**state, "values": tuple(state["values"])})
    return Number(**{**state, "bins": tuple(map(tuple, state["bins"]))})


def column_of(name: str, cells: Sequence[Any], rules: Rules, kept: bool) -> Column | str:
    """What training cells make of a column, or why it is left out; `kept`: it is not, though it tells rows apart."""
    present = [cell for cell in cells if not missing(cell)]
    if not present:
        return "it is empty"
    if any(isinstance(cell, dict | list | tuple | bytes) for cell in present):
        return "it holds lists or objects"
    gaps = len(present) < len(cells)
    numbers = [number(cell) for cell in present]
    if None not in numbers:
        return _numbers(name, present, np.array(numbers, float), gaps, rules, kept)
    parted = [pointed(cell) for cell in present]
    tails = {len(text.partition(".")[2]) for text in parted if text and "." in text}
    if None not in parted and tails - {3}:  # 1,234 and nothing else may be a thousand
        made = _numbers(name, parted, np.array(list(map(number, parted)), float), gaps, rules, kept)
        return made if isinstance(made, str) else replace(made, form="comma")
    moments = [moment(cell) for cell in present]
    forms = {at[1] if at else None for at in moments}
    if len(forms) == 1 and None not in forms:
        values, form = np.array([at[0] for at in moments if at], float), forms.pop()
        if form == "time" and all(str(cell).strip()[16:] in ("", ":00") for cell in present):
            form = "minute"
        return Number(name, _bins(values, rules.bins), gaps, 0, form)  # pyright: ignore[reportArgumentType]
    return _category(name, Counter(map(word, present)), gaps, rules, kept)


def _numbers(
    name: str, present: list[Any], values: Float[np.ndarray, " n"], gaps: bool, rules: Rules, kept: bool
) -> Number | str:
    n, distinct = len(values), np.unique(values)
    whole = bool((values == values.round()).all())
    if not kept and whole and 20 <= n == len(distinct) and distinct[-1] - distinct[0] < DENSE * n:
        return f"it numbers the rows; --set keep={name} learns it all the same"
    return Number(name, _bins(values, rules.bins), gaps, _decimals(present))


def _category(name: str, counts: Counter[str], gaps: bool, rules: Rules, kept: bool) -> Column | str:
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    frequent = [value for value in ordered if counts[value] >= rules.least][: rules.most]
    share = 1 - sum(counts[value] for value in frequent) / counts.total()
    if share > 0.5 and not kept:
        return f"{share:.0%} of its values are rare ones; --set keep={name} learns the others"
    values = (*frequent, None) if gaps else tuple(frequent)
    return Category(name, values, share > 0, len(counts) - len(frequent))


def _bins(values: Float[np.ndarray, " n"], most: int) -> tuple[tuple[float, ...], ...]:
    """Runs of the distinct values, each with about n / most rows, as quantiles."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= max(FEW, most):
        return tuple((float(v),) for v in distinct)
    share = len(values) / most
    run = np.floor((counts.cumsum() - counts / 2) / share)
    alone = np.where(counts >= share, 1 + np.arange(len(counts)), 0)
    starts = np.flatnonzero((np.diff(run, prepend=-1) != 0) | (np.diff(alone, prepend=-1) != 0))
    bins = []
    for first, last in zip(starts, [*starts[1:], len(distinct)], strict=True):
        inside = np.repeat(distinct[first:last], counts[first:last])
        points = np.quantile(inside, np.linspace(0, 1, QUANTILES), method="nearest") if last - first > 1 else inside[:1]
        bins.append(tuple(points.tolist()))
    return tuple(bins)


def _decimals(cells: list[Any]) -> int | None:
    """Digits after the point of the cell that has most; None where one is written with a power of ten."""
    most = 0
    for cell in cells:
        text = str(cell).strip().lower()
        if "e" in text:
            return None
        fraction = text.partition(".")[2]
        most = max(most, len(fraction) if fraction.strip("0") else 0)
    return most
