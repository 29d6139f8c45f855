"""Training pictures a second, and the bound as it learns, against pythae's VAE and trainer with the same network.

    python benchmarks/vae.py WORK [--threads 2] [--steps 2000] [--compiled]

Both have the same encoder and decoder (ours, one latent vector), the same first weights, the same optimizer (AdamW at
one constant rate), black and white digits drawn anew from grey (Bernoulli likelihood), batches of 64. Ours is the real
loop, with clipping, averaged weights and its log; the peer's is `train_step` of its own BaseTrainer on a data set of
its own, already drawn, so that the drawing costs ours alone. Its example and its trainer are float32 on a CPU (its
mixed precision is CUDA's); ours takes bfloat16 where the plan finds it faster: both are shown, and with --compiled both
as trainings of a quarter of an hour and more may run, where compiling pays. The curves are the
negative bound in nats of 1,000 test digits, with equal noise, both in float32.
"""

import argparse
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor

from aurify.bench import Bench, run_step
from aurify.cond import Cond, CondSpec
from aurify.data.store import open_or_build
from aurify.device import Precision, compile_networks
from aurify.families.vae import Config, Vae
from aurify.loop import Loop
from aurify.nets.ladder import Ladder, latent
from aurify.rng import BatchRng
from aurify.spec import Grid
from binary_mnist import binarised, write
from timing import compare, precisions

SPEC, BATCH, RATE = Grid(1, (28, 28)), 64, 1e-3
AT_ONCE = 10  # steps between two looks at the clock
NETS = {"width 16, folded by 2": {"width": 16, "patch": 2}, "width 32, folded by 4": {"width": 32, "patch": 4}}


class Encoder(BaseEncoder):
    def __init__(self, net: Ladder):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        features = self.net.encode(2 * x - 1, None)
        mean, log_s = latent(self.net.top(self.net.act(features[0]).flatten(1)))
        return ModelOutput(embedding=mean, log_covariance=2 * log_s)


class Decoder(BaseDecoder):
    def __init__(self, net: Ladder):
        super().__init__()
        self.net = net

    def forward(self, z: Tensor) -> Any:
        return ModelOutput(reconstruction=self.net.decode([z], None, None)[0].sigmoid())


def alike(store: Any, shape: dict[str, int], precision: Precision, folder: Path) -> Loop:
    """Ours with the peer's optimizer."""
    family = {"optimizer": "adamw", "lr": RATE, **shape}
    return our_loop(store, family, {"steps": 100_000, "decay": "none", "warmup": 0.0, "precision": precision}, folder)


def our_loop(store: Any, family: dict[str, Any], training: dict[str, Any], folder: Path) -> Loop:
    settings = {
        "family": {"likelihood": "bernoulli", "drop": 0.0} | family,
        "training": {"batch": BATCH} | training,
    }
    bench = Bench(Vae, store, settings, torch.device("cpu"), folder, folder)
    return bench.loop(bench.presets()[0])


def peer(net: Ladder, data: BaseDataset, folder: Path, rate: float | None = RATE) -> BaseTrainer:
    """With AdamW at this rate; None: as its settings are by default."""
    net.to(memory_format=torch.contiguous_format)  # as anyone would write it
    config = VAEConfig(input_dim=SPEC.shape, latent_dim=net.shapes[0][0], reconstruction_loss="bce")
    chosen = {} if rate is None else {
        "learning_rate": rate, "optimizer_cls": "AdamW",
        "optimizer_params": {"betas": (0.9, 0.99), "weight_decay": 0.0},
    }  # fmt: skip
    settings = BaseTrainerConfig(
        output_dir=str(folder), num_epochs=1, per_device_train_batch_size=BATCH, no_cuda=True, **chosen
    )
    trainer = BaseTrainer(VAE(config, Encoder(net), Decoder(net)), data, training_config=settings)
    trainer.prepare_training()
    trainer.callback_handler.callbacks.clear()  # its progress bars
    return trainer


