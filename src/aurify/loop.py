"""The only training loop. A family speaks in phases; all else that a training needs is here, once.

    for step: for phase: gradients of the global batch -> clip -> optimizer -> averaged weights

Everything a step does is a function of (weights, optimizer, seed, step), so a run that was stopped goes on to the bit.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aurify import checkpoint, device, divergence, heldout, posthoc, recovery
from aurify.atomic import NoSpace
from aurify.checkpoint import Loaded
from aurify.cond import from_rows
from aurify.data.batches import Batches
from aurify.errors import UserError
from aurify.events import Done, Evaluated, Event, Notice, Progress, Saved
from aurify.family import Phase
from aurify.parallel import Group, group
from aurify.preview import Preview
from aurify.rng import BatchRng, derive
from aurify.run import Run
from aurify.state import averaged, build, restore, snapshot
from aurify.stopping import stopping
from aurify.training import TrainConfig
from aurify.writer import Writer

ROLLBACKS = 3


class Diverged(UserError):
    """The training left its path more often than it may."""


def train(run: Run, device_name: str = "auto") -> Iterator[Event]:
    """Trains a run from its newest checkpoint, or from the start, to its last step.

    Yields events; stop it with Ctrl-C (or SIGTERM): it saves and the same call goes on later.

    Raises:
        UserError: the data has changed, another process trains this run, the disk is full, or the training diverged.
    """
    crew = group()
    with ExitStack() as stack:
        crew.alone(lambda: stack.enter_context(checkpoint.lock(run.path)))
        stop = stack.enter_context(stopping())
        loop = Loop(run, device.choose(device_name), crew)
        crew.alone(lambda: stack.enter_context(loop.writer))
        for event in loop.events(stop):
            if crew.first:
                yield event
        crew.wait()


class Loop:
    """One training in progress."""

    def __init__(self, run: Run, target: torch.device, crew: Group):
        self.run, self.device, self.crew = run, target, crew
        self.config: TrainConfig = run.training
        device.use_threads(self.config.threads)
        self.previews, self.evaluations = self.config.previews(), self.config.evaluations()
        self.state = build(run, target)
        self.batches = Batches(run.store.split("train"), self.config.batch, self.config.seed)
        self.writer, self.preview = Writer(run, active=crew.first), Preview(run)
        self.due = False  # a checkpoint that waits until a departure is ruled out

    def events(self, stop: Any) -> Iterator[Event]:
        yield from self.take_up()
        self.compile()
        self.writer.start(self.state.step)
        while self.state.step < self.config.steps:
            yield from self.step()
            yield from self.after_step()
            yield from self.writer.notices(self.state.step)
            if self.state.step < self.config.steps and self.crew.any(stop.asked):
                yield from self.save(last=True)
                yield Notice(
                    self.state.step, "stopped", f"Stopped and saved. Go on with: aurify resume {self.run.path}"
                )
                return
        yield Done(self.state.step, self.writer.seconds)

    def take_up(self) -> Iterator[Event]:
        """Go on from the newest checkpoint that is whole, if there is one."""
        found, told = self.chosen(recovery.newest_whole)
        yield from (Notice(self.state.step, "damaged", text) for text in told)
        if found is not None:
            restore(self.run, self.state, found)
        else:
            self.look()
        if not self.writer.cut(found.state["events"] if found else 0):
            text = f"{self.run.events} has lost lines since the last checkpoint; it goes on from what is left."
            yield Notice(self.state.step, "log", text)

    def look(self) -> None:
        """Lets a family that wants it read its first weights off samples from all over the training data."""
        family, split = self.state.family, self.batches.split
        if not family.looks:
            return
        rows = np.linspace(0, len(split) - 1, min(family.looks, len(split))).astype(int)
        stored, labels = split.rows(rows)
        torch.manual_seed(derive("look", self.config.seed))
        cond = from_rows(labels, split.text_rows(rows), self.run.cond).to(self.device)
        family.look(self.run.spec.widen(stored.to(self.device)), cond)
        self.state.ema = [p.detach().clone() for p in self.state.params]

    def chosen(self, choose: Callable[[Path], tuple[Loaded | None, list[str]]]) -> tuple[Loaded | None, list[str]]:
        """A checkpoint of `recovery`: the first process clears the way, then all read the same one."""
        mine = self.crew.alone(lambda: choose(self.run.checkpoints))
        return mine or (checkpoint.newest(self.run.checkpoints)[0], [])

    def compile(self) -> None:
        if self.config.compiled:
            device.compile_networks(self.state.family)

    def step(self) -> Iterator[Event]:
        """One step of every phase that is due; bad values never reach the weights."""
        state, losses, norms, stepped = self.state, {}, {}, False
        for phase in state.phases:
            if state.step % phase.every:
                continue
            heldout.only(state.params, phase)
            values = yield from self.gradients(phase)
            norm = float(torch.nn.utils.clip_grad_norm_(phase.params, self.config.clip))
            losses |= {f"{phase.name}/{name}": value for name, value in values.items()}
            norms[f"{phase.name}/gradient"] = norm
            if not divergence.finite(losses | norms):
                part = f"the {phase.name}'s part of this step" if stepped else "this step"
                yield from self.refuse(losses | norms, part)
                return
            optimizer = state.optimizers[phase.name]
            for params in optimizer.param_groups:
                params["lr"] = params["initial_lr"] * self.config.rate(state.step)
            optimizer.step()
            stepped = True
        state.refused = 0
        self.average()
        state.step += 1
        if state.watch.spiked({k: v for k, v in losses.items() if k.endswith("/loss")}):
            yield from self.roll_back("the loss rose far above its recent values")
            return
        for name, value in (losses | norms).items():
            state.sums[name] = state.sums.get(name, 0.0) + value
        state.summed += 1
        yield self.writer.progress(state.step, self.config, losses)

    def gradients(self, phase: Phase) -> Iterator[Event]:
        """Gradient of the mean over the global batch into .grad; returns the logged values. Halves what is computed at
        a time when memory runs out."""
        while True:
            try:
                with device.repeatable(self.device):
                    return self.accumulate(phase)
            except Exception as error:
                micro = self.state.micro or len(self.crew.share(self.config.batch))
                if not device.out_of_memory(error) or micro == 1:
                    raise
                self.state.micro = (micro + 1) // 2
            text = f"Memory ran out at {micro} samples at a time; going on with {self.state.micro}: equal result."
            yield self.writer.log(Notice(self.state.step, "memory", text))

    def accumulate(self, phase: Phase) -> dict[str, float]:
        state, rows = self.state, self.crew.share(self.config.batch)
        micro = state.micro or self.config.micro or len(rows)
        state.optimizers[phase.name].zero_grad(set_to_none=True)
        totals: dict[str, float] = {}
        units = 0.0
        for start in range(rows.start, rows.stop, micro):
            losses, weight = self.losses(phase, start, min(start + micro, rows.stop))
            (losses["loss"] * weight).backward()
            units += weight
            for name, value in losses.items():
                totals[name] = totals.get(name, 0.0) + float(value.detach()) * weight
        return self.mean(phase, totals, units)

    def losses(self, phase: Phase, start: int, stop: int) -> tuple[dict[str, Tensor], float]:
        """The family's losses on rows [start, stop) of this step's batch, and how many units they are the mean of."""
        position = self.state.step + self.state.skipped
        stored, labels = self.batches.at(position, start, stop)
        x = self.run.spec.widen(stored.to(self.device))
        cond = from_rows(labels, self.batches.texts(position, start, stop), self.run.cond).to(self.device)
        seed = derive("noise", self.config.seed, position, phase.name)
        device.seed(self.device, derive(seed, start))  # dropout alone
        rng = BatchRng(seed, self.config.batch, start, stop, "cuda" if self.device.type == "cuda" else "cpu")
        with device.arithmetic(self.device, self.config.precision):
            losses = self.state.family.loss(x, cond, phase.name, rng)
        weight = losses.pop("weight", None)
        return losses, float(stop - start if weight is None else weight)

    def mean(self, phase: Phase, totals: dict[str, float], units: float) -> dict[str, float]:
        """Sums of gradients and values over all parts and processes, divided by all units."""
        names = sorted(totals)
        values = torch.tensor([units, *(totals[n] for n in names)], dtype=torch.float64, device=self._sum_device())
        self.crew.sum_([values])
        grads = [p.grad for p in phase.params if p.grad is not None]
        self.crew.sum_(grads)
        if phase.gather:
            phase.gather(self.crew)
        torch._foreach_div_(grads, float(values[0]))
        return {name: float(value / values[0]) for name, value in zip(names, values[1:], strict=True)}

    def _sum_device(self) -> torch.device:
        return self.device if self.device.type == "cuda" else torch.device("cpu")

    def average(self) -> None:
        """EMA of the weights: ema <- d ema + (1 - d) weights; and those of `posthoc`, where they are kept."""
        d = self.config.memory(self.state.step) if self.config.ema else 0.0
        weights = [p.detach() for p in self.state.params]
        torch._foreach_lerp_(self.state.ema, weights, 1 - d)
        posthoc.update(self.state.powers, weights, self.state.step + 1)

    def refuse(self, values: dict[str, float], part: str) -> Iterator[Event]:
        """Leave out the rest of a step whose loss or gradient is not finite; three in a row are a departure. What
        earlier phases did stays: their values were finite, and the later ones need them done."""
        state = self.state
        bad = ", ".join(name for name, value in values.items() if not divergence.finite({name: value}))
        state.step += 1
        state.refused += 1
        yield self.writer.log(Notice(state.step, "not-finite", f"{bad} was not finite; {part} was not applied."))
        if state.refused >= divergence.PATIENCE:
            yield from self.roll_back(f"{bad} was not finite for {state.refused} steps in a row")

    def roll_back(self, why: str) -> Iterator[Event]:
        """Back to the last checkpoint, past the data that led here; at most ROLLBACKS times."""
        state, left_at, times = self.state, self.state.step, self.state.rollbacks + 1
        if times > ROLLBACKS:
            raise Diverged(
                f"the training diverged {times} times ({why}); the last healthy state is kept. "
                f"Train anew with a lower rate, for example --set lr={self.lr() / 3:.2g}."
            )
        found, told = self.chosen(recovery.before_trouble)
        skipped, said = state.skipped, list(state.said)  # what was said stays said
        if found is None:
            self.state = fresh = build(self.run, self.device)
            self.look()
            fresh.micro = state.micro
            self.compile()
        else:
            restore(self.run, self.state, found)
        self.state.rollbacks, self.state.said = times, said
        self.state.skipped = skipped + left_at - self.state.step
        back = self.state.step
        text = f"At step {left_at} {why}: back to step {back}, the {left_at - back} batches since are skipped"
        text = " ".join([f"{text} ({times} of {ROLLBACKS}).", *told])
        yield self.writer.log(Notice(self.state.step, "rolled-back", text))

    def lr(self) -> float:
        return next(iter(self.state.optimizers.values())).param_groups[0]["initial_lr"]

    def after_step(self) -> Iterator[Event]:
        """What is due after this step: a line in the log, held-out loss, preview, checkpoint."""
        state, config = self.state, self.config
        last = improved = state.step >= config.steps
        if state.summed and (state.step % config.log_every == 0 or last):
            yield from self.write_log()
        if state.step in self.evaluations:
            with self.writer.watching():
                figures = self.held_out()
            yield self.writer.log(Evaluated(state.step, figures))
            told = figures.get(f"held/{state.phases[0].name}/loss" if state.family.held_out_tells else "held/energy")
            improved |= self.crew.any(told is not None and state.quality.improved(state.step, told))
            advice = state.quality.advice(told) if told is not None and state.family.held_out_tells else None
            if advice:
                yield self.writer.log(Notice(state.step, "overfitting", advice))
        if state.step in self.previews and self.crew.first:
            with self.writer.watching(), averaged(state):
                made = list(self.preview.make(state.family, state.step, state.quality))
            yield from map(self.writer.log, made)
        self.due |= state.step % config.save_every == 0
        if improved or (self.due and state.healthy):
            yield from self.save(last=state.step >= config.steps)
            self.due = False

    def write_log(self) -> Iterator[Event]:
        state = self.state
        means = {name: total / state.summed for name, total in state.sums.items()}
        state.sums, state.summed = {}, 0
        self.writer.log(Progress(state.step, self.config.steps, means))
        for kind, text in state.family.notices(means):
            if kind not in state.said:  # once is enough: most go on until something is changed
                state.said.append(kind)
                yield self.writer.log(Notice(state.step, kind, text))

    def held_out(self) -> dict[str, float]:
        """Figures of the averaged weights on samples they never saw."""
        state = self.state
        with averaged(state):
            figures = heldout.losses(self.run, state.family, state.phases)
            found = None if state.family.held_out_tells else heldout.energy(self.run, state.family)
        return figures if found is None else figures | {"held/energy": found}

    def save(self, last: bool) -> Iterator[Event]:
        """A complete checkpoint; older ones are thinned once it is whole. A full disk is said, and fatal only where
        nothing comes after it."""
        event = self.crew.alone(lambda: self.keep(last))
        if event:
            yield event

    def keep(self, last: bool) -> Event:
        folder, step = self.run.checkpoints, self.state.step
        tensors, facts = snapshot(self.state)
        facts, best = facts | {"events": self.writer.size()}, self.state.quality.best_step
        try:
            try:
                path = checkpoint.save(folder, step, tensors, facts)
            except NoSpace:  # better without the older ones than without this one
                if not checkpoint.thin(folder, keep=1, also=best, shares=()):
                    raise
                path = checkpoint.save(folder, step, tensors, facts)
            checkpoint.thin(folder, also=best)
        except NoSpace as error:
            if last:
                raise NoSpace(f"{error} The last checkpoint is kept; then: aurify resume {self.run.path}") from error
            return Notice(step, "no-space", f"{error} The last checkpoint is kept; training goes on.")
        return Saved(step, str(path))
