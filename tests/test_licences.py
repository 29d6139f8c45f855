"""What a data set's own files say of its licence stands in the report; nothing is guessed."""

import zipfile

import pytest

import toys
from aurify import catalog
from aurify.evaluate import told
from aurify.evaluate.licences import licences
from aurify.evaluate.licences import told as licence_of
from aurify.evaluate.of_run import facts
from aurify.evaluate.rounding import bounded
from reports import full

MIT = "MIT License\n\nCopyright (c) 2020 Somebody\n\nPermission is hereby granted, free of charge, to any person ...\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (MIT, "MIT"),
        ("                    Apache License\n              Version 2.0, January 2004", "Apache-2.0"),
        ("GNU GENERAL PUBLIC LICENSE\n  Version 3, 29 June 2007", "GPL-3.0"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\n  Version 2.1, February 1999", "LGPL-2.1"),
        ("Redistribution and use in source and binary forms ... Neither the name of it nor", "BSD-3-Clause"),
        ("Attribution-NonCommercial-ShareAlike 4.0 International", "CC-BY-NC-SA-4.0"),
        ("Attribution 4.0 International", "CC-BY-4.0"),
        ("It is licensed under CC BY-SA 3.0.", "CC-BY-SA-3.0"),
        ("https://creativecommons.org/licenses/by-nc/2.5/", "CC-BY-NC-2.5"),
        ("CC0 1.0 Universal", "CC0-1.0"),
        ("# My photographs\n\nAsk me first.", "My photographs"),
        ("notes\nLicence: in the public domain\nmore", "in the public domain"),
        ("", "an empty file"),
    ],
)
def test_known_texts_have_their_short_name_and_others_their_first_line(text, name):
    assert licence_of(text.encode()) == name


def test_licences_are_found_in_folders_archives_and_beside_files(tmp_path):
    data = toys.write_texts(tmp_path / "data")
    assert licences(data) == [] and licences(tmp_path / "gone") == []
    (data / "LICENSE.md").write_text(MIT)
    (data / "copying.png").write_bytes(b"\x89PNG")
    assert licences(data) == ["LICENSE.md: MIT"]
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("set/LICENSE", MIT)
        archive.writestr("set/a.txt", "a text")
    assert licences(tmp_path / "data.zip") == ["set/LICENSE: MIT"]
    assert licences(data / "0000.txt") == ["LICENSE.md beside it: MIT"]


def test_a_set_of_the_catalogue_and_a_run_tell_their_licence(tmp_path):
    data = toys.write_texts(tmp_path / "data")
    entry = catalog.entries()["shakespeare"]
    (data / catalog.ABOUT).write_text(catalog._about(entry, 24))
    run = toys.make(data, "transformer", tmp_path / "run", steps=1)
    assert facts(run)["licences"] == [f"{catalog.ABOUT}: {entry.licence}"]


def test_no_number_of_the_terminal_is_bare():
    for f in full().figures:
        line = told.line(f)
        for m in (f.measured, f.floor, *([f.ceilings[f.best_baseline]] if f.best_baseline else [])):
            assert bounded(m) in line


def test_every_cost_stands_beside_how_it_is_known():
    lines = told.sections(full())["cost"]
    assert "minutes: 4.96 (measured)" in lines and "energy (Wh): 1.65 (estimated, 10 W for each of 2 threads)" in lines
    assert not [line for line in lines if "source" in line]
