"""The main job end to end on real data: fetch, train, sample by label, measure, and say where everything is."""

from pathlib import Path
from typing import Any

from aurify import catalog, loop, recipes, sample
from aurify.device import peak_memory
from aurify.errors import UserError, nearest
from aurify.evaluate.by_label import ByLabel, by_label
from aurify.evaluate.of_run import strict_json
from aurify.events import Done
from aurify.home import home
from aurify.run import Run
from aurify.spec import Grid


def run_demo(name: str, minutes: float | None, out: str, screen: Any) -> Run | None:
    """Runs a recipe; the data is kept under home()/data, the run under `out` (numbered if that is taken).

    None where the training was stopped; it can be resumed.
    """
    known = recipes.names()
    if name not in known:
        raise UserError(f"there is no recipe {name!r}.{nearest(name, list(known))} There are: {', '.join(known)}")
    wish = known[name]()
    data = catalog.get(wish.data, home() / "data" / wish.data, screen.say)
    screen.lines(
        f"data: {name}", [f"lies in {data} as ordinary files; look at them, or use a folder of your own in their place"]
    )
    asked = {**wish.__dict__, "data": str(data), "minutes": minutes or wish.minutes, "out": str(free(Path(out)))}
    run = recipes.start(recipes.Wish(**asked), screen.say, lambda plan: screen.lines("plan", plan.lines()))
    last = screen.follow(loop.train(run))
    if not isinstance(last, Done):
        return None
    plan, held = run.card.plan, peak_memory() / 2**20
    took = (
        f"training took {last.seconds:.0f} s of {plan['seconds']:.0f} predicted, {held:.0f} MiB of "
        f"{plan['memory'] / 2**20:.0f}"
    )
    overview = show_samples(run, screen)
    figures = measure(run, screen) if isinstance(run.spec, Grid) and run.cond.width else None
    screen.json({"run": str(run.path), "overview": str(overview), "figures": figures})
    label = f" --label {run.cond.labels[-1]}" if run.cond.labels else ""
    screen.lines(
        "done",
        [
            f"{took}; with the judge {peak_memory() / 2**20:.0f} MiB",
            f"the run        {run.path}  (run.json, checkpoints, events, previews)",
            f"the samples    {overview}",
            f"more of them   .venv/bin/aurify sample {run.path} -n 16{label} --out my-samples",
            f"its worth      .venv/bin/aurify evaluate {run.path}  (figures, copies, a verdict; some minutes)",
            "your own data  .venv/bin/aurify check FOLDER; .venv/bin/aurify train FOLDER --minutes 5",
        ],
    )
    return run


def free(path: Path) -> Path:
    """The path, numbered if it is taken."""
    candidates = (path if i == 1 else path.with_name(f"{path.name}-{i}") for i in range(1, 10_000))
    return next(p for p in candidates if not p.exists())


def show_samples(run: Run, screen: Any) -> Path:
    """A hundred samples as files and at a glance; labels in turn, a row each."""
    labels = [label for label in run.cond.labels for _ in range(10)][:100] or None
    n = len(labels) if labels else 8
    folder = run.path / "samples"
    made = sample.sample(run, n, seed=7, label=labels)
    *_, overview = screen.track(sample.write(run, made, folder), "sampling", n)
    return overview


def measure(run: Run, screen: Any) -> dict[str, Any]:
    """The figures by label, shown and kept in the run."""
    screen.say("measuring 1,000 samples with an independent judge")
    figures: ByLabel = screen.until(by_label(run), "measuring")
    folder = run.path / "report"
    folder.mkdir(exist_ok=True)
    (folder / "by_label.json").write_text(strict_json(figures.to_json()) + "\n")
    screen.lines("figures", figures.lines())
    return figures.to_json()
