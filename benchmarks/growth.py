"""How the chance in figures of nearest neighbours grows with n: where `share_growth` and that of `fld` come from.

python benchmarks/growth.py [--repeats 1000] [--n 300]

    growth = sqrt(n) sd(figure of n) / (sqrt(n/2) sd(figure of n/2))       over independent sets, at no share's edge
    shares   the same over sqrt(p (1 - p)), which shares scatter with at any n

The constants were chosen on `stretched`, two Gaussians in 8 features moved and stretched against each other; the other
kinds check them: more features, three modes, heavy tails. The share of 95 % intervals that hold the mean figure says
what the constants are for. A standard error of growth is about 1 / sqrt(repeats).
"""

import argparse
import json
import math
from collections.abc import Callable

import torch
from torch import Tensor

from aurify.evaluate import interval, metric
from aurify.evaluate.local import Local

METRICS = [name for name in metric.names() if issubclass(metric.load(name), Local)]
Sets = tuple[Tensor, Tensor]


def normal(n: int, F: int, g: torch.Generator) -> Sets:
    x, y = torch.randn(2, n, F, generator=g, dtype=torch.float64)
    return x, y


def stretched(n: int, g: torch.Generator) -> Sets:
    x, y = normal(n, 8, g)
    scales = torch.linspace(1.5, 0.3, 8, dtype=torch.float64)
    more = torch.tensor([0.7, 1, 1, 1, 1, 1, 1.5, 1.5], dtype=torch.float64)
    return x * scales, y * scales * more + 0.45


def wider(n: int, g: torch.Generator) -> Sets:
    x, y = normal(n, 24, g)
    scales = torch.linspace(1.5, 0.1, 24, dtype=torch.float64)
    return x * scales, 1.15 * y * scales + 0.1


def modes(n: int, g: torch.Generator) -> Sets:
    (x, y), centres = normal(n, 8, g), 3 * torch.eye(3, 8, dtype=torch.float64)
    which = torch.randint(3, (2, n), generator=g)
    return x + centres[which[0]], 1.1 * y + centres[which[1] % 2]


def tails(n: int, g: torch.Generator) -> Sets:
    (x, y), (u, v) = normal(n, 6, g), normal(n, 4, g)
    return x / u.square().mean(1, keepdim=True).sqrt(), y / v.square().mean(1, keepdim=True).sqrt() + 0.5


KINDS: dict[str, Callable[[int, torch.Generator], Sets]] = {
    "stretched": stretched, "wider": wider, "modes": modes, "tails": tails,
}  # fmt: skip


def values(name: str, kind: str, n: int, repeats: int) -> Tensor:
    one = metric.load(name)()
    drawn = (KINDS[kind](n, torch.Generator().manual_seed(10_000 * n + r)) for r in range(repeats))
    return torch.tensor([one.value(*sets) for sets in drawn])


def held(name: str, kind: str, n: int, repeats: int, mean: float) -> float:
    """The share of intervals that hold the mean figure."""
    one = metric.load(name)()
    found = 0
    for r in range(repeats):
        low, high = interval.measure(one, *KINDS[kind](n, torch.Generator().manual_seed(r)), seed=r).interval
        found += low <= mean <= high
    return found / repeats


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--repeats", type=int, default=1000)
    arguments.add_argument("--n", type=int, default=300)
    arguments.add_argument("--only", default=",".join(METRICS))
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    for name in asked.only.split(","):
        for kind in KINDS:
            half, whole = (values(name, kind, n, asked.repeats) for n in (asked.n // 2, asked.n))
            growth = math.sqrt(2) * float(whole.std() / half.std())
            line = {"metric": name, "data": kind, "figure": float(whole.mean()), "growth": growth}
            if name in ("precision", "recall", "coverage"):
                p, q = float(whole.mean()), float(half.mean())
                line["beyond sqrt(p (1 - p))"] = growth / math.sqrt(p * (1 - p) / (q * (1 - q)))
            line["intervals that hold"] = held(name, kind, asked.n, min(400, asked.repeats), float(whole.mean()))
            print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in line.items()}), flush=True)


if __name__ == "__main__":
    main()
