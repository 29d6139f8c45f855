"""The run folder: one training, readable without aurify.

run.json      family, codec, their settings, training settings, plan, seed
data.json     where the data is, its hash, counts, what was dropped
codec.json    what the codec learned
text.json     the codec of the texts that samples are asked for with, if there are any
events.jsonl  what happened, one line an event, the same for equal trainings
checkpoints/  step-N/{model,ema,optimizer}.safetensors, state.json, MANIFEST.json
previews/ samples/ tensorboard/ report/
"""

import inspect
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError

import aurify
from aurify.errors import UserError, nearest
from aurify.settings import explain

if TYPE_CHECKING:
    from aurify.codec import Codec
    from aurify.cond import CondSpec
    from aurify.data.store import Store
    from aurify.family import Family
    from aurify.spec import Spec
    from aurify.training import TrainConfig

FORMAT = 1


class Card(BaseModel, frozen=True, extra="forbid"):
    """run.json: all that a training is a function of, but for the data itself."""

    format: int = FORMAT
    aurify: str = aurify.__version__
    family: str
    family_config: dict[str, Any]
    codec: str
    codec_config: dict[str, Any]
    spec: dict[str, Any]
    labels: tuple[str, ...] = ()
    text: dict[str, Any] | None = Field(default=None, description="what the texts that lead samples are, as a spec")
    training: dict[str, Any]
    plan: dict[str, Any] = Field(default_factory=dict, description="what was predicted when the run was made")


class DataCard(BaseModel, frozen=True, extra="forbid"):
    """data.json: which data, and what became of it."""

    source: str
    hash: str
    store: dict[str, Any] = Field(description="arguments that rebuild the encoded store")
    counts: dict[str, int]
    report: dict[str, Any] = {}


