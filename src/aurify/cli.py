"""The command line: thin, each command calls one library function. Only commands that need torch import it."""

import sys
from typing import Annotated, Any

import typer

from aurify.errors import UserError

app = typer.Typer(
    name="aurify",
    help="Train generative models on your own data, sample from them, and learn whether the result is worth anything.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Start with: aurify demo. Then: aurify train FOLDER --minutes 5",
)
data_app = typer.Typer(
    help="Public data sets, written as ordinary folders.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(data_app, name="data")

Json = Annotated[bool, typer.Option("--json", help="print JSON lines for machines")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, mps")]
Seed = Annotated[int, typer.Option(min=0, help="same seed, same result")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any setting of `aurify list NAME`")]


def main() -> None:
    """Entry point: 0 done, 2 the user's mistake (one sentence), 1 a defect of ours."""
    try:
        app(standalone_mode=True)
    except UserError as error:
        print(f"aurify: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("aurify: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


def screen(machine: bool = False) -> Any:
    from aurify.terminal import Screen

    return Screen(machine)


@app.command()
def demo(
    recipe: Annotated[str, typer.Argument(help="a name of `aurify list recipes`")] = "digits",
    minutes: Annotated[float | None, typer.Option(help="minutes of training instead of the recipe's")] = None,
    out: Annotated[str, typer.Option(help="where everything goes")] = "runs/demo",
) -> None:
    """The main job end to end on real data: fetch, check, train, sample, measure."""
    from aurify.demo import run_demo

    run_demo(recipe, minutes, out, screen())


@data_app.command("list")
def data_list(machine: Json = False) -> None:
    """Names, kinds, sizes and licences."""
    from dataclasses import asdict

    from aurify import catalog

    show = screen(machine)
    for name, entry in catalog.entries().items():
        show.json({k: v for k, v in asdict(entry).items() if isinstance(v, str | int | float)})
        show.lines(name, [f"{entry.title}  ({entry.modality}, {entry.size_mb:g} MB, {entry.licence})"])


@data_app.command("get")
def data_get(name: str, folder: str) -> None:
    """Fetch a set, check its hash, write it as an ordinary folder."""
    from pathlib import Path

    from aurify import catalog

    show = screen()
    path = catalog.get(name, Path(folder), show.say)
    show.lines(name, [f"lies in {path}", f"next: aurify check {path}"])


@app.command()
def check(
    path: str,
    codec: Annotated[str | None, typer.Option(help="read as this, where the kind is in doubt")] = None,
    machine: Json = False,
) -> None:
    """Data report: what is there, what is bad, what would be dropped and why."""
    from aurify.data.report import check as look
    from aurify.recipes import counted

    show = screen(machine)
    report = look(path, codec, counted("reading", show.say))
    show.json(report.to_json())
    for title, lines in report.sections().items():
        show.lines(title, lines)
    if not report.samples:
        raise UserError(f"{path} holds no sample that can be read; see the list of unreadable files")
    show.lines("next", [f"aurify train {path} --minutes 5"])


@app.command()
def train(
    path: str,
    family: Annotated[str | None, typer.Option(help="a name of `aurify list families`; left out: by the data")] = None,
    codec: Annotated[str | None, typer.Option(help="a name of `aurify list codecs`; left out: by the data")] = None,
    minutes: Annotated[float | None, typer.Option(help="the whole training, calibration included (default 5)")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="steps instead of minutes")] = None,
    out: Annotated[str | None, typer.Option(metavar="RUN", help="the run folder to make; left out: runs/NAME")] = None,
    seed: Seed = 0,
    settings: Sets = None,
    device: Device = "auto",
    machine: Json = False,
) -> None:
    """Train a generative model on a folder, an archive or a table of your own data."""
    from aurify import recipes
    from aurify.settings import parse

    show = screen(machine)
    if minutes is not None and steps is not None:
        raise UserError("give --minutes or --steps, not both")
    wish = recipes.Wish(path, family, codec, minutes, steps, out, seed, parse(settings or []), device)
    run = recipes.start(wish, show.say, lambda plan: show.lines("plan", plan.lines()))
    follow(run, device, show)


@app.command()
def resume(run: str, device: Device = "auto", machine: Json = False) -> None:
    """Go on from the last valid checkpoint, exactly."""
    from aurify.run import Run

    follow(Run.load(run), device, screen(machine))


def follow(run: Any, device: str, show: Any) -> None:
    """Trains a run and says what to do with it."""
    from aurify import loop
    from aurify.events import Done

    last = show.follow(loop.train(run, device))
    if isinstance(last, Done):
        label = f" --label {run.cond.labels[0]}" if run.cond.labels else ""
        show.lines("done", [f"the run is {run.path}", f"next: aurify sample {run.path} -n 16{label} --out samples"])


@app.command()
def sample(
    run: str,
    n: Annotated[int, typer.Option("-n", min=1, help="how many")] = 16,
    out: Annotated[str | None, typer.Option(help="folder for the files; left out: text goes to the screen")] = None,
    seed: Seed = 0,
    first: Annotated[int, typer.Option(min=0, help="index of the first sample of this seed")] = 0,
    label: Annotated[list[str] | None, typer.Option(help="what to make; several are gone through in turn")] = None,
    prefix: Annotated[str, typer.Option(help="what each text begins with")] = "",
    stop: Annotated[str, typer.Option(help="words at which each text ends")] = "",
    checkpoint: Annotated[str, typer.Option(help="last, best (by held-out loss), or a step that is kept")] = "last",
    settings: Sets = None,
    machine: Json = False,
) -> None:
    """Make samples: free, by label, or going on from a prefix. Files carry the record of how they came to be."""
    from pathlib import Path

    from aurify import sample as sampling
    from aurify.run import Run
    from aurify.settings import parse

    show, opened, options = screen(machine), Run.load(run), parse(settings or [])
    asked = label[0] if label and len(label) == 1 else label
    if out is None and n == 1 and hasattr(opened.codec, "pieces"):
        for piece in sampling.stream(opened, seed, asked, prefix, stop, **options):  # pyright: ignore[reportArgumentType]
            print(piece, end="", flush=True)
        print()
        return
    made = sampling.sample(opened, n, seed, asked, prefix, stop, first, checkpoint, **options)
    folder = Path(out) if out else opened.path / "samples"
    paths = list(show.track(sampling.write(opened, made, folder), "sampling", n))
    show.json({"folder": str(folder), "files": [p.name for p in paths]})
    show.lines("samples", [f"{n} in {folder}", *([f"at a glance: {paths[-1]}"] if n > 1 else [])])


@app.command()
def evaluate(
    run: Annotated[str | None, typer.Argument(help="a run folder; or give --samples and --reference")] = None,
    n: Annotated[int | None, typer.Option("-n", min=1, help="samples to make and judge (default 1000)")] = None,
    seed: Seed = 1,
    samples: Annotated[str | None, typer.Option(help="any folder of samples, whoever made them")] = None,
    reference: Annotated[str | None, typer.Option(help="real samples that the model has not seen")] = None,
    train: Annotated[str | None, typer.Option(help="what the model learned from, to look for copies")] = None,
    out: Annotated[str | None, typer.Option(help="where the report goes; left out: RUN/report, or ./report")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="last (default), best, or a step that is kept")] = None,
    settings: Sets = None,
    machine: Json = False,
) -> None:
    """Is it worth anything? Figures with floor, baselines and interval, the copying alarm, and a verdict."""
    from pathlib import Path

    from aurify.evaluate import of_folder, of_run
    from aurify.run import Run
    from aurify.settings import parse

    if (run is None) == (samples is None):
        raise UserError("give a run, or --samples DIR with --reference DIR")
    if run is not None:
        refuse("a run knows its own data", **{"--reference": reference, "--train": train})
        opened, folder, asked = Run.load(run), Path(out) if out else None, parse(settings or [])
        stream = of_run.evaluate(opened, n or of_run.N, seed, asked, checkpoint or "last", folder)
        show_report(stream, folder or opened.path / "report", machine)
        return
    refuse("all samples of a folder are judged as they are", **{"-n": n, "--checkpoint": checkpoint, "--set": settings})
    if reference is None:
        raise UserError("--samples needs --reference: real samples that the model has not seen")
    show_report(of_folder.evaluate(str(samples), reference, train, out or "report", seed), out or "report", machine)


def refuse(why: str, **options: Any) -> None:
    """An option that would change nothing is a mistake, and is said."""
    given = [name for name, value in options.items() if value is not None and value is not False]
    if given:
        raise UserError(f"leave out {' and '.join(given)}: {why}")


def show_report(stream: Any, folder: Any, machine: bool) -> None:
    """Follows an evaluation and tells what it found."""
    from aurify.evaluate.told import sections

    show = screen(machine)
    report = show.until(stream, "evaluating")
    show.json(report.to_json())
    for title, lines in sections(report).items():
        show.lines(title, lines)
    show.lines("report", [f"{folder}/report.html", f"repeat it with: {report.command}"])


@app.command()
def compare(
    paths: Annotated[list[str], typer.Argument(help="runs; or, with --families, the data to train on")],
    families: Annotated[str | None, typer.Option(help="train these, a,b,c, on the same data and budget")] = None,
    minutes: Annotated[float | None, typer.Option(help="of training for each family (default 5)")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="trainings of each family (default 1)")] = None,
    out: Annotated[str, typer.Option(help="where the comparison goes, and the runs it trains")] = "comparison",
    n: Annotated[int, typer.Option("-n", min=1, help="samples of each run")] = 1000,
    seed: Seed = 1,
    checkpoint: Annotated[str, typer.Option(help="last, best (by held-out loss), or a step that is kept")] = "last",
    machine: Json = False,
) -> None:
    """Runs, or families trained for the occasion, under one protocol with paired intervals."""
    from aurify.evaluate import compare_wish

    if not families:
        refuse("they go with --families", **{"--minutes": minutes, "--seeds": seeds})
    terms = (5.0 if minutes is None else minutes, seeds or 1)
    wish = compare_wish.Wish(tuple(paths), families, *terms, out, n, seed, checkpoint)
    try:
        show_comparison(wish, screen(machine))
    except KeyboardInterrupt:
        print(f"aurify: stopped; what is done is kept. Go on with: {wish.command}", file=sys.stderr)
        raise typer.Exit(130) from None


def show_comparison(wish: Any, show: Any) -> None:
    """Trains what has to be trained, compares, and tells what was found. Stopped, it compares nothing."""
    from pathlib import Path

    from aurify import loop
    from aurify.evaluate import compare_files, compare_told, compare_wish
    from aurify.events import Done

    sides = wish.sides(show.say)
    for run in compare_wish.in_turn(sides) if wish.families else ():
        show.say(f"training {run.path.name}")
        if not isinstance(show.follow(loop.train(run), run.path.name), Done):
            raise KeyboardInterrupt
    found = show.until(wish.compared(sides), "comparing")
    written = compare_files.save(found, Path(wish.out))
    show.json(compare_files.to_json(found))
    show.table(compare_told.rows(found))
    word, why = compare_told.headline(found)
    principal = [d.sentence for d in found.differences if d.figure == found.principal]
    show.lines(word, [why, *principal, *found.notes])
    show.lines("report", [str(written), f"repeat it with: {found.command}"])


@app.command()
def judge(
    run: str,
    against: Annotated[str, typer.Option(help="another run, or real: samples that the run has not seen")] = "real",
    n: Annotated[int | None, typer.Option("-n", min=1, help="pairs; left out: those begun, else 30")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="of the samples; left out: of those begun, else 1")] = None,
    checkpoint: Annotated[str, typer.Option(help="last, best (by held-out loss), or a step that is kept")] = "last",
    terminal: Annotated[bool, typer.Option("--terminal", help="ask here, not only on the page")] = False,
    answers: Annotated[str | None, typer.Option(help="a result file of the page: say who was preferred")] = None,
    machine: Json = False,
) -> None:
    """Blind comparison by people: a page to judge by, or the terminal; then the score with its interval."""
    from aurify.evaluate import human, human_terminal
    from aurify.evaluate.judging import Judging
    from aurify.run import Run

    show, judging = screen(machine), Judging.of(Run.load(run), against, checkpoint)
    if answers is not None:
        refuse("the answers tell it", **{"-n": n, "--seed": seed, "--terminal": terminal})
        show_preference(judging.outcome(human.read_answers(answers)), show)
        return
    if terminal:
        refuse("on the terminal a person is asked", **{"--json": machine})
    blind = show.until(judging.begin(n, seed), "sampling")
    show.json({"page": str(judging.page), "key": str(judging.key), "pairs": len(blind.trials)})
    show.lines("page", [f"{judging.page}: open it, judge, save the result", f"keep {judging.key} apart"])
    show.lines("then", [f"{judging.command} --answers RESULT.json"])
    if terminal:
        given = human_terminal.interview(blind, judging.answers, judging.run.codec, input, print)
        left = len(blind.trials) - len(given.answers)
        show_preference(judging.outcome(given), show)
        if left:
            show.lines(f"{left} of {len(blind.trials)} pairs are left", [f"go on with: {judging.command} --terminal"])


def show_preference(found: Any, show: Any) -> None:
    """Who was preferred, in numbers or in words."""
    show.json(found.to_json())
    show.lines("preference", found.sentences())


@app.command("list")
def list_(
    what: Annotated[
        str, typer.Argument(help="families, codecs, recipes, metrics, embedders, or the name of one for its settings")
    ],
    machine: Json = False,
) -> None:
    """What there is, what goes with what, and every setting of a family or codec."""
    from aurify.listing import listing

    show = screen(machine)
    for title, lines in listing(what):
        show.json({"name": title, "lines": lines})
        show.lines(title, lines)


if __name__ == "__main__":
    main()
