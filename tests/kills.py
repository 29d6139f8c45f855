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

from aurify import checkpoint
from aurify.loop import train
from aurify.run import Run


def die_somewhere(path: Path, seconds: float) -> None:
    """A child that trains, killed after so many seconds."""
    child = os.fork()
    if child == 0:
        try:
            for _ in train(Run.load(path)):
                pass
            os._exit(0)
        except BaseException as error:
            print(f"child failed: {error!r}", file=sys.stderr, flush=True)
            os._exit(1)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status


def main(path: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    chance = random.Random(seed)
    run, before = Run.load(path), 0
    for _ in range(kills):
        die_somewhere(path, chance.uniform(0.02, 0.5))
        found, damaged = checkpoint.newest(run.checkpoints)
        step = found.step if found else 0
        assert step >= before and not damaged, (step, before, damaged)
        before = step
        print(json.dumps({"step": step}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
