"""Membership inference: can an attacker tell training samples from others? True positives at 1 % false positives.

    score       greater where the attacker believes a sample was trained on
    threshold   the k-th greatest score of samples that were not: a false-positive rate of k / (n + 1)
    recognised  share of training samples above it; where nothing leaks it is that rate
    auc         share of pairs (training sample, another) in which the first has the greater score, half for a tie

At few false positives, because an attack that is nearly always right about a few people is worse than one that is a
little right about all (Carlini et al. 2022, "Membership Inference Attacks From First Principles", Section 4). Of fewer
than some 500 other samples that threshold is hardly known; there the test of all scores (Mann & Whitney 1947) decides.
The attacks are plain ones, likelihood or loss (Yeom et al. 2018) or distance to what was generated (Hilprecht et al.
2019): what they find leaks at least.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from aurify.cond import Cond
from aurify.evaluate import binomial, three_sample
from aurify.evaluate.alarm import rank
from aurify.evaluate.nearest import neighbours
from aurify.family import Family
from aurify.rng import BatchRng, derive
from aurify.spec import Tokens

RATE = 0.01  # false positives
LEVEL = 0.001  # of the test of all scores
FEWEST, MOST = 20, 2000  # samples a side whose distances are taken
DRAWS = 8  # of noise, each the same for every sample
BATCH = 16

Scores = Float[Tensor, " n"]


@dataclass(frozen=True)
class Membership:
    """What an attack recognises.

    Attributes:
        attack: what its score is, in a few words.
        rate: of false positives.
        recognised: share of training samples, with its 95 % interval; the threshold's own chance is in it.
        members, others: samples tried.
        auc, p: see above, and the probability of so much or more where nothing leaks.
        elsewhere: whether the two come from different places (of a book), so that what tells them apart may be that.
    """

    attack: str
    rate: float
    recognised: float
    interval: tuple[float, float]
    members: int
    others: int
    auc: float
    p: float
    elsewhere: bool = False

    @property
    def leaks(self) -> bool:
        """Whether more are recognised than chance allows."""
        return self.interval[0] > self.rate or (not self.interval[0] and self.p < LEVEL)

    @property
    def sentences(self) -> tuple[str, ...]:
        low, high = self.interval
        found = (
            f"By {self.attack}, {self.recognised:.1%} of {self.members:,} training samples can be told from "
            f"{self.others:,} held-out ones at {self.rate:.1%} false positives (95 % interval {low:.1%} to {high:.1%})"
        )
        if self.leaks and self.elsewhere:
            return (
                f"{found}. But the two come from different places of the text, so this may be the difference between "
                "these places and no memory of the model's.",
            )
        if self.leaks:
            return (f"{found}: the model tells which samples it was trained on.",)
        if not low:
            return (
                f"{found}: so few held-out samples do not tell the threshold. Of pairs of a training and a held-out "
                f"sample {self.auc:.1%} are put in order (chance: 50 %; p = {self.p:.2g}): no leak is shown.",
            )
        return (f"{found}: no more than chance, {self.rate:.1%}, explains. Stronger attacks may see more.",)

    def to_json(self) -> dict[str, Any]:
        """Title, sentences and numbers."""
        numbers = vars(self) | {"leaks": self.leaks}
        return {"title": "Membership inference", "sentences": list(self.sentences), "numbers": numbers}


def membership(
    members: Float[Tensor, " m"], others: Float[Tensor, " n"], attack: str = "loss", rate: float = RATE
) -> Membership:
    """From the scores of training samples and of samples that were not trained on; of 100 of these at least, or the
    false-positive rate is coarser: 1 / (n + 1).

    The interval joins two of 97.5 %: of the threshold, between two held-out scores (the number above the true one is
    binomial), and of the share above either (Clopper & Pearson).
    """
    n, m = len(others), len(members)
    k = rank(n, rate)
    share = k / (n + 1)
    ordered = others.sort(descending=True).values
    fewest, most = counts(n, share, 0.0125)
    above = lambda i: int((members > ordered[i - 1]).sum()) if i <= n else m  # noqa: E731
    low = binomial.interval(above(fewest), m, 0.975)[0] if fewest else 0.0
    high = binomial.interval(above(most + 1), m, 0.975)[1]
    p = three_sample.p_value(-three_sample.z(members, others))
    return Membership(attack, share, above(k) / m, (low, high), m, n, in_order(members, others), p)


def in_order(members: Float[Tensor, " m"], others: Float[Tensor, " n"]) -> float:
    """The share of pairs in which the first is greater, half for a tie."""
    rising, members = others.double().sort().values, members.double()
    below, up_to = (torch.searchsorted(rising, members, right=right) for right in (False, True))
    return float((below + up_to).double().mean()) / (2 * len(others))


def counts(n: int, p: float, tail: float) -> tuple[int, int]:
    """Bin(n, p) is below the first, and above the second, with probability at most `tail` each."""
    fewest = 0
    while 1 - binomial.at_least(fewest + 1, n, p) <= tail:
        fewest += 1
    most = fewest
    while binomial.at_least(most + 1, n, p) > tail:
        most += 1
    return fewest, most


def attack_of(model: Family) -> str:
    """Which attack suits a family: its likelihood, its loss, or, where a loss is a game's, distance."""
    if type(model).log_prob is not Family.log_prob and not model.slow_likelihood:
        return "likelihood"
    return "loss" if len(model.phases()) == 1 else "distance to the nearest generated sample"


