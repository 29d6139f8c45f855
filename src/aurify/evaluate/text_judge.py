"""A fixed judge of texts: multinomial logistic regression on hashed character n-grams.

phi(x)     1 + log(count) of each n-gram, n = 1 ... 4, in `WIDTH` places by hash (Weinberger et al. 2009), unit norm
p(y | x)   softmax(W phi(x) + b)_y, by full-batch Adam with weight decay: no randomness at all
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from aurify.evaluate.grams import grams

LONGEST = 4  # characters of an n-gram
WIDTH = 4096
STEPS, RATE, DECAY = 60, 0.1, 1e-3


@dataclass(frozen=True)
class TextJudge:
    """A trained classifier of texts."""

    net: nn.Linear

    @torch.inference_mode()
    def read(self, texts: list[str]) -> Int[Tensor, " n"]:
        """The most likely label of each text."""
        return self.net(features(texts)).argmax(-1)


def train(texts: list[str], labels: Int[Tensor, " n"]) -> TextJudge:
    """Learns labels 0 ... K - 1."""
    x = features(texts)
    net = nn.Linear(WIDTH, int(labels.max()) + 1)
    for p in net.parameters():
        nn.init.zeros_(p)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        loss = F.cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.requires_grad_(False)
    return TextJudge(net)


def features(texts: list[str]) -> Float[Tensor, "n W"]:
    """phi of each text."""
    rows = np.zeros((len(texts), WIDTH), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for hashes in grams(text, LONGEST):
            row += np.bincount((hashes % np.uint64(WIDTH)).astype(np.int64), minlength=WIDTH)
    counts = torch.from_numpy(rows)
    return F.normalize(torch.where(counts > 0, 1 + counts.clamp_min(1).log(), 0.0), dim=1)
