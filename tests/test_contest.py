"""Families on the same data and budget: fair from the start, refused before training, stopped and gone on with."""

import os
import signal
from dataclasses import replace

import pytest

import toys
from aurify import checkpoint, loop
from aurify.errors import UserError
from aurify.evaluate import contest
from aurify.evaluate.compare_wish import Wish
from aurify.run import write_json
from test_cli import aurify, refused


def test_families_start_fair_and_go_on_where_they_were(tmp_path):
    data = str(toys.write_pictures(tmp_path / "data", 60))
    terms = contest.Terms(data, 0.3)
    found = contest.runs(["flow", "gan"], terms, 2, tmp_path / "out")
    assert [run.path.name for run in found["gan"]] == ["gan-seed0", "gan-seed1"]
    first, second = (run.card for run in found["flow"])
    assert second.training == first.training | {"seed": 1} and second.family_config == first.family_config
    again = contest.runs(["gan"], terms, 2, tmp_path / "out")
    assert [run.card.model_dump(mode="json") for run in again["gan"]] == [
        run.card.model_dump(mode="json") for run in found["gan"]
    ]
    with pytest.raises(UserError, match=r"minutes: 0\.3 there, 2 asked for"):
        contest.runs(["flow"], replace(terms, minutes=2), 1, tmp_path / "out")
    with pytest.raises(UserError, match="named twice"):
        contest.runs(["flow", "flow"], terms, 1, tmp_path / "other")
    with pytest.raises(UserError, match="transformer"):
        contest.runs(["transformer"], terms, 1, tmp_path / "other")
    with pytest.raises(UserError, match="nothing"):
        contest.runs(["nothing", "flow"], terms, 1, tmp_path / "third")
    assert not (tmp_path / "third").exists()


def test_one_family_alone_is_refused_before_anything_is_made(capsys, tmp_path):
    data, out = toys.write_pictures(tmp_path / "data"), tmp_path / "out"
    for families, seeds in (("flow", 1), ("flow,", 2)):
        told = refused(capsys, "compare", "--families", families, data, "--seeds", seeds, "--out", out)
        assert "two families or more" in told and not out.exists()


def test_options_of_a_contest_are_refused_where_runs_are_compared(capsys):
    assert "leave out --minutes and --seeds" in refused(capsys, "compare", "a", "b", "--minutes", 1, "--seeds", 2)


def begun(tmp_path, minutes=5.0):
    """Two planned trainings of a few steps each, in the folder of a contest."""
    data, out = toys.write_pictures(tmp_path / "data"), tmp_path / "out"
    runs = {name: toys.make(data, name, out / f"{name}-seed0", steps=6) for name in ("flow", "gan")}
    write_json(out / contest.FILE, {"data": str(data.resolve()), "minutes": minutes})
    return data, out, runs


def test_ctrl_c_ends_the_whole_comparison_and_the_same_command_goes_on_with_it(capsys, tmp_path, monkeypatch):
    data, out, runs = begun(tmp_path)
    asked = ("compare", data, "--families", "flow,gan", "--out", out, "-n", 20)
    step, done, stops = loop.Loop.step, [], iter([("flow", 2), ("gan", 1)])
    stop = next(stops)

    def interrupted(self):
        done.append((self.run.card.family, self.state.step))
        yield from step(self)
        if (self.run.card.family, self.state.step) == stop:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop.Loop, "step", interrupted)
    code, _, said = aurify(capsys, *asked)
    assert code == 130 and f"--out {out}" in said and "Go on with: aurify compare" in said
    assert [p.name for p in checkpoint.found(runs["flow"].checkpoints)][:1] == ["step-00000002"]
    assert not runs["gan"].checkpoints.exists() and not (out / "compare.json").exists()
    stop = next(stops)
    assert aurify(capsys, *asked)[0] == 130  # that one, too, is stopped
    assert done == [("flow", i) for i in range(6)] + [("gan", 0)]  # and none of its steps was done twice


def test_the_command_of_a_comparison_says_all_that_it_was_asked():
    wish = Wish(("my data",), "flow,gan", 2.5, 3, "out", 50, 7, "best")
    assert wish.command == (
        "aurify compare 'my data' --families flow,gan --minutes 2.5 --seeds 3 "
        "--out out -n 50 --seed 7 --checkpoint best"
    )
    assert replace(wish, families=None, checkpoint="last").command == (
        "aurify compare 'my data' --out out -n 50 --seed 7"
    )
