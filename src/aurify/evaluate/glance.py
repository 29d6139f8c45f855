"""A glance at copying while a model learns: are the samples of a preview nearer to training samples than held-out ones?

The search is that of `copying`, among some thousands of training samples, in native space alone. A preview is small and
there are several, so only what chance brings once in a thousand runs is said.
"""

from functools import cached_property

from aurify.evaluate import sources
from aurify.evaluate.alarm import Alarm, against
from aurify.evaluate.copying import searcher
from aurify.evaluate.nearest import Looked
from aurify.evaluate.nearest_pictures import Pictures
from aurify.evaluate.nearest_texts import Texts
from aurify.evaluate.samples import Samples
from aurify.run import Run

SEARCHED, HELD = 8192, 500  # training samples among which copies are looked for, and held-out samples
LEVEL = 1e-4  # probability of so many copies in a preview of fresh samples


class Glance:
    """What a run's previews are compared with; read and indexed at the first look."""

    def __init__(self, run: Run):
        self.run = run

    @cached_property
    def known(self) -> tuple[Pictures | Texts, Looked] | None:
        """The training samples, and held-out ones among them; None where there are none, or copies have no meaning."""
        sides = [self.run.store.split(side) for side in ("train", "held")]
        if not all(len(side) for side in sides):
            return None
        train, held = (sources.of_split(self.run.codec, s, n) for s, n in zip(sides, (SEARCHED, HELD), strict=True))
        if held.texts is None and held.x is None:
            return None
        space = searcher(train, held)
        return space, space.look(held)

    def look(self, made: Samples) -> Alarm | None:
        if self.known is None:
            return None
        space, theirs = self.known
        return against(space.look(made).columns, theirs.columns, theirs.columns.shape[1])


def warning(found: Alarm, step: int) -> str | None:
    """What to say where too many are copies."""
    if min(found.p_share, found.p_beyond) >= LEVEL:
        return None
    return (
        f"At step {step}, {found.flagged} of {found.m} preview samples are nearer to a training sample than all but "
        f"{found.rate:.0%} of held-out samples are: it repeats what it was trained on. Stop now, and give it more data "
        "or a smaller size."
    )
