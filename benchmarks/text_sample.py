"""Sampling against transformers' `generate` with the same weights (as Qwen3), greedy: the tokens must be equal.

python benchmarks/text_sample.py [--threads 2] [--tokens 192]

Ours computes whole chunks of four rows, so that a sample does not depend on how many are asked for: one row asked for
costs four, and is compared with one of the peer.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.utils import logging

from aurify.cond import Cond, CondSpec
from aurify.families.transformer import Config, Options, Transformer
from aurify.nets.transformer import to_qwen3
from aurify.rng import SampleRng
from aurify.spec import Tokens
from timing import compare

SIZES = [(128, 4, 4), (256, 6, 4), (384, 6, 6)]  # width, depth, heads
VOCAB, CONTEXT = 65, 256


def random_model(width: int, depth: int, heads: int) -> Transformer:
    """Weights whose every branch speaks, so that equal tokens mean equal functions."""
    torch.manual_seed(0)
    model = Transformer(Tokens(CONTEXT, VOCAB, stream=True), CondSpec(), Config(width=width, depth=depth, heads=heads))
    for p in model.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=p.shape[1] ** -0.5)
    return model.eval().requires_grad_(False)


def peer_of(model: Transformer, rows: int, tokens: int) -> Callable[[], Tensor]:
    config, state = to_qwen3(model.net)
    peer: Any = Qwen3ForCausalLM(Qwen3Config(**config)).eval()
    peer.load_state_dict(state)
    start = torch.full((rows, 1), VOCAB)
    settings = {"max_new_tokens": tokens, "do_sample": False, "use_cache": True, "suppress_tokens": [VOCAB],
                "eos_token_id": None, "pad_token_id": VOCAB, "attention_mask": torch.ones_like(start)}  # fmt: skip
    return lambda: peer.generate(start, **settings)[:, 1:]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--tokens", type=int, default=192)
    asked = arguments.parse_args()
    torch.set_num_threads(asked.threads)
    logging.set_verbosity_error()
    options = Options(temperature=0, length=asked.tokens)
    for width, depth, heads in SIZES:
        model = random_model(width, depth, heads)
        params = sum(p.numel() for p in model.parameters())
        for rows in (1, 8, 64):
            peer = peer_of(model, rows, asked.tokens)
            rng = SampleRng(0, range(max(rows, model.chunk)))

            def ours(model: Transformer = model, rng: SampleRng = rng, rows: int = rows) -> Tensor:
                return model.sample(Cond(), rng, options)[:rows]

            equal = torch.equal(ours(), peer())
            result = compare(ours, peer, threads=asked.threads, rounds=3, warmups=1)
            each = {f"{k}_us_per_token": round(getattr(result, k) / asked.tokens * 1e6) for k in ("ours", "peer")}
            size = {"width": width, "depth": depth, "params": params, "rows": rows, "equal_tokens": equal}
            print(json.dumps(size | each | result.json()), flush=True)


if __name__ == "__main__":
    main()
