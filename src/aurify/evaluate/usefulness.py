"""Did generating help? One judge, three trainings of equally many steps: on real, on generated, on both together.

Tested on real samples that neither the model nor the judge saw (Esteban et al. 2017, "Real-valued (Medical) Time Series
Generation", Section 4: train on synthetic, test on real). Both against real is a paired test on the same samples
(McNemar 1947, in its exact form): of those that only one judge reads rightly, half would fall to each by chance.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from aurify.evaluate import binomial, text_judge
from aurify.evaluate.judge import BATCH, Judge, train_judge
from aurify.evaluate.samples import Samples
from aurify.rng import derive
from aurify.spec import Grid

MOST = 2000  # samples a side
FEWEST = 20  # labelled samples a side below which nothing is said
STEPS = 120  # of the judge of grids


@dataclass(frozen=True)
class Usefulness:
    """What the judge reads rightly, by what it learned from.

    Attributes:
        right: counts for "real", "generated" and "both".
        tested: real held-out samples.
        n: samples it learned from, real and generated.
        gained, lost: samples that only "both" reads rightly, and only "real".
        p: probability of so uneven a split if generated samples made no difference.
    """

    right: dict[str, int]
    tested: int
    n: tuple[int, int]
    gained: int
    lost: int
    p: float

    @property
    def sentences(self) -> tuple[str, ...]:
        told = {kind: binomial.share(k, self.tested) for kind, k in self.right.items()}
        named = {"real": "real samples", "generated": "generated samples alone", "both": "both together"}
        read = "; ".join(f"{named[kind]}: {self.right[kind] / self.tested:.1%}, {told[kind]}" for kind in named)
        change = (self.gained - self.lost) / self.tested
        verb = "helped" if change > 0 else "hurt"
        effect = f"{verb}: {change:+.1%}" if self.p < 0.05 else f"made no difference that can be told: {change:+.1%}"
        return (
            f"A judge trained on {self.n[0]:,} real or {self.n[1]:,} generated samples reads real held-out ones "
            f"rightly after training on {read}.",
            f"Adding generated samples {effect} (McNemar: {self.gained} gained, {self.lost} lost, p = {self.p:.2g}).",
        )

    def to_json(self) -> dict[str, Any]:
        """Title, sentences and numbers."""
        accuracy = {kind: k / self.tested for kind, k in self.right.items()}
        intervals = {kind: binomial.interval(k, self.tested) for kind, k in self.right.items()}
        numbers = vars(self) | {"accuracy": accuracy, "intervals": intervals}
        return {"title": "Usefulness", "sentences": list(self.sentences), "numbers": numbers}


def usefulness(made: Samples, train: Samples, held: Samples, seed: int = 0) -> Iterator[float | Usefulness | None]:
    """Yields the share done, at last the findings; None where a side has too few labels."""
    sets = [labelled(samples, seed) for samples in (made, train, held)]
    if min(len(s) for s in sets) < FEWEST or len(sets[2].labels.unique()) < 2:
        yield None
        return
    made, train, held = sets
    trainings = {"real": (train,), "generated": (made,), "both": (train, made)}
    right: dict[str, Bool[Tensor, " n"]] = {}
    for kind, parts in trainings.items():
        for step in read(parts, held, seed):
            if isinstance(step, Tensor):
                right[kind] = torch.eq(step, held.labels)
            else:
                yield (len(right) + step) / len(trainings)
    gained, lost = (int((right[a] & ~right[b]).sum()) for a, b in (("both", "real"), ("real", "both")))
    p = min(1.0, 2 * binomial.at_least(max(gained, lost), gained + lost, 0.5))
    counts = {kind: int(r.sum()) for kind, r in right.items()}
    yield Usefulness(counts, len(held), (len(train), len(made)), gained, lost, p)


def labelled(samples: Samples, seed: int) -> Samples:
    """Up to `MOST` samples that have a label."""
    rows = torch.nonzero(samples.labels >= 0)[:, 0]
    generator = torch.Generator().manual_seed(derive("usefulness", seed))
    return samples.take(rows[torch.randperm(len(rows), generator=generator)[:MOST]])


def read(parts: tuple[Samples, ...], held: Samples, seed: int) -> Iterator[float | Int[Tensor, " n"]]:
    """Trains a judge on all parts; yields the share done, at last the labels it reads in `held`."""
    labels = torch.cat([part.labels for part in parts])
    if held.texts is not None:
        judge = text_judge.train([text for part in parts for text in part.texts or ()], labels)
        yield judge.read(held.texts)
        return
    x = torch.cat([part.grid for part in parts])
    epochs = STEPS * BATCH // (2 * MOST)  # never more than the least number of steps, which all three then get
    for step in train_judge(x, labels, Grid(x.shape[1], tuple(x.shape[2:])), epochs, seed):
        yield step.read(held.grid) if isinstance(step, Judge) else step
