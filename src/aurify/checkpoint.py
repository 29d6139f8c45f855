"""Checkpoints that survive kill -9, a full disk and a power cut, and never load a flipped byte.

    checkpoints/step-00000123/
        model.safetensors  ema.safetensors  ...     one file per group of tensors
        state.json                                  all else, strict JSON
        MANIFEST.json                               size and SHA-256 of each file, and of itself; written last

A checkpoint is written under a name nobody reads and renamed when all of it is on the disk. "Newest" is a scan for the
highest step that verifies, not a pointer that may point wrongly. The format needs no aurify to be read.
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, StringConstraints, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from aurify import atomic
from aurify.atomic import NoSpace as NoSpace
from aurify.errors import UserError
from aurify.lock import lock as lock
from aurify.optimizer_state import flatten_optimizer as flatten_optimizer
from aurify.optimizer_state import restore_optimizer as restore_optimizer

log = logging.getLogger(__name__)

Groups = dict[str, dict[str, Tensor]]

MANIFEST = "MANIFEST.json"
STATE = "state.json"
VERSION = 1
ROOM = 2.2  # free space wanted, in checkpoints: the one being written, and one more for all else that is written
KEEP, SHARES = 2, (1 / 4, 1 / 2, 3 / 4)  # the newest that stay, and near which shares of their step older ones do
MOST = KEEP + 1 + len(SHARES)  # kept at once: the best too
WAS = ".was-"  # marks a checkpoint that makes way for a new one of the same step
_NAME = re.compile(rf"step-(\d+)(?:{re.escape(WAS)}[0-9a-f]+)?")


class Damaged(UserError):
    """A checkpoint is not what was saved."""

    def __init__(self, path: Path, why: str):
        super().__init__(f"{path} is damaged ({why}); delete it to go on without it.")
        self.path, self.why = path, why


@dataclass(frozen=True)
class Loaded:
    """What was saved, on the CPU."""

    path: Path
    step: int
    tensors: Groups
    state: dict[str, Any]


class File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    size: NonNegativeInt = Field(description="bytes")
    sha256: str = Field(description="of the content, in hexadecimal", pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: int = Field(description="of this format")
    step: NonNegativeInt = Field(description="optimizer steps done")
    files: dict[Annotated[str, StringConstraints(pattern=r"^(\w+\.safetensors|state\.json)$")], File] = Field(
        description="every other file of the checkpoint"
    )


def save(folder: Path, step: int, tensors: Groups, state: dict[str, Any]) -> Path:
    """Write folder/step-XXXXXXXX; it is on the disk when this returns. One of the same step is replaced.

    Args:
        tensors: groups ("model", "ema", ...) of named tensors on any device; tied ones are stored under each name.
        state: strict JSON: string keys, lists, finite numbers.

    Raises:
        NoSpace: less than 2.2 times the checkpoint's size is free, or the disk filled up meanwhile.
        UserError: the folder cannot be written to. Either way the checkpoints there are untouched.
    """
    text = json.dumps(state, indent=1, allow_nan=False).encode()
    size = len(text) + sum(t.numel() * t.element_size() for group in tensors.values() for t in group.values())
    what = f"save the checkpoint of step {step}"
    path = folder / f"step-{step:08d}"
    tmp = atomic.beside(path)
    with atomic.explained(folder, what, size):
        atomic.make(folder)
        clean(folder)  # first: the space of what was interrupted may be needed
        atomic.reserve(folder, int(ROOM * size), what)
        try:
            _fill(tmp, step, tensors, text)
            _swap(tmp, path)
        finally:
            shutil.rmtree(tmp, ignore_errors=True)
    return path


def _fill(tmp: Path, step: int, tensors: Groups, state: bytes) -> None:
    tmp.mkdir()
    files = {}
    for name, group in tensors.items():
        files[f"{name}.safetensors"] = _put(tmp / f"{name}.safetensors", safetensors.torch.save(_separate(group)))
    files[STATE] = _put(tmp / STATE, state)
    atomic.create(tmp / MANIFEST, _seal(Manifest(version=VERSION, step=step, files=files).model_dump()))


def _swap(tmp: Path, path: Path) -> None:
    """Publish; a checkpoint that already has this name can be read under another one until its successor is there."""
    was = atomic.beside(path, WAS)
    if replaced := path.exists():
        path.rename(was)
    atomic.publish(tmp, path)
    if replaced:
        atomic.remove(was)


def _put(path: Path, data: bytes) -> File:
    atomic.create(path, data)
    return File(size=len(data), sha256=hashlib.sha256(data).hexdigest())


def _separate(group: dict[str, Tensor]) -> dict[str, Tensor]:
    """Row-major copies on the CPU where needed: safetensors refuses tensors that share memory."""
    seen, result = set(), {}
    for name, tensor in group.items():
        plain = tensor.detach().cpu().contiguous()
        result[name] = plain.clone() if plain.untyped_storage().data_ptr() in seen else plain
        seen.add(plain.untyped_storage().data_ptr())
    return result


def _seal(body: dict[str, Any]) -> bytes:
    """The one way to write a manifest: any other bytes are damage. "self" is the hash of the text on one line."""
    own = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return (json.dumps({**body, "self": own}, sort_keys=True, indent=1) + "\n").encode()


def load(path: Path, only: Collection[str] | None = None) -> Loaded:
    """The checkpoint in this folder; every byte is checked before a tensor is made of it, and read once.

    Args:
        only: the groups wanted; the others are left unread.

    Raises:
        Damaged: it is incomplete, or was changed.
        UserError: it is of another version's format, or may not be read.
    """
    manifest = _manifest(path)
    tensors: Groups = {}
    state: Any = None
    for name, file in manifest.files.items():
        group = name.removesuffix(".safetensors")
        if name != STATE and only is not None and group not in only:
            continue
        data = _checked(path, name, file)
        try:
            if name == STATE:
                state = json.loads(data)
            else:
                tensors[group] = safetensors.torch.load(data)
        except (ValueError, RecursionError, SafetensorError) as error:
            raise Damaged(path, f"{name} was never valid: {error}") from error
    if not isinstance(state, dict):
        raise Damaged(path, f"{STATE} is missing or no object")
    return Loaded(path, manifest.step, tensors, state)


def verify(path: Path) -> int:
    """The step of a checkpoint whose every byte is as saved.

    Raises:
        Damaged: it is not.
    """
    manifest = _manifest(path)
    for name, file in manifest.files.items():
        _checked(path, name, file)
    return manifest.step


def _manifest(path: Path) -> Manifest:
    data = _read(path, MANIFEST)
    try:
        body = {k: v for k, v in json.loads(data).items() if k != "self"}
    except (ValueError, AttributeError, RecursionError) as error:
        raise Damaged(path, f"{MANIFEST} cannot be understood") from error
    if data != _seal(body):
        raise Damaged(path, f"{MANIFEST} was changed")
    if body.get("version") != VERSION:
        raise UserError(
            f"{path} is of format {body.get('version')}, this aurify reads format {VERSION}; "
            "use the version of aurify that wrote it."
        )
    try:
        return Manifest.model_validate(body)
    except ValidationError as error:
        raise Damaged(path, f"{MANIFEST} was never valid") from error


def _checked(path: Path, name: str, file: File) -> bytes:
    """A file's content, if it is what the manifest says."""
    data = _read(path, name, file.size)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise Damaged(path, f"{name} was changed")
    return data