class Drawn(BaseDataset):
    """So many training digits, black or white drawn anew each time `draw` is called."""

    def __init__(self, grey: Tensor, n: int):
        super().__init__(torch.zeros(n, *SPEC.shape), torch.zeros(n))
        self.grey, self.rng = grey, torch.Generator().manual_seed(0)

    def draw(self) -> None:
        rows = torch.randint(len(self.grey), (len(self.data),), generator=self.rng)
        self.data = (torch.rand(self.data.shape, generator=self.rng) < self.grey[rows]).float()


def bound(net: Ladder, shape: dict[str, int], x: Tensor) -> float:
    model = Vae(SPEC, CondSpec(), Config(likelihood="bernoulli", drop=0.0, **shape))
    model.net.load_state_dict(net.state_dict())
    with torch.no_grad():
        return float(model.loss(x, Cond(), "vae", BatchRng(0, len(x)))["bound"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--compiled", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    logging.getLogger("pythae").setLevel(logging.ERROR)
    store, grey, test = digits(asked.work)
    with tempfile.TemporaryDirectory() as scratch:
        for name, shape in NETS.items():
            for precision in (ours for ours, theirs in precisions() if theirs == "float32"):
                told = {"network": name, "precision": precision, "compiled": asked.compiled}
                speed(store, grey, shape, told, asked.threads, scratch)
        name, shape = next(iter(NETS.items()))
        if asked.steps:
            curves(store, grey, test[:1000], shape, asked.steps, scratch)


def digits(work: Path) -> tuple[Any, Tensor, Tensor]:
    """The store of all digits; those trained on, as grey in [0, 1]; those of the test, black (-1) or white (1)."""
    if not (work / "digits.npz").exists():
        write(work)
    with np.load(work / "digits.npz") as found:
        grey = torch.from_numpy(found["x_train"]).float()[:, None] / 255
        return open_or_build(work / "digits.npz"), grey, binarised(found["x_test"])


def speed(store: Any, grey: Tensor, shape: Any, told: dict[str, Any], threads: int, scratch: str) -> None:
    """Ten steps of each, in turn."""
    loop, data = alike(store, shape, told["precision"], Path(scratch)), Drawn(grey, AT_ONCE * BATCH)
    if told["compiled"]:
        compile_networks(loop.state.family)
    data.draw()
    trainer = peer(alike(store, shape, "float32", Path(scratch)).state.family.net, data, Path(scratch) / "peer")  # pyright: ignore
    result = compare(
        lambda: [run_step(loop) for _ in range(AT_ONCE)], lambda: trainer.train_step(1), threads, rounds=3, warmups=1
    )
    rates = {"ours_pictures_per_s": AT_ONCE * BATCH / result.ours, "peer_pictures_per_s": AT_ONCE * BATCH / result.peer}
    print(json.dumps(told | rates | result.json()), flush=True)


def curves(store: Any, grey: Tensor, test: Tensor, shape: Any, steps: int, scratch: str) -> None:
    """Both from the same weights, a tenth of the steps in turn."""
    loop, part = alike(store, shape, "float32", Path(scratch)), steps // 10
    net = alike(store, shape, "float32", Path(scratch)).state.family.net
    net.load_state_dict(loop.state.family.net.state_dict())  # pyright: ignore
    data = Drawn(grey, part * BATCH)
    trainer = peer(net, data, Path(scratch) / "peer")  # pyright: ignore
    for done in range(part, steps + 1, part):
        for _ in range(part):
            run_step(loop)
        data.draw()
        trainer.train_step(done)
        ours, theirs = (bound(n, shape, test) for n in (loop.state.family.net, net))  # pyright: ignore
        print(json.dumps({"step": done, "ours_nats": ours, "peer_nats": theirs}), flush=True)


if __name__ == "__main__":
    main()
