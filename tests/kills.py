"""Trains a run in children that are killed without warning, again and again: `python kills.py RUN KILLS SEED`.

Prints one JSON line a kill: the newest step that then loads. A child is a fork of this process, so that 200 deaths do
not cost 200 imports of torch; one thread, because a pool of threads does not survive a fork.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
import torch._dynamo  # what the first optimizer would import: once here, not in every child

from aurify import checkpoint
from aurify.loop import train
from aurify.run import Run


def begin(path: Path) -> int:
    """A child that trains."""
    child = os.fork()
    if child:
        return child
    try:
        for _ in train(Run.load(path)):
            pass
        os._exit(0)
    except BaseException as error:
        print(f"child failed: {error!r}", file=sys.stderr, flush=True)
        os._exit(1)


def kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status


def newest(run: Run) -> int:
    found, damaged = checkpoint.newest(run.checkpoints)
    assert not damaged, damaged
    return found.step if found else 0


def main(path: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    chance, run, before = random.Random(seed), Run.load(path), 0
    began, child = time.monotonic(), begin(path)
    while not checkpoint.found(run.checkpoints):
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "the child ended before its first checkpoint"
        time.sleep(0.005)
    scale = time.monotonic() - began  # from start to first checkpoint, on this machine, as busy as it is
    for _ in range(kills):
        kill(child)
        step = newest(run)
        assert step >= before, (step, before)
        before = step
        print(json.dumps({"step": step}), flush=True)
        child = begin(path)
        time.sleep(chance.uniform(0, 1.5 * scale))
    kill(child)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
