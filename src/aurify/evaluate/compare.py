"""Runs beside one another under one protocol: paired intervals, and "no difference shown" where that is so.

A side of a comparison is one run, or several trainings of one kind with unlike seeds:

    one run            the figure with its interval; differences lose the same blocks of samples on both sides
    K trainings        mean and Student's interval over them; differences are paired by seed

The former says how these samples differ, the latter how trainings of these kinds do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from aurify.errors import UserError
from aurify.evaluate import interval, of_run, rounding
from aurify.evaluate.figure import Figure, Measured
from aurify.evaluate.figures import FIRST
from aurify.evaluate.progress import Doing
from aurify.evaluate.report import Picture, Report
from aurify.run import Run, read_json


@dataclass(frozen=True)
class Entry:
    """One run with what its report says; `name` is its own among all that are compared."""

    name: str
    run: Path
    report: dict[str, Any]
    figures: dict[str, Figure]  # by key
    shown: tuple[Picture, ...]

    @classmethod
    def read(cls, name: str, run: Run) -> "Entry":
        folder = run.path / "report"
        report = read_json(folder / "report.json")
        figures = {f.key: f for f in map(Figure.from_json, report["figures"])}
        files = [(p["title"], folder / p["file"]) for p in report.get("shown", ())]
        shown = (Picture(title, file.suffix, file.read_bytes(), file.name) for title, file in files if file.is_file())
        return cls(name, run.path, report, figures, tuple(shown))


@dataclass(frozen=True)
class Side:
    """What stands in one column: trainings of one kind."""

    name: str
    entries: tuple[Entry, ...]

    @property
    def verdicts(self) -> tuple[str, ...]:
        return tuple(e.report["verdict"] for e in self.entries)

    def measured(self, key: str) -> Measured | None:
        """The figure of a run, or the mean over seeds; None where not all have it."""
        found = [e.figures[key].measured for e in self.entries if key in e.figures]
        if len(found) < len(self.entries):
            return None
        return found[0] if len(found) == 1 else interval.pooled([m.value for m in found])


@dataclass(frozen=True)
class Difference:
    """One figure of two sides; `shown` is whether the 95 % interval of the difference leaves zero out."""

    figure: str
    better: str
    left: str
    right: str
    measured: Measured

    @property
    def shown(self) -> bool:
        low, high = self.measured.interval
        return low > 0 or high < 0

    @property
    def ahead(self) -> str | None:
        """The better side, where that is shown."""
        if not self.shown:
            return None
        return self.left if (self.measured.value < 0) == (self.better == "lower") else self.right

    @property
    def sentence(self) -> str:
        told = rounding.bounded(self.measured)
        if self.ahead is None:
            return f"{self.figure}: no difference shown between {self.left} and {self.right} ({told})"
        return f"{self.figure}: {self.ahead} is better ({self.left} - {self.right} = {told})"


@dataclass(frozen=True)
class Comparison:
    """Sides, every paired difference of figures that have a direction, and the command that repeats it."""

    sides: tuple[Side, ...]
    differences: tuple[Difference, ...]
    command: str = ""

    @property
    def entries(self) -> list[Entry]:
        return [entry for side in self.sides for entry in side.entries]

    @property
    def figures(self) -> dict[str, Figure]:
        """One figure of each kind, the principal one first: its floor and its baselines are those of every side."""
        found: dict[str, Figure] = {}
        for entry in self.entries:
            found = found | {key: f for key, f in entry.figures.items() if key not in found}
        return found

    @property
    def principal(self) -> str | None:
        """The figure that the verdicts rest on; None where there are too few samples for one."""
        return next((key for key, f in list(self.figures.items())[:1] if f.metric in FIRST), None)

    @property
    def asked(self) -> dict[str, dict[str, Any]]:
        """How each run was asked for its samples, by name; {} stands for the family's defaults."""
        return {e.name: next((f.protocol.options for f in e.figures.values()), {}) for e in self.entries}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the differences must know, in sentences."""
        asked = {name: options_in_words(options) for name, options in self.asked.items()}
        if len(set(asked.values())) < 2:
            return ()
        told = "; ".join(f"{name}: {words}" for name, words in asked.items())
        return (f"Samples were not asked for in the same way, and every difference may come from that: {told}.",)


def options_in_words(options: dict[str, Any]) -> str:
    return ", ".join(f"{k}={v}" for k, v in options.items()) or "as the family does by default"


def compare(
    sides: dict[str, list[Run]], n: int = of_run.N, seed: int = 1, checkpoint: str = "last"
) -> Iterator[Doing | Comparison]:
    """Evaluates the runs that have no report of this kind yet, and compares all.

    Raises:
        UserError: fewer than two sides, a run given twice, runs of unlike data, or protocols that differ (the message
            says in which line).
    """
    runs = [run for side in sides.values() for run in side]
    if len(sides) < 2 or len({run.path.resolve() for run in runs}) < len(runs):
        raise UserError("a comparison needs two runs or more, each of them once")
    same_data(runs)
    for run in runs:
        if not reported(run, n, seed, checkpoint):
            for found in of_run.evaluate(run, n, seed, checkpoint=checkpoint):
                if not isinstance(found, Report):
                    yield f"{run.path.name}: {found[0]}", found[1]
    read = tuple(
        Side(name, tuple(Entry.read(name if len(side) == 1 else run.path.name, run) for run in side))
        for name, side in sides.items()
    )
    found = Comparison(read, tuple(differences(read)))
    same_protocol(found.entries)
    yield found


def reported(run: Run, n: int, seed: int, checkpoint: str = "last") -> bool:
    """Whether there is a report of n samples of this seed and checkpoint, and nothing was trained since."""
    path = run.path / "report" / "report.json"
    if not path.is_file():
        return False
    kept, written = read_json(path), path.stat().st_mtime
    asked = {"samples": n, "seed": seed, "checkpoint": checkpoint}
    newest = max((c.stat().st_mtime for c in run.checkpoints.glob("step-*")), default=0.0)
    return kept["subject"].get("asked") == asked and newest <= written


def differences(sides: tuple[Side, ...]) -> Iterator[Difference]:
    """Every pair of sides, every figure that both have and that has a direction."""
    for left, right in combinations(sides, 2):
        for key, figure in left.entries[0].figures.items():
            if figure.better != "real" and left.measured(key) and right.measured(key):
                measured = between([[e.figures[key].measured for e in side.entries] for side in (left, right)])
                if measured is not None:
                    yield Difference(key, figure.better, left.name, right.name, measured)


def between(pair: list[list[Measured]]) -> Measured | None:
    """left - right: of single runs by blocks of samples, of several by seed; None where no interval can be had."""
    left, right = pair
    if len(left) == len(right) == 1:
        return interval.difference(left[0], right[0]) if left[0].without and right[0].without else None
    if len(left) != len(right):
        raise UserError("sides need equal numbers of trainings, so that they can be paired by seed")
    return interval.pooled([a.value - b.value for a, b in zip(left, right, strict=True)])


def same_data(runs: list[Run]) -> None:
    """Raises UserError where runs have not the same real samples to be measured against, with the lines that differ."""
    first, *others = runs
    for other in others:
        pairs = {
            "codec": (first.card.codec, other.card.codec),
            "data": (first.data.hash[:12], other.data.hash[:12]),
            "spec": (first.spec, other.spec),
        }
        lines = [f"{name}: {a} and {b}" for name, (a, b) in pairs.items() if a != b]
        if lines:
            raise UserError(
                f"{first.path} and {other.path} cannot be compared ({'; '.join(lines)}); "
                "compare runs that were trained on the same data, read in the same way"
            )


def same_protocol(entries: list[Entry]) -> None:
    """Raises UserError where figures of two reports may not be compared, with the lines that differ."""
    first, *others = entries
    for other in others:
        shared = first.figures.keys() & other.figures.keys()
        if not shared:
            raise UserError(f"{first.run} and {other.run} have no figure in common, so there is nothing to compare")
        for key in shared:
            lines = first.figures[key].protocol.differences(other.figures[key].protocol)
            if lines:
                raise UserError(
                    f"{first.run} and {other.run} were measured differently ({'; '.join(lines)}); "
                    "evaluate both on the same data, with the same -n and --seed"
                )
