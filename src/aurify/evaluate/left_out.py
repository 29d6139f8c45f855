"""Sums without one block at a time: what the jackknife of a mean, a ratio or a histogram is made of."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def sums(rows: Float[Tensor, "n K"], block: Int[Tensor, " n"], count: int) -> Float[Tensor, "B K"]:
    """Row b: the sum of all rows that are not in block b, for b = 0 ... count - 1."""
    each = torch.zeros(count, rows.shape[1], dtype=rows.dtype).index_add_(0, block, rows)
    return rows.sum(0) - each
