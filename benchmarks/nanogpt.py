"""Seconds to a held-out loss of 1.88 nats a character on Tiny Shakespeare, against nanoGPT at its CPU preset.

    python benchmarks/nanogpt.py NANOGPT_CHECKOUT TINYSHAKESPEARE_TXT [--threads 2] [--target 1.88]
    python benchmarks/nanogpt.py - TINYSHAKESPEARE_TXT --width 192 --depth 6 --context 128 --steps 2000  (ours alone)

nanoGPT: its model and its optimizer, its batches, clipping and cosine rate (README: 4 layers, 4 heads, width 128,
context 64, batch 12, 2000 iterations, rate 1e-3 to 1e-4, no dropout, not compiled). Ours: the same width, depth, heads
and context. Both train on the first nine tenths in blocks that alternate, on the same threads of one process. The
held-out loss is the mean over the whole last tenth in windows of `context` predictions, each made from the 1 to
`context` characters before it in its window; our first prediction, made from none, does not count.
"""

import argparse
import contextlib
import io
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from aurify.cond import Cond, CondSpec
from aurify.families.transformer import Config, Transformer
from aurify.rng import BatchRng
from aurify.spec import Tokens
from aurify.training import TrainConfig

Progress = tuple[int, float, float]  # steps done, seconds of training so far by the wall and by the processor


