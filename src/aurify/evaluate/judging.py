"""Blind judging of a run by people: a page or the terminal, and the score. Everything lies in the run's folder."""

import hashlib
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aurify import sample as sampling
from aurify.atomic import explained, write
from aurify.errors import UserError
from aurify.evaluate import human, human_page, sources
from aurify.evaluate.human import Answers, Blind, Key
from aurify.evaluate.preference import Preference
from aurify.evaluate.progress import Doing, Steps
from aurify.evaluate.samples import Samples
from aurify.run import Run

REAL = "real"
PAIRS, SEED = 30, 1  # where nothing else is asked for


@dataclass(frozen=True)
class Judging:
    """A run against another one, or against real samples: `other` is None for those."""

    run: Run
    other: Run | None
    checkpoint: str = "last"

    @classmethod
    def of(cls, run: Run, against: str, checkpoint: str = "last") -> "Judging":
        """Raises UserError for runs of two kinds, and for a run against itself."""
        if against == REAL:
            return cls(run, None, checkpoint)
        other = Run.load(against)
        if other.path.resolve() == run.path.resolve():
            raise UserError(f"{against} is the run itself; name another run, or --against {REAL}")
        if other.card.codec != run.card.codec:
            raise UserError(
                f"{run.path} makes {run.card.codec}s and {against} {other.card.codec}s; compare runs of one kind"
            )
        return cls(run, other, checkpoint)

    @property
    def folder(self) -> Path:
        """Holds page.html, key.json and answers.json: one for every other run, whatever their folders are called."""
        name = REAL
        if self.other:
            mark = hashlib.sha256((self.other.path / "run.json").read_bytes()).hexdigest()[:6]
            name = f"{self.other.path.resolve().name}-{mark}"
        return self.run.path / "human" / (name + f"-{self.checkpoint}" * (self.checkpoint != "last"))

    @property
    def page(self) -> Path:
        return self.folder / "page.html"

    @property
    def key(self) -> Path:
        return self.folder / "key.json"

    @property
    def answers(self) -> Path:
        """Those of the terminal."""
        return self.folder / "answers.json"

    @property
    def names(self) -> tuple[str, str]:
        """Of the two sets, as short as tells them apart: with the folders above them where they are called the same."""
        mine = self.run.path.resolve().parts
        other = self.other.path.resolve().parts if self.other else (REAL,)
        depth = next(k for k in range(1, len(mine) + len(other)) if mine[-k:] != other[-k:])
        return "/".join(mine[-depth:]), "/".join(other[-depth:])

    @property
    def command(self) -> str:
        """The one that goes on with it, to which --terminal or --answers FILE is added."""
        told = ["aurify", "judge", str(self.run.path), "--against", str(self.other.path if self.other else REAL)]
        return shlex.join(told + ["--checkpoint", self.checkpoint] * (self.checkpoint != "last"))

    def begin(self, n: int | None = None, seed: int | None = None) -> Iterator[Doing | Blind]:
        """Makes n blind pairs with their page and key, or goes on with those that are there; at last the trials.

        Raises:
            UserError: too few samples, or pairs that are there and are not those asked for.
        """
        key = human.read_key(self.key) if self.key.is_file() else None
        if key is not None:
            self.refuse_other(key, n, seed)
            n, seed = len(key.places), key.seed
        n, seed = n or PAIRS, SEED if seed is None else seed
        sets = yield from self.both(n, seed)
        if key is None:
            blind, key = human.trials(sets[0], sets[1], n, seed, self.names)
        else:
            blind = self.again(sets, key)
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.page.is_file() and self.key.is_file()):
                write(self.page, human_page.page(blind, self.run.codec).encode())
                write(self.key, (json.dumps(key.to_json(), indent=1) + "\n").encode())
        yield blind

    def refuse_other(self, key: Key, n: int | None, seed: int | None) -> None:
        """Other pairs than those that are there would leave what was judged so far without its key."""
        if n in (None, len(key.places)) and seed in (None, key.seed):
            return
        raise UserError(
            f"{self.folder} holds {len(key.places)} pairs already, made with --seed {key.seed}: go on with them "
            f"({self.command}), or move that folder away to begin anew"
        )

    def again(self, sets: list[Samples], key: Key) -> Blind:
        try:
            return human.again(sets[0], sets[1], key)
        except UserError as error:
            raise UserError(
                f"{self.folder} holds {len(key.places)} pairs of samples that are no longer made: a run was trained on "
                "since, or its data changed. Move that folder away to begin anew"
            ) from error

    def both(self, n: int, seed: int) -> Steps[list[Samples]]:
        """Samples of either side, more than n."""
        made: list[Samples] = []
        for run in (self.run, self.other):
            if run is not None:
                model, _ = sampling.load_model(run, self.checkpoint)
                made.append((yield from sources.of_run(run, model, 2 * n, seed, {})))  # equal labels must meet
        if self.other is None:
            unseen = sources.of_store(self.run.store, seed)
            real = sources.joined([unseen.reference, unseen.fresh])
            made.append(real.take(range(min(len(real), 4 * n))))
        return made

    def outcome(self, answers: Answers) -> Preference:
        """Who was preferred."""
        if not self.key.is_file():
            raise UserError(f"{self.key} is not there: make the page first: {self.command}")
        return human.score(answers, human.read_key(self.key))
