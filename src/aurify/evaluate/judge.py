"""An independent judge: a small classifier trained on the real training split alone, never on generated samples.

It reads the label of a generated sample, and its penultimate layer is the feature space in which sets are compared.
Its own accuracy on real held-out data stands beside every figure it gives.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from aurify.evaluate.shift import shifted
from aurify.muon import Muon
from aurify.nets.unet import CONV, channels_last, fold, padded
from aurify.rng import derive
from aurify.spec import Grid

BATCH = 128
FEWEST, MOST = 120, 450  # steps; of 10,000 test digits 300 read 99.1 % rightly, 400 99.2 %, 450 99.3 %
RATES = 0.06, 6e-3  # of filters by Muon, and of all else


@dataclass
class Judge:
    """A trained classifier of grids."""

    net: nn.Sequential
    spec: Grid

    @torch.inference_mode()
    def features(self, x: Float[Tensor, "N C *grid"]) -> Float[Tensor, "N F"]:
        return torch.cat([self.net[:-1](part) for part in x.split(BATCH)])

    @torch.inference_mode()
    def read(self, x: Float[Tensor, "N C *grid"]) -> Int[Tensor, " N"]:
        """The most likely label of each sample."""
        return torch.cat([self.net(part).argmax(-1) for part in x.split(BATCH)])


def train_judge(
    x: Tensor, labels: Int[Tensor, " N"], spec: Grid, epochs: int = 2, seed: int = 0
) -> Iterator[float | Judge]:
    """Trains on stored samples x (N, C, *grid) and their labels; yields the share done, at last the judge.

    Shifted copies (up to two places) make it robust to what a generator may rightly do.
    """
    with torch.random.fork_rng():
        torch.manual_seed(derive("judge", seed))
        net = network(spec, int(labels.max()) + 1)
    generator = torch.Generator().manual_seed(derive("judge data", seed))
    steps = min(max(epochs * len(x) // BATCH, FEWEST), MOST)
    optimizer = stepping(net)
    for step in range(steps):
        rows = torch.randint(len(x), (BATCH,), generator=generator)
        for group, rate in zip(optimizer.param_groups, RATES, strict=True):
            group["lr"] = rate * min(step / (0.2 * steps) + 0.05, (steps - step) / (0.8 * steps))
        loss = F.cross_entropy(net(moved(spec.widen(x[rows]), generator)), labels[rows], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield (step + 1) / steps
    yield Judge(net.eval().requires_grad_(False), spec)


def stepping(net: nn.Module) -> Muon:
    """Filters by Muon, which takes half the steps that AdamW takes to read as well; all else by AdamW."""
    filters = [p for p in net.parameters() if p.ndim > 2]
    others = [p for p in net.parameters() if p.ndim <= 2]
    return Muon([{"params": filters, "lr": RATES[0], "orthogonal": True}, {"params": others, "lr": RATES[1]}])


def network(spec: Grid, labels: int) -> nn.Sequential:
    """Three strided convolution stages on a folded grid, mean over places, 96 features, labels."""
    ndim = max(1, len(spec.size))
    patch = max(1, 2 ** round(math.log2(max(spec.size, default=1) / 14))) if spec.size else 1
    norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[ndim]

    def stage(c_in: int, c_out: int, stride: int) -> list[nn.Module]:
        return [CONV[ndim](c_in, c_out, 3, stride=stride, padding=1, bias=False), norm(c_out), nn.ReLU()]

    layers = [*stage(spec.channels * patch**ndim, 24, 1), *stage(24, 48, 2), *stage(48, 96, 1), *stage(96, 96, 2)]
    net = nn.Sequential(Fold(patch, ndim), *layers, Mean(), nn.Linear(96, labels))
    return channels_last(net) if ndim == 2 else net


class Fold(nn.Module):
    def __init__(self, patch: int, ndim: int):
        super().__init__()
        self.patch, self.ndim = patch, ndim

    def forward(self, x: Tensor) -> Tensor:
        x = x[..., None] if x.ndim == 2 else x
        return fold(padded(x, self.patch), self.patch)


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(-1)


def moved(x: Tensor, generator: torch.Generator) -> Tensor:
    """The whole batch, by up to two places along every axis."""
    by = [int(torch.randint(-2, 3, (1,), generator=generator)) for _ in range(x.ndim - 2)]
    return shifted(x, by) if any(by) else x
