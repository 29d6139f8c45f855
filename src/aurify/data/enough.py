"""Whether there is enough to learn from: what nothing can be learned from is refused, what is doubtful is said."""

from collections.abc import Iterator

import numpy as np

from aurify.data.scan import Scan
from aurify.errors import UserError
from aurify.spec import Spec, Tokens

TINY, SMALL = 200, 2000  # samples
TINY_TEXT = 100_000  # characters
LINE = 64  # characters; a lone text of fewer is one short sample, and no stream of many


def lacking(found: Scan) -> str:
    """Why nothing can be learned from these samples, and what to do; empty where something can."""
    n, firsts = len(found.items), found.hashes[found.nth == 0]
    if not n:
        return "there is no sample that can be read; see the list of unreadable files"
    if found.characters and found.letters < 2:
        what = "one character alone" if found.letters else "nothing but white space"
        return f"the texts hold {what}, so there is nothing to learn; give texts of more than that"
    length = found.characters // n
    if (firsts != firsts[0]).any() or length >= LINE:
        return ""
    if n > 1:
        return f"all {n:,} samples are equal, so there is nothing to learn; give some that differ"
    if found.characters:
        return f"a single text of {length} characters is too short to learn from; {TINY_TEXT:,} are a start"
    return "a single sample tells nothing of others; give some more, a few hundred are a start"


def refuse_constant(spec: Spec) -> None:
    """Raises UserError for symbols of one kind: rows whose columns are learned, but never vary."""
    if isinstance(spec, Tokens) and spec.vocab < 2:
        raise UserError(
            "the data that is trained on has one symbol only, so there is nothing to learn; give data in which "
            "something varies"
        )


def doubts(found: Scan) -> Iterator[str]:
    """What deserves a thought before hours are spent, where there is something to learn."""
    if lacking(found):
        return
    n = len(found.items) - int(found.again.sum())
    if found.characters and n < TINY and found.characters < TINY_TEXT:
        yield f"only {found.characters:,} characters of text: expect copying; {TINY_TEXT:,} are a start"
    elif not found.characters and n < TINY:
        yield f"{n} different samples: expect copying; a few thousand are a start, and `evaluate` will tell"
    elif not found.characters and n < SMALL:
        yield f"{n:,} different samples are few: watch the copying figures of `evaluate`"
    if len(np.unique(found.leaders)) < 0.5 * len(found.items):
        yield "more than half of the samples are copies or near copies of others: there is less here than it seems"
