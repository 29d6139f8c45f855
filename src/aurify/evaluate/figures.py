"""All figures of one set of samples: every metric that goes with the data, its floor and its plain baselines."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from aurify.evaluate import baselines, embedder, interval, metric
from aurify.evaluate.embedder import Embedder
from aurify.evaluate.embedders.inception import SHA256 as INCEPTION
from aurify.evaluate.figure import COPIES, Figure, Measured, Protocol
from aurify.evaluate.metric import Metric
from aurify.evaluate.progress import Steps, at_last
from aurify.evaluate.rounding import number
from aurify.evaluate.samples import Samples
from aurify.evaluate.sources import Real
from aurify.evaluate.verdict import LIKE, TRAINED, Skill
from aurify.rng import derive

FEW = 50  # samples on each side below which no verdict is given
FIRST = ("frechet", "kid")  # principal figures, the first that is defined
APART = 5  # a fifth of the training samples is kept from what embedders learn

PUBLISHED = {  # names that the literature gives to a metric on these very weights; on any other it keeps its own
    ("frechet", INCEPTION[:12]): "FID∞",  # extrapolated to infinite n (Chong & Forsyth 2020)
    ("kid", INCEPTION[:12]): "KID",
}
PLAIN = {("frechet", INCEPTION[:12]): "FID"}  # the same where they are not extrapolated


@dataclass(frozen=True)
class Views:
    """Everything that a metric may look at, of the samples, the real ones and the baselines, by name."""

    features: dict[str, Tensor]
    probabilities: dict[str, Tensor]
    asked: dict[str, Tensor]  # where the label that was asked for is read
    texts: dict[str, list[str]]
    likelihood: dict[str, Tensor]  # rows (nats, symbols, characters) of the reference, by model


def parted(train: Samples) -> tuple[Samples, Samples]:
    """Training samples that embedders learn from, and others that stand in the generated ones' place.

    Features lie differently where they were learned: there, training samples are farther from unseen ones than the
    data's own law makes them. Which are kept apart depends on how many there are alone, so that all runs on the same
    data are measured by the same features; and on chance, for labels may come in turn. Where a fifth would be fewer
    than 50, none are.
    """
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(derive("apart", 0)))
    apart = order % APART == APART - 1
    if int(apart.sum()) < FEW:
        apart = torch.zeros_like(apart)
    return train.take((~apart).nonzero()[:, 0]), train.take(apart.nonzero()[:, 0])


def fitted(train: Samples, data: str) -> Steps[list[Embedder]]:
    """The embedders that suit the data, the best first, learned from the training split; `data`: its hash, or ""."""
    train, _ = parted(train)
    suits = {name: embedder.load(name).suits(train) for name in embedder.names()}
    made: list[Embedder] = []
    for name in sorted((name for name in suits if suits[name]), key=lambda name: -suits[name]):
        one = embedder.load(name)()
        made.append((yield from at_last(embedder.fitted(one, train, data), f"fitting: {one.title}")))
    return made


def views(
    one: Embedder, sets: dict[str, Samples], likelihood: dict[str, Tensor], known: Mapping[str, Tensor] = {}
) -> Steps[Views]:
    """What `one` sees of each set; `known` are features that it gave before."""
    features, probabilities, asked, texts = {}, {}, {}, {}
    for name, samples in sets.items():
        x = known.get(name)
        if x is None:
            x = yield from at_last(embedder.features(one, samples), f"looking at samples: {one.title}")
        features[name] = x.double()
        p = one.probabilities(x)
        if p is not None:
            probabilities[name] = p.double()
            if samples.labelled:
                asked[name] = (p.argmax(1) == samples.labels).double()
        if samples.texts is not None:
            texts[name] = samples.texts
    return Views(features, probabilities, asked, texts, likelihood)


def sets_of(made: Samples, real: Real, n: int, seed: int, parts: tuple[int, ...] = ()) -> dict[str, Samples]:
    """Equal numbers of every set: "made", "reference", "fresh" (for the floor), the baselines, and training samples
    that no embedder learned from (fewer where there are fewer)."""
    cut = {"made": made, "reference": real.reference, "fresh": real.fresh}
    cut = {name: samples.take(range(n)) for name, samples in cut.items()} | baselines.plain(real.train, n, seed, parts)
    _, apart = parted(real.train)
    return cut | ({COPIES: baselines.copies(apart, min(n, len(apart)), seed)} if len(apart) else {})


def figures(seen: Views, protocol: Protocol, names: tuple[str, ...]) -> Steps[tuple[list[Figure], list[str]]]:
    """A figure for each metric that is defined here; and of those that are not, in sentences."""
    made: list[Figure] = []
    lost: list[str] = []
    for done, name in enumerate(names):
        kind = metric.load(name)
        looked: dict[str, Any] = getattr(seen, kind.of)
        if "made" in looked and len(looked["made"]) >= kind.smallest:
            yield kind.title, done / len(names)
            found = figure(name, kind(), looked, protocol)
            if math.isfinite(found.measured.value):
                made.append(found)
            elif kind.of != "likelihood" or found.measured.value == math.inf:  # else there are no such symbols
                lost.append(undefined(found, kind.of))
    return made, lost


def undefined(f: Figure, of: str) -> str:
    """What a figure that is no number says."""
    if of == "likelihood" and f.measured.value == math.inf:
        return f"{f.title} is infinite: the model gives some unseen samples probability 0."
    return f"{f.title} is not defined for these samples."


def figure(name: str, one: Metric, looked: dict[str, Any], protocol: Protocol) -> Figure:
    """The samples' figure with that of fresh real ones and of each baseline, all against the same reference."""
    looked = comparable(name, one, looked)
    reference, n = looked.get("reference", looked["made"]), len(looked["made"])
    few = too_few(n, looked["made"].shape[1]) if name == "frechet" else ""
    measured = {
        kind: interval.measure(one, reference, made, protocol.seed, extrapolated=not few)
        for kind, made in looked.items()
        if kind != "reference"
    }
    mine, floor = measured.pop("made"), measured.pop("fresh", None)
    plain = replace(protocol, n=n, apart=len(looked.get(COPIES, ())))
    if one.of not in ("features", "probabilities", "asked"):
        plain = replace(plain, embedder="", weights="")
    title = (PLAIN if few else PUBLISHED).get((name, plain.weights), one.title)
    source = one.source.partition("; extrapolated")[0] if few else one.source
    return Figure(name, title, one.better, source, mine, floor, measured, plain, few)


