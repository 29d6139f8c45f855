"""What the model can do by now: the same seeds at growing intervals, so that previews can be laid side by side."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from aurify import atomic
from aurify.cond import Cond, from_rows
from aurify.data.view import Split
from aurify.errors import UserError
from aurify.evaluate import glance
from aurify.evaluate.glance import Glance
from aurify.evaluate.samples import Samples
from aurify.events import Event, Notice, Previewed
from aurify.family import Family
from aurify.quality import Quality
from aurify.rng import SampleRng
from aurify.run import Run

SEED = 0


class Preview:
    """Makes a run's previews, and looks for copies in them."""

    def __init__(self, run: Run):
        self.run, self.glance, self.refused = run, Glance(run), False

    def make(self, model: Family, step: int, quality: Quality) -> Iterator[Event]:
        """Samples one chunk (labels in turn, where there are any) with the family's default options and writes it down;
        says once in a run that it copies, and once that it cannot be written."""
        made = sampled(self.run, model)
        shown = self.run.codec.preview(beside(made))
        path = self.run.path / "previews" / f"step-{step:08d}{shown.suffix}"
        found = self.glance.look(made)
        copied = found and found.flagged / found.m
        try:
            with atomic.explained(path.parent, "make the folder"):
                atomic.make(path.parent)
            atomic.write(path, shown.data)
            yield Previewed(step, str(path.relative_to(self.run.path)), shown.terminal, copied)
        except UserError as error:
            if not self.refused:
                yield Notice(step, "not-written", f"{error} Training goes on without this preview.")
            self.refused = True
        text = found and glance.warning(found, step)
        if text and not quality.copied:
            quality.copied = True
            yield Notice(step, "copying", text)


def sampled(run: Run, model: Family, n: int = 1) -> Samples:
    """n samples, rounded up to whole chunks, labels and held-out texts in turn, with the family's default options."""
    with torch.random.fork_rng(devices=[]):
        chunks = [range(start, start + model.chunk) for start in range(0, n, model.chunk)]
        x = torch.cat([model.sample(in_turn(run, r), SampleRng(SEED, r), model.Options()).cpu() for r in chunks])
    given = told(run).texts([i % len(told(run)) for i in range(len(x))]) if run.cond.text else ()
    natives, names = [run.codec.decode(row) for row in x], tuple(str(i) for i in range(len(x)))
    return Samples(natives, run.codec.seen(x), torch.full((len(x),), -1), names, tuple(given))


def told(run: Run) -> Split:
    """Samples whose texts lead previews: held-out ones, where there are any."""
    held = run.store.split("held")
    return held if len(held) else run.store.split("train")


def in_turn(run: Run, rows: range) -> Cond:
    """Sample i is asked for label i and the text of held-out sample i, beginning again after the last; nothing is asked
    where there is neither. Texts are as wide as any may be, so that a sample does not depend on its neighbours'."""
    labels = torch.tensor([i % run.cond.width if run.cond.width else -1 for i in rows])
    if run.cond.text is None:
        return from_rows(labels, None, run.cond)
    split = told(run)
    found = split.asked and split.asked.rows(split.first + np.array(rows) % len(split), run.cond.text.length)
    return from_rows(labels, found, run.cond)


def beside(made: Samples) -> list[Any]:
    """Samples as they are shown: a text that another text led stands below it."""
    if not made.given or made.texts is None:
        return list(made.natives)
    return [f"{text or '(nothing asked)'}\n=> {native}" for text, native in zip(made.given, made.texts, strict=True)]
