"""Figures of two sets of features against the peers' own functions: equal to 1e-6, and how much faster.

python benchmarks/metrics.py [--samples 10000] [--features 2048] [--threads 2] [--rounds 2] [--only frechet,score]

Peers: torchmetrics, torch-fidelity and clean-fid for the Frechet distance, and the fastest again for that distance as
a report has it, extrapolated and with its interval, of 31 selections (`--only interval --rounds 1`); torchmetrics for
the kernel distance, torch-fidelity for the Inception score (of all samples, in one split, from the same logits), prdc
and torch-fidelity (precision and recall alone) for neighbours. Each gets float32 features and makes float64 of them
where it would. torch-fidelity and clean-fid want torchvision for their extractors, which no function used
here touches; those modules are stood in for, the metric files are theirs.
"""

import argparse
import contextlib
import importlib
import importlib.util
import io
import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aurify.evaluate import interval
from aurify.evaluate.metrics.coverage import Coverage
from aurify.evaluate.metrics.density import Density
from aurify.evaluate.metrics.frechet import Frechet
from aurify.evaluate.metrics.inception_score import ClassifierScore
from aurify.evaluate.metrics.kid import Kid
from aurify.evaluate.metrics.precision import Precision
from aurify.evaluate.metrics.recall import Recall
from timing import compare

Figures = dict[str, float]
LABELS = 1000  # of the classifier whose score is compared


class Absent(ModuleType):
    """In place of a module that only extracts features: every name in it is an empty network."""

    __all__: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        return torch.nn.Module


def part_of(package: str, module: str, absent: tuple[str, ...]) -> Any:
    """One module of an installed package, without what the package itself imports."""
    if package not in sys.modules:
        spec = importlib.util.find_spec(package)
        assert spec and spec.submodule_search_locations, f"{package} is not installed"
        bare = ModuleType(package)
        bare.__path__ = list(spec.submodule_search_locations)
        bare.__spec__ = spec
        sys.modules[package] = bare
        sys.modules |= {f"{package}.{name}": Absent(f"{package}.{name}") for name in absent}
    return importlib.import_module(f"{package}.{module}")


def features(n: int, F: int, seed: int) -> Tensor:
    """Positive, sparse and correlated, as a classifier's last features are; some samples of one kind are nearer."""
    g = torch.Generator().manual_seed(seed)
    mixing = torch.randn(40, F, generator=torch.Generator().manual_seed(0)) * torch.linspace(1, 0.1, 40)[:, None]
    z = torch.randn(n, 40, generator=g) * (1 + 0.1 * seed) + torch.randint(0, 3, (n, 1), generator=g)
    return torch.relu(z @ mixing + 0.5 * torch.randn(n, F, generator=g))


def logits(y: Tensor) -> Tensor:
    """Of features, by a classifier of as many labels as Inception's, some of them far likelier than others."""
    W = torch.randn(y.shape[1], LABELS, generator=torch.Generator().manual_seed(5))
    return 4 * torch.nn.functional.normalize(y - y.mean(0), dim=1) @ W


def ours(x: Tensor, y: Tensor) -> dict[str, Callable[[], Figures]]:
    kinds = {"precision": Precision, "recall": Recall, "density": Density, "coverage": Coverage}

    def prdc() -> Figures:
        a, b = x.double(), y.double()  # new tensors, of which nothing is remembered
        return {name: kind().value(a, b) for name, kind in kinds.items()}

    def score() -> Figures:
        p = logits(y).double().softmax(1)
        return {"inception score": ClassifierScore().value(p, p)}

    return {
        "frechet": lambda: {"frechet": Frechet().value(x.double(), y.double())},
        "interval": lambda: {"frechet": interval.measure(Frechet(), x.double(), y.double()).value},
        "kid": lambda: {"kid": Kid().value(x.double(), y.double())},
        "score": score,
        "prdc": prdc,
    }


