"""The command line: the main job, and every mistake a user can make: exit code 2, one sentence, nothing broken."""

import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile

import pytest
from PIL import Image

import toys
from aurify import family, recipes
from aurify.cli import main

TINY = ["--set", "width=8", "--set", "multiples=[1,2]", "--set", "batch=8"]


def aurify(capsys, *arguments):
    """(exit code, stdout, stderr) of a command, in this process."""
    before = sys.argv
    sys.argv = ["aurify", *map(str, arguments)]
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = before
    said = capsys.readouterr()
    return code, said.out, said.err


def refused(capsys, *arguments):
    """The one sentence of a refusal."""
    code, _, said = aurify(capsys, *arguments)
    assert code == 2, (code, said)
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.startswith("aurify: ")]
    assert len(lines) == 1, said
    return lines[0]


def test_the_main_job_from_a_folder_to_files(capsys, tmp_path):
    data, run, out = toys.write_pictures(tmp_path / "data"), tmp_path / "run", tmp_path / "out"
    assert aurify(capsys, "check", data)[0] == 0
    code, said, _ = aurify(capsys, "train", data, "--steps", 4, "--out", run, *TINY)
    assert code == 0 and "plan" in said and str(run) in said
    code, said, _ = aurify(capsys, "sample", run, "-n", 3, "--label", "left", "--out", out, "--seed", 7)
    assert code == 0
    pictures = sorted(p for p in out.iterdir() if p.stem != "overview")
    assert [p.name for p in pictures] == ["00000-left.png", "00001-left.png", "00002-left.png"]
    from aurify.codecs.image import record_of

    record = record_of(pictures[1])
    assert record["seed"] == 7 and record["index"] == 1 and record["label"] == "left" and record["run"] == "run"
    assert (out / "overview.png").is_file()


def test_text_goes_to_the_screen_or_into_files_and_is_the_same(capsys, tmp_path):
    data, run = toys.write_texts(tmp_path / "data"), tmp_path / "run"
    tiny = ["--set", "width=16", "--set", "depth=1", "--set", "heads=2", "--set", "batch=8"]
    assert aurify(capsys, "train", data, "--steps", 5, "--out", run, *tiny)[0] == 0
    for seed in range(20):  # until one is long enough to be stopped in its middle
        asked = ["sample", run, "--seed", seed, "--prefix", "the "]
        code, streamed, _ = aurify(capsys, *asked, "-n", 1)
        assert code == 0 and streamed.startswith("the ")
        if len(streamed.strip()) >= 12:
            break
    assert aurify(capsys, *asked, "-n", 2, "--out", tmp_path / "out")[0] == 0
    written = (tmp_path / "out" / "00000.txt").read_text()
    assert written.strip() == streamed.strip()
    assert json.loads((tmp_path / "out" / "00000.json").read_text())["options"]["prefix"] == "the "
    stop = streamed.strip()[6:8]  # somewhere in the middle
    _, cut, _ = aurify(capsys, *asked, "-n", 1, "--stop", stop)
    assert cut.removesuffix("\n") == streamed[: streamed.index(stop, 4)]


def test_machines_get_json_lines(capsys, tmp_path):
    data = toys.write_pictures(tmp_path / "data")
    _, said, _ = aurify(capsys, "check", data, "--json")
    assert json.loads(said)["labels"] == {"left": 12, "right": 12}
    _, said, _ = aurify(capsys, "train", data, "--steps", 3, "--out", tmp_path / "run", "--json", *TINY)
    assert [json.loads(line)["event"] for line in said.splitlines()][-1] == "done"


def test_samples_do_not_depend_on_how_many_were_asked_for(tmp_path):
    from aurify.loop import train
    from aurify.sample import sample

    for name in family.names():
        run = toys.make(toys.data_for(name, tmp_path / f"d-{name}"), name, tmp_path / name, steps=3)
        list(train(run))
        many = [repr(s.native) for s in sample(run, 21, seed=4)]
        assert [repr(s.native) for s in sample(run, 1, seed=4)] == many[:1]
        assert [repr(s.native) for s in sample(run, 3, seed=4, first=17)] == many[17:20]


