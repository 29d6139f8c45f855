"""Folders as people give them: what cannot be judged is one sentence and exit code 2, what is odd is said."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import toys
from aurify.data.store import Store, open_or_build
from aurify.errors import UserError
from aurify.evaluate import metric, of_folder, sources
from aurify.evaluate.embedders.minilm import MiniLM
from aurify.evaluate.folder import Folder
from test_cli import aurify, refused
from test_evaluate import shapes


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    top = tmp_path_factory.mktemp("real")
    return {"train": shapes(top / "train", 120, 1), "reference": shapes(top / "reference", 100, 2)}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(metric, "names", lambda: ("frechet", "kid", "diversity"))
    monkeypatch.setattr(MiniLM, "suits", classmethod(lambda kind, train: 0))
    monkeypatch.setattr("aurify.evaluate.judge.BATCH", 16)
    monkeypatch.setattr("aurify.evaluate.judge.FEWEST", 40)


def report(capsys, tmp_path, **folders):
    asked = [part for name, path in folders.items() for part in (f"--{name}", path)]
    code, said, wrong = aurify(capsys, "evaluate", *asked, "--out", tmp_path / "out", "--json")
    assert code == 0, wrong
    return json.loads(said.splitlines()[-1])


def text(folder, n, seed=0):
    """One long text."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    (folder / "book.txt").write_text(" ".join(rng.choice(toys.WORDS, n)))
    return folder


@pytest.mark.parametrize(("n", "train", "told"), [(1, False, "4 are the least"), (3, False, "4"), (1, True, "2 are")])
def test_too_few_real_samples_for_any_figure_are_refused(capsys, tmp_path, real, n, train, told):
    asked = ["--samples", real["reference"], "--reference", shapes(tmp_path / "few", n, 3)]
    said = refused(capsys, "evaluate", *asked, *(["--train", real["train"]] if train else []))
    assert f"holds only {n} samples" in said and told in said


