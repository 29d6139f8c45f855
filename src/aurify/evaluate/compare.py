"""Runs beside one another under one protocol: paired intervals, and "no difference shown" where that is so."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from aurify import loop, recipes
from aurify.errors import UserError
from aurify.evaluate import of_run
from aurify.evaluate.figure import Measured, Protocol
from aurify.evaluate.interval import difference
from aurify.evaluate.progress import Doing
from aurify.evaluate.report import Report
from aurify.recipes import Wish
from aurify.run import Run, read_json


@dataclass(frozen=True)
class Difference:
    """One metric of two runs; `shown` is whether the 95 % interval of the difference leaves zero out."""

    metric: str
    title: str
    better: str
    left: str
    right: str
    measured: Measured
    shown: bool

    @property
    def sentence(self) -> str:
        m = self.measured
        if not self.shown:
            return f"{self.title}: no difference shown between {self.left} and {self.right} ({_told(m)})"
        ahead = self.left if (m.value < 0) == (self.better == "lower") else self.right
        return f"{self.title}: {ahead} is better ({self.left} - {self.right} = {_told(m)})"


@dataclass(frozen=True)
class Comparison:
    """Reports by run, and every paired difference of figures that have a direction."""

    reports: dict[str, dict[str, Any]]
    differences: tuple[Difference, ...]

    def to_json(self) -> dict[str, Any]:
        rows = [vars(d) | {"measured": vars(d.measured), "sentence": d.sentence} for d in self.differences]
        return {"runs": self.reports, "differences": rows}

    def table(self) -> list[str]:
        """Verdict and every figure, a column a run, as lines of Markdown."""
        names = list(self.reports)
        rows = [["", *names], ["---"] * (len(names) + 1), ["verdict", *(self.reports[k]["verdict"] for k in names)]]
        for title in dict.fromkeys(_key(f) for r in self.reports.values() for f in r["figures"]):
            cells = [_cell(self.reports[k], title) for k in names]
            rows.append([title, *cells])
        for cost in ("minutes", "flops", "energy_wh"):
            rows.append([cost.replace("_", " "), *(_short(self.reports[k]["cost"].get(cost)) for k in names)])
        return ["| " + " | ".join(row) + " |" for row in rows]


def compare(runs: list[Run], n: int = of_run.N, seed: int = 1) -> Iterator[Doing | Comparison]:
    """Evaluates the runs that have no report of this protocol yet, and compares all.

    Raises:
        UserError: fewer than two runs, equal names, or protocols that differ (the message says in which line).
    """
    names = [str(run.path) for run in runs]
    if len(set(names)) < 2:
        raise UserError("a comparison needs two runs; give both folders")
    reports: dict[str, dict[str, Any]] = {}
    for run in runs:
        kept = run.path / "report" / "report.json"
        if not (kept.is_file() and _fresh(kept, run) and _asked_like(read_json(kept), seed)):
            for found in of_run.evaluate(run, n, seed):
                if not isinstance(found, Report):
                    yield f"{run.path.name}: {found[0]}", found[1]
        reports[str(run.path)] = read_json(kept)
    yield Comparison(reports, tuple(differences(reports)))


def _fresh(report: Path, run: Run) -> bool:
    """Whether nothing was trained since."""
    return all(path.stat().st_mtime <= report.stat().st_mtime for path in run.checkpoints.glob("step-*"))


def _asked_like(report: dict[str, Any], seed: int) -> bool:
    return bool(report.get("figures")) and report["figures"][0]["protocol"]["seed"] == seed


def differences(reports: dict[str, dict[str, Any]]) -> Iterator[Difference]:
    """Every pair of runs, every metric that both have and that has a direction."""
    for (left, a), (right, b) in combinations(reports.items(), 2):
        same_protocol(left, a, right, b)
        theirs = {_key(f): f for f in b["figures"]}
        for f in a["figures"]:
            other = theirs.get(_key(f))
            if other is None or f["better"] == "real" or not f["measured"]["without"]:
                continue
            m = difference(_measured(f), _measured(other))
            shown = m.interval[0] > 0 or m.interval[1] < 0
            yield Difference(f["metric"], _key(f), f["better"], left, right, m, shown)


def same_protocol(left: str, a: dict[str, Any], right: str, b: dict[str, Any]) -> None:
    """Raises UserError where figures of two reports may not be compared, with the lines that differ."""
    theirs = {_key(f): f["protocol"] for f in b["figures"]}
    for f in a["figures"]:
        if _key(f) in theirs:
            lines = Protocol(**f["protocol"]).differences(Protocol(**theirs[_key(f)]))
            if lines:
                raise UserError(
                    f"{left} and {right} were measured differently ({'; '.join(lines)}); "
                    "evaluate both on the same data, with the same -n and --seed"
                )


def families(names: list[str], data: str, minutes: float, seeds: int, out: Path, say: Any) -> Iterator[Run]:
    """Trains each family on the same data for the same minutes, once for every seed; goes on where it was left."""
    for seed in range(seeds):
        for name in names:
            folder = out / (name if seeds == 1 else f"{name}-seed{seed}")
            if (folder / "run.json").is_file():
                run = Run.load(folder)
            else:
                wish = Wish(data, name, minutes=minutes, out=str(folder), seed=seed)
                run = recipes.start(wish, say)
            say(f"training {name}, seed {seed}")
            for _ in loop.train(run):
                pass
            yield run


def save(found: Comparison, out: Path) -> Path:
    """compare.json and compare.md in the folder."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.json").write_text(json.dumps(found.to_json(), ensure_ascii=False, indent=1) + "\n")
    lines = [*found.table(), "", *(f"- {d.sentence}" for d in found.differences)]
    (out / "compare.md").write_text("\n".join(lines) + "\n")
    return out / "compare.md"


def _measured(f: dict[str, Any]) -> Measured:
    m = f["measured"]
    return Measured(m["value"], tuple(m["interval"]), tuple(m["without"]))


def _key(f: dict[str, Any]) -> str:
    """A metric with its embedder: what makes two figures the same row."""
    embedder = f["protocol"]["embedder"]
    return f["title"] + (f" [{embedder}]" if embedder else "")


def _cell(report: dict[str, Any], key: str) -> str:
    for f in report["figures"]:
        if _key(f) == key:
            return _told(_measured(f))
    return "-"


def _told(m: Measured) -> str:
    return f"{m.value:.3g} ({m.interval[0]:.3g} to {m.interval[1]:.3g})"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float | int) else "-"
