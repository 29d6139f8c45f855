"""All that changes while a run is trained, and the two ways it goes: to a checkpoint's tensors and JSON, and back."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aurify import checkpoint, divergence, posthoc
from aurify.family import Family, Phase
from aurify.quality import Quality
from aurify.rng import derive
from aurify.run import Run


@dataclass
class State:
    """`step` steps are done; the next takes the data of position step + skipped.

    `params` are all of the family's, in its order: to find them anew takes as long as a step of a small network.
    """

    family: Family
    params: list[nn.Parameter]
    phases: list[Phase]
    optimizers: dict[str, torch.optim.Optimizer]
    ema: list[Tensor]
    powers: dict[str, list[Tensor]] = field(default_factory=dict)  # averages of `posthoc`, where they are kept
    step: int = 0
    skipped: int = 0
    rollbacks: int = 0
    refused: int = 0
    micro: int = 0
    watch: divergence.Watch = field(default_factory=divergence.Watch)
    quality: Quality = field(default_factory=Quality)
    sums: dict[str, float] = field(default_factory=dict)
    summed: int = 0
    said: list[str] = field(default_factory=list)  # kinds of the family's notices

    @property
    def healthy(self) -> bool:
        """Whether nothing points at a departure that is under way."""
        return not self.watch.strikes and not self.refused


def build(run: Run, target: torch.device) -> State:
    """The family with its first weights (a function of the seed alone), its optimizers and its averaged weights."""
    seed_everything(derive("weights", run.training.seed))
    model = run.model().to(target)
    phases = model.phases()
    optimizers = {phase.name: phase.optimizer(phase.params) for phase in phases}
    for optimizer in optimizers.values():
        for params in optimizer.param_groups:
            params["initial_lr"] = params["lr"]
    params = list(model.parameters())
    powers = posthoc.begun(params) if run.training.posthoc else {}
    return State(model, params, phases, optimizers, [p.detach().clone() for p in params], powers)


def seed_everything(seed: int) -> None:
    """Seeds the default generators, which only initialisation and dropout use."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def averaged(state: State) -> Iterator[None]:
    """The averaged weights in the family's place, in evaluation mode."""
    swap(state)
    state.family.eval()
    try:
        yield
    finally:
        state.family.train()
        swap(state)


def swap(state: State) -> None:
    for i, p in enumerate(state.params):
        p.data, state.ema[i] = state.ema[i], p.data


def snapshot(state: State) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Everything in `state`, as groups of tensors and JSON."""
    names = [name for name, _ in state.family.named_parameters()]
    tensors = {
        "model": dict(state.family.state_dict()),
        "ema": dict(zip(names, state.ema, strict=True)),
        **{group: dict(zip(names, values, strict=True)) for group, values in state.powers.items()},
        "optimizer": {},
    }
    facts: dict[str, Any] = {"optimizers": {}}
    for name, optimizer in state.optimizers.items():
        flat, scalars = checkpoint.flatten_optimizer(optimizer)
        tensors["optimizer"] |= {f"{name}/{key}": value for key, value in flat.items()}
        facts["optimizers"][name] = scalars
    counters = ("skipped", "rollbacks", "refused", "micro", "sums", "summed", "said")
    facts |= {"watch": state.watch.state(), "quality": state.quality.state(), "healthy": state.healthy}
    return tensors, facts | {name: getattr(state, name) for name in counters}


def restore(run: Run, state: State, found: checkpoint.Loaded) -> None:
    """The inverse of `snapshot`, in place.

    Raises:
        UserError: it is the state of another network, or of a newer aurify.
    """
    with run.understood():
        state.family.load_state_dict(found.tensors["model"])
        for mine, (name, _) in zip(state.ema, state.family.named_parameters(), strict=True):
            mine.copy_(found.tensors["ema"][name])
        for group, values in state.powers.items():
            for mine, (name, _) in zip(values, state.family.named_parameters(), strict=True):
                mine.copy_(found.tensors[group][name])
        for name, optimizer in state.optimizers.items():
            mark = f"{name}/"
            flat = {k.removeprefix(mark): v for k, v in found.tensors["optimizer"].items() if k.startswith(mark)}
            checkpoint.restore_optimizer(optimizer, flat, found.state["optimizers"][name])
        for name in ("skipped", "rollbacks", "refused", "micro", "summed"):
            setattr(state, name, found.state[name])
        state.sums, state.step = dict(found.state["sums"]), found.step
        state.said = list(found.state.get("said", []))
        state.watch = divergence.Watch(**found.state["watch"])
        state.quality = Quality(**found.state.get("quality", {}))
