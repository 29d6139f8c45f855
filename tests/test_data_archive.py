"""Archives are read like the folder they hold; those that could do harm are refused."""

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aurify import codec as codecs
from aurify.codec import Unreadable
from aurify.data.source import open_source
from aurify.errors import UserError
from sources import png, read_all


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, bytes], mode: str) -> Path:
    with tarfile.open(path, mode) as archive:  # pyright: ignore[reportCallIssue, reportArgumentType]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


FILES = {"set/3/a.png": png(1), "set/7/b.png": png(2), "set/7/b.txt": b"seven", "__MACOSX/set/._a.png": b"x"}


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tgz", "x.tar.bz2", "x.tar.xz"])
def test_archives_are_read_like_the_folder_they_hold(tmp_path, name):
    path = tmp_path / name
    modes = {".tar": "w", ".bz2": "w:bz2", ".xz": "w:xz"}
    made = zipped(path, FILES) if name.endswith("zip") else tarred(path, FILES, modes.get(path.suffix, "w:gz"))
    before = sorted(tmp_path.iterdir())
    read = read_all(made)
    assert [(i.label, i.text) for i, _ in read] == [("3", None), ("7", "seven")]
    for (_, picture), data in zip(read, (png(1), png(2)), strict=True):
        assert (picture[..., 0] == np.asarray(Image.open(io.BytesIO(data)))).all()
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "x/../../a.png", "C:\\a.png", "x\\a.png"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_with_names_that_lead_outside_are_refused(tmp_path, name, kind):
    files = {"good.png": png(1), name: png(2)}
    path = tmp_path / f"x.{kind}"
    made = zipped(path, files) if kind == "zip" else tarred(path, files, "w")
    with pytest.raises(UserError, match="unsafe") as error:
        open_source(made)
    assert repr(name) in str(error.value)


def test_a_zip_name_with_a_nul_is_refused(tmp_path):
    path = zipped(tmp_path / "x.zip", {"goodXpng": png(1)})
    path.write_bytes(path.read_bytes().replace(b"goodXpng", b"good\0png"))
    with pytest.raises(UserError, match="unsafe"):
        open_source(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_tars_with_links_or_devices_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo("a.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(UserError, match=r"unsafe.*'a\.png'"):
        open_source(tmp_path / "x.tar")


def test_zips_with_links_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("a.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UserError, match="link"):
        open_source(tmp_path / "x.zip")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_archive_bombs_are_refused(tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.png", "w") as member:
            for _ in range(300):
                member.write(bytes(2**20))
    else:
        path.write_bytes(gzip.compress(bytes(300 * 2**20)))
    with pytest.raises(UserError, match="bomb"):
        open_source(path)


def test_overlapping_members_are_refused(tmp_path):
    path = zipped(tmp_path / "x.zip", {"a.txt": bytes(range(32, 127)) * 40})
    data = path.read_bytes()
    end = data.rindex(b"PK\5\6")
    start = struct.unpack("<I", data[end + 16 : end + 20])[0]
    entry = data[start:end]
    tail = bytearray(data[end:])
    tail[8:12], tail[12:16] = struct.pack("<HH", 3, 3), struct.pack("<I", 3 * len(entry))
    path.write_bytes(data[:start] + 3 * entry + tail)
    with pytest.raises(UserError):
        open_source(path)


def test_equal_names_in_an_archive_lose_nothing(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for value in (1, 2):
            archive.writestr("a.png", png(value))
    read = read_all(tmp_path / "x.zip")
    assert [i.name for i, _ in read] == ["a.png", "a.png (2)"]
    assert (read[0][1] != read[1][1]).any()


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_damaged_archives_are_the_users_to_mend(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x1f\x8b\x08 this is no archive" * 50)
    with pytest.raises(UserError, match="archive"):
        open_source(tmp_path / name)


def test_a_damaged_member_is_unreadable_and_the_others_are_read(tmp_path):
    path = zipped(tmp_path / "x.zip", {"a.png": png(1), "b.png": png(2)})
    path.write_bytes(path.read_bytes().replace(png(1)[30:60], bytes(30), 1))
    first, second = open_source(path).items
    reader = codecs.load("image")()
    with pytest.raises(Unreadable, match="archive"):
        first.read(reader)
    assert second.read(reader)[0].shape == (8, 8, 1)
