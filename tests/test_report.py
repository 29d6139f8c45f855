"""The report page opens anywhere, asks nobody for anything and runs nothing, whatever the report holds."""

import base64
import hashlib
import json
import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from rich.markdown import Markdown

import reports
from aurify import png
from aurify.evaluate import page_charts, page_curves, page_style, rounding
from aurify.evaluate.card import card, escaped, fenced
from aurify.evaluate.figure import Measured
from aurify.evaluate.figures import FIRST
from aurify.evaluate.markup import el, plain
from aurify.evaluate.page import LIMIT, SECTIONS, page
from aurify.evaluate.page_facts import facts
from aurify.evaluate.report import Pair, Picture
from reader import Reader

REPORTS = {"full": reports.full, "nearly empty": reports.nearly_empty, "hostile": reports.hostile}


@pytest.fixture(params=REPORTS)
def made(request) -> str:
    return page(REPORTS[request.param]())


def test_the_page_is_well_formed_and_every_id_is_its_own(made):
    reader = Reader(made)
    ids = [a["id"] for _, a, _ in reader.elements if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for a in reader.all("a")}
    assert targets and targets <= set(ids)
    labelled = {a["aria-labelledby"] for _, a, _ in reader.elements if "aria-labelledby" in a}
    assert labelled <= set(ids)


def test_the_page_loads_nothing_and_runs_nothing(made):
    reader = Reader(made)
    for tag, attributes, _ in reader.elements:
        assert tag not in {"script", "iframe", "object", "embed", "form", "base", "video", "audio", "use", "image"}
        for name, value in attributes.items():
            assert not name.startswith("on") and name not in {"style", "srcset", "srcdoc", "action", "background"}
            if name in {"src", "href"}:
                assert value is not None and value.startswith(("data:", "#"))
    (style,) = reader.texts["style"]
    assert "url(" not in style and "@import" not in style


