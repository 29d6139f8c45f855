"""What a person sees where no line can move: a log file, a pipe, a nightly job."""

import itertools

import pytest

from aurify import terminal
from aurify.events import Done, Progress
from aurify.terminal import Pace, Screen


def training(steps):
    for step in range(1, steps + 1):
        yield Progress(step, steps, {"train/loss": 1 / step}, rate=50.0, eta=2.0 * (steps - step))
    yield Done(steps)


@pytest.fixture
def slow(monkeypatch):
    """A clock that is fifteen seconds further at each look."""
    seconds = itertools.count(0.0, 15.0)
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(seconds))


def test_a_training_in_a_log_says_how_far_it_is_and_what_is_left(capsys, slow):
    assert isinstance(Screen().follow(training(100)), Done)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ") == ["step 1 of 100", "train 1.0000", "50/s", "about 3.3 min left"]
    assert 20 < len(lines) < 40 and not any("step 100 of" in line for line in lines)


def test_sampling_in_a_log_too(capsys, slow):
    assert list(Screen().track(iter("abcd"), "sampling", 4)) == list("abcd")
    said = capsys.readouterr()
    assert said.out == ""  # what is made may go there
    assert "sampling 2 of 4, about 30 s left" in said.err


def test_quick_things_and_machines_get_no_such_lines(capsys):
    Screen().follow(training(100))
    list(Screen().track(iter("abcd"), "sampling", 4))
    said = capsys.readouterr()
    assert said.out + said.err == ""
    Screen(machine=True).follow(training(3))
    assert all(line.startswith("{") for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(("seconds", "least", "most"), [(9, 0, 0), (100, 8, 10), (3600, 30, 60), (86_400, 60, 100)])
def test_a_long_training_does_not_fill_its_log(monkeypatch, seconds, least, most):
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    pace, said = Pace(), 0
    for now[0] in range(1, seconds + 1):
        said += pace.due()
    assert least <= said <= most