def _read(path: Path, name: str, size: int | None = None) -> bytes:
    try:
        there = (path / name).stat().st_size
        if size is not None and there != size:
            raise Damaged(path, f"{name} has {there} bytes, not {size}")
        return (path / name).read_bytes()
    except PermissionError as error:
        raise UserError(f"you may not read {path / name}; change its permissions.") from error
    except OSError as error:
        raise Damaged(path, f"{name} cannot be read: {error.strerror}") from error


def found(folder: Path) -> list[Path]:
    """Checkpoints by name, newest first, unverified. One that was making way for another of its step comes after it."""
    named = [(m, p) for p in folder.iterdir() if (m := _NAME.fullmatch(p.name))] if folder.is_dir() else []
    return [p for m, p in sorted(named, key=lambda mp: (-int(mp[0][1]), mp[1].name))]


def newest(folder: Path, only: Collection[str] | None = None) -> tuple[Loaded | None, list[Damaged]]:
    """The checkpoint of the highest step that verifies, and those above it that do not; None where there is none.

    Raises:
        Damaged: there are checkpoints, but not one is whole.
    """
    damaged: list[Damaged] = []
    for path in found(folder):
        try:
            return load(path, only), damaged
        except Damaged as error:
            damaged.append(error)
    if len(damaged) > 1:
        raise Damaged(folder, f"none of its {len(damaged)} checkpoints is whole; the newest: {damaged[0].why}")
    if damaged:
        raise damaged[0]
    return None, []


