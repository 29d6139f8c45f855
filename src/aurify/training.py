"""How a run is trained: every number the loop needs, fixed before the first step so that it can be repeated exactly."""

import math
from typing import Literal

from pydantic import BaseModel, Field

from aurify.device import Precision


class TrainConfig(BaseModel, frozen=True, extra="forbid"):
    steps: int = Field(1000, ge=1, description="optimizer steps")
    batch: int = Field(64, ge=1, description="samples a step, over all processes")
    micro: int | None = Field(None, ge=1, description="samples at a time, where memory does not hold the whole batch")
    precision: Precision = Field("float32", description="arithmetic of the networks; weights are float32")
    compiled: bool = Field(False, description="compile the networks: pays in long runs only")
    threads: int | None = Field(None, ge=1, description="processor threads; the last bits of a run depend on them")
    clip: float = Field(1.0, gt=0, description="largest norm of a phase's gradient")
    warmup: float = Field(0.05, ge=0, le=1, description="share of the steps over which the rate rises")
    decay: Literal["linear", "cosine", "late", "none"] = Field(
        "linear", description="late: constant, then linear over the last 40 %"
    )
    ema: float = Field(0.05, ge=0, lt=1, description="how much of the run the averaged weights remember; 0: none")
    posthoc: bool = Field(
        False, description="keep two more averages in every checkpoint: --checkpoint ema=0.1 then chooses their length"
    )
    save_every: int = Field(500, ge=1, description="steps between checkpoints")
    looks: int = Field(6, ge=1, le=6, description="previews, at the end, half, a quarter ... of the run")
    seed: int = Field(0, ge=0, description="of weights, data order and noise")

    def rate(self, step: int) -> float:
        """The factor on every learning rate at a step (0-based); beyond the last, where plans still time steps, 0."""
        rise = min(1.0, (step + 1) / max(1, round(self.warmup * self.steps)))
        left = max(0.0, 1 - step / self.steps)
        shape = {"linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2, "late": min(1, left / 0.4), "none": 1.0}
        return rise * shape[self.decay]

    def memory(self, step: int) -> float:
        """EMA decay at a step: short at first, so that early weights are forgotten soon (Tarvainen & Valpola 2017)."""
        return min(1 - 1 / max(1.0, self.ema * self.steps), (step + 1) / (step + 10))

    def previews(self) -> set[int]:
        """Steps after which a preview is made: growing intervals, the last step included."""
        halves = {math.ceil(self.steps * 0.5**k) for k in range(self.looks) if self.steps * 0.5**k >= 1}
        return halves | ({math.ceil(self.steps * 0.75)} if self.looks > 2 else set())

    def evaluations(self) -> set[int]:
        """Steps after which the held-out loss is measured: the previews and every eighth of the run, or quarter where
        looks are to be few, which falls upon most of them."""
        parts = 8 if self.looks > 3 else 4
        return self.previews() | {math.ceil(self.steps * k / parts) for k in range(1, parts + 1)}

    @property
    def log_every(self) -> int:
        return max(1, self.steps // 500)
