"""MODEL_CARD.md: the facts of a report under the headings of Mitchell et al. 2019, "Model Cards for Model Reporting".

The front matter is that of Hugging Face model cards: one `key: value` a line, values as JSON, which YAML 1.2 reads.
Everything that comes from a user or a model is escaped, so no label can become a heading, a link or a picture.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aurify.evaluate import page_curves, rounding
from aurify.evaluate.figure import Figure
from aurify.evaluate.markup import plain
from aurify.evaluate.page_facts import costs, said, spoken
from aurify.evaluate.page_figures import DIRECTIONS, titled
from aurify.evaluate.page_sections import sentence, subject_name
from aurify.evaluate.report import Pair, Report

TASKS = {  # pipeline tags of Hugging Face
    "image": "unconditional-image-generation",
    "pixels": "unconditional-image-generation",
    "text": "text-generation",
}
LONGEST = 500  # characters of one value
MOST = 40  # entries of one list

UNFIT = (
    "Not for decisions about people, and not where a wrong or copied sample does harm, unless you have looked at that "
    "case yourself."
)
ETHICS = (
    "The model can repeat what its training data holds: its biases, its errors, and parts of it word for word. "
    "The findings below say how far that was seen."
)


def card(report: Report) -> str:
    """The model card as Markdown (GitHub's), UTF-8 once written."""
    title = f"# Model card: {escaped(subject_name(report))}"
    parts = [front_matter(report), title, *(_section(name, lines) for name, lines in sections(report).items())]
    return "\n\n".join(parts) + "\n"


def front_matter(report: Report) -> str:
    """What Hugging Face reads: licence, task and tags. A licence that nobody stated is `unknown`."""
    subject = report.subject
    tags = [str(subject[key]) for key in ("family", "codec") if subject.get(key)]
    fields = {
        "license": str(subject.get("licence") or "unknown"),
        "library_name": "aurify",
        "pipeline_tag": TASKS.get(str(subject.get("codec"))),
        "tags": ["aurify", "generative", *tags],
    }
    lines = [f"{key}: {_json(value)}" for key, value in fields.items() if value is not None]
    return "\n".join(["---", *lines, "---"])


def _json(value: Any) -> str:
    values = [plain(v, LONGEST) for v in value] if isinstance(value, list) else plain(value, LONGEST)
    return json.dumps(values, ensure_ascii=False)


def sections(report: Report) -> dict[str, list[str]]:
    """Headings of Mitchell et al. 2019, Section 4, with their lines."""
    v = report.verdict
    ethics = [ETHICS, *_finding("Copying", report.copying), *_closest(report.pairs)]
    ethics += _finding("Membership", report.membership)
    return {
        "Model details": _facts(report.subject) or ["Nothing is known of the model: a folder of samples was judged."],
        "Verdict": [f"**{v.word}**", *_bullets(v.reasons)],
        "Intended use": ["To make samples like its training data, for uses that the data's licence allows.", UNFIT],
        "Factors": _factors(report),
        "Metrics": [*_bullets(_metric(f) for f in report.figures[:MOST])] or ["No figure could be measured."],
        "Evaluation data": _evaluation(report),
        "Training data": _facts(report.data) or ["Not known."],
        "Quantitative analyses": [
            *_figures(report.figures),
            *_finding("Usefulness", report.usefulness),
            *_curves(report),
            *_shown(report),
        ],
        "Ethical considerations": ethics,
        "Caveats and recommendations": [*_bullets(v.advice), *_bullets(report.notices[:MOST])] or ["None."],
        "Cost": _facts(costs(report.cost)) or ["Not known."],
        "Repeat it": [fenced(report.command), *_facts(report.made_by)],
    }


def _section(name: str, lines: Sequence[str]) -> str:
    """Lines that begin with a bullet or a bar belong together; others are paragraphs."""
    out = f"## {name}\n"
    for before, line in zip(["", *lines], lines, strict=False):
        together = line[:2] in ("- ", "| ") and before[:2] == line[:2]
        out += line + "\n" if together else "\n" + line + "\n"
    return out.rstrip("\n")


def _factors(report: Report) -> list[str]:
    labels = report.data.get("labels")
    if not labels:
        return ["The data has no labels by which figures could be told apart."]
    return [f"Labels of the training data: {escaped(said('labels', labels))}."]


def _evaluation(report: Report) -> list[str]:
    if not report.figures:
        return ["None."]
    p = report.figures[0].protocol
    unseen = ", none of which the model was trained on" if report.subject.get("run") else ""
    return [escaped(f"{p.n:,} samples on each side, against {p.reference}{unseen}; {p.preprocessing}; data {p.data}.")]


def _metric(f: Figure) -> str:
    return f"{titled(f)} ({f.source}): {DIRECTIONS.get(f.better, f.better)[2:]}"


def _figures(figures: Sequence[Figure]) -> list[str]:
    """A table: the samples, real ones in their place, and the baselines, each with its interval."""
    if not figures:
        return ["No figure could be measured."]
    rows = ["| figure | whose | value | 95 % interval |", "| --- | --- | --- | --- |"]
    for f in figures[:MOST]:
        sets = {"these samples": f.measured, "other real samples": f.floor}
        sets |= {f"baseline: {name}": m for name, m in f.ceilings.items()}
        for name, m in sets.items():
            if m is not None:
                value, interval = rounding.measured(m)
                rows.append(f"| {escaped(titled(f))} | {escaped(name)} | {value} | {interval} |")
    return rows


def _finding(name: str, found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return [f"{name} was not measured."]
    told = found.get("sentences", ())
    return [f"**{name}**", *_bullets([told] if isinstance(told, str) else told)]


def _closest(pairs: Sequence[Pair]) -> list[str]:
    """The sample that is nearest to a training sample, where copies were looked for."""
    if not pairs:
        return []
    first = max(pairs, key=lambda p: p.suspicion)
    told = f"the nearest of all: {first.made} and the training sample {first.train}"
    return _bullets([f"{told} (suspicion {rounding.number(first.suspicion)}; the alarm's threshold is 0)"])


def _curves(report: Report) -> list[str]:
    """Where each loss began, where it ended and where it was least."""
    series = {("held-out " if k.startswith("held/") else "") + k.removeprefix("held/"): p
              for k, p in report.curves.items() if page_curves.finite(p)}  # fmt: skip
    told = _bullets(f"{k} {page_curves.ends(points)}" for k, points in list(series.items())[:MOST])
    return ["**Learning curves**", *told] if told else []


def _shown(report: Report) -> list[str]:
    """The files to look at, which lie beside the report."""
    files = _bullets(f"{p.title}: {p.name}" for p in report.shown if p.name)
    return ["**To look at, beside the report**", *files] if files else []


def _facts(facts: Mapping[str, Any]) -> list[str]:
    return [f"- {escaped(spoken(str(k)))}: {escaped(said(str(k), v))}" for k, v in list(facts.items())[:MOST]]


def _bullets(lines: Iterable[str]) -> list[str]:
    return [f"- {escaped(sentence(line))}" for line in lines]


def escaped(text: str) -> str:
    """Text that Markdown shows as it is: one line, no markup, no HTML, no links of its own."""
    line = " ".join(plain(text, LONGEST).split())
    line = re.sub(r"([\\`*_\[\]{}#|~$])", r"\\\1", line)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"(?i)\b(https?|ftp|mailto|www)([:.])", r"\1\\\2", line)  # GitHub links bare addresses
    line = re.sub(r"^([-+=])", r"\\\1", line)
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", line)


def fenced(code: str) -> str:
    """A block of code, whatever backticks it holds."""
    code = plain(code, 20_000)
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{code}\n{fence}"
