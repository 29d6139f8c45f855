"""Training tokens a second against the GPT-2 of transformers: same width, depth, heads, context, batch and parameters.

python benchmarks/text_train.py [--threads 2] [--device cpu] [--compiled none|ours|both] [--optimizers adamw,muon]

The peer's own training does not compile; ours does where the plan finds it faster, in trainings of a quarter of an hour
and more: `ours` measures that. Nor does it take bfloat16 unless told to; ours does where the processor has it and the
plan finds it faster: rows say the precision of ours and of the peer, which runs in it too in the last of them.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel

from aurify.cond import Cond, CondSpec
from aurify.device import Precision, arithmetic
from aurify.families.transformer import Config, Transformer
from aurify.rng import BatchRng
from aurify.spec import Tokens
from timing import compare, precisions

SIZES = [  # width, depth, heads, context, batch
    (128, 4, 4, 64, 12),
    (128, 4, 4, 64, 48),
    (256, 6, 4, 128, 8),
    (384, 6, 6, 256, 4),
]
GPU_SIZES = [(384, 6, 6, 256, 64), (768, 12, 12, 1024, 12)]  # nanoGPT's sizes for one GPU
VOCAB = 65


def gpt2(width: int, depth: int, heads: int, context: int) -> GPT2LMHeadModel:
    sizes = {"n_embd": width, "n_layer": depth, "n_head": heads, "n_positions": context, "vocab_size": VOCAB}
    return GPT2LMHeadModel(GPT2Config(**sizes, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, use_cache=False))


def peer_step(model: GPT2LMHeadModel, x: Tensor, compiled: bool, precision: Precision) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    run: Any = torch.compile(model) if compiled else model

    def step() -> None:
        with arithmetic(x.device, precision):
            loss = run(input_ids=x, labels=x).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def our_step(model: Transformer, x: Tensor, compiled: bool, precision: Precision) -> Callable[[], None]:
    (phase,) = model.phases()
    optimizer = phase.optimizer(phase.params)
    rng = BatchRng(0, len(x))
    if compiled:
        model.net.compile()

    def step() -> None:
        with arithmetic(x.device, precision):
            loss = model.loss(x, Cond(), phase.name, rng)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(phase.params, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def flops(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--device", type=torch.device, default="cpu")
    arguments.add_argument("--compiled", choices=("none", "ours", "both"), default="none")
    arguments.add_argument("--optimizers", default="adamw,muon")
    asked = arguments.parse_args()
    torch.set_num_threads(asked.threads)
    for width, depth, heads, context, batch in SIZES if asked.device.type == "cpu" else GPU_SIZES:
        for optimizer in asked.optimizers.split(","):
            for precision in precisions(asked.device):
                size = {"width": width, "depth": depth, "context": context, "batch": batch, "optimizer": optimizer}
                x = Tokens(context, VOCAB, stream=True).like(BatchRng(0, batch)).to(asked.device)
                torch.manual_seed(0)
                config = Config(width=width, depth=depth, heads=heads, tie=True, optimizer=optimizer)
                row = size | {"precision": precision, "compiled": asked.compiled}
                print(json.dumps(row | side_by_side(config, x, precision, asked)), flush=True)


def side_by_side(
    config: Config, x: Tensor, precision: tuple[Precision, Precision], asked: argparse.Namespace
) -> dict[str, Any]:
    batch, context = x.shape
    ours = Transformer(Tokens(context, VOCAB, stream=True), CondSpec(), config).to(x.device)
    peer = gpt2(config.width, config.depth, config.heads, context).to(x.device)
    work = (
        our_step(ours, x, asked.compiled != "none", precision[0]),
        peer_step(peer, x, asked.compiled == "both", precision[1]),
    )
    params = [sum(p.numel() for p in model.parameters()) for model in (ours, peer)]
    cost = [flops(w) for w in work] if asked.compiled == "none" else None
    result = compare(*work, threads=asked.threads)
    rates = {f"{k}_tokens_per_s": round(batch * context / getattr(result, k)) for k in ("ours", "peer")}
    return {"params": params, "flops": cost, **rates, **result.json()}


if __name__ == "__main__":
    main()
