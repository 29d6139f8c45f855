"""Charts as inline SVG: intervals on one axis, and the way from the best plain baseline to real samples.

Places along x are percentages, so a chart is as wide as its column and its text keeps its size. Every chart says in
words what it shows, and the numbers stand beside it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from aurify.evaluate import rounding
from aurify.evaluate.figure import Measured
from aurify.evaluate.markup import Html, el
from aurify.evaluate.verdict import GOLD, Skill

Mark = Literal["made", "real", "plain"]
SHAPES: dict[Mark, str] = {  # told apart by shape, not by colour alone
    "made": "M-6 0A6 6 0 1 0 6 0A6 6 0 1 0 -6 0Z",  # full disc
    "real": "M-5 -5H5V5H-5Z",  # square
    "plain": "M0 -7L7 0L0 7L-7 0Z",  # diamond
}
WIDE = 50.0  # ratio of the largest to the smallest value from which an axis is logarithmic
EDGE = 3.0  # percent of the width left free on either side, so that no mark is cut


@dataclass(frozen=True)
class Axis:
    """Values to places. `near` is where an "asinh" axis turns from linear to logarithmic."""

    low: float
    high: float
    scale: Literal["linear", "log", "asinh"] = "linear"
    near: float = 1.0

    def warp(self, value: float) -> float:
        if self.scale == "log":
            return math.log10(max(value, 1e-300))
        return math.asinh(value / self.near) if self.scale == "asinh" else value

    def at(self, value: float) -> float:
        """The place of a value, in percent of the width; what lies beyond the axis is put at its end."""
        low, high = self.warp(self.low), self.warp(self.high)
        share = (self.warp(value) - low) / (high - low)
        return EDGE + (100 - 2 * EDGE) * min(max(share, 0.0), 1.0)

    def ticks(self) -> list[float]:
        """At most five round values."""
        if self.scale == "linear":
            return _round_steps(self.low, self.high)
        tens = [10.0**k for k in range(-300, 301)]
        both = [*(-t for t in reversed(tens)), 0.0, *tens]
        inside = [t for t in both if self.low <= t <= self.high and (t == 0 or abs(t) >= 0.999 * self.near)]
        if self.scale == "log" and len(inside) < 2:
            inside = [m * t for t in tens for m in (1, 2, 5) if self.low <= m * t <= self.high]
        every = math.ceil(len(inside) / 5)
        zero = inside.index(0.0) if 0.0 in inside else 0  # zero stays
        return inside[zero % every :: every] if len(inside) > 1 else [self.low, self.high]


def axis_of(values: Iterable[float]) -> Axis | None:
    """An axis on which all finite values lie: linear, logarithmic where they span more than 1 to 50, and linear about
    zero but logarithmic beyond where some are not positive. None where no value is finite."""
    found = sorted(v for v in values if math.isfinite(v))
    if not found:
        return None
    low, high = found[0], found[-1]
    sizes = [abs(v) for v in found if v]
    near = min(sizes, default=1.0)
    if low == high:
        return Axis(low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2)
    if low > 0:
        return Axis(low, high, "log", low) if high / low > WIDE else Axis(low, high)
    small = sorted(sizes)[len(sizes) // 4]
    if max(sizes) / small > WIDE:
        return Axis(low, high, "asinh", max(near, small / WIDE, 1e-12 * max(sizes)))
    return Axis(low, high)


def _round_steps(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at most five."""
    ten = 10.0 ** math.floor(math.log10((high - low) / 5))
    step = next(m * ten for m in (1, 2, 5, 10, 20) if (high - low) / (m * ten) < 5)
    first = math.ceil(low / step)
    return [k * step for k in range(first, math.floor(high / step) + 1)]


def interval(m: Measured, axis: Axis, mark: Mark, band: tuple[float, float] | None, said: str) -> Html:
    """A value and its 95 % interval; `band` is that of real samples, shaded through all rows."""
    low, high = (percent(axis.at(v)) for v in m.interval)
    whisker = el("line", x1=low, x2=high, y1="50%", y2="50%", class_=mark)
    ends = [_placed(el("line", x1=0, x2=0, y1=-5, y2=5, class_=mark), at, "50%") for at in (low, high)]
    known = all(math.isfinite(v) for v in m.interval)
    return el(
        "svg",
        _band(axis, band) if band else None,
        *([whisker, *ends] if known else []),
        _symbol(SHAPES[mark], axis.at(m.value), "50%", mark) if math.isfinite(m.value) else None,
        role="img",
        aria_label=said,
    )


def scale(axis: Axis, band: tuple[float, float] | None) -> Html:
    """The axis below the rows."""
    line = el("line", x1="0", x2="100%", y1=1, y2=1, class_="grid")
    marks = [tick(axis.at(t), rounding.number(t), 18) for t in axis.ticks()]
    return el("svg", _band(axis, band, 4) if band else None, line, *marks, height=22, aria_hidden="true")


def _band(axis: Axis, band: tuple[float, float], height: str | int = "100%") -> Html:
    low, high = (axis.at(v) for v in band)
    width = max(high - low, 0.6)
    return el("rect", x=percent(low), width=percent(width), y=0, height=height, class_="band")


def _symbol(path: str, x: float, y: str | int, class_: str) -> Html:
    return _placed(el("path", d=path, class_=class_), percent(x), y)


def _placed(shape: Html, x: str, y: str | int) -> Html:
    """A shape that keeps its size wherever a percentage puts it."""
    return el("svg", shape, x=x, y=y, overflow="visible")


def tick(x: float, text: str, y: float, class_: str | None = None) -> Html:
    """A label at a percentage of the width; those near an end grow inwards."""
    anchor = "start" if x < 12 else "end" if x > 88 else "middle"
    return el("text", text, x=percent(x), y=y, text_anchor=anchor, class_=class_)


def percent(x: float) -> str:
    return f"{x:.2f}%"


def skill(found: Skill) -> Html:
    """The way from the best plain baseline (0) to real samples (1), with where gold begins. Cut at -1 and 2."""
    low, high = (min(max(v, -1.0), 2.0) for v in found.interval)
    axis = Axis(min(-0.15, low), max(1.15, high))
    places = ((0.0, "best plain baseline", 14), (GOLD, f"gold from {GOLD:.0%}", 76), (1.0, "real samples", 14))
    marks = []
    for value, name, y in places:
        x, side = axis.at(value), "end" if value else "start"
        marks.append(el("line", x1=percent(x), x2=percent(x), y1=22, y2=60, class_="grid"))
        marks.append(el("text", name, x=percent(x), y=y, text_anchor=side))
    y, known = 41, not math.isnan(low + high)
    ends = (percent(axis.at(low)), percent(axis.at(high)))
    said = (
        f"Skill {rounding.share(found.value)}, 95 % interval {rounding.share(found.interval[0])} to "
        f"{rounding.share(found.interval[1])}; 0 % is the best plain baseline, 100 % real samples."
    )
    drawn = el(
        "svg",
        el("line", x1=percent(axis.at(0)), x2=percent(axis.at(1)), y1=y, y2=y, class_="track"),
        *marks,
        el("line", x1=ends[0], x2=ends[1], y1=y, y2=y, class_="word") if known else None,
        *(el("line", x1=x, x2=x, y1=y - 7, y2=y + 7, class_="word") for x in ends if known),
        _symbol(SHAPES["made"], axis.at(found.value), y, "word") if math.isfinite(found.value) else None,
        height=82,
        role="img",
        aria_label=said,
    )
    return el("figure", drawn, el("figcaption", said, class_="soft"), class_="skill")
