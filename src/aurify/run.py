"""The run folder: one training, readable without aurify.

run.json      family, codec, their settings, training settings, plan, seed
data.json     where the data is, its hash, counts, what was dropped
codec.json    what the codec learned
events.jsonl  what happened, one line an event, the same for equal trainings
checkpoints/  step-N/{model,ema,optimizer}.safetensors, state.json, MANIFEST.json
previews/ samples/ tensorboard/ report/
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError

import aurify
from aurify.errors import UserError

if TYPE_CHECKING:
    from aurify.codec import Codec
    from aurify.cond import CondSpec
    from aurify.data.store import Store
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
    def create(cls, path: Path, card: Card, data: DataCard, codec_state: dict[str, Any]) -> "Run":
        """A new folder. Raises UserError if there is one already, or it cannot be written."""
        from aurify.atomic import explained

        refuse_existing(path)
        with explained(path):
            path.mkdir(parents=True, exist_ok=True)
            write_json(path / "codec.json", codec_state)
            write_json(path / "data.json", data.model_dump(mode="json"))
            write_json(path / "run.json", card.model_dump(mode="json"))  # last: a folder without it is not a run
        return cls(path, card, data)

    @classmethod
    def load(cls, path: Path | str) -> "Run":
        """Raises UserError for what is not a run, or one from a newer aurify."""
        path = Path(path)
        if not (path / "run.json").is_file():
            raise UserError(
                f"{path} is not a run: it holds no run.json. A run is the folder that `aurify train --out` made."
            )
        card = read_json(path / "run.json")
        if card.get("format", 0) > FORMAT:
            raise UserError(
                f"{path} was made by aurify {card.get('aurify')}, whose format {card['format']} is newer than "
                f"this one's ({FORMAT}); install that version or a later one."
            )
        try:
            return cls(path, Card(**card), DataCard(**read_json(path / "data.json")))
        except ValidationError as error:
            raise UserError(f"{path}/run.json or data.json is damaged: {error.errors()[0]['msg']}") from error

    @cached_property
    def spec(self) -> "Spec":
        from aurify import spec

        return spec.from_json(self.card.spec)

    @cached_property
    def cond(self) -> "CondSpec":
        from aurify.cond import CondSpec

        return CondSpec(self.card.labels)

    @cached_property
    def training(self) -> "TrainConfig":
        from aurify.training import TrainConfig

        return TrainConfig(**self.card.training)

    @cached_property
    def codec(self) -> "Codec[Any]":
        from aurify import codec

        kind = codec.load(self.card.codec)
        made = kind(kind.Config(**self.card.codec_config))  # pyright: ignore[reportCallIssue]
        made.restore(read_json(self.path / "codec.json"))
        return made

    @cached_property
    def store(self) -> "Store":
        """The encoded data: opened, or built again from the source. Raises UserError if the data has changed."""
        from aurify.data.store import open_or_build

        store = open_or_build(self.data.source, **self.data.store)
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
        """The events so far."""
        if not self.events.is_file():
            return []
        return [json.loads(line) for line in self.events.read_text(encoding="utf-8").splitlines()]


def refuse_existing(path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} is there already; choose another --out, or go on with `aurify resume {path}`.")


def write_json(path: Path, value: Any) -> None:
    from aurify.atomic import write

    write(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
