"""The plan: what to train in these minutes, on this machine, with this data.

A short calibration runs real steps of the real loop at several sizes and keeps the largest one that will see enough
samples in time. Precision and compilation are taken only where they are faster by measurement and their gradients agree
with plain float32. The number of steps is then fixed, so that the run can be repeated exactly.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from aurify import device, spec
from aurify.data.store import Store
from aurify.device import Precision
from aurify.errors import UserError
from aurify.family import Family, Preset
from aurify.heldout import only
from aurify.loop import Loop, averaged
from aurify.parallel import Group
from aurify.quality import Quality
from aurify.run import Card, DataCard, Run
from aurify.settings import make
from aurify.training import TrainConfig

LONG = 900.0  # seconds of training from which the minute that compilation takes can pay
AGREE = {"float32": 1e-3, "bfloat16": 0.05}  # relative error of gradients that a mode may have
CHECKPOINT_SECONDS = 60  # between two checkpoints, about


@dataclass(frozen=True)
class Plan:
    """What will be trained, and what it is predicted to cost."""

    config: Any = field(metadata={"quiet": True})
    training: TrainConfig = field(metadata={"quiet": True})
    parameters: int
    step_seconds: float
    seconds: float
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
            f"time      {clock(self.seconds)} predicted ({self.step_seconds * 1000:.0f} ms a step)",
            f"memory    {self.memory / 2**20:.0f} MiB predicted",
            f"disk      {self.disk / 2**20:.0f} MiB predicted",
            f"work      {self.flops:.2g} FLOPs",
        ]


def short(config: BaseModel) -> str:
    """The settings that differ from the defaults, in a few words."""
    return (
        ", ".join(f"{name} {value}" for name, value in config.model_dump(exclude_defaults=True).items()) or "defaults"
    )


def clock(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


@dataclass
class Bench:
    """Tries out trainings of one family on one store."""

    kind: type[Family]
    store: Store
    settings: dict[str, dict[str, Any]]  # what the user fixed: "family" and "training"
    target: torch.device
    folder: Path
    shares: int = 1  # processes that will share a batch
    tried: list[str] = field(default_factory=list)

    def loop(self, preset: Preset, **training: Any) -> Loop:
        """A real loop on a run that exists in memory only."""
        config = make(TrainConfig, {"steps": 10_000, **self.fixed(preset), **training})
        card = Card(
            family=self.kind.__module__.rpartition(".")[2],
            family_config=preset.config.model_dump(mode="json"),
            codec="-",
            codec_config={},
            spec=spec.to_json(self.store.spec),
            labels=self.store.cond.labels,
            training=config.model_dump(mode="json"),
        )
        run = Run(self.folder, card, DataCard(source="", hash="", store={}, counts={}))
        run.__dict__.update(store=self.store, codec=self.store.codec)
        return Loop(run, self.target, Group())

    def fixed(self, preset: Preset) -> dict[str, Any]:
        batch = min(preset.batch, max(8, 2 ** (len(self.store.split("train")).bit_length() - 1)))
        return {"batch": batch, **self.kind.wants, **self.settings["training"]}

    def presets(self) -> list[Preset]:
        """The family's ladder with the user's settings laid over it, duplicates out."""
        ladder: list[Preset] = []
        for p in self.kind.presets(self.store.spec):
            config = make(self.kind.Config, p.config.model_dump() | self.settings["family"])
            if all(config != other.config for other in ladder):
                ladder.append(Preset(config, p.batch, p.samples))
        return ladder


def make_plan(
    bench: Bench, minutes: float | None, steps: int | None, say: Callable[[str], None] = lambda _: None
) -> Plan:
    """Chooses size, batch, precision and steps for a budget of minutes or of steps."""
    began = time.perf_counter()
    budget = 60 * minutes if minutes else None
    preset = choose_size(bench, budget, steps, say)
    mode = choose_threads(bench, preset)
    mode |= choose_mode(bench, preset, mode, budget, say) if budget else {}
    loop = bench.loop(preset, **mode)
    micro, memory = fit_memory(loop)
    if micro < loop.config.batch:
        mode["micro"] = micro
        loop = bench.loop(preset, **mode)
    say("measuring the chosen size")
    step_seconds = steps_timed(loop, seconds=0.015 * budget if budget else 0.5, least=3) / bench.shares
    marks = loop.config
    _ = loop.preview.glance.known  # read once, not at every preview
    extras = len(marks.previews()) * timed(lambda: preview(loop)) + len(marks.evaluations()) * timed(loop.held_out)
    if steps is None:
        assert budget is not None
        left = 0.98 * budget - (time.perf_counter() - began) - extras
        steps = int(left / step_seconds)
        if steps < 10:
            raise UserError(
                f"{minutes:g} minutes are too few here: after calibration and previews only {max(0, steps)} steps fit. "
                "Give more --minutes, or say --steps yourself."
            )
    every = max(1, min(steps, round(CHECKPOINT_SECONDS / step_seconds)))
    training = make(
        TrainConfig, {**marks.model_dump(), "save_every": every, "steps": steps, **bench.settings["training"]}
    )
    size = checkpoint_bytes(loop)
    return Plan(
        config=preset.config,
        training=training,
        parameters=sum(p.numel() for p in loop.state.family.parameters()),
        step_seconds=step_seconds,
        seconds=steps * step_seconds + extras,
        memory=memory,
        disk=6 * size,  # five kept, one being written
        flops=float(steps) * flops_of_step(loop),
        tried=tuple(bench.tried),
    )


def choose_size(bench: Bench, budget: float | None, steps: int | None, say: Callable[[str], None]) -> Preset:
    """The largest preset that sees the samples it needs within the budget."""
    ladder = bench.presets()
    best, began = ladder[0], time.perf_counter()
    for preset in ladder:
        batch = bench.fixed(preset)["batch"]
        if steps is not None and steps * batch < preset.samples:
            break
        if budget is not None:
            say(f"trying {short(preset.config)}")
            seconds = steps_timed(bench.loop(preset), seconds=0.01 * budget, least=2) / bench.shares
            seen = 0.9 * budget / seconds * batch
            bench.tried.append(
                f"{short(preset.config)}: {batch / seconds:.0f} samples/s, {seen:.3g} in time, needs {preset.samples:,}"
            )
            if seen < preset.samples:
                break
            if time.perf_counter() - began > 0.06 * budget:
                best = preset
                break
        best = preset
    return best


def choose_threads(bench: Bench, preset: Preset) -> dict[str, Any]:
    """One thread or all: small networks are faster on one, and so is anything beside other work."""
    every = torch.get_num_threads()
    if bench.target.type != "cpu" or every == 1 or bench.shares > 1 or "threads" in bench.settings["training"]:
        return {}
    seconds = {n: steps_timed(bench.loop(preset, threads=n), 0.5, least=3) for n in (1, every)}
    bench.tried.append(f"{every} threads: {seconds[every] / seconds[1]:.2f} x the time of one")
    return {"threads": min(seconds, key=lambda n: seconds[n])}


def choose_mode(
    bench: Bench, preset: Preset, plain_mode: dict[str, Any], budget: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """Precision and compilation, by speed, among those whose gradients agree with float32 eager."""
    candidates: list[tuple[Precision, bool]] = []
    if "precision" in bench.settings["training"] or "compiled" in bench.settings["training"]:
        return {}
    if fast_bfloat16(bench.target):
        candidates.append(("bfloat16", False))
    if budget >= LONG:
        candidates = [*candidates, ("float32", True), *((precision, True) for precision, _ in candidates)]
    if not candidates:
        return {}
    plain = bench.loop(preset, **plain_mode)
    truth, best_seconds, best = gradients(plain), steps_timed(plain, 1.0, least=3), {}
    for precision, compiled in candidates:
        mode: dict[str, Any] = {"precision": precision, "compiled": compiled}
        name = f"{precision} {'compiled' if compiled else 'eager'}"
        say(f"trying {name}")
        loop = bench.loop(preset, **plain_mode, **mode)
        try:
            if compiled:
                device.compile_networks(loop.state.family)
            error = disagreement(truth, gradients(loop))
            seconds = steps_timed(loop, 1.0, least=3)
        except Exception as failure:  # a compiler may fail in any way; the plain mode is always there
            bench.tried.append(f"{name}: does not run here ({type(failure).__name__})")
            continue
        bench.tried.append(f"{name}: {seconds / best_seconds:.2f} x the time, gradients differ by {error:.2g}")
        if error <= AGREE[precision] and seconds < 0.9 * best_seconds:
            best_seconds, best = seconds, mode
    return best


def fast_bfloat16(target: torch.device) -> bool:
    """Whether bfloat16 is worth a trial: processors that lack it are hundreds of times slower at it."""
    if target.type != "cpu":
        return target.type == "cuda" and torch.cuda.is_bf16_supported()
    a = torch.randn(256, 256)
    b = a.bfloat16()
    return timed(lambda: b @ b, 3) < 1.5 * timed(lambda: a @ a, 3)


def gradients(loop: Loop) -> dict[str, Tensor]:
    """Gradients of every phase on the first batch."""
    found: dict[str, Tensor] = {}
    for phase in loop.state.phases:
        only(loop.state.family, phase)
        loop.accumulate(phase)
        names = {id(p): name for name, p in loop.state.family.named_parameters()}
        found |= {f"{phase.name}/{names[id(p)]}": p.grad.float().clone() for p in phase.params if p.grad is not None}
    return found


def disagreement(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest relative difference of any parameter's gradient, where that gradient is not a trifle of the whole."""
    total = sum(float(g.square().sum()) for g in a.values()) ** 0.5
    floor = 1e-3 * total / max(1, len(a)) ** 0.5
    return max(float((a[k] - b[k]).norm() / max(float(a[k].norm()), floor)) for k in a)


