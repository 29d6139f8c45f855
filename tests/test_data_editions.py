"""What is held out is learned from no other text or folder: editions, stories in collections, copies across splits."""

import numpy as np
import pytest
import torch

from aurify.data.editions import Sketches, found_elsewhere, shingles
from aurify.data.report import check
from aurify.data.store import open_or_build
from sources import png, tree


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("AURIFY_HOME", str(tmp_path / "home"))


def book(seed: int, words: int = 6000) -> str:
    """Made-up prose of its own vocabulary of 4,000 words."""
    rng = np.random.default_rng(seed)
    letters = rng.integers(ord("a"), ord("z"), 30_000, dtype=np.uint8).tobytes().decode()
    vocabulary = [letters[7 * i : 7 * i + 2 + i % 8] for i in range(4000)]
    return " ".join(vocabulary[i] for i in rng.zipf(1.2, words) % 4000) + "\n"


def revised(text: str, seed: int = 0) -> str:
    """One word in forty is another."""
    rng, words = np.random.default_rng(seed), text.split(" ")
    return " ".join("revised" if rng.random() < 1 / 40 else word for word in words)


def trained_share(made) -> float:
    """The share of held-out spans of 60 characters that also stand in what is trained on."""
    train, held = made.split("train"), made.split("held")
    learned, text = (
        made.codec.decode(torch.from_numpy(side.data[side.offsets[side.first] : side.offsets[side.last]].astype(int)))
        for side in (train, held)
    )
    spans = [text[k : k + 60] for k in range(0, len(text) - 60, 20)]
    assert len(spans) > 20
    return float(np.mean([span in learned for span in spans]))


@pytest.mark.parametrize("preface", [0, 540, 3000])
def test_of_two_editions_of_a_book_only_the_longer_is_trained_on(tmp_path, preface):
    first, second = book(0), book(1, preface) + revised(book(0)) if preface else revised(book(0))
    folder = tree(tmp_path / "data", {"first.txt": first, "second.txt": second, "other.txt": book(2)})
    made = open_or_build(folder)
    assert trained_share(made) == 0
    assert made.report["dropped"]["near copy of a longer text"] == 1
    assert any("only the longer is trained on" in note for note in made.notes)
    (near,) = check(folder).near
    assert near == ("first.txt", "second.txt")


def test_a_text_whose_end_stands_in_another_is_trained_on_whole(tmp_path):
    """The end of a book in a collection is much less than half of either."""
    first = book(0)
    collection = book(1, 3000) + first[-4000:] + book(2, 12_000)
    made = open_or_build(tree(tmp_path / "data", {"first.txt": first, "collection.txt": collection}))
    assert trained_share(made) == 0
    assert made.counts == {"train": 2, "held": 1, "test": 0}
    assert any("trained on whole" in note for note in made.notes)


def test_two_collections_with_a_story_in_common_are_both_trained_on(tmp_path):
    """The story is a near copy of each; they are not of one another."""
    story = book(0, 1000)
    files = {"story.txt": story, "a.txt": book(1) + story + book(2), "b.txt": book(3) + story + book(4)}
    made = open_or_build(tree(tmp_path / "data", files))
    assert made.counts == {"train": 2, "held": 2, "test": 0} and trained_share(made) == 0
    assert any("such as story.txt" in note for note in made.notes)


def test_texts_that_are_all_alike_still_leave_one_to_learn_from(tmp_path):
    files = {f"{i}.txt": revised(book(0), seed=i) for i in range(5)}
    made = open_or_build(tree(tmp_path / "data", files))
    assert made.counts == {"train": 1, "held": 1, "test": 0}


def test_strangers_are_all_trained_on(tmp_path):
    made = open_or_build(tree(tmp_path / "data", {f"{i}.txt": book(i, 1500) for i in range(6)}))
    assert made.counts == {"train": 6, "held": 6, "test": 0}


def test_long_documents_that_hold_one_another_stay_on_one_side(tmp_path):
    """A hundred texts and more are divided whole."""
    files = {f"{i}.txt": book(i, 400) for i in range(100)}
    files |= {f"longer {i}.txt": book(1000 + i, 200) + files[f"{i}.txt"] for i in range(40)}
    made = open_or_build(tree(tmp_path / "data", files))
    sides = {
        name: side
        for side in ("train", "held")
        for name in made.split(side).names(range(made.counts[side]))  # whole texts, not windows
    }
    assert len(sides) == 140 and made.counts["held"] > 0
    assert all(sides[f"{i}.txt"] == sides[f"longer {i}.txt"] for i in range(40))


@pytest.mark.parametrize("most", [2**21, 3000])
def test_fewer_shingles_find_the_same_editions(monkeypatch, most):
    monkeypatch.setattr("aurify.data.editions.MOST", most)
    texts = [book(0), book(1), book(3, 2000) + revised(book(0)), book(2)]
    sketches = Sketches()
    for i, text in enumerate(texts):
        sketches.add(bytes([i]), text)
    assert sketches.kept <= most
    assert sketches.merge([bytes([i]) for i in range(4)], np.arange(4)).tolist() == [0, 1, 0, 3]


def test_shingles_are_those_of_the_text_without_case_and_white_space(monkeypatch):
    assert (shingles("It was a Dark\n\nNight, indeed") == shingles("it was a dark night, indeed ")).all()
    assert len(shingles("it was a dark night")) == len("it was a dark night") - 15
    assert len(shingles("short")) == 0
    text = book(4, 1000)
    whole = shingles(text)
    monkeypatch.setattr("aurify.data.editions.BLOCK", 100)  # bytes hashed at a time
    assert (shingles(text) == whole).all()


def test_a_part_is_looked_for_in_the_other_texts_only():
    same = "the same words again and again, " * 50
    assert found_elsewhere([same[-300:], book(1)[-300:]], [same, book(1)]).tolist() == [False, False]
    assert found_elsewhere([book(1)[-300:], book(2)[-300:]], [book(1), book(2) + book(1)]).tolist() == [True, False]


@pytest.mark.parametrize(("part", "side"), [("test", "test"), ("valid", "held-out")])
def test_training_copies_of_what_figures_are_made_with_are_left_out(tmp_path, part, side):
    files = {f"train/{i}.png": png(i) for i in range(40)} | {f"{part}/{i}.png": png(i) for i in range(30, 50)}
    folder = tree(tmp_path / "data", files)
    made = open_or_build(folder)
    assert made.report["dropped"][f"exact copy of a {side} sample"] == 10
    counted = check(folder)
    assert counted.dropped[f"exact copy of a {side} sample"] == 10 and sum(counted.splits.values()) == 50
    figures = {h.tobytes() for h in made.hashes("test" if part == "test" else "held")}
    assert len(figures) == 20 and not figures & {h.tobytes() for h in made.hashes("train")}
    (note,) = [n for n in made.notes if "exact copies" in n]
    assert note.startswith(f"10 training samples are exact copies of {side} samples (such as train/3")


def test_a_training_text_that_is_also_a_test_text_is_left_out(tmp_path):
    files = {"train/a.txt": book(0), "train/b.txt": book(1), "test/a.txt": book(0)}
    made = open_or_build(tree(tmp_path / "data", files))
    assert made.counts == {"train": 1, "held": 1, "test": 1}
    assert made.report["dropped"]["exact copy of a test sample"] == 1
