"""What a training needs, counted and not tried: memory, disk and arithmetic."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from aurify import device
from aurify.family import Phase
from aurify.heldout import only
from aurify.loop import Loop

SHARE = 0.8  # of the memory that is left, which a training may take
BACKWARD = 1.5  # of what is kept for the backward pass: it needs room to work in
MANY = 4  # rows that a count is made on, where they fit


@dataclass(frozen=True)
class Fit:
    """Samples at a time that memory holds, 0 where not even one; the peak that is then expected, and what may still be
    taken, in bytes."""

    micro: int
    peak: int
    room: int


def fit_memory(loop: Loop) -> Fit:
    """How much of a batch memory holds: by what autograd keeps of a few rows, and the optimizer of the weights. One row
    is counted first, so that the count itself does not ask for more than there is."""
    weights = 4 * sum(p.numel() for p in loop.state.family.parameters())
    base = device.resident_memory() + 3 * weights + 64 * 2**20
    room = int(SHARE * device.memory_left(loop.device)) - 3 * weights
    micro = loop.config.micro or loop.config.batch
    each = BACKWARD * kept_for_backward(loop, 1)
    if each > room:
        return Fit(0, int(base + each), room)
    rows = max(1, min(MANY, micro, int(room / each)))
    each = BACKWARD * kept_for_backward(loop, rows) / rows
    while micro > 1 and each * micro > room:
        micro = (micro + 1) // 2
    return Fit(micro, int(base + each * micro), room)


def kept_for_backward(loop: Loop, rows: int) -> int:
    """Bytes that autograd keeps for the loss of a few rows, weights aside, in the phase that keeps most."""
    return max(_kept(loop, phase, rows) for phase in loop.state.phases)


def _kept(loop: Loop, phase: Phase, rows: int) -> int:
    only(loop.state.params, phase)
    weights = {p.untyped_storage().data_ptr() for p in loop.state.family.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        losses, _ = loop.losses(phase, 0, rows)
    del losses
    return sum(kept.values())


def checkpoint_bytes(loop: Loop) -> int:
    """Weights and buffers, the weights' averages and the optimizer's tensors."""
    model = sum(t.numel() * t.element_size() for t in loop.state.family.state_dict().values())
    averages = sum(t.numel() * t.element_size() for t in loop.state.ema)
    states = (s for o in loop.state.optimizers.values() for s in o.state.values())
    kept = sum(t.numel() * t.element_size() for s in states for t in s.values() if isinstance(t, Tensor))
    powers = sum(t.numel() * t.element_size() for group in loop.state.powers.values() for t in group)
    return model + averages + powers + kept


class Flops(TorchDispatchMode):
    """Counts multiply-adds as two, by torch's own formulas. (FlopCounterMode hooks modules, which forbids the gradient
    of a gradient that an adversarial penalty needs.)"""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func.overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def flops_of_step(loop: Loop) -> float:
    """Forward and backward of every phase, counted on a few rows."""
    rows = min(MANY, loop.state.micro or loop.config.batch)
    with Flops() as counter:
        for phase in loop.state.phases:
            only(loop.state.params, phase)
            loop.losses(phase, 0, rows)[0]["loss"].backward()
    return counter.total * loop.config.batch / rows
