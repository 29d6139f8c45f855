"""Does the GAN make all ten digits, whatever the seed?

    python benchmarks/gan_seeds.py WORK [--minutes 2] [--seeds 10] [--samples 1000]

Trains `gan` on labelled digits once for each seed, asks for no label, and lets the judge of `aurify evaluate` (a
classifier trained on the training split alone) read what was made. Covered: each digit is read in at least 2 % of the
samples. A run that is there already is not made again.
"""

import argparse
import json
import subprocess
from pathlib import Path

import torch

from aurify import catalog, sample
from aurify.evaluate import embedder, figures, sources
from aurify.evaluate.embedders.classifier import Classifier
from aurify.evaluate.samples import Samples
from aurify.home import home
from aurify.run import Run

LEAST = 0.02  # of the samples, of each digit
FAILURES = ("collapse", "runaway", "discriminator-won", "rolled-back", "not-finite")


def trained(data: Path, folder: Path, seed: int, minutes: float) -> Run:
    if not (folder / "run.json").exists():
        command = ["aurify", "train", data, "--family", "gan", "--minutes", minutes, "--seed", seed, "--out", folder]
        subprocess.run(list(map(str, command)), check=True)
    return Run.load(folder)


def shares(run: Run, n: int) -> list[float]:
    """How often each digit is read among n samples of no label."""
    train = sources.of_split(run.codec, run.store.split("train"))
    learned, _ = figures.parted(train)
    fitting = embedder.fitted(Classifier(), learned, run.store.hash)
    judge = next(found for found in fitting if isinstance(found, Classifier))
    model, _ = sample.load_model(run)
    x = torch.stack([x for _, x in sample.tensors(model, run, (0, n), 0, sample.Asked(), model.Options())])
    made = Samples([run.codec.decode(row) for row in x], x, torch.full((n,), -1), tuple(map(str, range(n))))
    read = judge.probabilities(judge.embed(made)).argmax(1)
    return (torch.bincount(read, minlength=10) / n).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--samples", type=int, default=1000)
    asked = parser.parse_args()
    data = catalog.get("digits", home() / "data" / "digits")
    covered = 0
    for seed in range(asked.seeds):
        run = trained(data, asked.work / f"seed-{seed}", seed, asked.minutes)
        found = shares(run, asked.samples)
        said = sorted({e["kind"] for e in run.log() if e.get("kind") in FAILURES})
        covered += min(found) >= LEAST
        row = {"seed": seed, "steps": run.training.steps, "least": min(found), "said": said, "shares": found}
        print(json.dumps(row), flush=True)
    print(json.dumps({"covered": covered, "of": asked.seeds, "least": LEAST, "minutes": asked.minutes}))


if __name__ == "__main__":
    main()
