"""Several processes: the path of one, the same run folder, resumed with another number, and an end for all."""

import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import toys
from aurify.loop import train
from aurify.run import Run, read_json


def together(folder, *words, size=2, code=0):
    """`aurify WORDS` in processes that know of each other as torchrun would have it; returns what each printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks, said = [], [folder / f"rank-{rank}" for rank in range(size)]
    for rank, file in enumerate(said):
        env = {**os.environ, **world, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
        with file.open("wb") as out:
            command = [sys.executable, "-m", "aurify.cli", *map(str, words)]
            ranks.append(subprocess.Popen(command, env=env, stdout=out, stderr=out))
    try:
        codes = [rank.wait(timeout=120) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    texts = [file.read_text() for file in said]
    told = "\n".join(f"-- rank {rank}: exit code {codes[rank]}\n{texts[rank]}" for rank in range(size))
    assert codes == [code] * size, told
    return texts


def settings(name):
    return {**toys.TOY[name], "batch": 8, "save_every": 3, "precision": "float32"}


def train_by_two(data, name, out):
    sets = [word for key, value in settings(name).items() for word in ("--set", f"{key}={json.dumps(value)}")]
    together(out.parent, "train", data, "--family", name, "--steps", 6, "--out", out, *sets)
    return Run.load(out)


def train_by_one(data, name, out):
    run = toys.make(data, name, out, steps=6, **settings(name))
    list(train(run))
    return run


def assert_same_path(one, two):
    assert len(one) == len(two) == 6
    for (step, a), (other, b) in zip(one, two, strict=True):
        assert step == other
        for key in a:
            assert b[key] == pytest.approx(a[key], rel=1e-5, abs=1e-5), (step, key)


def curve(run):
    return [(e["step"], e["losses"]) for e in run.log() if e["event"] == "progress"]


def assert_same_folder(one, two):
    """All that does not depend on the clock: the same files, and in each the same or nearly so."""
    assert files(one) == files(two)
    for name in ("data.json", "codec.json"):
        assert read_json(one.path / name) == read_json(two.path / name)
    plain, shared = ({**read_json(r.path / "run.json"), "plan": None} for r in (one, two))  # the plan measures time
    assert plain == shared
    previews = sorted(p.name for p in (one.path / "previews").iterdir())
    assert previews
    for name in previews:
        a, b = one.path / "previews" / name, two.path / "previews" / name
        if a.suffix == ".png":
            pixels = [np.asarray(Image.open(path).convert("L")).astype(int) for path in (a, b)]
            assert abs(pixels[0] - pixels[1]).max() <= 1, name
        else:
            assert a.read_bytes() == b.read_bytes(), name


def files(run):
    found = (p.relative_to(run.path) for p in run.path.rglob("*"))
    return sorted(p.as_posix() for p in found if p.parts[0] != "tensorboard")


@pytest.fixture(scope="module")
def flows(tmp_path_factory):
    """The same training by one process and by two."""
    folder = tmp_path_factory.mktemp("flows")
    data = toys.write_pictures(folder / "data")
    return train_by_one(data, "flow", folder / "one"), train_by_two(data, "flow", folder / "two")


def test_two_processes_walk_the_path_of_one(flows):
    one, two = flows
    assert_same_path(curve(one), curve(two))
    assert_same_folder(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gan", "hmm", "ngram", "transformer"])
def test_two_processes_of_every_family_walk_the_path_of_one(name, tmp_path):
    data = toys.data_for(name, tmp_path / "data")
    one, two = train_by_one(data, name, tmp_path / "one"), train_by_two(data, name, tmp_path / "two")
    assert_same_path(curve(one), curve(two))
    assert_same_folder(one, two)


def test_a_run_of_two_processes_is_resumed_by_one(flows, tmp_path):
    """From the checkpoint in its middle, which two made, one goes on to the end that one alone would have reached."""
    one, two = flows
    shutil.copytree(two.path, tmp_path / "shared")
    shared = Run.load(tmp_path / "shared")
    shutil.rmtree(shared.checkpoints / "step-00000006")
    list(train(shared))
    assert_same_path(curve(one), curve(shared))
    assert files(one) == files(shared)


def test_what_the_first_refuses_ends_all_and_is_said_once(tmp_path):
    first, second = together(tmp_path, "train", tmp_path / "nothing", "--steps", 2, "--out", tmp_path / "run", code=2)
    assert "nothing" in first and first.count("aurify: ") == 1 and "Traceback" not in first
    assert not second.strip()


@pytest.mark.slow
def test_torchrun_starts_them_too(tmp_path):
    data = toys.write_pictures(tmp_path / "data")
    words = ["train", data, "--family", "flow", "--steps", 4, "--out", tmp_path / "run", "--set", "width=8"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "aurify.cli"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *map(str, words)], env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert len(Run.load(tmp_path / "run").log()) >= 4
