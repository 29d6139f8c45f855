"""An encoded store holds every readable sample once, opens without encoding, and notices damage."""

import json
import resource
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aurify import atomic
from aurify.codecs.image import Image as ImageCodec
from aurify.codecs.text import Text
from aurify.data import files, store
from aurify.data.scan import scan
from aurify.data.store import Damaged, open_or_build, open_store
from aurify.errors import UserError
from aurify.spec import Grid, Tokens


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("AURIFY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (6, 8), dtype=np.uint8)


@pytest.fixture
def pictures(tmp_path) -> Path:
    """40 pictures in classes 2 and 10, one copy, one torn file, captions for some."""
    root = tmp_path / "data"
    for i in range(40):
        path = root / ("2" if i % 2 else "10") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(i)).save(path)
        if i < 3:
            path.with_suffix(".txt").write_text(f"number {i}")
    (root / "2" / "copy.png").write_bytes((root / "2" / "5.png").read_bytes())
    (root / "2" / "torn.png").write_bytes((root / "2" / "1.png").read_bytes()[:60])
    return root


def everything(made: store.Store) -> list[tuple[str, bytes, str | None, str | None]]:
    """(name, pixels, label, text) of all samples of all sides."""
    found = []
    for name in ("train", "held", "test"):
        side = made.split(name)
        if len(side):
            indices = np.arange(len(side))
            x, labels = side.rows(indices)
            words = [made.cond.labels[k] if k >= 0 else None for k in labels.tolist()]
            found += zip(side.names(indices), (v.numpy().tobytes() for v in x), words, side.texts(indices), strict=True)
    return sorted(found)


def test_every_readable_sample_is_stored_once(pictures):
    made = open_or_build(pictures)
    assert made.spec == Grid(1, (6, 8))
    assert made.cond.labels == ("2", "10")
    expected = [
        (f"{c}/{i}.png", pixels(i).tobytes(), c, f"number {i}" if i < 3 else None)
        for i in range(40)
        for c in ["2" if i % 2 else "10"]
    ]
    expected[5] = ("2/5.png", *expected[5][1:])
    assert everything(made) == sorted(expected)
    assert made.report["dropped"]["exact copy of another with the same label"] == 1
    assert list(made.report["unreadable"]) == ["2/torn.png"]
    assert made.counts["train"] + made.counts["held"] == 40


def test_the_second_opening_neither_reads_nor_encodes(pictures, monkeypatch):
    calls = []
    for name in ("read", "encode", "fit"):
        original = getattr(ImageCodec, name)
        monkeypatch.setattr(
            ImageCodec, name, lambda self, *a, _f=original, _n=name: (calls.append(_n), _f(self, *a))[1]
        )
    first = open_or_build(pictures)
    assert calls.count("encode") == 41  # each once, and the first to learn its type
    assert calls.count("read") == 42  # small data is read once for all passes
    calls.clear()
    second = open_or_build(pictures)
    assert calls == []
    assert everything(second) == everything(first)
    assert (second.hash, second.notes, second.report) == (first.hash, first.notes, first.report)
    assert open_or_build(pictures, "image").folder == first.folder


def test_what_does_not_fit_into_memory_is_read_again(pictures, monkeypatch):
    first = everything(open_or_build(pictures))
    shutil.rmtree(open_or_build(pictures).folder)
    monkeypatch.setattr(store, "scan", partial(scan, keep=100))
    assert everything(open_or_build(pictures)) == first


def test_equal_data_has_an_equal_hash_and_order_wherever_it_lies(pictures, tmp_path):
    first = open_or_build(pictures)
    other = tmp_path / "other"
    for path in sorted(pictures.rglob("*.*"), reverse=True):
        target = other / path.relative_to(pictures)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    second = open_or_build(other)
    assert second.hash == first.hash
    assert (np.load(second.folder / "data.npy") == np.load(first.folder / "data.npy")).all()
    (other / "10" / "0.png").rename(other / "2" / "0.png")
    assert open_or_build(other).hash != first.hash


