"""A family is a kind of generative model over one spec. One file in families/ each: all one would read in its paper."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from aurify import plugins
from aurify.cond import Cond, CondSpec
from aurify.errors import UserError
from aurify.parallel import Group
from aurify.rng import Rng
from aurify.spec import Spec

Params = list[nn.Parameter]


@dataclass(frozen=True)
class Phase:
    """One optimizer's share of a step: a GAN has two, most families one.

    The loop sets every group's rate to its initial `lr` times the warm-up and decay of the run.
    `gather` brings together what the processes found and no `.grad` holds.
    """

    name: str
    params: Params
    optimizer: Callable[[Params], torch.optim.Optimizer]
    every: int = 1
    gather: Callable[[Group], None] | None = None


@dataclass(frozen=True)
class Preset:
    """A size the plan may choose, smallest first. `samples`: how many training samples (tokens / length for Tokens)
    this size should see before it beats the one below; the plan takes the largest size whose need the budget meets."""

    config: Any
    batch: int
    samples: int

    @classmethod
    def of_tokens(cls, spec: Spec, config: Any, batch: int, need: int) -> "Preset":
        """With batch and need counted in symbols, as many samples as hold them; a batch has four at least."""
        return cls(config, max(4, round(batch / spec.dims)), need // spec.dims)


class Family(nn.Module, ABC):
    """Depth of inheritance is one: a family never subclasses another; what they share are functions and nets.

    Attributes:
        kind: the spec class it models: the whole compatibility check.
        Config: frozen pydantic model of what is trained (width, depth, ...).
        Options: frozen pydantic model of how it samples (steps, guidance, temperature, ...).
        chunk: rows that `sample` is always called with, so that equal shapes give equal bits.
        wants: settings of training that this family wants unlike the defaults of training.TrainConfig.
        held_out_tells: whether the held-out loss of its first phase falls as its samples get better.
        reads_text: whether it can be led by a text (`Cond.sequence`).
        looks: how many training samples it looks at before the first step; see `look`.
        studies: how many training samples it learns settings from when the run is planned; see `study`.
        slow_likelihood: whether `log_prob` costs as much as sampling: evaluations do without it then.
        scored: the most samples that an evaluation asks `log_prob` of, where each takes long; None: all.
        passes: how often it needs to see each training sample, where that is enough; the plan gives no more steps.
    """

    kind: ClassVar[type]
    Config: ClassVar[type[BaseModel]]
    Options: ClassVar[type[BaseModel]]
    chunk: ClassVar[int] = 16
    wants: ClassVar[dict[str, Any]] = {}
    held_out_tells: ClassVar[bool] = True
    reads_text: ClassVar[bool] = False
    looks: ClassVar[int] = 0
    studies: ClassVar[int] = 0
    slow_likelihood: ClassVar[bool] = False
    scored: ClassVar[int | None] = None
    passes: ClassVar[int | None] = None

    def __init__(self, spec: Spec, cond: CondSpec, config: Any):
        """Build the networks. Weights come from torch's default generator, which the caller has seeded."""
        super().__init__()
        self.spec, self.cond, self.config = spec, cond, config

    @abstractmethod
    def phases(self) -> list[Phase]: ...

    @abstractmethod
    def loss(self, x: Tensor, cond: Cond, phase: str, rng: Rng) -> dict[str, Tensor]:
        """x: widened batch (B, ...). "loss" is minimised; "weight", if given, is how many units (tokens) it is the
        mean of, so that parts of a batch add up exactly; the rest is logged. All scalars."""

    @abstractmethod
    def sample(self, cond: Cond, rng: Rng, options: Any) -> Tensor:
        """rng.n samples of the spec, on the parameters' device. Row i uses row i of rng and cond, nothing else."""

    def look(self, x: Tensor, cond: Cond) -> None:
        """Set first weights from the data itself, where a family `looks`: clusters, scales. x: widened samples from all
        over the training data. Not called on a run that is taken up again."""

    def log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """log p(x) in nats, shape (B,), where the family has one: exact unless its docstring says bound or estimate."""
        raise UserError(f"family {type(self).__module__.rpartition('.')[2]!r} has no likelihood")

    def notices(self, losses: dict[str, float]) -> list[tuple[str, str]]:
        """Failures this family can see in its own logged values, each (kind, sentence with what to do). Called at
        every logged step with the recent mean of each value; each kind is said once in a run."""
        return []

    @classmethod
    @abstractmethod
    def presets(cls, spec: Any) -> list[Preset]: ...

    @classmethod
    def for_data(cls, spec: Any, samples: int) -> dict[str, Any]:
        """Settings of Config that so many training samples want unlike the presets'; none, unless a family says so."""
        return {}

    @classmethod
    def study(cls, config: Any, spec: Any, x: Tensor, cond: Cond, samples: int) -> Any:
        """The Config with settings that are read off the data once, where a family `studies`: a structure that networks
        are built by, and that run.json is to tell. x: widened samples from all over the training data, of which there
        are so many `samples`. Raises UserError for data that nothing can be learned from."""
        return config

    @classmethod
    @abstractmethod
    def toy(cls, spec: Any) -> Any:
        """The smallest Config that can over-fit one batch of this spec: for the laws."""

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def asks(kind: type[Family], cond: CondSpec) -> CondSpec:
    """What a family can be asked for with, of all that a data set has: a text only where it reads texts."""
    return cond if kind.reads_text else replace(cond, text=None)


def names() -> tuple[str, ...]:
    return plugins.names("aurify.families")


def load(name: str) -> type[Family]:
    return cast(type[Family], plugins.load("aurify.families", name, Family))


def for_spec(spec: Spec) -> tuple[str, ...]:
    """Names of the families that can model this spec."""
    return tuple(n for n in names() if isinstance(spec, load(n).kind))


def check(name: str, codec: str, spec: Spec) -> type[Family]:
    """The named family, if it can model what the codec yields.

    Raises:
        UserError: it cannot; the message names those that can.
    """
    family = load(name)
    if not isinstance(spec, family.kind):
        raise UserError(
            f"codec {codec!r} gives {type(spec).__name__} but family {name!r} needs {family.kind.__name__}; "
            f"families for {type(spec).__name__}: {', '.join(for_spec(spec))}{others(codec, family)}"
        )
    return family


def others(name: str, family: type[Family]) -> str:
    """Codecs that read the same files and give what the family needs, for a message."""
    from aurify import codec

    kinds = {other: codec.load(other) for other in codec.names()}
    same = set(kinds[name].suffixes) if name in kinds else set()
    able = [other for other, kind in kinds.items() if kind.gives is family.kind and same & set(kind.suffixes)]
    return f"; or --codec {' or '.join(able)}" if able else ""
