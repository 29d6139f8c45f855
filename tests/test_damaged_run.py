"""Run folders that were edited, damaged, or made by a newer aurify: a sentence that says so, never a traceback."""

import json
import shutil

import pytest

import toys
from aurify import family
from aurify.data.store import open_or_build
from aurify.errors import UserError
from aurify.events import Done
from aurify.loop import train
from aurify.run import Run
from aurify.sample import sample


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    run = toys.make(toys.write_pictures(folder / "data"), "flow", folder / "run", steps=2)
    list(train(run))
    return run


@pytest.fixture
def path(trained, tmp_path):
    return shutil.copytree(trained.path, tmp_path / "run")


def edit(file, change):
    facts = json.loads(file.read_text())
    change(facts)
    file.write_text(json.dumps(facts))


CHANGES = {
    "an unknown field": lambda card: card.update(colour="red"),
    "an unknown training field": lambda card: card["training"].update(colour="red"),
    "a bad training field": lambda card: card["training"].update(batch="many"),
    "a bad family field": lambda card: card["family_config"].update(width="wide"),
    "an unknown family field": lambda card: card["family_config"].update(colour="red"),
    "another network": lambda card: card["family_config"].update(width=16),
    "an unknown family": lambda card: card.update(family="flaw"),
    "a bad codec field": lambda card: card["codec_config"].update(size="abc"),
    "an unknown spec": lambda card: card["spec"].update(kind="Grit"),
    "no spec": lambda card: card["spec"].clear(),
    "a format that is none": lambda card: card.update(format="two"),
}


def use(path):
    """All that reads a run's files."""
    run = Run.load(path)
    assert list(sample(run, 1))
    return list(train(run))


def test_an_unharmed_run_can_be_used(path):
    assert isinstance(use(path)[-1], Done)


@pytest.mark.parametrize("name", CHANGES)
def test_what_cannot_be_understood_is_said_with_the_run(path, name):
    edit(path / "run.json", CHANGES[name])
    with pytest.raises(UserError) as raised:
        use(path)
    assert "newer" not in str(raised.value)
    assert "is damaged, or was edited by hand" in str(raised.value) or name == "an unknown family"


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_of_a_newer_aurify_names_the_version_it_wants(path, name):
    edit(path / "run.json", CHANGES[name])
    edit(path / "run.json", lambda card: card.update(aurify="12.3.4"))
    with pytest.raises(UserError, match=r"was made by aurify 12\.3\.4, newer than this .*; install that version"):
        use(path)


@pytest.mark.parametrize("file", ["run.json", "data.json", "codec.json"])
@pytest.mark.parametrize("content", ["[]", "{}", "null", '"x"', "{", "\xff"])
def test_any_json_at_all_is_refused_in_words(path, file, content):
    (path / file).write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match="run"):
        use(path)


def test_data_arguments_that_are_none_are_refused_in_words(path):
    edit(path / "data.json", lambda data: data["store"].update(colour="red"))
    with pytest.raises(UserError, match="is damaged, or was edited by hand"):
        use(path)


def test_a_line_of_the_log_that_is_none_is_named(path):
    log = path / "events.jsonl"
    first, *rest = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([first, b"\0\0\0\n", *rest]))
    with pytest.raises(UserError, match=r"line 2 of .*events\.jsonl is damaged"):
        Run.load(path).log()


@pytest.mark.parametrize("asked", [{"size": "abc"}, {"mode": "sepia"}])
def test_a_codecs_setting_that_is_none_is_refused_in_words(tmp_path, asked):
    data = toys.write_pictures(tmp_path / "data", n=4)
    (name,) = asked
    with pytest.raises(UserError, match=name):
        open_or_build(data, "image", asked)


@pytest.mark.parametrize("betas", [[2, 3], [0.5, 1.0], [-0.1, 0.9], [0.9]])
def test_rates_of_decay_lie_below_one(tmp_path, betas):
    with pytest.raises(UserError, match="betas"):
        toys.make(toys.write_pictures(tmp_path / "data"), "gan", tmp_path / "run", betas=betas)
    assert family.load("gan").Config(betas=(0.0, 0.99))


def test_samples_of_an_older_checkpoint_come_with_a_warning(path, caplog):
    run = Run.load(path)
    (run.checkpoints / "step-00000002" / "model.safetensors").write_bytes(b"cut off")
    assert next(sample(run, 1)).record["step"] == 1
    assert "step-00000002 is damaged" in caplog.text and "step 1 is taken instead" in caplog.text


def test_a_misspelt_run_is_told_from_its_neighbours(path):
    with pytest.raises(UserError, match=r"rnu is not a run: there is nothing there\. Did you mean 'run'\?"):
        Run.load(path.parent / "rnu")
