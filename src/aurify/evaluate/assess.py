"""From samples and real data to a report: the whole of an evaluation, in the order a reader needs it.

embed -> figures with floor and baselines -> copying -> membership -> usefulness -> verdict -> report
"""

import platform
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

import aurify
from aurify.codec import Codec
from aurify.errors import UserError
from aurify.evaluate import controls, embedder, metric, verdict
from aurify.evaluate import copying as copies
from aurify.evaluate import figures as all_figures
from aurify.evaluate import membership as attacks
from aurify.evaluate.column_distances import column_distances, sentences
from aurify.evaluate.copying import Copying
from aurify.evaluate.embedder import Embedder
from aurify.evaluate.figure import Figure, Protocol
from aurify.evaluate.figures import FEW
from aurify.evaluate.interval import BLOCKS
from aurify.evaluate.progress import Steps, at_last
from aurify.evaluate.report import Pair, Picture, Report
from aurify.evaluate.samples import Samples
from aurify.evaluate.seldom import missing
from aurify.evaluate.sources import Real
from aurify.evaluate.taken import from_the_reference
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
        remarks: what the reader should know and no verdict depends on, in sentences; `notices` bar gold.
        changed: what was done to samples that were not as the codec takes them, in words, or "".
        elsewhere: whether training and unseen samples are passages from different places of a text.
        drawings: of the model itself, for the report.
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
    remarks: tuple[str, ...] = ()
    changed: str = ""
    elsewhere: bool = False
    drawings: tuple[Picture, ...] = ()


def assess(case: Case) -> Steps[Report]:
    """The report of a case."""
    n = min(len(case.made), case.real.most)
    embedders = yield from all_figures.fitted(case.real.train, str(case.data.get("hash", "")))
    sets = all_figures.sets_of(case.made, case.real, n, case.seed, case.codec.parts)
    found: list[Figure] = []
    chief: Figure | None = None
    whole: dict[str, Tensor] = {}
    for rank, one in enumerate(embedders):
        if rank == 0 and case.trained_on:
            whole = yield from everything(case, one)
        cut = {name: x[:n] for name, x in whole.items() if name in sets and rank == 0}
        seen = yield from all_figures.views(one, sets, case.likelihood, cut)
        if rank == 0:
            case = replace(case, notices=(*case.notices, *alike(seen.features, one), *lacking(case, seen)))
        names = metric.names() if rank == 0 else all_figures.FIRST
        made, lost = yield from all_figures.figures(seen, protocol(case, one, n), names)
        found += made
        case = replace(case, notices=(*case.notices, *lost))
        if rank == 0:
            chief = all_figures.principal(found, seen.features["made"].shape[1])
    copied = yield from look_for_copies(case, whole)
    # the right answer to a text is the reference's own
    taken = None if case.made.given else from_the_reference(case.made, case.real)
    case = replace(
        case,
        further=members(case, whole, embedders) | case.further,
        notices=(*case.notices, *filter(None, [taken])),
        remarks=(*case.remarks, *cut_to(case, n)),
    )
    case = with_columns(case)
    yield "writing the report", 1.0
    skill = all_figures.skill(chief) if chief else None
    worse = all_figures.worse(chief) if chief else None
    return report(case, chief_first(found, chief), copied, (skill, worse, taken), n)


def with_columns(case: Case) -> Case:
    """Of a table, with the distance of each column."""
    if not case.codec.parts:
        return case
    names: tuple[str, ...] = getattr(case.codec, "positions", ())
    single, double = column_distances(case.made, case.real, case.codec.parts, names)
    each = {a.name: {"samples": a.made, "other real rows": a.real} for a in single}
    told = (*case.remarks, *sentences(single, double))
    return replace(case, remarks=told, data=case.data | {"total variation of columns": each})


def protocol(case: Case, one: Embedder, n: int) -> Protocol:
    return Protocol(
        embedder=one.title, weights=one.weights, n=n, reference=case.real.told, data=str(case.data.get("hash", "")),
        preprocessing=preprocessing(case.codec.spec, case.changed), seed=case.seed, blocks=BLOCKS, options=case.options,
    )  # fmt: skip


def preprocessing(spec: Spec, changed: str = "") -> str:
    """What a sample is when it is measured."""
    if isinstance(spec, Grid):
        told = f"{' x '.join(map(str, spec.size))}, {spec.channels} channels, -1 to 1"
    elif spec.sizes is not None:
        told = f"rows of {spec.length} columns: numbers by rank, each category a number of its own"
    elif spec.stream:
        told = f"passages of {spec.length} of {spec.vocab} symbols, decoded"
    else:
        most = "at most " if spec.variable else ""
        told = f"{most}{spec.length} of {spec.vocab} symbols, decoded"
    return f"{told}; {changed}" if changed else told


def chief_first(found: list[Figure], chief: Figure | None) -> tuple[Figure, ...]:
    return (
        tuple(found)
        if chief is None
        else (chief, *(f for f in found if (f.metric, f.protocol) != (chief.metric, chief.protocol)))
    )


