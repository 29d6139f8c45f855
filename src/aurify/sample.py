"""The only sampling path: every sample that leaves goes through here.

Sample i is a function of (weights, seed, i, what was asked, options). Rows are always computed in the same places of
equal chunks, i in row i % chunk of chunk i // chunk, because equal shapes give equal bits; rows nobody asked for are
thrown away.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor

from aurify import checkpoint as checkpoints
from aurify import device, family, posthoc
from aurify.cond import Cond, from_labels, from_rows
from aurify.data import texts
from aurify.data.columns import shown
from aurify.errors import UserError, nearest
from aurify.family import Family
from aurify.rng import SampleRng
from aurify.run import Run
from aurify.settings import explain

GAP = "_"  # a symbol to be filled in
ABILITIES = {  # what the option of this name asks of a family, and on which data
    "prefix": ("go on from a beginning", "texts"),
    "fill": ("fill in gaps", "texts"),
    "given": ("go on from known columns", "a table"),
}


@dataclass(frozen=True)
class Sample:
    """One sample with the record of how it came to be: enough to make it again."""

    index: int
    native: Any
    record: dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What samples are asked for with.

    Attributes:
        label: one label for all, or a list that is gone through in turn; None asks for nothing.
        text: the same for texts, of runs that learned from captions or pairs.
        prefix: what each sample begins with (text).
        fill: a text with `_` for each symbol to be found, of runs whose family can fill in.
        given: {column: value}, the columns of every row that are known, of runs whose family can go on from them.
        stop: words at which a text ends; they are left out.
    """

    label: str | list[str] | None = None
    text: str | list[str] | None = None
    prefix: str = ""
    fill: str = ""
    given: dict[str, Any] = field(default_factory=dict)
    stop: str = ""

    @classmethod
    def taken(cls, words: dict[str, Any]) -> tuple["Asked", dict[str, Any]]:
        """What is asked for, and the rest: options of the family."""
        mine = {part.name: words[part.name] for part in fields(cls) if part.name in words}
        return cls(**mine), {k: v for k, v in words.items() if k not in mine}

    def at(self, index: int) -> dict[str, str | None]:
        """Label and text of one sample."""
        found = {"label": self.label, "text": self.text}
        return {k: v[index % len(v)] if isinstance(v, list) else v for k, v in found.items()}

    def record(self, index: int) -> dict[str, Any]:
        """For the sample's record: its label, and its text if it has one."""
        found = self.at(index)
        return found if found["text"] is not None else {"label": found["label"]}

    @property
    def words(self) -> dict[str, Any]:
        """What else was given."""
        return {name: getattr(self, name) for name in ("prefix", "fill", "given", "stop") if getattr(self, name)}


def sample(
    run: Run, n: int = 16, seed: int = 0, first: int = 0, checkpoint: str = "last", **asked: Any
) -> Iterator[Sample]:
    """Samples `first` ... `first + n - 1` of a seed.

    Args:
        checkpoint: "last", "best" by held-out loss, a step, or an average put together: "ema=0.1", see `posthoc`.
        asked: label, text, prefix, fill, given and stop (see Asked), and the family's own options, such as
            guidance=2 or temperature=0.8 (see `aurify list FAMILY`).

    Raises:
        UserError: an unknown label or option, a text that the run cannot read, or a run without a checkpoint.
    """
    model, step = load_model(run, checkpoint)
    wish, options = Asked.taken(asked)
    column = label_column(run, wish)
    chosen = make_options(model, {**options, **encoded(run, wish)})
    for index, x in tensors(model, run, (first, n), seed, wish, chosen):
        record = {"run": run.path.name, "step": step, "seed": seed, "index": index, **wish.record(index)}
        record |= {"family": run.card.family, "options": options | wish.words}
        record |= {} if posthoc.length(checkpoint) is None else {"weights": checkpoint}
        native: Any = run.codec.decode(x)
        if wish.stop:
            native = cut(native, len(wish.prefix), wish.stop)
        if wish.given:
            native = native | wish.given  # the very values, not others of their bins
        label = wish.record(index)["label"]
        if column and label is not None and shown(native[column]) != label:
            native = native | {column: label}  # asked for by it, whatever a model makes of that
        yield Sample(index, native, record | {"data": run.data.hash, "aurify": run.card.aurify})


