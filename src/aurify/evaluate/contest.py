"""Several families on the same data under the same budget: a fair start for a comparison."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from aurify import family, recipes
from aurify.atomic import explained
from aurify.errors import UserError
from aurify.recipes import Wish
from aurify.run import Run, read_json, write_json

FILE = "contest.json"


@dataclass(frozen=True)
class Terms:
    """What is the same for all: the data, and the minutes of each training."""

    data: str
    minutes: float


def runs(
    names: list[str], terms: Terms, seeds: int, out: Path, say: Callable[[str], None] = lambda _: None
) -> dict[str, list[Run]]:
    """Runs of each family in `out`, one for every seed, planned and not yet trained; those already there are taken as
    they are. A family is planned once: its seeds differ in nothing else.

    Raises:
        UserError: a family that is unknown, named twice or does not fit the data, or `out` holds a contest on other
            terms. Nothing is trained by then.
    """
    if len(set(names)) < len(names):
        raise UserError("a family is named twice; --seeds K trains each of them K times")
    for name in names:
        family.load(name)
    agree(terms, out)
    found: dict[str, list[Run]] = {}
    for name in names:
        folders = [out / f"{name}-seed{seed}" for seed in range(seeds)]
        found[name] = [first := planned(name, terms, folders[0], say)]
        found[name] += [reseeded(first, seed, folder) for seed, folder in enumerate(folders[1:], 1)]
    return found


def agree(terms: Terms, out: Path) -> None:
    """Writes the terms down; where there are runs already, theirs must be the same."""
    path, mine = out / FILE, asdict(terms) | {"data": str(Path(terms.data).resolve())}
    begun = path.is_file() and any(out.glob("*/run.json"))
    if not begun:
        with explained(out):
            out.mkdir(parents=True, exist_ok=True)
            write_json(path, mine)
    elif (kept := read_json(path)) != mine:
        told = "; ".join(f"{k}: {kept.get(k)} there, {mine[k]} asked for" for k in mine if kept.get(k) != mine[k])
        raise UserError(f"{out} holds another contest ({told}); choose another --out")


def planned(name: str, terms: Terms, folder: Path, say: Callable[[str], None]) -> Run:
    if (folder / "run.json").is_file():
        return Run.load(folder)
    say(f"planning {name}")
    return recipes.start(Wish(terms.data, name, minutes=terms.minutes, out=str(folder)), say)


def reseeded(run: Run, seed: int, folder: Path) -> Run:
    """The same training with another seed."""
    if (folder / "run.json").is_file():
        return Run.load(folder)
    card = run.card.model_copy(update={"training": run.card.training | {"seed": seed}})
    return Run.create(folder, card, run.data, run.codec.state, run.text)
