"""What training and sampling yield: frozen, JSON-able, all that a terminal, a log or a page needs to know."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Progress:
    """One step done. `losses` holds "phase/name" values; times are seconds."""

    step: int
    steps: int
    losses: dict[str, float]
    rate: float = field(default=0.0, metadata={"clock": True})  # samples a second
    eta: float = field(default=0.0, metadata={"clock": True})


@dataclass(frozen=True)
class Evaluated:
    """Figures on held-out data, by name."""

    step: int
    figures: dict[str, float]


@dataclass(frozen=True)
class Previewed:
    """A preview lies at `path` (in the run folder); `terminal` is the same for a text screen. `copied` is the share of
    its samples that look like copies of training samples, where that was looked for."""

    step: int
    path: str
    terminal: str = field(default="", metadata={"clock": True})
    copied: float | None = None


@dataclass(frozen=True)
class Saved:
    step: int
    path: str


@dataclass(frozen=True)
class Notice:
    """Something the user should know, in words, with what to do about it. `kind` is a short stable name."""

    step: int
    kind: str
    text: str


@dataclass(frozen=True)
class Done:
    step: int
    seconds: float = field(default=0.0, metadata={"clock": True})


Event = Progress | Evaluated | Previewed | Saved | Notice | Done


def to_json(event: Event) -> dict[str, Any]:
    """The event with its name, less what depends on the clock or the screen: equal trainings log equal lines."""
    clock = {f.name for f in event.__dataclass_fields__.values() if f.metadata.get("clock")}
    return {"event": type(event).__name__.lower(), **{k: v for k, v in asdict(event).items() if k not in clock}}
