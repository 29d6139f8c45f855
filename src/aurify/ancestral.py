"""Symbols one after another, x_t ~ p(x_t | x_1 ... x_t-1): what all families that say the next symbol share.

A family brings a function from the columns so far to the logits of the next one, and calls

    sampled(columns(following, spec, rng, options), spec, options)

    n samples, V alphabet, L length of the spec
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import BaseModel, Field
from torch import Tensor

from aurify.errors import UserError
from aurify.rng import Rng
from aurify.spec import Tokens

BLOCK = 64  # uniform values drawn at a time

Following = Callable[[list[Tensor]], Tensor]


class Options(BaseModel, frozen=True, extra="forbid"):
    temperature: float = Field(default=1.0, ge=0, le=10, description="below 1: safer; 0: always the likeliest")
    top_k: int = Field(default=0, ge=0, description="choose among the k likeliest symbols; 0: among all")
    top_p: float = Field(default=1.0, gt=0, le=1, description="choose among the likeliest that hold this probability")
    guidance: float = Field(default=1.0, ge=0, le=50, description="how strongly a label is followed; 1: as learned")
    length: int | None = Field(default=None, ge=1, description="most new symbols; none: what the data's length allows")
    prefix: tuple[int, ...] = Field(default=(), description="symbols each sample begins with")


def columns(
    following: Following, spec: Tokens, rng: Rng, options: Any, device: torch.device | str = "cpu"
) -> Iterator[Tensor]:
    """The columns of rng.n samples, (n,) each, as soon as they are there; ends when every row has ended.

    Args:
        following: columns so far to logits (n, V) of the next: called first with the prefix, then each time with one
            column more. Where it gives 2 n rows, the second half are the same rows with nothing asked, and

                logits = free + guidance (asked - free)                     (Ho & Salimans 2022, Eq. 6)
    """
    whole, end = total(spec, options), spec.end if spec.variable else None
    barred = barrier(spec)
    made = [torch.full((rng.n,), symbol, device=device) for symbol in options.prefix]
    yield from made
    u = torch.empty(rng.n, 0)
    ended = torch.zeros(rng.n, dtype=torch.bool, device=device)
    for t in range(whole - len(made)):
        if t % BLOCK == 0:
            u = rng.uniform(BLOCK).to(device)
        logits = following(made)
        if len(logits) > rng.n:
            asked, free = logits.chunk(2)
            logits = free + options.guidance * (asked - free)
        if barred is not None:
            logits = logits + barred[len(made)].to(logits)
        column = choose(logits, u[:, t % BLOCK], options, spec.unseen)
        if end is not None:
            column = torch.where(ended, end, column)
            ended = ended | (column == end)
        made.append(column)
        yield column
        if end is not None and bool(ended.all()):
            return


def sampled(made: Iterator[Tensor], spec: Tokens, options: Any) -> Tensor:
    """(n, T): documents are padded with `end`; streams are the prefix and `length` symbols more."""
    x = torch.stack(list(made), 1)
    return F.pad(x, (0, total(spec, options) - x.shape[1]), value=spec.end or 0)


def total(spec: Tokens, options: Any) -> int:
    """Columns of a sample, the prefix included. Raises UserError for what no sample can be."""
    begun = len(options.prefix)
    if outside(options.prefix, spec):
        raise UserError(f"prefix holds a symbol outside 0 ... {spec.vocab - 1}, or outside its place's alphabet")
    if spec.stream:
        return begun + (options.length or spec.length)
    if begun > spec.length:
        raise UserError(f"the prefix has {begun} symbols, a sample at most {spec.length}; shorten it")
    if spec.variable:
        return min(spec.length, begun + (options.length or spec.length))
    if options.length not in (None, spec.length - begun):
        raise UserError(f"every sample has {spec.length} symbols; leave the length out")
    return spec.length


def outside(symbols: Sequence[int], spec: Tokens) -> bool:
    """Whether any is none that its position can hold."""
    tops = spec.sizes or (spec.vocab,) * len(symbols)
    return any(not 0 <= symbol < top for symbol, top in zip(symbols, tops, strict=False))


def barrier(spec: Tokens) -> Tensor | None:
    """(L, V): -inf where a position cannot hold a symbol; None where every position has the whole alphabet."""
    if spec.sizes is None:
        return None
    impossible = torch.arange(spec.vocab) >= torch.tensor(spec.sizes)[:, None]
    return torch.zeros(impossible.shape).masked_fill(impossible, -torch.inf)


def choose(logits: Tensor, u: Tensor, options: Any, never: int | None = None) -> Tensor:
    """One symbol a row, (B,), but not `never`: the first whose cumulative probability exceeds u."""
    if never is not None:
        logits = torch.where(torch.arange(logits.shape[-1], device=logits.device) == never, -torch.inf, logits)
    if options.temperature == 0:
        return logits.argmax(-1)
    logits = logits / options.temperature
    if options.top_k and options.top_k < logits.shape[-1]:
        least = logits.topk(options.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    p = logits.double().softmax(-1)
    if options.top_p < 1:
        p = nucleus(p, options.top_p)
    cumulative = p.cumsum(-1)
    return torch.searchsorted(cumulative, u.double()[:, None] * cumulative[:, -1:], right=True)[:, 0]


def nucleus(p: Tensor, mass: float) -> Tensor:
    """p with zeros outside the smallest set of likeliest symbols that holds `mass` (Holtzman et al. 2020)."""
    ordered, index = p.sort(descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(p).scatter(-1, index, ordered * (before < mass))
