"""The mode: threads, precision and compilation, taken only where they are faster and their gradients are right.

A network starts with zeros in its last layers, behind which no gradient lives: a mode that is wrong there would not
show. So gradients are compared at other weights, the same in both modes, where every parameter has one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from aurify import device
from aurify.bench import Bench, steps_timed, timed
from aurify.device import Precision
from aurify.family import Family, Preset
from aurify.heldout import only
from aurify.loop import Loop

LONG = 900.0  # seconds of training from which the minute that compilation takes can pay
# Relative error of a parameter's gradient that a mode may have. Largest of all parameters, at the weights of `stirred`:
# compiled float32 below 5e-5; bfloat16 flow 0.016, Transformer 0.009, VAE 0.09, GAN 0.07 (augmented 0.1 to 0.6: its
# gradient is a small difference, so it stays in float32); wrong code 1.0 (benchmarks/gradients.py).
AGREE = {"float32": 1e-3, "bfloat16": 0.1}
TRIFLE = 1e-2  # of the usual norm of a gradient of its phase: smaller ones, such as of a bias that a norm of its own
# channel takes back, are mostly rounding and are judged against that
FASTER = 0.9  # of the time, before a mode is worth its risk

Say = Callable[[str], None]
Mode = tuple[Precision, bool]  # and whether it is compiled


def choose_threads(bench: Bench, preset: Preset) -> dict[str, Any]:
    """One thread or all: small networks are faster on one, and so is anything beside other work."""
    every = torch.get_num_threads()
    if bench.target.type != "cpu" or every == 1 or bench.shares > 1 or "threads" in bench.settings["training"]:
        return {}
    seconds = {n: steps_timed(bench.loop(preset, threads=n), 0.5, least=3) for n in (1, every)}
    bench.tried.append(f"{every} threads: {seconds[every] / seconds[1]:.2f} x the time of one")
    return {"threads": min(seconds, key=lambda n: seconds[n])}


def choose_mode(bench: Bench, preset: Preset, threads: dict[str, Any], budget: float, say: Say) -> dict[str, Any]:
    """Precision and compilation for a budget in seconds; nothing where the user, or the family, chose one of them."""
    if {"precision", "compiled"} & (bench.settings["training"].keys() | bench.kind.wants.keys()):
        return {}
    candidates: list[Mode] = [("bfloat16", False)] if fast_bfloat16(bench.target) else []
    if budget >= LONG:
        candidates = [*candidates, ("float32", True), *((precision, True) for precision, _ in candidates)]
    return fastest(bench, preset, threads, candidates, say) if candidates else {}


def fastest(bench: Bench, preset: Preset, threads: dict[str, Any], candidates: list[Mode], say: Say) -> dict[str, Any]:
    """The fastest of the candidates whose gradients agree with float32 eager; nothing where that itself is."""
    plain = bench.loop(preset, **threads)
    truth, best_seconds, best = gradients(plain), steps_timed(plain, 1.0, least=3), {}
    for precision, compiled in candidates:
        mode: dict[str, Any] = {"precision": precision, "compiled": compiled}
        name = f"{precision} {'compiled' if compiled else 'eager'}"
        say(f"trying {name}")
        loop = bench.loop(preset, **threads, **mode)
        try:
            if compiled:
                device.compile_networks(loop.state.family)
            error = disagreement(truth, gradients(loop))
            seconds = steps_timed(loop, 1.0, least=3)
        except Exception as failure:  # a compiler may fail in any way; the plain mode is always there
            bench.tried.append(f"{name}: does not run here ({type(failure).__name__})")
            continue
        bench.tried.append(f"{name}: {seconds / best_seconds:.2f} x the time, gradients differ by {error:.2g}")
        if error <= AGREE[precision] and seconds < FASTER * best_seconds:
            best_seconds, best = seconds, mode
    return best


def fast_bfloat16(target: torch.device) -> bool:
    """Whether bfloat16 is worth a trial: processors that lack it are hundreds of times slower at it."""
    if target.type != "cpu":
        return target.type == "cuda" and torch.cuda.is_bf16_supported()
    a = torch.randn(256, 256)
    b = a.bfloat16()
    return timed(lambda: b @ b, 3) < 1.5 * timed(lambda: a @ a, 3)


def gradients(loop: Loop) -> dict[str, dict[str, Tensor]]:
    """By phase, the gradient of every parameter on the first batch, at stirred weights."""
    found: dict[str, dict[str, Tensor]] = {}
    with stirred(loop.state.family):
        names = {id(p): name for name, p in loop.state.family.named_parameters()}
        for phase in loop.state.phases:
            only(loop.state.params, phase)
            loop.accumulate(phase)
            found[phase.name] = {names[id(p)]: p.grad.float().clone() for p in phase.params if p.grad is not None}
    return found


@contextmanager
def stirred(family: Family) -> Iterator[None]:
    """Every weight moved by noise, always the same, and put back afterwards: matrices by half of what keeps the size of
    what they map (normal / 2 sqrt(inputs)), vectors by a tenth. So no layer is closed and no gradient zero."""
    rng = torch.Generator().manual_seed(0)
    parameters = list(family.parameters())
    kept = [p.detach().clone() for p in parameters]
    try:
        with torch.no_grad():
            for p in parameters:
                scale = 0.5 / p[0].numel() ** 0.5 if p.ndim > 1 else 0.1
                p.add_((scale * torch.randn(p.shape, generator=rng)).to(p))
        yield
    finally:
        with torch.no_grad():
            for p, was in zip(parameters, kept, strict=True):
                p.copy_(was)


def disagreement(truth: dict[str, dict[str, Tensor]], other: dict[str, dict[str, Tensor]]) -> float:
    """The largest relative difference of any parameter's gradient; one that is a trifle in its phase is judged against
    the others of it. Infinite where it is not a number."""
    worst = 0.0
    for phase, gradient in truth.items():
        usual = (sum(float(g.square().sum()) for g in gradient.values()) / max(1, len(gradient))) ** 0.5
        for name, g in gradient.items():
            if (away := float((g - other[phase][name]).norm())) == 0:
                continue
            error = away / max(float(g.norm()), TRIFLE * usual, 1e-30)
            worst = max(worst, error if error == error else float("inf"))
    return worst
