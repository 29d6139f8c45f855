"""report.html: one file that tells a person what the samples are worth, the verdict first.

It opens from the disk, asks nobody for anything, runs nothing, and stays under LIMIT bytes whatever the report holds.
"""

from collections.abc import Callable

from aurify.evaluate import page_sections as sections
from aurify.evaluate.markup import Html, document, el
from aurify.evaluate.page_style import STYLE
from aurify.evaluate.report import Report

LIMIT = 5_000_000  # bytes

SECTIONS: tuple[tuple[str, str, Callable[[Report], list[Html]]], ...] = (
    ("figures", "Figures", sections.figures),
    ("copying", "Copying", sections.copying),
    ("membership", "Membership", sections.membership),
    ("usefulness", "Usefulness", sections.usefulness),
    ("samples", "Samples beside real ones", sections.shown),
    ("curves", "Learning curves", sections.curves),
    ("diversity", "Diversity", sections.diversity),
    ("failures", "What went wrong", sections.failures),
    ("cost", "Cost", sections.cost),
    ("data", "Data and licences", sections.data),
    ("protocol", "Protocol", sections.protocol),
    ("repeat", "Repeat it", sections.repeat),
    ("versions", "Made by", sections.versions),
)


def page(report: Report) -> str:
    """The page of one evaluation as HTML, UTF-8 once written."""
    made = [(name, title, content(report)) for name, title, content in SECTIONS]
    made = [(name, title, parts) for name, title, parts in made if parts]
    links = el("nav", el("ul", *(el("li", el("a", title, href=f"#{name}")) for name, title, _ in made)),
               aria_label="Sections")  # fmt: skip
    shown = [el("section", el("h2", title), *parts, id=name) for name, title, parts in made]
    body = el("main", sections.verdict(report), links, *shown)
    title = f"{report.verdict.word}: {sections.subject_name(report)} - aurify"
    return document(title, STYLE, "", body)
