"""Blind judging of a run by people: a page or the terminal, and the score. Everything lies in the run's folder."""

import json
from collections.abc import Iterator
from pathlib import Path

from aurify import sample as sampling
from aurify.atomic import explained, write
from aurify.errors import UserError
from aurify.evaluate import human, human_page, sources
from aurify.evaluate.human import Blind
from aurify.evaluate.preference import Preference
from aurify.evaluate.progress import Doing, Steps
from aurify.evaluate.samples import Samples
from aurify.run import Run

REAL = "real"


def begin(run: Run, against: str, n: int, seed: int) -> Iterator[Doing | tuple[Blind, Path]]:
    """Makes n blind pairs of the run's samples and those of another run, or real ones; at last the trials and the
    folder with page.html and key.json. An earlier comparison with the same side is gone on with.

    Raises:
        UserError: runs of two kinds, or too few samples.
    """
    folder = run.path / "human" / Path(against).name
    sets = yield from both(run, against, n, seed)
    key_file = folder / "key.json"
    if key_file.is_file():
        blind = human.again(sets[0], sets[1], human.read_key(key_file))
    else:
        blind, key = human.trials(sets[0], sets[1], n, seed, (run.path.name, Path(against).name))
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write(folder / "page.html", human_page.page(blind, run.codec).encode())
            write(key_file, (json.dumps(key.to_json(), indent=1) + "\n").encode())
    yield blind, folder


def both(run: Run, against: str, n: int, seed: int) -> Steps[list[Samples]]:
    """Samples of either side, more than n."""
    sets: list[Samples] = []
    if against == REAL:
        unseen = sources.of_store(run.store, seed)
        real = sources.joined([unseen.reference, unseen.fresh])
        sets.append(real.take(range(min(len(real), 4 * n))))
    runs = [run] if against == REAL else [run, other_of(run, against)]
    made: list[Samples] = []
    for one in runs:
        model, _ = sampling.load_model(one)
        made.append((yield from sources.of_run(one, model, 2 * n, seed, {})))  # equal labels must meet
    return [*made, *sets]


def other_of(run: Run, against: str) -> Run:
    other = Run.load(against)
    if other.card.codec != run.card.codec:
        raise UserError(
            f"{run.path} makes {run.card.codec}s and {against} {other.card.codec}s; compare runs of one kind"
        )
    return other


def outcome(run: Run, against: str, answers: Path) -> Preference:
    """Who was preferred, by a result file of the page or the terminal's own."""
    key = run.path / "human" / Path(against).name / "key.json"
    if not key.is_file():
        raise UserError(f"{key} is not there: make the page first: aurify judge {run.path} --against {against}")
    return human.score(human.read_answers(answers), human.read_key(key))
