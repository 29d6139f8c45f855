"""Which way to one step: shortcuts, MeanFlow or consistency, each learned beside the field in equal processor time.

    .bench/bin/python benchmarks/few_steps.py RUN [--seconds 300] [--share 0.25] [--small]

RUN is a run on labelled pictures, whose data and judge are used; --small averages them down to rows of 8 x 8 values,
learned by a multilayer network and compared by themselves: seconds instead of minutes.

One small network, that of the plan for digits, is trained from the start: three quarters of the rows of a batch learn
the field as ever, the rest the mean velocity u(x, t, h) over a long step, from a target that differs:

    shortcut       two steps of half the length (Frans et al. 2024), the shortest by the midpoint rule
    meanflow       v + h du/dt along the flow, by forward differentiation (Geng et al. 2025, Eq. 10)
    consistency    h = 1 - t, to the data: a short step of the field, then u from there (Song et al. 2023; as in
                   Geng et al. 2024, the network is a flow as well, at h = 0)

All follow the guided field. Printed is the Frechet distance in the judge's features after 1, 2 and 4 evaluations, and
of 50 steps of the same network's field (dpm2m, guided), each with its 95 % interval.
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from aurify import shortcuts
from aurify.cond import from_labels
from aurify.data.batches import Batches
from aurify.evaluate import interval, sources
from aurify.evaluate.figure import Measured
from aurify.evaluate.metrics.frechet import Frechet
from aurify.families.flow import Config, Flow, Options
from aurify.rng import BatchRng, Rng, derive
from aurify.run import Run
from aurify.shortcuts import Leap, rows
from aurify.spec import Grid

BATCH, EMA = 64, 0.05
SHORT = 1 / 16  # a consistency step


def drawn_times(t: Tensor, share: float, rng: Rng) -> tuple[Tensor, Tensor]:
    """A share of the rows gets a later end, both logit-normal; the others h = 0."""
    other, chosen = rng.normal().sigmoid().to(t), rng.uniform().to(t) < share
    first, end = torch.minimum(t, other), torch.maximum(t, other)
    return torch.where(chosen, first, t), torch.where(chosen, end - first, torch.zeros_like(t))


def drawn_ends(t: Tensor, share: float, rng: Rng) -> tuple[Tensor, Tensor]:
    """A share of the rows goes to the data, from anywhere, pure noise included."""
    u = rng.uniform(2).to(t)
    chosen = u[:, 0] < share
    return torch.where(chosen, u[:, 1] * (1 - SHORT), t), torch.where(
        chosen, 1 - u[:, 1] * (1 - SHORT), torch.zeros_like(t)
    )


def meanflow(u: Leap, x: Tensor, t: Tensor, h: Tensor) -> Tensor:
    v = u(x, t, torch.zeros_like(h))
    with sdpa_kernel(SDPBackend.MATH):
        _, slope = torch.func.jvp(u, (x, t, h), (v, torch.ones_like(t), -torch.ones_like(h)))
    return v + rows(h, x) * slope


def consistency(u: Leap, x: Tensor, t: Tensor, h: Tensor) -> Tensor:
    step, none = torch.full_like(h, SHORT).minimum(h), torch.zeros_like(h)
    half = u(x + rows(step / 2, x) * u(x, t, none), t + step / 2, none)
    ahead, left = x + rows(step, x) * half, (h - step).clamp(min=0)
    return (rows(step, x) * half + rows(left, x) * u(ahead, t + step, left)) / rows(h, x)


WAYS: dict[str, tuple[Any, Any]] = {
    "shortcut": (shortcuts.drawn, shortcuts.target),
    "meanflow": (drawn_times, meanflow),
    "consistency": (drawn_ends, consistency),
}


@dataclass
class Small:
    """Pictures as rows of 8 x 8 values, compared by themselves; the same methods as Judged."""

    run: Any
    n: int

    def __post_init__(self) -> None:
        unseen = sources.of_split(self.run.codec, self.run.store.split("test"))
        self.real, self.labels = sources.dealt(unseen, 1)[0], sources.asked_labels(self.run, self.n)

    def of(self, x: Tensor) -> Measured:
        real = coarse(self.real.grid[: self.n])
        return interval.measure(Frechet(), real.double(), x.clamp(-1, 1).double(), 1)


def coarse(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, 8).flatten(1)


def trained(way: str, run: Any, seconds: float, share: float, small: bool) -> Flow:
    """The averaged network after so many processor seconds; the rate falls with them."""
    torch.manual_seed(0)
    config = Config(
        width=32 if small else 16, multiples=(1, 2), patch=2, blocks=2 if small else 1, shortcut=share * (way != "none")
    )
    store, widen = run.store, run.spec.widen
    spec = Grid(64 * run.spec.channels, ()) if small else run.spec
    flow = Flow(spec, store.cond, config)
    if way != "none":
        shortcuts.drawn, shortcuts.target = WAYS[way]
    (phase,) = flow.phases()
    optimizer, batches = phase.optimizer(phase.params), Batches(store.split("train"), BATCH, 0)
    rates, ema = [g["lr"] for g in optimizer.param_groups], [p.detach().clone() for p in phase.params]
    step, began, done = 0, time.process_time(), 0.0
    while done < 1:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1.0, done / 0.05 + 0.01) * (1 - done)
        stored, labels = batches.at(step, 0, BATCH)
        cond = from_labels(labels, store.cond)
        x = coarse(widen(stored)) if small else widen(stored)
        losses = flow.loss(x, cond, "flow", BatchRng(derive("few", step), BATCH))
        optimizer.zero_grad()
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(phase.params, 1.0)
        optimizer.step()
        step, before, done = step + 1, done, (time.process_time() - began) / seconds
        keep = min(1 - (done - before) / EMA, step / (step + 9))
        torch._foreach_lerp_(ema, [p.detach() for p in phase.params], 1 - keep)
        if step % 200 == 0:
            print(
                f"  {way} {step}: " + ", ".join(f"{k} {float(v.detach()):.3f}" for k, v in losses.items()), flush=True
            )
    for p, mean in zip(phase.params, ema, strict=True):
        p.data.copy_(mean)
    print(f"{way}: {step} steps", flush=True)
    return flow.eval().requires_grad_(False)


def ends(flow: Flow, steps: int) -> Any:
    """Sampling of consistency models: to the data, back to as much noise as is left, and again."""

    def make(cond: Any, rng: Any) -> Tensor:
        x = rng.normal(*flow.spec.shape)
        for k in range(steps):
            t = torch.full((len(x),), k / steps)
            x = x if k == 0 else rows(t, x) * x + rows(1 - t, x) * rng.normal(*flow.spec.shape)
            with torch.inference_mode():
                x = x + rows(1 - t, x) * flow.predict(x, t, cond, 1 - t)
        return x

    return make


def main() -> None:
    from solvers import Judged, made, ours

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run on the data: its store and its judge are used")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("-n", type=int, default=2000)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--ways", nargs="+", default=["none", *WAYS])
    asked = parser.parse_args()
    run = Run.load(asked.run)
    judged = Small(run, asked.n) if asked.small else Judged(run, asked.n)
    for way in asked.ways:
        flow = trained(way, run, asked.seconds, asked.share, asked.small)
        makers = {"50 steps of the field": ours(flow, "dpm2m", 50), "16 steps of the field": ours(flow, "dpm2m", 16)}
        for steps in () if way == "none" else (1, 2, 4):
            makers[f"{steps} evaluations"] = ends(flow, steps) if way == "consistency" else leap(flow, steps)
        for name, make in makers.items():
            d = judged.of(made(judged, make))
            print(f"| {way} | {name} | {d.value:.3f} ({d.interval[0]:.3f} to {d.interval[1]:.3f}) |", flush=True)


def leap(flow: Flow, steps: int) -> Any:
    return lambda cond, rng: flow.sample(cond, rng, Options(solver="shortcut", steps=steps))


if __name__ == "__main__":
    main()
