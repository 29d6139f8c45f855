"""From a path and a wish to a run: `train`, and named presets that are plain functions."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from aurify import atomic, codec, device, family, loop, plan, spec
from aurify.bench import benched
from aurify.data.source import open_source
from aurify.data.store import Store, open_or_build
from aurify.errors import UserError
from aurify.events import Event
from aurify.family import Family
from aurify.parallel import group
from aurify.plan import Plan
from aurify.run import Card, DataCard, Run, refuse_existing
from aurify.settings import make, share_out
from aurify.spec import Grid, Spec
from aurify.training import TrainConfig

LONG = 1800  # seconds of a training without a budget, from which on another way is pointed out


@dataclass(frozen=True)
class Wish:
    """What a training is asked to be; what is left open is chosen by rule or by the plan."""

    data: str
    family: str | None = None
    codec: str | None = None
    minutes: float | None = None  # of calibration and training; reading the data comes before
    steps: int | None = None
    out: str | None = None
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    device: str = "auto"
    columns: dict[str, str] = field(default_factory=dict)  # role -> column of a table, such as text -> body

    @property
    def folder(self) -> Path:
        """Where the run goes: runs/NAME-FAMILY, numbered where that is taken."""
        if self.out:
            return Path(self.out)
        stem = f"{Path(self.data).resolve().name.split('.')[0]}-{self.family or 'run'}"
        free = (Path("runs") / (stem if i == 1 else f"{stem}-{i}") for i in range(1, 10_000))
        return next(path for path in free if not path.exists())


def digits() -> Wish:
    """Handwritten digits by label: the main job in five minutes on two cores."""
    return Wish(data="digits", family="flow", minutes=5)


def shakespeare() -> Wish:
    """The plays, character by character."""
    return Wish(data="shakespeare", family="transformer", minutes=5)


def poems() -> Wish:
    """Tang and Song poems, by dynasty."""
    return Wish(data="poems", family="transformer", minutes=10)


def names() -> dict[str, Callable[[], Wish]]:
    """Every recipe by its name: the functions of this file that take nothing and return a Wish."""
    return {k: v for k, v in globals().items() if getattr(v, "__annotations__", {}) == {"return": Wish}}


def default_family(spec: Spec) -> str:
    """flow for grids, bayes for rows of a table, transformer for other tokens."""
    if isinstance(spec, Grid):
        return "flow"
    return "transformer" if spec.sizes is None else "bayes"


def prepare(wish: Wish, say: Callable[[str], None] = lambda _: None) -> tuple[Run, Plan]:
    """Reads and encodes the data, makes the plan and the run folder; trains nothing.

    Raises:
        UserError: whatever in the data or the wish does not fit, before anything is written.
    """
    if wish.out:
        refuse_existing(Path(wish.out))
    if wish.minutes is not None and not 0 < wish.minutes < math.inf:
        raise UserError("--minutes must be above 0, and a number")
    if wish.family:
        family.load(wish.family)  # a typo is told before anything is read
    named = wish.codec or (open_source(wish.data, columns=wish.columns).codec if wish.settings else "")
    refuse_settings(wish, named)
    store_arguments = {"codec_name": wish.codec, "config": codec_settings(wish, named), "columns": wish.columns}
    store = open_or_build(wish.data, **store_arguments, progress=counted("reading", say))
    for note in store.notes:
        say(note)
    store_arguments["codec_name"] = store.codec_name
    name = wish.family or default_family(store.spec)
    kind = family.check(name, store.codec_name, store.spec)
    if store.text is not None and not kind.reads_text:
        say(f"family {name} does not use the texts that the samples come with; {readers(store.spec)}")
    settings = share_out(wish.settings, owners(kind, store.codec_name))
    steps = {} if wish.steps is None else {"steps": wish.steps}
    fixed = make(TrainConfig, {"seed": wish.seed, **settings["training"], **steps})
    settings["training"] = fixed.model_dump(exclude_unset=True)
    minutes = 5.0 if wish.minutes is None and "steps" not in settings["training"] else wish.minutes
    with benched(kind, store, settings, device.choose(wish.device), wish.folder, group().size) as bench:
        made = plan.make_plan(bench, minutes, say)
    if minutes is None and made.seconds > LONG:
        say("these --steps take long at the size that so many are worth; --minutes chooses a size that suits the time")
    if made.disk > atomic.free(wish.folder):
        say("the disk has less room than predicted: all but the newest checkpoints will be removed where it is full")
    run = make_run(Wish(**{**wish.__dict__, "family": name}), store, made, store_arguments)
    return run, made


def owners(kind: type[Family], codec_name: str) -> dict[str, type[BaseModel]]:
    """Whose settings a wish may hold."""
    return {"family": kind.Config, "training": TrainConfig, "codec": codec.load(codec_name).Config}


def refuse_settings(wish: Wish, codec_name: str) -> None:
    """Raises UserError for a family or settings that cannot be, before anything is read: that may take long."""
    if wish.family is None:
        return
    kind = family.load(wish.family)
    if wish.settings:
        settings = share_out(wish.settings, owners(kind, codec_name))
        make(TrainConfig, settings["training"])
        make(kind.Config, settings["family"])


def readers(spec: Spec) -> str:
    """Which families are led by texts, in words."""
    found = [name for name in family.for_spec(spec) if family.load(name).reads_text]
    return f"those that do: {', '.join(found)}" if found else f"no family for {type(spec).__name__} does yet"


def counted(doing: str, say: Callable[[str], None], every: float = 2.0) -> Callable[[int, int], None]:
    """A (done, total) callback that says how far a slow thing is, with the time left, every two seconds. The first part
    takes what starting takes too, and tells nothing of the rest."""
    said, begun = time.monotonic(), (0.0, 0)

    def tell(done: int, total: int) -> None:
        nonlocal said, begun
        now = time.monotonic()
        begun = begun if begun[1] else (now, done)
        more = done - begun[1]
        if now - said > every and more > 0 and done < total:
            said = now
            say(f"{doing} {done:,} of {total:,}, about {plan.clock((now - begun[0]) / more * (total - done))} left")

    return tell


def codec_settings(wish: Wish, codec_name: str) -> dict[str, Any]:
    """The settings that this codec has a field for."""
    if not wish.settings:
        return {}
    fields = codec.load(codec_name).Config.model_fields
    named = {k.removeprefix("codec."): v for k, v in wish.settings.items() if k.startswith("codec.") or k in fields}
    return {k: v for k, v in named.items() if k in fields}


def make_run(wish: Wish, store: Store, made: Plan, store_arguments: dict[str, Any]) -> Run:
    cond = family.asks(family.load(wish.family or ""), store.cond)
    card = Card(
        family=wish.family or "",
        family_config=made.config.model_dump(mode="json"),
        codec=store.codec_name,
        codec_config=store.codec.config.model_dump(mode="json"),
        spec=spec.to_json(store.spec),
        labels=cond.labels,
        text=cond.text and spec.to_json(cond.text),
        training=made.training.model_dump(mode="json"),
        plan=made.facts(),
    )
    counts = {name: len(store.split(name)) for name in ("train", "held", "test")}
    source = str(Path(wish.data).resolve())
    data = DataCard(source=source, hash=store.hash, store=store_arguments, counts=counts, report=store.report)
    text = store.text if cond.text else None
    kept = text and {"config": text.config.model_dump(mode="json"), "state": text.state}
    return Run.create(wish.folder, card, data, store.codec.state, kept)


def train(data: str | Path, on_event: Callable[[Event], None] = lambda _: None, **wish: Any) -> Run:
    """Trains on a folder, archive or file; see Wish for what can be asked. Returns the run.

    run = au.train("digits/", family="flow", minutes=5)
    """
    made = Wish(data=str(data), **wish)
    run = start(made)
    for event in loop.train(run, made.device):
        on_event(event)
    return run


def start(
    wish: Wish, say: Callable[[str], None] = lambda _: None, show: Callable[[Plan], None] = lambda _: None
) -> Run:
    """`prepare` in the first of several processes; the others wait and open the folder it made."""
    crew = group()

    def make_it() -> Run:
        if crew.size > 1 and not wish.out:
            raise UserError("several processes need --out, so that all write to the same run")
        run, made = prepare(wish, say)
        show(made)
        return run

    return crew.alone(make_it) or Run.load(str(wish.out))
