"""Judging any folder of samples, whoever made them, against real ones."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aurify import codec as codecs
from aurify.data.source import Source, open_source
from aurify.errors import UserError
from aurify.evaluate import assess, of_run, sources
from aurify.evaluate.assess import Case
from aurify.evaluate.figures import Doing
from aurify.evaluate.report import Report
from aurify.evaluate.samples import Samples
from aurify.evaluate.sources import Real
from aurify.spec import Grid


def evaluate(samples: str, reference: str, train: str | None, out: str, seed: int = 1) -> Iterator[Doing | Report]:
    """Judges `samples` against `reference`; with `train`, also whether they copy what the model learned from. Without
    it, half of the reference serves to fit embedders and baselines. Writes report.json and report.html into `out`.

    Raises:
        UserError: sets of two kinds, an empty one, or a reference that overlaps the training set (names the files).
    """
    yield "reading", 0.0
    source = open_source(Path(reference), None)
    codec = codecs.load(source.codec)()
    labels = tuple(sorted({item.label for item in source.items if item.label is not None}))
    codec.fit(natives(source, codec))
    read = {"reference": reference, "samples": samples} | ({"train": train} if train else {})
    sets = {name: sources.of_folder(path, codec, source.codec, labels) for name, path in read.items()}
    prints = {name: [content(native) for native in found.natives] for name, found in sets.items()}
    if train:
        refuse_overlap(prints, sets, reference, train)
    real = real_of(sets, reference, seed)
    data_hash = hashlib.sha256("".join(sorted(prints["reference"])).encode()).hexdigest()
    command = f"aurify evaluate --samples {samples} --reference {reference}" + (f" --train {train}" if train else "")
    case = Case(
        made=sets["samples"],
        real=real,
        codec=codec,
        data={"source": reference, "hash": data_hash, "labels": list(labels), "counts": counts(sets)},
        preprocessing=told(codec.spec),
        seed=seed,
        options={},
        trained_on=train is not None,
        command=f"{command} --seed {seed}",
        subject={"folder": samples},
    )
    for found in assess.assess(case):
        if isinstance(found, Report):
            of_run.save(found, Path(out), None)
        yield found


def natives(source: Source, codec: Any) -> Iterator[Any]:
    """Every sample that can be read."""
    for item in source.items:
        try:
            yield item.read(codec)[0]
        except codecs.Unreadable:
            continue


def real_of(sets: dict[str, Samples], reference: str, seed: int) -> Real:
    unseen = sets["reference"]
    if "train" in sets:
        return sources.dealt(sets["train"], unseen, f"samples of {reference}", seed)
    halves = sources.dealt(unseen, unseen, f"samples of {reference}", seed)
    rest = sources.dealt(halves.reference, halves.fresh, f"samples of {reference}", seed)
    return Real(halves.reference, rest.reference, rest.fresh, f"a quarter of the samples of {reference}")


def content(native: Any) -> str:
    """A hash of a sample's content."""
    data = native.encode() if isinstance(native, str) else np.ascontiguousarray(native).tobytes()
    return hashlib.sha256(data).hexdigest()


def refuse_overlap(prints: dict[str, list[str]], sets: dict[str, Samples], reference: str, train: str) -> None:
    known = dict(zip(prints["train"], sets["train"].names, strict=True))
    both = [
        (name, known[p]) for p, name in zip(prints["reference"], sets["reference"].names, strict=True) if p in known
    ]
    if both:
        some = "; ".join(f"{a} is {b}" for a, b in both[:5])
        raise UserError(
            f"{len(both)} samples of {reference} are in {train} too ({some}{'; ...' if len(both) > 5 else ''}): "
            "take them out of the reference, which must be unseen"
        )


def counts(sets: dict[str, Samples]) -> dict[str, int]:
    return {name: len(found) for name, found in sets.items()}


def told(spec: Any) -> str:
    return f"{' x '.join(map(str, spec.size))}, {spec.channels} channels" if isinstance(spec, Grid) else "texts as read"
