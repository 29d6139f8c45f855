"""WaveNet's generation: ring buffers against the whole context anew for every symbol, and against real time at 16 kHz.

python benchmarks/wavenet.py [--threads 1] [--steps 500] [--naive 4] [--compiled]

Symbols are of 256 levels, as of sound in 8 bits; models have 10 layers (32 channels) and 30 (64 channels). One row is
drawn both ways, which must give the same symbols; many rows are drawn with rings alone. `real_time` is symbols a second
of all rows over 16,000, by the wall; `cpu_real_time` by the processor's own time, which other work disturbs less.
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


def cached(stepping: Stepping, logits: Tensor, steps: int) -> Tensor:
    """As the family draws, from where `stepping` is."""
    u, made = SampleRng(0, range(stepping.rows)).uniform(64), []
    for t in range(steps):
        made.append(choose(logits, u[:, t % 64], Options()))
        logits = stepping.step(made[-1])
    return torch.stack(made, 1)


def processor_time(work: Callable[[], object], rounds: int = 5) -> float:
    """Least seconds of all threads."""
    taken: list[float] = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def compiled(model: WaveNet, rows: int, steps: int) -> dict[str, float]:
    """Processor time of a step alone, as it is and compiled by torch."""
    tokens, step = torch.zeros(rows, dtype=torch.long), torch.compile(getattr(Stepping.step, "__wrapped__"))  # noqa: B009
    plain, other = Stepping(model.net, rows), Stepping(model.net, rows)
    with torch.inference_mode():
        began = time.perf_counter()
        for _ in range(5):
            step(other, tokens)
        found = {"compiling_s": time.perf_counter() - began}
        work = {"step_us": lambda: plain.step(tokens), "compiled_step_us": lambda: step(other, tokens)}
        for name, one in work.items():
            found[name] = processor_time(lambda one=one: [one() for _ in range(steps)]) / steps * 1e6
    return {name: round(value, 1) for name, value in found.items()}


def against_naive(model: WaveNet, steps: int, few: int, threads: int) -> dict[str, object]:
    """One row that goes on from a full context, both ways."""
    field = receptive_field(model.net.dilations)
    prefix = (BatchRng(1, 1).uniform(field) * VOCAB).long()
    stepping, logits = Stepping(model.net, 1), torch.empty(0)
    for t in range(field):
        logits = stepping.step(prefix[:, t])
    same = torch.equal(cached(stepping, logits, few), naive(model, prefix, few))
    slow, fast = (lambda: naive(model, prefix, few)), (lambda: cached(stepping, logits, steps))
    found = compare(fast, slow, threads=threads, rounds=2, warmups=1)
    speeds = steps / found.ours, few / found.peer
    return {"equal": same, "wall_symbols_s": round(speeds[0]), "naive_symbols_s": round(speeds[1], 1),
            "times": round(speeds[0] / speeds[1]), "real_time": round(speeds[0] / RATE, 3),
            "control": round(found.control, 2), "load": round(found.load, 1), "trusted": found.trusted}  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--steps", type=int, default=500)
    arguments.add_argument("--naive", type=int, default=4)
    arguments.add_argument("--compiled", action="store_true")
    asked = arguments.parse_args()
    torch.set_num_threads(asked.threads)
    for layers in MODELS:
        model = random_model(layers)
        for rows in (1, 16, 64):
            stepping, first = Stepping(model.net, rows), torch.zeros(rows, VOCAB)
            seconds = processor_time(lambda s=stepping, first=first: cached(s, first, asked.steps))
            told = {"layers": layers, "params": sum(p.numel() for p in model.parameters()), "rows": rows,
                    "cpu_us_a_step": round(1e6 * seconds / asked.steps),
                    "cpu_symbols_s": round(rows * asked.steps / seconds),
                    "cpu_real_time": round(rows * asked.steps / seconds / RATE, 3)}  # fmt: skip
            told |= against_naive(model, asked.steps, asked.naive, asked.threads) if rows == 1 else {}
            told |= compiled(model, rows, asked.steps) if asked.compiled and rows < 64 else {}
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
