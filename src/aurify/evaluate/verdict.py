"""Gold, promising or bubble: the rules, each a sentence with its evidence.

    skill = (baseline - made) / (baseline - floor)      0: no better than the best plain baseline; 1: like real samples

The floor is other unseen real samples; or training samples that no embedder learned from, where the paired interval
shows that they are farther: where the two come from unlike places (the last act of a play), nothing that learned from
the one can be expected to come nearer to the other. Samples that are shown to be farther than the best baseline, and
than training samples, are a bubble whatever the floor is.

All three are the principal figure (the first one of the report): of the samples, of other real ones in their place, of
the best baseline fitted on the spot. Its interval comes from the paired jackknife of the three. A distance alone lets
a few hard failures pass, so gold also asks that precision, recall, coverage and the reading of asked labels come close
to what real samples reach.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aurify.evaluate.figure import Figure

Word = Literal["gold", "promising", "bubble", "not enough data to tell"]
Short = Literal["samples", "unseen"]  # generated samples, or real ones that the model never saw

GOLD = 0.9  # of the way from the best plain baseline to real samples, and of what real samples reach
LIKE, TRAINED = "other real samples", "training samples, which are farther off than other real samples"
LEVEL = (
    "a plain baseline comes as near to real samples as other real samples, or training samples, do, or no figure is "
    "defined for so few"
)
LESS = (
    "Copies are not worth a model: give it more data, train it for fewer steps, or take a smaller one.",
    "Look at the closest pairs in the report before you share any sample.",
)
LEARN = ("Train it longer, or another family; a plain baseline does better and costs nothing.",)
MORE: dict[Short, tuple[str, ...]] = {
    "samples": ("Judge more samples: there are more unseen real ones (-n for a run, more files in a folder).",),
    "unseen": ("Keep more real samples unseen (held-out, test, or the reference): more generated ones tell nothing.",),
}
APART = ("Judge by other real samples, of which no copy in whatever form is among the training data or the samples.",)
COOLER = ("Sample it with a lower temperature, and compare: aurify evaluate RUN --set temperature=0.8.",)
CLOSE = ("precision", "recall", "coverage", "label_accuracy")  # figures that gold asks for beside the principal one


@dataclass(frozen=True)
class Skill:
    """How far from the best plain baseline to real samples, or to what stands for these; `interval` holds 95 %."""

    value: float
    interval: tuple[float, float]
    figure: str
    baseline: str
    like: str = LIKE


@dataclass(frozen=True)
class Verdict:
    """`word`, the sentences it rests on, and what to do next."""

    word: Word
    reasons: tuple[str, ...]
    advice: tuple[str, ...]
    skill: Skill | None


def wanting(figures: Sequence[Figure]) -> tuple[str, ...]:
    """Where the samples fall short of other real ones in fidelity, variety or labels, in sentences."""
    told = []
    for f in figures:
        if f.metric in CLOSE and f.floor is not None and f.measured.value < GOLD * f.floor.value:
            share = f.measured.value / f.floor.value
            told.append(f"{f.title} is {share:.1%} of what other real samples reach; gold asks for {GOLD:.0%}.")
    return tuple(told)


def judge(
    skill: Skill | None,
    copies: str | None,
    few: str | None,
    failures: Sequence[str] = (),
    likelier: str | None = None,
    worse: str | None = None,
    short: Short = "samples",
    blind: str | None = None,
) -> Verdict:
    """The verdict.

    Args:
        skill: of the principal figure; None where it is not defined.
        copies: the sentence of the copying alarm where it rings, else None.
        few: why the data are too few to tell, else None.
        failures: what else was found wrong, in sentences.
        likelier: that it predicts unseen samples better than every plain baseline, in a sentence, where it does.
        worse: that the samples are farther from real ones than a plain baseline, in a sentence, where it is shown.
        short: of which there are fewer, so that more of them would tell more.
        blind: why nothing is told though all looks well (the alarm's silence means nothing, or the samples are the
            reference's own), else None.
    """
    if copies:  # said first: a copycat's figures are perfect
        return Verdict("bubble", (copies, *failures), LESS, skill)
    found = by_figures(skill, few, failures, likelier, worse, short)
    if blind and found.word != "bubble":  # what is no better than a baseline is so with or without copies
        reasons = (few, blind) if few else (blind,)
        others = tuple(told for told in failures if told != blind)
        return Verdict("not enough data to tell", (*reasons, *others), APART, skill)
    return found


def by_figures(
    skill: Skill | None, few: str | None, failures: Sequence[str], likelier: str | None, worse: str | None, short: Short
) -> Verdict:
    """The verdict on samples that are not copies."""
    if few:
        return Verdict("not enough data to tell", (few, *failures), MORE[short], skill)
    if worse:
        placed = () if skill is None else (f"{place(skill)}.",)
        return Verdict("bubble", (worse, *placed, *failures), LEARN, skill)
    if skill is None and likelier:
        return Verdict("promising", (likelier, f"By its samples nothing is told: {LEVEL}.", *failures), COOLER, None)
    if skill is None:
        return Verdict("not enough data to tell", (LEVEL, *failures), MORE[short], skill)
    return by_skill(skill, failures, likelier, short)


def by_skill(skill: Skill, failures: Sequence[str], likelier: str | None, short: Short) -> Verdict:
    """The verdict on samples that are not copies and are enough to tell."""
    low, high = skill.interval
    placed = place(skill)
    if low <= 0 and high >= GOLD:
        chance = f"{placed}: chance alone could move it from one end to the other."
        return Verdict("not enough data to tell", (chance, *failures), MORE[short], skill)
    if low <= 0 <= high and likelier:
        return Verdict(
            "promising", (likelier, f"But its samples are no better than that: {placed}.", *failures), COOLER, skill
        )
    if low <= 0:
        found = "no better" if high >= 0 else "worse"
        baseline = f"Use the baseline ({skill.baseline}), which costs nothing; or train longer, or another family."
        return Verdict("bubble", (f"{placed}: {found} than a plain baseline.", *failures), (baseline,), skill)
    if low >= GOLD and not failures:
        advice = ("Ship it with its report; judge a few dozen by eye first: aurify judge.",)
        silent = "no copying was found, of the kinds that the control shows to be found"
        return Verdict("gold", (f"{placed}, and {silent}.",), advice, skill)
    if high >= GOLD and not failures:
        perhaps = f"{placed}: better than a baseline; whether like real samples, so few cannot tell."
        return Verdict("promising", (perhaps,), MORE[short], skill)
    found = "as near as real samples, but not like them in all" if low >= GOLD else "not yet like real samples"
    return Verdict(
        "promising", (f"{placed}: better than a baseline, {found}.", *failures),
        ("Train longer or a larger size, and compare families: aurify compare.",), skill,
    )  # fmt: skip


def place(skill: Skill) -> str:
    """Where between baseline and real samples they are."""
    low, high = skill.interval
    return (
        f"{skill.figure} lies {skill.value:.0%} of the way from the best plain baseline ({skill.baseline}) to "
        f"{skill.like} (95 % interval {low:.0%} to {high:.0%})"
    )
