"""Are samples asked for by label what was asked, and are they as varied as real ones? Two figures with their protocol.

The same as an evaluation gives, but for two of its metrics alone: what the demo has time for.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from aurify import sample as sampling
from aurify.evaluate import binomial, embedder, figures, rounding, sources
from aurify.evaluate.assess import preprocessing
from aurify.evaluate.embedders.classifier import Classifier
from aurify.evaluate.figure import Figure, Measured, Protocol
from aurify.evaluate.interval import BLOCKS
from aurify.evaluate.progress import Doing, at_last
from aurify.evaluate.samples import Samples
from aurify.run import Run
from aurify.spec import Grid

METRICS = ("label_accuracy", "coverage")


@dataclass(frozen=True)
class ByLabel:
    """What was found, against real samples of `side`, "test" or "held"."""

    figures: tuple[Figure, ...]
    side: str
    judge: tuple[int, int]  # real samples of `side` that the judge reads rightly, of all there are

    def figure(self, metric: str) -> Figure:
        return next(f for f in self.figures if f.metric == metric)

    def to_json(self) -> dict[str, Any]:
        right, n = self.judge
        told = {"right": right, "n": n, "interval": binomial.interval(right, n)}
        return {"figures": [f.to_json() for f in self.figures], "judge": told}

    def lines(self) -> list[str]:
        accuracy, coverage = (self.figure(name) for name in METRICS)
        real = {"test": "real test samples", "held": "real held-out samples"}[self.side]
        p, (right, n) = accuracy.protocol, self.judge
        judge = percent(Measured(right / n, binomial.interval(right, n)))
        return [
            f"asked label read in {beside(percent, accuracy, real)}",
            f"{coverage.title} {beside(rounding.measured, coverage, f'of {real}')}",
            f"n = {p.n:,} on each side, against {p.reference}; intervals hold 95 %",
            f"read by a {p.embedder} ({p.weights}), trained on the training split alone, "
            f"which reads {judge[0]} ({judge[1]}) of all {n:,} {real} rightly",
        ]


def beside(words: Callable[[Measured], tuple[str, str]], f: Figure, real: str) -> str:
    """Value and interval of the samples, and those of real ones: "98.7 % (97.8 to 99.3; real ones 99.4 %, ...)"."""
    assert f.floor is not None
    (value, interval), (floor, around) = words(f.measured), words(f.floor)
    return f"{value} ({interval}; {real} {floor}, {around})"


def percent(m: Measured) -> tuple[str, str]:
    """A share and its interval in percent: ("98.7 %", "97.8 to 99.3")."""
    low, high = m.interval
    return f"{100 * m.value:.1f} %", f"{100 * low:.1f} to {100 * high:.1f}"


def by_label(run: Run, n: int = 1000, seed: int = 1) -> Iterator[Doing | ByLabel]:
    """Yields what is being done, at last the figures.

    n samples, labels as often as in training, against as many real ones of the test split (the held-out one where
    there is no test split); as many others of that split stand in their place for the floor.
    """
    assert isinstance(run.spec, Grid) and run.cond.width
    train = with_labels(sources.of_split(run.codec, run.store.split("train")))
    learned, _ = figures.parted(train)  # the very judge that evaluations of runs on this data have
    fitting = embedder.fitted(Classifier(), learned, run.store.hash)
    judge = yield from at_last(fitting, "training the judge")
    side = "test" if len(run.store.split("test")) else "held"
    unseen = with_labels(sources.of_split(run.codec, run.store.split(side)))
    reference, fresh = sources.dealt(unseen, seed)
    n = min(n, len(reference))
    model, _ = sampling.load_model(run)
    made = yield from sources.of_run(run, model, n, seed, {})
    sets = {"made": made, "reference": reference.take(range(n)), "fresh": fresh.take(range(n))}
    seen = yield from figures.views(judge, sets, {})
    told = f"half of the {'held-out' if side == 'held' else side} samples"
    protocol = Protocol(judge.title, judge.weights, n, told, run.data.hash, preprocessing(run.spec), seed, BLOCKS)
    found, _ = yield from figures.figures(seen, protocol, METRICS)
    read = judge.probabilities(judge.embed(unseen))
    assert read is not None
    yield ByLabel(tuple(found), side, (int((read.argmax(1) == unseen.labels).sum()), len(unseen)))


def with_labels(samples: Samples) -> Samples:
    """Those that have a label."""
    return samples if samples.labelled else samples.take(torch.nonzero(samples.labels >= 0)[:, 0])
