"""What the model can do by now: the same seeds at growing intervals, so that previews can be laid side by side."""

import torch

from aurify.cond import Cond, CondSpec, from_labels
from aurify.events import Previewed
from aurify.family import Family
from aurify.rng import SampleRng
from aurify.run import Run

SEED = 0


def make_preview(run: Run, model: Family, step: int) -> Previewed:
    """Samples one chunk (labels in turn, where there are any) with the family's default options and writes it down."""
    with torch.random.fork_rng(devices=[]):
        x = model.sample(in_turn(run.cond, model.chunk), SampleRng(SEED, range(model.chunk)), model.Options())
    shown = run.codec.preview([run.codec.decode(row.cpu()) for row in x])
    folder = run.path / "previews"
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{step:08d}{shown.suffix}"
    path.write_bytes(shown.data)
    return Previewed(step, str(path.relative_to(run.path)), shown.terminal)


def in_turn(cond: CondSpec, n: int) -> Cond:
    """n rows asked for label 0, 1, 2, ... 0, 1, ...; nothing asked where there are no labels."""
    return from_labels([i % cond.width for i in range(n)], cond) if cond.width else Cond()
