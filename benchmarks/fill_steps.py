"""Quality against steps of a `maskgit` run on text, beside other runs of the same data.

    python benchmarks/fill_steps.py RUN [OTHER ...] [-n 128] [--steps 1,2,4,8,16,32,256] [--orders surest,random]

Of n samples: bits per character that an n-gram model of the training text needs for them (real text stands beside;
below it, samples are too plain), distinct words, and the energy coefficient of n-gram features against unseen windows
(Szekely & Rizzo 2013; 0: not told apart, at most 1). Seconds are those of a sample among many.
"""

import argparse
import itertools
import json
import math
import time
from typing import Any

import torch

from aurify import sample as sampling
from aurify.evaluate import sources
from aurify.evaluate.embedders.ngrams import Ngrams
from aurify.evaluate.ngram import Ngram
from aurify.evaluate.samples import Samples
from aurify.heldout import coefficient
from aurify.run import Run


class Judge:
    """What samples are compared with: the training text, and half of what the run never saw."""

    def __init__(self, run: Run, n: int):
        real = sources.of_store(run.store, seed=1)
        train, self.fresh = real.train, real.fresh.take(range(min(n, len(real.fresh))))
        self.ngram, self.features = Ngram.fit(train.texts or [], ends=False), Ngrams()
        list(self.features.fit(train))
        self.reference = self.features.embed(real.reference.take(range(min(4 * n, len(real.reference)))))

    def figures(self, samples: Samples) -> dict[str, float]:
        texts = samples.texts or []
        words = [word for text in texts for word in text.split()]
        bits = float(self.ngram.nats(texts).sum()) / math.log(2) / sum(map(len, texts))
        distance = coefficient(self.reference, self.features.embed(samples))
        return {
            "bits": round(bits, 3),
            "distinct": round(len(set(words)) / len(words), 3),
            "energy": round(distance, 3),
        }


def made(run: Run, n: int, options: dict[str, Any]) -> tuple[Samples, dict[str, float]]:
    model, _ = sampling.load_model(run)
    began = time.perf_counter()
    samples = finished(sources.of_run(run, model, n, 1, options))
    seconds = (time.perf_counter() - began) / n
    return samples, {"seconds": round(seconds, 3)}


def finished(steps: Any) -> Any:
    """What a generator returns at its end."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("runs", nargs="+")
    arguments.add_argument("--steps", default="1,2,4,8,16,32,256")
    arguments.add_argument("--orders", default="surest,random")
    arguments.add_argument("--noise", type=float, default=4.5)
    arguments.add_argument("--temperature", type=float, default=1.0)
    arguments.add_argument("-n", type=int, default=128)
    asked = arguments.parse_args()
    run, *others = map(Run.load, asked.runs)
    torch.set_num_threads(run.training.threads or torch.get_num_threads())
    judge = Judge(run, asked.n)
    n = len(judge.fresh)
    print(json.dumps({"what": "real", "n": n, **judge.figures(judge.fresh)}), flush=True)
    for other in others:
        samples, seconds = made(other, n, {"temperature": asked.temperature})
        print(json.dumps({"what": other.card.family, **judge.figures(samples), **seconds}), flush=True)
    for order, steps in itertools.product(asked.orders.split(","), map(int, asked.steps.split(","))):
        options = {"steps": steps, "order": order, "noise": asked.noise, "temperature": asked.temperature}
        samples, seconds = made(run, n, options)
        print(json.dumps({"what": f"{order}, {steps} steps", **judge.figures(samples), **seconds}), flush=True)


if __name__ == "__main__":
    main()
