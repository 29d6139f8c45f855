"""Timing two pieces of work against each other so that the answer can be trusted.

They run in one process, interleaved A B B A, with one of them run a second time under another name: if a thing is not
as fast as itself, the machine is not quiet enough to say anything. On a GPU the clock stops when it has done its work.
"""

import os
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from aurify.device import Precision
from aurify.modes import fast_bfloat16

CPU = torch.device("cpu")

Work = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """`ratio` > 1: ours is faster. Seconds are medians; `interval` is a 95 % bootstrap interval of the ratio."""

    ours: float
    peer: float
    ratio: float
    interval: tuple[float, float]
    control: float  # ours against itself
    load: float
    trusted: bool

    def json(self) -> dict[str, object]:
        return {k: [round(x, 5) for x in v] if isinstance(v, tuple) else v if isinstance(v, bool) else round(v, 5)
                for k, v in asdict(self).items()}  # fmt: skip


def compare(ours: Work, peer: Work, threads: int, rounds: int = 7, warmups: int = 2) -> Ratio:
    """Times `ours` and `peer`, each a call of at least some milliseconds. Trusted when the load average stays within
    1.2 times the threads used and ours against itself within 5 %."""
    for _ in range(warmups):
        ours(), peer()
    times: dict[str, list[float]] = {"ours": [], "peer": [], "again": []}
    work = {"ours": ours, "peer": peer, "again": ours}
    order = ["ours", "peer", "again"]
    for _ in range(rounds):
        for name in order + order[::-1]:
            start = time.perf_counter()
            work[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in times.items()}
    control, load = median["again"] / median["ours"], os.getloadavg()[0]
    pooled = times["ours"] + times["again"]
    return Ratio(
        ours=statistics.median(pooled), peer=median["peer"], ratio=median["peer"] / statistics.median(pooled),
        interval=bootstrap(times["peer"], pooled), control=control, load=load,
        trusted=0.95 <= control <= 1.05 and load <= 1.2 * threads,
    )  # fmt: skip


def bootstrap(peer: list[float], ours: list[float], draws: int = 2000) -> tuple[float, float]:
    """95 % interval of median(peer) / median(ours)."""
    rng = random.Random(0)
    ratios = sorted(
        statistics.median(rng.choices(peer, k=len(peer))) / statistics.median(rng.choices(ours, k=len(ours)))
        for _ in range(draws)
    )
    return ratios[draws // 40], ratios[-draws // 40]


def precisions(target: torch.device = CPU) -> list[tuple[Precision, Precision]]:
    """Of ours and of the peer: float32 on both; where the device has bfloat16, that on ours, and on both."""
    if not fast_bfloat16(target):
        return [("float32", "float32")]
    return [("float32", "float32"), ("bfloat16", "float32"), ("bfloat16", "bfloat16")]
