"""What an evaluation, a comparison and a judging print: JSON for machines, words and tables for people."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aurify import loop
from aurify.evaluate import compare_files, compare_told, human_terminal, told
from aurify.evaluate.compare_wish import Wish, in_turn
from aurify.evaluate.judging import Judging
from aurify.evaluate.of_run import strict_json
from aurify.evaluate.preference import Preference
from aurify.events import Done
from aurify.terminal import Screen


def report(stream: Iterable[Any], folder: Path | str, show: Screen) -> None:
    """Follows an evaluation and tells what it found."""
    found = show.until(stream, "evaluating")
    show.json(json.loads(strict_json(found.to_json())))
    for title, lines in told.sections(found).items():
        show.lines(title, lines)
    show.lines("report", [f"{folder}/report.html", f"repeat it with: {found.command}"])


def comparison(wish: Wish, show: Screen) -> None:
    """Trains what has to be trained, compares, and tells what was found.

    Raises:
        KeyboardInterrupt: it was stopped; then nothing is compared.
    """
    sides = wish.sides(show.say)
    for run in in_turn(sides) if wish.families else ():
        show.say(f"training {run.path.name}")
        if not isinstance(show.follow(loop.train(run), run.path.name), Done):
            raise KeyboardInterrupt
    found = show.until(wish.compared(sides), "comparing")
    written = compare_files.save(found, Path(wish.out))
    show.json(json.loads(strict_json(compare_files.to_json(found))))
    show.table(compare_told.rows(found))
    word, why = compare_told.headline(found)
    principal = [d.sentence for d in found.differences if d.figure == found.principal]
    show.lines(word, [why, *principal, *found.notes])
    show.lines("report", [str(written), f"repeat it with: {found.command}"])


def pairs(judging: Judging, asked: tuple[int | None, int | None], terminal: bool, show: Screen) -> None:
    """Makes the page of n pairs of a seed (`asked`), or goes on with those begun; on the terminal a person is asked."""
    blind = show.until(judging.begin(*asked), "sampling")
    show.json({"page": str(judging.page), "key": str(judging.key), "pairs": len(blind.trials)})
    show.lines("page", [f"{judging.page}: open it, judge, save the result", f"keep {judging.key} apart"])
    show.lines("then", [f"{judging.command} --answers RESULT.json"])
    if not terminal:
        return
    given = human_terminal.interview(blind, judging.answers, judging.run.codec, input, print)
    preference(judging.outcome(given), show)
    left = len(blind.trials) - len(given.answers)
    if left:
        show.lines(f"{left} of {len(blind.trials)} pairs are left", [f"go on with: {judging.command} --terminal"])


def preference(found: Preference, show: Screen) -> None:
    """Who was preferred."""
    show.json(found.to_json())
    show.lines("preference", found.sentences())
