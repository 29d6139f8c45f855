"""From samples and real data to a report: the whole of an evaluation, in the order a reader needs it.

embed -> figures with floor and baselines -> copying -> membership -> usefulness -> verdict -> report
"""

import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

import aurify
from aurify.codec import Codec
from aurify.evaluate import copying as copies
from aurify.evaluate import figures as all_figures
from aurify.evaluate import metric, verdict
from aurify.evaluate.copying import Copying
from aurify.evaluate.embedder import Embedder
from aurify.evaluate.figure import Figure, Protocol
from aurify.evaluate.figures import FEW
from aurify.evaluate.interval import BLOCKS
from aurify.evaluate.progress import Steps
from aurify.evaluate.report import Pair, Picture, Report
from aurify.evaluate.samples import Samples
from aurify.evaluate.sources import Real
from aurify.evaluate.verdict import Skill
from aurify.spec import Grid, Spec

SHOWN = 64  # samples in the report's pictures
PAIRS = 12  # closest pairs in the report


@dataclass(frozen=True)
class Case:
    """What is to be judged, and everything known about it that samples do not tell.

    Attributes:
        made: the samples.
        real: training, reference and fresh real samples.
        codec: fitted, to show samples.
        data: facts of the data set for the report; "hash" names it in the protocol.
        seed: of the samples and of every random choice here.
        options: how the samples were asked for.
        trained_on: whether `real.train` is what the model learned from, so that copies can be looked for.
        subject, cost, curves, notices, command: for the report.
        likelihood: rows (nats, symbols, characters) of the reference by model, where there are any.
        further: findings made by the caller, such as membership, by name.
    """

    made: Samples
    real: Real
    codec: Codec[Any]
    data: dict[str, Any]
    seed: int
    options: dict[str, Any]
    trained_on: bool
    command: str
    subject: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    likelihood: dict[str, Tensor] = field(default_factory=dict)
    further: dict[str, Any] = field(default_factory=dict)


def assess(case: Case) -> Steps[Report]:
    """The report of a case."""
    n = min(len(case.made), case.real.most)
    embedders = yield from all_figures.fitted(case.real.train, str(case.data.get("hash", "")))
    sets = all_figures.sets_of(case.made, case.real, n, case.seed)
    found: list[Figure] = []
    chief: Figure | None = None
    for rank, one in enumerate(embedders):
        seen = yield from all_figures.views(one, sets, case.likelihood)
        names = metric.names() if rank == 0 else all_figures.FIRST
        found += yield from all_figures.figures(seen, protocol(case, one, n), names)
        if rank == 0:
            chief = all_figures.principal(found, seen.features["made"].shape[1])
    yield "looking for copies", 0.0
    copied = look_for_copies(case, embedders[0] if embedders else None)
    yield "writing the report", 1.0
    skill = all_figures.skill(chief) if chief else None
    return report(case, chief_first(found, chief), copied, skill, n)


def protocol(case: Case, one: Embedder, n: int) -> Protocol:
    return Protocol(
        embedder=one.title, weights=one.weights, n=n, reference=case.real.told, data=str(case.data.get("hash", "")),
        preprocessing=preprocessing(case.codec.spec), seed=case.seed, blocks=BLOCKS, options=case.options,
    )  # fmt: skip


def preprocessing(spec: Spec) -> str:
    """What a sample is when it is measured."""
    if isinstance(spec, Grid):
        return f"{' x '.join(map(str, spec.size))}, {spec.channels} channels, -1 to 1"
    return f"at most {spec.length} of {spec.vocab} symbols, decoded"


def chief_first(found: list[Figure], chief: Figure | None) -> tuple[Figure, ...]:
    return (
        tuple(found)
        if chief is None
        else (chief, *(f for f in found if (f.metric, f.protocol) != (chief.metric, chief.protocol)))
    )


def look_for_copies(case: Case, one: Embedder | None) -> Copying | None:
    """The copying alarm, where it is known what the model learned from."""
    if not case.trained_on:
        return None
    sets = case.made, case.real.train, case.real.reference
    features: tuple[Tensor, Tensor, Tensor] | None = None
    if one is not None:
        made, train, held = (one.embed(samples) for samples in sets)
        features = made, train, held
    return copies.copying(*sets, features, case.seed)


def report(case: Case, found: tuple[Figure, ...], copied: Copying | None, skill: Skill | None, n: int) -> Report:
    few = None
    if n < FEW:
        kind = "samples to judge" if len(case.made) < case.real.most else "real samples the model has not seen"
        few = f"there are only {n} {kind}; {FEW} on each side are the least"
    failures = [*case.notices, *verdict.wanting(found)]
    if copied is None:
        failures.append("Copying was not looked for: say what the model learned from with --train.")
    likelier = all_figures.likelier(list(found))
    word = verdict.judge(skill, copied.sentence if copied and copied.rings else None, few, failures, likelier)
    return Report(
        verdict=word,
        figures=found,
        copying=searched(copied.to_json(), case.real) if copied else None,
        membership=case.further.get("membership"),
        usefulness=case.further.get("usefulness"),
        cost=case.cost,
        subject=case.subject,
        data=case.data,
        curves=case.curves,
        shown=shown(case),
        pairs=pairs(case, copied) if copied else (),
        notices=case.notices,
        command=case.command,
        made_by=versions(),
    )


def searched(found: dict[str, Any], real: Real) -> dict[str, Any]:
    """With a sentence more where copies of a part of the training samples alone could be found."""
    if len(real.train) == real.known:
        return found
    part = f"Copies were looked for among {len(real.train):,} of {real.known:,} training samples, evenly chosen."
    return found | {"sentences": [*found["sentences"], part]}


def shown(case: Case) -> tuple[Picture, ...]:
    """Samples beside as many real ones."""
    sets = {"samples": ("Samples", case.made), "real": ("Real samples, for comparison", case.real.reference)}
    return tuple(picture(case.codec, title, list(s.natives[:SHOWN]), name) for name, (title, s) in sets.items())


def picture(codec: Codec[Any], title: str, natives: list[Any], name: str = "") -> Picture:
    preview = codec.preview(natives)
    return Picture(title, preview.suffix, preview.data, name and name + preview.suffix)


def pairs(case: Case, copied: Copying) -> tuple[Pair, ...]:
    """The samples nearest to a training sample, each beside it."""
    made, train = case.made, case.real.train
    return tuple(
        Pair(made.names[i], train.names[j], suspicion, picture(case.codec, "", [made.natives[i], train.natives[j]]))
        for i, j, suspicion in copied.closest[:PAIRS]
    )


def versions() -> dict[str, str]:
    return {
        "aurify": aurify.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
