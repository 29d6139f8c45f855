"""A report in a few lines for the terminal: verdict first, then each figure between its floor and its baselines."""

from aurify.evaluate import page_facts
from aurify.evaluate.figure import Figure
from aurify.evaluate.report import Report
from aurify.evaluate.rounding import bounded

ARROWS = {"lower": "lower is better", "higher": "higher is better", "real": "like real is better"}

NOTICES = 5  # shown on the screen


def sections(report: Report) -> dict[str, list[str]]:
    """Lines by title."""
    verdict = report.verdict
    found = {f"verdict: {verdict.word}": [*verdict.reasons, *verdict.advice]}
    if report.figures:
        protocol = next((f.protocol for f in report.figures if f.protocol.embedder), report.figures[0].protocol)
        found["figures"] = [line(f) for f in report.figures]
        found["protocol"] = [
            f"n = {protocol.n} on each side; reference: {protocol.reference}; intervals hold 95 %",
            f"embedder: {protocol.embedder} ({protocol.weights}); seed {protocol.seed}",
        ]
    for name in ("copying", "membership", "usefulness"):
        part = getattr(report, name)
        if part:
            found[name] = list(part["sentences"])
    unsaid = [notice for notice in report.notices if notice not in verdict.reasons]
    if unsaid:
        rest = len(unsaid) - NOTICES
        found["also"] = unsaid[:NOTICES] + ([f"and {rest} more in the report"] if rest > 0 else [])
    if report.cost:
        found["cost"] = [f"{page_facts.spoken(k)}: {v}" for k, v in page_facts.costs(report.cost).items()]
    return found


def line(f: Figure) -> str:
    """Title, value, real samples in its place and the best plain baseline, each with its interval; the direction."""
    parts = [f"{f.title}: {bounded(f.measured)}"]
    if f.floor is not None:
        parts.append(f"real in its place {bounded(f.floor)}")
    best = f.best_baseline
    if best:
        parts.append(f"best plain baseline ({best}) {bounded(f.ceilings[best])}")
    embedder = f" [{f.protocol.embedder}]" if f.protocol.embedder else ""
    note = f" {f.note}" if f.note else ""
    return "; ".join(parts) + f"; {ARROWS[f.better]}{embedder}.{note}"
