"""Judging any folder of samples, whoever made them, against real ones."""

import hashlib
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from aurify import codec as codecs
from aurify.errors import UserError
from aurify.evaluate import assess, of_run, sources
from aurify.evaluate.assess import Case
from aurify.evaluate.progress import Doing
from aurify.evaluate.report import Report
from aurify.evaluate.samples import Samples
from aurify.evaluate.sources import Folder, Real

CHANCE = 0.01  # share of samples that may be equal to one of the reference


def evaluate(samples: str, reference: str, train: str | None, out: str, seed: int = 1) -> Iterator[Doing | Report]:
    """Judges `samples` against `reference`; with `train`, also whether they copy what the model learned from. Without
    it, half of the reference serves to fit embedders and baselines. Writes report.json and report.html into `out`.

    Raises:
        UserError: sets of two kinds, an empty one, or a reference that overlaps the training set or the samples (names
            the files).
    """
    folders: dict[str, Folder] = {}
    for done, (name, path) in enumerate((("reference", reference), ("samples", samples), ("train", train))):
        if path is not None:
            yield f"reading {path}", done / 3
            folders[name] = sources.read(path, folders["reference"].codec if folders else None)
    refuse_the_reference_itself(folders["samples"], folders["reference"])
    if train:
        refuse_overlap(folders["reference"], folders["train"], reference, train)
    case = case_of(folders, reference, samples, train, seed)
    case = replace(case, command=f"{case.command} --out {shlex.quote(out)}")
    report = yield from assess.assess(case)
    of_run.save(report, Path(out), None)
    yield report


def case_of(folders: dict[str, Folder], reference: str, samples: str, train: str | None, seed: int) -> Case:
    known = folders["reference"]
    codec = codecs.load(known.codec)()
    codec.fit(iter(known.natives))
    sets = {name: sources.of_folder(folder, codec, known.label_names) for name, folder in folders.items()}
    command = ["aurify", "evaluate", "--samples", samples, "--reference", reference, "--seed", str(seed)]
    return Case(
        made=sets["samples"],
        real=real_of(sets, folders, reference, seed),
        codec=codec,
        data={
            "source": reference,
            "hash": hashed([folders[name] for name in ("reference", "train") if name in folders]),
            "labels": list(known.label_names),
            "counts": {name: len(found) for name, found in sets.items()},
        },
        seed=seed,
        options={},
        trained_on=train is not None,
        command=shlex.join(command + (["--train", train] if train else [])),
        subject={"folder": samples},
    )


def hashed(folders: list[Folder]) -> str:
    """Of the real data that figures depend on: the reference, and what embedders learn from."""
    return hashlib.sha256(" ".join("".join(sorted(folder.hashes)) for folder in folders).encode()).hexdigest()


def real_of(sets: dict[str, Samples], folders: dict[str, Folder], reference: str, seed: int) -> Real:
    first, second = sources.dealt(sets["reference"], seed)
    if "train" in sets:
        return Real(sets["train"], first, second, f"half of the samples of {reference}", folders["train"].items)
    return Real(first, *sources.dealt(second, seed), f"a quarter of the samples of {reference}", len(first))


def refuse_overlap(unseen: Folder, known: Folder, reference: str, train: str) -> None:
    both = shared(unseen, known)
    if both:
        raise UserError(
            f"{len(both)} samples of {reference} are in {train} too ({some_of(both)}): "
            "take them out of the reference, which must be unseen"
        )


def refuse_the_reference_itself(made: Folder, reference: Folder) -> None:
    """Samples that are the reference's own would be perfect by every distance. As many as repeat in the reference may
    agree by chance, as short texts do."""
    both = shared(made, reference)
    repeated = 1 - len(set(reference.hashes)) / len(reference.hashes)
    if len(both) > (CHANCE + repeated) * len(made.names):
        raise UserError(
            f"{len(both)} of {len(made.names)} samples are in the reference itself ({some_of(both)}): "
            "nothing can be judged by its own copy; a reference must hold other real samples"
        )


def shared(some: Folder, others: Folder) -> list[tuple[str, str]]:
    """Samples of equal content, by name in the one and in the other."""
    names = dict(zip(others.hashes, others.names, strict=True))
    return [(name, names[h]) for h, name in zip(some.hashes, some.names, strict=True) if h in names]


def some_of(both: list[tuple[str, str]]) -> str:
    return "; ".join([f"{a} is {b}" for a, b in both[:5]] + ["..."] * (len(both) > 5))
