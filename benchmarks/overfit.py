"""Does the alarm ring for a model that learned its samples by heart, and only then?

    python benchmarks/overfit.py WORK [--minutes 3]

Pictures: 50 digits against 5,000. Text: a few pages of Shakespeare against a large part. Each is trained by the same
command for the same minutes, with real samples that it never sees kept in test/, and judged by `aurify evaluate`.
"""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

from aurify import catalog
from aurify.home import home

UNSEEN = {"digits": 1000, "shakespeare": 40_000}  # pictures; characters
KNOWN = {"digits": (50, 5000), "shakespeare": (12_000, 600_000)}
STOP = ("overfitting", "copying")  # kinds of notice that say "stop now"
FAMILY = {"digits": "flow", "shakespeare": "transformer"}


def digits(folder: Path, source: Path, n: int) -> None:
    """n training pictures and the unseen ones, labels in turn."""
    for side, many in (("train", n), ("test", UNSEEN["digits"])):
        for label in sorted(path for path in (source / side).iterdir() if path.is_dir()):
            for picture in sorted(label.iterdir())[: many // 10]:
                there = folder / side / label.name / picture.name
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(picture, there)


def shakespeare(folder: Path, source: Path, n: int) -> None:
    """n characters of the text's beginning, and unseen ones of its end."""
    text = "\n".join(path.read_text() for path in sorted(source.rglob("*.txt")) if path.name != "ABOUT.md")
    for side, part in (("train", text[:n]), ("test", text[-UNSEEN["shakespeare"] :])):
        (folder / side).mkdir(parents=True, exist_ok=True)
        (folder / side / "text.txt").write_text(part)


def measured(name: str, n: int, work: Path, minutes: float) -> str:
    data, run = work / f"{name}-{n}", work / f"run-{name}-{n}"
    if not data.exists():
        source = catalog.get(name, home() / "data" / name)
        (digits if name == "digits" else shakespeare)(data, source, n)
    if not run.exists():
        train = ["aurify", "train", data, "--family", FAMILY[name], "--minutes", minutes, "--out", run]
        subprocess.run(list(map(str, train)), check=True)
    if not (run / "report/report.json").exists():
        subprocess.run(["aurify", "evaluate", str(run)], check=True)
    report = json.loads((run / "report/report.json").read_text())
    copying = report["copying"]["numbers"]
    notices = [e for e in map(json.loads, (run / "events.jsonl").open()) if e.get("kind") in STOP]
    said = f"{notices[0]['step']} of {report['subject']['steps']} ({notices[0]['kind']})" if notices else "never"
    return (
        f"| {name}, {n:,} | {report['verdict']} | {copying['flagged']} of {copying['m']} | "
        f"{copying['rate']:.1%} | {said} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=3)
    asked = parser.parse_args()
    rows = [measured(name, n, asked.work, asked.minutes) for name, sizes in KNOWN.items() for n in sizes]
    print("| trained on | verdict | samples like a training sample | of fresh ones | told to stop, at step |")
    print("|---|---|---|---|---|", *rows, sep="\n")


if __name__ == "__main__":
    main()
