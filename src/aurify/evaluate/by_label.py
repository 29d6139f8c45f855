"""Are samples asked for by label what was asked, and are they as varied as real ones? Figures with their protocol."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from aurify import sample as sampling
from aurify.evaluate import embedder, sources
from aurify.evaluate.embedders.classifier import Classifier
from aurify.evaluate.metrics.coverage import Coverage
from aurify.evaluate.neighbours import K
from aurify.evaluate.progress import Doing, at_last
from aurify.evaluate.samples import Samples
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


def by_label(run: Run, n: int = 1000, seed: int = 1) -> Iterator[Doing | Figures]:
    """Yields what is being done, at last the figures.

    n samples, labels in turn, against n real ones of the test split (the held-out one where there is no test split).
    """
    assert isinstance(run.spec, Grid) and run.cond.width
    train = labelled(sources.of_split(run.codec, run.store.split("train")))
    fitting = embedder.fitted(Classifier(), train, run.store.hash)
    judge = (yield from at_last(fitting, "training the judge")).judge
    reference = "test" if len(run.store.split("test")) else "held"
    real = labelled(sources.of_split(run.codec, run.store.split(reference)))
    n = min(n, len(real))
    made: list[Tensor] = []
    model, _ = sampling.load_model(run)
    names = list(run.cond.labels)
    for index, x in sampling.tensors(model, run, (0, n), seed, names, model.Options()):
        made.append(x)
        yield "sampling", (index + 1) / n
    x = torch.stack(made)
    seen, again = (judge.features(spread(side.grid, n)).double() for side in (real, train))
    yield Figures(
        n=n,
        label_right=float((judge.read(x) == torch.arange(n) % len(names)).double().mean()),
        label_right_real=float((judge.read(real.grid) == real.labels).double().mean()),
        coverage=Coverage().value(seen, judge.features(x).double()),
        coverage_real=Coverage().value(seen, again),
        reference=reference,
        seed=seed,
    )


def labelled(samples: Samples) -> Samples:
    return samples if samples.labelled else samples.take(torch.nonzero(samples.labels >= 0)[:, 0])


def spread(x: Tensor, n: int) -> Tensor:
    """n of the samples, evenly over their order (which is by content: no order of labels)."""
    return x[torch.linspace(0, len(x) - 1, n).long()]
