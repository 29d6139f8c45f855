"""What the data's own files say about its licence: the short name of a known text (SPDX), else its first line."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from aurify.catalog import ABOUT
from aurify.codec import Unreadable
from aurify.data import archive, kinds, listing, tree
from aurify.data.source import form
from aurify.errors import UserError

MOST, LONGEST = 20, 120  # files; characters of a first line

KNOWN = (  # what a text must hold, and its name in the SPDX list; the first that fits is taken
    (r"GNU AFFERO GENERAL PUBLIC LICENSE\s+Version 3", "AGPL-3.0"),
    (r"GNU LESSER GENERAL PUBLIC LICENSE\s+Version (3|2\.1)", "LGPL-{}"),
    (r"GNU GENERAL PUBLIC LICENSE\s+Version ([23])", "GPL-{}.0"),
    (r"GNU Free Documentation License\s+Version 1\.([123])", "GFDL-1.{}"),
    (r"Apache License,?\s+Version 2\.0", "Apache-2.0"),
    (r"Mozilla Public License,?\s+(?:Version|v\.)\s*2\.0", "MPL-2.0"),
    (r"CC0 1\.0|publicdomain/zero/1\.0", "CC0-1.0"),
    (r"(?:CC[ -]BY|licenses/by)((?:-\w\w)*)[-/ ](\d\.\d)", "CC-BY{}-{}"),
    (r"Attribution-NonCommercial-ShareAlike (\d\.\d)", "CC-BY-NC-SA-{}"),
    (r"Attribution-NonCommercial-NoDerivatives (\d\.\d)", "CC-BY-NC-ND-{}"),
    (r"Attribution-NonCommercial (\d\.\d)", "CC-BY-NC-{}"),
    (r"Attribution-ShareAlike (\d\.\d)", "CC-BY-SA-{}"),
    (r"Attribution-NoDerivatives (\d\.\d)", "CC-BY-ND-{}"),
    (r"Attribution (\d\.\d)", "CC-BY-{}"),
    (r"Open Database License", "ODbL-1.0"),
    (r"Open Data Commons Attribution License", "ODC-By-1.0"),
    (r"Public Domain Dedication (?:&|and) License", "PDDL-1.0"),
    (r"free and unencumbered software released into the public domain", "Unlicense"),
    (r"Redistribution and use in source and binary forms[\s\S]*[Nn]either the names? of", "BSD-3-Clause"),
    (r"Redistribution and use in source and binary forms", "BSD-2-Clause"),
    (r"Permission is hereby granted, free of charge", "MIT"),
    (r"Permission to use, copy, modify, and(?:/or)? distribute this software", "ISC"),
)


def licences(path: Path | str) -> list[str]:
    """ "LICENSE: MIT" for every licence file in a folder or archive, or beside a single file; for a set of the
    catalogue what it says of itself. Nothing is guessed: [] where there is none, or the data is no longer there."""
    try:
        return [f"{name}: {told(load())}" for name, load in _files(Path(path))][:MOST]
    except (UserError, OSError, Unreadable):
        return []


def _files(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names of licence files, and the bytes of each."""
    if path.is_dir():
        files = tree.of_folder(listing.walk(path))
    elif form(path) in archive.SUFFIXES:
        files = tree.of_archive(path)
    else:
        beside = sorted(p for p in path.parent.iterdir() if _named_so(p.name) and p.is_file())
        yield from ((f"{p.name} beside it", p.read_bytes) for p in beside)
        return
    for name, load in zip(files.names, files.loads, strict=True):
        if name == ABOUT or _named_so(name.rpartition("/")[2]):
            yield name, load


def _named_so(name: str) -> bool:
    """Whether a file is named as a licence is: no program, no picture."""
    return bool(kinds.LICENCE.fullmatch(name)) and not re.search(r"\.(?!(txt|md|rst)$)[a-z]\w*$", name, re.IGNORECASE)


def told(content: bytes) -> str:
    """The licence that a file states or is: its line "Licence: ...", its SPDX name, else its first line."""
    text = content[:200_000].decode("utf-8", "replace")
    stated = re.search(r"(?im)^(?:SPDX-License-Identifier|licen[cs]e)\s*:\s*(\S.*)$", text)
    if stated:
        return stated[1].strip()[:LONGEST]
    for pattern, name in KNOWN:
        found = re.search(pattern, text, re.IGNORECASE)
        if found:
            return name.format(*(part.upper() for part in found.groups()))
    first = next((line.strip(" #*=-\t") for line in text.splitlines() if line.strip(" #*=-\t")), "")
    return first[:LONGEST] or "an empty file"