def steps_timed(loop: Loop, seconds: float, least: int) -> float:
    """Median seconds of a real step, after one to warm up."""
    run_step(loop)
    taken: list[float] = []
    while len(taken) < least or (sum(taken) < seconds and len(taken) < 200):
        taken.append(timed(lambda: run_step(loop)))
        if sum(taken) > 4 * seconds + 2:
            break
    return median(taken)


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


def preview(loop: Loop) -> None:
    with averaged(loop.state):
        list(loop.preview.make(loop.state.family, 0, Quality()))


def fit_memory(loop: Loop) -> tuple[int, int]:
    """Samples at a time that memory holds, and the peak that is then expected, in bytes.

    Counted, not tried: what a few samples keep for the backward pass, what the optimizer will keep for the weights.
    """
    rows = min(4, loop.config.batch)
    each = max(kept_for_backward(loop, phase_index, rows) for phase_index in range(len(loop.state.phases))) / rows
    weights = 4 * sum(p.numel() for p in loop.state.family.parameters())
    base = device.resident_memory() + 3 * weights + 64 * 2**20
    room = 0.8 * device.memory_left(loop.device) - 3 * weights
    micro = loop.config.micro or loop.config.batch
    while micro > 1 and 1.5 * each * micro > room:
        micro = (micro + 1) // 2
    return micro, int(base + 1.5 * each * micro)


