"""Evaluating a run: its samples against what it never saw, its likelihoods, what it cost, and how it learned."""

import json
import math
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from aurify import sample as sampling
from aurify.atomic import explained, write
from aurify.evaluate import assess, likelihood, sources
from aurify.evaluate import membership as attacks
from aurify.evaluate.assess import Case
from aurify.evaluate.card import card
from aurify.evaluate.cost import cost
from aurify.evaluate.heeding import heeding
from aurify.evaluate.licences import licences
from aurify.evaluate.membership import Membership
from aurify.evaluate.page import page
from aurify.evaluate.progress import Doing, Steps, at_last
from aurify.evaluate.report import Picture, Report
from aurify.evaluate.samples import Samples
from aurify.evaluate.sources import Real
from aurify.evaluate.usefulness import usefulness
from aurify.family import Family
from aurify.run import Run
from aurify.spec import Tokens

N = 1000  # samples that a run is judged by, where its data allow
ATTACKED = 500  # training samples, and as many others, that membership is guessed of: fewer hardly tell a threshold
BAD_NEWS = ("rolled-back", "not-finite", "collapse", "damaged", "overfitting", "copying")


def evaluate(
    run: Run,
    n: int = N,
    seed: int = 1,
    options: dict[str, Any] | None = None,
    checkpoint: str = "last",
    out: Path | None = None,
) -> Iterator[Doing | Report]:
    """Makes n samples, judges them, and writes report.json, report.html and MODEL_CARD.md; at last the report.

    Args:
        checkpoint: "last", "best" by held-out loss, or a step that is kept.
        out: where all three go; None: the run's own folder, the first two into its report/.

    Raises:
        UserError: no such checkpoint, no held-out samples, or the data have changed.
    """
    model, step = sampling.load_model(run, checkpoint)
    real = sources.of_store(run.store, seed)
    made = yield from sources.of_run(run, model, min(n, max(real.most, 50)), seed, options or {})
    unseen = real.reference
    unseen = unseen.take(sources.spread(len(unseen), model.scored or len(unseen)).tolist())
    rows = yield from likelihoods(run, model, real.train, unseen, seed)
    heeds = yield from heeding(run, model, unseen, rows.get("made"))
    attack = yield from attacked(run, model, made, real)
    helped = yield from at_last(usefulness(made, real.train, real.reference, seed), "does generating help?")
    further = {name: found.to_json() for name, found in (("membership", attack), ("usefulness", helped)) if found}
    case = replace(case_of(run, made, real, rows, seed, options or {}, step), further=further, cost=cost(run, step))
    case = replace(case, drawings=drawings(run, model))
    case = with_remarks(case, n, heeds)
    case.subject.update(steps=step, checkpoint=step, asked={"samples": n, "seed": seed, "checkpoint": checkpoint})
    further_asked = ["--checkpoint", checkpoint] * (checkpoint != "last") + (["--out", str(out)] if out else [])
    case = replace(case, command=" ".join([case.command, *map(shlex.quote, further_asked)]))
    report = yield from assess.assess(case)
    save(report, out or run.path / "report", (out or run.path) / "MODEL_CARD.md")
    yield report


def with_remarks(case: Case, n: int, heeds: tuple[str, bool] | None) -> Case:
    """That fewer samples were made than asked for; and whether the model heeds what leads it, bad news if not."""
    made = len(case.made)
    if made < n != N:
        unseen = min(case.real.most, made)
        few = f"{made:,} of {n:,} samples asked for were made: {unseen:,} unseen real ones can stand against them."
        case = replace(case, remarks=(*case.remarks, few))
    if heeds is None:
        return case
    said, proved = heeds
    if proved:
        return replace(case, remarks=(*case.remarks, said))
    return replace(case, notices=(*case.notices, said))


def likelihoods(run: Run, model: Family, train: Samples, unseen: Samples, seed: int) -> Steps[dict[str, Tensor]]:
    """Rows of the unseen samples by model: "made" is the run's, beside the plain n-gram's for texts."""
    if model.slow_likelihood:
        return {}
    found = yield from at_last(likelihood.likelihood(run, model, unseen), "likelihood of held-out samples")
    if found is None:
        return {}
    rows = {"made": found}
    if run.codec.parts:
        rows["columns"] = likelihood.of_columns(run, train, unseen)
    if isinstance(run.spec, Tokens) and unseen.texts is not None:
        yield "likelihood of a plain n-gram model", 0.0
        rows["n-gram"] = likelihood.of_ngram(train, unseen, run.spec.variable, seed)
    return rows


