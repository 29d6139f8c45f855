"""Plain generators, fitted on the spot in seconds: whoever does not beat them has not learned to generate.

    noise       each place drawn on its own from that place's training values: right histogram, no shapes
    mean        the mean sample and nothing else
    gaussian    probabilistic principal components, x = W z + mean + s e (Tipping & Bishop 1999, Eq. 7, 8)
    columns     each column of a table drawn on its own from its training values: right one by one, no ties between them
    unigram     each character drawn on its own
    n-gram      the next character from the last few

`copies` (training samples as they are) stands beside them for comparison: no distance finds fault with it.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor

from aurify.evaluate.ngram import Ngram
from aurify.evaluate.samples import Samples
from aurify.rng import derive

COMPONENTS = 64
FITTED_ON = 10_000  # training samples a Gaussian is fitted on

Plain = Callable[[Samples, int, torch.Generator], Samples]


def plain(train: Samples, n: int, seed: int, parts: tuple[int, ...] = ()) -> dict[str, Samples]:
    """n samples of every baseline that goes with this data, by name; `parts`: see Codec."""
    grids: dict[str, Plain] = {"noise": noise, "mean": mean, "gaussian": gaussian}
    if parts:
        grids = {"columns": partial(columns, parts=parts)}
    kinds = grids if train.texts is None else {"unigram": unigram, "n-gram": ngram}
    return {
        name: make(train, n, torch.Generator().manual_seed(derive("baseline", name, seed)))
        for name, make in kinds.items()
    }


def copies(train: Samples, n: int, seed: int) -> Samples:
    """n training samples, each at most once where there are enough."""
    return train.take(copied(len(train), n, seed))


def copied(known: int, n: int, seed: int) -> Int[Tensor, " n"]:
    """Which n of so many training samples these are."""
    order = torch.randperm(known, generator=torch.Generator().manual_seed(derive("copies", seed)))
    return order[torch.arange(n) % known]


def noise(train: Samples, n: int, generator: torch.Generator) -> Samples:
    flat = train.grid.flatten(1)
    rows = torch.randint(len(flat), (n, flat.shape[1]), generator=generator)
    return _grid(train, flat.gather(0, rows))


def columns(train: Samples, n: int, generator: torch.Generator, parts: tuple[int, ...]) -> Samples:
    rows = torch.randint(len(train), (n, len(parts)), generator=generator)
    return _grid(train, train.grid.gather(0, rows.repeat_interleave(torch.tensor(parts), 1)))


def mean(train: Samples, n: int, generator: torch.Generator) -> Samples:
    return _grid(train, train.grid.flatten(1).mean(0).expand(n, -1))


def gaussian(train: Samples, n: int, generator: torch.Generator) -> Samples:
    """W = U (L - s^2)^1/2 of the largest eigenvalues L of the covariance; s^2 is the mean of the others."""
    flat = train.grid.flatten(1)
    flat = flat[torch.randperm(len(flat), generator=generator)[:FITTED_ON]]
    centre = flat.mean(0)
    q = min(COMPONENTS, len(flat) - 1, flat.shape[1])
    total = float((flat - centre).square().sum() / max(1, len(flat) - 1))
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the method's own random start
        _, S, V = torch.pca_lowrank(flat, q=q)
    variances = S.square() / max(1, len(flat) - 1)
    rest = max(total - float(variances.sum()), 0.0) / max(1, flat.shape[1] - q)
    W = V * (variances - rest).clamp(min=0).sqrt()
    z, e = torch.randn(n, q, generator=generator), torch.randn(n, flat.shape[1], generator=generator)
    return _grid(train, z @ W.T + centre + rest**0.5 * e)


def _grid(train: Samples, flat: Tensor) -> Samples:
    """Rows as samples of the training data's shape, within its range."""
    x = flat.clamp(float(train.grid.min()), float(train.grid.max())).reshape(len(flat), *train.grid.shape[1:])
    return Samples([None] * len(x), x, torch.full((len(x),), -1), tuple(f"plain {i}" for i in range(len(x))))


def unigram(train: Samples, n: int, generator: torch.Generator) -> Samples:
    """Characters of the training text in any order, in texts as long as its own."""
    alphabet = list("".join(train.natives[i] for i in torch.randperm(len(train), generator=generator)[:1000].tolist()))
    texts = []
    for length in _lengths(train, n, generator):
        rows = torch.randint(len(alphabet), (length,), generator=generator)
        texts.append("".join(alphabet[i] for i in rows.tolist()))
    return _texts(texts)


def ngram(train: Samples, n: int, generator: torch.Generator) -> Samples:
    seed = int(torch.randint(2**31, (), generator=generator))
    model = Ngram.fit(train.texts or [], seed)
    return _texts(model.sample(n, _lengths(train, n, generator), seed))


def _lengths(train: Samples, n: int, generator: torch.Generator) -> list[int]:
    rows = torch.randint(len(train), (n,), generator=generator)
    return [len(train.natives[i]) for i in rows.tolist()]


def _texts(texts: list[str]) -> Samples:
    names = tuple(f"plain {i}" for i in range(len(texts)))
    return Samples(texts, None, torch.full((len(texts),), -1), names)