def test_the_policy_of_the_page_allows_its_one_style_and_pictures_as_data_and_nothing_else(made):
    reader = Reader(made)
    (policy,) = [a["content"] for a in reader.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    (style,) = reader.texts["style"]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    places = [tag for tag, _, _ in reader.elements]
    assert places.index("meta") < places.index("style")


def test_the_verdict_is_the_first_thing_a_reader_meets():
    for name, word in (("full", "Promising"), ("nearly empty", "Not enough data to tell"), ("hostile", "Bubble")):
        reader = Reader(page(REPORTS[name]()))
        body = [(tag, a) for tag, a, above in reader.elements if "body" in above]
        assert [tag for tag, _ in body[:3]] == ["main", "section", "h1"]
        assert body[1][1]["id"] == "verdict"
        assert len(reader.all("h1")) == 1 and reader.texts["h1"][-1].strip() == word


def test_every_reason_advice_notice_and_number_of_the_report_stands_on_the_page():
    report = reports.full()
    text = Reader(page(report)).text.lower()
    told = [*report.verdict.reasons, *report.verdict.advice, *report.notices, report.command, *report.made_by.values()]
    told += [s for found in (report.copying, report.membership, report.usefulness) for s in (found or {})["sentences"]]
    told += [name for p in report.pairs for name in (p.made, p.train)]
    for figure in report.figures:
        sets = [figure.measured, *([figure.floor] if figure.floor else []), *figure.ceilings.values()]
        told += [figure.title, figure.source, figure.note, figure.protocol.weights, *figure.ceilings]
        told += [part for m in sets for part in rounding.measured(m)]
    assert not [t for t in told if t.lower().rstrip(".") not in text]


def test_the_figure_that_the_verdict_rests_on_is_named_only_where_there_is_one():
    report = reports.full()
    rests = "The verdict rests on the first one."
    assert rests in Reader(page(report)).text
    without = replace(report, figures=tuple(f for f in report.figures if f.metric not in FIRST))
    text = Reader(page(without)).text
    assert rests not in text and "No verdict rests on any of these" in text


def test_what_was_not_measured_is_said():
    text = Reader(page(reports.nearly_empty())).text
    for sentence in ("No figure could be measured", "Copies were not looked for", "No licence is recorded",
                     "No samples are shown", "not known what the training cost"):  # fmt: skip
        assert sentence in text
    titles = Reader(page(reports.full())).texts["h2"]
    assert titles[2:] == [title for name, title, _ in SECTIONS if name != "rest"]


def test_hostile_texts_are_shown_and_do_nothing():
    html = page(reports.hostile())
    reader = Reader(html)
    assert not {"b", "script"} & {tag for tag, _, _ in reader.elements}
    assert len(reader.all("img")) == 1 and set(reader.all("img")[0]) <= {"src", "alt", "width", "height", "class"}
    assert html.count("<!--") == 0 and html.count("</style>") == 1
    assert 'onerror=alert(1)>"' in reader.text and "&lt;b&gt;" in reader.text  # as text, to the letter
    assert not [c for c in html if ord(c) < 32 and c != "\n"] and "\u202e" not in html
    html.encode()  # no half characters are left


@pytest.mark.parametrize("name", REPORTS)
def test_pages_and_cards_do_not_depend_on_when_they_are_made(name):
    assert page(REPORTS[name]()) == page(REPORTS[name]())
    assert card(REPORTS[name]()) == card(REPORTS[name]())


def test_the_page_stays_small_whatever_the_report_holds():
    noise = np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)
    heavy, light = Picture("heavy", ".png", png.encode(noise, level=0)), Picture("light", ".png", reports.sheet(0))
    many = reports.full()
    words = "<&>" * 4000
    many = replace(
        many,
        shown=(heavy, light, *[heavy] * 30, *[Picture("texts", ".txt", words.encode())] * 30),
        pairs=tuple(Pair(words, words, float(i), heavy) for i in range(100)),
        notices=(words,) * 1000,
        curves=dict.fromkeys((f"{i}/loss" for i in range(40)), reports.losses(20_000, 2, 1, 0)),
        data={"labels": [words] * 5000, "counts": {f"{i}{words}": i for i in range(5000)}},
        made_by={str(i): words for i in range(1000)},
    )
    html = page(many)
    assert len(html.encode()) < LIMIT
    reader = Reader(html)
    assert "Left out here: it has 1.3 MB." in reader.text
    assert [a["alt"] for a in reader.all("img")].count("light: a picture of 289 by 231 pixels") == 1


def test_pictures_survive_on_the_page_byte_for_byte():
    report = reports.full()
    inside = [base64.b64decode(a["src"].partition(",")[2]) for a in Reader(page(report)).all("img")]
    wanted = [p.data for p in report.shown if p.suffix == ".png"] + [p.picture.data for p in report.pairs]
    assert sorted(inside) == sorted(wanted)
    assert all(a["alt"] for a in Reader(page(report)).all("img"))


