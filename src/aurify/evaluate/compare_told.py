"""A comparison in words: one headline, one table."""

from collections import Counter
from typing import Any

from aurify.evaluate import interval, page_facts, rounding
from aurify.evaluate.compare import Comparison, Side
from aurify.evaluate.figure import Measured
from aurify.evaluate.page_figures import DIRECTIONS

COSTS = ("minutes", "memory_mib", "flops", "energy_wh")


def headline(found: Comparison) -> str:
    """Who is first by the figure that the verdicts rest on; a bubble never is."""
    key = found.principal
    worth = [side for side in found.sides if key and side.measured(key) and "bubble" not in side.verdicts]
    if not worth or key is None:
        return "None of them is worth it: each is a bubble, or has no figure that a verdict could rest on."
    bubbles = [side.name for side in found.sides if side not in worth]
    out = f" {listed(bubbles)} {'are' if len(bubbles) > 1 else 'is'} out of the question." if bubbles else ""
    if len(worth) == 1:
        return f"Only {worth[0].name} is worth a look." + out
    sign = 1 if found.figures[key].better == "lower" else -1
    first = min(worth, key=lambda side: sign * value(side, key))
    rest = [side.name for side in worth if side is not first]
    behind = {d.left if d.left != first.name else d.right for d in found.differences
              if d.figure == key and d.ahead == first.name}  # fmt: skip
    beaten, level = [name for name in rest if name in behind], [name for name in rest if name not in behind]
    told = {"better than": beaten, "no difference shown to": level}
    parts = "; ".join(f"{how} {listed(names)}" for how, names in told.items() if names)
    return f"{first.name} comes first by the {key}: {parts}.{out}"


def value(side: Side, key: str) -> float:
    measured = side.measured(key)
    assert measured is not None
    return measured.value


def listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def rows(found: Comparison) -> list[list[str]]:
    """Verdict, skill, figures and costs, a column for each side, then what real samples and the best baseline reach."""
    told = [["", *(side.name for side in found.sides), "real in its place", "best plain baseline"]]
    told.append(["verdict", *(words(side) for side in found.sides), "", ""])
    told.append(["skill", *(skill(side) for side in found.sides), "100 %", "0 %"])
    for key, figure in found.figures.items():
        best = figure.best_baseline
        baseline = f"{rounding.number(figure.ceilings[best].value)} ({best})" if best else "-"
        floor = rounding.bounded(figure.floor) if figure.floor else "-"
        told.append([f"{key} {DIRECTIONS[figure.better][0]}", *(cell(s.measured(key)) for s in found.sides),
                     floor, baseline])  # fmt: skip
    for name in COSTS:
        told.append([page_facts.spoken(name), *(cost(side, name) for side in found.sides), "", ""])
    told.append(["parameters", *(cost(side, "parameters") for side in found.sides), "", ""])
    return told


def words(side: Side) -> str:
    """One verdict, or how often each came."""
    counts = Counter(side.verdicts)
    return ", ".join(f"{word} ({n} of {len(side.verdicts)})" if len(side.verdicts) > 1 else word
                     for word, n in counts.most_common())  # fmt: skip


def skill(side: Side) -> str:
    found = [entry.report["skill"] for entry in side.entries]
    if None in found or any(s["value"] is None for s in found):
        return "-"
    if len(found) > 1:
        m = interval.pooled([s["value"] for s in found])
    else:
        m = Measured(found[0]["value"], tuple(found[0]["interval"]))
    low, high = m.interval
    return f"{rounding.share(m.value)} ({rounding.share(low)} to {rounding.share(high)})"


def cell(m: Measured | None) -> str:
    return rounding.bounded(m) if m else "-"


def cost(side: Side, name: str) -> str:
    """The mean over its trainings."""
    known: list[Any] = [(entry.report["cost"] | entry.report["subject"]).get(name) for entry in side.entries]
    return "-" if None in known else rounding.number(sum(known) / len(known))


def markdown(found: Comparison) -> str:
    """Headline, table and differences."""
    head, *body = rows(found)
    escaped = [[cell.replace("|", "\\|") for cell in cells] for cells in (head, ["---"] * len(head), *body)]
    lines = ["| " + " | ".join(cells) + " |" for cells in escaped]
    shown = [f"- {d.sentence}" for d in found.differences]
    return "\n".join([headline(found), "", *lines, "", *shown, "", f"Made by `{found.command}`.", ""])