def cut(text: str, begun: int, stop: str) -> str:
    """The text up to the first stop after its first `begun` characters."""
    at = text.find(stop, begun)
    return text if at < 0 else text[:at]


def tensors(
    model: Family, run: Run, span: tuple[int, int], seed: int, asked: Asked, options: BaseModel
) -> Iterator[tuple[int, Tensor]]:
    """(index, x) for the span (first, n), x in the spec, on the CPU."""
    first, n = span
    chunk = model.chunk
    for start in range(first - first % chunk, first + n, chunk):
        indices = range(start, start + chunk)
        x = model.sample(make_cond(run, asked, indices), SampleRng(seed, indices), options).cpu()
        yield from ((i, x[i - start]) for i in indices if first <= i < first + n)


def load_model(run: Run, which: str = "last", device_name: str = "auto") -> tuple[Family, int]:
    """The family with the averaged weights of a checkpoint, ready to sample, and its step."""
    length = posthoc.length(which)
    found = checkpoints.chosen(run.checkpoints, which if length is None else "last", only=("ema", "model"))
    if found is None:
        raise UserError(f"{run.path} has no checkpoint yet; train it first: aurify resume {run.path}")
    weights, step = found.tensors["ema"], found.step
    if length is not None:
        weights, step = posthoc.average(run.checkpoints, length)
    device.use_threads(run.training.threads)  # other threads, other last bits
    model = run.model()
    with run.understood():
        model.load_state_dict(found.tensors["model"] | weights)
    return model.to(device.choose(device_name)).eval().requires_grad_(False), step


def make_options(model: Family, asked_for: dict[str, Any]) -> BaseModel:
    known = list(model.Options.model_fields)
    for name in asked_for:
        if name not in known:
            raise UserError(f"sampling has no option {name!r}.{nearest(name, known)} There are: {', '.join(known)}")
    try:
        return model.Options(**asked_for)
    except ValidationError as error:
        raise UserError(explain(error)) from error


def encoded(run: Run, asked: Asked) -> dict[str, Any]:
    """The prefix as tokens; what is to be filled in, with -1 for each gap; known columns as {position: symbol}.

    Raises:
        UserError: the run's family or its codec cannot be asked so, or not for this.
    """
    refuse_unable(run, asked)
    found = {"given": run.codec.given(asked.given)} if asked.given else {}
    if asked.prefix or asked.fill or asked.stop:
        prefix, *parts = (run.codec.tokens(part) for part in (asked.prefix, *asked.fill.split(GAP)))
        fill = [i for part in parts for i in (*part, -1)][:-1]
        found |= {k: tuple(v) for k, v in (("prefix", prefix), ("fill", fill)) if v}
    return found


def label_column(run: Run, asked: Asked) -> str | None:
    """The column of a table's rows by which `label` asks. Raises UserError where another value is given for it."""
    column = run.data.store.get("columns", {}).get("label")
    if column is None or column not in getattr(run.codec, "positions", ()):
        return None
    labels = {asked.label} if isinstance(asked.label, str) else set(asked.label or ())
    if column in asked.given and labels - {shown(asked.given[column])}:
        raise UserError(f"--label and --given say two things of the column {column!r}; leave one out")
    return column


def refuse_unable(run: Run, asked: Asked) -> None:
    """Raises UserError for what this family has no option for; says which have."""
    for word, (does, data) in ABILITIES.items():
        if getattr(asked, word) and word not in family.load(run.card.family).Options.model_fields:
            able = [name for name in family.names() if word in family.load(name).Options.model_fields]
            raise UserError(
                f"family {run.card.family!r} cannot {does} (--{word}); trained on {data}, these can: {', '.join(able)}"
            )


