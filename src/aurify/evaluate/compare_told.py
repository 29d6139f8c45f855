"""A comparison in words: one headline, one table."""

from collections import Counter
from typing import Any

from aurify.evaluate import interval, page_facts, rounding
from aurify.evaluate.compare import Comparison, Side
from aurify.evaluate.figure import Measured
from aurify.evaluate.page_figures import DIRECTIONS

COSTS = ("minutes", "memory_mib", "flops", "energy_wh")


def headline(found: Comparison) -> tuple[str, str]:
    """Who is first by the figure that the verdicts rest on, and why; neither a bubble nor what cannot be told is."""
    key = found.principal
    bubbles = [side.name for side in found.sides if "bubble" in side.verdicts]
    worth = [side for side in found.sides if side.name not in bubbles and key and ranked(side, key)]
    untold = [side.name for side in found.sides if side not in worth and side.name not in bubbles]
    out = unranked(bubbles, untold)
    if not worth or key is None:
        return ("Not enough data to tell" if untold else "None is worth it"), f"Nothing can be ranked. {out}"
    if len(worth) == 1:
        return f"Only {worth[0].name} {'can be ranked' if untold else 'is worth a look'}", out
    sign = 1 if found.figures[key].better == "lower" else -1
    first = min(worth, key=lambda side: sign * value(side, key))
    rest = [side.name for side in worth if side is not first]
    behind = {d.left if d.left != first.name else d.right for d in found.differences
              if d.figure == key and d.ahead == first.name}  # fmt: skip
    told = {"better than": [name for name in rest if name in behind],
            "no difference is shown to": [name for name in rest if name not in behind]}  # fmt: skip
    parts = "; ".join(f"{how} {listed(names)}" for how, names in told.items() if names)
    word = f"{first.name} comes first" if behind & set(rest) else "No difference shown"
    return word, f"By the {key}, {first.name} is nearest to real samples: {parts}. {out}".strip()


def ranked(side: Side, key: str) -> bool:
    """Whether each of its trainings has a verdict, and the figure that verdicts rest on."""
    return side.measured(key) is not None and "not enough data to tell" not in side.verdicts


def unranked(bubbles: list[str], untold: list[str]) -> str:
    """Who is left out of the ranking and why, in sentences."""
    parts = [f"{listed(bubbles)} {'are bubbles' if len(bubbles) > 1 else 'is a bubble'}."] if bubbles else []
    parts += [f"Of {listed(untold)} there is not enough data to tell."] if untold else []
    return " ".join(parts)


def value(side: Side, key: str) -> float:
    measured = side.measured(key)
    assert measured is not None
    return measured.value


def listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def rows(found: Comparison) -> list[list[str]]:
    """Verdict, skill, figures and costs, a column for each side, then what real samples and the best baseline reach.
    The first head names the embedder of all figures that do not name one."""
    usual = found.figures[found.principal].protocol.embedder if found.principal else ""
    told = [[f"features: {usual}", *(side.name for side in found.sides), "real in its place", "best plain baseline"]]
    told.append(["verdict", *(words(side) for side in found.sides), "", ""])
    told.append(["skill", *(skill(side) for side in found.sides), "100 %", "0 %"])
    for key, figure in found.figures.items():
        best = figure.best_baseline
        baseline = f"{rounding.number(figure.ceilings[best].value)} ({best})" if best else "-"
        floor = rounding.bounded(figure.floor) if figure.floor else "-"
        name = figure.title if figure.protocol.embedder == usual else key
        told.append([f"{name} {DIRECTIONS[figure.better][0]}", *(cell(s.measured(key)) for s in found.sides),
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
    (word, why), (head, *body) = headline(found), rows(found)
    escaped = [[cell.replace("|", "\\|") for cell in cells] for cells in (head, ["---"] * len(head), *body)]
    lines = ["| " + " | ".join(cells) + " |" for cells in escaped]
    shown = [f"- {line}" for line in (*found.notes, *(d.sentence for d in found.differences))]
    return "\n".join([f"**{word}.** {why}", "", *lines, "", *shown, "", f"Made by `{found.command}`.", ""])
