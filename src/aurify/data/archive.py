"""Zip and tar archives read in place: members are never extracted, and an archive with unsafe members is refused whole.

Refused: names that lead outside (absolute, "..", backslash, drive letter, NUL), links and devices, overlapping members
(Fifield 2019, "A better zip bomb"), and more members, bytes or compression than honest data has.
"""

import bz2
import gzip
import lzma
import os
import re
import stat
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from aurify.codec import Unreadable
from aurify.errors import UserError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_MEMBERS = 5_000_000
MAX_BYTES = 2 * 2**40
FREE_BYTES = 256 * 2**20  # below this size no compression is suspicious
MAX_RATIO = 200

Read = Callable[[], bytes]


@dataclass(frozen=True)
class Member:
    """One file of an archive: its name as stored, its unpacked size, and how to get its bytes."""

    name: str
    size: int
    read: Read


def members(path: Path, zipped: bool | None = None) -> list[Member]:
    """The files of an archive, in its order; folders are left out. `zipped`: whether it is a zip, whatever its name.

    Raises:
        UserError: damaged, encrypted, or unsafe; the message names the member.
    """
    try:
        zipped = path.suffix.lower() == ".zip" if zipped is None else zipped
        return _zip_members(path) if zipped else _tar_members(path)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, NotImplementedError) as error:
        raise UserError(f"the archive {path} is damaged or not of the kind its name says: {error}") from None
    except OSError as error:
        raise UserError(f"cannot read the archive {path}: {error.strerror or error}") from None


def _zip_members(path: Path) -> list[Member]:
    archive = zipfile.ZipFile(path)
    found, packed, total = [], 0, 0
    for info in archive.infolist():
        name = info.orig_filename  # before zipfile cuts it at a NUL
        mode = info.external_attr >> 16
        _check_name(path, name)
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _unsafe(path, name, "is a link or a device")
        if info.is_dir():
            continue
        if info.flag_bits & 1:
            raise UserError(f"the archive {path} is encrypted (member {name!r}); unpack it first")
        packed, total = packed + info.compress_size, total + info.file_size
        _check_volume(path, name, len(found), info.file_size, info.compress_size)
        found.append(Member(name, info.file_size, _zip_reader(archive, info)))
    size = path.stat().st_size
    if packed > size:
        raise _unsafe(path, found[-1].name, "overlaps another")
    _check_volume(path, found[-1].name if found else "", len(found), total, size)
    return found


def _zip_reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Read:
    def read() -> bytes:
        try:
            return archive.read(info)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise Unreadable(f"damaged in the archive ({error})") from None

    return read


def _tar_members(path: Path) -> list[Member]:
    """Plain tar files are read where they lie; compressed ones are unpacked once to an unnamed temporary file."""
    with open(path, "rb") as file:
        plain = _unpacked(path, file)
        fd = os.dup(plain.fileno())
        if plain is not file:
            plain.close()
    keeper = _Descriptor(fd)
    found, total = [], 0
    os.lseek(fd, 0, os.SEEK_SET)
    with os.fdopen(os.dup(fd), "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for info in tar:
            _check_name(path, info.name)
            if info.isdir():
                continue
            if not info.isreg() or info.issparse():
                raise _unsafe(path, info.name, "is a link, a device or sparse")
            total += info.size
            _check_volume(path, info.name, len(found), total, total)
            found.append(Member(info.name, info.size, _tar_reader(keeper, info.offset_data, info.size)))
    return found


class _Descriptor:
    """An open file that closes when the last reader is gone."""

    def __init__(self, fd: int):
        self.fd = fd
        weakref.finalize(self, os.close, fd)


def _tar_reader(keeper: _Descriptor, offset: int, size: int) -> Read:
    def read() -> bytes:
        data = os.pread(keeper.fd, size, offset)
        if len(data) < size:
            raise Unreadable("cut off in the archive")
        return data

    return read


def _unpacked(path: Path, file: IO[bytes]) -> IO[bytes]:
    head = file.read(6)
    file.seek(0)
    opener = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}.get(head[:2])
    if opener is None:
        return file
    plain, packed, total = tempfile.TemporaryFile(), path.stat().st_size, 0  # noqa: SIM115
    try:
        with opener(file) as stream:
            while block := stream.read(2**20):
                total += len(block)
                _check_volume(path, "(the whole)", 0, total, packed)
                plain.write(block)
        plain.seek(0)
    except BaseException:
        plain.close()
        raise
    return plain


def _check_name(path: Path, name: str) -> None:
    parts = name.split("/")
    if not name or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or re.match("[A-Za-z]:", name):
        raise _unsafe(path, name, "has a name that leads outside")


def _check_volume(path: Path, name: str, count: int, size: int, packed: int) -> None:
    if count > MAX_MEMBERS or size > MAX_BYTES:
        raise _unsafe(path, name, f"goes beyond {MAX_MEMBERS:,} files or {MAX_BYTES // 2**40} TiB")
    if size > FREE_BYTES and size > MAX_RATIO * packed:
        raise _unsafe(path, name, f"unpacks to more than {MAX_RATIO} times its size, as an archive bomb does")


def _unsafe(path: Path, name: str, why: str) -> UserError:
    return UserError(f"the archive {path} is unsafe: member {name!r} {why}; unpack it with care and give the folder")
