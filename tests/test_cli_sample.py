"""Sampling from the command line: what goes to the screen, what into files, and that nothing made is ever lost."""

import json

import pytest

import toys
from aurify import loop, recipes
from aurify.codecs.image import record_of
from aurify.data.report import check
from aurify.run import Run
from aurify.sample import sample
from test_cli import TINY, aurify, refused


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A trained run of text."""
    folder = tmp_path_factory.mktemp("texts")
    run = toys.make(toys.write_texts(folder / "data"), "transformer", folder / "run", steps=6)
    list(loop.train(run))
    return run


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A trained run of pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    run = toys.make(toys.write_pictures(folder / "data"), "flow", folder / "run", steps=2)
    list(loop.train(run))
    return run


@pytest.fixture(scope="module")
def symbols(tmp_path_factory):
    """A trained run of pictures as symbols."""
    folder = tmp_path_factory.mktemp("symbols")
    data, settings = toys.write_pictures(folder / "data", size=(4, 4)), {"order": 2}
    run = recipes.start(recipes.Wish(str(data), "ngram", "pixels", steps=2, out=str(folder / "run"), settings=settings))
    list(loop.train(run))
    return run


def test_one_text_on_the_screen_is_the_one_that_was_asked_for(capsys, texts):
    asked = [made.native for made in sample(texts, 8, seed=3)]
    for first in (0, 3, 5):
        code, said, _ = aurify(capsys, "sample", texts.path, "-n", 1, "--seed", 3, "--first", first)
        assert code == 0 and said == asked[first] + "\n"
    assert "no checkpoint" in refused(capsys, "sample", texts.path, "-n", 1, "--checkpoint", "12345")


def test_machines_get_texts_as_json(capsys, texts):
    asked = [made.native for made in sample(texts, 3, seed=3)]
    for n in (1, 3):
        _, said, _ = aurify(capsys, "sample", texts.path, "-n", n, "--seed", 3, "--json")
        found = [json.loads(line) for line in said.splitlines()]
        assert [made["text"] for made in found] == asked[:n]
        assert [made["record"]["index"] for made in found] == list(range(n))


def test_texts_go_to_the_screen_unless_a_folder_is_named(capsys, texts):
    asked = [made.native for made in sample(texts, 16)]
    code, said, _ = aurify(capsys, "sample", texts.path)
    assert code == 0 and said == "\n\n--------\n\n".join(asked) + "\n"
    assert not (texts.path / "samples").exists()
    assert "text to the screen" in " ".join(aurify(capsys, "sample", "--help")[1].split())


def test_pictures_go_to_the_run_unless_a_folder_is_named(capsys, pictures):
    code, said, _ = aurify(capsys, "sample", pictures.path, "-n", 2)
    assert code == 0 and str(pictures.path / "samples") in said.replace("\n", "")
    assert {p.name for p in (pictures.path / "samples").iterdir()} == {"00000.png", "00001.png", "overview.png"}


def test_nothing_that_was_made_is_overwritten(capsys, pictures, tmp_path):
    out = tmp_path / "out"
    made = ("sample", pictures.path, "-n", 2, "--out", out)
    aurify(capsys, *made)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    _, said, _ = aurify(capsys, *made, "--seed", 1, "--json")
    assert json.loads(said)["files"] == ["00000-2.png", "00001-2.png", "overview-2.png"]
    after = {p.name: p.read_bytes() for p in out.iterdir()}
    assert after.items() >= before.items() and len(after) == 2 * len(before) == 6
    seeds = [(record_of(out / name) or {})["seed"] for name in ("00000.png", "00000-2.png")]
    assert seeds == [0, 1]
    aurify(capsys, *made)
    assert aurify(capsys, *made, "--seed", 1, "--json")[1] == said  # the same again is the same files
    assert {p.name: p.read_bytes() for p in out.iterdir()} == after


def test_texts_keep_their_records_beside_them(capsys, texts, tmp_path):
    for seed in (0, 1):
        aurify(capsys, "sample", texts.path, "-n", 2, "--seed", seed, "--out", tmp_path)
    for number, seed in (("", 0), ("-2", 1)):
        record = json.loads((tmp_path / f"00001{number}.json").read_text())
        (made,) = sample(texts, 1, seed=seed, first=1)
        assert (record["seed"], (tmp_path / f"00001{number}.txt").read_text()) == (seed, made.native)


def test_an_option_of_its_own_is_no_setting(capsys, texts):
    assert "--seed" in refused(capsys, "sample", texts.path, "--set", "seed=3")


REFUSED = {  # of a run of texts and one of pictures: what is asked, and what the refusal must offer
    ("texts", "--given", "island=Dream"): "trained on a table, these can: bayes",
    ("texts", "--prefix", "the Ж"): "'Ж': never met in training; replace it",
    ("texts", "--fill", "the _"): "objective=masked",
    ("texts", "--text", "the"): "knows no texts: train on samples that come with one",
    ("pictures", "--text", "the"): "train a family that reads them (transformer) on samples",
    ("texts", "--label", "cat"): "its data has none",
    ("pictures", "--given", "island=Dream"): "trained on a table, these can: bayes",
    ("pictures", "--prefix", "the"): "trained on texts, these can: gru, hmm, maskgit, ngram, transformer, wavenet",
    ("pictures", "--fill", "a_b"): "trained on texts, these can: maskgit, transformer",
    ("pictures", "--stop", "the"): "leave --prefix, --fill and --stop out",
    ("pictures", "--label", "up"): "Labels: left, right",
    ("pictures", "--label", "left,right"): "--label once for each",
    ("symbols", "--prefix", "the"): "only a text has a beginning",
    ("symbols", "--given", "island=Dream"): "trained on a table, these can: bayes",
    ("texts", "--prefix", ""): "--prefix is empty; leave it out",
    ("texts", "--stop", ""): "--stop is empty",
}


@pytest.mark.parametrize(("of", "option", "value"), REFUSED)
def test_what_a_run_cannot_be_asked_with_is_refused_with_what_can(of, option, value, capsys, request):
    run = request.getfixturevalue(of)
    assert REFUSED[of, option, value] in refused(capsys, "sample", run.path, "-n", 1, option, value)


def test_columns_of_what_is_no_table_are_refused_by_its_codec(capsys, tmp_path):
    """A family that goes on from known columns, on symbols that are none."""
    wish = recipes.Wish(
        str(toys.write_pictures(tmp_path / "data", size=(2, 2))), "bayes", "pixels", steps=2, out=str(tmp_path / "run")
    )
    list(loop.train(recipes.start(wish)))
    assert "(codec table)" in refused(capsys, "sample", tmp_path / "run", "--given", "island=Dream")


def test_a_label_asked_of_rows_is_one_of_their_columns(capsys, tmp_path):
    (tmp_path / "t.csv").write_text("size,label\n" + "".join(f"{i % 7},{'ab'[i % 2]}\n" for i in range(60)))
    assert aurify(capsys, "train", tmp_path / "t.csv", "--steps", 2, "--out", tmp_path / "run")[0] == 0
    said = refused(capsys, "sample", tmp_path / "run", "--label", "a")
    assert "--given COLUMN=VALUE, of the columns " in said and "label" in said.partition("columns ")[2]
    assert aurify(capsys, "sample", tmp_path / "run", "--given", "label=a")[0] == 0


def test_rows_asked_for_by_a_column_have_that_label_in_it(capsys, tmp_path):
    """A model that has hardly learned writes another: what was asked for stands."""
    rows = "".join(f"{i % 7},{1 + i % 2},{'xy'[i % 3 % 2]}\n" for i in range(60))
    (tmp_path / "t.csv").write_text("size,kind,mark\n" + rows)
    run = tmp_path / "run"
    asked = ("--family", "bayes", "--steps", 2, "--column", "label=kind", "--out", run)
    assert aurify(capsys, "train", tmp_path / "t.csv", *asked)[0] == 0
    opened = Run.load(run)
    made = list(sample(opened, 40, label=["2", "1"]))
    assert [str(row.native["kind"]) for row in made] == ["2", "1"] * 20
    said = refused(capsys, "sample", run, "--label", 1, "--given", "kind=2")
    assert "two things of the column 'kind'" in said
    assert aurify(capsys, "sample", run, "--label", 1, "--given", "kind=1", "--out", tmp_path / "made")[0] == 0
    assert "--given gives mark twice" in refused(capsys, "sample", run, "--given", "mark=x", "--given", "mark=y")


# What stands around it


def test_a_column_of_any_name_is_trained_on_and_found_again(capsys, tmp_path):
    rows = "".join(f'{i},"the wind walks over hill {i} and sleeps",{"ab"[i % 2]}\n' for i in range(40))
    (tmp_path / "t.csv").write_text("id,body,kind\n" + rows)
    named = ("--column", "text=body", "--column", "label=kind")
    assert "--column" in refused(capsys, "check", tmp_path / "t.csv")
    code, said, _ = aurify(capsys, "check", tmp_path / "t.csv", *named)
    assert code == 0 and "--minutes 5 --column text=body --column label=kind" in said
    tiny = ["--set", "width=16", "--set", "depth=1", "--set", "heads=2", "--set", "batch=8"]
    run = tmp_path / "run"
    assert aurify(capsys, "train", tmp_path / "t.csv", *named, "--steps", 2, "--out", run, *tiny)[0] == 0
    assert json.loads((run / "run.json").read_text())["labels"] == ["a", "b"]
    assert json.loads((run / "data.json").read_text())["store"]["columns"] == {"text": "body", "label": "kind"}
    assert aurify(capsys, "resume", run)[0] == 0
    assert "role=name" in refused(capsys, "check", tmp_path / "t.csv", "--column", "body")
    assert "no role 'txt'" in refused(capsys, "check", tmp_path / "t.csv", "--column", "txt=body")


def test_columns_can_be_named_from_python(tmp_path):
    import aurify as au

    (tmp_path / "t.csv").write_text("id,body\n" + "".join(f"{i},line {i} of it\n" for i in range(30)))
    settings = {"width": 16, "depth": 1, "heads": 2, "batch": 8}
    run = au.train(tmp_path / "t.csv", columns={"text": "body"}, steps=2, out=str(tmp_path / "run"), settings=settings)
    assert run.store.counts["train"] > 20


@pytest.fixture
def stopped(monkeypatch):
    """Ctrl-C at the first step of any training."""
    from contextlib import contextmanager

    from aurify.stopping import Stop

    @contextmanager
    def at_once():
        yield Stop(asked=True)

    monkeypatch.setattr(loop, "stopping", at_once)


def test_a_stopped_training_is_told_from_one_that_is_done(capsys, tmp_path, stopped):
    data, run = toys.write_pictures(tmp_path / "data"), tmp_path / "run"
    code, said, _ = aurify(capsys, "train", data, "--steps", 3, "--out", run, *TINY)
    assert code == 130 and "aurify resume" in said
    assert aurify(capsys, "resume", run)[0] == 130
    assert aurify(capsys, "resume", run)[0] == 0  # the last step was left, and after it nothing is to be stopped


def test_a_stopped_demo_too(capsys, tmp_path, stopped, monkeypatch):
    from aurify import catalog

    data = toys.write_pictures(tmp_path / "data")
    toy = recipes.Wish("", family="flow", steps=3, settings={**toys.TOY["flow"], "batch": 8})
    monkeypatch.setattr(catalog, "get", lambda name, folder, say: data)
    monkeypatch.setattr(recipes, "names", lambda: {"toy": lambda: toy})
    code, said, _ = aurify(capsys, "demo", "toy", "--out", tmp_path / "demo", "--json")
    assert code == 130
    assert [json.loads(line) for line in said.splitlines()][-1]["kind"] == "stopped"


def test_too_few_bytes_tell_nothing(capsys, tmp_path):
    for data in (b"x", b"\0", b"\xff", b"abc"):
        (tmp_path / "one.bin").write_bytes(data)
        assert "one.bin" in refused(capsys, "check", tmp_path / "one.bin")
    (tmp_path / "poem.old").write_text("It was a dark night, and nothing moved.\n")
    assert check(tmp_path / "poem.old").codec == "text"
    (tmp_path / "one.bin").write_text("It was a dark night, and nothing moved but the wind in the trees.\n")
    assert aurify(capsys, "check", tmp_path / "one.bin", "--codec", "text")[0] == 0


def test_version_and_examples(capsys):
    from aurify import __version__

    assert aurify(capsys, "--version")[1] == f"aurify {__version__}\n"
    for command in ("check", "train", "sample"):
        said = aurify(capsys, command, "--help")[1]
        lines = said[said.index("Examples:") :].splitlines()[1:]
        assert len(lines) >= 3 and all(line.strip().startswith(f"aurify {command} ") for line in lines)
