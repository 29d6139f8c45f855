"""Texts of any language as 66 numbers: latent semantic analysis of character n-grams (Deerwester et al. 1990), and how
surprising a character is to two models of the training text.

    a_ig = (1 + ln c_ig) (1 + ln (1 + N) / (1 + d_g)),   |a_i| = 1        A ~ U S V^T,   features a_i V
    s_ik = -ln p_k(text i) / characters of text i

c_ig  how often gram g, a hash of 1 to 4 characters in a row, stands in text i
d_g   in how many of the N training texts it stands
V     64 right singular vectors of A, by a randomised range finder (Halko et al. 2011, Alg. 4.4)
p_k   the smoothed model of k = 3 and of k = 6 characters in a row (`aurify.evaluate.ngram`)

What stands in a text says little about its order: whole words in any order have nearly the n-grams that the text had.
The longer model finds them surprising, and the shorter one what a model of few characters writes. Texts that were
learned from look familiar, so others must be compared.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from aurify.evaluate.embedder import Embedder, hashed
from aurify.evaluate.grams import grams
from aurify.evaluate.ngram import Ngram
from aurify.evaluate.samples import Samples
from aurify.rng import derive
from aurify.spec import Tokens

LONGEST = 4
DIMS = 2**16  # hashes
FEATURES = 64  # of the n-grams
ORDERS = 3, 6  # of the models that are surprised
SPARE = 16  # further directions, so that the last of the 64 are found well
ROUNDS = 3  # power iterations
FITTED_ON = 2**22  # characters
AT_ONCE = 512  # texts


class Ngrams(Embedder):
    kind = Tokens
    title: ClassVar[str] = "character n-grams"
    source: ClassVar[str] = "latent semantic analysis, Deerwester et al. 1990, and the surprise of an n-gram model"
    idf: Float[Tensor, " D"]
    V: Float[Tensor, "D F"]
    models: list[Ngram]

    @classmethod
    def suits(cls, train: Samples) -> int:
        return 2 if train.texts is not None else 0

    def fit(self, train: Samples, seed: int = 0) -> Iterator[float]:
        texts = _chosen(train, seed)
        counts = Rows.of(texts)
        yield 0.1
        d = torch.bincount(counts.column, minlength=DIMS)
        self.idf = 1 + ((1 + len(texts)) / (1 + d)).log()
        A = self._weighted(counts)
        generator = torch.Generator().manual_seed(derive("n-gram features", seed))
        Q = torch.randn(DIMS, min(FEATURES + SPARE, len(texts)), generator=generator)
        A_T = A.transposed(DIMS)
        for done in range(ROUNDS):  # subspace iteration: large singular values draw apart from small ones
            Q = torch.linalg.qr(A_T @ torch.linalg.qr(A @ Q).Q).Q
            yield (done + 1) / (ROUNDS + 1)
        R = torch.linalg.qr(A @ Q).R  # A Q and its triangle have the same right singular vectors
        self.V = Q @ torch.linalg.svd(R).Vh[:FEATURES].T
        self.models = [Ngram.fit(texts, seed, ends=False, orders=(order,)) for order in ORDERS]
        counted = [torch.from_numpy(part) for model in self.models for part in model.arrays]
        self.weights = hashed((self.idf, self.V, *counted))
        yield 1.0

    def embed(self, samples: Samples) -> Float[Tensor, "n F"]:
        parts = [list(samples.natives[i : i + AT_ONCE]) for i in range(0, len(samples), AT_ONCE)]
        return torch.cat([torch.empty(0, self.V.shape[1] + len(ORDERS)), *map(self._features, parts)])

    def _features(self, texts: list[str]) -> Float[Tensor, "n F"]:
        characters = np.maximum([len(text) for text in texts], 1)
        surprise = np.stack([model.nats(texts) / characters for model in self.models], 1)
        return torch.cat([self._weighted(Rows.of(texts)) @ self.V, torch.from_numpy(surprise).float()], 1)

    def _weighted(self, counts: "Rows") -> "Rows":
        """a_ig of counts."""
        a = (1 + counts.value.log()) * self.idf[counts.column]
        each = counts.start.diff(append=torch.tensor([len(a)]))
        row = torch.repeat_interleave(each)
        length = torch.zeros(len(each), dtype=torch.float64).index_add_(0, row, a.double().square()).sqrt().float()
        return Rows(counts.start, counts.column, a / length[row])


@dataclass(frozen=True)
class Rows:
    """A sparse matrix: row i has `value` at `column`, both from start[i] to start[i + 1]."""

    start: Int[Tensor, " n"]
    column: Int[Tensor, " G"]
    value: Float[Tensor, " G"]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Rows":
        """How often each hash of 1 to 4 characters stands in each text."""
        found = [np.unique(_hashes(text), return_counts=True) for text in texts]
        sizes = np.array([len(column) for column, _ in found], np.int64)
        columns, counts = (np.concatenate(part) for part in zip(*found, strict=True))
        start = torch.from_numpy(np.cumsum(sizes) - sizes)
        return cls(start, torch.from_numpy(columns), torch.from_numpy(counts).float())

    def __matmul__(self, dense: Float[Tensor, "D F"]) -> Float[Tensor, "n F"]:
        """Each row is summed on its own, in the order of its columns, whatever other rows there are."""
        return F.embedding_bag(self.column, dense.contiguous(), self.start, mode="sum", per_sample_weights=self.value)

    def transposed(self, columns: int) -> "Rows":
        row = torch.repeat_interleave(self.start.diff(append=torch.tensor([len(self.column)])))
        order = self.column.argsort(stable=True)
        size = torch.bincount(self.column, minlength=columns)
        return Rows(size.cumsum(0) - size, row[order], self.value[order])


def _hashes(text: str) -> Int[np.ndarray, " G"]:
    """A number below 2^16 for every 1, 2, 3 and 4 characters in a row."""
    return np.concatenate(
        [np.empty(0, np.int64), *((h >> np.uint64(48)).astype(np.int64) for h in grams(text, LONGEST))]
    )


def _chosen(train: Samples, seed: int) -> list[str]:
    """Training texts in random order, up to FITTED_ON characters."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(derive("n-gram texts", seed)))
    texts, left = [], FITTED_ON
    for i in order.tolist():
        if left > 0:
            texts.append(train.natives[i])
            left -= len(texts[-1])
    return texts
