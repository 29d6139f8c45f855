"""The bench: trainings that exist in memory only, to try sizes and modes on, and the clock that measures them."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from aurify import atomic, checkpoint, family, spec
from aurify.cond import from_labels
from aurify.data.store import Store
from aurify.errors import UserError
from aurify.family import Family, Preset
from aurify.growth import NONE, Growth, Step, grown
from aurify.loop import Loop
from aurify.needs import Fit, checkpoint_bytes, fit_memory
from aurify.parallel import Group
from aurify.quality import Quality
from aurify.run import Card, DataCard, Run
from aurify.settings import make
from aurify.spec import Tokens
from aurify.state import averaged, snapshot
from aurify.training import TrainConfig

LONGEST = 40  # characters of a setting that are shown


class TooLarge(UserError):
    """Not even one sample at a time of this size fits into memory."""

    def __init__(self, fit: Fit, hints: list[str]):
        free, peak = max(0, fit.room) / 2**20, fit.peak / 2**20
        super().__init__(
            f"memory does not hold a training of this size, not even one sample at a time: it needs about {peak:.0f} "
            f"MiB in all, and only {free:.0f} MiB more may be taken. Close other programs, or ask for less: "
            f"{', '.join(hints)}."
        )


@dataclass
class Bench:
    """Tries out trainings of one family on one store."""

    kind: type[Family]
    store: Store
    settings: dict[str, dict[str, Any]]  # what the user fixed: "family" and "training"
    target: torch.device
    folder: Path
    beside: Path  # where the run will be, for its disk
    shares: int = 1  # processes that will share a batch
    tried: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int | None:
        """How many the user asked for."""
        return self.settings["training"].get("steps")

    def loop(self, preset: Preset, **training: Any) -> Loop:
        """A real loop on a run without a folder, at as many samples at a time as memory holds.

        Raises:
            TooLarge: it does not hold one.
        """
        cond = family.asks(self.kind, self.store.cond)
        config = make(TrainConfig, {"steps": 10_000, **self.fixed(preset), **training})
        card = Card(
            family=self.kind.__module__.rpartition(".")[2],
            family_config=preset.config.model_dump(mode="json"),
            codec="-",
            codec_config={},
            spec=spec.to_json(self.store.spec),
            labels=cond.labels,
            text=cond.text and spec.to_json(cond.text),
            training=config.model_dump(mode="json"),
        )
        run = Run(self.folder, card, DataCard(source="", hash="", store={}, counts={}))
        run.__dict__.update(store=self.store, codec=self.store.codec)
        loop = Loop(run, self.target, Group())
        fit = fit_memory(loop)
        if not fit.micro:
            raise TooLarge(fit, self.hints(preset))
        loop.state.micro = fit.micro if fit.micro < config.batch else 0
        return loop

    def hints(self, preset: Preset) -> list[str]:
        """Settings by which a training gets smaller."""
        codec = type(self.store.codec).Config.model_fields
        width = getattr(preset.config, "width", None)
        found = ["a smaller picture, such as --set size=32"] if "size" in codec else []
        found += ["shorter samples, such as --set length=64"] if "length" in codec else []
        return found + ([f"a smaller network, such as --set width={max(8, width // 2)}"] if width else [])

    def fixed(self, preset: Preset) -> dict[str, Any]:
        n = len(self.store.split("train"))
        batch = min(preset.batch, max(8, 2 ** (n.bit_length() - 1)))
        if self.kind.passes:  # whole passes, as nearly as may be: no sample is to be seen more often than another
            most = max(1, min(batch, n))
            batch = min(range((most + 1) // 2, most + 1), key=lambda b: (-n % b, -b))
        return {"batch": batch, **self.kind.wants, **self.settings["training"]}

    def enough(self, batch: int) -> int | None:
        """Steps after which the family has seen each sample as often as it needs."""
        passes = self.kind.passes
        return passes and -(-passes * len(self.store.split("train")) // batch)

    def presets(self) -> list[Preset]:
        """The family's ladder for this much data with the user's settings laid over it, duplicates out."""
        ladder: list[Preset] = []
        samples = len(self.store.split("train"))
        for p in self.kind.presets(self.store.spec):
            wanted = p.config.model_dump() | self.kind.for_data(self.store.spec, samples) | self.settings["family"]
            config = self.studied(make(self.kind.Config, wanted))
            if all(config != other.config for other in ladder):
                ladder.append(Preset(config, p.batch, p.samples))
        return ladder

    def studied(self, config: Any) -> Any:
        """With what the family reads off the training data."""
        if not self.kind.studies:
            return config
        split, spec = self.store.split("train"), self.store.spec
        rows = np.linspace(0, len(split) - 1, min(self.kind.studies, len(split))).astype(int)
        stored, labels = split.rows(rows, spec.length if isinstance(spec, Tokens) else None)
        cond = from_labels(labels, self.store.cond)
        return self.kind.study(config, spec, spec.widen(stored), cond, len(split))


@contextmanager
def benched(
    kind: type[Family],
    store: Store,
    settings: dict[str, dict[str, Any]],
    target: torch.device,
    beside: Path,
    shares: int = 1,
) -> Iterator[Bench]:
    """A Bench with a folder of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="aurify-plan-") as folder:
        yield Bench(kind, store, settings, target, Path(folder), beside, shares)


