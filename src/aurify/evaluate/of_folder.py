"""Judging any folder of samples, whoever made them, against real ones."""

import hashlib
import shlex
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from aurify import codec as codecs
from aurify.codec import Codec
from aurify.errors import UserError
from aurify.evaluate import assess, folder, of_run, overlap, sources
from aurify.evaluate.assess import Case
from aurify.evaluate.figures import FEW
from aurify.evaluate.folder import NAMED, Folder
from aurify.evaluate.licences import licences
from aurify.evaluate.progress import Doing, at_last
from aurify.evaluate.report import Report
from aurify.evaluate.samples import Decoded, Samples
from aurify.evaluate.sources import Real
from aurify.evaluate.usefulness import usefulness
from aurify.spec import Tokens

FEWEST = 4  # real samples without a training set: a half serves as one, the rest for reference and floor


def evaluate(samples: str, reference: str, train: str | None, out: str, seed: int = 1) -> Iterator[Doing | Report]:
    """Judges `samples` against `reference`; with `train`, also whether they copy what the model learned from. Without
    it, half of the reference serves to fit embedders and baselines. Writes report.json and report.html into `out`.

    Raises:
        UserError: sets of two kinds, an empty one, too few real samples for any figure, or a reference that overlaps
            the training set or the samples (names the files).
    """
    folders: dict[str, Folder] = {}
    for name, path in (("reference", reference), ("samples", samples), ("train", train)):
        if path is not None:
            folders[name] = yield from folder.read(path, folders["reference"].codec if folders else None)
    yield "comparing contents", 0.0
    repeats = codecs.load(folders["reference"].codec).repeats
    overlap.refuse_the_reference_itself(folders["samples"], folders["reference"], repeats)
    if train:
        overlap.refuse_overlap(folders["reference"], folders["train"], (reference, train), repeats)
    case = case_of(folders, reference, samples, train, seed)
    steps = usefulness(case.made, case.real.train, case.real.reference, seed)
    helped = yield from at_last(steps, "does generating help?")
    further = {"usefulness": helped.to_json()} if helped else {}
    command = f"{case.command} --out {shlex.quote(out)}"
    report = yield from assess.assess(replace(case, further=further, command=command))
    of_run.save(report, Path(out), None)
    yield report


def case_of(folders: dict[str, Folder], reference: str, samples: str, train: str | None, seed: int) -> Case:
    known = folders["reference"]
    codec = codecs.load(known.codec)()
    codec.fit(iter(known.natives))
    folders = {name: folder.understood(some, codec) for name, some in folders.items()}
    seen = {name: folder.samples(some, codec, known.label_names) for name, some in folders.items()}
    sets = {name: found for name, (found, _) in seen.items()}
    command = ["aurify", "evaluate", "--samples", samples, "--reference", reference, "--seed", str(seed)]
    changed = folder.refitted(folders["samples"], codec)
    return Case(
        made=sources.mixed(sets["samples"], seed),
        real=real_of(sets, seen["train"][1] if train else 0, reference, seed),
        codec=codec,
        data=facts(folders, sets, codec, seed),
        seed=seed,
        options={},
        trained_on=train is not None,
        command=shlex.join(command + (["--train", train] if train else [])),
        subject={"folder": samples},
        notices=tuple(filter(None, [folders["samples"].unreadable, *map(partial(strange, known), folders.values())])),
        remarks=remarks(folders, codec),
        changed=changed,
        elsewhere=isinstance(codec.spec, Tokens) and codec.spec.stream,
    )


def strange(known: Folder, some: Folder) -> str | None:
    """That some samples have labels which the reference has not, so that these count for none, in a sentence."""
    others = [name for name in some.label_names if name not in known.label_names]
    if not others or not known.label_names:
        return None
    n = sum(label in others for label in some.labels)
    return (
        f"{n:,} of {len(some.labels):,} samples of {some.path} have labels that {known.path} does not know "
        f"({', '.join(others[:NAMED])}{', ...' if len(others) > NAMED else ''}), which were left out: give labels the "
        "same names on both sides."
    )


def facts(folders: dict[str, Folder], sets: dict[str, Samples], codec: Codec[object], seed: int) -> dict[str, object]:
    """The data in the report."""
    bad = {name: dict(some.bad[:100]) for name, some in folders.items() if some.bad}
    return {
        "source": folders["reference"].path,
        "hash": hashed([folders[name] for name in ("reference", "train") if name in folders], seed),
        "labels": list(folders["reference"].label_names),
        "counts": {name: len(found) for name, found in sets.items()},
        "notes": list(codec.notes),
        "licences": licences(folders["reference"].path),
        **({"unreadable": bad} if bad else {}),
    }


def remarks(folders: dict[str, Folder], codec: Codec[object]) -> tuple[str, ...]:
    """What was left out of the real data, and which samples are not as they came."""
    told = [folders[name].unreadable for name in ("reference", "train") if name in folders]
    for some in folders.values():
        changed = folder.refitted(some, codec)
        lost = " What is finer than that was not looked at." if "resized" in changed else ""
        told.append(f"Of {some.path}, {changed} before anything was measured.{lost}" if changed else None)
    return tuple(filter(None, told))


def hashed(folders: list[Folder], seed: int) -> str:
    """Of the real data that figures depend on: the reference, and what embedders learn from, with its labels. Without a
    training set the seed decides which half of the reference that is."""
    digest = hashlib.sha256(b"" if len(folders) > 1 else str(seed).encode())
    for some in folders:
        words = sorted(f"{content} {label}" for content, label in zip(some.hashes, some.labels, strict=True))
        digest.update(repr(words).encode())
    return digest.hexdigest()


def real_of(sets: dict[str, Samples], known: int, reference: str, seed: int) -> Real:
    least = 2 if "train" in sets else FEWEST
    if len(sets["reference"]) < least:
        kind = "passages of text" if isinstance(sets["reference"].natives, Decoded) else "samples"
        raise UserError(
            f"{reference} holds only {len(sets['reference'])} {kind}; {least} are the least for any figure and "
            f"{FEW * least} for a verdict: give more real ones"
        )
    first, second = sources.dealt(sets["reference"], seed)
    if "train" in sets:
        return Real(sets["train"], first, second, f"half of the samples of {reference}", known)
    return Real(first, *sources.dealt(second, seed), f"a quarter of the samples of {reference}", len(first))
