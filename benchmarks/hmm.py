"""Hidden Markov models against hmmlearn's: equal likelihoods, equal steps of EM, and seconds a step, interleaved.

python benchmarks/hmm.py [--threads 2]

Equal parameters on both sides. hmmlearn has two ways to sum over paths: in logs, which is its default, and scaled,
which is its faster one; a row for each. A step is one iteration of EM on all sequences: the counts and the new
parameters.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hmmlearn.hmm import CategoricalHMM
from torch import Tensor

from aurify.cond import Cond, CondSpec
from aurify.families.hmm import Config, Hmm
from aurify.rng import BatchRng
from aurify.spec import Tokens
from timing import compare

SIZES = [  # states, symbols, sequences, length
    (50, 65, 200, 100),
    (50, 65, 80, 250),
    (50, 65, 20, 1000),
    (8, 20, 80, 250),
    (200, 65, 80, 250),
]
STEPS = 5  # of EM, after which both must be at the same likelihood


def ours(states: int, symbols: int, length: int) -> Hmm:
    torch.manual_seed(0)
    config = Config(states=states, prior=0.0, drop=0.0)
    return Hmm(Tokens(length, symbols), CondSpec(), config).double()


def peer(model: Hmm, implementation: str) -> CategoricalHMM:
    """With the same parameters, which an iteration begins from."""
    start, moves, emits = (p.detach().exp().numpy() for p in (model.start[0], model.moves[0, 0], model.emits[0]))
    made = CategoricalHMM(
        len(start), n_features=emits.shape[1], n_iter=1, tol=0, init_params="", implementation=implementation
    )
    made.startprob_, made.transmat_, made.emissionprob_ = (p / p.sum(-1, keepdims=True) for p in (start, moves, emits))
    return made


def our_step(model: Hmm, x: Tensor) -> Callable[[], float]:
    (phase,) = model.phases()
    optimizer = phase.optimizer(phase.params)

    def step() -> float:
        out = model.loss(x, Cond(), phase.name, BatchRng(0, len(x)))
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        return float(out["loss"])

    return step


def peer_step(model: CategoricalHMM, x: Tensor) -> Callable[[], object]:
    column, lengths = x.reshape(-1, 1).numpy(), [x.shape[1]] * len(x)
    return lambda: model.fit(column, lengths)


def difference(model: Hmm, other: CategoricalHMM, x: Tensor) -> float:
    """Relative, of the log-likelihoods of all sequences."""
    mine = float(model.log_prob(x, Cond()).sum())
    theirs = other.score(x.reshape(-1, 1).numpy(), [x.shape[1]] * len(x))
    return abs(mine - theirs) / abs(theirs)


def row(size: tuple[int, int, int, int], implementation: str, threads: int) -> dict[str, Any]:
    states, symbols, rows, length = size
    x = Tokens(length, symbols).like(BatchRng(1, rows))
    model = ours(states, symbols, length)
    other = peer(model, implementation)
    before = difference(model, other, x)
    a, b = our_step(model, x), peer_step(other, x)
    for _ in range(STEPS):
        a(), b()
    after = difference(model, other, x)
    assert max(before, after) < 1e-8, (before, after)
    result = compare(a, b, threads=threads, rounds=3, warmups=1)
    facts = {"states": states, "symbols": symbols, "sequences": rows, "length": length, "peer is": implementation}
    return facts | {"difference before": before, f"after {STEPS} steps": after} | result.json()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--threads", type=int, default=2)
    asked = arguments.parse_args()
    torch.set_num_threads(asked.threads)
    warnings.filterwarnings("ignore")  # hmmlearn warns at each step that one step is few
    np.seterr(divide="ignore")
    for size in SIZES:
        for implementation in ("log", "scaling"):
            print(json.dumps(row(size, implementation, asked.threads)), flush=True)


if __name__ == "__main__":
    main()