@dataclass(frozen=True)
class Run:
    """An opened run folder. Make one with `create`, open one with `load`."""

    path: Path
    card: Card
    data: DataCard

    @classmethod
    def create(
        cls,
        path: Path,
        card: Card,
        data: DataCard,
        codec_state: dict[str, Any],
        text: dict[str, Any] | None = None,
    ) -> "Run":
        """A new folder. Raises UserError if there is one already, or it cannot be written; then nothing is left."""
        from aurify import atomic

        refuse_existing(path)
        tmp = atomic.beside(path.resolve())
        with atomic.explained(path, "make the run"):
            try:
                atomic.make(tmp)
                write_json(tmp / "codec.json", codec_state)
                if text is not None:
                    write_json(tmp / "text.json", text)
                write_json(tmp / "data.json", data.model_dump(mode="json"))
                write_json(tmp / "run.json", card.model_dump(mode="json"))
                atomic.appear(tmp, path)
            finally:
                shutil.rmtree(tmp, ignore_errors=True)
        return cls(path, card, data)

    @classmethod
    def load(cls, path: Path | str) -> "Run":
        """Raises UserError for what is not a run, or one from a newer aurify."""
        path = Path(path)
        if not (path / "run.json").is_file():
            what = "it holds no run.json" if path.exists() else "there is nothing there"
            runs = [found.parent.name for found in path.parent.glob("*/run.json")]
            made = "A run is the folder that `aurify train --out` made."
            raise UserError(f"{path} is not a run: {what}.{nearest(path.name, runs)} {made}")
        card = read_object(path / "run.json")
        with understood(path, card.get("aurify")):
            if card.get("format", 0) > FORMAT:
                raise UserError(
                    f"{path} was made by aurify {card.get('aurify')}, whose format {card['format']} is newer than "
                    f"this one's ({FORMAT}); install that version or a later one."
                )
            return cls(path, Card(**card), DataCard(**read_object(path / "data.json")))

    def understood(self) -> AbstractContextManager[None]:
        """Where this run's files are made sense of: what cannot be is a UserError."""
        return understood(self.path, self.card.aurify)

    @cached_property
    def spec(self) -> "Spec":
        from aurify import spec

        with self.understood():
            return spec.from_json(self.card.spec)

    @cached_property
    def cond(self) -> "CondSpec":
        from aurify import spec
        from aurify.cond import CondSpec

        with self.understood():
            return CondSpec(self.card.labels, self.card.text and spec.from_json(self.card.text))  # pyright: ignore[reportArgumentType]

    @cached_property
    def training(self) -> "TrainConfig":
        from aurify.training import TrainConfig

        with self.understood():
            return TrainConfig(**self.card.training)

    def model(self) -> "Family":
        """The family with weights from torch's default generator."""
        from aurify import family

        with self.understood():
            kind = family.load(self.card.family)
            config = kind.Config(**self.card.family_config)
        return kind(self.spec, self.cond, config)

    @cached_property
    def codec(self) -> "Codec[Any]":
        from aurify import codec

        state = read_object(self.path / "codec.json")
        with self.understood():
            kind = codec.load(self.card.codec)
            made = kind(kind.Config(**self.card.codec_config))  # pyright: ignore[reportCallIssue]
            made.restore(state)
        return made

    @cached_property
    def text_codec(self) -> "Codec[Any]":
        """What reads the texts that samples are asked for with, of a run that has some."""
        from aurify import codec

        kept = self.text
        with self.understood():
            kind = codec.load("text")
            made = kind(kind.Config(**kept["config"]))  # pyright: ignore
            made.restore(kept["state"])  # pyright: ignore[reportOptionalSubscript]
        return made

    @cached_property
    def text(self) -> dict[str, Any] | None:
        """text.json: settings and state of `text_codec`; None where no texts lead."""
        return read_object(self.path / "text.json") if self.card.text else None

    @cached_property
    def store(self) -> "Store":
        """The encoded data: opened, or built again from the source. Raises UserError if the data has changed."""
        from aurify.data.store import open_or_build

        if not Path(self.data.source).exists():
            raise UserError(f"what this run learned from is not at {self.data.source} any more; put it or a link there")
        with self.understood():
            asked = inspect.signature(open_or_build).bind(self.data.source, **self.data.store)
        store = open_or_build(*asked.args, **asked.kwargs)
        if store.hash != self.data.hash:
            raise UserError(
                f"the data in {self.data.source} has changed since this run began; "
                "put it back, or train anew with another --out."
            )
        return store

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    def sample(self, n: int = 16, **asked: Any) -> list[Any]:
        """n native samples; see aurify.sample.sample for what can be asked."""
        from aurify.sample import sample

        return [made.native for made in sample(self, n, **asked)]

    def log(self) -> list[dict[str, Any]]:
        """The events so far; half a line that a kill left at the end is not one. Raises UserError for what is none."""
        lines = self.events.read_bytes().split(b"\n")[:-1] if self.events.is_file() else []
        found = []
        for i, line in enumerate(lines):
            try:
                found.append(json.loads(line))
            except ValueError as error:
                raise UserError(f"line {i + 1} of {self.events} is damaged; delete that line.") from error
        return found


@contextmanager
def understood(path: Path, made_by: Any) -> Iterator[None]:
    """What this aurify cannot understand in a run's files is a UserError that says whether a newer one wrote them."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        if version(made_by) > version(aurify.__version__):
            raise UserError(
                f"{path} was made by aurify {made_by}, newer than this {aurify.__version__}, which does not understand "
                "it; install that version or a later one."
            ) from error
        if isinstance(error, UserError):
            raise
        why = explain(error) if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
        raise UserError(f"{path} is damaged, or was edited by hand: {why}") from error


def version(words: Any) -> list[int]:
    """[0, 1, 0] for "0.1.0"."""
    return [int(part) for part in re.findall(r"\d+", str(words))[:3]]


def refuse_existing(path: Path) -> None:
    """What is there stays as it is, and so does a run around it."""
    around = next((parent for parent in path.absolute().parents if (parent / "run.json").is_file()), None)
    if around is not None:
        raise UserError(f"{path} lies inside the run {around}; choose another --out.")
    if (path / "run.json").exists():
        raise UserError(f"{path} is there already; choose another --out, or go on with `aurify resume {path}`.")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} is there already, and is not a run; choose another --out.")


def write_json(path: Path, value: Any) -> None:
    from aurify.atomic import write

    write(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_object(path: Path) -> dict[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged: it holds a {type(found).__name__} where names with values belong.")
    return found


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: this is no whole run; take it from a copy, or train anew") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); take it from a copy, or train anew") from error