def comparable(name: str, one: Metric, looked: dict[str, Any]) -> dict[str, Any]:
    """What may stand beside the samples: as many training samples, or fewer where the figure is that of infinitely
    many; of models, those of the same symbols where the metric counts symbols."""
    made, apart = looked["made"], looked.get(COPIES, ())
    enough = one.unbiased and not (name == "frechet" and too_few(len(apart), made.shape[1]))
    if len(apart) < len(made) and not enough:
        looked = {kind: some for kind, some in looked.items() if kind != COPIES}
    if one.by_symbols:
        same = made[:, 1].nan_to_num()  # grids have no symbols: there stands nan
        looked = {kind: rows for kind, rows in looked.items() if torch.equal(rows[:, 1].nan_to_num(), same)}
    return looked


def too_few(n: int, width: int) -> str:
    """Why a covariance of so many features of n samples cannot be extrapolated from, "" where it can."""
    if n >= 2 * width:
        return ""
    fewer = "features" if n < width else "twice the features"
    return (
        f"Fewer samples than {fewer}: {n} of {width}. This is the plain figure, too large by an amount that depends on "
        "the samples; it is not extrapolated."
    )


def principal(found: list[Figure], width: int) -> Figure | None:
    """The figure that the verdict rests on: Frechet needs twice as many samples as features, KID some dozens."""
    frechet, kid = (next((f for f in found if f.metric == name and f.floor is not None), None) for name in FIRST)
    if frechet is not None and not too_few(frechet.protocol.n, width):
        return with_floor_told(frechet)
    if kid is None or kid.protocol.n < FEW:
        return None
    few = f"{kid.protocol.n} samples are fewer than twice the {width} features, too few for a Frechet distance"
    return with_floor_told(replace(kid, note=f"The verdict rests on this figure: {few}."))


def with_floor_told(f: Figure) -> Figure:
    """With a word on what the verdict measures the samples by, where that is not the floor."""
    if floor_of(f) is f.floor:
        return f
    told = "In the verdict training samples stand in the place of other real samples, for they are farther off."
    return replace(f, note=f"{f.note} {told}".strip())


def skill(f: Figure) -> Skill | None:
    """(baseline - made) / (baseline - floor) against the best baseline, with Fieller's interval of paired differences;
    None where it is not shown that the baseline is farther from real samples than the floor is."""
    name = f.best_baseline
    if name is None:
        return None
    baseline, floor = f.ceilings[name], floor_of(f)
    gained, whole = interval.difference(baseline, f.measured), interval.difference(baseline, floor)
    ends = interval.ratio(gained, whole)
    if ends is None or whole.value <= 0:
        return None
    return Skill(gained.value / whole.value, ends, f"the {f.title}", name, LIKE if floor is f.floor else TRAINED)


def floor_of(f: Figure) -> Measured:
    """Other unseen real samples; or training samples, where paired intervals show that these are farther, and do not
    show that the samples come nearer than they do."""
    assert f.floor is not None
    train = f.ceilings.get(COPIES)
    if train is None or not farther(train, f.floor) or farther(train, f.measured):
        return f.floor
    return train


def farther(a: Measured, b: Measured) -> bool:
    """Whether the paired interval shows that a is greater than b."""
    return interval.difference(a, b).interval[0] > 0


def worse(f: Figure) -> str | None:
    """That the samples are farther from real ones than a plain baseline, where paired intervals show it; and farther
    than training samples, if there are such: nothing that learned from these can be expected to come nearer."""
    name, train = f.best_baseline, f.ceilings.get(COPIES)
    if name is None or not farther(f.measured, f.ceilings[name]) or (train and not farther(f.measured, train)):
        return None
    return (
        f"The {f.title} of the samples is {number(f.measured.value)}, that of the best plain baseline ({name}) "
        f"{number(f.ceilings[name].value)}: they are worse than a plain baseline."
    )


def likelier(found: list[Figure]) -> str | None:
    """That the model predicts unseen samples better than every baseline, where the paired intervals show it."""
    for f in found:
        best = f.best_baseline
        if f.metric == "bits_per_character" and best:
            gain = interval.difference(f.measured, f.ceilings[best])
            if gain.interval[1] < 0:
                low, high = -gain.interval[1], -gain.interval[0]
                return (
                    f"It predicts unseen text better than the best plain baseline ({best}): {f.measured.value:.3g} "
                    f"bits per character against {f.ceilings[best].value:.3g} ({low:.2g} to {high:.2g} fewer)."
                )
    return None
