"""Several processes under torchrun: the path of one, the same run folder, resumed with another number."""

import json
import os
import subprocess
import sys

import pytest

import toys

TRAIN = """import sys
from aurify.run import Run
from aurify.loop import train
list(train(Run.load(sys.argv[1])))
"""


def torchrun(processes, run, tmp_path):
    script = tmp_path / "go.py"
    script.write_text(TRAIN)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    done = subprocess.run([*command, str(script), str(run.path)], env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]


def curve(run):
    return [(e["step"], e["losses"]) for e in run.log() if e["event"] == "progress"]


def files(run):
    found = (p.relative_to(run.path) for p in run.path.rglob("*"))
    return sorted(p.as_posix() for p in found if p.parts[0] != "tensorboard")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flow", "gan", "transformer"])
def test_two_processes_walk_the_path_of_one(name, tmp_path):
    data = toys.data_for(name, tmp_path / "data")
    one = toys.make(data, name, tmp_path / "one", steps=6, save_every=3)
    two = toys.make(data, name, tmp_path / "two", steps=6, save_every=3)
    torchrun(1, one, tmp_path)
    torchrun(2, two, tmp_path)
    assert len(curve(one)) == 6
    for (step, a), (other, b) in zip(curve(one), curve(two), strict=True):
        assert step == other
        for key in a:
            assert b[key] == pytest.approx(a[key], rel=1e-5, abs=1e-5), (step, key)
    assert files(one) == files(two)


def test_a_run_of_two_processes_is_resumed_by_one(tmp_path):
    """Two train to the first checkpoint; one goes on to the end, on the path that one alone would have walked."""
    data = toys.write_pictures(tmp_path / "data")
    one = toys.make(data, "flow", tmp_path / "one", steps=6, save_every=3)
    torchrun(1, one, tmp_path)
    shared = toys.make(data, "flow", tmp_path / "shared", steps=6, save_every=3)
    torchrun(2, shared, tmp_path)
    last = max(shared.checkpoints.iterdir())
    for path in last.iterdir():
        path.unlink()
    last.rmdir()  # back at step 3, which two processes made
    torchrun(1, shared, tmp_path)
    assert json.dumps(curve(shared)[:1]) and len(curve(shared)) == 6
    for (_, a), (_, b) in zip(curve(one), curve(shared), strict=True):
        assert b == pytest.approx(a, rel=1e-5, abs=1e-5)