def chosen(folder: Path, which: str, only: Collection[str] | None = None) -> Loaded | None:
    """ "last": the newest that is whole; "best": that of the lowest held-out loss; or the number of a step.

    Raises:
        UserError: no checkpoint of that step is kept; the message names those that are.
    """
    loaded, damaged = newest(folder, only)
    if loaded and damaged:
        log.warning("aurify: warning: step %d is taken instead, for %s", loaded.step, damaged[0])
    if loaded is None or which == "last":
        return loaded
    best = loaded.state.get("quality", {}).get("best_step", loaded.step)
    step = best if which == "best" else which
    kept = {_step(path): path for path in found(folder) if WAS not in path.name}
    if str(step) in map(str, kept):
        return load(kept[int(step)], only)
    steps = ", ".join(map(str, sorted(kept)))
    words = "last, best," if best in kept else "last"
    why = "this run keeps no checkpoint as its best" if which == "best" else f"no checkpoint {which!r} is kept"
    raise UserError(f"{why}; say {words} or one of the steps {steps}")


def set_aside(path: Path) -> Path:
    """Give a damaged checkpoint a name that no scan takes up, for good; returns it. Only for the process that holds the
    run's lock."""
    names = (f"damaged-{path.name}{end}" for end in ("", *(f"-{i}" for i in range(2, 1000))))
    place = next(p for p in map(path.with_name, names) if not p.exists())
    with atomic.explained(path.parent, f"move the damaged {path.name} aside"):
        path.rename(place)
        atomic.sync(path.parent)
    return place


def clean(folder: Path) -> list[Path]:
    """Remove what interrupted saves and removals left behind; give a checkpoint back its name if its successor never
    came. Returns what was removed. Only for the process that holds the run's lock."""
    removed = []
    with atomic.explained(folder, "remove unfinished checkpoints"):
        for path in sorted(folder.glob("step-*")):
            plain = path.with_name(path.name.partition(WAS)[0])
            if atomic.TMP in path.name or (path != plain and plain.exists()):
                atomic.remove(path)
                removed.append(path)
            elif path != plain:
                path.rename(plain)
                atomic.sync(folder)
    return removed


def thin(folder: Path, keep: int = KEEP, also: int = 0, shares: tuple[float, ...] = SHARES) -> list[Path]:
    """Remove old checkpoints, once the newest has been read back and verified; returns those removed.

    The last `keep` stay, that of step `also`, and of the older ones those nearest to these shares of the newest.

    Raises:
        Damaged: the newest does not verify; nothing is removed.
    """
    assert keep >= 1
    paths = [p for p in found(folder) if WAS not in p.name]
    if len(paths) <= keep:
        return []
    step = verify(paths[0])
    stay, older = {p for i, p in enumerate(paths) if i < keep or _step(p) == also}, paths[keep:]
    for share in shares:
        stay.add(min(older, key=lambda p: abs(_step(p) - share * step)))
    removed = [p for p in older if p not in stay]
    with atomic.explained(folder, "remove old checkpoints"):
        for path in removed:
            atomic.remove(path)
    return removed


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))
