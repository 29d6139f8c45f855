"""The report says what is there, what is bad and what would be dropped; bad files never end it."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aurify.data.report import check, sort_labels
from aurify.errors import UserError


def picture(seed: int, size: tuple[int, int] = (16, 16)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def save(path: Path, image: Image.Image, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


@pytest.fixture
def folder(tmp_path) -> Path:
    """30 pictures in two classes, one of another size, with copies, near copies, a conflict, and rubbish."""
    for i in range(30):
        save(tmp_path / str(i % 2) / f"{i}.png", picture(i, (24, 16) if i == 7 else (16, 16)))
    data = (tmp_path / "0" / "0.png").read_bytes()
    (tmp_path / "0" / "again.png").write_bytes(data)
    (tmp_path / "1" / "wrong.png").write_bytes(data)
    save(tmp_path / "0" / "near.jpg", picture(2), quality=90)
    (tmp_path / "1" / "torn.png").write_bytes((tmp_path / "1" / "1.png").read_bytes()[:70])
    (tmp_path / "1" / "empty.png").write_bytes(b"")
    (tmp_path / "LICENSE.txt").write_text("CC0")
    (tmp_path / ".hidden").write_text("x")
    return tmp_path


def test_the_report_counts_all_there_is(folder):
    calls = []
    report = check(folder, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (35, 35)
    assert (report.codec, report.samples) == ("image", 33)
    assert report.sizes == {"16 x 16 grey": 32, "16 x 24 grey": 1}
    assert (report.smallest, report.largest) == ("16 x 16 grey", "16 x 24 grey")
    assert report.labels == {"0": 17, "1": 16}
    assert {name for name, _ in report.unreadable} == {"1/torn.png", "1/empty.png"}
    assert all(why for _, why in report.unreadable)
    assert report.copies == (("0/0.png", "0/again.png", "1/wrong.png"),)
    assert report.near == (("0/2.png", "0/near.jpg"),)
    assert [set(labels) for _, labels in report.conflicts] == [{"0", "1"}]
    assert report.licences == ("LICENSE.txt",)
    assert report.dropped == {
        "unreadable": 2,
        "exact copy of another with the same label": 1,
        "about the data": 1,
        "hidden": 1,
    }
    assert sum(report.splits.values()) == 32
    assert any("expect copying" in w for w in report.warnings)


def test_the_report_is_json_and_lines_that_name_every_section(folder):
    report = check(folder)
    assert json.loads(json.dumps(report.to_json()))["samples"] == 33
    text = "\n".join(line for lines in report.sections().values() for line in lines)
    for words in ("33 readable", "1/torn.png", "near", "LICENSE.txt", "unlike labels", "hidden: 1", "train "):
        assert words in text, words


def test_check_reads_a_bare_sequence_of_bad_files_without_falling(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(i))
    save(tmp_path / "good.png", picture(1))
    report = check(tmp_path)
    assert (report.samples, len(report.unreadable)) == (1, 5)
    assert any("cannot be read" in w for w in report.warnings)


def test_texts_are_counted_in_characters(tmp_path):
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"text": f"poem number {i}"}) for i in range(12)))
    report = check(tmp_path / "t.jsonl")
    assert report.characters == sum(len(f"poem number {i}") for i in range(12))
    assert any("characters of text: expect copying" in w for w in report.warnings)


def test_a_sole_label_and_missing_labels_are_said(tmp_path):
    for i in range(4):
        save(tmp_path / "one" / "train" / "cat" / f"{i}.png", picture(i))
        save(tmp_path / "some" / ("dog" if i else "") / f"{i}.png", picture(i))
    assert check(tmp_path / "one").labels == {}
    report = check(tmp_path / "some")
    assert (report.labels, report.unlabelled) == ({"dog": 3}, 1)
    assert any("1 samples have no label" in w for w in report.warnings)


def test_labels_are_sorted_as_people_count():
    assert sort_labels(["10", "9", "b2", "b10", "A", "0"]) == ["0", "9", "10", "A", "b2", "b10"]


def test_odd_values_in_a_table_are_unreadable_not_fatal(tmp_path):
    (tmp_path / "t.csv").write_text("text\nhello\n")
    with pytest.raises(UserError, match="nothing at"):
        check(tmp_path / "no.csv")
    report = check(tmp_path / "t.csv", codec="image")  # a text is no picture
    assert (report.samples, len(report.unreadable)) == (0, 1)


@pytest.mark.slow
def test_ten_thousand_pictures_take_less_than_thirty_seconds(tmp_path):
    import time

    for i in range(10_000):
        file = io.BytesIO()
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (28, 28), dtype=np.uint8)).save(file, "png")
        (tmp_path / f"{i}.png").write_bytes(file.getvalue())
    start = time.process_time()
    assert check(tmp_path).samples == 10_000
    assert time.process_time() - start < 30