def test_an_existing_run_is_never_overwritten(capsys, tmp_path):
    data, run = toys.write_pictures(tmp_path / "data"), tmp_path / "run"
    aurify(capsys, "train", data, "--steps", 2, "--out", run, *TINY)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert "aurify resume" in refused(capsys, "train", data, "--steps", 2, "--out", run, *TINY)
    assert "inside the run" in refused(capsys, "train", data, "--steps", 2, "--out", run / "config.json", *TINY)
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_wrong_words_get_the_nearest_right_one(capsys, tmp_path):
    data, run = toys.write_pictures(tmp_path / "data"), tmp_path / "run"
    train = ("train", data, "--steps", 2, "--out", run)
    assert "'flow'" in refused(capsys, *train, "--family", "flwo")
    assert "'image'" in refused(capsys, *train, "--codec", "imgae")
    assert "'width'" in refused(capsys, *train, "--set", "widht=8")
    assert "greater than or equal" in refused(capsys, *train, "--set", "width=-3")
    assert "key=value" in refused(capsys, *train, "--set", "width")
    said = refused(capsys, *train, "--family", "transformer")
    assert "families for Grid: flow, gan" in said and "or --codec pixels" in said
    assert "'width'" in refused(capsys, *train, "--family", "gan", "--set", "widht=8")
    assert "not both" in refused(capsys, *train, "--minutes", "1")
    for minutes in ("0", "-1", "nan", "inf"):
        assert "--minutes must be above 0" in refused(capsys, "train", data, "--out", run, "--minutes", minutes)
    assert "Did you mean" in refused(capsys, "list", "familes")
    assert not run.exists()


def test_wishes_a_run_cannot_fulfil(capsys, tmp_path):
    data, run = toys.write_pictures(tmp_path / "data"), tmp_path / "run"
    aurify(capsys, "train", data, "--steps", 2, "--out", run, *TINY)
    assert "Labels: left, right" in refused(capsys, "sample", run, "--label", "up", "--out", tmp_path / "o")
    assert "'guidance'" in refused(capsys, "sample", run, "--set", "guidence=2", "--out", tmp_path / "o")
    assert "prefix" in refused(capsys, "sample", run, "--prefix", "x", "--out", tmp_path / "o")
    assert "not a run" in refused(capsys, "sample", data)
    assert "not a run" in refused(capsys, "resume", tmp_path / "nothing")
    card = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(card | {"format": 99}))
    assert "newer" in refused(capsys, "sample", run)


def bad_folder(kind, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    if kind == "mixed":
        toys.write_pictures(folder / "p", 8)
        toys.write_texts(folder / "t", 8)
    elif kind == "broken":
        (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
        (folder / "b.png").write_bytes(b"")
    elif kind == "slip":
        with zipfile.ZipFile(tmp_path / "slip.zip", "w") as archive:
            archive.writestr("../outside.png", b"x")
        return tmp_path / "slip.zip"
    elif kind == "link":
        with tarfile.open(tmp_path / "link.tar", "w") as archive:
            member = tarfile.TarInfo("link.png")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member)
        return tmp_path / "link.tar"
    elif kind == "missing":
        return tmp_path / "nothing"
    return folder


@pytest.mark.parametrize("kind", ["empty", "mixed", "broken", "slip", "link", "missing"])
def test_bad_data_is_refused_before_anything_is_written(kind, capsys, tmp_path):
    path = bad_folder(kind, tmp_path)
    for command in (("check", path), ("train", path, "--steps", 2, "--out", tmp_path / "run", *TINY)):
        refused(capsys, *command)
    assert not (tmp_path / "run").exists() and not (tmp_path.parent / "outside.png").exists()


def test_bad_files_among_good_ones_are_named_and_left_out(capsys, tmp_path):
    data = toys.write_pictures(tmp_path / "data")
    (data / "left" / "empty.png").write_bytes(b"")
    (data / "right" / "cut.png").write_bytes((data / "right" / "0001.png").read_bytes()[:60])
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    (data / "left" / "bomb.png").write_bytes(bomb.getvalue())
    code, said, _ = aurify(capsys, "check", data)
    assert code == 0 and all(name in said for name in ("empty.png", "cut.png", "bomb.png"))
    code, _, told = aurify(capsys, "train", data, "--steps", 2, "--out", tmp_path / "run", *TINY)
    assert code == 0 and "3 of the data cannot be read and are left out, such as " in " ".join(told.split())
    counts = json.loads((tmp_path / "run" / "data.json").read_text())["counts"]
    assert sum(counts.values()) == 24


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file system of its own")
def test_a_full_disk_is_a_clear_sentence_and_leaves_nothing(tmp_path):
    """A real file system of 200 KiB, in a mount namespace of its own."""
    data = toys.write_pictures(tmp_path / "data")
    small = tmp_path / "small"
    small.mkdir()
    train = f"{sys.executable} -m aurify.cli train {data} --steps 3 --out {small}/run {' '.join(TINY)}"
    command = f"mount -t tmpfs -o size=200k none {small} && {train}; echo code $?; ls -R {small}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", command], capture_output=True, text=True, timeout=120)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("this machine allows no mounts")
    assert "code 2" in done.stdout and "Traceback" not in done.stderr, done.stderr[-1500:]
    assert "full" in done.stderr or "space" in done.stderr


