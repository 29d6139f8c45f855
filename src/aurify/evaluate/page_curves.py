"""Losses over steps as inline SVG: training and held-out samples in one chart, with what they show in words."""

import math
from collections.abc import Sequence

from aurify.evaluate import rounding
from aurify.evaluate.markup import Html, el
from aurify.evaluate.page_charts import Axis, tick

POINTS = 400  # of one curve
PLOT = 150  # pixels

Points = Sequence[tuple[int, float]]


def curves(name: str, train: Points, held: Points) -> Html | None:
    """One loss over steps, in training and on held-out samples; logarithmic where it spans more than 1 to 10."""
    series = {kind: points for kind, points in (("training", train), ("held out", held)) if finite(points)}
    if not series:
        return None
    values = [v for points in series.values() for _, v in finite(points)]
    steps = [s for points in series.values() for s, _ in points]
    logarithmic = min(values) > 0 and max(values) > 10 * min(values)
    low, high = min(values), max(values)
    axis = Axis(low, high if high > low else low + (abs(low) or 1), "log" if logarithmic else "linear", low)
    first, last = min(steps), max(max(steps), min(steps) + 1)
    lines = [
        el("polyline", points=path, class_="held" if kind == "held out" else None)
        for kind, points in series.items()
        for path in paths(points, axis, (first, last))
    ]
    stretched = el(
        "svg", *lines, viewBox=f"0 0 1000 {PLOT}", preserveAspectRatio="none", width="100%", height=PLOT, y=6
    )
    said = "; ".join(told(kind, points) for kind, points in series.items())
    said = f"{name} over steps{', logarithmic' if logarithmic else ''}. {said[:1].upper()}{said[1:]}."
    grid, labels = _ground(axis, (first, last))
    drawn = el("svg", *grid, stretched, *labels, height=PLOT + 34, role="img", aria_label=said)
    return el("figure", el("h3", name), drawn, el("figcaption", said, class_="soft"))


def _ground(axis: Axis, steps: tuple[int, int]) -> tuple[list[Html], list[Html]]:
    """Lines of the grid, and the labels that stand on them."""
    grid, labels = [], []
    for value in axis.ticks():
        y = 6 + _height(axis, value)
        grid.append(el("line", x1="0", x2="100%", y1=y, y2=y, class_="grid"))
        labels.append(el("text", rounding.number(value), x="0", y=y - 3, class_="halo"))
    labels += [tick(x, text, PLOT + 24) for x, text in ((0, f"step {steps[0]:,}"), (100, f"{steps[1]:,}"))]
    return grid, labels


def _height(axis: Axis, value: float) -> float:
    """Pixels from the top."""
    return (100 - axis.at(value)) / 100 * PLOT


def finite(points: Points) -> list[tuple[int, float]]:
    return [(s, v) for s, v in points if math.isfinite(v)]


def told(kind: str, points: Points) -> str:
    """What a curve shows, in words."""
    line = {"training": "solid", "held out": "dashed"}[kind]
    return f"{kind} ({line}) {ends(points)}"


def ends(points: Points) -> str:
    """Where a curve of one finite value or more begins, ends and is least."""
    known = finite(points)
    step, least = min(known, key=lambda p: p[1])
    lost = f", {len(points) - len(known)} values not finite" if len(known) < len(points) else ""
    whole = f"from {rounding.number(known[0][1])} to {rounding.number(known[-1][1])}"
    return f"{whole}, least {rounding.number(least)} at step {step:,}{lost}"


def paths(points: Points, axis: Axis, steps: tuple[int, int]) -> list[str]:
    """Points of the lines, one line for each stretch of finite values, in 1000 by PLOT."""
    first, last = steps
    stretches: list[list[str]] = [[]]
    for step, value in thinned(points):
        if math.isfinite(value):
            x = 1000 * (step - first) / (last - first)
            stretches[-1].append(f"{x:.1f},{_height(axis, value):.1f}")
        elif stretches[-1]:
            stretches.append([])
    return [" ".join(s if len(s) > 1 else s * 2) for s in stretches if s]


def thinned(points: Points) -> list[tuple[int, float]]:
    """At most POINTS of them: of each stretch the least and the greatest, so that no spike is lost."""
    if len(points) <= POINTS:
        return list(points)
    size = math.ceil(len(points) / (POINTS // 2))
    kept = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        lost = [p for p in part if not math.isfinite(p[1])]
        ends = {min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])} if not lost else {lost[0]}
        kept += sorted(ends)
    return kept
