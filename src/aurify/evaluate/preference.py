"""Which of two sets people prefer, from blind judgements: a rate, its interval, and whether it may be chance.

    rate      p = (w + t / 2) / n           w for the first set, t ties, n judgements
    interval  Wilson 1927, Eq. for the binomial: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    chance    P(|X - m/2| >= |w - m/2|), X ~ Binomial(m, 1/2), m = n - t     the exact sign test (Dixon & Mood 1946)
    needed    ((z / 2 + z' s) / (p - 1/2))^2,  s^2 = p (1 - p) - t / 4n     so that the interval leaves out 1/2 in 80 %

Ties are counted as half a win in the rate, where they make the interval wider than it need be (a tie varies less than
a choice); they say nothing against chance, so the sign test leaves them out.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

Z = 1.959964  # 97.5 % quantile of the normal distribution
Z_POWER = 0.841621  # 80 %


def wilson(p: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a rate p seen in n judgements; (0, 1) for none."""
    if n == 0:
        return (0.0, 1.0)
    centre, shrink = p + Z**2 / (2 * n), 1 + Z**2 / n
    half = Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return (max(0.0, (centre - half) / shrink), min(1.0, (centre + half) / shrink))


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p-value against an even choice, exact."""
    m = wins + losses
    tail = sum(math.comb(m, k) for k in range(min(wins, losses) + 1)) / 2**m
    return min(1.0, 2 * tail)


def judgements_for(p: float, ties: float) -> int | None:
    """How many judgements tell a rate p from 1/2 with power 0.8, where a share `ties` of them cannot tell; None: no
    number does."""
    if p == 0.5:
        return None
    s = math.sqrt(max(0.0, p * (1 - p) - ties / 4))
    return math.ceil(((Z / 2 + Z_POWER * s) / (p - 0.5)) ** 2)


@dataclass(frozen=True)
class Preference:
    """What blind judgements say of two sets.

    Attributes:
        sets: names of the two.
        wins, losses, ties: judgements for the first set, for the second, and neither.
        asked: pairs in all, judged or not.
    """

    sets: tuple[str, str]
    wins: int
    losses: int
    ties: int
    asked: int

    @property
    def n(self) -> int:
        return self.wins + self.losses + self.ties

    @property
    def rate(self) -> float:
        """Share for the first set, ties as half; 1/2 where nothing was judged."""
        return (self.wins + self.ties / 2) / self.n if self.n else 0.5

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.rate, self.n)

    @property
    def p_value(self) -> float:
        return sign_test(self.wins, self.losses)

    @property
    def told(self) -> bool:
        """Whether the two can be told apart: the interval leaves out 1/2 and chance is below 5 %."""
        low, high = self.interval
        return self.p_value < 0.05 and not low <= 0.5 <= high

    @property
    def needed(self) -> int | None:
        """Judgements still wanted, if the rate stays as it is; 0 once told, None where no number would do."""
        if self.told:
            return 0
        whole = judgements_for(self.rate, self.ties / self.n) if self.n else None
        return None if whole is None else max(1, whole - self.n)

    def sentences(self) -> tuple[str, ...]:
        first, second = self.sets
        if not self.n:
            return ("Nothing has been judged yet.",)
        low, high = self.interval
        seen = (
            f"{first} was preferred to {second} in {self.rate:.0%} of {self.n} blind judgements (95 % interval "
            f"{low:.0%} to {high:.0%}, Wilson): {self.wins} for {first}, {self.losses} for {second}, "
            f"{self.ties} could not tell and count as half."
        )
        chance = f"By chance alone, a result as uneven comes with probability {self.p_value:.2g} (exact sign test)."
        return (seen, chance, self._outcome())

    def _outcome(self) -> str:
        first, second = self.sets
        if self.told:
            better = first if self.rate > 0.5 else second
            return f"So {better} is preferred."
        if self.needed is None:
            return "So nothing tells the two apart, and at this rate no number of judgements would."
        return (
            f"So nothing tells the two apart yet; at this rate about {self.needed} more judgements would, with "
            "probability 0.8."
        )

    def to_json(self) -> dict[str, Any]:
        found = {"n": self.n, "rate": self.rate, "interval": list(self.interval), "p_value": self.p_value}
        return asdict(self) | found | {"told": self.told, "needed": self.needed, "sentences": list(self.sentences())}
