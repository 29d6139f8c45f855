"""Quality against evaluations and seconds of every solver, beside diffusers' schedulers, on one trained network.

    .bench/bin/python benchmarks/solvers.py RUN [-n 1000] [--steps 4 8 16 50]

RUN is a flow on labelled pictures, such as `aurify train digits --family flow --minutes 5` makes. Every row asks for
the same labels with the same seeds and the same guidance; the Frechet distance is taken in the features of the judge
that evaluations of this data use, to half of the test split, extrapolated as in a report; the floor is that of its
other half.
diffusers' schedulers have their own defaults and see the same guided network: at their step k the network is asked at
the time of its own path that has as much noise a unit of data, with the sample scaled to it, which is exact.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from aurify import sample, solvers
from aurify.cond import Cond, from_labels
from aurify.evaluate import embedder, figures, interval, sources
from aurify.evaluate.embedders.classifier import Classifier
from aurify.evaluate.figure import Measured
from aurify.evaluate.metrics.frechet import Frechet
from aurify.evaluate.samples import Samples
from aurify.families.flow import Flow, Options
from aurify.rng import SampleRng
from aurify.run import Run

BATCH, SEED = 125, 1
OURS = ("euler", "ddim", "dpm2m", "heun", "ancestral", "churn")
PEERS = {
    "DDPM": DDPMScheduler,
    "DDIM": DDIMScheduler,
    "DDIM unclipped": partial(DDIMScheduler, clip_sample=False),
    "DPM++ 2M": DPMSolverMultistepScheduler,
}
Maker = Callable[[Cond, SampleRng], Tensor]


@dataclass
class Judged:
    """Real samples and the features in which made ones are compared with them."""

    run: Run
    n: int

    def __post_init__(self) -> None:
        store = self.run.store
        train = sources.of_split(store.codec, store.split("train"))
        learned, _ = figures.parted(train)
        self.judge = last(embedder.fitted(Classifier(), learned, store.hash))
        unseen = sources.of_split(store.codec, store.split("test"))
        self.real, self.fresh = sources.dealt(unseen, SEED)
        self.labels = sources.asked_labels(self.run, self.n)

    def distance(self, samples: Samples) -> Measured:
        real = self.judge.embed(self.real.take(range(self.n))).double()
        return interval.measure(Frechet(), real, self.judge.embed(samples).double(), SEED)

    def of(self, x: Tensor) -> Measured:
        """Of made samples, decoded as a user gets them."""
        natives = [self.run.codec.decode(row) for row in x]
        seen = torch.stack([self.run.spec.widen(self.run.codec.encode(native)) for native in natives])
        return self.distance(Samples(natives, seen, self.labels, tuple(str(i) for i in range(len(x)))))


def last(steps):
    """What a generator of progress ends with."""
    for found in steps:  # noqa: B007
        pass
    return found


def made(judged: Judged, make: Maker) -> Tensor:
    """n samples, labels in the training data's proportions."""
    parts = []
    for start in range(0, judged.n, BATCH):
        rows = range(start, min(start + BATCH, judged.n))
        parts.append(make(from_labels(judged.labels[start : rows.stop], judged.run.cond), SampleRng(SEED, rows)))
    return torch.cat(parts)


def ours(flow: Flow, solver: str, steps: int) -> Maker:
    options = Options(solver=solver, steps=steps)  # pyright: ignore[reportArgumentType]
    return lambda cond, rng: flow.sample(cond, rng, options)


def peer(flow: Flow, name: str, steps: int) -> Maker:
    """A diffusers scheduler on the guided field."""
    scheduler = PEERS[name](num_train_timesteps=1000)

    @torch.inference_mode()
    def make(cond: Cond, rng: SampleRng) -> Tensor:
        v = flow.guided(flow.velocity, cond, Options())
        scheduler.set_timesteps(steps)  # forgets the batch before
        x, generator = rng.normal(*flow.spec.shape), torch.Generator().manual_seed(SEED)
        for k in scheduler.timesteps:
            alpha = scheduler.alphas_cumprod[int(k)].sqrt()
            sigma = (1 - alpha.square()).sqrt()
            t = flow.path.time(sigma / alpha)
            mine = x * flow.path.alpha(t) / alpha
            noise = solvers.predicted_noise(v(mine, t), mine, t, flow.path)
            more = {} if name.startswith("DPM") else {"generator": generator}
            x = scheduler.step(noise, k, x, **more).prev_sample
        return x

    return make


class Counter:
    """Network evaluations a sample, guidance counted as two."""

    def __init__(self, flow: Flow):
        self.rows = 0
        flow.net.register_forward_hook(lambda net, args, out: self.add(len(out)))

    def add(self, rows: int) -> None:
        self.rows += rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 8, 16, 50])
    parser.add_argument("--solvers", nargs="+", default=[*OURS, *PEERS], help="some of them")
    asked = parser.parse_args()
    run = Run.load(asked.run)
    flow, _ = sample.load_model(run)
    assert isinstance(flow, Flow)
    judged, counter = Judged(run, asked.n), Counter(flow)
    floor = judged.distance(judged.fresh.take(range(asked.n)))
    print(
        f"floor: other real samples {floor.value:.3f} ({floor.interval[0]:.3f} to {floor.interval[1]:.3f})", flush=True
    )
    print("| solver | steps | evaluations a sample | ms a sample | Frechet (95 %) |\n|---|---|---|---|---|")
    rows = [(name, steps, ours(flow, name, steps)) for name in OURS if name in asked.solvers for steps in asked.steps]
    rows += [
        (f"diffusers {name}", steps, peer(flow, name, steps))
        for name in PEERS
        if name in asked.solvers
        for steps in asked.steps
    ]
    quick = [1, 2, 4, 8] if flow.config.shortcut else []
    rows += [("shortcut", steps, ours(flow, "shortcut", steps)) for steps in quick]
    for name, steps, make in rows:
        counter.rows, began = 0, time.process_time()
        x = made(judged, make)
        seconds = time.process_time() - began
        d = judged.of(x)
        told = f"{d.value:.3f} ({d.interval[0]:.3f} to {d.interval[1]:.3f})"
        each = f"{counter.rows / asked.n:.1f} | {1000 * seconds / asked.n:.1f}"
        print(f"| {name} | {steps} | {each} | {told} |", flush=True)
    print(f"milliseconds of processor time, {torch.get_num_threads()} threads; load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
