"""Where Muon pays: the same network by Muon and by AdamW for equal seconds, over widths and symbols a step.

    python benchmarks/muon.py TINYSHAKESPEARE_TXT [--threads 1] [--seconds 40] [--sizes 128x4:768,256x6:2048]

A size is WIDTHxDEPTH:SYMBOLS a step, in windows of 64. Steps are timed interleaved; each side then gets as many steps
as fit into the seconds, decays its rate over them, and both train in blocks that alternate. A row tells the
milliseconds of a step, the steps and the held-out loss of each side, and the seconds after which Muon had AdamW's loss.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from nanogpt import Ours, race
from timing import compare

SIZES = "64x4:768,128x4:768,128x4:192,256x6:2048,256x6:512,384x6:4096,384x6:1024,384x6:256"
CONTEXT = 64


def side(data: torch.Tensor, vocab: int, optimizer: str, size: tuple[int, int, int], steps: int) -> Ours:
    width, depth, symbols = size
    asked = argparse.Namespace(
        seed=0, context=CONTEXT, width=width, depth=depth, heads=max(2, width // 64), lr=0.04, dropout=0.0,
        optimizer=optimizer, weight_decay=0.1, steps=steps, warmup=0.02, batch=symbols // CONTEXT,
        every=max(1, steps // 8),
    )  # fmt: skip
    return Ours(data, vocab, asked)


def row(train: torch.Tensor, held: torch.Tensor, vocab: int, size: tuple[int, int, int], asked: Any) -> dict[str, Any]:
    tried = {name: side(train, vocab, name, size, 1000) for name in ("muon", "adamw")}
    found = compare(lambda: tried["muon"].step(0), lambda: tried["adamw"].step(0), asked.threads, rounds=5)
    steps = {"muon": round(asked.seconds / found.ours), "adamw": round(asked.seconds / found.peer)}
    sides = {name: side(train, vocab, name, size, n) for name, n in steps.items()}
    results = race(sides, held, target=0.0)
    losses = {name: result["losses"][-1][2] for name, result in results.items()}
    # a run by Muon of fewer steps ends lower than this one's loss at that step, so this overstates what it needs
    reached = next((s for _, s, loss in results["muon"]["losses"] if loss <= losses["adamw"]), None)
    told = {"width": size[0], "depth": size[1], "symbols": size[2], "symbols_per_width": round(size[2] / size[0], 1)}
    told |= {"ms": [round(1000 * found.ours, 1), round(1000 * found.peer, 1)], "step_ratio": round(1 / found.ratio, 2)}
    return told | {
        "steps": steps,
        "losses": losses,
        "muon_seconds_to_adamw_loss": reached,
        "load": round(found.load, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--sizes", default=SIZES)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    text = asked.text.read_text()
    alphabet = {c: i for i, c in enumerate(sorted(set(text)))}
    data = torch.tensor([alphabet[c] for c in text])
    train, held = data[: len(data) * 9 // 10], data[len(data) * 9 // 10 :][:30_000]
    for size in asked.sizes.split(","):
        shape, symbols = size.split(":")
        width, depth = map(int, shape.split("x"))
        print(json.dumps(row(train, held, len(alphabet), (width, depth, int(symbols)), asked)), flush=True)


if __name__ == "__main__":
    main()
