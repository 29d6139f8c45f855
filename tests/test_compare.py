"""Runs are compared under one protocol only, differences are paired, and a page says who comes first and who is out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import reports
import toys
from aurify import loop
from aurify.errors import UserError
from aurify.evaluate import compare, compare_files, compare_page, compare_told
from aurify.evaluate.compare import Comparison, Entry, Side
from aurify.evaluate.figure import Figure, Measured
from aurify.evaluate.figures import FIRST
from aurify.evaluate.page import LIMIT
from reader import Reader


def side(name, values, verdict="promising"):
    """Trainings whose principal figure has these values, each known to about one percent."""
    rng, entries = np.random.default_rng(len(name)), []
    for i, value in enumerate(values):
        without = tuple(value * (1 + 1e-3 * rng.standard_normal(20)))
        measured = Measured(value, (0.99 * value, 1.01 * value), without)
        figures = {f.key: f for f in (replace(reports.figures()[0], measured=measured), *reports.figures()[1:])}
        report = {"verdict": verdict, "skill": {"value": 0.5, "interval": [0.4, 0.6]}, "notices": [],
                  "cost": {"minutes": 5.0}, "subject": {"parameters": 1000}}  # fmt: skip
        run = f"{name}-seed{i}"
        entries.append(Entry(run, Path(run), report, figures, ()))
    return Side(name, tuple(entries))


def compared(*sides):
    return Comparison(sides, tuple(compare.differences(sides)), "aurify compare")


def test_several_trainings_are_paired_by_seed():
    a, b = [3.1, 2.9, 3.4, 3.0], [2.5, 2.6, 2.7, 2.4]
    found = compared(side("a", a), side("b", b))
    m = found.differences[0].measured
    theirs = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (m.value, *m.interval) == pytest.approx((np.mean(a) - np.mean(b), *theirs), rel=1e-4)
    mean = found.sides[0].measured(found.principal)
    assert mean.interval == pytest.approx(stats.t.interval(0.95, 3, np.mean(a), stats.sem(a)), rel=1e-4)
    assert found.differences[0].ahead == "b" and found.differences[0].sentence.endswith(")")
    level = compared(side("a", a), side("c", [2.0, 3.9, 2.5, 4.1])).differences[0]
    assert level.ahead is None and "no difference shown" in level.sentence
    with pytest.raises(UserError, match="equal numbers"):
        compared(side("a", a), side("b", b[:3]))


def test_figures_that_have_no_direction_are_not_ranked():
    found = compared(side("a", [3.0]), side("b", [4.0]))
    assert {f.better for f in found.figures.values()} >= {"real", "lower"}
    assert {d.better for d in found.differences} == {"lower", "higher"}


@pytest.mark.parametrize("line", ["n", "seed", "weights", "data", "reference"])
def test_a_protocol_that_differs_in_one_line_is_refused_by_that_line(line):
    a, b = side("a", [3.0]).entries[0], side("b", [3.0]).entries[0]
    compare.same_protocol([a, b])
    other = {"n": 1, "seed": 9, "weights": "else", "data": "else", "reference": "else"}[line]
    key, figure = list(b.figures.items())[-1]
    b.figures[key] = replace(figure, protocol=replace(figure.protocol, **{line: other}))
    with pytest.raises(UserError, match=rf"differently \({line}: .* and {other}\)"):
        compare.same_protocol([a, b])


def test_the_headline_names_who_comes_first_and_a_bubble_never_does():
    good, worse, copier = side("good", [3.0]), side("worse", [4.0]), side("copier", [1.0], "bubble")
    word, why = compare_told.headline(compared(worse, good, copier))
    assert word == "good comes first" and "better than worse" in why and why.endswith("copier is a bubble.")
    one, two, far = side("one", [3.0, 4.0, 3.5]), side("two", [3.1, 3.9, 3.6]), side("far", [9.0, 9.1, 9.2])
    word, why = compare_told.headline(compared(one, two, far))
    assert word == "one comes first" and "no difference is shown to two" in why and "better than far" in why
    assert compare_told.headline(compared(one, two))[0] == "No difference shown"
    word, why = compare_told.headline(compared(good, copier))
    assert word == "Only good is worth a look" and why == "copier is a bubble."
    assert compare_told.headline(compared(copier, side("noise", [90.0], "bubble")))[0] == "None is worth it"


def test_what_cannot_be_told_is_not_ranked_however_near_it_lies():
    few = side("few", [0.1], "not enough data to tell")
    word, why = compare_told.headline(compared(few, side("good", [3.0]), side("worse", [4.0])))
    assert word == "good comes first" and why.endswith("Of few there is not enough data to tell.")
    word, why = compare_told.headline(compared(few, side("copier", [1.0], "bubble"), side("good", [3.0])))
    assert word == "Only good can be ranked" and "copier is a bubble. Of few there" in why
    assert compare_told.headline(compared(few, side("copier", [1.0], "bubble")))[0] == "Not enough data to tell"


def test_figures_that_no_verdict_rests_on_rank_nobody():
    sides = side("a", [3.0]), side("b", [9.0])
    for entry in (entry for one in sides for entry in one.entries):
        for key in [key for key, f in entry.figures.items() if f.metric in FIRST]:
            del entry.figures[key]
    found = compared(*sides)
    assert found.principal is None and compare_told.headline(found)[0] == "Not enough data to tell"
    assert not [row for row in compare_told.rows(found) if len(row) != 5]


def test_samples_asked_for_in_other_ways_are_compared_and_it_is_said():
    a, b = side("a", [3.0]), side("b", [4.0])
    assert compared(a, b).notes == ()
    for key, f in b.entries[0].figures.items():
        b.entries[0].figures[key] = replace(f, protocol=replace(f.protocol, options={"temperature": 0.8}))
    found = compared(a, b)
    compare.same_protocol(found.entries)
    assert "b-seed0: temperature=0.8" in found.notes[0] and "a-seed0: steps=24" in found.notes[0]
    assert found.notes[0] in compare_told.markdown(found) and compare_files.to_json(found)["notes"] == [*found.notes]
    assert found.notes[0] in Reader(compare_page.page(found, Path("out"))).text


def test_reports_without_a_common_figure_are_refused():
    a, b = side("a", [3.0]).entries[0], side("b", [3.0]).entries[0]
    figures = {f"{key} else": figure for key, figure in b.figures.items()}
    with pytest.raises(UserError, match="no figure in common"):
        compare.same_protocol([a, replace(b, figures=figures)])


def test_runs_on_other_data_are_refused_before_anything_is_measured(runs, tmp_path):
    pictures = toys.make(toys.write_pictures(tmp_path / "pictures", 60), "gan", tmp_path / "gan", steps=2)
    lines = r"codec: text and image; data: \w{12} and \w{12}; spec: Tokens.* and Grid"
    with pytest.raises(UserError, match=lines):  # neither is evaluated: the second is not even trained
        next(compare.compare(runs | {"gan": [pictures]}, n=60))


def test_the_table_has_a_cell_for_every_side_and_dashes_for_what_is_missing():
    a, b = side("a", [3.0]), side("b", [4.0])
    gone, figure = list(b.entries[0].figures.items())[-1]
    del b.entries[0].figures[gone]
    rows = compare_told.rows(compared(a, b))
    assert len({len(row) for row in rows}) == 1 and rows[0][1:3] == ["a", "b"]
    assert next(row for row in rows if row[0].startswith(figure.title))[2] == "-"
    assert next(row for row in rows if row[0] == "energy (Wh)")[1:3] == ["-", "-"]


def test_hostile_names_stay_text_on_the_page_and_in_the_table():
    a, b = side(reports.HOSTILE, [3.0]), side("b|c", [4.0], reports.HOSTILE)
    b.entries[0].report["notices"] = [reports.HOSTILE]
    found = replace(compared(a, b), command=reports.HOSTILE)
    page = Reader(compare_page.page(found, Path("out")))
    assert not page.all("script") and not [e for e in page.elements if any(name.startswith("on") for name in e[1])]
    assert r"b\|c" in compare_told.markdown(found)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    top = tmp_path_factory.mktemp("runs")
    data = toys.write_babble(top / "data")
    made = {name: toys.make(data, "transformer", top / name, steps=60, seed=seed) for seed, name in enumerate("ab")}
    for run in made.values():
        list(loop.train(run))
    return {name: [run] for name, run in made.items()}


def test_runs_are_evaluated_compared_and_laid_side_by_side(runs, tmp_path):
    *said, found = compare.compare(runs, n=60)
    assert {what.split(":")[0] for what, _ in said} == {"a", "b"}
    assert {"Frechet distance [character n-grams]", "bits per character"} <= {d.figure for d in found.differences}
    for d in found.differences:
        low, high = d.measured.interval
        assert d.shown == (low > 0 or high < 0) and ("no difference shown" in d.sentence) != d.shown
    path = compare_files.save(replace(found, command="aurify compare a b"), tmp_path / "out")
    html = path.read_text()
    page = Reader(html)
    assert len(html) < LIMIT and compare_told.headline(found)[0] in page.text
    assert {s["id"] for s in page.all("section") if "id" in s} >= {"table", "samples", "differences", "figures"}
    assert all((tmp_path / "out" / a["href"]).is_file() for a in page.all("a") if not a["href"].startswith("#"))
    assert "bits per character" in path.with_suffix(".md").read_text()
    kept = json.loads(path.with_suffix(".json").read_text())
    assert [d["sentence"] for d in kept["differences"]] == [d.sentence for d in found.differences]
    assert kept["sides"]["a"][0]["verdict"] in html


def test_a_report_is_used_again_while_it_is_of_what_is_asked(runs):
    *_, _ = compare.compare(runs, n=60)
    assert all(compare.reported(run, 60, 1) for side in runs.values() for run in side)
    assert len(list(compare.compare(runs, n=60))) == 1  # nothing had to be done
    run = runs["a"][0]
    assert not compare.reported(run, 59, 1) and not compare.reported(run, 60, 2)
    assert not compare.reported(run, 60, 1, "best")
    newest = max(run.checkpoints.glob("step-*"))
    newest.touch()
    assert not compare.reported(run, 60, 1)


def test_one_run_is_no_comparison(runs):
    with pytest.raises(UserError, match="two runs"):
        list(compare.compare({"a": runs["a"]}))
    with pytest.raises(UserError, match="two runs"):
        list(compare.compare({"a": runs["a"], "again": runs["a"]}))
    with pytest.raises(UserError, match="two runs"):
        list(compare.compare({"alone": [*runs["a"], *runs["b"]]}))


def test_a_figure_comes_back_from_its_report(tmp_path):
    figure = reports.figures()[0]
    assert Figure.from_json(json.loads(json.dumps(figure.to_json()))) == figure


def test_the_schema_of_the_comparison_stands_in_the_docs():
    found = compare_files.to_json(compared(side("a", [3.0]), side("b", [4.0])))
    schema = (Path(__file__).parent.parent / "docs/evaluation/compare.md").read_text(encoding="utf-8")
    fields = {name for part in (found, found["figures"][0], found["differences"][0]) for name in part} - {"schema"}
    assert not [name for name in fields if f"`{name}`" not in schema]
