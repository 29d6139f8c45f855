"""Share of a training step spent waiting for data, by the real loop on a real encoded store.

python benchmarks/data_wait.py [FOLDER] [--steps 40]        (by default the digits of the catalogue)
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from aurify import catalog, recipes
from aurify.home import home
from aurify.loop import Loop
from aurify.parallel import Group


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", nargs="?")
    arguments.add_argument("--steps", type=int, default=40)
    asked = arguments.parse_args()
    folder = asked.folder or str(catalog.get("digits", home() / "data" / "digits"))
    with tempfile.TemporaryDirectory() as out:
        run, _ = recipes.prepare(recipes.Wish(folder, steps=60_000 // 128, out=str(Path(out) / "run")))
        loop = Loop(run, torch.device("cpu"), Group())
        waits, steps, real = [], [], loop.batches.at

        def at(*where):
            began = time.perf_counter()
            found = real(*where)
            waits.append(time.perf_counter() - began)
            return found

        loop.batches.at = at
        for _ in range(asked.steps):
            began = time.perf_counter()
            list(loop.step())
            steps.append(time.perf_counter() - began)
    share = statistics.median(waits) / statistics.median(steps)
    print(
        json.dumps(
            {"wait_ms": 1e3 * statistics.median(waits), "step_ms": 1e3 * statistics.median(steps), "share": share}
        )
    )


if __name__ == "__main__":
    main()
