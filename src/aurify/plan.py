"""The plan: what to train in these minutes, on this machine, with this data.

A short calibration runs real steps of the real loop at several sizes and keeps the largest one that memory holds and
that will see enough samples in time. The number of steps is then fixed, so that the run can be repeated exactly.

The minutes are those of calibration and training together. Reading and encoding the data comes before: it is done once,
and a run must not depend on whether it was the first.
"""

import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from aurify import checkpoint, device
from aurify.bench import Bench, Costs, TooLarge, measured, short, steps_timed
from aurify.errors import UserError
from aurify.family import Preset
from aurify.loop import Loop
from aurify.modes import choose_mode, choose_threads
from aurify.needs import checkpoint_bytes, fit_memory, flops_of_step
from aurify.settings import make
from aurify.training import TrainConfig

CHECKPOINT_SECONDS = 60  # between two checkpoints, about; more where writing one takes long
LEAST = 10  # steps of a training that is worth the name
WATCHED = 0.03  # of a training's time may go into looking at it
COPIES = 6  # of what grew, in memory: the model made of it too, and what both are made in

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What will be trained, and what it is predicted to cost: seconds, bytes, FLOPs."""

    config: Any = field(metadata={"quiet": True})
    training: TrainConfig = field(metadata={"quiet": True})
    parameters: int
    step_seconds: float
    seconds: float  # of the training
    calibration: float  # seconds that went before it
    memory: int
    disk: int
    flops: float
    tried: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """For run.json."""
        return {k: v for k, v in asdict(self).items() if k not in ("config", "training")}

    def lines(self) -> list[str]:
        """For people."""
        t = self.training
        mode = f"{t.precision}, {'compiled' if t.compiled else 'eager'}"
        return [
            f"size      {self.parameters / 1e6:.2f} million parameters ({short(self.config)})",
            f"steps     {t.steps} of {t.batch} samples{f', {t.micro} at a time' if t.micro else ''}; {mode}",
            f"time      {clock(self.seconds)} predicted ({self.step_seconds * 1000:.0f} ms a step), "
            f"{clock(self.seconds + self.calibration)} with the calibration",
            f"memory    {self.memory / 2**20:.0f} MiB predicted",
            f"disk      {self.disk / 2**20:.0f} MiB predicted",
            f"work      {self.flops:.2g} FLOPs",
        ]


def clock(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def make_plan(bench: Bench, minutes: float | None, say: Say = lambda _: None) -> Plan:
    """Chooses size, batch, precision and, unless the user fixed them, steps for a budget of minutes.

    Raises:
        UserError: the minutes are too few, or memory holds not even the smallest size.
    """
    began = time.perf_counter()
    budget = 60 * minutes if minutes else None
    preset = choose_size(bench, budget, say)
    mode = choose_threads(bench, preset)
    mode |= choose_mode(bench, preset, mode, budget, say) if budget else {}
    loop = bench.loop(preset, **mode)
    if loop.state.micro:
        mode["micro"] = loop.state.micro
    flops, memory = flops_of_step(loop), fit_memory(loop).peak
    if loop.config.compiled:
        device.compile_networks(loop.state.family)
    say("measuring the chosen size")
    device.forget_peak_memory()
    costs = measured(bench, loop, seconds=0.015 * budget if budget else 0.5)
    if loop.device.type == "cpu":  # everything that a training does was done: steps, held-out figures, previews, saving
        memory = device.peak_memory()
    calibration = time.perf_counter() - began
    left = 0.98 * budget - calibration if budget else None
    training = choose_steps(bench, loop.config.model_dump() | mode, costs, left)
    more = costs.growth.bytes(training.steps)
    return Plan(
        config=preset.config,
        training=training,
        parameters=sum(p.numel() for p in loop.state.family.parameters()),
        step_seconds=costs.mean(training.steps),
        seconds=costs.of(training),
        calibration=calibration,
        memory=memory + int(COPIES * more),
        disk=(checkpoint.MOST + 1) * int(checkpoint_bytes(loop) + more),  # one more is being written
        flops=training.steps * flops,
        tried=tuple(bench.tried),
    )


def choose_size(bench: Bench, budget: float | None, say: Say) -> Preset:
    """The largest preset that memory holds and that sees the samples it needs within the budget and the steps."""
    best, began = None, time.perf_counter()
    if bench.kind.studies:
        say("studying the data")
    for preset in bench.presets():
        batch = bench.fixed(preset)["batch"]
        if bench.steps is not None and bench.steps * batch < preset.samples:
            break
        say(f"trying {short(preset.config)}")
        try:
            loop = bench.loop(preset)
        except TooLarge:
            if best is None:
                raise
            bench.tried.append(f"{short(preset.config)}: memory does not hold one sample")
            break
        if budget is not None:
            seen = 0.9 * budget * rate(bench, loop, 0.01 * budget)
            enough = bench.enough(batch)
            seen = min(seen, enough * batch) if enough else seen
            bench.tried.append(f"{short(preset.config)}: {seen:.3g} samples in time, needs {preset.samples:,}")
            if seen < preset.samples:
                break
        best = preset
        if budget is not None and time.perf_counter() - began > 0.06 * budget:
            break
    assert best, "the first preset needs no samples"
    return best


def rate(bench: Bench, loop: Loop, seconds: float) -> float:
    """Samples a second, by steps tried for so long."""
    return loop.config.batch * bench.shares / steps_timed(loop, seconds, least=2)


def choose_steps(bench: Bench, settings: dict[str, Any], costs: Costs, left: float | None) -> TrainConfig:
    """The training's settings, with as many steps as fit into the seconds left, unless the user fixed them; and with
    fewer looks at it where these would take more than WATCHED of its time."""
    wanted, seconds = bench.settings["training"].get("save_every"), max(CHECKPOINT_SECONDS, 20 * costs.save)

    def of(steps: int) -> TrainConfig:
        every = wanted or round(seconds / costs.mean(steps))
        return make(TrainConfig, {**settings, "steps": steps, "save_every": max(1, min(every, steps))})

    if bench.steps is not None:
        return of(bench.steps)
    assert left is not None, "steps or a budget is given"
    most, enough = max(1, int(left / costs.step)), bench.enough(settings["batch"])
    most = min(most, enough) if enough else most
    steps = bisect_right(range(1, most + 1), left, key=lambda n: costs.of(of(n)))
    made, short_of_time = of(max(1, steps)), steps < min(LEAST, enough or LEAST)
    dear = short_of_time or costs.watching(made) > WATCHED * costs.of(made)
    if dear and made.looks > 1 and "looks" not in bench.settings["training"]:
        return choose_steps(bench, {**settings, "looks": made.looks - 1}, costs, left)
    if short_of_time:
        raise UserError(
            f"the minutes are too few here: after calibration and previews only {steps} steps fit. "
            "Give more --minutes, or say --steps yourself."
        )
    return made
