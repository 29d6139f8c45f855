"""The copying alarm: are generated samples nearer to training samples than fresh real ones are?

Each sample's nearest training sample is found where people would see a copy (grids: aligned, whatever small edits lie
between; texts: word for word) and, where features are given, among these. How near is too near is what held-out samples
say, see `alarm`; two controls run with it each time, see `controls`. C_T and authenticity stand beside it as published.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from aurify.errors import UserError
from aurify.evaluate import binomial, controls, nearest, three_sample
from aurify.evaluate.alarm import Alarm, Unit, against, alarm, apart
from aurify.evaluate.controls import Controls
from aurify.evaluate.nearest import Looked
from aurify.evaluate.nearest_pictures import Pictures
from aurify.evaluate.nearest_texts import Texts
from aurify.evaluate.samples import Samples
from aurify.rng import derive

HELD = 2000  # held-out samples that set the limit: more hardly move it
CLOSEST = 64  # pairs kept
ALIKE = 500  # training samples that are looked for among the others, at most a fifth of them
OVERLAP = 1e-3  # probability of so many held-out samples so near, if they are as unseen as they should be

Features = tuple[Float[Tensor, "m F"], Float[Tensor, "t F"], Float[Tensor, "h F"]]


@dataclass(frozen=True)
class Published:
    """Figures from the literature, of the generated samples: of features where they are given, else of native space.

    Attributes:
        c_t: Mann-Whitney's Z of distances to the training set, against held-out samples; below 0 is nearer.
        c_t_p: probability of so low a value for fresh samples.
        c_t_cells: mean Z over cells of the training set (None: no features, or cells too small).
        authenticity: share that is farther from its nearest training sample than that from its next; None: no features.
        authenticity_held: the same of held-out samples.
    """

    c_t: float
    c_t_p: float
    c_t_cells: float | None
    authenticity: float | None
    authenticity_held: float | None


@dataclass(frozen=True)
class Copying:
    """What was found.

    Attributes:
        scores: suspicion of each generated sample; 0 is the median of held-out samples, about 1 the threshold.
        nearest: index of the training sample each is nearest to.
        closest: (sample, training sample, suspicion beyond the threshold), the most suspicious first.
        held_closest: names of held-out samples and of the training samples they are nearest to, in the same order.
        alarm: threshold, counts and probabilities.
        held: held-out samples that set the threshold.
        overlap: the same alarm on these, by the limit of training samples among themselves; None: too few to tell.
        published, controls: see there.
    """

    scores: Float[Tensor, " m"]
    nearest: Int[Tensor, " m"]
    closest: tuple[tuple[int, int, float], ...]
    held_closest: tuple[tuple[str, str], ...]
    alarm: Alarm
    held: int
    overlap: Alarm | None
    published: Published
    controls: Controls

    @property
    def threshold(self) -> float:
        return self.alarm.threshold

    @property
    def share(self) -> float:
        """Of generated samples above the threshold."""
        return self.alarm.flagged / self.alarm.m

    @property
    def rings(self) -> bool:
        return self.alarm.rings

    @property
    def sentence(self) -> str | None:
        """For the verdict; None where nothing rings."""
        return f"Training samples are copied: {self._counted}." if self.rings else None

    @property
    def blind(self) -> str | None:
        """For the verdict: why silence of the alarm means nothing on this data; None where it does."""
        a, why = self.overlap, list[str]()
        if self.controls.blind:
            k, n = self.controls.found[controls.PLAIN]
            why.append(f"plain copies planted on purpose were found in only {k} of {n} cases")
        if a is not None and min(a.p_share, a.p_beyond) < OVERLAP:
            alike = "; ".join(f"{held} is much like {train}" for held, train in self.held_closest[:3])
            why.append(
                f"{a.flagged} of {a.m} real samples that should be unseen are nearer to a training sample than all but "
                f"{a.rate:.1%} of training samples are to one another, as if they were copies ({alike})"
            )
        return f"The copying alarm is blind on this data: {', and '.join(why)}." if why else None

    @property
    def _counted(self) -> str:
        a = self.alarm
        counted = (
            f"{a.flagged:,} of {a.m:,} samples ({self.share:.1%}) are nearer to a training sample than all but "
            f"{a.rate:.1%} of real held-out samples are (chance: about {a.rate * a.m:.0f}; p = {a.p_share:.1g})"
        )
        if a.beyond:
            counted += f", {a.beyond:,} of them nearer than all {self.held:,} held-out ones (p = {a.p_beyond:.1g})"
        return counted + (f", {a.far:,} so near that chance cannot explain it" if a.far else "")

    @property
    def sentences(self) -> tuple[str, ...]:
        p = self.published
        silent = f"No copying was found, of the kinds that the control plants: {self._counted}."
        told = [self.sentence or (f"Nothing is told by {self._counted}." if self.blind else silent)]
        told += [self.blind] if self.blind else []
        if self.alarm.rate > 0.015:
            told.append(f"With {self.held} held-out samples the limit can be no finer than {self.alarm.rate:.1%}.")
        told += self.controls.sentences
        told.append(
            f"C_T = {p.c_t:.1f} (Meehan et al. 2020; far below 0: nearer to training samples than held-out ones are; "
            f"p = {p.c_t_p:.1g})."
        )
        if p.authenticity is not None and p.authenticity_held is not None:
            told.append(
                f"Authenticity {p.authenticity:.1%}, of held-out samples {p.authenticity_held:.1%} (Alaa 2022)."
            )
        return tuple(told)

    def to_json(self) -> dict[str, Any]:
        """Title, sentences and numbers."""
        told = vars(self.alarm) | vars(self.published) | {"share": self.share, "rings": self.rings, "held": self.held}
        interval = binomial.interval(self.alarm.flagged, self.alarm.m)
        numbers = told | {"share_interval": interval, "controls": self.controls.to_json()}
        return {"title": "Copying", "sentences": list(self.sentences), "numbers": numbers}


def copying(made: Samples, train: Samples, held: Samples, features: Features | None = None, seed: int = 0) -> Copying:
    """`looking`, to its end."""
    return cast(Copying, list(looking(made, train, held, features, seed))[-1])


def looking(
    made: Samples, train: Samples, held: Samples, features: Features | None = None, seed: int = 0
) -> Iterator[float | Copying]:
    """Looks for copies of `train` among `made`; yields the share done, at last what was found.

    Args:
        held: real samples that the model never saw, of the training samples' distribution.
        features: of made, train and held, by one embedder.

    Raises:
        UserError: there are no held-out samples.
    """
    if not len(held):
        raise UserError("copies cannot be told from chance without held-out samples; keep some samples apart.")
    rows = torch.linspace(0, len(held) - 1, min(HELD, len(held))).long()
    held = held.take(rows)
    space = searcher(train, held)
    sets = {"made": made, "held": held, **controls.planted(train, seed)}
    native: dict[str, Looked] = {}
    for done in looked_at(space, sets, native):
        yield 0.8 * done
    ours, theirs = native.pop("made"), native.pop("held")
    among = None if features is None else [f.float() for f in (features[0], features[1], features[2][rows])]
    seen = None if among is None else near(nearest.look(among[0], among[1]), nearest.look(among[2], among[1]))
    columns, unit, limits = judged(ours, theirs, seen)
    scores = unit.score(columns)
    told = alarm(scores, limits)
    index = nearer(ours, seen and seen[0], scores > unit.score(ours.columns))
    theirs_native = apart(theirs.columns, theirs.columns.shape[1])
    usual = closest(limits, nearer(theirs, seen and seen[1], limits > theirs_native), told.threshold)
    yield Copying(
        scores=scores,
        nearest=index,
        closest=closest(scores, index, told.threshold),
        held_closest=tuple((held.names[i], train.names[j]) for i, j, _ in usual),
        alarm=told,
        held=len(held),
        overlap=overlap(train, held, theirs, seed),
        published=published(ours, theirs, None if seen is None or among is None else (*seen, *among), seed),
        controls=checked(native, unit, told.threshold, beside(theirs, seen and seen[1]), seed),
    )


def looked_at(space: Pictures | Texts, sets: dict[str, Samples], found: dict[str, Looked]) -> Iterator[float]:
    """Puts what the search gives for each set into `found`; yields the share done."""
    total, done = sum(map(len, sets.values())), 0
    for name, samples in sets.items():
        parts: list[Looked] = []
        for start in range(0, len(samples), space.AT_ONCE):
            parts.append(space.look(samples.take(range(start, min(start + space.AT_ONCE, len(samples))))))
            done += len(parts[-1].nearest)
            yield done / total
        found[name] = Looked(*(torch.cat([getattr(p, f) for p in parts]) for f in ("columns", "nearest", "distance")))


def overlap(train: Samples, held: Samples, theirs: Looked, seed: int) -> Alarm | None:
    """Whether held-out samples are nearer to training samples than these are to one another."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(derive("overlap", seed)))
    n = min(ALIKE, len(train) // 5)
    if not n:
        return None
    usual = searcher(train.take(order[n:]), held).look(train.take(order[:n])).columns
    return against(theirs.columns, usual, usual.shape[1])


def nearer(native: Looked, features: Looked | None, by_features: Bool[Tensor, " n"]) -> Int[Tensor, " n"]:
    """The training sample that each is nearest to, in the space in which it is the more suspicious."""
    return native.nearest if features is None else torch.where(by_features, features.nearest, native.nearest)


def searcher(train: Samples, held: Samples) -> Pictures | Texts:
    """The search for a sample's nearest training sample where people would see a copy."""
    return Pictures(train) if train.texts is None else Texts(train, held)


def near(ours: Looked, theirs: Looked) -> tuple[Looked, Looked]:
    """Suspicion of features only where the nearest training sample is nearer than half of the held-out ones have it:
    what lies far from all (noise, a mean) is no copy, however its neighbours lie."""
    limit = theirs.distance.median()
    return tuple(  # pyright: ignore[reportReturnType]
        replace(looked, columns=looked.columns * (looked.distance <= limit)[:, None]) for looked in (ours, theirs)
    )


def judged(ours: Looked, theirs: Looked, seen: tuple[Looked, Looked] | None) -> tuple[Tensor, Unit, Tensor]:
    """All columns of the generated samples, the unit that held-out samples set, and their scores in it."""
    columns = beside(theirs, seen and seen[1])
    native = theirs.columns.shape[1]
    return beside(ours, seen and seen[0]), Unit.of(columns, native), apart(columns, native)


def beside(native: Looked, features: Looked | None) -> Float[Tensor, "n c"]:
    """Columns of native space, then that of features."""
    return native.columns if features is None else torch.cat((native.columns, features.columns), 1)


def closest(scores: Tensor, index: Tensor, threshold: float) -> tuple[tuple[int, int, float], ...]:
    order = scores.argsort(descending=True)[:CLOSEST].tolist()
    return tuple((i, int(index[i]), float(scores[i]) - threshold) for i in order)


def checked(edited: dict[str, Looked], unit: Unit, threshold: float, held: Tensor, seed: int) -> Controls:
    """Planted copies are scored in native space alone: features of them are not there, and could only add."""
    columns = {kind: looked.columns for kind, looked in edited.items()}
    found = {kind: (int((unit.score(c) > threshold).sum()), len(c)) for kind, c in columns.items()}
    flagged, rings = controls.fresh(held, next(iter(columns.values())).shape[1], seed)
    return Controls(found, flagged, rings)


def published(ours: Looked, theirs: Looked, seen: tuple[Any, ...] | None, seed: int) -> Published:
    """C_T and authenticity; `seen`: the searches of made and held, and the features of made, train and held."""
    if seen is None:
        z = three_sample.z(ours.distance, theirs.distance)
        return Published(z, three_sample.p_value(z), None, None, None)
    made, held, made_features, train_features, held_features = seen
    centres = three_sample.cells(train_features, seed)
    own = [three_sample.cell_of(f, centres) for f in (made_features, held_features)]
    z = three_sample.z(made.distance, held.distance)
    return Published(
        c_t=z,
        c_t_p=three_sample.p_value(z),
        c_t_cells=three_sample.c_t((made.distance, own[0]), (held.distance, own[1])),
        authenticity=nearest.authenticity(made, train_features),
        authenticity_held=nearest.authenticity(held, train_features),
    )
