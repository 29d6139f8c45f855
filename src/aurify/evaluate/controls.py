"""Two controls of the copying alarm, run with it each time: planted copies must be found, fresh real samples must not.

Copies of training samples are edited in the ways copies come in and scored by the same code. Fresh real samples are the
held-out ones themselves: each half is judged by the limit that the other half sets. Where plain copies are missed, the
alarm's silence means nothing; where some edited kind is, it means less (a picture of 8 x 8 has few places that a shift
leaves alone). Copies that the search does not look for, shifted farther, turned or enlarged, are planted too and what
is found of them in native space is told, but the alarm does not promise them.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from aurify.evaluate import binomial
from aurify.evaluate.alarm import Alarm, against
from aurify.evaluate.nearest_pictures import reach
from aurify.evaluate.samples import Samples
from aurify.evaluate.shift import shifted, turned
from aurify.rng import derive

PLANTED = 100  # copies of each kind
LEAST = 0.95  # share of each kind that must be found
PLAIN, FAR = "exact", "shifted beyond the search"
TURNED, ENLARGED = "turned by ten degrees", "enlarged by a tenth"
UNPROMISED = (FAR, TURNED, ENLARGED)
NOISE = 0.1  # of each sample's own standard deviation (20 dB); of rows, of each column's
QUALITY = 50  # of JPEG

Grids = Float[Tensor, "n C *size"]


@dataclass(frozen=True)
class Controls:
    """How many planted copies of each kind were found, of how many; and what fresh real samples gave."""

    found: dict[str, tuple[int, int]]
    fresh: tuple[int, int]
    fresh_rings: bool

    @property
    def recall(self) -> float:
        """Share found over all kinds."""
        return sum(k for k, _ in self.found.values()) / max(1, sum(n for _, n in self.found.values()))

    @property
    def missed(self) -> dict[str, tuple[int, int]]:
        """Kinds that the alarm promises to find and finds less than `LEAST` of."""
        return {kind: (k, n) for kind, (k, n) in self.found.items() if kind not in UNPROMISED and k < LEAST * n}

    @property
    def blind(self) -> bool:
        """Whether plain copies are missed, all of them or more than chance explains."""
        k, n = self.found[PLAIN]
        return k == 0 or binomial.interval(k, n)[1] < LEAST

    @property
    def sentences(self) -> tuple[str, ...]:
        rings = "; as a set they rang the alarm: do not rely on it here" if self.fresh_rings else ""
        return (
            f"Control: copies planted on purpose were found by the same limit: {listed(self.found)}.",
            f"Control: of fresh real samples {binomial.share(*self.fresh)} were flagged, each half of them by the "
            f"limit of the other{rings}.",
        )

    def to_json(self) -> dict[str, Any]:
        found = {
            kind: {"found": k, "of": n, "interval": binomial.interval(k, n)} for kind, (k, n) in self.found.items()
        }
        k, n = self.fresh
        fresh = {"flagged": k, "of": n, "interval": binomial.interval(k, n), "rings": self.fresh_rings}
        return {"planted": found, "recall": self.recall, "fresh": fresh}


def listed(found: dict[str, tuple[int, int]]) -> str:
    return ", ".join(f"{k} of {n} ({kind})" for kind, (k, n) in found.items())


def fresh(columns: Float[Tensor, "n c"], native: int, seed: int) -> tuple[tuple[int, int], bool]:
    """Held-out samples by each other's limits: how many of how many are flagged, and whether either half rings."""
    order = torch.randperm(len(columns), generator=torch.Generator().manual_seed(derive("halves", seed)))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    if not len(halves[0]):
        return (0, 0), False
    told: list[Alarm] = []
    for ours, theirs in (halves, halves[::-1]):
        told.append(against(columns[ours], columns[theirs], native))
    return (sum(a.flagged for a in told), len(columns)), any(a.rings for a in told)


def planted(train: Samples, seed: int, n: int = PLANTED) -> dict[str, Samples]:
    """Copies of up to n training samples, by the way they were edited."""
    generator = torch.Generator().manual_seed(derive("planted", seed))
    rows = torch.randperm(len(train), generator=generator)[:n]
    source = train.take(rows)
    if source.texts is not None:
        edited = edited_texts(source.texts, np.random.default_rng(derive("planted", seed)))
        return {kind: Samples(made, None, source.labels, source.names) for kind, made in edited.items()}
    rows = isinstance(source.natives[0], dict)  # of a table: a cell is equal or it is another
    grids = {PLAIN: source.grid} if rows else edited_grids(source.grid, generator)
    return {kind: Samples(source.natives, x, source.labels, source.names) for kind, x in grids.items()}


def edited_grids(x: Grids, generator: torch.Generator) -> dict[str, Grids]:
    """By kind: exact and noisy; with axes shifted within the search's reach and beyond it; with two or more mirrored;
    grey and RGB pictures coded as JPEG; pictures turned and enlarged."""
    ndim = x.ndim - 2
    own = x.flatten(1).std(1, correction=0).reshape(-1, *[1] * (ndim + 1)) if ndim else x.std(0, correction=0)
    kinds = {"exact": x, "noisy": x + NOISE * own * torch.randn(x.shape, generator=generator)}
    near = reach(tuple(x.shape[2:]))
    if any(near):
        kinds["shifted"] = torch.stack([moved(one, [(min(1, m), m) for m in near], generator) for one in x])
        kinds[FAR] = torch.stack([moved(one, [(m + 1, 2 * m) for m in near], generator) for one in x])
    if ndim >= 2:
        kinds["mirrored"] = x.flip(-1)
    if ndim == 2 and x.shape[1] in (1, 3):
        kinds["recompressed"] = torch.stack([recompressed(one) for one in x])
    if ndim == 2:
        kinds |= {TURNED: turned(x, 10, 1), ENLARGED: turned(x, 0, 1.1)}
    return kinds


def moved(
    x: Float[Tensor, "C *size"], between: list[tuple[int, int]], generator: torch.Generator
) -> Float[Tensor, "C *size"]:
    """By a number of places between two, the last included, along each axis, to either side."""
    by: list[int] = []
    for least, most in between:
        step = int(torch.randint(least, max(least, most) + 1, (1,), generator=generator))
        by.append(step if torch.rand((), generator=generator) < 0.5 else -step)
    return shifted(x[None], by)[0]


def recompressed(x: Float[Tensor, "C H W"]) -> Float[Tensor, "C H W"]:
    """Through JPEG and back."""
    pixels = ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    held = io.BytesIO()
    Image.fromarray(pixels[..., 0] if len(x) == 1 else pixels).save(held, "JPEG", quality=QUALITY)
    read = np.array(Image.open(held)).reshape(pixels.shape)
    return torch.from_numpy(read).permute(2, 0, 1).float() / 127.5 - 1


def edited_texts(texts: list[str], rng: np.random.Generator) -> dict[str, list[str]]:
    """By kind; spliced: the first half of one text and the second half of another."""
    halves = [(t[: len(t) // 2], t[len(t) // 2 :]) for t in texts]
    gaps = ["  ", "\n", "\t ", " "]
    kinds: dict[str, Callable[[int], str]] = {
        "exact": lambda i: texts[i],
        "re-cased": lambda i: texts[i].swapcase(),
        "re-spaced": lambda i: "".join(gaps[rng.integers(4)] if c == " " else c for c in texts[i]),
        "spliced": lambda i: halves[i][0] + halves[(i + 1) % len(texts)][1],
    }
    return {kind: [edit(i) for i in range(len(texts))] for kind, edit in kinds.items()}
