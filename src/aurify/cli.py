"""The command line: thin, each command calls one library function. Only commands that need torch import it."""

import shlex
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
ColumnNames = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="ROLE=NAME", help="column of a table: text, label, file, source, target, split"),
]
STOPPED = 130  # exit code of what was stopped, as shells give it


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


def print_version(asked: bool) -> bool:
    if asked:
        from aurify import __version__

        print(f"aurify {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=print_version, help="print the version and end")
    ] = False,
) -> None:
    """What stands before the commands."""


def screen(machine: bool = False) -> Any:
    from aurify.terminal import Screen

    return Screen(machine)


def examples(*lines: str) -> str:
    """What stands below a command's help, each line as it is."""
    return "\b\nExamples:\n" + "\n".join(f"  aurify {line}" for line in lines)


@app.command()
def demo(
    recipe: Annotated[str, typer.Argument(help="a name of `aurify list recipes`")] = "digits",
    minutes: Annotated[float | None, typer.Option(help="minutes of training instead of the recipe's")] = None,
    out: Annotated[str, typer.Option(help="where everything goes")] = "runs/demo",
    machine: Json = False,
) -> None:
    """The main job end to end on real data: fetch, check, train, sample, measure."""
    from aurify.demo import run_demo

    if run_demo(recipe, minutes, out, screen(machine)) is None:
        raise typer.Exit(STOPPED)


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
def data_get(name: str, folder: str, machine: Json = False) -> None:
    """Fetch a set, check its hash, write it as an ordinary folder."""
    from pathlib import Path

    from aurify import catalog

    show = screen(machine)
    path = catalog.get(name, Path(folder), show.say)
    show.json({"name": name, "folder": str(path)})
    show.lines(name, [f"lies in {path}", f"next: aurify check {path}"])


@app.command(epilog=examples("check my-pictures", "check poems.zip", "check mails.csv --column text=body"))
def check(
    path: str,
    codec: Annotated[str | None, typer.Option(help="read as this, where the kind is in doubt")] = None,
    column: ColumnNames = None,
    machine: Json = False,
) -> None:
    """Data report: what is there, what is bad, what would be dropped and why."""
    from aurify.data.report import check as look
    from aurify.recipes import counted
    from aurify.settings import parse_columns

    show = screen(machine)
    report = look(path, codec, counted("reading", show.say), parse_columns(column or []))
    show.json(report.to_json())
    for title, lines in report.sections().items():
        show.lines(title, lines)
    if report.lacking:
        raise UserError(f"{path}: {report.lacking}")
    asked = ["--codec", codec] if codec else []
    asked += [word for pair in column or [] for word in ("--column", pair)]
    show.lines("next", [shlex.join(["aurify", "train", path, "--minutes", "5", *asked])])


@app.command(
    epilog=examples(
        "train my-pictures --minutes 10 --out runs/first",
        "train my-pictures --family gan --set loss=hinge --minutes 10",
        "train mails.csv --column text=body --column label=folder --steps 2000",
    )
)
def train(
    path: str,
    family: Annotated[str | None, typer.Option(help="a name of `aurify list families`; left out: by the data")] = None,
    codec: Annotated[str | None, typer.Option(help="a name of `aurify list codecs`; left out: by the data")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="calibration and training; reading comes before (default 5)")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="steps instead of minutes")] = None,
    out: Annotated[str | None, typer.Option(metavar="RUN", help="the run folder to make; left out: runs/NAME")] = None,
    seed: Seed = 0,
    column: ColumnNames = None,
    settings: Sets = None,
    device: Device = "auto",
    machine: Json = False,
) -> None:
    """Train a generative model on a folder, an archive or a table of your own data."""
    from aurify import recipes
    from aurify.settings import parse, parse_columns

    show = screen(machine)
    if minutes is not None and steps is not None:
        raise UserError("give --minutes or --steps, not both")
    columns = parse_columns(column or [])
    wish = recipes.Wish(path, family, codec, minutes, steps, out, seed, parse(settings or []), device, columns)
    try:
        run = recipes.start(wish, show.say, lambda plan: show.lines("plan", plan.lines()))
    except KeyboardInterrupt:
        print("aurify: stopped before the training began; there is nothing to go on with", file=sys.stderr)
        raise typer.Exit(STOPPED) from None
    follow(run, device, show)


@app.command()
def resume(run: str, device: Device = "auto", machine: Json = False) -> None:
    """Go on from the last valid checkpoint, exactly."""
    from aurify.run import Run

    follow(Run.load(run), device, screen(machine))


def follow(run: Any, device: str, show: Any) -> None:
    """Trains a run and says what to do with it; one that was stopped ends with exit code 130."""
    from aurify import loop
    from aurify.events import Done, Notice

    last = show.follow(loop.train(run, device))
    if isinstance(last, Done):
        label = f" --label {shlex.quote(run.cond.labels[0])}" if run.cond.labels else ""
        how = '--text "..."' if run.cond.text else f"-n 16{label} --out samples"
        show.lines("done", [f"the run is {run.path}", f"next: aurify sample {shlex.quote(str(run.path))} {how}"])
    elif isinstance(last, Notice) and last.kind == "stopped":
        raise typer.Exit(STOPPED)


