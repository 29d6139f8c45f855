"""Kneser-Ney against the interpolated one of nltk: equal probabilities, and seconds for counting and for scoring.

python benchmarks/ngram.py TEXT [--threads 2]

nltk's has one discount for all counts and no floor below single symbols, so ours is given the same; what is compared is
everything else: continuation counts, escapes, the way down. The text is made to end as it begins, because strings with
nothing before them are counted in different ways. nltk is slow: the text is cut to CHARACTERS, and SCORED are scored.
"""

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import torch
from nltk.lm import KneserNeyInterpolated
from nltk.util import everygrams

from aurify.nets import kneser_ney
from aurify.nets.kneser_ney import Level, Roots, Text

ORDER, DISCOUNT = 3, 0.75
CHARACTERS, SCORED = 6_000, 100
ROOT = Roots(torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.bool), torch.zeros(1, dtype=torch.long))


def text_of(symbols: list[int]) -> Text:
    row = torch.tensor(symbols)
    return Text(row, torch.arange(len(row)), torch.zeros_like(row))


def ours(symbols: list[int], width: int) -> tuple[Level, ...]:
    """One discount for all counts, and single symbols as they are: (c - D) / C and D G / C give C and c back."""
    kneser_ney.discounts = lambda c: torch.tensor([0.0, *[DISCOUNT] * 3], dtype=torch.float64)
    first, *rest = kneser_ney.levels(kneser_ney.count(text_of(symbols), ORDER, width), width, ROOT)
    share = first.share + first.escape[0] / len(first.codes)
    return (replace(first, share=share, escape=torch.zeros_like(first.escape)), *rest)


def timed(work):
    began = time.perf_counter()
    found = work()
    return found, time.perf_counter() - began


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("text")
    arguments.add_argument("--threads", type=int, default=2)
    asked = arguments.parse_args()
    torch.set_num_threads(asked.threads)
    whole = Path(asked.text).read_text(encoding="utf-8")
    alphabet = sorted(set(whole[:CHARACTERS]))
    train = [alphabet.index(c) for c in whole[:CHARACTERS]]
    train += train[: ORDER - 1]
    held = [alphabet.index(c) for c in whole[CHARACTERS : CHARACTERS + 4 * SCORED] if c in alphabet][:SCORED]
    model, our_fit = timed(lambda: ours(train, len(alphabet)))
    base = torch.zeros(len(held), dtype=torch.float64)
    p, our_score = timed(lambda: kneser_ney.probabilities(model, text_of(held), len(alphabet), base))
    words = [str(s) for s in train]
    theirs = KneserNeyInterpolated(ORDER, DISCOUNT)
    _, fit = timed(lambda: theirs.fit([list(everygrams(words, max_len=ORDER))], vocabulary_text=words))
    asked_for = [str(s) for s in held]
    place = range(ORDER - 1, len(held))
    expected, score = timed(lambda: [theirs.score(asked_for[i], asked_for[i - ORDER + 1 : i]) for i in place])
    worst = max(abs(a / b - 1) for a, b in zip(p[ORDER - 1 :].tolist(), expected, strict=True))
    assert worst < 1e-9, worst
    bits = -sum(map(math.log2, expected)) / len(expected)
    facts = {"order": ORDER, "worst relative difference": worst, "bits": round(bits, 4)}
    print(json.dumps(facts | {"fit": [our_fit, fit], "score": [our_score, score]}))


if __name__ == "__main__":
    main()
