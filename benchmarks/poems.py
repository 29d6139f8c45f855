"""How often a run of poems has the form right, beside how often real held-out poems have it.

    python benchmarks/poems.py RUN [-n N] [--seed S] [--label tang] [--set temperature=0.8]

A poem has a regulated form where all its lines (between marks of punctuation) have five characters, or all have seven,
and where poems of so many lines of that kind occur in training. The share is told with its 95 % interval, and so is the
share of the six commonest forms; real poems are the held-out ones of the same labels.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable

import numpy as np

from aurify.evaluate import binomial
from aurify.run import Run
from aurify.sample import sample
from aurify.settings import parse

LINE = re.compile(r"[，。？！；、：\n]+")
MOST = 50_000  # training poems that are looked at

Form = tuple[int, int]  # characters a line, lines


def form(text: str) -> Form | None:
    """None where lines differ, or have neither five nor seven characters."""
    sizes = [len(line.strip()) for line in LINE.split(text) if line.strip()]
    return (sizes[0], len(sizes)) if sizes and len(set(sizes)) == 1 and sizes[0] in (5, 7) else None


def told(poems: Iterable[str], known: set[Form]) -> dict[str, object]:
    forms = [form(poem) for poem in poems]
    right = sum(found in known for found in forms)
    even = sum(found is not None and found[1] % 2 == 0 for found in forms)
    low, high = binomial.interval(right, len(forms))
    common = {f"{k[0]} x {k[1]}" if k else "none": n for k, n in Counter(forms).most_common(6)}
    return {"poems": len(forms), "right": round(right / len(forms), 4), "interval": [round(low, 4), round(high, 4)],
            "even": round(even / len(forms), 4), "forms": common}  # fmt: skip


def real(run: Run, side: str, label: str | None, most: int) -> list[str]:
    """Poems of a side of the data with this label, evenly chosen where there are many."""
    split = run.store.split(side)
    wanted = np.arange(len(split))
    if label is not None:
        wanted = wanted[split.labels[split.first + wanted] == run.cond.index(label)]
    wanted = wanted if len(wanted) <= most else wanted[np.linspace(0, len(wanted) - 1, most).astype(int)]
    found = []
    for some in np.array_split(wanted, max(1, len(wanted) // 512)):
        found += [run.codec.decode(x) for x in split.rows(some)[0]]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--label")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    asked = parser.parse_args()
    run = Run.load(asked.run)
    known = {found for poem in real(run, "train", asked.label, MOST) if (found := form(poem))}
    made = [str(s.native) for s in sample(run, asked.n, seed=asked.seed, label=asked.label, **parse(asked.settings))]
    print(json.dumps({"of": "samples", "options": asked.settings, **told(made, known)}, ensure_ascii=False))
    print(json.dumps({"of": "held-out", **told(real(run, "held", asked.label, 5000), known)}, ensure_ascii=False))
    print("\n\n".join(made[:4]))


if __name__ == "__main__":
    main()
