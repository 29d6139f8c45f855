"""The penultimate layer of a classifier of the data's own labels, trained on the training split alone."""

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from aurify.evaluate.embedder import Embedder, hashed
from aurify.evaluate.judge import Judge, network, train_judge
from aurify.evaluate.samples import Samples
from aurify.spec import Grid

LEAST = 20  # labelled training samples of each kind below which a classifier learns its samples by heart


class Classifier(Embedder):
    kind = Grid
    title: ClassVar[str] = "classifier of the data's own labels"
    source: ClassVar[str] = "small convolutional network, trained on the training split alone"
    recipe: ClassVar[int] = 5
    judge: Judge

    @classmethod
    def suits(cls, train: Samples) -> int:
        if train.x is None or not train.labelled:
            return 0
        counts = torch.bincount(train.labels)
        return 3 if len(counts) > 1 and int(counts.min()) >= LEAST else 0

    def fit(self, train: Samples, seed: int = 0) -> Iterator[float]:
        for found in train_judge(train.grid, train.labels, spec_of(train), seed=seed):
            if isinstance(found, Judge):
                self.judge = found
            else:
                yield found
        self.weights = hashed(self.judge.net.state_dict().values())

    def state(self) -> dict[str, Tensor]:
        return {name: tensor.contiguous() for name, tensor in self.judge.net.state_dict().items()}

    def restore(self, state: dict[str, Tensor], train: Samples) -> None:
        spec = spec_of(train)
        net = network(spec, int(train.labels.max()) + 1)
        net.load_state_dict(state)
        self.judge = Judge(net.eval().requires_grad_(False), spec)
        self.weights = hashed(net.state_dict().values())

    def embed(self, samples: Samples) -> Tensor:
        return self.judge.features(samples.grid)

    @torch.inference_mode()
    def probabilities(self, features: Tensor) -> Tensor:
        return self.judge.net[-1](features).softmax(-1)


def spec_of(samples: Samples) -> Grid:
    return Grid(samples.grid.shape[1], tuple(samples.grid.shape[2:]))
