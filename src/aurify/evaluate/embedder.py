"""An embedder turns samples into features in which sets are compared. One file in embedders/ each."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, TypeVar, cast

import safetensors.torch as safetensors
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from aurify import plugins
from aurify.atomic import write
from aurify.errors import UserError
from aurify.evaluate.samples import Samples
from aurify.home import home

PACKAGE = "aurify.evaluate.embedders"
AT_ONCE = 4096  # samples between two words about progress


class Embedder(ABC):
    """Samples -> features (n, F), a function of each sample alone.

    Attributes:
        kind: the spec class whose samples it reads: Grid or Tokens.
        title: how figures name it, in a few words.
        source: the paper or package.
        recipe: raised when `fit` comes to learn something else, so that nothing kept from before is taken for it.
        weights: hash of everything its features depend on; set by `fit`.
    """

    kind: ClassVar[type]
    title: ClassVar[str]
    source: ClassVar[str]
    recipe: ClassVar[int] = 2
    weights: str = ""

    @classmethod
    @abstractmethod
    def suits(cls, train: Samples) -> int:
        """How well it suits this data: 0 not at all or not installed here; the embedder with the greatest value is the
        one that figures and the verdict use. Raw vectors and weights that a user brings say 1, features learned on
        the spot 2, labels 3."""

    @abstractmethod
    def fit(self, train: Samples, seed: int = 0) -> Iterator[float]:
        """Learns from the training split alone, or loads its weights; yields the share done. Sets `weights`."""

    @abstractmethod
    def embed(self, samples: Samples) -> Float[Tensor, "n F"]:
        """float32 features; row i depends on sample i alone, whatever batch it stands in."""

    def state(self) -> dict[str, Tensor]:
        """What `fit` learned, where that is worth keeping; {} is never kept."""
        return {}

    def restore(self, state: dict[str, Tensor], train: Samples) -> None:
        """Take back a `state` in place of `fit`; `train` tells shapes and labels."""
        raise NotImplementedError

    def probabilities(self, features: Float[Tensor, "n F"]) -> Float[Tensor, "n K"] | None:
        """p(label | sample) of what `embed` gave, where it is a classifier of the data's own labels."""
        return None


E = TypeVar("E", bound=Embedder)


def hashed(tensors: Iterable[Tensor]) -> str:
    """Twelve hexadecimal digits of SHA-256 over the values: how figures name weights."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().flatten().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


def features(one: Embedder, samples: Samples) -> Iterator[float | Float[Tensor, "n F"]]:
    """What an embedder makes of samples; yields the share done, at last the features.

    Raises:
        UserError: some are not finite; names the embedder and the first such sample.
    """
    parts: list[Tensor] = []
    for start in range(0, len(samples), AT_ONCE):
        parts.append(one.embed(samples.take(range(start, min(start + AT_ONCE, len(samples))))))
        yield min(1.0, (start + AT_ONCE) / len(samples))
    found = torch.cat(parts)
    odd = torch.nonzero(~found.isfinite().all(1))[:, 0].tolist()
    if odd:
        raise UserError(
            f"{len(odd)} of {len(samples)} samples have values that are not finite (NaN), so {one.title} can say "
            f"nothing of them; the first is {samples.names[odd[0]]}. Leave them out, or mend what made them"
        )
    yield found


def fitted(one: E, train: Samples, data: str) -> Iterator[float | E]:
    """The embedder as it learned from the training samples; yields the share done, at last the embedder.

    `data` is a hash of the data set: what was learned from it is kept on this machine and used again, so that all runs
    on the same data are measured by the same features. "" keeps nothing. A file that is damaged is learned anew.
    """
    name = f"{type(one).__name__.lower()}-{one.recipe}-{data[:32]}-{len(train)}.safetensors"
    path = home() / "embedders" / name
    if not (data and path.is_file() and taken_back(one, path, train)):
        yield from one.fit(train)
        if data and one.state():
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, safetensors.save(one.state(), {"weights": one.weights}))
    yield one


def taken_back(one: Embedder, path: Path, train: Samples) -> bool:
    """Restores what was kept; False where it is cut off, changed, or of another shape."""
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
            one.restore({key: file.get_tensor(key) for key in file.keys()}, train)  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError):
        return False
    return told.get("weights") == one.weights


def names() -> tuple[str, ...]:
    return plugins.names(PACKAGE)


def load(name: str) -> type[Embedder]:
    return cast(type[Embedder], plugins.load(PACKAGE, name, Embedder))
