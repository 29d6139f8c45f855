"""Blind judging on a text screen. Every answer is on the disk before the next pair is shown."""

import json
import re
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

from aurify.atomic import write
from aurify.codec import Codec
from aurify.errors import UserError
from aurify.evaluate.human import Answer, Answers, Blind, read_answers

KEYS: dict[str, Answer] = {
    **dict.fromkeys(("l", "left", "1"), "left"),
    **dict.fromkeys(("r", "right", "2"), "right"),
    **dict.fromkeys(("c", "cannot tell", "0", "?"), "cannot tell"),
}
QUIT = {"q", "quit"}
PROMPT = "left, right, cannot tell or quit (l, r, c, q)? "
COLUMNS = 160  # two pictures side by side at most
LONGEST = 4_000  # characters of a text


def interview(
    blind: Blind, path: Path, codec: Codec[Any], ask: Callable[[str], str], show: Callable[[str], object]
) -> Answers:
    """Asks for every trial that has no answer in the file at `path` yet, and keeps each answer there at once.

    Args:
        ask: shows a prompt and gives what was typed, as `input` does; the end of input is taken for quit.
        show: prints a text, which may hold ANSI colours.

    Raises:
        UserError: the file is damaged, or belongs to another comparison.
    """
    begun = path.exists() and path.stat().st_size
    answers = read_answers(path) if begun else Answers(key=blind.sealed, answers={})
    if answers.key != blind.sealed:
        raise UserError(f"{path} holds answers of another comparison; name another file.")
    for place, trial in enumerate(blind.trials, 1):
        if trial.id in answers.answers:
            continue
        show(f"{place} of {len(blind.trials)}\n{side_by_side(trial.left, trial.right, codec)}")
        answer = _answer(ask)
        if answer is None:
            break
        answers = Answers(key=blind.sealed, answers={**answers.answers, trial.id: answer})
        write(path, (json.dumps(answers.to_json(), indent=1) + "\n").encode())
    return answers


def _answer(ask: Callable[[str], str]) -> Answer | None:
    """None: quit."""
    while True:
        try:
            typed = ask(PROMPT).strip().lower()
        except (EOFError, KeyboardInterrupt):
            return None
        if typed in QUIT:
            return None
        if typed in KEYS:
            return KEYS[typed]


def side_by_side(left: Any, right: Any, codec: Codec[Any]) -> str:
    """Pictures beside one another, texts below one another."""
    if isinstance(left, str):
        return f"--- left ---\n{harmless(left)}\n--- right ---\n{harmless(right)}\n"
    sides = [codec.preview([sample]).terminal.splitlines() for sample in (left, right)]
    widths = [max((_width(line) for line in side), default=0) for side in sides]
    if sum(widths) + 4 > COLUMNS:
        return "\n".join(["--- left ---", *sides[0], "--- right ---", *sides[1], ""])
    rows = [["left", *sides[0]], ["right", *sides[1]]]
    wide = max(widths[0], len("left"))
    return "\n".join(a + " " * (wide - _width(a) + 4) + b for a, b in zip_longest(*rows, fillvalue="")) + "\n"


def _width(line: str) -> int:
    """Characters that take a place on the screen."""
    return len(re.sub(r"\x1b\[[0-9;]*m", "", line))


def harmless(text: str) -> str:
    """A text without the characters that could steer a terminal."""
    cut = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    return "".join(c if c.isprintable() or c == "\n" else " " for c in cut.expandtabs(4))
