"""kill -9 at any instant: a run still loads, loses little, and ends where it would have ended."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import toys
from aurify.loop import train
from test_train import everything

FEW = {"flow": 3, "gan": 3, "transformer": 2}
MANY = {"flow": 67, "gan": 67, "transformer": 66}


@pytest.mark.parametrize(
    ("name", "kills"), [*FEW.items(), *(pytest.param(*p, marks=pytest.mark.slow) for p in MANY.items())]
)
def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(name, kills, tmp_path):
    data = toys.data_for(name, tmp_path / "data")
    steps = 4 * kills  # so that it rarely ends before the last kill
    whole = toys.make(data, name, tmp_path / "whole", steps=steps, save_every=3)
    killed = toys.make(data, name, tmp_path / "killed", steps=steps, save_every=3)
    script = Path(__file__).with_name("kills.py")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(killed.path), str(kills), "0"],
        env=env,
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    steps_seen = [json.loads(line)["step"] for line in done.stdout.splitlines()]
    assert len(steps_seen) == kills and steps_seen[-1] > 0
    for run in (killed, whole):
        list(train(run))
    assert everything(killed) == everything(whole)
