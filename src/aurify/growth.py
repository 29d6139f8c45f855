"""What a training keeps may grow with every step, as the table of a family that counts does; then its steps get longer.

b(n) = b(1) n^p                       bytes kept after n steps, 0 <= p <= 1 (Heaps 1978: the words of a longer text)
s(n) = s + c (b(n) - b(m))            seconds of step n, where those of step m are s
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import linear_regression, median
from typing import NamedTuple


class Step(NamedTuple):
    """One that was measured: its number, from 1; the bytes kept after it, and its seconds."""

    n: int
    bytes: float
    seconds: float


@dataclass(frozen=True)
class Growth:
    """Of what is kept, and of the seconds of a step with it; by default neither grows."""

    first: float = 0.0  # bytes after one step
    power: float = 0.0
    since: float = 0.0  # bytes with which a step takes what it is said to
    a_byte: float = 0.0  # seconds that a step takes longer for each byte

    def bytes(self, n: int) -> float:
        """Kept after n steps, beyond `since`."""
        return max(0.0, self.first * n**self.power - self.since)

    def seconds(self, n: int) -> float:
        """That n steps take longer than n times the first: the sum of c (b(k) - b(m)), by its integral."""
        kept = self.first * n ** (self.power + 1) / (self.power + 1)
        return max(0.0, self.a_byte * (kept - n * self.since))


NONE = Growth()


def grown(steps: Sequence[Step]) -> tuple[float, Growth]:
    """Seconds of the first of these steps, which came one after another, and how they grow."""
    begin, middle, end = steps[0], steps[len(steps) // 2], steps[-1]
    if end.bytes <= begin.bytes:
        return median(step.seconds for step in steps), NONE
    a_byte = max(0.0, linear_regression([s.bytes for s in steps], [s.seconds for s in steps]).slope)
    power = min(1.0, math.log(end.bytes / middle.bytes) / math.log(end.n / middle.n))  # it falls slowly
    first = end.bytes / end.n**power
    seconds = max(median(s.seconds - a_byte * (s.bytes - begin.bytes) for s in steps), 1e-6)
    return seconds, Growth(first, power, begin.bytes, a_byte)
