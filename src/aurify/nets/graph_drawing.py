"""A directed graph without circles, drawn: as a tree of words, and as SVG in layers."""

from collections.abc import Sequence
from html import escape

from aurify.nets.structure import Parents, topological

LETTER, LINE, GAP, ROOM = 7.2, 28, 24, 46  # width of a letter, height of a box, between boxes, between layers

STYLE = (
    "text{font:12px monospace;fill:#222}rect{fill:#fff;stroke:#888}path{fill:none;stroke:#888}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}rect{fill:#222}}"
)


def as_text(names: Sequence[str], parents: Parents) -> str:
    """Each variable below the last of its parents to be placed; the others are named beside it."""
    order = topological(parents)
    place = {v: k for k, v in enumerate(order)}
    below: dict[int | None, list[int]] = {}
    for v in order:
        below.setdefault(max(parents[v], key=place.__getitem__, default=None), []).append(v)
    lines: list[str] = []

    def write(v: int, mark: str, indent: str) -> None:
        others = [names[p] for p in parents[v] if p != max(parents[v], key=place.__getitem__)]
        lines.append(mark + names[v] + (f"  (and {', '.join(others)})" if others else ""))
        children = below.get(v, [])
        for k, child in enumerate(children):
            last = k == len(children) - 1
            write(child, indent + ("└─ " if last else "├─ "), indent + ("   " if last else "│  "))

    for root in below.get(None, []):
        write(root, "", "")
    return "\n".join(lines)


def as_svg(names: Sequence[str], parents: Parents) -> str:
    """Roots at the top; each variable one layer below the lowest of its parents, near the middle of them."""
    layers = layered(parents)
    wide = [LETTER * len(name) + 16 for name in names]
    lengths = [sum(wide[v] + GAP for v in layer) - GAP for layer in layers]
    width, height = max(lengths) + 2 * GAP, len(layers) * (LINE + ROOM) - ROOM + 2 * GAP
    x, y = [0.0] * len(names), [0.0] * len(names)
    for k, (layer, length) in enumerate(zip(layers, lengths, strict=True)):
        left = (width - length) / 2
        for v in layer:
            x[v], y[v] = left + wide[v] / 2, GAP + k * (LINE + ROOM)
            left += wide[v] + GAP
    arcs = [arc(x[p], y[p] + LINE, x[v], y[v]) for v, of in enumerate(parents) for p in of]
    boxes = [box(escape(name), x[v], y[v], wide[v]) for v, name in enumerate(names)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img"><style>{STYLE}</style><defs><marker id="tip" viewBox="0 0 8 8" refX="8" '
        'refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" style="fill:#888"/></marker>'
        "</defs>"
    )
    return "\n".join([head, *arcs, *boxes, "</svg>"]) + "\n"


def layered(parents: Parents) -> list[list[int]]:
    """Variables by layer, each layer in the order of the mean place of its variables' parents."""
    depth: dict[int, int] = {}
    for v in topological(parents):
        depth[v] = 1 + max((depth[p] for p in parents[v]), default=-1)
    layers: list[list[int]] = [[] for _ in range(max(depth.values()) + 1)]
    place: dict[int, float] = {}
    for k in range(len(layers)):
        mine = [v for v in range(len(parents)) if depth[v] == k]
        mine.sort(key=lambda v: sum(place[p] for p in parents[v]) / max(1, len(parents[v])))
        layers[k] = mine
        place |= {v: (at + 0.5) / len(mine) for at, v in enumerate(mine)}
    return layers


def arc(x0: float, y0: float, x1: float, y1: float) -> str:
    bend = (y1 - y0) / 2
    path = f"M{x0:.1f} {y0:.1f}C{x0:.1f} {y0 + bend:.1f} {x1:.1f} {y1 - bend:.1f} {x1:.1f} {y1:.1f}"
    return f'<path d="{path}" marker-end="url(#tip)"/>'


def box(name: str, x: float, y: float, width: float) -> str:
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" height="{LINE}" rx="4"/>'
        f'<text x="{x:.1f}" y="{y + LINE / 2 + 4:.1f}" text-anchor="middle">{name}</text>'
    )