def contrast(a: str, b: str) -> float:
    """WCAG 2.2, relative luminance and contrast ratio, from the definition."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_read_in_light_and_dark():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    schemes = [dict(re.findall(r"--(\w+): (#\w{6})", part)) for part in page_style.COLOURS.split("@media")]
    assert len(schemes) == 2 and schemes[0].keys() == schemes[1].keys()
    for colours in schemes:
        for ground in ("ground", "raised"):
            for ink in ("ink", "soft", "mark", "gold", "promising", "bubble", "untold"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        for line in ("mark", "real", "plain"):
            assert contrast(colours[line], colours["ground"]) >= 3
            assert contrast(colours[line], colours["band"]) >= 3


def test_places_on_an_axis_keep_the_order_and_the_linear_axis_keeps_ratios():
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=9), 10 ** rng.uniform(-3, 4, 9), rng.normal(size=9) * 10 ** rng.uniform(-3, 4, 9)):
        axis = page_charts.axis_of(values.tolist())
        assert axis is not None
        places = [axis.at(v) for v in sorted(values.tolist())]
        assert all(a < b for a, b in pairwise(places))
        assert places[0] == pytest.approx(page_charts.EDGE) and places[-1] == pytest.approx(100 - page_charts.EDGE)
        assert 2 <= len(axis.ticks()) <= 5 and all(axis.low <= t <= axis.high for t in axis.ticks())
    linear = page_charts.axis_of([1.0, 2.0, 5.0])
    assert linear is not None and linear.scale == "linear"
    assert (linear.at(2) - linear.at(1)) * 3 == pytest.approx(linear.at(5) - linear.at(2))
    log = page_charts.axis_of([1.0, 10.0, 1000.0])
    assert log is not None and log.scale == "log" and log.ticks() == pytest.approx([1, 10, 100, 1000])
    assert (log.at(10) - log.at(1)) * 2 == pytest.approx(log.at(1000) - log.at(10))
    assert page_charts.axis_of([math.nan, math.inf]) is None
    assert page_charts.axis_of([2.0, 2.0]).at(2.0) == pytest.approx(50)


def test_thinned_curves_keep_their_extremes_and_their_gaps():
    points = [(s, math.sin(s / 500) + (9 if s == 7321 else 0)) for s in range(20_000)]
    points[15_000] = (15_000, math.nan)
    thin = page_curves.thinned(points)
    assert len(thin) <= page_curves.POINTS and thin == sorted(thin, key=lambda p: p[0])
    known = [v for _, v in thin if math.isfinite(v)]
    assert max(known) == max(v for _, v in points if math.isfinite(v)) and (7321, points[7321][1]) in thin
    assert sum(math.isnan(v) for _, v in thin) == 1
    axis = page_charts.Axis(-1, 10)
    assert len(page_curves.paths(points, axis, (0, 19_999))) == 2  # the line is broken where nothing is known


def test_digits_follow_the_interval():
    assert rounding.measured(Measured(0.0123456, (0.0101, 0.0146))) == ("0.0123", "0.0101 to 0.0146")
    assert rounding.measured(Measured(1234.5, (1100.0, 1369.0))) == ("1,230", "1,100 to 1,370")
    assert rounding.measured(Measured(-0.00001, (-0.04, 0.04)))[0] == "0.000"
    assert rounding.measured(Measured(math.nan, (math.nan, math.nan))) == ("not defined", "not known")
    assert rounding.number(3.14159) == "3.142" and rounding.number(12.0) == "12"
    assert rounding.number(-math.inf) == "\u2212infinite"
    assert rounding.number(1.234e-9) == "1.23 × 10⁻⁹"


def test_the_report_as_json_is_strict_and_every_field_stands_in_the_schema():
    for make in (reports.full, reports.nearly_empty):
        whole = make().to_json()
        assert json.loads(json.dumps(whole, allow_nan=False)) == json.loads(json.dumps(whole))
        assert whole["verdict"] == make().verdict.word
    whole = reports.full().to_json()
    schema = (Path(__file__).parent.parent / "docs/evaluation/report.md").read_text(encoding="utf-8")
    told = {name for line in schema.splitlines() if line.startswith("| `") for name in re.findall("`(.+?)`", line)}
    figure = whole["figures"][0]
    parts = (whole, whole["skill"], figure, figure["measured"], figure["protocol"], whole["pairs"][0], whole["cost"])
    fields = {name for part in parts for name in part}
    assert not fields - told


def test_texts_stand_one_by_one_with_their_own_lines():
    page_of_texts = Picture("texts", ".txt", b"one\n  two\n\n\n--------\n\n\n\nthree\n--------x\n")
    report = replace(reports.nearly_empty(), shown=(page_of_texts,), command="")
    reader = Reader(page(report))
    assert reader.texts["pre"] == ["one\n  two", "three\n--------x"]
    assert next(a for a in reader.all("div") if a.get("class") == "texts")["tabindex"] == "0"


def test_texts_of_markup_are_escaped_and_markup_is_not():
    assert el("p", "2 < 3 & 4", el("b", "x"), class_="a") == '<p class="a">2 &lt; 3 &amp; 4<b>x</b></p>'
    assert el("a", title='"><script>') == '<a title="&quot;&gt;&lt;script&gt;"></a>'
    assert el("p", hidden=True, id=None) == "<p hidden></p>"
    assert plain("a\x1b\ud800\u202eb\r\nc\rd") == "a\ufffd\ufffd\ufffdb\nc\nd"
    assert plain("x" * 99, 10) == "x" * 9 + "…"


def test_nested_findings_become_words_and_tables():
    planted = [{"kind": "exact", "interval": [0.98, 1.0]}]
    numbers = {"seed": 12345, "n": 12345, "known": True, "unknown": None, "many": list(range(100))}
    html = facts({"planted": planted, "false_alarms": {"rate": 0.001}, **numbers})
    text = re.sub("<[^>]+>", " ", html)
    for words in ("0.98 to 1", "0.001", " 12345 ", "12,345", "yes", "not known", "and 76 more", "false alarms"):
        assert words in text


@pytest.mark.parametrize("name", REPORTS)
def test_the_card_has_its_front_matter_and_the_sections_of_mitchell_et_al(name):
    text = card(REPORTS[name]())
    _, front, body = text.split("---\n", 2)
    fields = dict(line.split(": ", 1) for line in front.splitlines())
    assert list(fields) == [k for k in ("license", "library_name", "pipeline_tag", "tags") if k in fields]
    values = {key: json.loads(value) for key, value in fields.items()}
    assert values["library_name"] == "aurify" and values["license"] == "unknown"
    assert all(isinstance(tag, str) for tag in values["tags"])
    tokens = Markdown(body).parsed
    titles = [tokens[i + 1].content for i, t in enumerate(tokens) if t.type == "heading_open" and t.tag == "h2"]
    wanted = ["Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
              "Quantitative analyses", "Ethical considerations", "Caveats and recommendations"]  # fmt: skip
    assert [t for t in titles if t in wanted] == wanted and len(titles) == len(wanted) + 3


def test_hostile_texts_do_nothing_in_the_card():
    text = card(reports.hostile())
    tokens = Markdown(text.split("---\n", 2)[2]).parsed
    kinds = [t.type for token in tokens for t in (token, *(token.children or []))]
    assert not {"html_block", "html_inline", "link_open", "image", "code_inline", "hr"} & set(kinds)
    assert sum(k == "heading_open" for k in kinds) == 13 and kinds.count("fence") == 1
    rest = text.replace(fenced(reports.hostile().command), "")
    assert rest != text and "https://evil" not in rest.split("---\n", 2)[2] and rest.count("\n---\n") == 1


def test_the_card_shows_every_figure_with_its_interval():
    report = reports.full()
    text = card(report)
    tokens = Markdown(text.split("---\n", 2)[2]).parsed
    rows = sum(t.type == "tr_open" for t in tokens)
    assert rows == 1 + sum(1 + (f.floor is not None) + len(f.ceilings) for f in report.figures)
    for f in report.figures:
        assert rounding.measured(f.measured)[1] in text


@pytest.mark.parametrize(
    "text", ["- x", "1. x", "# x", "a|b", "<b>", "*a* _b_ `c`", "[a](b)", "> q", "+ x", "=== x", "~~x~~"]
)
def test_escaped_words_read_as_they_were_written(text):
    (token,) = [t for t in Markdown(escaped(text)).parsed if t.type == "inline"]
    assert "".join(c.content for c in token.children) == text
    assert Markdown(escaped(text)).parsed[0].type == "paragraph_open"