def test_arrays_are_plain_npy_files_of_the_compact_type(pictures):
    made = open_or_build(pictures)
    data = np.load(made.folder / "data.npy", mmap_mode="r")
    assert (data.dtype, data.shape) == (np.uint8, (40, 1, 6, 8))
    assert (np.diff(np.load(made.folder / "sides.npy").astype(int)) >= 0).all()
    about = json.loads((made.folder / "store.json").read_text())
    assert set(about["files"]) | {"store.json"} == {p.name for p in made.folder.iterdir()}


def test_the_codec_never_sees_what_is_held_out(pictures, monkeypatch):
    seen = []
    original = ImageCodec.fit

    def fit(self, samples):
        return original(self, (seen.append(s.tobytes()) or s for s in samples))

    monkeypatch.setattr(ImageCodec, "fit", fit)
    made = open_or_build(pictures)
    held, _ = made.split("held").rows(np.arange(len(made.split("held"))))
    assert len(seen) == made.counts["train"]
    assert not {x.numpy().tobytes() for x in held} & set(seen)


@pytest.mark.parametrize("file", ["data.npy", "labels.npy", "names.jsonl", "store.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_store_is_noticed_and_made_again(pictures, file, damage):
    first = open_or_build(pictures)
    path = first.folder / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flip" else data[:-3])
    with pytest.raises(Damaged):
        open_store(first.folder, verify=True)
    again = open_or_build(pictures)
    assert "made again" in again.notes[0]
    assert again.hash == first.hash
    assert len(everything(again)) == 40
    assert list((first.folder.parent).glob("*.tmp-*")) == []


@pytest.mark.parametrize("damage", ["first", "last", "zeros"])
def test_a_large_store_is_looked_at_in_places(pictures, monkeypatch, damage):
    """Here: a store that counts as large, whose blocks are small."""
    monkeypatch.setattr("aurify.data.store.QUICK", 0)
    monkeypatch.setattr(files, "BLOCK", 4)
    path = open_or_build(pictures).folder / "data.npy"
    data = bytearray(path.read_bytes())
    match damage:
        case "first":
            data[0] ^= 1
        case "last":
            data[-1] ^= 1
        case "zeros":  # as long as the distance of two places
            data[len(data) // 2 : len(data) // 2 + len(data) // 63 + 4] = bytes(len(data) // 63 + 4)
    path.write_bytes(data)
    assert "made again" in open_or_build(pictures).notes[0]
    assert not any("made again" in note for note in open_or_build(pictures).notes)


def test_other_settings_make_another_store(pictures):
    folders = {
        open_or_build(pictures).folder,
        open_or_build(pictures, fraction=0.3).folder,
        open_or_build(pictures, config={"mode": "rgb"}).folder,
        open_or_build(pictures, keep_copies=True).folder,
    }
    assert len(folders) == 4
    assert len(everything(open_or_build(pictures, keep_copies=True))) == 41


def test_changed_data_are_encoded_anew(pictures):
    first = open_or_build(pictures)
    Image.fromarray(pixels(99)).save(pictures / "2" / "99.png")
    assert len(everything(open_or_build(pictures))) == len(everything(first)) + 1


def test_a_disk_without_room_is_said_before_writing(pictures, own_home, monkeypatch):
    monkeypatch.setattr(atomic, "free", lambda _: 1000)
    with pytest.raises(UserError, match=r"MB.*is free"):
        open_or_build(pictures)
    assert not list((own_home / "store").iterdir())


def test_a_failing_write_leaves_nothing_behind(tmp_path, own_home):
    (tmp_path / "long.txt").write_text("abcd" * 20_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(UserError, match="cannot write the encoded data"):
            open_or_build(tmp_path / "long.txt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((own_home / "store").iterdir())
    assert len(open_or_build(tmp_path / "long.txt").split("train")) > 1


def test_two_builders_at_once_end_with_one_store(pictures):
    made = open_or_build(pictures)
    with files.appearing(made.folder) as work:
        (work / "late").write_text("the other was first")
    assert not (made.folder / "late").exists()
    assert len(everything(open_store(made.folder))) == 40


def test_nothing_readable_is_the_users_to_mend(tmp_path):
    (tmp_path / "a").mkdir()
    for i in range(3):
        (tmp_path / "a" / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UserError, match="none of the 3"):
        open_or_build(tmp_path / "a")


def test_progress_ends_with_all(pictures):
    calls = []
    open_or_build(pictures, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1][0] == calls[-1][1]


# Text


def test_a_single_text_is_divided_by_position(tmp_path):
    text = "".join(f"line {i} of a long text\n" for i in range(500))
    (tmp_path / "book.txt").write_text(text)
    made = open_or_build(tmp_path / "book.txt")
    assert isinstance(made.spec, Tokens) and made.spec.stream
    cut = len(text) - round(len(text) * 0.1)
    for name, part in (("train", text[:cut]), ("held", text[cut:])):
        side = made.split(name)
        assert side.tokens == len(part) + 1
        assert len(side) == max(1, side.tokens // made.spec.length)
        x, labels = side.rows(np.arange(len(side)))
        whole = made.codec.encode(part).long()
        assert torch.equal(x.flatten(), whole[: x.numel()])
        assert (labels == -1).all()
    assert len(made.split("test")) == 0


def test_the_alphabet_is_that_of_the_training_part(tmp_path):
    (tmp_path / "book.txt").write_text("abc " * 500 + "xyz" * 10)
    made = open_or_build(tmp_path / "book.txt")
    assert "x" not in made.codec.state["alphabet"]


def test_documents_are_padded_to_what_a_batch_needs(tmp_path):
    rows = [{"text": "word " * (1 + i % 40), "label": str(i)} for i in range(200)]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    made = open_or_build(tmp_path / "t.jsonl", keep_copies=True)
    assert isinstance(made.spec, Tokens) and made.spec.variable
    side = made.split("train")
    indices = np.random.default_rng(0).permutation(len(side))[:16]
    x, labels = side.rows(indices)
    assert x.dtype == torch.int64
    assert x.shape[1] % 16 == 0 and x.shape[1] <= made.spec.length
    assert x.shape[1] - 16 < side.lengths[indices].max() <= x.shape[1]
    assert made.spec.contains(x)
    number = {r["label"]: r["text"] for r in rows}
    for row, label in zip(x, labels.tolist(), strict=True):
        assert made.codec.decode(row) == number[made.cond.labels[label]]


def test_pairs_keep_their_source(tmp_path):
    lines = "".join(f"source {i},target {i}\n" for i in range(30))
    (tmp_path / "t.csv").write_text("source,target\n" + lines)
    made = open_or_build(tmp_path / "t.csv")
    side = made.split("train")
    x, _ = side.rows(np.arange(len(side)))
    for row, source in zip(x, side.texts(np.arange(len(side))), strict=True):
        assert source is not None and made.codec.decode(row) == source.replace("source", "target")


def test_explicit_folders_are_kept(tmp_path):
    for part, n in (("train", 12), ("valid", 3), ("test", 2)):
        for i in range(n):
            path = tmp_path / "d" / part / f"{i}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{part} text number {i * 7919}")
    made = open_or_build(tmp_path / "d")
    assert made.counts == {"train": 12, "held": 3, "test": 2}
    assert all(name.startswith("valid/") for name in made.split("held").names(range(3)))
    with pytest.raises(UserError, match="train, held, test"):
        made.split("valid")


def test_a_codec_of_many_characters_is_restored_as_it_was(tmp_path):
    (tmp_path / "t.txt").write_text("".join(chr(0x4E00 + i % 900) for i in range(5000)))
    first, second = open_or_build(tmp_path / "t.txt"), open_or_build(tmp_path / "t.txt")
    assert isinstance(second.codec, Text)
    assert (second.codec.state, second.spec) == (first.codec.state, first.spec)
    assert first.split("train").data.dtype == np.uint16