def make_cond(run: Run, asked: Asked, indices: range) -> Cond:
    """One row a sample; sample i is asked for the i-th label and the i-th text in turn.

    Raises:
        UserError: an unknown label, a text that the run cannot read, or any text where it reads none.
    """
    if asked.text is not None and run.cond.text is None:
        readers = [name for name in family.names() if family.load(name).reads_text]
        other = "" if run.card.family in readers else f"a family that reads them ({', '.join(readers)}) "
        raise UserError(
            f"this run knows no texts: train {other}on samples that come with one, such as a table with the columns "
            "source and target"
        )
    if asked.label is not None and not run.cond.labels and (columns := getattr(run.codec, "positions", ())):
        raise UserError(f"this run learned rows: ask with --given COLUMN=VALUE, of the columns {', '.join(columns)}")
    rows = [asked.at(i) for i in indices]
    labels = [None if row["label"] is None else run.cond.index(row["label"]) for row in rows]
    if run.cond.text is None:
        return from_labels(labels, run.cond)
    read = texts.encode(run.text_codec, [row["text"] for row in rows])
    return from_rows(torch.tensor([-1 if i is None else i for i in labels]), read, run.cond)


def write(run: Run, samples: Iterator[Sample], folder: Path) -> Iterator[Path]:
    """Writes the samples with their records: a file each, and at the end an overview of the first hundred; or, where
    their codec has it so, one file of all.

    Nothing that is there is overwritten: an equal file stays, beside another of its name the new one gets a number.
    """
    from aurify.atomic import explained

    shown: list[Any] = []

    def named() -> Iterator[tuple[str, Any, dict[str, Any]]]:
        for made in samples:
            if len(shown) < 100:
                shown.append(made.native)
            label = f"-{made.record['label']}" if made.record["label"] else ""
            yield f"{made.index:05d}{safe(label)}", made.native, made.record

    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".new-", dir=folder) as new:
            files = 0
            for files, written in enumerate(run.codec.write_many(named(), Path(new)), 1):  # noqa: B007
                yield settled(written, folder)
            if files > 1:
                overview = run.codec.preview(shown)
                written = Path(new) / f"overview{overview.suffix}"
                written.write_bytes(overview.data)
                yield settled(written, folder)


def settled(written: Path, folder: Path) -> Path:
    """Moves a new file, with what lies beside it, to `folder`; returns where it is to be found."""
    files = sorted(written.parent.iterdir())

    def fits(stem: str) -> bool:
        places = [folder / f"{stem}{file.suffix}" for file in files]
        equal = (p.is_file() and p.read_bytes() == file.read_bytes() for file, p in zip(files, places, strict=True))
        return not any(place.exists() for place in places) or all(equal)

    stem = next(filter(fits, chain([written.stem], (f"{written.stem}-{k}" for k in count(2)))))
    for file in files:
        file.replace(folder / f"{stem}{file.suffix}")
    return folder / f"{stem}{written.suffix}"


def safe(name: str) -> str:
    """A label as part of a file name."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:60]


def stream(run: Run, seed: int = 0, first: int = 0, checkpoint: str = "last", **asked: Any) -> Iterator[str]:
    """Sample `first` of a run of text, piece by piece as it is made; the pieces joined are what `sample` gives."""
    model, _ = load_model(run, checkpoint)
    steps, pieces = getattr(model, "stream", None), getattr(run.codec, "pieces", None)
    if steps is None or pieces is None:
        (made,) = sample(run, 1, seed, first, checkpoint, **asked)  # in one piece
        yield made.native
        return
    wish, options = Asked.taken(asked)
    chosen, prefix, stop = make_options(model, {**options, **encoded(run, wish)}), wish.prefix, wish.stop
    row = first % model.chunk
    indices = range(first - row, first - row + model.chunk)
    columns = steps(make_cond(run, wish, indices), SampleRng(seed, indices), chosen)
    text, said = "", 0
    for piece in pieces(int(column[row]) for column in columns):
        text += piece
        if stop and stop in text[len(prefix) :]:
            yield cut(text, len(prefix), stop)[said:]
            return
        safe_until = len(text) - (len(stop) - 1 if stop else 0)  # the rest may be the beginning of a stop
        yield text[said:safe_until]
        said = max(said, safe_until)
    yield text[said:]