def held_out(log_probs: Callable[[Tensor], Tensor], data: Tensor, context: int) -> float:
    """Mean nats; `log_probs` maps windows (B, context + 1) to the log-probabilities of their last `context` symbols."""
    windows = data[: (len(data) - 1) // context * context + 1].unfold(0, context + 1, context)
    with torch.inference_mode():
        return -sum(log_probs(part).double().sum().item() for part in windows.split(128)) / (len(windows) * context)


class NanoGPT:
    """nanoGPT's training, step by step as its train.py does it on a CPU."""

    every, steps, block = 100, 2000, 50
    batch, context = 12, 64

    def __init__(self, checkout: Path, data: np.ndarray, vocab: int):
        sys.path.insert(0, str(checkout))
        with contextlib.redirect_stdout(io.StringIO()):
            from model import GPT, GPTConfig  # pyright: ignore[reportMissingImports]

            torch.manual_seed(1337)
            sizes = {"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64, "bias": False, "dropout": 0.0}
            self.model = GPT(GPTConfig(vocab_size=vocab, **sizes))
            self.optimizer = self.model.configure_optimizers(0.1, 1e-3, (0.9, 0.99), "cpu")
        self.data = data

    def get_batch(self) -> tuple[Tensor, Tensor]:
        T = self.context
        ix = torch.randint(len(self.data) - T, (self.batch,))
        x = torch.stack([torch.from_numpy(self.data[i : i + T].astype(np.int64)) for i in ix])
        return x, torch.stack([torch.from_numpy(self.data[i + 1 : i + 1 + T].astype(np.int64)) for i in ix])

    def rate(self, step: int) -> float:
        if step < 100:
            return 1e-3 * (step + 1) / 101
        return 1e-4 + 0.5 * (1 + math.cos(math.pi * (step - 100) / 1900)) * 9e-4

    def step(self, step: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step)
        x, y = self.get_batch()
        self.model(x, y)[1].backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def log_probs(self, windows: Tensor) -> Tensor:
        targets = windows[:, 1:].contiguous()
        logits = self.model(windows[:, :-1].contiguous(), targets)[0]
        return -F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")


class Ours:
    """The family and the loop's schedule, on windows of the text."""

    def __init__(self, data: Tensor, vocab: int, asked: argparse.Namespace):
        torch.manual_seed(asked.seed)
        self.spec = Tokens(asked.context + 1, vocab, stream=True)
        config = Config(width=asked.width, depth=asked.depth, heads=asked.heads, lr=asked.lr, dropout=asked.dropout,
                        optimizer=asked.optimizer, weight_decay=asked.weight_decay)  # fmt: skip
        self.model = Transformer(self.spec, CondSpec(), config)
        (self.phase,) = self.model.phases()
        self.optimizer = self.phase.optimizer(self.phase.params)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.schedule = TrainConfig(steps=asked.steps, warmup=asked.warmup)
        self.steps, self.batch, self.seed, self.context = asked.steps, asked.batch, asked.seed, asked.context
        self.every, self.block = asked.every, max(1, asked.steps // 40)
        self.windows = data.unfold(0, self.spec.length, 1)

    def step(self, step: int) -> None:
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.schedule.rate(step)
        rng = BatchRng(self.seed * 1_000_003 + step, self.batch)
        x = self.windows[(rng.uniform().double() * len(self.windows)).long()]
        self.model.loss(x, Cond(), self.phase.name, rng)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(self.phase.params, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def log_probs(self, windows: Tensor) -> Tensor:
        return self.model.log_probs(windows, Cond())[:, 1:]


def trained(side: Any) -> Iterator[Progress]:
    """Trains a block at a time; the clock runs in `step` alone."""
    seconds = cpu = 0.0
    for step in range(side.steps):
        start, cpu_start = time.perf_counter(), time.process_time()
        side.step(step)
        seconds, cpu = seconds + time.perf_counter() - start, cpu + time.process_time() - cpu_start
        if (step + 1) % side.block == 0 or (step + 1) % side.every == 0 or step + 1 == side.steps:
            yield step + 1, seconds, cpu


def race(sides: dict[str, Any], held: Tensor, target: float) -> dict[str, dict[str, Any]]:
    """Lets all sides train in turns until each has met the target or spent its steps."""
    runs = {name: trained(side) for name, side in sides.items()}
    results: dict[str, dict[str, Any]] = {name: {"losses": []} for name in sides}
    while runs:
        for name, run in list(runs.items()):
            side, result = sides[name], results[name]
            step, seconds, cpu = next(run)
            if step % side.every == 0 or step == side.steps:
                start = time.perf_counter()
                side.model.eval()
                loss = held_out(side.log_probs, held, side.context)
                side.model.train()
                result["evaluation_s"] = round(result.get("evaluation_s", 0.0) + time.perf_counter() - start, 2)
                result["losses"].append((step, round(seconds, 2), round(loss, 4)))
                print(name, step, f"{seconds:.1f} s", f"{cpu:.1f} cpu s", f"{loss:.4f}", file=sys.stderr, flush=True)
                if loss <= target and "reached" not in result:
                    result["reached"] = {"step": step, "training_s": round(seconds, 2), "cpu_s": round(cpu, 2)}
            if step == side.steps or "reached" in result:
                result["last"] = {
                    "step": step,
                    "training_s": round(seconds, 2),
                    "ms_per_step": round(seconds / step * 1e3, 2),
                }
                del runs[name]
    return results


def flops(side: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        side.step(0)
    return counter.get_total_flops()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nanogpt", help="checkout of nanoGPT; - for ours alone")
    parser.add_argument("text", type=Path)
    numbers = {"threads": 2, "target": 1.88, "width": 128, "depth": 4, "heads": 4, "context": 64, "batch": 12}
    recipe = {"steps": 240, "every": 10, "lr": 0.04, "warmup": 0.02, "dropout": 0.0, "weight_decay": 0.1, "seed": 0}
    defaults = numbers | recipe | {"optimizer": "muon"}
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    torch.set_num_threads(asked.threads)
    text = asked.text.read_text()
    alphabet = {c: i for i, c in enumerate(sorted(set(text)))}
    data = torch.tensor([alphabet[c] for c in text])
    train, held = data[: len(data) * 9 // 10], data[len(data) * 9 // 10 :]

    def make() -> dict[str, Any]:
        ours: dict[str, Any] = {"ours": Ours(train, len(alphabet), asked)}
        peer = (
            {}
            if asked.nanogpt == "-"
            else {"nanogpt": NanoGPT(Path(asked.nanogpt), train.numpy().astype(np.uint16), len(alphabet))}
        )
        return ours | peer

    cost = {name: (flops(side), sum(p.numel() for p in side.model.parameters())) for name, side in make().items()}
    results = race(make(), held, asked.target)
    for name, (step_flops, params) in cost.items():
        steps = results[name].get("reached", results[name]["last"])["step"]
        print(json.dumps({"side": name, "params": params, "flops": step_flops * steps, **results[name]}))
    if "nanogpt" in results:
        level = max(asked.target, *(min(loss for *_, loss in r["losses"]) for r in results.values()))
        peer, ours = (next(s for _, s, loss in results[k]["losses"] if loss <= level) for k in ("nanogpt", "ours"))
        print(json.dumps({"loss_both_reached": level, "ratio": round(peer / ours, 2), "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
