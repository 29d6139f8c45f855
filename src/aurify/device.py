"""Where and how the arithmetic runs: device, precision, compilation, and what running out of memory looks like."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch

from aurify.errors import UserError
from aurify.family import Family

Precision = Literal["float32", "bfloat16"]


def choose(name: str = "auto") -> torch.device:
    """The named device, or the best there is: CUDA, then Apple's, then the CPU."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r} cannot be used here; leave --device out, or use --device cpu") from error
    return device


def arithmetic(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager:
    """The context in which losses are computed."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def compile_networks(family: Family) -> None:
    """Compiles the family's networks in place; parameters keep their names."""
    for network in family.children():
        network.compile()


@contextlib.contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Within it, the same work on a GPU gives the same bits: a run that was stopped goes on as if it had not been.

    Raises:
        RuntimeError: of torch, for the few functions that have no such way there.
    """
    if device.type != "cuda":
        yield
        return
    was = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was[0])
        torch.backends.cudnn.deterministic = was[1]


def seed(device: torch.device, value: int) -> None:
    """Seeds the default generators of the processor and of this device; `torch.manual_seed` goes through every kind of
    device there is, which takes a millisecond."""
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)


def use_threads(count: int | None) -> None:
    """That many processor threads from now on; None leaves things as they are."""
    if count and count != torch.get_num_threads():
        torch.set_num_threads(count)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        s in str(error) for s in ("not enough memory", "can't allocate memory")
    )


def memory_left(device: torch.device) -> int:
    """Bytes that this process may still take: the least of what the machine has free and what its limits allow."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import resource

    used = resident_memory()
    limits = [
        resource.getrlimit(kind)[0] - used for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA) if _limited(kind)
    ]
    return max(0, min([_machine_free(), *_container_free(), *limits]))


def _limited(kind: int) -> bool:
    import resource

    return resource.getrlimit(kind)[0] != resource.RLIM_INFINITY


def _machine_free() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _container_free() -> list[int]:
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        return [int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())]
    return []


def resident_memory() -> int:
    """Bytes of memory this process holds now."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return peak_memory()


def peak_memory() -> int:
    """The most bytes of memory this process held at once, since `forget_peak_memory` where that works."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak_memory() -> None:
    """Begins `peak_memory` anew, on Linux; elsewhere it goes on from the start of the process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def energy_counter() -> tuple[float, float] | None:
    """(joules so far, joules at which it starts again) of all processor packages, where the machine lets one read them
    (Linux powercap, Intel RAPL and AMD)."""
    now = most = 0.0
    found = False
    for zone in Path("/sys/class/powercap").glob("intel-rapl:*"):
        if zone.name.count(":") != 1:
            continue
        try:
            now += int((zone / "energy_uj").read_text()) / 1e6
            most += int((zone / "max_energy_range_uj").read_text()) / 1e6
        except (OSError, ValueError):
            return None
        found = True
    return (now, most) if found else None
