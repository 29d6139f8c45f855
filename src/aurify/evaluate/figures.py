"""All figures of one set of samples: every metric that goes with the data, its floor and its plain baselines."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from aurify.evaluate import baselines, embedder, interval, metric
from aurify.evaluate.embedder import Embedder
from aurify.evaluate.embedders.inception import SHA256 as INCEPTION
from aurify.evaluate.figure import COPIES, Figure, Protocol
from aurify.evaluate.metric import Metric
from aurify.evaluate.progress import Steps, at_last
from aurify.evaluate.samples import Samples
from aurify.evaluate.sources import Real
from aurify.evaluate.verdict import Skill

FEW = 50  # samples on each side below which no verdict is given
FIRST = ("frechet", "kid")  # principal figures, the first that is defined

PUBLISHED = {  # names that the literature gives to a metric on these very weights; on any other it keeps its own
    ("frechet", INCEPTION[:12]): "FID∞",  # extrapolated to infinite n (Chong & Forsyth 2020)
    ("kid", INCEPTION[:12]): "KID",
}


@dataclass(frozen=True)
class Views:
    """Everything that a metric may look at, of the samples, the real ones and the baselines, by name."""

    features: dict[str, Tensor]
    probabilities: dict[str, Tensor]
    asked: dict[str, Tensor]  # where the label that was asked for is read
    texts: dict[str, list[str]]
    likelihood: dict[str, Tensor]  # rows (nats, symbols, characters) of the reference, by model


def fitted(train: Samples, data: str) -> Steps[list[Embedder]]:
    """The embedders that suit the data, the best first, learned from the training split; `data`: its hash, or ""."""
    suits = {name: embedder.load(name).suits(train) for name in embedder.names()}
    made: list[Embedder] = []
    for name in sorted((name for name in suits if suits[name]), key=lambda name: -suits[name]):
        one = embedder.load(name)()
        made.append((yield from at_last(embedder.fitted(one, train, data), f"fitting: {one.title}")))
    return made


def views(one: Embedder, sets: dict[str, Samples], likelihood: dict[str, Tensor]) -> Steps[Views]:
    """What `one` sees of each set."""
    features, probabilities, asked, texts = {}, {}, {}, {}
    for done, (name, samples) in enumerate(sets.items()):
        yield f"looking at samples: {one.title}", done / len(sets)
        features[name] = one.embed(samples).double()
        p = one.probabilities(samples)
        if p is not None:
            probabilities[name] = p.double()
            if samples.labelled:
                asked[name] = (p.argmax(1) == samples.labels).double()
        if samples.texts is not None:
            texts[name] = samples.texts
    return Views(features, probabilities, asked, texts, likelihood)


def sets_of(made: Samples, real: Real, n: int, seed: int) -> dict[str, Samples]:
    """Equal numbers of every set: "made", "reference", "fresh" (for the floor), the baselines, and training samples."""
    cut = {"made": made, "reference": real.reference, "fresh": real.fresh}
    cut = {name: samples.take(range(n)) for name, samples in cut.items()}
    return cut | baselines.plain(real.train, n, seed) | {COPIES: baselines.copies(real.train, n, seed)}


def figures(seen: Views, protocol: Protocol, names: tuple[str, ...]) -> Steps[list[Figure]]:
    """A figure for each metric that is defined here."""
    made: list[Figure] = []
    for done, name in enumerate(names):
        kind = metric.load(name)
        looked: dict[str, Any] = getattr(seen, kind.of)
        if "made" in looked and len(looked["made"]) >= kind.smallest:
            yield kind.title, done / len(names)
            found = figure(name, kind(), looked, protocol)
            if math.isfinite(found.measured.value):
                made.append(found)
    return made


def figure(name: str, one: Metric, looked: dict[str, Any], protocol: Protocol) -> Figure:
    """The samples' figure with that of fresh real ones and of each baseline, all against the same reference."""
    reference = looked.get("reference", looked["made"])
    measured = {
        kind: interval.measure(one, reference, made, protocol.seed)
        for kind, made in looked.items()
        if kind != "reference"
    }
    mine, floor = measured.pop("made"), measured.pop("fresh", None)
    plain = protocol if one.of in ("features", "probabilities", "asked") else replace(protocol, embedder="", weights="")
    title = PUBLISHED.get((name, plain.weights), one.title)
    return Figure(name, title, one.better, one.source, mine, floor, measured, plain)


def principal(found: list[Figure], width: int) -> Figure | None:
    """The figure that the verdict rests on: Frechet needs twice as many samples as features, KID some dozens."""
    frechet, kid = (next((f for f in found if f.metric == name and f.floor is not None), None) for name in FIRST)
    if frechet is not None and frechet.protocol.n >= 2 * width:
        return frechet
    if kid is None or kid.protocol.n < FEW:
        return None
    few = f"{kid.protocol.n} samples are fewer than twice the {width} features, too few for a Frechet distance"
    return replace(kid, note=f"The verdict rests on this figure: {few}.")


def skill(f: Figure) -> Skill | None:
    """(baseline - made) / (baseline - floor) against the best baseline, with the paired jackknife's interval; None
    where a baseline comes as near as real samples do."""
    assert f.floor is not None
    name = f.best_baseline
    if name is None:
        return None
    baseline = f.ceilings[name]
    floor = max(f.floor, f.ceilings.get(COPIES, f.floor), key=lambda m: m.value)
    if not baseline.value > floor.value:
        return None

    def share(base: Any, made: Any, floor: Any) -> Any:
        return (base - made) / (base - floor)

    value = share(baseline.value, f.measured.value, floor.value)
    without = share(*(torch.tensor(m.without, dtype=torch.float64) for m in (baseline, f.measured, floor)))
    half = interval.STUDENT * interval.spread(without)
    return Skill(value, (value - half, value + half), f"the {f.title}", name)


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
