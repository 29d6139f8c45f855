"""A figure with all that it takes to trust it: no bare number leaves aurify."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

COPIES = "training samples"  # among the baselines, for comparison: no distance finds fault with them


@dataclass(frozen=True)
class Protocol:
    """How figures were measured. Two runs may be compared only where these are equal.

    Attributes:
        embedder: its title; "" where none is used.
        weights: hash of the embedder's weights.
        n: samples on each side; for likelihoods, the held-out samples that were scored.
        reference: which real samples, in words: "held-out and test".
        data: hash of the data set that reference and floor come from.
        preprocessing: what a sample is when it is measured: "28 x 28 grey, -1 to 1".
        seed: of the samples and of the blocks.
        blocks: of the jackknife.
        apart: training samples that no embedder learned from and that stand in the samples' place; 0: too few.
        options: how the samples were asked for (solver steps, temperature, labels); {} for a foreign folder.
    """

    embedder: str
    weights: str
    n: int
    reference: str
    data: str
    preprocessing: str
    seed: int
    blocks: int
    options: dict[str, Any] = field(default_factory=dict)
    apart: int = 0

    def differences(self, other: "Protocol") -> list[str]:
        """Lines that differ and make figures incomparable; how samples were asked for may differ."""
        mine, theirs = asdict(self), asdict(other)
        return [f"{k}: {mine[k]} and {theirs[k]}" for k in mine if k != "options" and mine[k] != theirs[k]]


@dataclass(frozen=True)
class Measured:
    """A value with its 95 % interval, and the leave-one-block-out values that paired comparisons need."""

    value: float
    interval: tuple[float, float]
    without: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> "Measured":
        """What is not finite is null in JSON."""
        value, low, high = (math.nan if v is None else v for v in (kept["value"], *kept["interval"]))
        return cls(value, (low, high), tuple(kept["without"]))


@dataclass(frozen=True)
class Figure:
    """One metric of one set of samples.

    Attributes:
        metric: file name of the metric.
        title, better, source: as the metric states them.
        measured: of the samples.
        floor: of other real samples in their place (None where that has no meaning, as for likelihoods).
        ceilings: of plain baselines in their place, by name.
        protocol: how.
        note: why there is less than usual, in a sentence.
    """

    metric: str
    title: str
    better: str
    source: str
    measured: Measured
    floor: Measured | None
    ceilings: dict[str, Measured]
    protocol: Protocol
    note: str = ""

    @property
    def key(self) -> str:
        """Metric and embedder: what makes figures of two reports the same row."""
        return f"{self.title} [{self.protocol.embedder}]" if self.protocol.embedder else self.title

    @property
    def best_baseline(self) -> str | None:
        """The name of the plain baseline that comes nearest to the optimum; None where there is none, or no optimum."""
        named = [name for name in self.ceilings if name != COPIES]
        if not named or self.better == "real":
            return None
        return (min if self.better == "lower" else max)(named, key=lambda name: self.ceilings[name].value)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> "Figure":
        """The figure of a report.json."""
        floor, protocol = kept["floor"], Protocol(**kept["protocol"])
        ceilings = {name: Measured.from_json(m) for name, m in kept["ceilings"].items()}
        told = {"measured": Measured.from_json(kept["measured"]), "floor": floor and Measured.from_json(floor)}
        return cls(**kept | told | {"ceilings": ceilings, "protocol": protocol})
