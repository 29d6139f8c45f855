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
    made = sampling.sample(opened, n, seed, asked, prefix, stop, first, **options)
    folder = Path(out) if out else opened.path / "samples"
    paths = list(show.track(sampling.write(opened, made, folder), "sampling", n))
    show.json({"folder": str(folder), "files": [p.name for p in paths]})
    show.lines("samples", [f"{n} in {folder}", *([f"at a glance: {paths[-1]}"] if n > 1 else [])])


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="families, codecs, recipes, or the name of one for its settings")],
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