def test_what_cannot_be_judged_is_refused_in_a_sentence(capsys, tmp_path, real):
    empty, broken, texts = tmp_path / "empty", tmp_path / "broken", toys.write_texts(tmp_path / "texts")
    for folder in (empty, broken):
        folder.mkdir()
    (broken / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    against = ["--reference", real["reference"], "--train", real["train"]]
    assert "empty" in refused(capsys, "evaluate", "--samples", empty, *against)
    assert "two kinds" in refused(capsys, "evaluate", "--samples", texts, *against)
    assert "a.png (" in refused(capsys, "evaluate", "--samples", broken, *against)
    shutil.copy(min(real["train"].iterdir()), shapes(tmp_path / "both", 20, 7) / "seen.png")
    said = refused(capsys, "evaluate", "--samples", real["reference"], "--reference", tmp_path / "both", *against[2:])
    assert "seen.png is 1-0000.png" in said


def test_near_copies_of_the_reference_are_named_and_fresh_samples_are_not(capsys, tmp_path, real):
    copies = tmp_path / "copies"
    copies.mkdir()
    for path in real["reference"].iterdir():
        Image.fromarray(np.asarray(Image.open(path)).clip(0, 250) + np.uint8(3)).save(copies / path.name)
    found = report(capsys, tmp_path, samples=copies, reference=real["reference"], train=real["train"])
    assert found["verdict"] != "gold" and "they seem to be taken from there" in " ".join(found["reasons"])
    shutil.rmtree(tmp_path / "out")
    fresh = shapes(tmp_path / "fresh", 100, 9)
    found = report(capsys, tmp_path, samples=fresh, reference=real["reference"], train=real["train"])
    assert "taken from there" not in " ".join(found["reasons"])


def test_a_copycat_is_not_called_good_where_near_copies_in_the_reference_blind_the_alarm(capsys, tmp_path, real):
    brighter, copies = tmp_path / "brighter", tmp_path / "copies"
    for folder, more in ((brighter, 3), (copies, 5)):
        folder.mkdir()
        for path in sorted(real["train"].iterdir())[:100]:
            Image.fromarray(np.asarray(Image.open(path)).clip(0, 250) + np.uint8(more)).save(folder / path.name)
    found = report(capsys, tmp_path, samples=copies, reference=brighter, train=real["train"])
    assert found["verdict"] not in ("gold", "promising"), found["reasons"]
    told = " ".join(found["reasons"])
    assert "blind on this data" in told and "is much like 1-0" in told


def test_one_long_text_on_each_side_is_judged_in_passages(capsys, tmp_path):
    sides = {
        name: text(tmp_path / name, n, i) for i, (name, n) in enumerate({"samples": 3000, "reference": 6000}.items())
    }
    found = report(capsys, tmp_path, **sides, train=text(tmp_path / "train", 8000, 9))
    protocol = found["figures"][0]["protocol"]
    assert protocol["n"] >= 50 and protocol["preprocessing"].startswith("passages of 256 of ")
    assert any("one stream, learned in windows of 256" in note for note in found["data"]["notes"])
    assert found["copying"]["numbers"]["m"] == found["data"]["counts"]["samples"] > 50
    assert found["membership"]["numbers"]["elsewhere"]
    short = text(tmp_path / "short", 5)
    said = refused(capsys, "evaluate", "--samples", short, "--reference", sides["reference"])
    assert "less than one passage of 256" in said


def test_unreadable_samples_are_counted_and_named(capsys, tmp_path, real):
    folder = shapes(tmp_path / "some", 60, 4)
    for i in range(7):
        (folder / f"broken-{i}.png").write_bytes(b"no picture")
    found = report(capsys, tmp_path, samples=folder, reference=real["reference"])
    (told,) = [n for n in found["notices"] if "could not be read" in n]
    assert told.startswith("7 of 67 samples") and "broken-0.png (not a picture" in told
    assert told in found["reasons"] and found["verdict"] != "gold"
    assert set(found["data"]["unreadable"]["samples"]) == {f"broken-{i}.png" for i in range(7)}


def test_samples_of_another_size_are_resized_and_that_is_said(capsys, tmp_path, real):
    for path in sorted(shapes(tmp_path / "large", 60, 5).iterdir()):
        Image.open(path).resize((12, 12)).save(path)
    found = report(capsys, tmp_path, samples=tmp_path / "large", reference=real["reference"])
    told = "60 of 60 were 12 x 12 grey and became 8 x 8 grey (resized by Lanczos)"
    assert any(told in notice for notice in found["notices"])
    assert all(figure["protocol"]["preprocessing"].endswith(told) for figure in found["figures"])


def test_constant_samples_are_said_and_what_is_defined_is_used(capsys, tmp_path, real):
    folder = shapes(tmp_path / "same", 60, 6)
    for path in folder.iterdir():
        Image.fromarray(np.full((8, 8), 90, np.uint8)).save(path)
    found = report(capsys, tmp_path, samples=folder, reference=real["reference"], train=real["train"])
    assert any("are the same to the" in reason for reason in found["reasons"])
    assert found["verdict"] == "bubble" and {"frechet", "kid"} <= {f["metric"] for f in found["figures"]}


def test_fewer_samples_than_were_given_are_compared_and_that_is_said(capsys, tmp_path, real):
    found = report(capsys, tmp_path, samples=shapes(tmp_path / "many", 90, 8), **real)
    assert any("compare 50 of 90 samples" in notice for notice in found["notices"])


def test_labelled_folders_get_usefulness_and_any_with_a_training_set_membership(capsys, tmp_path):
    sides = {n: toys.write_pictures(tmp_path / n, 120, seed=i) for i, n in enumerate(("samples", "reference", "train"))}
    found = report(capsys, tmp_path, **sides)
    assert found["usefulness"]["numbers"]["accuracy"]["generated"] > 0.9
    assert found["membership"]["numbers"]["others"] == 120 and not found["membership"]["numbers"]["leaks"]


def test_a_run_whose_held_out_samples_were_trained_on_is_refused_by_name(tmp_path, monkeypatch):
    store = open_or_build(toys.write_pictures(tmp_path / "data", 60), "image")
    sources.of_store(store, 0)
    hashes = Store.hashes
    monkeypatch.setattr(Store, "hashes", lambda self, side: hashes(self, "train")[: len(self.split(side))])
    seen, held = (store.split(side).names([0])[0] for side in ("train", "held"))
    with pytest.raises(UserError, match=f"{held} is {seen}"):
        sources.of_store(store, 0)


def test_the_end_of_a_text_is_no_copy_of_its_beginning_but_lies_elsewhere(tmp_path):
    store = open_or_build(text(tmp_path / "book", 4000), "text")
    assert sources.positional(store)
    assert len(sources.of_store(store, 0).reference) > 1
    assert not sources.positional(open_or_build(toys.write_texts(tmp_path / "texts", 60), "text"))


def test_a_reference_that_shares_passages_with_the_training_text_is_refused(capsys, tmp_path):
    words = np.random.default_rng(0).permutation([f"word{i} and {i * 7} more" for i in range(3000)]).tolist()
    sides = {"samples": words[:900], "train": words[900:2000], "reference": words[2000:] + words[950:1100]}
    for name, some in sides.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(" ".join(some))
    paths = [word for name in sides for word in (f"--{name}", tmp_path / name)]
    said = refused(capsys, "evaluate", *paths).replace("\n", " ")
    assert "stand word for word in" in said and "reference.txt is train.txt" in said


def test_a_reference_whose_samples_are_all_the_same_is_refused(capsys, tmp_path, real):
    same = tmp_path / "same"
    same.mkdir()
    picture = sorted(real["reference"].iterdir())[0].read_bytes()
    for i in range(60):
        (same / f"{i}.png").write_bytes(picture)
    said = refused(capsys, "evaluate", "--samples", real["train"], "--reference", same)
    assert "give a reference whose samples differ" in said.replace("\n", " ")


def test_samples_with_labels_of_other_names_are_told_and_never_gold(capsys, tmp_path):
    sides = {}
    for name, seed in (("samples", 1), ("reference", 2)):
        for label, first in (("round", 0), ("square", 1)):
            there = shapes(tmp_path / f"{name}-{label}", 70, 10 * seed + first)
            sides.setdefault(name, tmp_path / name).mkdir(exist_ok=True)
            there.rename(tmp_path / name / (f"class_{label}" if name == "samples" and first else label))
    found = report(capsys, tmp_path, **sides)
    assert any("labels that" in told and "class_square" in told for told in found["notices"])


def test_what_a_folder_is_measured_by_depends_on_labels_and_without_a_training_set_on_the_seed():
    def known(labels):
        return Folder("a", "image", ["a", "b"], labels, ("1", "2"), 2, ())

    one, two = known(["x", "y"]), known(["y", "x"])
    assert of_folder.hashed([one], 1) != of_folder.hashed([two], 1) != of_folder.hashed([two], 2)
    assert of_folder.hashed([one, two], 1) == of_folder.hashed([one, two], 2)
