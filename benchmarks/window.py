"""What a window saves at long lengths: seconds and memory of a training step, and of writing on at the end.

    python benchmarks/window.py [--window 256] [--lengths 512,1024,2048,4096] [--rounds 3]

Full attention and a window in the same network (width 128, 4 layers, 4 heads, 4,096 symbols a step), interleaved, on
one thread, by the processor's clock: so that other work on the machine counts for little. The memory is what a step
keeps for its backward pass, and what a decoding keeps of keys and values.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from aurify.cond import Cond, CondSpec
from aurify.families.transformer import Config, Transformer
from aurify.nets.decode import Decoding
from aurify.rng import BatchRng
from aurify.spec import Tokens

VOCAB, TOKENS = 65, 4096


def model(length: int, window: int | None) -> Transformer:
    torch.manual_seed(0)
    spec = Tokens(length, VOCAB, stream=True)
    return Transformer(spec, CondSpec(), Config(width=128, depth=4, heads=4, window=window))


def step(net: Transformer, x: Tensor) -> Callable[[], None]:
    def work() -> None:
        net.zero_grad(set_to_none=True)
        net.loss(x, Cond(), "next", BatchRng(0, len(x)))["loss"].backward()

    return work


def kept(net: Transformer, x: Tensor) -> int:
    """Bytes that autograd keeps of a loss, weights aside."""
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    found: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        net.loss(x, Cond(), "next", BatchRng(0, len(x)))
    return sum(found.values())


def writing(net: Transformer) -> tuple[Callable[[], None], int]:
    """Sixteen symbols at the end of the context, in four rows; bytes of the cache."""
    L = net.spec.length
    decoding = Decoding(net.net, 4)
    decoding.start(torch.zeros(4, L - 20, dtype=torch.long))

    def work() -> None:
        decoding.t = L - 20
        for _ in range(16):
            decoding.step(torch.zeros(4, dtype=torch.long))

    return work, decoding.cache.nbytes


def seconds(works: list[Callable[[], None]], rounds: int) -> list[float]:
    """Median processor seconds of each, in turns, after one to warm up."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(rounds + 1):
        for work, times in zip(works, taken, strict=True):
            began = time.process_time()
            work()
            times.append(time.process_time() - began)
    return [round(statistics.median(times[1:]), 4) for times in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lengths", default="512,1024,2048,4096")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for length in map(int, asked.lengths.split(",")):
        x = Tokens(length, VOCAB, stream=True).like(BatchRng(0, max(1, TOKENS // length)))
        ours, full = model(length, asked.window), model(length, None)
        row = {"length": length, "window": asked.window, "kept_mib": [round(kept(m, x) / 2**20) for m in (ours, full)]}
        found = seconds([step(ours, x), step(full, x)], asked.rounds)
        print(json.dumps(row | {"what": "training step", "seconds": found}), flush=True)
        (write, cache), (write_full, cache_full) = writing(ours), writing(full)
        found = seconds([write, write_full], 3 * asked.rounds)
        row = {"length": length, "cache_mib": [round(c / 2**20, 2) for c in (cache, cache_full)]}
        print(json.dumps(row | {"what": "16 symbols of 4 rows", "seconds": found}), flush=True)


if __name__ == "__main__":
    main()
