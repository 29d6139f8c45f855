"""Data from which nothing can be learned is one sentence with the mend, data from which little can is warned of."""

import json

import numpy as np
import pytest
from PIL import Image

import toys
from aurify.data.report import check
from test_cli import TINY, aurify, refused

SENTENCE = "The cat sat on the mat, and the moon came over the hill.\n"


def texts(folder, samples):
    folder.mkdir()
    for i, sample in enumerate(samples):
        (folder / f"{i:02d}.txt").write_text(sample)
    return folder


def pictures(folder, samples):
    folder.mkdir()
    for i, sample in enumerate(samples):
        Image.fromarray(np.uint8(sample)).save(folder / f"{i:02d}.png")
    return folder


def table(path, rows):
    path.write_text("\n".join(["animal,legs", *rows]) + "\n")
    return path


FLAT = np.full((8, 8), 90)
HOPELESS = {
    "one character again and again": (texts, ["a" * 5000], "one character alone"),
    "texts of one character": (texts, ["a" * i for i in range(1, 31)], "one character alone"),
    "white space": (texts, ["\n", " \n \n"], "nothing but white space"),
    "equal texts": (texts, ["aab\n"] * 30, "all 30 samples are equal"),
    "a text of a few characters": (texts, ["abc"], "3 characters is too short"),
    "equal pictures": (pictures, [FLAT] * 30, "all 30 samples are equal"),
    "a single picture": (pictures, [np.arange(64).reshape(8, 8)], "a single sample"),
    "equal rows": (table, ["cat,4"] * 30, "all 30 samples are equal"),
    "a single row": (table, ["cat,4"], "a single sample"),
}


@pytest.mark.parametrize("case", HOPELESS)
def test_what_nothing_can_be_learned_from_is_refused_before_anything_is_written(case, capsys, tmp_path):
    write, samples, why = HOPELESS[case]
    path = write(tmp_path / ("data.csv" if write is table else "data"), samples)
    for command in (("check", path), ("train", path, "--steps", 2, "--out", tmp_path / "run")):
        assert why in refused(capsys, *command)
    assert "aurify train" not in aurify(capsys, "check", path)[1]
    assert "copying" not in " ".join(check(path).warnings)  # one sentence about it is enough
    assert not (tmp_path / "run").exists()


def test_rows_that_differ_in_their_number_alone_are_refused_for_every_family(capsys, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("id,animal\n" + "".join(f"{i},cat\n" for i in range(30)))
    for name in ("transformer", "bayes"):
        asked = ("train", path, "--family", name, "--steps", 2, "--out", tmp_path / "run")
        assert "nothing to learn" in refused(capsys, *asked)


@pytest.mark.parametrize(
    ("write", "samples", "doubt"),
    [
        (texts, [SENTENCE, SENTENCE.replace("cat", "dog")], "characters of text: expect copying"),
        (texts, [SENTENCE * 3] * 30, "more than half of the samples are copies"),
        (pictures, [FLAT, FLAT.T * np.eye(8)], "2 different samples: expect copying"),
    ],
)
def test_what_little_can_be_learned_from_is_warned_of(write, samples, doubt, capsys, tmp_path):
    path = write(tmp_path / "data", samples)
    code, said, _ = aurify(capsys, "check", path)
    assert code == 0 and doubt in said
    family = ["--set", "width=16", "--set", "depth=1", "--set", "heads=2"] if write is texts else TINY[:4]
    code, _, said = aurify(capsys, "train", path, "--steps", 1, "--out", tmp_path / "run", "--set", "batch=4", *family)
    said = " ".join(said.split())
    assert code == 0 and "warning: " in said and doubt in said


def test_enough_is_not_warned_of(tmp_path):
    report = check(toys.write_babble(tmp_path / "data", 300))
    assert not report.lacking and not report.warnings


def test_the_command_to_go_on_with_repeats_what_was_asked(capsys, tmp_path):
    data = toys.write_pictures(tmp_path / "my data")
    said = aurify(capsys, "check", data, "--codec", "pixels")[1]
    assert f"aurify train '{data}' --minutes 5 --codec pixels" in said
    assert json.loads(aurify(capsys, "check", data, "--json")[1])["lacking"] == ""
