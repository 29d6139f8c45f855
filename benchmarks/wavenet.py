"""WaveNet's generation: ring buffers against the whole context anew for every symbol, and against real time at 16 kHz.

python benchmarks/wavenet.py [--threads 2] [--steps 1000] [--naive 8] [--compiled]

Symbols are of 256 levels, as of sound in 8 bits; models have 10 layers (32 channels) and 30 (64 channels). Both ways
must draw the same symbols. Rows are drawn together; "real_time" is symbols a second of all rows over 16,000.
"""

import argparse
import json
import time
from collections.abc import Callable

import torch
from torch import Tensor

from aurify.ancestral import Options, choose
from aurify.cond import CondSpec
from aurify.families.wavenet import Config, WaveNet
from aurify.nets.causal_conv import receptive_field
from aurify.nets.ring_buffers import Stepping
from aurify.rng import BatchRng, SampleRng
from aurify.spec import Tokens
from timing import compare

RATE = 16_000
VOCAB = 256
MODELS = {10: {"width": 32, "skip": 128, "stacks": 1}, 30: {"width": 64, "skip": 256, "stacks": 3}}


def random_model(layers: int) -> WaveNet:
    """Weights that speak, so that equal symbols mean equal functions."""
    torch.manual_seed(0)
    model = WaveNet(Tokens(RATE, VOCAB, end=0, stream=True), CondSpec(), Config(depth=10, **MODELS[layers]))
    torch.nn.init.normal_(model.net.head.weight, std=model.net.head.in_features**-0.5)
    return model.eval().requires_grad_(False)


def naive(model: WaveNet, prefix: Tensor, steps: int) -> Tensor:
    """The whole network over the whole receptive field for each symbol."""
    field = receptive_field(model.net.dilations)
    x, u = prefix, SampleRng(0, range(len(prefix))).uniform(64)
    with torch.inference_mode():
        for t in range(steps):
            x = torch.cat((x, choose(model.net(x[:, -field:])[0][:, -1], u[:, t], Options())[:, None]), 1)
    return x[:, -steps:]


def cached(model: WaveNet, stepping: Stepping, logits: Tensor, steps: int) -> Tensor:
    """As the family draws, from where `stepping` is."""
    u, made = SampleRng(0, range(stepping.rows)).uniform(64), []
    for t in range(steps):
        made.append(choose(logits, u[:, t % 64], Options()))
        logits = stepping.step(made[-1])
    return torch.stack(made, 1)


def equal(model: WaveNet, rows: int, steps: int) -> tuple[bool, Callable[[], object]]:
    """Whether both ways go on from a full context alike, and the naive one as work to be timed."""
    field = receptive_field(model.net.dilations)
    prefix = (BatchRng(1, rows).uniform(field) * VOCAB).long()
    stepping = Stepping(model.net, rows)
    logits = torch.empty(0)
    for t in range(field):
        logits = stepping.step(prefix[:, t])
    # the naive context begins after the start: its own padding is seen by nothing within the field
    same = torch.equal(cached(model, stepping, logits, steps), naive(model, prefix, steps))
    return same, lambda: naive(model, prefix, steps)


def compiled(model: WaveNet, rows: int, steps: int) -> dict[str, float]:
    """The step compiled by torch, after the seconds that takes; draws included."""
    stepping, tokens = Stepping(model.net, rows), torch.zeros(rows, dtype=torch.long)
    began = time.perf_counter()
    stepping.step = torch.compile(Stepping.step.__get__(stepping))  # pyright: ignore
    logits = stepping.step(tokens)
    logits = stepping.step(tokens)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    cached(model, stepping, logits, steps)
    return {"compiling_s": seconds, "compiled_symbols_s": rows * steps / (time.perf_counter() - began)}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--steps", type=int, default=1000)
    arguments.add_argument("--naive", type=int, default=8)
    arguments.add_argument("--compiled", action="store_true")
    asked = arguments.parse_args()
    torch.set_num_threads(asked.threads)
    for layers in MODELS:
        model = random_model(layers)
        for rows in (1, 16):
            same, slow = equal(model, rows, asked.naive)
            stepping, first = Stepping(model.net, rows), torch.zeros(rows, VOCAB)

            def fast(stepping: Stepping = stepping, first: Tensor = first, model: WaveNet = model) -> Tensor:
                return cached(model, stepping, first, asked.steps)

            found = compare(fast, slow, threads=asked.threads, rounds=2, warmups=1)
            ours, peer = rows * asked.steps / found.ours, rows * asked.naive / found.peer
            told = {"layers": layers, "params": sum(p.numel() for p in model.parameters()), "rows": rows,
                    "equal": same, "symbols_s": round(ours), "naive_symbols_s": round(peer, 1),
                    "times": round(ours / peer, 1), "real_time": round(ours / RATE, 3),
                    "us_a_step": round(1e6 * found.ours / asked.steps), "control": round(found.control, 3),
                    "load": round(found.load, 1), "trusted": found.trusted}  # fmt: skip
            told |= compiled(model, rows, asked.steps) if asked.compiled else {}
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