def everything(case: Case, one: Embedder) -> Steps[dict[str, Tensor]]:
    """Features of all samples, not of n of them alone: copies and members are looked for among all."""
    sets = {"made": case.made, "train": case.real.train, "reference": case.real.reference, "fresh": case.real.fresh}
    found: dict[str, Tensor] = {}
    for name, samples in sets.items():
        found[name] = yield from at_last(embedder.features(one, samples), f"looking at samples: {one.title}")
    return found


def alike(features: dict[str, Tensor], one: Embedder) -> tuple[str, ...]:
    """That features of the samples are constant, so that figures of spread have nothing to go by.

    Raises:
        UserError: those of the reference are.
    """
    sides = {name: features[name] for name in ("made", "reference")}
    same = {name for name, x in sides.items() if len(x) > 1 and bool((x == x[0]).all())}
    if "reference" in same:
        raise UserError(
            f"all {len(features['reference'])} real samples that others are to be judged by are the same to the "
            f"{one.title}: nothing can be told by them; give a reference whose samples differ"
        )
    told = f"All {len(features['made'])} samples are the same to the {one.title}: figures that need them to differ are"
    return (f"{told} not defined or mean little.",) if "made" in same else ()


def lacking(case: Case, seen: all_figures.Views) -> tuple[str, ...]:
    """Labels that are missing, or that nothing here can read where they were asked for."""
    p = seen.probabilities
    if p:
        return missing(p["made"], torch.cat((p["reference"], p["fresh"])), case.data.get("labels", ()))
    if case.made.labelled and case.made.texts is None:
        return ("Labels were asked for, and no figure here tells whether the samples show them.",)
    return ()


def look_for_copies(case: Case, whole: dict[str, Tensor]) -> Steps[Copying | None]:
    """The copying alarm, where it is known what the model learned from."""
    if not case.trained_on:
        return None
    features = (whole["made"], whole["train"], whole["reference"]) if whole else None
    steps = copies.looking(case.made, case.real.train, case.real.reference, features, case.seed)
    return (yield from at_last(steps, "looking for copies"))


def members(case: Case, whole: dict[str, Tensor], embedders: list[Embedder]) -> dict[str, Any]:
    """Membership by distance, for samples of which nothing more is known."""
    if not whole or min(len(case.real.train), 2 * case.real.most) < attacks.FEWEST:
        return {}
    unseen = torch.cat((whole["reference"], whole["fresh"]))
    found = attacks.of_features(whole["made"], whole["train"], unseen, embedders[0].title)
    return {"membership": replace(found, elsewhere=case.elsewhere).to_json()}


def cut_to(case: Case, n: int) -> tuple[str, ...]:
    """That fewer samples were compared than were given."""
    if n == len(case.made):
        return ()
    return (
        f"Figures compare {n:,} of {len(case.made):,} samples: the real samples that the model has not seen "
        f"are divided, so that {case.real.most:,} stand for the floor.",
    )


def report(
    case: Case,
    found: tuple[Figure, ...],
    copied: Copying | None,
    stands: tuple[Skill | None, str | None, str | None],
    n: int,
) -> Report:
    """`stands`: the skill of the principal figure, that it is worse than a baseline's, and that samples are taken from
    the reference."""
    skill, worse, taken = stands
    few, short = None, "samples" if len(case.made) < case.real.most else "unseen"
    if n < FEW:
        kind = "samples to judge" if short == "samples" else "real samples the model has not seen"
        few = f"there are only {n} {kind}; {FEW} on each side are the least"
    failures = [*case.notices, *verdict.wanting(found), *unsure(copied)]
    likelier = all_figures.likelier(list(found))
    rings = copied.sentence if copied and copied.rings else None
    blind = (copied and copied.blind) or taken
    word = verdict.judge(skill, rings, few, failures, likelier, worse, short, blind)
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
        notices=(*case.notices, *case.remarks),
        command=case.command,
        made_by=versions(),
    )


def unsure(copied: Copying | None) -> tuple[str, ...]:
    """Why one cannot be sure that nothing is copied."""
    if copied is None:
        return ("Copying was not looked for: say what the model learned from with --train.",)
    told, missed = [], controls.listed(copied.controls.missed)
    if missed and not copied.blind:
        told.append(f"Copies may go unseen: of those planted on purpose only {missed} were found.")
    if copied.controls.fresh_rings:
        told.append("The copying alarm rings for real samples, too: one half of them by the limit of the other.")
    return tuple(told)


def searched(found: dict[str, Any], real: Real) -> dict[str, Any]:
    """With a sentence more where copies of a part of the training samples alone could be found."""
    if len(real.train) == real.known:
        return found
    part = f"Copies were looked for among {len(real.train):,} of {real.known:,} training samples, evenly chosen."
    return found | {"sentences": [*found["sentences"], part]}


def shown(case: Case) -> tuple[Picture, ...]:
    """Samples beside as many real ones."""
    sets = {"samples": ("Samples", case.made), "real": ("Real samples, for comparison", case.real.reference)}
    pictures = [picture(case.codec, title, list(s.natives[:SHOWN]), name) for name, (title, s) in sets.items()]
    return (*pictures, *case.drawings)


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
