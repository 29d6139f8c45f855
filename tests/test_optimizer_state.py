"""An optimizer taken up again goes on as if it had never stopped, to the bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aurify import checkpoint
from aurify.checkpoint import newest
from aurify.errors import UserError
from aurify.muon import Muon


def network(layout: torch.memory_format) -> nn.Sequential:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.SiLU(), nn.Flatten(), nn.Linear(5 * 36, 4), nn.Linear(4, 3, bias=False))
    return net.to(memory_format=layout)  # pyright: ignore[reportCallIssue]


def advance(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        rng = torch.Generator().manual_seed(step)
        x = torch.randn(4, 3, 8, 8, generator=rng)

        def closure(x: Tensor = x) -> Tensor:
            optimizer.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            return loss

        closure()
        optimizer.step(*[closure] if isinstance(optimizer, torch.optim.LBFGS) else [])  # pyright: ignore


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "adamw": lambda p: torch.optim.AdamW([{"params": p[:2], "weight_decay": 0.0}, {"params": p[2:]}], lr=1e-2),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True, foreach=True),
    "fused": lambda p: torch.optim.AdamW(p, lr=1e-2, fused=True),
    "rate as a tensor": lambda p: torch.optim.Adam(p, lr=torch.tensor(1e-2)),
    "momentum": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, nesterov=True),
    "plain": lambda p: torch.optim.SGD(p, lr=1e-2),
    "rmsprop": lambda p: torch.optim.RMSprop(p, centered=True),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=1e-2, max_iter=3),
    "muon": lambda p: Muon([w for w in p if w.ndim == 2]),
}


def equal(a: Any, b: Any) -> bool:
    """Same types, same values, same bits, same strides."""
    if isinstance(a, Tensor):
        same = a.dtype == b.dtype and a.stride() == b.stride() and torch.equal(a, b)
    elif isinstance(a, dict):
        same = a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    elif isinstance(a, list | tuple):
        same = len(a) == len(b) and all(map(equal, a, b))
    else:
        same = a == b
    return type(a) is type(b) and same


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_optimizer_takes_the_steps_of_an_uninterrupted_one(tmp_path: Path, name: str) -> None:
    layout = torch.contiguous_format if name == "lbfgs" else torch.channels_last  # torch's LBFGS takes no other
    net = network(layout)
    optimizer = OPTIMIZERS[name](list(net.parameters()))
    advance(net, optimizer, range(3))
    tensors, state = checkpoint.flatten_optimizer(optimizer)
    checkpoint.save(tmp_path, 3, {"model": net.state_dict(), "optimizer": tensors}, state)

    found = newest(tmp_path)[0]
    assert found
    other = network(layout)
    other.load_state_dict(found.tensors["model"])
    resumed = OPTIMIZERS[name](list(other.parameters()))
    checkpoint.restore_optimizer(resumed, found.tensors["optimizer"], found.state)
    assert equal(optimizer.state_dict(), resumed.state_dict())

    advance(net, optimizer, range(3, 8))
    advance(other, resumed, range(3, 8))
    assert equal(net.state_dict(), other.state_dict())
    assert equal(optimizer.state_dict(), resumed.state_dict())


def test_state_of_another_type_than_its_parameter_is_not_rounded() -> None:
    def make() -> torch.optim.Optimizer:
        return torch.optim.SGD([nn.Parameter(torch.ones(3, dtype=torch.bfloat16))], lr=float("inf"))

    optimizer, other = make(), make()
    p = optimizer.param_groups[0]["params"][0]
    optimizer.state[p] = {"fine": torch.tensor([1 / 3, 1e-30, 7.0]), "nested": [(torch.ones(2), None, 2.5)]}
    checkpoint.restore_optimizer(other, *checkpoint.flatten_optimizer(optimizer))
    assert equal(optimizer.state_dict(), other.state_dict())


def test_an_optimizer_with_other_parameters_is_refused() -> None:
    saved = checkpoint.flatten_optimizer(torch.optim.Adam([nn.Parameter(torch.ones(3))]))
    with pytest.raises(UserError, match=r"groups of \[1\] tensors, this run's has \[2\]"):
        checkpoint.restore_optimizer(torch.optim.Adam([nn.Parameter(torch.ones(3)) for _ in range(2)]), *saved)
