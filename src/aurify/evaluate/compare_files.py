"""compare.html, compare.md and compare.json: the same comparison for people, for documents and for programs."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from aurify.atomic import explained, write
from aurify.evaluate import compare_told
from aurify.evaluate.compare import Comparison
from aurify.evaluate.compare_page import page
from aurify.evaluate.of_run import strict_json

SCHEMA = 1


def save(found: Comparison, out: Path) -> Path:
    """Writes the three into the folder, each whole or not at all; returns the page."""
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
        write(out / "compare.json", (strict_json(to_json(found)) + "\n").encode())
        write(out / "compare.md", compare_told.markdown(found).encode())
        write(out / "compare.html", page(found, out).encode())
    return out / "compare.html"


def to_json(found: Comparison) -> dict[str, Any]:
    """The schema stands in docs/evaluation/compare.md."""
    sides = {side.name: [{"run": str(e.run), "verdict": e.report["verdict"]} for e in side.entries]
             for side in found.sides}  # fmt: skip
    figures = [
        {"figure": key, "better": f.better, "floor": f.floor and f.floor.value, "best_baseline": f.best_baseline}
        | {"floor_interval": f.floor and f.floor.interval, "baseline": told(f.ceilings.get(f.best_baseline or ""))}
        | {"measured": {side.name: told(side.measured(key)) for side in found.sides}, "protocol": asdict(f.protocol)}
        for key, f in found.figures.items()
    ]
    differences = [
        {"figure": d.figure, "left": d.left, "right": d.right, "shown": d.shown, "ahead": d.ahead}
        | {"measured": told(d.measured), "sentence": d.sentence}
        for d in found.differences
    ]
    return {"schema": SCHEMA, "headline": ": ".join(compare_told.headline(found)), "sides": sides, "figures": figures,
            "differences": differences, "notes": list(found.notes), "command": found.command}  # fmt: skip


def told(m: Any) -> dict[str, Any] | None:
    return m and {"value": m.value, "interval": m.interval}
