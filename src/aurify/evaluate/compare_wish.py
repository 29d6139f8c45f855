"""What a comparison is asked to be: runs that are there, or families that are trained for it."""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from aurify.errors import UserError
from aurify.evaluate import contest, of_run
from aurify.evaluate.compare import Comparison, compare
from aurify.evaluate.progress import Doing
from aurify.run import Run


@dataclass(frozen=True)
class Wish:
    """All that a comparison is a function of.

    Attributes:
        paths: runs; with `families`, the one data set to train on.
        families: names, between commas; None: the runs are there.
        minutes, seeds: of training for each family, and how many trainings of each.
        out: where the comparison goes, and the runs it trains.
        n, seed, checkpoint: samples of each run, their seed, and which weights make them.
    """

    paths: tuple[str, ...]
    families: str | None = None
    minutes: float = 5.0
    seeds: int = 1
    out: str = "comparison"
    n: int = of_run.N
    seed: int = 1
    checkpoint: str = "last"

    @property
    def command(self) -> str:
        """The one that repeats it, or goes on with it where it was left."""
        told = ["aurify", "compare", *self.paths]
        if self.families:
            told += ["--families", self.families, "--minutes", f"{self.minutes:g}", "--seeds", str(self.seeds)]
        told += ["--out", self.out, "-n", str(self.n), "--seed", str(self.seed)]
        return shlex.join(told + ["--checkpoint", self.checkpoint] * (self.checkpoint != "last"))

    def sides(self, say: Callable[[str], None] = lambda _: None) -> dict[str, list[Run]]:
        """The runs of each side; those of families planned and, where they are new, not yet trained.

        Raises:
            UserError: whatever makes the comparison impossible, before anything is trained.
        """
        if not self.families:
            return {path: [Run.load(path)] for path in self.paths}
        if len(self.paths) != 1:
            raise UserError("with --families give one data set")
        names = [name.strip() for name in self.families.split(",") if name.strip()]
        if len(names) < 2:
            raise UserError("a comparison needs two families or more: --families a,b; for one alone: aurify train")
        return contest.runs(names, contest.Terms(self.paths[0], self.minutes), self.seeds, Path(self.out), say)

    def compared(self, sides: dict[str, list[Run]]) -> Iterator[Doing | Comparison]:
        """`compare` on these terms; at last the comparison with the command that repeats it."""
        for found in compare(sides, self.n, self.seed, self.checkpoint):
            yield replace(found, command=self.command) if isinstance(found, Comparison) else found


def in_turn(sides: dict[str, list[Run]]) -> list[Run]:
    """The runs in the order of their training: one of each family, then the next seed."""
    return [run for trainings in zip(*sides.values(), strict=True) for run in trainings]
