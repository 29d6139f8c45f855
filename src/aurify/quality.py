"""When to stop: the held-out loss against its own best.

A model that has begun to learn its samples by heart gets worse on those it has not seen, while its training loss goes
on falling. Three evaluations in a row clearly above the best are taken as that; noise seldom does it.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

PATIENCE = 3  # evaluations in a row
MARGIN = 0.02  # share of the best loss's size that counts as worse


@dataclass
class Quality:
    """Fed with the held-out loss at every evaluation. Its state is JSON."""

    best: float = math.inf
    best_step: int = 0
    worse: int = 0
    told: bool = False
    copied: bool = False  # whether copying was said

    def improved(self, step: int, loss: float) -> bool:
        """Takes note of an evaluation; whether it is the best so far."""
        if loss < self.best:
            self.best, self.best_step, self.worse = loss, step, 0
            return True
        self.worse = self.worse + 1 if loss > self.best + MARGIN * abs(self.best) else 0
        return False

    def advice(self, loss: float) -> str | None:
        """What to say once it is clear that more training does harm."""
        if self.told or self.worse < PATIENCE:
            return None
        self.told = True
        return (
            f"The held-out loss was best at step {self.best_step} ({self.best:.4f}) and has been worse "
            f"{self.worse} times since (now {loss:.4f}): it learns its samples by heart. Stop now; the checkpoint of "
            f"step {self.best_step} is kept: --checkpoint best."
        )

    def state(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if v != math.inf}  # JSON knows no infinity
