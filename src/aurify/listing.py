"""What there is: families, codecs, recipes, which go together, and the settings of each."""

import sys
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from aurify import codec, family, recipes
from aurify.errors import UserError, nearest
from aurify.training import TrainConfig

Section = tuple[str, list[str]]


def listing(what: str) -> list[Section]:
    """Sections (title, lines) for "families", "codecs", "recipes", "metrics", "embedders", "training", or the settings
    of one named thing."""
    if what == "families":
        return [
            (name, [first_line(kind), f"models {kind.kind.__name__}: {pairs(name)}{led(kind)}"])
            for name, kind in ((name, family.load(name)) for name in family.names())
        ]
    if what == "codecs":
        return [
            (name, [first_line(codec.load(name)), f"reads {' '.join(codec.load(name).suffixes)}"])
            for name in codec.names()
        ]
    if what == "recipes":
        return [(name, [(make.__doc__ or "").strip(), f"aurify demo {name}"]) for name, make in recipes.names().items()]
    if what in ("metrics", "embedders"):
        return measures(what)
    if what == "training":
        return [("training", settings(TrainConfig))]
    if what in family.names():
        kind = family.load(what)
        return [
            (f"{what}: settings of training (--set)", settings(kind.Config)),
            (f"{what}: settings of sampling (--set)", settings(kind.Options)),
            ("training of every family (--set)", settings(TrainConfig)),
        ]
    if what in codec.names():
        return [(f"{what}: settings (--set)", settings(codec.load(what).Config))]
    known = ["families", "codecs", "recipes", "metrics", "embedders", "training", *family.names(), *codec.names()]
    raise UserError(f"there is no {what!r} to list.{nearest(what, known)} There are: {', '.join(known)}")


def measures(what: str) -> list[Section]:
    """What figures are made of."""
    from aurify.evaluate import embedder, metric

    if what == "metrics":
        kinds = {name: metric.load(name) for name in metric.names()}
        return [(name, [f"{m.title}: of {m.of}, best {m.better}", m.source]) for name, m in kinds.items()]
    made = {name: embedder.load(name) for name in embedder.names()}
    return [(name, [f"{e.title}: reads {e.kind.__name__}", e.source]) for name, e in made.items()]


def settings(config: type[BaseModel]) -> list[str]:
    """One line a field: name, default, meaning."""
    return [
        f"{name}={default(field)}  {field.description or ''}".rstrip() for name, field in config.model_fields.items()
    ]


def default(field: Any) -> str:
    return "" if field.default is PydanticUndefined else str(field.default)


def first_line(thing: type) -> str:
    """What its file says it is."""
    return (sys.modules[thing.__module__].__doc__ or "").strip().splitlines()[0]


def led(kind: type[family.Family]) -> str:
    """Whether texts lead it."""
    return "; reads texts (captions, sources of pairs)" if kind.reads_text else ""


def pairs(name: str) -> str:
    """The codecs whose samples this family can model."""
    kind = family.load(name).kind
    return "codecs " + ", ".join(c for c in codec.names() if issubclass(codec.load(c).gives, kind))
