"""Binarised digits in nats: what a trained `vae` gives to digits that it never saw.

    python benchmarks/binary_mnist.py data WORK                  # writes WORK/digits.npz, without labels
    aurify train WORK/digits.npz --family vae --minutes M --out RUN --set likelihood=bernoulli [--set layers=3 ...]
    python benchmarks/binary_mnist.py score RUN [--digits 10000] [--samples 1000] [--device auto] [--batch 500]

Protocol. Training: dynamic binarisation, each place black or white anew each time with its grey value as probability
(Salakhutdinov & Murray 2008), of 59,000 of the 60,000 training digits; the other 1,000 are held out. Test: the 10,000
test digits, or the first of them, binarised once so with a fixed seed. The published fixed sample (Larochelle & Murray
2011) is not what is measured here; figures on the two differ by about a nat. Likelihood: the importance-weighted bound
(Burda et al. 2016, Eq. 8), which on average lies below log p(x), of the averaged weights.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aurify import catalog
from aurify.cond import Cond
from aurify.home import home
from aurify.run import Run
from aurify.sample import load_model

HELD = 1000


def write(work: Path) -> None:
    """All digits without labels, in the order of the original files."""
    pictures = {side: pixels(side) for side in ("train", "test")}
    work.mkdir(parents=True, exist_ok=True)
    train = pictures["train"]
    np.savez_compressed(work / "digits.npz", x_train=train[:-HELD], x_valid=train[-HELD:], x_test=pictures["test"])


def pixels(side: str) -> np.ndarray:
    """uint8 (n, 28, 28), by the number in each file's name."""
    from PIL import Image

    folder = catalog.get("digits", home() / "data" / "digits") / side
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.rglob("*.png"), key=lambda p: p.name)])


def binarised(grey: np.ndarray) -> Tensor:
    """-1 or 1, (n, 1, 28, 28), the same each time."""
    p = torch.from_numpy(grey.astype(np.float32))[:, None] / 255
    return (torch.rand(p.shape, generator=torch.Generator().manual_seed(0)) < p).float() * 2 - 1


def score(path: Path, digits: int, samples: int, device: str, batch: int) -> None:
    """Prints the mean bound with one sample and with many, and the standard error over digits."""
    model, step = load_model(Run.load(path), device_name=device)
    x = binarised(pixels("test"))[:digits]
    many, one = [], []
    for part in x.split(batch):
        found = model.importance(part.to(model.device), Cond(), samples).cpu()
        many.append(found.logsumexp(0) - math.log(samples))
        one.append(found.mean(0))
        told = {"digits": sum(map(len, many)), "nats": -float(torch.cat(many).mean())}
        print(json.dumps(told), flush=True)
    log_p, elbo = torch.cat(many), torch.cat(one)
    error = float(log_p.std() / len(log_p) ** 0.5)
    told = {"run": str(path), "step": step, "digits": len(log_p), "samples": samples, "nats": -float(log_p.mean())}
    print(json.dumps(told | {"standard_error": error, "elbo_nats": -float(elbo.mean())}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("data").add_argument("work", type=Path)
    scoring = commands.add_parser("score")
    scoring.add_argument("run", type=Path)
    scoring.add_argument("--digits", type=int, default=10_000)
    scoring.add_argument("--samples", type=int, default=1000)
    scoring.add_argument("--device", default="auto")
    scoring.add_argument("--batch", type=int, default=500)
    asked = parser.parse_args()
    if asked.command == "data":
        write(asked.work)
    else:
        score(asked.run, asked.digits, asked.samples, asked.device, asked.batch)


if __name__ == "__main__":
    main()