@app.command(
    epilog=examples(
        "sample runs/first -n 100 --label cat --out cats",
        "sample runs/first -n 100 --label cat --set guidance=2.5 --out closer-cats",
        'sample runs/plays -n 1 --prefix "ROMEO:" --set temperature=0.8',
        "sample runs/pairs --texts sources.txt --set temperature=0",
        "sample runs/penguins -n 100 --given island=Dream --given sex=female",
    )
)
def sample(
    run: str,
    n: Annotated[
        int | None, typer.Option("-n", min=1, help="how many; left out: 16, or one for each text that is given")
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="folder for the files; left out: text to the screen, others to RUN/samples")
    ] = None,
    seed: Seed = 0,
    first: Annotated[int, typer.Option(min=0, help="index of the first sample of this seed")] = 0,
    label: Annotated[list[str] | None, typer.Option(help="what to make; given again, all in turn")] = None,
    text: Annotated[
        list[str] | None, typer.Option(help="a caption, or the source of a pair; several are gone through in turn")
    ] = None,
    texts: Annotated[
        str | None, typer.Option(metavar="FILE", help="texts from a file: a line each, or a column source or text")
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="what each text begins with")] = None,
    fill: Annotated[
        str | None, typer.Option(help="a text with _ for each symbol to find (maskgit, objective=masked)")
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--given", metavar="COLUMN=VALUE", help="a column of every row that is known")
    ] = None,
    stop: Annotated[str | None, typer.Option(help="words at which each text ends")] = None,
    checkpoint: Annotated[str, typer.Option(help="last, best (by held-out loss), or a step that is kept")] = "last",
    settings: Sets = None,
    machine: Json = False,
) -> None:
    """Make samples: free, by label, by text, or from a prefix. Files carry the record of how they came to be."""
    from pathlib import Path

    from aurify import sample as sampling
    from aurify.data.texts import to_ask_with
    from aurify.run import Run
    from aurify.settings import parse

    show, opened, options = screen(machine), Run.load(run), parse(settings or [])
    asked: dict[str, Any] = {"seed": seed, "label": label[0] if label and len(label) == 1 else label}
    given = to_ask_with(text, texts)
    n = n or len(given) or 16
    words = {"prefix": prefix, "fill": fill, "stop": stop}
    if empty := [name for name, word in words.items() if word == ""]:
        raise UserError(f"--{empty[0]} is empty; leave it out, or say what")
    asked |= {"text": given or None} | {name: word or "" for name, word in words.items()}
    asked |= {"given": parse(columns or [], "--given", "island=Dream")}
    asked |= {"first": first, "checkpoint": checkpoint}
    if both := sorted(asked.keys() & options.keys()):
        raise UserError(f"{both[0]} is an option of its own: say --{both[0]}, not --set {both[0]}=...")
    asked |= options
    if out is None and hasattr(opened.codec, "pieces"):
        return to_screen(opened, n, asked, show)
    folder = Path(out) if out else opened.path / "samples"
    made = sampling.sample(opened, n, **asked)
    paths = list(sampling.write(opened, show.track(made, "sampling", n), folder))
    show.json({"folder": str(folder), "files": [p.name for p in paths]})
    show.lines("samples", [f"{n} in {folder}", *([f"at a glance: {paths[-1]}"] if n > 1 else [])])


def to_screen(run: Any, n: int, asked: dict[str, Any], show: Any) -> None:
    """Texts as they are made, a rule between them; one alone letter by letter; those that texts led line by line."""
    from aurify import sample as sampling

    if n == 1 and not show.machine:
        for piece in sampling.stream(run, **asked):
            print(piece, end="", flush=True)
        print()
        return
    for k, made in enumerate(sampling.sample(run, n, **asked)):
        show.json({"index": made.index, "text": made.native, "record": made.record})
        if not show.machine:
            print(f"\n--------\n\n{made.native}" if k and not asked["text"] else made.native, flush=True)


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

    from aurify.evaluate import of_folder, of_run, on_screen
    from aurify.run import Run
    from aurify.settings import parse

    if (run is None) == (samples is None):
        raise UserError("give a run, or --samples DIR with --reference DIR")
    if run is not None:
        refuse("a run knows its own data", **{"--reference": reference, "--train": train})
        opened, folder, asked = Run.load(run), Path(out) if out else None, parse(settings or [])
        stream = of_run.evaluate(opened, n or of_run.N, seed, asked, checkpoint or "last", folder)
        on_screen.report(stream, folder or opened.path / "report", screen(machine))
        return
    refuse("all samples of a folder are judged as they are", **{"-n": n, "--checkpoint": checkpoint, "--set": settings})
    if reference is None:
        raise UserError("--samples needs --reference: real samples that the model has not seen")
    stream = of_folder.evaluate(str(samples), reference, train, out or "report", seed)
    on_screen.report(stream, out or "report", screen(machine))


def refuse(why: str, **options: Any) -> None:
    """An option that would change nothing is a mistake, and is said."""
    given = [name for name, value in options.items() if value is not None and value is not False]
    if given:
        raise UserError(f"leave out {' and '.join(given)}: {why}")


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
    from aurify.evaluate import compare_wish, on_screen

    if not families:
        refuse("they go with --families", **{"--minutes": minutes, "--seeds": seeds})
    terms = (5.0 if minutes is None else minutes, seeds or 1)
    wish = compare_wish.Wish(tuple(paths), families, *terms, out, n, seed, checkpoint)
    try:
        on_screen.comparison(wish, screen(machine))
    except KeyboardInterrupt:
        print(f"aurify: stopped; what is done is kept. Go on with: {wish.command}", file=sys.stderr)
        raise typer.Exit(STOPPED) from None


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
    from aurify.evaluate import human, on_screen
    from aurify.evaluate.judging import Judging
    from aurify.run import Run

    show, judging = screen(machine), Judging.of(Run.load(run), against, checkpoint)
    if answers is not None:
        refuse("the answers tell it", **{"-n": n, "--seed": seed, "--terminal": terminal})
        on_screen.preference(judging.outcome(human.read_answers(answers)), show)
        return
    if terminal:
        refuse("on the terminal a person is asked", **{"--json": machine})
    on_screen.pairs(judging, (n, seed), terminal, show)


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
