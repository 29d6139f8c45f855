"""Are samples asked for by label what was asked, and are they as varied as real ones? Figures with their protocol."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from aurify import sample as sampling
from aurify.data.store import Store
from aurify.evaluate.judge import Judge, network, train_judge
from aurify.evaluate.metrics.coverage import Coverage
from aurify.evaluate.neighbours import K
from aurify.home import home
from aurify.run import Run
from aurify.spec import Grid


@dataclass(frozen=True)
class Figures:
    """What was found. `floor` figures are those of real training samples in the generated ones' place."""

    n: int
    label_right: float
    label_right_real: float
    coverage: float
    coverage_real: float
    reference: str
    seed: int

    @property
    def coverage_ratio(self) -> float:
        return self.coverage / self.coverage_real

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"coverage_ratio": self.coverage_ratio, "neighbours": K}

    def lines(self) -> list[str]:
        real = f"real {self.reference}: {self.label_right_real:.2%}"
        return [
            f"the judge reads the asked label in {self.label_right:.1%} of {self.n}   ({real})",
            f"coverage of real {self.reference} samples: {self.coverage:.3f}, {self.coverage_ratio:.2f} of what real "
            f"samples reach ({self.coverage_real:.3f}; n = {self.n}, k = {K})",
            "judge: a classifier trained on the real training split alone",
        ]


def by_label(run: Run, n: int = 1000, seed: int = 1) -> Iterator[tuple[str, float] | Figures]:
    """Yields (what is being done, share done), at last the figures.

    n samples, labels in turn, against n real ones of the test split (the held-out one where there is no test split).
    """
    assert isinstance(run.spec, Grid) and run.cond.width
    judge: Judge | None = None
    for found in judge_of(run.store):
        if isinstance(found, Judge):
            judge = found
        else:
            yield "training the judge", found
    assert judge is not None
    reference = "test" if len(run.store.split("test")) else "held"
    real_all, labels_all = everything(run.store, reference)
    n = min(n, len(real_all))
    made: list[Tensor] = []
    model, _ = sampling.load_model(run)
    names = list(run.cond.labels)
    for index, x in sampling.tensors(model, run, (0, n), seed, names, model.Options()):
        made.append(x)
        yield "sampling", (index + 1) / n
    x = torch.stack(made)
    real = run.spec.widen(spread(real_all, n))
    train, _ = everything(run.store, "train")
    real_features = judge.features(real).double()
    yield Figures(
        n=n,
        label_right=float((judge.read(x) == torch.arange(n) % len(names)).double().mean()),
        label_right_real=float((judge.read(run.spec.widen(real_all)) == labels_all).double().mean()),
        coverage=Coverage().value(real_features, judge.features(x).double()),
        coverage_real=Coverage().value(real_features, judge.features(run.spec.widen(spread(train, n))).double()),
        reference=reference,
        seed=seed,
    )


def judge_of(store: Store) -> Iterator[float | Judge]:
    """The judge of this data: trained once, then kept beside the encoded data of this machine."""
    assert isinstance(store.spec, Grid)
    path = home() / "judges" / f"{store.hash}.safetensors"
    if path.is_file():
        net = network(store.spec, store.cond.width)
        net.load_state_dict(load(path.read_bytes()))
        yield Judge(net.eval().requires_grad_(False), store.spec)
        return
    x, labels = everything(store, "train")
    for found in train_judge(x[labels >= 0], labels[labels >= 0], store.spec):
        if isinstance(found, Judge):
            from aurify.atomic import write

            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, save({name: t.contiguous() for name, t in found.net.state_dict().items()}))
        yield found


def everything(store: Store, split: str) -> tuple[Tensor, Tensor]:
    """All stored samples of a split with their labels."""
    part = store.split(split)
    return part.rows(np.arange(len(part)))


def spread(x: Tensor, n: int) -> Tensor:
    """n of the samples, evenly over their order (which is by content: no order of labels)."""
    return x[torch.linspace(0, len(x) - 1, n).long()]
