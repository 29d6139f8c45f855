"""The only sampling path: every sample that leaves goes through here.

Sample i is a function of (weights, seed, i, what was asked, options). Rows are always computed in the same places of
equal chunks, i in row i % chunk of chunk i // chunk, because equal shapes give equal bits; rows nobody asked for are
thrown away.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel, ValidationError
from torch import Tensor

from aurify import checkpoint as checkpoints
from aurify import device
from aurify.cond import Cond, from_labels
from aurify.errors import UserError, nearest
from aurify.family import Family
from aurify.rng import SampleRng
from aurify.run import Run
from aurify.settings import explain
from aurify.spec import Tokens


@dataclass(frozen=True)
class Sample:
    """One sample with the record of how it came to be: enough to make it again."""

    index: int
    native: Any
    record: dict[str, Any]


def sample(
    run: Run,
    n: int = 16,
    seed: int = 0,
    label: str | list[str] | None = None,
    prefix: str = "",
    stop: str = "",
    first: int = 0,
    checkpoint: str = "last",
    **options: Any,
) -> Iterator[Sample]:
    """Samples `first` ... `first + n - 1` of a seed.

    Args:
        label: one label for all, or a list that is gone through in turn; None asks for nothing.
        prefix: what each sample begins with (text).
        stop: words at which a text ends; they are left out.
        checkpoint: "last", "best" by held-out loss, or a step.
        options: the family's own, such as guidance=2 or temperature=0.8; see `aurify list FAMILY`.

    Raises:
        UserError: an unknown label or option, or a run without a checkpoint.
    """
    model, step = load_model(run, checkpoint)
    chosen = make_options(model, {**options, **encoded_prefix(run, prefix)})
    for index, x in tensors(model, run, (first, n), seed, label, chosen):
        record = {"run": run.path.name, "step": step, "seed": seed, "index": index, "label": asked(label, index)}
        words = {name: text for name, text in (("prefix", prefix), ("stop", stop)) if text}
        record |= {"family": run.card.family, "options": options | words}
        native = run.codec.decode(x)
        native = cut(native, len(prefix), stop) if stop and isinstance(native, str) else native
        yield Sample(index, native, record | {"data": run.data.hash, "aurify": run.card.aurify})


def cut(text: str, begun: int, stop: str) -> str:
    """The text up to the first stop after its first `begun` characters."""
    at = text.find(stop, begun)
    return text if at < 0 else text[:at]


def tensors(
    model: Family, run: Run, span: tuple[int, int], seed: int, label: str | list[str] | None, options: BaseModel
) -> Iterator[tuple[int, Tensor]]:
    """(index, x) for the span (first, n), x in the spec, on the CPU."""
    first, n = span
    chunk = model.chunk
    for start in range(first - first % chunk, first + n, chunk):
        indices = range(start, start + chunk)
        x = model.sample(make_cond(run, label, indices), SampleRng(seed, indices), options).cpu()
        yield from ((i, x[i - start]) for i in indices if first <= i < first + n)


def load_model(run: Run, which: str = "last", device_name: str = "auto") -> tuple[Family, int]:
    """The family with the averaged weights of a checkpoint, ready to sample, and its step."""
    found = checkpoints.chosen(run.checkpoints, which, only=("ema", "model"))
    if found is None:
        raise UserError(f"{run.path} has no checkpoint yet; train it first: aurify resume {run.path}")
    device.use_threads(run.training.threads)  # other threads, other last bits
    model = run.model()
    with run.understood():
        model.load_state_dict(found.tensors["model"] | found.tensors["ema"])
    return model.to(device.choose(device_name)).eval().requires_grad_(False), found.step


def make_options(model: Family, asked_for: dict[str, Any]) -> BaseModel:
    known = list(model.Options.model_fields)
    for name in asked_for:
        if name not in known:
            raise UserError(f"sampling has no option {name!r}.{nearest(name, known)} There are: {', '.join(known)}")
    try:
        return model.Options(**asked_for)
    except ValidationError as error:
        raise UserError(explain(error)) from error


def encoded_prefix(run: Run, prefix: str) -> dict[str, Any]:
    """The prefix as tokens, without the end that would close it."""
    if not prefix:
        return {}
    if not isinstance(run.spec, Tokens):
        raise UserError(f"a prefix needs a family of tokens; this run makes {run.card.codec}s")
    ids = run.codec.encode(prefix).tolist()
    return {"prefix": tuple(i for i in ids if i != run.spec.end)}


def make_cond(run: Run, label: str | list[str] | None, indices: range) -> Cond:
    """One row a sample; sample i is asked for the i-th label in turn."""
    if not run.cond.width and label is None:
        return Cond()
    names = [asked(label, i) for i in indices]
    return from_labels([None if name is None else run.cond.index(name) for name in names], run.cond)


def asked(label: str | list[str] | None, index: int) -> str | None:
    return label[index % len(label)] if isinstance(label, list) else label


def write(run: Run, samples: Iterator[Sample], folder: Path) -> Iterator[Path]:
    """Writes each sample as a file with its record, and at the end an overview of the first hundred.

    Nothing that is there is overwritten: an equal file stays, beside another of its name the new one gets a number.
    """
    from aurify.atomic import explained

    shown: list[Any] = []
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".new-", dir=folder) as new:
            for made in samples:
                label = f"-{made.record['label']}" if made.record["label"] else ""
                written = run.codec.write(made.native, Path(new) / f"{made.index:05d}{safe(label)}", made.record)
                yield settled(written, folder)
                if len(shown) < 100:
                    shown.append(made.native)
            if len(shown) > 1:
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


def stream(
    run: Run,
    seed: int = 0,
    label: str | list[str] | None = None,
    prefix: str = "",
    stop: str = "",
    first: int = 0,
    checkpoint: str = "last",
    **options: Any,
) -> Iterator[str]:
    """Sample `first` of a run of text, piece by piece as it is made; the pieces joined are what `sample` gives."""
    model, _ = load_model(run, checkpoint)
    steps, pieces = getattr(model, "stream", None), getattr(run.codec, "pieces", None)
    if steps is None or pieces is None:
        raise UserError(f"family {run.card.family!r} with codec {run.card.codec!r} cannot stream; use --out")
    chosen = make_options(model, {**options, **encoded_prefix(run, prefix)})
    row = first % model.chunk
    indices = range(first - row, first - row + model.chunk)
    columns = steps(make_cond(run, label, indices), SampleRng(seed, indices), chosen)
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
