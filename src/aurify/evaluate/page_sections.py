"""The sections of the report page, each from its part of the report; what was not measured is said, not left out."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from aurify.evaluate import page_charts, page_curves, page_facts, page_figures, page_pictures, rounding
from aurify.evaluate.markup import Html, el, joined, text
from aurify.evaluate.report import Pair, Picture, Report

MOST = 24  # pictures, pairs, curves
NOTICES = 100

PROTOCOL = (
    "Each figure compares equal numbers of samples on both sides, so that figures of unlike sets can be compared.",
    "Beside it stand two bounds, measured the same way: other real samples in these samples' place, and plain "
    "baselines fitted on the spot. Lines are 95 % intervals of the block jackknife.",
    "Figures of two reports may be compared only where their protocols agree.",
)


def subject_name(report: Report) -> str:
    """What was judged, in a word: the run, else the folder."""
    return str(report.subject.get("run") or report.subject.get("folder") or "samples")


def sentence(words: str) -> str:
    """With a capital and a full stop."""
    words = words.strip()
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "!", "?", ":")) else ".")


def sentences(texts: Sequence[str]) -> Html:
    return el("ul", *(el("li", sentence(t)) for t in texts[:NOTICES]))


def verdict(report: Report) -> Html:
    """The word, large; what it rests on; what to do next."""
    v = report.verdict
    kind = v.word if v.word in ("gold", "promising", "bubble") else "untold"
    advice = [el("h2", "What to do next"), sentences(v.advice)] if v.advice else []
    about = {k: v for k, v in report.subject.items() if k in ("family", "codec", "parameters", "steps", "samples")}
    return el(
        "section",
        el("h1", el("small", f"Verdict on {subject_name(report)}"), " ", v.word[:1].upper() + v.word[1:]),
        el("ul", *(el("li", sentence(r)) for r in v.reasons[:NOTICES]), class_="reasons"),
        page_charts.skill(v.skill) if v.skill else None,
        el(
            "div",
            el("div", *advice) if advice else None,
            el("div", el("h2", "What was judged"), page_facts.facts(about)) if about else None,
            class_="columns",
        ),
        id="verdict",
        class_=f"verdict {kind}",
    )


def figures(report: Report) -> list[Html]:
    if not report.figures:
        return [el("p", "No figure could be measured.")]
    shown = [page_figures.figure(f, place) for place, f in enumerate(report.figures)]
    rests = "The verdict rests on the first one." if report.principal else "No verdict rests on any of these."
    return [el("p", rests), page_figures.legend(report.figures), *shown]


def finding(found: dict[str, Any] | None, missing: str) -> list[Html]:
    """Sentences, then the numbers they rest on."""
    if found is None:
        return [el("p", missing)]
    told = found.get("sentences", ())
    numbers = found.get("numbers", {k: v for k, v in found.items() if k not in ("title", "sentences")})
    tables = _lifted({k: v for k, v in numbers.items() if isinstance(v, dict)})
    single = {k: v for k, v in numbers.items() if not isinstance(v, dict)}
    return [
        sentences([told] if isinstance(told, str) else list(told)),
        *([page_facts.facts(tables)] if tables else []),
        *([el("details", el("summary", "All numbers"), page_facts.facts(single))] if single else []),
    ]


def _lifted(tables: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Groups of tables give way to what they hold."""
    groups = [v if any(isinstance(x, dict) for x in v.values()) else {k: v} for k, v in tables.items()]
    return {key: value for group in groups for key, value in group.items()}


def copying(report: Report) -> list[Html]:
    parts = finding(report.copying, "Copies were not looked for: nothing here says that these samples are new.")
    if report.pairs:
        largest = page_pictures.limit(everything_shown(report))
        parts.append(el("h3", "The closest pairs"))
        parts.append(el("p", "Each made sample beside the training sample nearest to it, the most suspicious first."))
        kind = "gallery" if report.pairs[0].picture.suffix == ".png" else "beside"
        parts.append(el("div", *(_pair(p, largest) for p in ordered(report.pairs)), class_=kind))
        parts.append(_more(len(report.pairs), "pairs"))
    return parts