def attacked(run: Run, model: Family, made: Samples, real: Real) -> Steps[Membership]:
    """The attack that suits the family, on as many training samples as unseen ones."""
    attack = attacks.attack_of(model)
    unseen = sources.joined([real.reference, real.fresh])
    scores: list[Tensor] = []
    for some in (real.train, unseen):
        part = some.take(sources.spread(len(some), ATTACKED).tolist())
        if attack.startswith("distance"):
            scores.append(attacks.by_distance(part.grid.flatten(1), made.grid.flatten(1)))
            continue
        x, cond = likelihood.stored(run, part), likelihood.led(run, part)
        steps = attacks.by_likelihood(model, x, cond) if attack == "likelihood" else attacks.by_loss(model, x, cond)
        scores.append((yield from at_last(steps, "membership inference")))
    return replace(attacks.membership(scores[0], scores[1], attack), elsewhere=sources.positional(run.store))


def case_of(
    run: Run, made: Samples, real: Real, rows: dict[str, Any], seed: int, options: dict[str, Any], step: int
) -> Case:
    """The case of the weights of a step; what was noticed later is not about them."""
    asked = [part for k, v in options.items() for part in ("--set", f"{k}={v}")]
    told = (e for e in run.log() if e.get("event") == "notice" and e.get("kind") in BAD_NEWS)
    notices = [e["text"] for e in told if e.get("step", 0) <= step]
    return Case(
        made=made,
        real=real,
        codec=run.codec,
        data=facts(run),
        seed=seed,
        options=options,
        trained_on=True,
        command=shlex.join(["aurify", "evaluate", str(run.path), "-n", str(len(made)), "--seed", str(seed), *asked]),
        subject=subject(run),
        curves=curves(run),
        notices=tuple(dict.fromkeys(notices)),
        likelihood=rows,
    )


def drawings(run: Run, model: Family) -> tuple[Picture, ...]:
    """What the model itself looks like, where it can be drawn."""
    draw = getattr(model, "drawing", None)
    if draw is None:
        return ()
    files: dict[str, str] = draw(getattr(run.codec, "positions", ()))
    title = "What depends on what, as it was learned"
    return tuple(Picture(title, suffix, data.encode(), f"network{suffix}") for suffix, data in files.items())


def facts(run: Run) -> dict[str, Any]:
    """The data set in the report."""
    data, labels = run.data, list(run.cond.labels)
    told = {"source": data.source, "hash": data.hash, "counts": data.counts, "labels": labels}
    told |= {"unreadable": lost} if (lost := data.report.get("unreadable")) else {}
    return told | {"notes": list(run.codec.notes), "licences": licences(data.source) or data.report.get("licences", [])}


def subject(run: Run) -> dict[str, Any]:
    plan = run.card.plan
    return {
        "run": run.path.name, "family": run.card.family, "codec": run.card.codec, "parameters": plan.get("parameters"),
        "steps": run.training.steps, "batch": run.training.batch, "seed": run.training.seed,
        "settings": run.card.family_config, "aurify": run.card.aurify,
    }  # fmt: skip


def curves(run: Run) -> dict[str, list[tuple[int, float]]]:
    """Losses over steps, training and held-out, and copies in previews."""
    found: dict[str, list[tuple[int, float]]] = {}
    for event in run.log():
        copied = {"share of copies in previews": event["copied"]} if event.get("copied") is not None else {}
        for name, value in (event.get("losses") or event.get("figures") or copied).items():
            if not name.endswith("gradient") and isinstance(value, float | int):
                found.setdefault(name, []).append((event["step"], float(value)))
    return found


def save(report: Report, folder: Path, model_card: Path | None) -> None:
    """report.json, report.html and what they show in the folder, and the model card; each whole or not there."""
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for picture in report.shown:
            write(folder / picture.name, picture.data)
        write(folder / "report.json", (strict_json(report.to_json()) + "\n").encode())
        write(folder / "report.html", page(report).encode())
        if model_card:
            write(model_card, card(report).encode())


def strict_json(value: Any) -> str:
    """JSON in which what is not finite is null: the standard has no other word for it."""

    def clean(part: Any) -> Any:
        if isinstance(part, dict):
            return {k: clean(v) for k, v in part.items()}
        if isinstance(part, list | tuple):
            return [clean(v) for v in part]
        return None if isinstance(part, float) and not math.isfinite(part) else part

    return json.dumps(clean(value), ensure_ascii=False, indent=1, allow_nan=False)
