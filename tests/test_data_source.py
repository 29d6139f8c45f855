"""Every form of input gives the samples that lie in it; what is bad is refused or listed, with a reason."""

import gzip
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from aurify.data.source import fingerprint, open_source
from aurify.errors import UserError
from sources import idx, png, read_all, tree


def test_subfolders_are_labels_and_hidden_files_are_counted(tmp_path):
    tree(tmp_path, {"3/a.png": png(1), "7/b.png": png(2), "7/deep/c.png": png(3), ".x/d.png": png(4), "3/.y": b""})
    source = open_source(tmp_path)
    assert source.codec == "image"
    assert {i.name: i.label for i in source.items} == {"3/a.png": "3", "7/b.png": "7", "7/deep/c.png": "7/deep"}
    assert sorted(source.ignored["hidden"]) == [".x", "3/.y"]


def test_a_run_that_lies_among_the_data_is_no_data(tmp_path):
    inside = {f"runs/first/{name}": b"{}" for name in ("run.json", "data.json", "codec.json")}
    mine = {"a.png": png(1), "b.png": png(2), "notes/run.json": b"{}", "runs/first/previews/1.png": png(3)}
    source = open_source(tree(tmp_path, inside | mine))
    assert {i.name for i in source.items} == {"a.png", "b.png"}
    assert list(source.ignored["a run of aurify"]) == ["runs/first/"]
    before = fingerprint(tmp_path)
    tree(tmp_path, {"runs/first/samples/1.png": png(4)})
    assert fingerprint(tmp_path) == before


def test_split_folders_are_recognised_only_beside_a_training_folder(tmp_path):
    files = {"training/3/x.png": png(1), "val/3/y.png": png(2), "test/4/z.png": png(3)}
    source = open_source(tree(tmp_path / "a", files))
    assert {i.name[-5:]: (i.split, i.label) for i in source.items} == {
        "x.png": ("train", "3"),
        "y.png": ("valid", "3"),
        "z.png": ("test", "4"),
    }
    source = open_source(tree(tmp_path / "b", {"test/x.png": png(1), "exam/y.png": png(2)}))
    assert sorted((i.split, i.label) for i in source.items) == [(None, "exam"), (None, "test")]


def test_a_folder_shared_by_all_samples_is_no_label(tmp_path):
    source = open_source(tree(tmp_path, {"data/imgs/a.png": png(1), "data/imgs/b.png": png(2)}))
    assert [i.label for i in source.items] == [None, None]
    assert any("data/imgs/" in note for note in source.notes)


def test_captions_come_from_the_text_beside_or_from_metadata(tmp_path):
    rows = [{"file_name": "c.png", "text": "sea", "label": 2}, {"file_name": "gone.png", "text": "?"}]
    files = {"a.png": png(1), "a.txt": "a hill\n", "b.png": png(2), "c.png": png(3), "c.txt": "overruled"}
    tree(
        tmp_path, {**files, "metadata.jsonl": "\n".join(map(json.dumps, rows)), "README.md": "about", "LICENSE": "MIT"}
    )
    source = open_source(tmp_path)
    assert {i.name: i.text for i in source.items} == {"a.png": "a hill", "b.png": None, "c.png": "sea"}
    assert {i.name: i.label for i in source.items}["c.png"] == "2"
    assert source.bad == (("gone.png", "named in metadata, but there is no such sample"),)
    assert source.licences == ("LICENSE",)
    assert sorted(source.ignored["about the data"]) == ["LICENSE", "README.md"]


def test_mixed_kinds_ask_for_a_choice_and_obey_it(tmp_path):
    files = {f"p{i}.png": png(i) for i in range(4)} | {f"t{i}.txt": f"text {i}" for i in range(6)}
    tree(tmp_path, files)
    with pytest.raises(UserError, match=r"6 text files and 4 image files.*--codec text or --codec image"):
        open_source(tmp_path)
    assert len(open_source(tmp_path, "image").items) == 4
    source = open_source(tmp_path, "text")
    assert len(source.items) == 6
    assert len(source.ignored["image file among text files"]) == 4