def ordered(pairs: Sequence[Pair]) -> list[Pair]:
    """The most suspicious first."""
    return sorted(pairs, key=lambda p: -p.suspicion)[:MOST]


def everything_shown(report: Report) -> list[Picture]:
    """Every picture of the page."""
    return [*report.shown[:MOST], *(p.picture for p in ordered(report.pairs))]


def _pair(pair: Pair, largest: int) -> Html:
    where = "beyond the alarm's threshold, 0" if pair.suspicion > 0 else "not beyond the alarm's threshold, 0"
    suspicion = f"Suspicion {rounding.number(pair.suspicion)}, {where}."
    caption = f"{pair.made}, then the training sample nearest to it, {pair.train}. {suspicion}"
    return page_pictures.figure(pair.picture, largest, caption)


def _more(n: int, what: str) -> Html:
    return el("p", f"{n - MOST} more {what} are not shown here.", class_="soft") if n > MOST else joined()


def membership(report: Report) -> list[Html]:
    return finding(report.membership, "It was not measured whether one can tell what the model was trained on.")


def usefulness(report: Report) -> list[Html]:
    missing = "It was not measured whether another model learns from these samples as it does from real ones."
    return finding(report.usefulness, missing)


def shown(report: Report) -> list[Html]:
    if not report.shown:
        return [el("p", "No samples are shown.")]
    largest = page_pictures.limit(everything_shown(report))
    pictures = [page_pictures.figure(p, largest) for p in report.shown[:MOST]]
    return [el("div", *pictures, class_="gallery wide"), _more(len(report.shown), "pictures")]


def curves(report: Report) -> list[Html]:
    """Training and held-out losses of one name share a chart."""
    names = list(dict.fromkeys(name.removeprefix("held/") for name in report.curves))
    told = [
        page_curves.curves(n, report.curves.get(n, []), report.curves.get(f"held/{n}", []))
        for n in sorted(names, key=lambda n: not n.endswith("/loss"))[:MOST]
    ]
    charts = [chart for chart in told if chart is not None]
    if not charts:
        return [el("p", "There are no losses to show.")]
    return [el("div", *charts, class_="gallery wide"), _more(len(names), "curves")]


def diversity(report: Report) -> list[Html]:
    found = page_figures.of_variety(report.figures)
    if not found:
        return [el("p", "No figure here sees whether kinds of samples are missing or repeated.")]
    lines = [
        el("li", el("a", page_figures.titled(f), href=f"#figure-{place}"), page_figures.in_words(f))
        for place, f in found
    ]
    told = (
        "Whether kinds of samples are missing, or the same ones come again and again: distances see it too, mixed with "
        "everything else; these figures see it more plainly."
    )
    return [el("p", told), el("ul", *lines)]


def failures(report: Report) -> list[Html]:
    if not report.notices:
        return [el("p", "Nothing was noticed.")]
    rest = len(report.notices) - NOTICES
    return [sentences(report.notices), *([el("p", f"And {rest} more.")] if rest > 0 else [])]


def cost(report: Report) -> list[Html]:
    if not report.cost:
        return [el("p", "It is not known what the training cost.")]
    return [page_facts.facts(page_facts.costs(report.cost))]


def data(report: Report) -> list[Html]:
    licences = report.data.get("licences")
    unknown = "No licence is recorded for this data: find out what it allows before you share samples or weights."
    told = [] if licences else [el("p", unknown)]
    return [*told, page_facts.facts(report.data)]


def protocol(report: Report) -> list[Html]:
    parts: list[Html] = [el("p", " ".join(PROTOCOL))]
    if report.figures:
        each = [asdict(f.protocol) for f in report.figures]
        same = {k: v for k, v in each[0].items() if all(other[k] == v for other in each)}
        parts += [el("p", "The same for all figures of this page:"), page_facts.facts(same)]
    if report.subject:
        parts += [el("h3", "What was judged"), page_facts.facts(report.subject)]
    return parts


def repeat(report: Report) -> list[Html]:
    return [
        el("p", "This command repeats the whole evaluation:"),
        el("pre", el("code", text(report.command, 20_000)), tabindex=0),
    ]


def versions(report: Report) -> list[Html]:
    return [page_facts.facts(report.made_by)]
