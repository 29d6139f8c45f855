"""Blind comparison of two sets of samples by a person: pairs in random order and on random sides, the key kept apart.

Order and sides come from a seed and a secret of 128 random bits that stands in the key alone; what the judge sees holds
only the key's SHA-256. So nobody can work out the key from what is shown, and nobody can exchange the key afterwards.
"""

import hashlib
import json
import secrets
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aurify.data.item import content_hash
from aurify.errors import UserError
from aurify.evaluate.preference import Preference
from aurify.evaluate.samples import Samples
from aurify.rng import derive

Answer = Literal["left", "right", "cannot tell"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
LARGEST = 4_000_000  # bytes of a file of answers or a key


@dataclass(frozen=True)
class Trial:
    """Two samples to choose from; its id says nothing of which is which."""

    id: str
    left: Any
    right: Any


@dataclass(frozen=True)
class Blind:
    """All that a judge may see: the trials in their order, and the SHA-256 of the key."""

    trials: tuple[Trial, ...]
    sealed: str


class Place(BaseModel):
    """Where the samples of one trial come from, and on which side that of the first set stands."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    first_is: Literal["left", "right"]
    first: str
    second: str


class Key(BaseModel):
    """What tells the sides: kept in a file of its own. `names` are the two sets in their order, `contents` the SHA-256
    of all samples that are shown."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["aurify key"] = "aurify key"
    names: Annotated[list[str], Field(min_length=2, max_length=2)]
    seed: int
    secret: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    places: dict[Id, Place]
    contents: Sha256

    @property
    def sealed(self) -> str:
        """SHA-256 of the key: what pages and answers carry."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        return self.model_dump()


class Answers(BaseModel):
    """What was answered so far, by trial, with the SHA-256 of the key that tells the sides."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["aurify answers"] = "aurify answers"
    key: Sha256
    answers: dict[Id, Answer]

    def to_json(self) -> dict[str, Any]:
        return self.model_dump()


def trials(
    left: Samples,
    right: Samples,
    n: int,
    seed: int,
    names: tuple[str, str] = ("the first", "the second"),
    secret: str | None = None,
) -> tuple[Blind, Key]:
    """n pairs of a sample of each set, no sample twice; of equal labels where every sample has one.

    Args:
        left, right: the two sets, the first and the second; on the screen either stands on either side.
        names: of the sets, for the key and the outcome.
        secret: of an earlier key, to get the same pairs again; a new one by default.

    Raises:
        UserError: there are not so many pairs.
    """
    secret = secret or secrets.token_hex(16)
    generator = torch.Generator().manual_seed(derive("pairs", seed, secret))
    pairs = _pairs(left, right, generator)
    if len(pairs) < n or n < 1:
        alike = " with equal labels" if left.labelled and right.labelled else ""
        raise UserError(f"{n} pairs cannot be made of these samples; ask for 1 to {len(pairs)}{alike}, or give more.")
    shown, places, contents = [], {}, hashlib.sha256()
    for i in torch.randperm(len(pairs), generator=generator)[:n].tolist():
        a, b = pairs[i]
        id = f"{derive('trial', secret, i):012x}"[-12:]
        flipped = bool(torch.randint(2, (1,), generator=generator))
        sides = (right.natives[b], left.natives[a]) if flipped else (left.natives[a], right.natives[b])
        shown.append(Trial(id, *sides))
        places[id] = Place(first_is="right" if flipped else "left", first=left.names[a], second=right.names[b])
        contents.update(content_hash(left.natives[a]) + content_hash(right.natives[b]))
    assert len(places) == n
    key = Key(names=list(names), seed=seed, secret=secret, places=places, contents=contents.hexdigest())
    return Blind(tuple(shown), key.sealed), key


def again(left: Samples, right: Samples, key: Key) -> Blind:
    """The trials of an earlier key, to go on with.

    Raises:
        UserError: the samples are not those that the key was made for.
    """
    names = (key.names[0], key.names[1])
    blind, same = trials(left, right, len(key.places), key.seed, names, key.secret)
    if same != key:
        raise UserError("these samples are not those that the key was made for; give the same ones, or begin anew.")
    return blind


def _pairs(left: Samples, right: Samples, generator: torch.Generator) -> list[tuple[int, int]]:
    """As many pairs of indices as can be made, at random."""
    labelled = left.labelled and right.labelled
    groups = [_by_label(side, labelled, generator) for side in (left, right)]
    return [pair for label in sorted(groups[0]) for pair in zip(groups[0][label], groups[1][label], strict=False)]


def _by_label(samples: Samples, labelled: bool, generator: torch.Generator) -> dict[int, list[int]]:
    """Indices in random order, by label; all under one where labels are not known."""
    groups: dict[int, list[int]] = defaultdict(list)
    for i in torch.randperm(len(samples), generator=generator).tolist():
        groups[int(samples.labels[i]) if labelled else -1].append(i)
    return groups


def score(answers: Answers, key: Key) -> Preference:
    """Who was preferred.

    Raises:
        UserError: the answers belong to another key.
    """
    if answers.key != key.sealed or not answers.answers.keys() <= key.places.keys():
        raise UserError("these answers belong to another comparison; give the key that was made with its page.")
    given = [(answer, key.places[id].first_is) for id, answer in answers.answers.items()]
    ties = sum(answer == "cannot tell" for answer, _ in given)
    wins = sum(answer == first for answer, first in given)
    return Preference((key.names[0], key.names[1]), wins, len(given) - ties - wins, ties, len(key.places))


def read_answers(path: Path | str) -> Answers:
    """Raises UserError for a file that is not one of answers, whole and unchanged in form."""
    return _read(Path(path), Answers, "answers", "download it again from the page, or judge anew")


def read_key(path: Path | str) -> Key:
    """Raises UserError for a file that is not a key."""
    return _read(Path(path), Key, "a key", "give the file that was made with the page")


def _read(path: Path, kind: Any, what: str, mend: str) -> Any:
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("it is too large")
        return kind.model_validate(json.loads(path.read_bytes(), object_pairs_hook=_once, parse_constant=_refuse))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} does not hold {what} ({where}: {first['msg']}); {mend}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as {what} ({error}); {mend}.") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name stands in it twice")
    return dict(pairs)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