def test_a_few_strays_of_another_kind_are_dropped_and_listed(tmp_path):
    tree(tmp_path, {f"p{i}.png": png(i % 3) for i in range(40)} | {"notes.txt": "stray"})
    source = open_source(tmp_path)
    assert source.codec == "image"
    assert source.ignored["text file among image files"] == ["notes.txt"]


def test_first_bytes_tell_the_kind_where_the_ending_lacks_or_lies(tmp_path):
    bare = open_source(tree(tmp_path / "a", {"one": png(1), "two.dat": png(2)}))
    assert (bare.codec, len(bare.items)) == ("image", 2)
    lies = open_source(tree(tmp_path / "b", {f"{i}.txt": png(i) for i in range(5)}))
    assert (lies.codec, len(lies.items)) == ("image", 5)
    words = open_source(tree(tmp_path / "c", {"one.poem": "a line", "two.poem": "müßig\n"}))
    assert (words.codec, len(words.items)) == ("text", 2)
    beside = open_source(tree(tmp_path / "d", {"a.png": png(1), "a.xml": "<box/>", "b.xml": "<box/>"}))
    assert (beside.codec, len(beside.items)) == ("image", 1)
    assert beside.ignored["no codec reads it"] == ["a.xml", "b.xml"]


def test_names_that_differ_only_by_case_are_all_kept_and_said(tmp_path):
    source = open_source(tree(tmp_path, {"Cat/a.png": png(1), "cat/a.png": png(2)}))
    assert {i.label for i in source.items} == {"Cat", "cat"}
    assert any("labels Cat and cat differ only by case" in note for note in source.notes)


def test_links_are_followed_once_and_broken_ones_listed(tmp_path):
    tree(tmp_path / "data", {"x/a.png": png(1), "y/b.png": png(2)})
    os.symlink(tmp_path / "data", tmp_path / "data" / "round")
    os.symlink(tmp_path / "nowhere.png", tmp_path / "data" / "c.png")
    source = open_source(tmp_path / "data")
    assert len(source.items) == 2
    assert source.ignored["folder met before through a link"] == ["round"]
    assert source.ignored["broken link or no permission"] == ["c.png"]


@pytest.mark.parametrize("name", ["missing", "empty", "hidden", "nothing", "half"])
def test_what_holds_no_sample_is_the_users_to_mend(tmp_path, name):
    path = tmp_path / name
    if name != "missing":
        path.mkdir()
    tree(tmp_path, {"hidden/.a.png": png(1), "nothing/a.bin": b"\1\2\3", "half/README.md": "only words about it"})
    with pytest.raises(UserError):
        open_source(path)


