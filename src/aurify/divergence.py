"""Tells a spike from noise: the training loss against its own recent past.

After PaLM (Chowdhery et al. 2022, section 5.1): go back to a healthy state and skip the batches that led to the spike.
"""

import math
from dataclasses import dataclass, field
from typing import Any

WINDOW = 64
SCORE = 12.0  # robust standard deviations; in healthy trainings of the shipped families the largest seen was below 8
PATIENCE = 3  # steps in a row: one bad batch is noise, three are a departure


@dataclass
class Watch:
    """Fed with the loss of every step; says when the training has left its path. Its state is JSON."""

    recent: dict[str, list[float]] = field(default_factory=dict)
    strikes: int = 0

    def spiked(self, losses: dict[str, float]) -> bool:
        """Whether any loss lies far above its recent median for PATIENCE steps in a row."""
        high = False
        for name, value in losses.items():
            past = self.recent.setdefault(name, [])
            if len(past) >= WINDOW // 2 and value > threshold(past):
                high = True
            else:
                past.append(value)
                del past[:-WINDOW]
        self.strikes = self.strikes + 1 if high else 0
        return self.strikes >= PATIENCE

    def state(self) -> dict[str, Any]:
        return {"recent": self.recent, "strikes": self.strikes}


def threshold(past: list[float]) -> float:
    """Median plus SCORE robust deviations, at least a tenth of the median's size above it."""
    ordered = sorted(past)
    middle = ordered[len(ordered) // 2]
    spread = sorted(abs(value - middle) for value in past)[len(past) // 2] * 1.4826  # MAD of a normal distribution
    return middle + SCORE * max(spread, 0.01 * abs(middle), 1e-6)


def finite(values: dict[str, float]) -> bool:
    return all(math.isfinite(value) for value in values.values())
