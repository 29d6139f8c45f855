"""compare.html: one file that lays runs side by side, who comes first at the top."""

import os
from collections.abc import Callable
from pathlib import Path

from aurify.evaluate import compare_told, page_facts, page_figures, page_pictures
from aurify.evaluate import page_sections as sections
from aurify.evaluate.compare import Comparison, Entry, options_in_words
from aurify.evaluate.figure import Measured
from aurify.evaluate.markup import Html, document, el, text
from aurify.evaluate.page_charts import Mark
from aurify.evaluate.page_style import STYLE

MOST = 12  # runs whose samples are shown
WORDS = {word: f"word {word}" for word in ("gold", "promising", "bubble")}  # the colours of verdicts


def page(found: Comparison, out: Path) -> str:
    """The page as HTML; links to the runs' own reports are relative to `out`, the folder that it stands in."""
    names = ", ".join(side.name for side in found.sides)
    made: tuple[tuple[str, str, Callable[[], list[Html]]], ...] = (
        ("table", "Side by side", lambda: table(found)),
        ("samples", "Samples", lambda: samples(found)),
        ("differences", "Differences", lambda: differences(found)),
        ("figures", "Figures", lambda: figures(found)),
        ("failures", "What went wrong", lambda: failures(found)),
        ("protocol", "Protocol", lambda: protocol(found)),
        ("reports", "Every run's own report", lambda: reports(found, out)),
        ("repeat", "Repeat it", lambda: [el("pre", el("code", text(found.command, 20_000)), tabindex=0)]),
    )
    links = el("nav", el("ul", *(el("li", el("a", title, href=f"#{name}")) for name, title, _ in made)),
               aria_label="Sections")  # fmt: skip
    shown = [el("section", el("h2", title), *content(), id=name) for name, title, content in made]
    word, why = compare_told.headline(found)
    small = el("small", f"{names}, compared")
    first = el("section", el("h1", small, " ", word), el("ul", el("li", why), class_="reasons"), class_="verdict")
    return document(f"{names} - aurify", STYLE, "", el("main", first, links, *shown))


def table(found: Comparison) -> list[Html]:
    head, *body = compare_told.rows(found)
    lines = [
        el("tr", el("th", row[0], scope="row"), *(el("td", c, class_=WORDS.get(c)) for c in row[1:])) for row in body
    ]
    heads = el("tr", *(el("th", cell, scope="col") for cell in head))
    told = "In brackets: 95 % intervals."
    if any(len(side.entries) > 1 for side in found.sides):
        told = "Means over trainings with unlike seeds; in brackets Student's 95 % interval over them."
    notes = [el("p", note) for note in found.notes]
    whole = el("div", el("table", el("thead", heads), el("tbody", *lines)), class_="table sides")
    return [el("p", told), *notes, whole]


def samples(found: Comparison) -> list[Html]:
    """A sheet of every run, and one of real samples."""
    shown = [(f"{e.name}: {e.report['verdict']}", e.shown[0]) for e in found.entries if e.shown][:MOST]
    shown += [(e.shown[1].title, e.shown[1]) for e in found.entries if len(e.shown) > 1][:1]
    if not shown:
        return [el("p", "No samples are shown.")]
    largest = page_pictures.limit(picture for _, picture in shown)
    sheets = [page_pictures.figure(picture, largest, caption) for caption, picture in shown]
    return [el("div", *sheets, class_="gallery sheets")]


def differences(found: Comparison) -> list[Html]:
    """Those of the principal figure, then all others on demand."""
    first = [d.sentence for d in found.differences if d.figure == found.principal]
    others = [d.sentence for d in found.differences if d.figure != found.principal]
    told = "Each interval holds 95 % by itself: of twenty figures without a difference, about one shows one by chance."
    rest = el("details", el("summary", f"{len(others)} differences of other figures"), sections.sentences(others))
    return [el("p", told), sections.sentences(first), rest] if others else [el("p", told), sections.sentences(first)]


def figures(found: Comparison) -> list[Html]:
    return [figure(found, key, place) for place, key in enumerate(found.figures)]


def figure(found: Comparison, key: str, place: int) -> Html:
    """One figure of every side, of real samples and of the best plain baseline, on one axis."""
    f = found.figures[key]
    named: list[tuple[str, Measured, Mark]] = [
        (side.name, m, "made") for side in found.sides if (m := side.measured(key)) is not None
    ]
    if f.floor is not None:
        named.append(("other real samples", f.floor, "real"))
    if f.best_baseline:
        named.append((f"baseline: {f.best_baseline}", f.ceilings[f.best_baseline], "plain"))
    title = el("h3", page_figures.titled(f), id=f"figure-{place}")
    head = el("header", title, el("p", page_figures.DIRECTIONS[f.better]))
    return el("article", head, page_figures.chart(f, named), class_="figure", aria_labelledby=f"figure-{place}")


def failures(found: Comparison) -> list[Html]:
    told = [f"{e.name}: {n}" for e in found.entries for n in e.report["notices"]]
    return [sections.sentences(told)] if told else [el("p", "Nothing was noticed.")]


def protocol(found: Comparison) -> list[Html]:
    """What is the same for all, and what each was trained on."""
    told = (
        "All were measured against the same real samples with the same embedder and as many samples each. Differences "
        "of two runs lose the same blocks of samples on both sides; those of several trainings are paired by seed."
    )
    if not found.principal:
        return [el("p", told)]
    same = {k: v for k, v in vars(found.figures[found.principal].protocol).items() if k != "options"}
    asked = {name: options_in_words(options) for name, options in found.asked.items()}
    return [el("p", told), page_facts.facts(same | {"how samples were asked for": asked})]


def reports(found: Comparison, out: Path) -> list[Html]:
    return [el("ul", *(el("li", link(entry, out)) for entry in found.entries))]


def link(entry: Entry, out: Path) -> Html:
    place = os.path.relpath(entry.run / "report" / "report.html", out)
    return el("a", f"{entry.name}: {entry.report['verdict']}", href=place)