def peers(x: Tensor, y: Tensor) -> dict[str, dict[str, Callable[[], Figures]]]:
    fidelity = ("utils", "feature_extractor_inceptionv3", "sample_similarity_lpips")
    fid, prc, isc = (part_of("torch_fidelity", f"metric_{name}", fidelity) for name in ("fid", "prc", "isc"))
    clean = part_of("cleanfid", "fid", ("utils", "features", "resize"))
    tm_fid, tm_kid = (importlib.import_module(f"torchmetrics.image.{name}") for name in ("fid", "kid"))
    prdc = importlib.import_module("prdc")
    a, b = x.numpy(), y.numpy()

    def torchmetrics() -> Figures:
        moments = [m for s in (x.double(), y.double()) for m in (s.mean(0), s.T.cov())]
        return {"frechet": float(tm_fid._compute_fid(*moments))}

    def torch_fidelity(x: Tensor = x, y: Tensor = y) -> Figures:
        stats = (fid.fid_features_to_statistics(s) for s in (x, y))
        return {"frechet": fid.fid_statistics_to_metric(*stats, False)[fid.KEY_METRIC_FID]}

    def fidelity_interval() -> Figures:
        mine, other = interval.block_of(len(x), 0), interval.block_of(len(y), 1)

        def less(*blocks: int) -> float:
            left = (torch.isin(each, torch.tensor(blocks), invert=True) for each in (mine, other))
            return torch_fidelity(*(s[kept] for s, kept in zip((x, y), left, strict=True)))["frechet"]

        without = torch.tensor([less(b) for b in range(interval.BLOCKS)])
        two = torch.tensor([less(b, b + 1) for b in range(0, interval.BLOCKS, 2)])
        whole = torch_fidelity()["frechet"]
        return {"frechet": interval.corrected(whole, interval.counted_once(whole, without, two, Frechet.joint))}

    def fidelity_isc() -> Figures:
        found = isc.isc_features_to_metric(logits(y), splits=1, shuffle=False)
        return {"inception score": found[isc.KEY_METRIC_ISC_MEAN]}

    def clean_fid() -> Figures:
        stats = [m for s in (a, b) for m in (np.mean(s.astype(np.float64), axis=0), np.cov(s, rowvar=False))]
        return {"frechet": float(clean.frechet_distance(*stats))}

    def fidelity_prc() -> Figures:
        return dict(zip(("precision", "recall"), prc.calculate_precision_recall_full(y, x, 5), strict=True))

    def prdc_package() -> Figures:
        with contextlib.redirect_stdout(io.StringIO()):
            return {k: float(v) for k, v in prdc.compute_prdc(a, b, 5).items()}

    return {
        "frechet": {"torchmetrics": torchmetrics, "torch-fidelity": torch_fidelity, "clean-fid": clean_fid},
        "interval": {"torch-fidelity": fidelity_interval},
        "kid": {"torchmetrics": lambda: {"kid": float(tm_kid.poly_mmd(x.double(), y.double()))}},
        "score": {"torch-fidelity": fidelity_isc},
        "prdc": {"prdc": prdc_package, "torch-fidelity": fidelity_prc},
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--samples", type=int, default=10_000)
    arguments.add_argument("--features", type=int, default=2048)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--only", default="frechet,kid,score,prdc")
    asked = arguments.parse_args()
    torch.set_num_threads(asked.threads)
    x, y = (features(asked.samples, asked.features, seed) for seed in (1, 2))
    mine, theirs = ours(x, y), peers(x, y)
    for figure in asked.only.split(","):
        found = mine[figure]()
        for peer, work in theirs[figure].items():
            apart = {k: abs(found[k] - v) / abs(v) for k, v in work().items()}
            ratio = compare(mine[figure], work, asked.threads, asked.rounds, warmups=0)
            print(json.dumps({"figure": figure, "against": peer, "apart": apart, **ratio.json()}), flush=True)


if __name__ == "__main__":
    main()
