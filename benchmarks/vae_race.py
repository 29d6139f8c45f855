"""Seconds until unseen digits are equally likely: ours with its default settings, and pythae's VAE, same network.

    python benchmarks/vae_race.py WORK [--threads 2] [--steps 1000] [--times 2]

The peer trains so many times as many steps, each contender a twentieth of its steps in turn. It has what serves it
best: AdamW at two rates found by trial, falling as a cosine to nothing at the end of its own training (its trainer
keeps a rate by default), and data drawn as black or white outside its time. Beside them it trains as its settings are
when nobody chooses (Adam, 1e-4). All are in float32, and ours in bfloat16 too, which its plan takes where that is
faster. Told at the end: the seconds of each and its negative bound on the test digits, with equal noise.
"""

import argparse
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from aurify.bench import run_step
from aurify.device import Precision
from aurify.loop import Loop
from aurify.state import averaged
from vae import BATCH, NETS, Drawn, bound, digits, our_loop, peer

PARTS = 20
RATES = (2e-3, 4e-3)  # of the peer; at 1e-3 it is slower


@dataclass
class Contender:
    """`advance` does a twentieth of the training, `prepare` what comes before it and costs no time."""

    name: str
    steps: int
    advance: Callable[[], object]
    nats: Callable[[], float]
    prepare: Callable[[], object] = lambda: None
    seconds: float = 0.0

    def go_on(self) -> None:
        self.prepare()
        start = time.perf_counter()
        self.advance()
        self.seconds += time.perf_counter() - start


@dataclass(frozen=True)
class Task:
    """What all of them train on, are judged by, and share: the shape of the network."""

    store: Any
    grey: Tensor
    test: Tensor
    shape: dict[str, int]
    scratch: Path

    def loop(self, training: dict[str, Any]) -> Loop:
        return our_loop(self.store, dict(self.shape), training, self.scratch)

    def nats(self, net: Any) -> float:
        return bound(net, self.shape, self.test)


def ours(task: Task, steps: int, precision: Precision) -> Contender:
    loop = task.loop({"steps": steps, "precision": precision})

    def nats() -> float:
        with averaged(loop.state):
            return task.nats(loop.state.family.net)

    return Contender(f"ours, {precision}", steps, lambda: [run_step(loop) for _ in range(steps // PARTS)], nats)


def theirs(task: Task, steps: int, rate: float | None) -> Contender:
    net: Any = task.loop({"steps": steps}).state.family.net  # its weights are ours before the first step
    data = Drawn(task.grey, steps // PARTS * BATCH)
    trainer = peer(net, data, task.scratch / f"peer-{rate}", rate)
    schedule = None if rate is None else CosineAnnealingLR(trainer.optimizer, PARTS)

    def advance() -> None:
        trainer.train_step(1)
        if schedule is not None:
            schedule.step()

    name = "pythae, its defaults" if rate is None else f"pythae, AdamW {rate:g}, cosine"
    return Contender(name, steps, advance, lambda: task.nats(net), data.draw)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--times", type=float, default=2.0)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    logging.getLogger("pythae").setLevel(logging.ERROR)
    store, grey, test = digits(asked.work)
    for name, shape in NETS.items():
        with tempfile.TemporaryDirectory() as scratch:
            task = Task(store, grey, test, shape, Path(scratch))
            contenders = [ours(task, asked.steps, precision) for precision in ("float32", "bfloat16")]
            contenders += [theirs(task, int(asked.times * asked.steps), rate) for rate in (*RATES, None)]
            for _ in range(PARTS):
                for contender in contenders:
                    contender.go_on()
            first = contenders[0].seconds
            for c in contenders:
                told = {"network": name, "who": c.name, "steps": c.steps, "seconds": round(c.seconds, 1)}
                told |= {"of_ours": round(c.seconds / first, 2), "nats": round(c.nats(), 2)}
                print(json.dumps(told | {"load": round(os.getloadavg()[0], 1)}), flush=True)


if __name__ == "__main__":
    main()
