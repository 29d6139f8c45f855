"""When suspicion is too much: a limit that held-out samples set, and three rules by which a set of samples rings.

    s           suspicion of a sample: the greatest of its columns, each in units in which 0 is the median of held-out
                samples and 1 an upper quantile of theirs: together that of `RATE` for the columns of native space, of
                a fifth of it for features, where a copy need not be one that people see
    n, m        held-out samples, samples judged
    threshold   the k-th greatest s of held-out samples; a fresh sample lies above it with probability k / (n + 1)

    share       more lie above the threshold than chance allows, P(J >= j) < 0.004
    beyond      more lie above every held-out sample than chance allows, P(J >= j) < 0.004
    far         one lies so far above that among m fresh ones it would be seen with probability 0.002

J is the exact law `binomial.beyond` of fresh samples, whatever their distribution, so the first two rules ring for such
samples in less than 0.4 % of sets each. The third extends the tail of held-out scores exponentially, as the theory of
`nearest.suspicion` has it: with S the sum of the k greatest excesses over u, a fresh excess exceeds t with probability
(1 + t / S)^-k (the predictive law of an exponential whose rate is not known). The widest of several k counts; of fewer
than 50 held-out samples (rows of tables, whose scores have few values, above all) no tail can be told. A fresh
sample that is in the training data rings too, and rightly: data are cleared of copies before they are split.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from aurify.evaluate import binomial

RATE = 0.01  # false alarms among single samples
LEVEL, FAR = 0.004, 0.002  # false alarms among sets, by each of the first two rules and by the third
TAIL = 50  # held-out samples from which on their tail is told
FLOOR = 0.02  # least difference between median and upper quantile that counts as one unit


def rank(n: int, rate: float = RATE) -> int:
    """k: the number of held-out samples at or above the threshold. Fewer than 1 / rate samples give a coarser rate."""
    return max(1, int(rate * (n + 1) + 1e-9))


def upper(scores: Float[Tensor, " n"], k: int) -> Float[Tensor, ""]:
    """The k-th greatest."""
    return scores.topk(k).values[-1]


def shares(columns: int, native: int) -> list[float]:
    """The share of held-out samples above the unit of each column; the first `native` are of native space."""
    return [RATE / native if i < native else RATE / 5 for i in range(columns)]


@dataclass(frozen=True)
class Unit:
    """Columns to one score: what is 0 and what is 1 in each."""

    zero: Float[Tensor, " c"]
    one: Float[Tensor, " c"]

    @classmethod
    def of(cls, held: Float[Tensor, "n c"], native: int) -> "Unit":
        """native: how many of the columns, the first, are of native space."""
        asked = zip(held.T, shares(held.shape[1], native), strict=True)
        one = torch.stack([upper(column, rank(len(held), share)) for column, share in asked])
        return cls(held.median(0).values, one)

    def score(self, columns: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """The greatest of the columns; where there are fewer than held-out samples have, of the first ones."""
        d = columns.shape[1]
        unit = (self.one - self.zero).clamp_min(FLOOR)
        return ((columns - self.zero[:d]) / unit[:d]).amax(1)


def apart(held: Float[Tensor, "n c"], native: int) -> Float[Tensor, " n"]:
    """Scores of held-out samples, each in the unit that all others set, as a fresh sample has its score from held-out
    ones alone. In a unit of their own the greatest of each column would be just 1, and of several columns a fresh
    sample would have as many chances to exceed 1: with 50 texts one set in eight would ring."""
    n = len(held)
    if n < 2:
        return torch.zeros(n)
    scores = []
    for column, share in zip(held.T, shares(held.shape[1], native), strict=True):
        k, middle = rank(n - 1, share), (n - 2) // 2
        top, rising = column.topk(min(k + 1, n)).values, column.sort().values
        one = torch.where(column >= top[k - 1], top[-1], top[k - 1])
        zero = torch.where(column <= rising[middle], rising[middle + 1], rising[middle])
        scores.append((column - zero) / (one - zero).clamp_min(FLOOR))
    return torch.stack(scores, 1).amax(1)


@dataclass(frozen=True)
class Alarm:
    """What the rules say of m scores.

    Attributes:
        threshold: above it a sample is flagged.
        rate: share of fresh real samples that are, on average.
        m, flagged, beyond, far: samples; those above the threshold, above all held-out ones, and far above.
        p_share, p_beyond: probability of so many or more, if they were fresh.
    """

    threshold: float
    rate: float
    m: int
    flagged: int
    beyond: int
    far: int
    p_share: float
    p_beyond: float

    @property
    def rings(self) -> bool:
        return self.p_share < LEVEL or self.p_beyond < LEVEL or self.far > 0


def alarm(scores: Float[Tensor, " m"], held: Float[Tensor, " n"]) -> Alarm:
    """Judges scores by those of held-out samples."""
    n, m = len(held), len(scores)
    k = rank(n)
    threshold, greatest = float(upper(held, k)), float(held.max())
    flagged, beyond = int((scores > threshold).sum()), int((scores > greatest).sum())
    return Alarm(
        threshold=threshold,
        rate=k / (n + 1),
        m=m,
        flagged=flagged,
        beyond=beyond,
        far=int((scores > far_limit(held, m)).sum()),
        p_share=binomial.beyond(flagged, m, k, n),
        p_beyond=binomial.beyond(beyond, m, 1, n),
    )


def against(columns: Float[Tensor, "m c"], held: Float[Tensor, "n c"], native: int) -> Alarm:
    """Judges columns by those of held-out samples, of which the first `native` are of native space."""
    return alarm(Unit.of(held, native).score(columns), apart(held, native))


def far_limit(held: Float[Tensor, " n"], m: int) -> float:
    """The score that the greatest of m fresh samples exceeds with probability `FAR`."""
    n = len(held)
    if n < TAIL:
        return float("inf")
    limits = [float(held.max())]
    for k in {n // 2, n // 10, n // 50}:
        if k >= 5:
            top = held.topk(k + 1).values
            excesses = float((top[:k] - top[k]).sum())
            limits.append(float(top[k]) + excesses * max(0.0, (m * k / n / FAR) ** (1 / k) - 1))
    return max(limits) if len(limits) > 1 else float("inf")