def kept_for_backward(loop: Loop, phase_index: int, rows: int) -> int:
    """Bytes that autograd keeps for the loss of a few rows, weights aside."""
    phase = loop.state.phases[phase_index]
    only(loop.state.family, phase)
    weights = {p.untyped_storage().data_ptr() for p in loop.state.family.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        losses, _ = loop.losses(phase, 0, rows)
    del losses
    return sum(kept.values())


def checkpoint_bytes(loop: Loop) -> int:
    """Weights, their average and the optimizer's tensors."""
    model = sum(t.numel() * t.element_size() for t in loop.state.family.state_dict().values())
    states = (s for o in loop.state.optimizers.values() for s in o.state.values())
    kept = sum(t.numel() * t.element_size() for s in states for t in s.values() if isinstance(t, Tensor))
    return 2 * model + kept


class Flops(TorchDispatchMode):
    """Counts multiply-adds as two, by torch's own formulas. (FlopCounterMode hooks modules, which forbids the gradient
    of a gradient that an adversarial penalty needs.)"""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func.overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def flops_of_step(loop: Loop) -> float:
    """Forward and backward of every phase, counted on a few rows."""
    rows = min(4, loop.config.batch)
    with Flops() as counter:
        for phase in loop.state.phases:
            only(loop.state.family, phase)
            loop.losses(phase, 0, rows)[0]["loss"].backward()
    return counter.total * loop.config.batch / rows


@contextmanager
def benched(
    kind: type[Family], store: Store, settings: dict[str, dict[str, Any]], target: torch.device, shares: int = 1
) -> Iterator[Bench]:
    """A Bench with a folder of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="aurify-plan-") as folder:
        yield Bench(kind, store, settings, target, Path(folder), shares)
