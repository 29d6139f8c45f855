"""Judging a run by eye from the command line: nothing judged is lost, and whose samples they are is never in doubt."""

import json
import shutil

import pytest

import toys
from aurify import loop
from aurify.errors import UserError
from aurify.evaluate.human import read_answers
from aurify.evaluate.judging import Judging
from aurify.run import Run
from test_cli import aurify, refused


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of one name in two folders."""
    top = tmp_path_factory.mktemp("runs")
    data = toys.write_texts(top / "data", 200)
    made = [toys.make(data, "transformer", top / place / "plays", steps=4, seed=i) for i, place in enumerate("ab")]
    for run in made:
        list(loop.train(run))
    return made


@pytest.fixture
def run(runs, tmp_path):
    """A fresh copy, in which nothing was judged."""
    return Run.load(shutil.copytree(runs[0].path, tmp_path / "plays"))


def typing(monkeypatch, *answers):
    """What a person types; then they go."""
    left = iter(answers)
    monkeypatch.setattr("builtins.input", lambda prompt: next(left, "q"))


def test_quitting_at_once_says_that_nothing_was_judged_and_how_to_go_on(run, capsys, monkeypatch):
    typing(monkeypatch)
    code, said, _ = aurify(capsys, "judge", run.path, "-n", 4, "--terminal")
    assert code == 0 and "Nothing has been judged yet" in said
    assert "4 of 4 pairs are left" in said and f"judge {run.path} --against real --terminal" in said.replace("\n", "")


def test_what_was_judged_is_gone_on_with_and_other_pairs_are_refused(run, capsys, monkeypatch):
    judging = Judging.of(run, "real")
    typing(monkeypatch, "l", "r")
    assert aurify(capsys, "judge", run.path, "-n", 4, "--terminal")[0] == 0
    first = read_answers(judging.answers).answers
    assert list(first.values()) == ["left", "right"]
    told = refused(capsys, "judge", run.path, "-n", 5)
    assert "holds 4 pairs already, made with --seed 1" in told and "move that folder away" in told
    assert "4 pairs already" in refused(capsys, "judge", run.path, "--seed", 7)
    typing(monkeypatch, "c", "c", "c")
    code, said, _ = aurify(capsys, "judge", run.path, "--terminal")
    assert code == 0 and "are left" not in said and "of 4 blind judgements" in said
    given = read_answers(judging.answers).answers
    assert len(given) == 4 and first.items() <= given.items()
    judging.answers.write_text("")
    typing(monkeypatch)
    assert aurify(capsys, "judge", run.path, "--terminal")[0] == 0


def test_pairs_of_weights_that_have_changed_are_refused_with_what_to_do(run, capsys):
    assert aurify(capsys, "judge", run.path, "-n", 4)[0] == 0
    shutil.rmtree(run.checkpoints)
    card = json.loads((run.path / "run.json").read_text())
    card["training"]["seed"] = 9
    (run.path / "run.json").write_text(json.dumps(card))
    list(loop.train(Run.load(run.path)))
    assert "no longer made" in refused(capsys, "judge", run.path)


def test_runs_of_one_name_are_told_apart(runs):
    one, two = runs
    judging = Judging.of(one, str(two.path))
    assert judging.names == ("a/plays", "b/plays") and judging.folder.name.startswith("plays-")
    assert Judging.of(one, "real").names == ("plays", "real") and Judging.of(one, "real").folder.name == "real"
    assert judging.folder != Judging.of(one, str(two.path), "best").folder
    third = Run.load(shutil.copytree(two.path, one.path.parent / "other"))
    assert Judging.of(one, str(third.path)).names == ("plays", "other")
    with pytest.raises(UserError, match="the run itself"):
        Judging.of(one, str(one.path))


def test_the_outcome_names_both_runs_and_machines_get_the_paths(runs, capsys, monkeypatch):
    one, two = runs
    asked = ("judge", one.path, "--against", two.path)
    code, said, _ = aurify(capsys, *asked, "-n", 3, "--json")
    told = json.loads(said)
    assert code == 0 and told["pairs"] == 3 and all(one.path.joinpath(told[k]).is_file() for k in ("page", "key"))
    typing(monkeypatch, "l", "l", "l")
    code, said, _ = aurify(capsys, *asked, "--terminal")
    assert code == 0 and "a/plays was preferred to b/plays" in said
    answers = Judging.of(one, str(two.path)).answers
    code, said, _ = aurify(capsys, *asked, "--answers", answers, "--json")
    assert code == 0 and json.loads(said)["sets"] == ["a/plays", "b/plays"]
    assert "leave out -n and --terminal" in refused(capsys, *asked, "--answers", answers, "-n", 3, "--terminal")
    assert "leave out --json" in refused(capsys, *asked, "--terminal", "--json")


def test_the_best_weights_can_be_judged(runs, capsys):
    code, said, _ = aurify(capsys, "judge", runs[0].path, "-n", 2, "--checkpoint", "best")
    assert code == 0 and "--checkpoint best --answers" in said
    assert (runs[0].path / "human" / "real-best" / "page.html").is_file()
