"""Averages of the weights over any length, chosen after the training (Karras et al. 2024, "EDM2", Section 3).

    p(tau; t) = (gamma + 1) tau^gamma / t^(gamma + 1)      weight of step tau in an average at step t
    length = sqrt((gamma + 1) / ((gamma + 2)^2 (gamma + 3)))      its standard deviation, as a share of t

A training keeps two such averages beside its weights. Every checkpoint holds them as they were, and a sum of these few
comes near to an average of another length. Weights move step by step, and an average counts the move at step s by the
weight of all that comes after, so what is compared are these:

    T(s) = integral_s^t p = 1 - (s / t)^(gamma + 1) for s < t, else 0

and the sum is the one whose T is nearest to the wanted one by least squares. (EDM2 compares the profiles p themselves,
which suffices with hundreds of copies; from the six checkpoints of a run here it errs five to ten times as much.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aurify import checkpoint
from aurify.checkpoint import Damaged
from aurify.errors import UserError

LENGTHS = (0.05, 0.1)  # of those that are kept
SHORTEST, LONGEST = 0.02, 0.25  # that can be asked for: 0.289 is a plain mean of all steps
FAR = 0.15  # of the way from the newest weights to the average, that the nearest sum may be off
WORD = "ema="

Groups = dict[str, list[Tensor]]


@dataclass(frozen=True)
class Profile:
    """The weights that an average of this length gives to the steps up to `step`."""

    length: float
    step: int

    @property
    def power(self) -> float:
        return power(self.length)

    def inner(self, other: "Profile") -> float:
        """The integral of T(s) of both, over s."""
        a, b, m = self.power, other.power, min(self.step, other.step)
        left, right = (m / self.step) ** a, (m / other.step) ** b
        return m * (1 - left / (a + 1) - right / (b + 1) + left * right / (a + b + 1))

    @property
    def way(self) -> float:
        """The integral of (1 - T(s))^2: how far, squared, the average lies behind the newest weights."""
        return self.step / (2 * self.power + 1)


@cache
def power(length: float) -> float:
    """gamma + 1, of the largest gamma with (gamma + 2)^2 (gamma + 3) length^2 = gamma + 1."""
    rate = length**-2
    roots = np.roots([1, 7, 16 - rate, 12 - rate])
    return float(roots[np.isreal(roots)].real.max()) + 1


def length(which: str) -> float | None:
    """What "ema=0.1" asks for; None where no average is asked for.

    Raises:
        UserError: no number follows.
    """
    if not which.startswith(WORD):
        return None
    try:
        return float(which.removeprefix(WORD))
    except ValueError as error:
        raise UserError(f"{which!r} names no average: say a length, such as {WORD}0.1") from error


def name(length: float) -> str:
    """The checkpoint's group of an average: "power_05" for 0.05."""
    return f"power_{round(100 * length):02d}"


def begun(params: Sequence[Tensor]) -> Groups:
    """Both averages before the first step; what they hold is forgotten by it."""
    return {name(length): [p.detach().clone() for p in params] for length in LENGTHS}


def update(averages: Groups, params: Sequence[Tensor], step: int) -> None:
    """After step `step`, counted from 1: average <- b average + (1 - b) weights, b = (1 - 1/step)^(gamma + 1)."""
    for length in LENGTHS if averages else ():
        b = (1 - 1 / step) ** Profile(length, step).power
        torch._foreach_lerp_(averages[name(length)], list(params), 1 - b)


def coefficients(wanted: Profile, kept: Sequence[Profile]) -> tuple[np.ndarray, float]:
    """The sum of kept averages that is nearest to the wanted one, and how far it is off, as a share of the way from the
    newest weights to the wanted average."""
    gram = np.array([[one.inner(other) for other in kept] for one in kept])
    across = np.array([one.inner(wanted) for one in kept])
    found = np.linalg.lstsq(gram, across, rcond=1e-13)[0]
    left = wanted.inner(wanted) - 2 * found @ across + found @ gram @ found
    return found, float(np.sqrt(max(left, 0.0) / wanted.way))


def average(folder: Path, length: float) -> tuple[dict[str, Tensor], int]:
    """Weights averaged over this length at the newest checkpoint, put together from all that are whole, and its step.

    Raises:
        UserError: the run kept no such averages, or too few checkpoints to come near to this length.
    """
    if not SHORTEST <= length <= LONGEST:
        raise UserError(f"{WORD}{length:g} is too short or too long: say a length from {SHORTEST} to {LONGEST}")
    kept = stored(folder)
    if not kept:
        raise UserError(
            f"the run of {folder} kept no averages to choose from: train with --set posthoc=true, or leave {WORD} out"
        )
    step = max(profile.step for profile, _ in kept)
    weights, off = coefficients(Profile(length, step), [profile for profile, _ in kept])
    if off > FAR:
        raise UserError(
            f"the {len(kept) // 2} checkpoints that are kept come only within {off:.0%} of an average of length "
            f"{length:g}; lengths nearer to {' and '.join(map(str, LENGTHS))} are met better"
        )
    return {key: mixed([group[key] for _, group in kept], weights) for key in kept[0][1]}, step


def stored(folder: Path) -> list[tuple[Profile, dict[str, Tensor]]]:
    """The averages in all checkpoints that are whole."""
    found = []
    for path in checkpoint.found(folder):
        try:
            loaded = checkpoint.load(path, only=[name(length) for length in LENGTHS])
        except Damaged:
            continue
        groups = {length: loaded.tensors.get(name(length)) for length in LENGTHS}
        found += [(Profile(length, loaded.step), group) for length, group in groups.items() if group]
    return found


def mixed(tensors: list[Tensor], weights: np.ndarray) -> Tensor:
    """sum_i w_i x_i in float64: the weights have both signs and may be large."""
    total = torch.zeros_like(tensors[0], dtype=torch.float64)
    for w, x in zip(weights, tensors, strict=True):
        total += float(w) * x.double()
    return total.to(tensors[0].dtype)
