"""Training and sampling against torch.nn.GRU: same width, depth, batch, window and parameters.

python benchmarks/gru_train.py [--threads 2]

The peer is what one writes with torch alone: an embedding, nn.GRU, a linear layer, cross-entropy, fused AdamW; it
samples by feeding each symbol back to nn.GRU. Equal weights, so greedy samples must be equal.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aurify.cond import Cond, CondSpec
from aurify.families.gru import Config, Gru, Options
from aurify.rng import BatchRng, SampleRng
from aurify.spec import Tokens
from timing import compare

SIZES = [(128, 1, 16), (256, 1, 16), (512, 1, 16), (512, 2, 32)]  # width, depth, batch
VOCAB, WINDOW = 66, 256


class Peer(nn.Module):
    def __init__(self, ours: Gru):
        super().__init__()
        width, depth = ours.config.width, ours.config.depth
        self.embedding, self.gru = nn.Embedding(VOCAB + 1, width), nn.GRU(width, width, depth, batch_first=True)
        self.head = nn.Linear(width, VOCAB, bias=False)
        self.load_state_dict({k: v.clone() for k, v in ours.net.state_dict().items()})

    def forward(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        states, state = self.gru(self.embedding(tokens), state)
        return self.head(states), state


def step_of(model: nn.Module, loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    def step() -> None:
        loss().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


@torch.inference_mode()
def write(peer: Peer, rows: int, symbols: int) -> Tensor:
    column, state, made = torch.full((rows, 1), VOCAB), None, list[Tensor]()
    for _ in range(symbols):
        logits, state = peer(column, state)
        column = logits[:, -1:].argmax(-1)
        made.append(column)
    return torch.cat(made, 1)


def side_by_side(width: int, depth: int, batch: int, threads: int) -> None:
    spec = Tokens(WINDOW, VOCAB, stream=True)
    torch.manual_seed(0)
    ours = Gru(spec, CondSpec(), Config(width=width, depth=depth))
    nn.init.normal_(ours.net.output, std=0.1)
    peer, x = Peer(ours), spec.like(BatchRng(0, batch))
    read = torch.cat((ours.starts(batch), x[:, :-1]), 1)
    row: dict[str, Any] = {"width": width, "depth": depth, "batch": batch}
    for rows in (1, 8):
        options, rng = Options(temperature=0, length=128), SampleRng(0, range(rows))
        assert torch.equal(ours.sample(Cond(), rng, options), write(peer, rows, 128))
        result = compare(
            lambda o=options, r=rng: ours.sample(Cond(), r, o), lambda n=rows: write(peer, n, 128), threads
        )
        print(json.dumps(row | {"what": f"sample {rows} x 128", **result.json()}), flush=True)
    (phase,) = ours.phases()
    work = (
        step_of(ours, lambda: ours.loss(x, Cond(), "next", BatchRng(0, batch))["loss"], phase.optimizer(phase.params)),
        step_of(
            peer,
            lambda: F.cross_entropy(peer(read)[0].flatten(0, 1), x.flatten()),
            torch.optim.AdamW(peer.parameters(), lr=4e-3, fused=True),
        ),
    )
    result = compare(*work, threads=threads)
    rates = {f"{k}_symbols_per_s": round(x.numel() / getattr(result, k)) for k in ("ours", "peer")}
    print(json.dumps(row | {"what": "train", **rates, **result.json()}), flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--threads", type=int, default=2)
    asked = arguments.parse_args()
    torch.set_num_threads(asked.threads)
    for size in SIZES:
        side_by_side(*size, asked.threads)


if __name__ == "__main__":
    main()
