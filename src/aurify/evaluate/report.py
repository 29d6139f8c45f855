"""Everything that is known about one set of samples: what report.json holds and report.html shows."""

from dataclasses import asdict, dataclass
from typing import Any

from aurify.evaluate.figure import Figure
from aurify.evaluate.figures import FIRST
from aurify.evaluate.verdict import Verdict

SCHEMA = 1


@dataclass(frozen=True)
class Picture:
    """Something to look at: a PNG of samples, a drawing, or a page of texts. `name` is its file's beside the report,
    where it has one."""

    title: str
    suffix: str  # ".png", ".svg" or ".txt"
    data: bytes
    name: str = ""


@dataclass(frozen=True)
class Pair:
    """A sample beside the training sample it is nearest to; `suspicion` is how far beyond the alarm's threshold."""

    made: str
    train: str
    suspicion: float
    picture: Picture


@dataclass(frozen=True)
class Report:
    """One evaluation.

    Attributes:
        verdict: first of all.
        figures: the principal one first.
        copying, membership, usefulness: their findings as JSON, each with "title", "sentences" and numbers; None where
            not asked for or not defined.
        cost: minutes, flops, energy_wh, energy_source ("measured" or "estimated, ..."), as far as known.
        subject: what was judged: run, family, codec, parameters, steps, settings; or the folder.
        data: source, counts of each split, labels, hash, notes.
        curves: losses over steps, {"flow/loss": [(step, value), ...], ...}.
        shown: pictures or pages: samples, real ones.
        pairs: the closest pairs.
        notices: what went wrong in training, in words.
        command: the one command that repeats this.
        made_by: versions: aurify, torch, python, machine in words, date.
    """

    verdict: Verdict
    figures: tuple[Figure, ...]
    copying: dict[str, Any] | None
    membership: dict[str, Any] | None
    usefulness: dict[str, Any] | None
    cost: dict[str, Any]
    subject: dict[str, Any]
    data: dict[str, Any]
    curves: dict[str, list[tuple[int, float]]]
    shown: tuple[Picture, ...]
    pairs: tuple[Pair, ...]
    notices: tuple[str, ...]
    command: str
    made_by: dict[str, str]

    @property
    def principal(self) -> Figure | None:
        """The figure that the verdict rests on; None where there are too few samples for one."""
        return next((f for f in self.figures[:1] if f.metric in FIRST), None)

    def to_json(self) -> dict[str, Any]:
        """`verdict` is the word; a picture is told by its file."""
        whole = {k: v for k, v in vars(self).items() if k not in ("verdict", "figures", "shown", "pairs")}
        verdict = asdict(self.verdict)
        return {
            "schema": SCHEMA,
            "verdict": verdict.pop("word"),
            **verdict,
            "figures": [figure.to_json() for figure in self.figures],
            **whole,
            "shown": [{"title": p.title, "file": p.name} for p in self.shown],
            "pairs": [{"made": p.made, "train": p.train, "suspicion": p.suspicion} for p in self.pairs],
        }
