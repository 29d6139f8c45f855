"""A figure on the page: what was measured of the samples, of real ones and of plain baselines, on one axis."""

from collections.abc import Sequence

from aurify.evaluate import metric, page_charts, rounding
from aurify.evaluate.figure import Figure, Measured
from aurify.evaluate.markup import Html, el
from aurify.evaluate.page_charts import Axis, Mark
from aurify.evaluate.page_facts import facts

DIRECTIONS = {
    "lower": "↓ lower is better",
    "higher": "↑ higher is better",
    "real": "≈ best where real samples are",
}
VARIETY = {"dropped-modes", "repeats"}  # what a figure of diversity sees


def figure(f: Figure, place: int) -> Html:
    """One figure with its numbers, its chart and its protocol."""
    named: list[tuple[str, Measured, Mark]] = [("these samples", f.measured, "made")]
    if f.floor is not None:
        named.append(("other real samples", f.floor, "real"))
    for name, m in f.ceilings.items():
        named.append((f"baseline: {name}", m, "plain"))
    return el(
        "article",
        el("header", el("h3", titled(f), id=f"figure-{place}"), el("p", DIRECTIONS.get(f.better, f.better))),
        el("p", f.source, ". ", _protocol_line(f), class_="soft"),
        el("p", f.note) if f.note else None,
        chart(f, named),
        el("details", el("summary", "Protocol"), facts(vars(f.protocol))),
        class_="figure",
        aria_labelledby=f"figure-{place}",
    )


def titled(f: Figure) -> str:
    """The metric with its embedder: what tells two figures of one page apart."""
    return f.key[:1].upper() + f.key[1:]


def _drawable(m: Measured) -> bool:
    low, high = m.interval
    return -float("inf") < low <= high < float("inf")


def _protocol_line(f: Figure) -> str:
    p = f.protocol
    seen = f", embedder weights {p.weights}" if p.embedder else ""
    return f"n = {p.n:,} against {p.reference}, seed {p.seed}{seen}."


def chart(f: Figure, named: Sequence[tuple[str, Measured, Mark]]) -> Html:
    """Rows of (whose, what was measured, mark) on one axis, the figure's floor shaded through all of them.

    The roles are said outright, because laying rows out as a grid takes a table's own from it.
    """
    axis = page_charts.axis_of(v for _, m, _ in named for v in (m.value, *m.interval))
    band = f.floor.interval if f.floor is not None and _drawable(f.floor) else None
    heads = ("whose", "drawn" + (f" ({SCALES[axis.scale]})" if axis else ""), "value", "95 % interval")
    head = el("tr", *(el("th", h, scope="col", role="columnheader") for h in heads), role="row")
    rows = [_row(name, m, mark, axis, band) for name, m, mark in named]
    if axis is not None:
        cells = [el("td"), el("td", page_charts.scale(axis, band), class_="drawn")]
        rows.append(el("tr", *cells, class_="scale-row", aria_hidden="true"))
    return el(
        "table",
        el("thead", head, role="rowgroup"),
        el("tbody", *rows, role="rowgroup"),
        class_="rows",
        role="table",
        aria_label=titled(f),
    )


SCALES = {"linear": "linear axis", "log": "logarithmic axis", "asinh": "logarithmic axis, linear about zero"}


def _row(name: str, m: Measured, mark: Mark, axis: Axis | None, band: tuple[float, float] | None) -> Html:
    value, interval = rounding.measured(m)
    said = f"{name}: {value}, 95 % interval {interval}"
    drawn = page_charts.interval(m, axis, mark, band, said) if axis is not None else None
    return el(
        "tr",
        el("th", name, scope="row", role="rowheader"),
        el("td", drawn, role="cell", class_="drawn"),
        el("td", value, role="cell", class_="value"),
        el("td", interval, role="cell", class_="interval"),
        class_="made-row" if mark == "made" else None,
        role="row",
    )


def legend(figures: Sequence[Figure]) -> Html:
    """What the marks of the charts mean."""
    parts = [el("li", _key("made"), "these samples; lines are 95 % intervals")]
    if any(f.floor for f in figures):
        told = "other real samples in their place, their interval shaded: the best that can be had"
        parts.append(el("li", _key("real"), told))
    if any(f.ceilings for f in figures):
        parts.append(el("li", _key("plain"), "plain baselines fitted on the spot: what costs nothing"))
    return el("ul", *parts, class_="legend soft")


def _key(mark: Mark) -> Html:
    sign = el("svg", el("path", d=page_charts.SHAPES[mark], class_=mark), x=16, y=10, overflow="visible")
    return el("svg", sign, width=32, height=20, class_="key", aria_hidden="true")


def of_variety(figures: Sequence[Figure]) -> list[tuple[int, Figure]]:
    """The figures whose metric sees dropped modes or repeats, with their places; not distances, which see all else."""
    known = set(metric.names())
    return [
        (place, f)
        for place, f in enumerate(figures)
        if f.metric in known and f.better != "lower" and VARIETY & set(metric.load(f.metric).sees)
    ]


def in_words(f: Figure) -> str:
    """What a figure says, without its name."""
    value, interval = rounding.measured(f.measured)
    real = f"; other real samples have {rounding.measured(f.floor)[0]}" if f.floor else ""
    return f": {value} (95 % interval {interval}{real}), {DIRECTIONS.get(f.better, f.better)[2:]}."