def short(config: BaseModel) -> str:
    """The settings that differ from the defaults, in a few words."""
    found = {name: str(value) for name, value in config.model_dump(exclude_defaults=True).items()}
    told = (f"{name} {v if len(v) <= LONGEST else v[:LONGEST] + '...'}" for name, v in found.items())
    return ", ".join(told) or "defaults"


def steps_timed(loop: Loop, seconds: float, least: int) -> float:
    """Median seconds of a real step, after one to warm up."""
    return median(step.seconds for step in steps_seen(loop, seconds, least))


def steps_seen(loop: Loop, seconds: float, least: int) -> list[Step]:
    """Real steps for about so many seconds, after one to warm up."""
    run_step(loop)
    seen: list[Step] = []
    taken = 0.0
    while (len(seen) < least or (taken < seconds and len(seen) < 200)) and taken <= 4 * seconds + 2:
        took = timed(lambda: run_step(loop))
        seen.append(Step(loop.state.step, checkpoint_bytes(loop), took))
        taken += took
    return seen


def run_step(loop: Loop) -> None:
    for _ in loop.step():
        pass


def timed(action: Callable[[], Any], times: int = 1) -> float:
    """Least seconds of an action."""

    def once() -> float:
        began = time.perf_counter()
        action()
        return time.perf_counter() - began

    return min(once() for _ in range(times))


@dataclass(frozen=True)
class Costs:
    """Seconds of a training's parts, measured."""

    start: float  # what the first of each takes longer than those that follow, such as to compile
    step: float
    evaluation: float
    preview: float
    save: float
    growth: Growth = NONE  # of the steps

    def mean(self, steps: int) -> float:
        """Seconds of one of so many steps, on average."""
        return self.step + self.growth.seconds(steps) / steps

    def of(self, training: TrainConfig) -> float:
        """Seconds of a whole training; every evaluation may find the best weights so far, which are saved."""
        evaluations, steps = training.evaluations(), training.steps
        saves = len(evaluations | set(range(training.save_every, steps + 1, training.save_every)))
        return self.start + steps * self.mean(steps) + self.watching(training) + saves * self.save

    def watching(self, training: TrainConfig) -> float:
        """Seconds of looking at it."""
        return len(training.evaluations()) * self.evaluation + len(training.previews()) * self.preview


def measured(bench: Bench, loop: Loop, seconds: float) -> Costs:
    """Costs of a training like this one; its steps are tried for so long."""
    first = timed(lambda: run_step(loop))
    step, growth = grown(steps_seen(loop, seconds, least=8 if bench.kind.passes else 3))
    known = timed(lambda: loop.preview.glance.known) + timed(loop.look)
    begun = [timed(loop.held_out), timed(lambda: preview(loop))]
    again = [timed(loop.held_out), timed(lambda: preview(loop))] if loop.config.compiled else begun
    return Costs(
        start=max(0.0, first - step) + known + max(0.0, sum(begun) - sum(again)),
        step=step / bench.shares,
        evaluation=again[0],
        preview=again[1],
        save=timed(lambda: save(loop, bench.beside)),
        growth=replace(growth, a_byte=growth.a_byte / bench.shares),
    )


def preview(loop: Loop) -> None:
    with averaged(loop.state):
        list(loop.preview.make(loop.state.family, 0, Quality()))


def save(loop: Loop, beside: Path) -> None:
    """A whole checkpoint on the disk that the run will lie on, read back as the loop does, and gone again.

    Raises:
        UserError: it cannot be written there, or does not fit.
    """
    place = next(folder for folder in (beside.absolute(), *beside.absolute().parents) if folder.is_dir())
    with (
        atomic.explained(place, "try a checkpoint"),
        tempfile.TemporaryDirectory(prefix=".aurify-plan-", dir=place) as folder,
    ):
        checkpoint.verify(checkpoint.save(Path(folder), 0, *snapshot(loop.state)))
