"""Our MAUVE beside its authors' own code, on the same features: do they agree within the k-means seed's spread?

    .bench/bin/python -m pip install -c constraints.txt --no-deps mauve-text faiss-cpu loky
    .bench/bin/python benchmarks/mauve.py [--n 1000] [--seeds 5]

Features are made: real ones from a mixture of Gaussians, others from the same with more and more of another mixture.
For each pair of sets, the mean and the standard deviation over seeds of both codes, and how long one figure takes.
`mauve_star` is the authors' name for the smoothed figure, which is ours.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aurify.evaluate.metrics.mauve import mauve


def mixture(n: int, width: int, share: float, seed: int) -> Tensor:
    """n features of a mixture of 20 Gaussians, the given share of them of another one."""
    centres = torch.randn(2, 20, width, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(seed)
    other = (torch.rand(n, generator=generator) < share).long()
    place = torch.randint(20, (n,), generator=generator)
    return (centres[other, place] + 0.7 * torch.randn(n, width, generator=generator)).double()


def theirs(real: Tensor, made: Tensor, seed: int) -> float:
    sys.path[:] = [
        p for p in sys.path if Path(p).resolve() != Path(__file__).resolve().parent
    ]  # this file is mauve too
    from mauve import compute_mauve  # pyright: ignore[reportMissingImports]

    found: Any = compute_mauve(p_features=real.float().numpy(), q_features=made.float().numpy(), seed=seed)
    return float(found.mauve_star)


def timed(measure: Any, real: Tensor, made: Tensor, seeds: int) -> tuple[list[float], float]:
    start = time.perf_counter()
    values = [float(measure(real, made, seed)) for seed in range(seeds)]
    return values, (time.perf_counter() - start) / seeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"n": 1000, "width": 64, "seeds": 5, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    np.random.seed(0)
    real = mixture(asked.n, asked.width, 0.0, 2)
    for share in (0.0, 0.1, 0.3, 0.6, 1.0):
        made = mixture(asked.n, asked.width, share, 3)
        (ours, seconds), (peer, peer_seconds) = (timed(measure, real, made, asked.seeds) for measure in (mauve, theirs))
        spread = max(statistics.stdev(peer), statistics.stdev(ours))
        gap = statistics.mean(ours) - statistics.mean(peer)
        line = {
            "share_of_another": share, "ours": statistics.mean(ours), "ours_sd": statistics.stdev(ours),
            "theirs": statistics.mean(peer), "theirs_sd": statistics.stdev(peer), "gap_in_sd": gap / spread,
            "seconds": seconds, "their_seconds": peer_seconds,
        }  # fmt: skip
        print(json.dumps({k: round(v, 4) for k, v in line.items()}), flush=True)


if __name__ == "__main__":
    main()