@contextmanager
def nobody() -> Iterator[None]:
    """Root may read anything, so what is forbidden is tried as another user."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_what_may_not_be_read_is_the_users_to_mend():
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        tree(root, {"data/a.png": png(1), "b.zip": b"", "c.csv": "text\n", "d.txt": "x"})
        for path in (root / "data", root / "b.zip", root / "c.csv", root / "d.txt"):
            path.chmod(0)
            with nobody(), pytest.raises(UserError, match=r"(?i)permission"):
                open_source(path)
        with nobody(), pytest.raises(UserError, match=r"(?i)permission"):
            open_source(root / "data" / "a.png")
        (root / "data").chmod(0o755)


# Arrays and single files


@pytest.mark.parametrize("shape", [(5, 6, 7), (5, 6, 7, 3), (5, 3, 6, 7)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_npz_pictures_in_any_usual_layout(tmp_path, shape, dtype):
    values = np.random.default_rng(0).integers(0, 256, shape)
    stored = (values / 255).astype(dtype) if dtype == np.float32 else values.astype(dtype)
    np.savez(tmp_path / "x.npz", images=stored, labels=np.arange(5) % 2)
    read = read_all(tmp_path / "x.npz")
    expected = values[..., None] if len(shape) == 3 else values.transpose(0, 2, 3, 1) if shape[1] == 3 else values
    assert (np.stack([p for _, p in read]) == expected).all()
    assert [i.label for i, _ in read] == ["0", "1", "0", "1", "0"]


def test_npz_keys_may_name_splits(tmp_path):
    x = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    np.savez(tmp_path / "x.npz", x_train=x[:2], y_train=[1, 2], x_test=x[2:], y_test=[1])
    source = open_source(tmp_path / "x.npz")
    assert [(i.split, i.label) for i in source.items] == [("train", "1"), ("train", "2"), ("test", "1")]


def test_npz_never_unpickles(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="never loaded"):
        open_source(tmp_path / "x.npz")
    (tmp_path / "y.npz").write_bytes(b"PK\3\4 torn")
    with pytest.raises(UserError, match="damaged"):
        open_source(tmp_path / "y.npz")


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_find_their_labels(tmp_path, ending):
    x = np.random.default_rng(0).integers(0, 256, (4, 5, 6))
    pack = gzip.compress if ending else bytes
    (tmp_path / f"train-images-idx3-ubyte{ending}").write_bytes(pack(idx(x)))
    (tmp_path / f"train-labels-idx1-ubyte{ending}").write_bytes(pack(idx(np.array([3, 1, 4, 1]))))
    read = read_all(tmp_path / f"train-images-idx3-ubyte{ending}")
    assert (np.stack([p[..., 0] for _, p in read]) == x).all()
    assert [i.label for i, _ in read] == ["3", "1", "4", "1"]


def test_a_folder_of_idx_files_has_their_splits(tmp_path):
    rng = np.random.default_rng(0)
    for part, n in (("train", 4), ("t10k", 2)):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(rng.integers(0, 256, (n, 5, 5))))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(n)))
    source = open_source(tmp_path)
    assert [i.split for i in source.items].count("train") == 4
    assert [i.split for i in source.items].count("test") == 2


def test_a_folder_of_tables_has_their_splits(tmp_path):
    tree(tmp_path, {"train.jsonl": '{"text": "a"}\n{"text": "b"}', "test.jsonl": '{"text": "c"}'})
    assert sorted((i.split, i.load()) for i in open_source(tmp_path).items) == [
        ("test", "c"),
        ("train", "a"),
        ("train", "b"),
    ]


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d + b"x", lambda d: b"\1" + d[1:], lambda d: d[:3]])
def test_damaged_idx_files_are_refused(tmp_path, damage):
    (tmp_path / "x.idx").write_bytes(damage(idx(np.zeros((2, 3, 3)))))
    with pytest.raises(UserError, match="idx"):
        open_source(tmp_path / "x.idx")


def test_one_text_file_is_one_text(tmp_path):
    (tmp_path / "book.txt").write_text("It was a dark night.\n")
    ((item, text),) = read_all(tmp_path / "book.txt")
    assert (item.name, text) == ("book.txt", "It was a dark night.\n")


def test_the_fingerprint_of_a_source_changes_with_its_files(tmp_path):
    tree(tmp_path, {"d/a.png": png(1), "d/t.csv": "image\na.png\n"})
    folder, table = fingerprint(tmp_path / "d"), fingerprint(tmp_path / "d" / "t.csv")
    assert (folder, table) == (fingerprint(tmp_path / "d"), fingerprint(tmp_path / "d" / "t.csv"))
    os.utime(tmp_path / "d" / "a.png", ns=(0, 0))
    assert fingerprint(tmp_path / "d") != folder
    assert fingerprint(tmp_path / "d" / "t.csv") != table
    assert fingerprint(tmp_path / "d" / "t.csv", {"file": "image"}) != fingerprint(tmp_path / "d" / "t.csv")
