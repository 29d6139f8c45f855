"""The report of a real run and of a real folder: every part is there and documented, and one command repeats it."""

import json
import re
import shlex
from pathlib import Path

import pytest

import toys
from aurify import loop
from aurify.evaluate import of_folder, of_run
from aurify.evaluate.card import escaped
from aurify.evaluate.page import SECTIONS
from aurify.evaluate.page_sections import sentence
from reader import Reader
from test_cli import aurify, refused

SCHEMA = Path(__file__).parent.parent / "docs/evaluation/report.md"
FINDINGS = ("copying", "membership", "usefulness")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A model of babble with its report, in which every section has something to show."""
    top = tmp_path_factory.mktemp("run")
    data = toys.write_babble(top / "data")
    (data / "LICENSE").write_text("CC0 1.0 Universal\n")
    run = toys.make(data, "transformer", top / "babble run", steps=60)
    list(loop.train(run))
    *_, _ = of_run.evaluate(run, n=60)
    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The report of a folder of samples."""
    top = tmp_path_factory.mktemp("folder")
    sides = {name: toys.write_babble(top / name, 200, seed) for seed, name in enumerate(("made", "real", "train"))}
    (sides["real"] / "COPYING").write_text("Mine. Ask me.\n")
    out = top / "my report"
    *_, _ = of_folder.evaluate(str(sides["made"]), str(sides["real"]), str(sides["train"]), str(out))
    return out


def kept(path):
    return json.loads((path / "report.json").read_text())


def fields(report):
    """Every field but those whose names are the data's own: losses, labels, baselines, options."""
    parts = [report, report["subject"], report["subject"].get("asked", {}), report["data"], report["skill"] or {}]
    parts += [*report["figures"], *(f["protocol"] for f in report["figures"]), *report["shown"], *report["pairs"]]
    parts += [f["measured"] for f in report["figures"]] + [report["cost"]]
    parts += [dict.fromkeys(report[name] or {}) for name in FINDINGS]
    return {name for part in parts for name in part}


def test_every_field_of_either_report_stands_in_the_schema(run, folder):
    rows = [line for line in SCHEMA.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    told = {name for line in rows for name in re.findall("`(.+?)`", line)}
    for report in (kept(run.path / "report"), kept(folder)):
        assert fields(report) - told == set()


def test_a_run_s_page_and_card_have_every_part(run):
    report, card = kept(run.path / "report"), (run.path / "MODEL_CARD.md").read_text()
    page = Reader((run.path / "report" / "report.html").read_text())
    assert {s["id"] for s in page.all("section")} == {"verdict", *(name for name, _, _ in SECTIONS)}
    curve = next(iter(report["curves"]))
    for told in (report["command"], curve, "Samples", "Real samples", "The closest pairs", "distinct",
                 "LICENSE: CC0-1.0", "recall"):  # fmt: skip
        assert told.lower() in page.text.lower(), told
    assert report["curves"] and report["pairs"] and report["data"]["licences"] == ["LICENSE: CC0-1.0"]
    assert page.all("svg") and all((run.path / "report" / p["file"]).is_file() for p in report["shown"])
    words = [report["command"], report["verdict"], "CC0-1.0", "samples.txt", "the training sample "]
    words += [f"eld-out {curve} from", *(escaped(sentence(reason)) for reason in report["reasons"])]
    for told in words:
        assert told in card, told


def test_a_folder_s_page_says_what_was_not_measured(folder):
    page = Reader((folder / "report.html").read_text())
    for told in ("There are no losses to show", "It is not known what the training cost", "COPYING: Mine. Ask me.",
                 "The closest pairs", "my report"):  # fmt: skip
        assert told in page.text, told


def test_nothing_on_either_page_comes_from_a_network(run, folder):
    for path in (run.path / "report", folder):
        html = (path / "report.html").read_text()
        assert len(html) < 5_000_000 and not re.findall(r"""(?:src|href)=["']?(?:https?:|//)""", html)


def test_the_command_of_a_report_repeats_it(run, folder, capsys, tmp_path):
    """Of the best weights into another folder: the run's own report stays as it was."""
    before, out = kept(run.path / "report"), tmp_path / "again"
    *_, report = of_run.evaluate(run, n=60, checkpoint="best", out=out)
    assert shlex.split(report.command)[-4:] == ["--checkpoint", "best", "--out", str(out)]
    first = kept(out)
    assert aurify(capsys, *shlex.split(report.command)[1:])[0] == 0
    assert kept(out)["figures"] == first["figures"] and kept(run.path / "report") == before
    assert first["subject"]["asked"]["checkpoint"] == "best" and first["subject"]["checkpoint"] <= 60
    assert (out / "MODEL_CARD.md").is_file()
    words = shlex.split(kept(folder)["command"])
    assert words[words.index("--out") + 1] == str(folder)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (["RUN", "--reference", "r"], "--reference"),
        (["RUN", "--train", "t"], "--train"),
        (["--samples", "s", "--reference", "r", "-n", "9"], "-n"),
        (["--samples", "s", "--reference", "r", "--checkpoint", "best", "--set", "a=1"], "--checkpoint and --set"),
    ],
)
def test_options_that_would_change_nothing_are_refused(asked, named, capsys):
    assert f"leave out {named}" in refused(capsys, "evaluate", *asked)


def test_a_checkpoint_that_is_not_kept_is_refused(run, capsys):
    assert "one of the steps" in refused(capsys, "evaluate", run.path, "--checkpoint", "7")
