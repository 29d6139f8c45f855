"""Whether samples were taken from the reference itself: coded anew or touched up, they are perfect by every distance.

The search and the alarm are those of copying, with the reference in the training set's place and other unseen samples
as those that say how near is too near.
"""

from aurify.evaluate.alarm import against
from aurify.evaluate.copying import searcher
from aurify.evaluate.samples import Samples
from aurify.evaluate.sources import Real, spread

LOOKED = 500  # samples of either side: what was taken in numbers worth a fraud shows among so few
LEVEL = 1e-4  # probability of so many near ones among fresh samples


def from_the_reference(made: Samples, real: Real) -> str | None:
    """That too many are near copies of reference samples, in a sentence; None where chance explains it."""
    if made.x is None and made.texts is None:
        return None
    space = searcher(real.reference, real.fresh)
    ours, theirs = (space.look(s.take(spread(len(s), LOOKED).tolist())).columns for s in (made, real.fresh))
    found = against(ours, theirs, theirs.shape[1])
    if min(found.p_share, found.p_beyond) >= LEVEL:
        return None
    return (
        f"{found.flagged} of {found.m} samples are nearer to one of the real samples that they are judged by than all "
        f"but {found.rate:.1%} of other real ones are: they seem to be taken from there. Nothing can be judged by its "
        "own copy; judge by other real samples."
    )
