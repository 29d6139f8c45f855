"""JSON as a person reads it: names and values, tables of equal records, and never a wall of numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from aurify.evaluate import rounding
from aurify.evaluate.markup import Html, el

MOST = 24  # entries of one list, table or mapping; the rest is in report.json
DEEP = 3  # mappings within mappings

WORDS = {
    "energy_wh": "energy (Wh)",
    "energy_source": "energy",
    "memory_mib": "peak memory (MiB)",
    "flops": "floating-point operations",
    "n": "samples (n)",
    "made_by": "made by",
    "hash": "hash (SHA-256)",
    "interval": "95 % interval",
    "c_t": "C_T",
    "c_t_p": "p of C_T",
    "c_t_cells": "C_T, mean over cells",
    "p": "p",
    "p_share": "p of the share",
    "p_beyond": "p of those beyond",
    "m": "samples judged (m)",
    "flagged": "above the threshold",
    "beyond": "nearer than all held-out ones",
    "far": "so near that chance cannot explain it",
    "fresh": "fresh real samples (false alarms)",
    "planted": "planted copies",
    "recall": "share of planted copies found",
}
EXACT = {"seed", "year", "port"}  # numbers that are names


def spoken(key: str) -> str:
    """The name of a field in words."""
    return WORDS.get(key, key.replace("_", " "))


def costs(cost: Mapping[str, Any]) -> dict[str, str]:
    """Each cost with how it is known behind it."""
    sources = {k: str(v) for k, v in cost.items() if k.endswith("_source")}
    told = {k: said(k, v) for k, v in cost.items() if k not in sources}
    for key in told:
        source = sources.pop(f"{key.split('_')[0]}_source", None)
        told[key] += f" ({source})" if source else ""
    return told | sources


def facts(mapping: Mapping[str, Any], deep: int = 0) -> Html:
    """A list of names and values."""
    items = list(mapping.items())
    rows = [part for key, value in items[:MOST] for part in (el("dt", spoken(str(key))), _value(str(key), value, deep))]
    if len(items) > MOST:
        rows += [el("dt", "and more"), el("dd", f"{len(items) - MOST} further entries are in report.json")]
    return el("dl", *rows, class_="facts")


def _value(key: str, value: Any, deep: int) -> Html:
    if isinstance(value, Mapping) and _alike(list(value.values())):
        return el("dd", table([{"kind": name, **record} for name, record in value.items()]))
    if isinstance(value, Mapping) and value and deep < DEEP:
        return el("dd", facts(value, deep + 1))
    if isinstance(value, Sequence) and _alike(list(value)):
        return el("dd", table(value))
    return el("dd", said(key, value))


def _alike(values: list[Any]) -> bool:
    """Whether these are records with the same fields."""
    return bool(values) and all(isinstance(v, Mapping) and v.keys() == values[0].keys() != set() for v in values)


def table(records: Sequence[Mapping[str, Any]]) -> Html:
    """Records of equal fields as rows."""
    columns = list(dict.fromkeys(str(key) for record in records[:MOST] for key in record))[:8]
    head = el("tr", *(el("th", spoken(c), scope="col") for c in columns))
    rows = [el("tr", *(el("td", said(c, record.get(c, ""))) for c in columns)) for record in records[:MOST]]
    more = el("p", f"{len(records) - MOST} further rows are in report.json.") if len(records) > MOST else None
    return el("div", el("table", el("thead", head), el("tbody", *rows)), more, class_="table")


def said(key: str, value: Any) -> str:
    """One value in words."""
    if value is None or value == "" or value == {} or value == []:
        return "not known" if value is None else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value) if key in EXACT else f"{value:,}"
    if isinstance(value, float):
        return rounding.number(value)
    if isinstance(value, Mapping):
        return _listed([f"{spoken(str(k))} {said(str(k), v)}" for k, v in list(value.items())[: MOST + 1]], len(value))
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if len(value) == 2 and "interval" in key:
            return f"{said('', value[0])} to {said('', value[1])}"
        return _listed([said("", v) for v in value[: MOST + 1]], len(value))
    return str(value)


def _listed(words: list[str], n: int) -> str:
    return ", ".join(words) if n <= MOST else f"{', '.join(words[:MOST])} and {n - MOST:,} more"
