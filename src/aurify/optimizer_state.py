"""An optimizer's state as named tensors and JSON, and back, to the bit.

`Optimizer.load_state_dict` would round state to the parameter's type and lay it out anew; both change the steps that
follow. Here values, types and strides come back as they were.
"""

import math
from typing import Any

import torch
from torch import Tensor

from aurify.errors import UserError


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State per parameter and the groups' settings: tensors by the path where they stood, all else as strict JSON."""
    tensors: dict[str, Tensor] = {}
    packed = optimizer.state_dict()
    state = {str(i): _pack(values, f"state.{i}", tensors) for i, values in packed["state"].items()}
    groups = [_pack(group, f"groups.{g}", tensors) for g, group in enumerate(packed["param_groups"])]
    return tensors, {"state": state, "groups": groups}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Put back what `flatten_optimizer` gave, on the parameters' device.

    Raises:
        UserError: the optimizer has other parameters than the one that was saved.
    """
    groups = [_unpack(group, tensors) for group in state["groups"]]
    saved, present = [len(g["params"]) for g in groups], [len(g["params"]) for g in optimizer.param_groups]
    if saved != present:
        raise UserError(
            f"the checkpoint's optimizer has parameter groups of {saved} tensors, this run's has {present}; "
            "resume with the configuration and the version that wrote the checkpoint."
        )
    params: dict[int, Tensor] = {}
    for old, group in zip(groups, optimizer.param_groups, strict=True):
        params |= zip(old["params"], group["params"], strict=True)
        group.update({k: v for k, v in old.items() if k != "params"})
    on_device = {id(p) for g in optimizer.param_groups if g.get("capturable") or g.get("fused") for p in g["params"]}
    optimizer.state.clear()
    for i, values in state["state"].items():
        p = params[int(i)]
        placed = {k: _place(v, p, k != "step" or id(p) in on_device) for k, v in _unpack(values, tensors).items()}
        optimizer.state[p] = placed


def _place(value: Any, p: Tensor, on_device: bool) -> Any:
    """State of a parameter's shape gets its strides too: kernels differ in the last bit between layouts."""
    if isinstance(value, list):
        return [_place(v, p, on_device) for v in value]
    if not isinstance(value, Tensor):
        return value
    value = value.to(p.device) if on_device else value
    return torch.empty_like(p, dtype=value.dtype).copy_(value) if value.shape == p.shape else value.clone()


def _pack(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """JSON has neither tensors, tuples nor non-finite floats: each becomes an object with one key in $."""
    match value:
        case Tensor():
            tensors[path] = value.detach()
            return {"$tensor": path}
        case dict():
            assert all(isinstance(k, str) and "$" not in k for k in value), f"{path} has keys that JSON would change"
            return {k: _pack(v, f"{path}.{k}", tensors) for k, v in value.items()}
        case list() | tuple():
            items = [_pack(v, f"{path}.{i}", tensors) for i, v in enumerate(value)]
            return items if isinstance(value, list) else {"$tuple": items}
        case float() if not math.isfinite(value):
            return {"$float": str(value)}
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(f"optimizer state {path} is a {type(value).__name__}, which JSON cannot hold")


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    match value:
        case {"$tensor": path}:
            return tensors[path]
        case {"$tuple": items}:
            return tuple(_unpack(v, tensors) for v in items)
        case {"$float": text}:
            return float(text)
        case dict():
            return {k: _unpack(v, tensors) for k, v in value.items()}
        case list():
            return [_unpack(v, tensors) for v in value]
    return value
