"""Exact nats of the test split under a run whose family has a likelihood: by label, with no label, and over all labels.

python benchmarks/digit_nats.py RUN [--most 10000] [--threads 2] [--device auto] [--marginal]

    given      -log p(x | y), y the sample's own label
    unasked    -log p(x) of the network that was trained with the label hidden now and then
    marginal   -log sum_y p(y) p(x | y) with the shares of labels in training, a proper likelihood of x; where asked for

Means over samples of the averaged weights, with the standard error of the mean. The codec's rounding decides what x is:
with `rounding=nearest` and two levels a threshold at half, with `rounding=drawn` one fixed draw for each digit.
"""

import argparse
import json
import math

import torch
from torch import Tensor

from aurify.cond import Cond, from_labels
from aurify.family import Family
from aurify.run import Run
from aurify.sample import load_model

BATCH = 100


def nats(model: Family, x: Tensor, cond: Cond) -> Tensor:
    """-log p of each row."""
    return -model.log_prob(x, cond.to(model.device)).double().cpu()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run")
    arguments.add_argument("--most", type=int, default=10_000)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--device", default="auto")
    arguments.add_argument("--marginal", action="store_true")
    asked = arguments.parse_args()
    run = Run.load(asked.run)
    model, step = load_model(run, device_name=asked.device)
    torch.set_num_threads(asked.threads)
    test, train = run.store.split("test"), run.store.split("train")
    counts = torch.bincount(torch.from_numpy(train.labels[train.first : train.last]).long().clamp_min(0))
    prior = (counts / counts.sum()).log() if run.cond.width else torch.zeros(1)
    found: dict[str, list[Tensor]] = {"given": [], "unasked": [], "marginal": []}
    with torch.inference_mode():
        for start in range(0, min(asked.most, len(test)), BATCH):
            stored, labels = test.rows(range(start, min(start + BATCH, len(test))))
            x = run.spec.widen(stored).to(model.device)
            found["given"].append(nats(model, x, from_labels(labels, run.cond)))
            found["unasked"].append(nats(model, x, from_labels([None] * len(x), run.cond)))
            if asked.marginal:
                every = [from_labels([k] * len(x), run.cond) for k in range(run.cond.width)]
                by_label = torch.stack([-nats(model, x, cond) for cond in every], 1)
                found["marginal"].append(-(by_label + prior).logsumexp(1))
    told: dict[str, object] = {"run": str(run.path), "family": run.card.family, "step": step,
                               "codec": run.card.codec_config}  # fmt: skip
    for name, parts in found.items():
        if parts:
            values = torch.cat(parts)
            told[name] = [round(float(values.mean()), 3), round(float(values.std()) / math.sqrt(len(values)), 3)]
            told["samples"] = len(values)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
