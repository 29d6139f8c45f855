"""Several processes as one, on torch.distributed: torchrun starts them, each takes its share of every global batch.

Gradients are summed, not averaged: the loop divides by the number of units in the whole batch, so that documents of
unlike length weigh the same however they are dealt out, and any number of processes walks the same path.
"""

import atexit
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from aurify.errors import UserError

T = TypeVar("T")

WAIT = timedelta(days=2)  # for the first to read, encode and plan; that a process has died is noticed at once


@dataclass(frozen=True)
class Group:
    """This process's place among `size`; rank 0 writes the run folder."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, batch: int) -> range:
        """Rows of the global batch that are this process's."""
        return range(batch * self.rank // self.size, batch * (self.rank + 1) // self.size)

    def sum_(self, tensors: list[Tensor]) -> None:
        """Adds each tensor up over all processes, in place, as one message."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([t.flatten() for t in tensors])
        dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """True in every process if true in one."""
        if self.size == 1:
            return flag
        vote = torch.tensor(float(flag), device=self._device())
        dist.all_reduce(vote)
        return bool(vote > 0)

    def wait(self) -> None:
        """Until every process is here."""
        self.any(False)

    def alone(self, act: Callable[[], T]) -> T | None:
        """What `act` returns in the first process; the others wait, and get None.

        Raises:
            UserError: that of `act`, in the first process; the others then end with exit code 2 without a word.
        """
        done, refused = None, None
        if self.first:
            try:
                done = act()
            except UserError as error:
                refused = error
        if self.any(refused is not None):
            raise refused or SystemExit(2)
        return done

    def _device(self) -> torch.device:
        return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def group() -> Group:
    """The processes that torchrun started, or this one alone. They meet once and part when they end: a second meeting
    would find the addresses of the first."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Group()
    if not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=WAIT)
        atexit.register(dist.destroy_process_group)
    return Group(dist.get_rank(), dist.get_world_size())