def test_a_folder_that_may_not_be_written_is_a_clear_sentence(capsys, tmp_path):
    data = toys.write_pictures(tmp_path / "data")
    (tmp_path / "file").write_text("not a folder")
    assert "file" in refused(capsys, "train", data, "--steps", 2, "--out", tmp_path / "file" / "run", *TINY)


def test_help_does_not_wait_for_torch():
    code = "\n".join(
        [
            "import sys",
            "sys.argv = ['aurify', '--help']",
            "from aurify.cli import main",
            "try: main()",
            "except SystemExit: pass",
            "assert not {'torch', 'pydantic', 'numpy'} & set(sys.modules)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "train" in done.stdout, done.stderr


def test_the_list_names_every_family_codec_and_recipe(capsys):
    for what, names in (
        ("families", family.names()),
        ("codecs", ("image", "text")),
        ("recipes", ("digits", "poems", "shakespeare")),
        ("metrics", ("frechet", "bits_per_character")),
        ("embedders", ("classifier", "ngrams")),
    ):
        code, said, _ = aurify(capsys, "list", what)
        assert code == 0 and all(name in said for name in names)
    assert "guidance" in aurify(capsys, "list", "flow")[1]


def test_evaluating_and_judging_from_the_command_line(capsys, tmp_path):
    data, run = toys.write_pictures(tmp_path / "data", n=300, seed=1), tmp_path / "run"
    assert aurify(capsys, "train", data, "--family", "gan", "--steps", 4, "--out", run, "--set", "width=8")[0] == 0
    code, said, _ = aurify(capsys, "evaluate", run, "-n", 20, "--json")
    assert code == 0 and json.loads(said.splitlines()[-1])["verdict"] == "not enough data to tell"
    code, said, _ = aurify(capsys, "judge", run, "-n", 4)
    page = run / "human" / "real" / "page.html"
    assert code == 0 and str(page) in said.replace("\n", "") and "<script" in page.read_text()
    assert "page" in refused(capsys, "judge", run, "--answers", page)


@pytest.mark.parametrize(
    ("asked", "mend"),
    [
        (["evaluate"], "--samples"),
        (["evaluate", "--samples", "."], "--reference"),
        (["evaluate", "nowhere"], "not a run"),
        (["compare", "nowhere", "elsewhere"], "not a run"),
        (["compare", "--families", "flow,gan", "a", "b"], "one data set"),
    ],
)
def test_what_evaluation_needs_is_said(capsys, asked, mend):
    assert mend in refused(capsys, *asked)


def test_what_starting_takes_is_not_expected_again(monkeypatch):
    clock, said = iter([0.0, 100.0, 103.0]), []
    monkeypatch.setattr(recipes.time, "monotonic", lambda: next(clock))
    tell = recipes.counted("reading", said.append)
    tell(10, 100)
    tell(40, 100)
    assert said == ["reading 40 of 100, about 6 s left"]
