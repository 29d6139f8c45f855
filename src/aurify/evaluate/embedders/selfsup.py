"""Features learned from the training split without labels: two views of a sample are alike, those of others are not.

    loss = -log exp(z_i . z_i' / tau) / sum_j exp(z_i . z_j' / tau)      InfoNCE (van den Oord et al. 2018, Eq. 4)

As in SimCLR (Chen et al. 2020): the features are those before the projection that the loss sees. A view is the sample
shifted, brightened, made noisy, with a block of it missing.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aurify.evaluate.embedder import Embedder, hashed
from aurify.evaluate.embedders.classifier import Classifier, spec_of
from aurify.evaluate.judge import moved, network
from aurify.evaluate.samples import Samples
from aurify.rng import derive
from aurify.spec import Grid

BATCH, STEPS, TAU, LEAST = 128, 250, 0.2, 200


class SelfSupervised(Embedder):
    kind = Grid
    title: ClassVar[str] = "self-supervised encoder of the training split"
    source: ClassVar[str] = "SimCLR (Chen et al. 2020) with a small convolutional network"
    net: nn.Sequential

    @classmethod
    def suits(cls, train: Samples) -> int:
        """For grids with axes that no classifier of their labels suits, if there are enough to learn from."""
        if train.x is None or train.x.ndim < 3 or len(train) < LEAST:
            return 0
        return 0 if Classifier.suits(train) else 2

    def fit(self, train: Samples, seed: int = 0) -> Iterator[float]:
        with torch.random.fork_rng():
            torch.manual_seed(derive("self-supervised", seed))
            self.net = network(spec_of(train), 64)  # its last layer is the projection
        generator = torch.Generator().manual_seed(derive("self-supervised data", seed))
        optimizer = torch.optim.AdamW(self.net.parameters(), lr=2e-3, weight_decay=0.01, fused=True)
        for step in range(STEPS):
            rows = torch.randint(len(train), (min(BATCH, len(train)),), generator=generator)
            one, other = (view(train.grid[rows], generator) for _ in range(2))
            loss = info_nce(self.net(one), self.net(other))
            optimizer.param_groups[0]["lr"] = 2e-3 * min(1.0, (STEPS - step) / (0.7 * STEPS))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield (step + 1) / STEPS
        self._ready()

    def _ready(self) -> None:
        self.net.eval().requires_grad_(False)
        self.weights = hashed(self.net.state_dict().values())

    def state(self) -> dict[str, Tensor]:
        return {name: tensor.contiguous() for name, tensor in self.net.state_dict().items()}

    def restore(self, state: dict[str, Tensor], train: Samples) -> None:
        self.net = network(spec_of(train), 64)
        self.net.load_state_dict(state)
        self._ready()

    @torch.inference_mode()
    def embed(self, samples: Samples) -> Tensor:
        return torch.cat([self.net[:-1](part) for part in samples.grid.split(BATCH)])


def info_nce(z: Tensor, other: Tensor) -> Tensor:
    """Mean over both directions; z, other (B, 64): row i of each is the same sample."""
    logits = F.normalize(z, dim=-1) @ F.normalize(other, dim=-1).T / TAU
    target = torch.arange(len(z))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def view(x: Tensor, generator: torch.Generator) -> Tensor:
    """A random view of each sample, x (B, C, *size)."""
    one = [len(x), 1] + [1] * (x.ndim - 2)
    gain = 1 + 0.4 * (torch.rand(one, generator=generator) - 0.5)
    offset = 0.4 * (torch.rand(one, generator=generator) - 0.5)
    noisy = x * gain + offset + 0.1 * torch.randn(x.shape, generator=generator)
    return moved(noisy, generator) * kept(x, generator)


def kept(x: Tensor, generator: torch.Generator) -> Tensor:
    """0 in a block of each sample that is half as long as every axis, 1 elsewhere: (B, 1, *size)."""
    inside = torch.ones([len(x), 1] + [1] * (x.ndim - 2), dtype=torch.bool)
    for axis, side in enumerate(x.shape[2:], 2):
        shape = [1] * x.ndim
        begin = torch.randint(side, [len(x)] + [1] * (x.ndim - 1), generator=generator)
        shape[axis] = side
        place = torch.arange(side).view(shape)
        inside = inside & (place >= begin) & (place < begin + max(1, side // 2))
    return (~inside).to(x.dtype)