def by_likelihood(model: Family, x: Tensor, cond: Cond) -> Iterator[float | Scores]:
    """log p(x), of tokens a symbol; yields the share done, at last the scores. x: widened (n, ...), on the CPU."""
    found = []
    for start in range(0, len(x), BATCH):
        rows = slice(start, start + BATCH)
        part = x[rows]
        with torch.inference_mode():
            nats = model.log_prob(part.to(model.device), at(cond, rows).to(model.device)).double().cpu()
        found.append(nats / model.spec.mask(part).sum(1) if isinstance(model.spec, Tokens) else nats)
        yield min(1.0, (start + BATCH) / len(x))
    yield torch.cat(found)


def by_loss(model: Family, x: Tensor, cond: Cond, seed: int = 0, draws: int = DRAWS) -> Iterator[float | Scores]:
    """Minus the training loss of each sample alone, mean over draws of noise that are the same for all samples; yields
    the share done, at last the scores. x: widened (n, ...), on the CPU."""
    (phase,) = model.phases()
    found = torch.zeros(len(x), dtype=torch.float64)
    for i in range(len(x)):
        rows = slice(i, i + 1)
        one, asked = x[rows].to(model.device), at(cond, rows).to(model.device)
        for draw in range(draws):
            with torch.no_grad():
                loss = model.loss(one, asked, phase.name, BatchRng(derive("membership", seed, draw), 1))["loss"]
            found[i] -= float(loss) / draws
        yield (i + 1) / len(x)
    yield found


def by_distance(features: Float[Tensor, "n F"], made: Float[Tensor, "m F"]) -> Scores:
    """Minus the distance to the nearest generated sample."""
    return -neighbours(features, made, 1)[0][:, 0]


def of_features(
    made: Float[Tensor, "m F"], members: Float[Tensor, "t F"], others: Float[Tensor, "u F"], of: str
) -> Membership:
    """From the samples alone, whoever made them; `of` says whose features these are."""
    sides = [some[torch.linspace(0, len(some) - 1, min(MOST, len(some))).long()] for some in (members, others)]
    mine, theirs = (by_distance(some.float(), made.float()) for some in sides)
    return membership(mine, theirs, f"distance to the nearest generated sample among features ({of})")


def at(cond: Cond, rows: slice) -> Cond:
    return cond.each(lambda slot: slot[rows])
