"""Tensors out of a file in torch's old format, executing nothing: its opcodes are read, not obeyed.

Such a file is a magic number, a version, facts, then a program that would build {name: tensor}, the list of storages,
and their values one after another. The program is walked with a stack of plain values; a call it asks for is written
down as ("call", what, arguments) and never made.
"""

import pickletools
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

MARK = object()
TYPES = {"torch FloatStorage": np.float32, "torch LongStorage": np.int64}


def tensors(path: Path) -> dict[str, Tensor]:
    """The state dict {name: tensor} of a file in torch's format before 1.6.

    Raises:
        ValueError: it is something else, or torn.
    """
    try:
        with path.open("rb") as file:
            return read(file)
    except (LookupError, TypeError, AttributeError, UnicodeDecodeError) as error:  # the shape of other programs
        raise ValueError(f"{path.name} is no state dict in torch's old format") from error


def read(file: BinaryIO) -> dict[str, Tensor]:
    _magic, _version, _facts, program, order = (walk(file) for _ in range(5))
    items = program if isinstance(program, dict) else program[3]  # a plain dict, or a call for an OrderedDict
    kinds = {call[2][0][1][2]: TYPES[call[2][0][1][1]] for call in items.values()}
    values = {key: storage(file, kinds[key]) for key in order}
    return {name: strided(values, call[2]) for name, call in items.items()}


def storage(file: BinaryIO, kind: Any) -> np.ndarray:
    head = file.read(8)
    size = int.from_bytes(head, "little") * np.dtype(kind).itemsize
    data = file.read(size)
    if len(head) < 8 or len(data) < size:
        raise ValueError("the file ends in the middle of its values")
    return np.frombuffer(data, np.dtype(kind).newbyteorder("<")).astype(kind)


def strided(values: dict[str, np.ndarray], arguments: Any) -> Tensor:
    """Arguments as torch's own: (storage, offset, size, stride, ...)."""
    (_, (_, _, key, *_)), offset, size, stride, *_ = arguments
    return torch.from_numpy(values[key]).as_strided(size, stride, offset).clone()


def walk(file: BinaryIO) -> Any:
    """What one program would build: dicts and lists as they are, calls as ("call", what, arguments, items set)."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "MARK":
            stack.append(MARK)
        elif name == "STOP":
            return stack.pop()
        elif name in ("SETITEMS", "APPENDS", "SETITEM", "BUILD"):
            fill(stack, name)
        elif name != "PROTO":
            stack.append(value(stack, name, argument))
    raise ValueError("the file ends in the middle of a program")


def value(stack: list[Any], name: str, argument: Any) -> Any:
    """The value that an opcode leaves on the stack."""
    if name in ("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "GLOBAL"):
        return argument
    if name in ("NEWTRUE", "NEWFALSE", "NONE"):
        return {"NEWTRUE": True, "NEWFALSE": False, "NONE": None}[name]
    if name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
        return {"EMPTY_DICT": {}, "EMPTY_LIST": [], "EMPTY_TUPLE": ()}[name]
    if name == "TUPLE":
        return tuple(since_mark(stack))
    if name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        return tuple([stack.pop() for _ in range(int(name[-1]))][::-1])
    if name == "BINPERSID":
        return "stored", stack.pop()
    if name == "REDUCE":
        arguments, called = stack.pop(), stack.pop()
        return "call", called, arguments, {}
    raise ValueError(f"a state dict has no use for {name}")


def since_mark(stack: list[Any]) -> list[Any]:
    taken: list[Any] = []
    while (top := stack.pop()) is not MARK:
        taken.append(top)
    return taken[::-1]


def fill(stack: list[Any], name: str) -> None:
    """Items into the dict or list below them; an object's state is left aside."""
    if name == "BUILD":
        stack.pop()
        return
    items = since_mark(stack) if name != "SETITEM" else [stack.pop(-2), stack.pop()]
    target = stack[-1]
    if isinstance(target, list):
        target.extend(items)
    else:
        (target[3] if isinstance(target, tuple) else target).update(zip(items[::2], items[1::2], strict=True))
