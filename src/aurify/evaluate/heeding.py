"""Whether a model heeds what leads it: how much likelier unseen samples are after their own text or label than after
another sample's.

    gain = 1/n sum_i [log p(x_i | c_i) - log p(x_i | c_j(i))]         j a fixed pairing, with unlike labels if it can be

A model that does not listen has no gain, and no figure that looks at samples by themselves sees it.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from aurify.evaluate import likelihood
from aurify.evaluate.preference import Z
from aurify.evaluate.progress import Steps, at_last
from aurify.evaluate.samples import Samples
from aurify.evaluate.sources import spread
from aurify.family import Family
from aurify.run import Run

MOST = 200  # unseen samples


def heeding(run: Run, model: Family, unseen: Samples, own: Tensor | None) -> Steps[tuple[str, bool] | None]:
    """A sentence, and whether it is shown that the model heeds what it is asked; None where it is asked for nothing
    or a classifier reads the labels. `own`: rows (nats, ...) of the unseen samples as they are."""
    if run.cond.text is None and not (run.cond.labels and unseen.texts is not None):
        return None
    what = "texts" if run.cond.text else "labels"
    if own is None:
        return f"No figure here tells whether samples go with the {what} that they were asked with.", False
    rows = torch.from_numpy(spread(len(unseen), MOST))
    some = unseen.take(rows)
    others = likelihood.likelihood(run, model, led_by_others(some))
    found = yield from at_last(others, "likelihood after others' " + what)
    return (told(found[:, 0] - own[rows, 0], what)) if found is not None else None


def led_by_others(samples: Samples) -> Samples:
    """Each with the condition of another, of another label where fewer than half have one label."""
    order = samples.labels.argsort(stable=True)
    other = torch.empty_like(order)
    other[order] = order.roll(len(order) // 2)
    given = tuple(samples.given[i] for i in other.tolist()) if samples.given else ()
    return replace(samples, labels=samples.labels[other], given=given)


def told(gain: Tensor, what: str) -> tuple[str, bool]:
    mean, error = float(gain.mean()), float(gain.std()) / math.sqrt(len(gain)) if len(gain) > 1 else math.inf
    low, high = mean - Z * error, mean + Z * error
    measured = (
        f"unseen samples are {mean:.3g} nats likelier with their own {what} than with others' "
        f"(95 % interval {low:.3g} to {high:.3g}, n = {len(gain)})"
    )
    heeds = low > 0
    return (f"It heeds its {what}: {measured}." if heeds else f"It is not shown to heed its {what}: {measured}."), heeds
