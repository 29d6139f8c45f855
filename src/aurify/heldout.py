"""How a model does on samples it never saw, while it learns: its losses, and where these do not tell, a distance.

    energy coefficient    1 - (E|x - x'| + E|g - g'|) / 2 E|x - g|        (Székely & Rizzo 2013, Eq. 5 and Section 7)

x, x' held-out samples, g, g' made ones, each a few averaged values: 0 where they cannot be told apart, at most 1. It is
cheap and coarse: it tells a network that learns from one that does not, and evaluation tells the rest.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from aurify.cond import from_rows
from aurify.evaluate import sources
from aurify.evaluate.embedders.raw import Raw
from aurify.family import Family, Phase
from aurify.preview import sampled
from aurify.rng import BatchRng, derive
from aurify.run import Run

MOST, BATCH = 256, 64  # samples of an evaluation, and at a time
REAL, MADE = 512, 256  # held-out samples and made ones for the distance


def losses(run: Run, model: Family, phases: list[Phase]) -> dict[str, float]:
    """Mean losses on held-out samples with fixed noise, in figures "held/PHASE/NAME"; every process measures the same.
    At most four batches, so that all evaluations together cost a hundredth or two of the training; no more at a time
    than the training takes, where memory sets a limit, and no gradient of any parameter."""
    held, most = run.store.split("held"), run.training.micro or BATCH
    n = min(len(held), MOST, 4 * run.training.batch)
    model.requires_grad_(False)
    totals: dict[str, float] = {}
    units = dict.fromkeys((phase.name for phase in phases), 0.0)
    for start in range(0, n, BATCH):
        rows = np.linspace(0, len(held) - 1, n).astype(int)[start : start + BATCH]
        stored, labels = held.rows(rows)
        x = run.spec.widen(stored.to(model.device))
        cond = from_rows(labels, held.text_rows(rows), run.cond).to(model.device)
        for phase, first in product(phases, range(0, len(rows), most)):
            part = slice(first, min(first + most, len(rows)))
            rng = BatchRng(derive("held", phase.name, start), len(rows), part.start, part.stop)
            found = model.loss(x[part], cond.each(lambda slot, part=part: slot[part]), phase.name, rng)
            weight = float(found.pop("weight", part.stop - part.start))
            units[phase.name] += weight
            for name, value in found.items():
                key = f"{phase.name}/{name}"
                totals[key] = totals.get(key, 0.0) + float(value.detach()) * weight
    return {f"held/{key}": total / units[key.partition("/")[0]] for key, total in totals.items()}


def energy(run: Run, model: Family) -> float | None:
    """The energy coefficient of made samples and held-out ones; None where there are not enough of these."""
    held = run.store.split("held")
    if len(held) < BATCH:
        return None
    real, made = sources.of_split(run.codec, held, REAL), sampled(run, model, MADE)
    return coefficient(Raw().embed(real), Raw().embed(made))


def coefficient(x: Float[Tensor, "n F"], g: Float[Tensor, "m F"]) -> float:
    """Of two sets of rows; unbiased means leave each row's distance to itself out."""
    between = float(torch.cdist(x, g).mean())
    within = sum(float(torch.cdist(rows, rows).sum()) / (len(rows) * (len(rows) - 1)) for rows in (x, g))
    return 1 - within / (2 * between) if between else 0.0


def only(params: Sequence[Tensor], phase: Phase) -> None:
    """Of all the family's parameters, gradients for this phase's and no others."""
    asked = {id(p) for p in phase.params}
    for p in params:
        p.requires_grad_(id(p) in asked)
