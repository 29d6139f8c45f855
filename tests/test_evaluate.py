"""Whole evaluations of folders and runs: copycats, fresh real samples, and what cannot be judged."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

import toys
from aurify import loop
from aurify.codecs.image import Image as Pictures
from aurify.errors import UserError
from aurify.evaluate import assess, folder, metric, of_folder, of_run, sources
from aurify.evaluate.assess import Case
from aurify.evaluate.cost import cost
from aurify.evaluate.report import Report
from aurify.evaluate.samples import Samples
from aurify.evaluate.sources import Real
from aurify.evaluate.verdict import CLOSE, judge


def drawn(n, seed):
    """Discs of any place and size on a shaded ground: enough freedom that no two are alike."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:8, :8]
    for _ in range(n):
        y, x, r = rng.uniform(2, 6), rng.uniform(2, 6), rng.uniform(1, 3)
        inside = 1 / (1 + np.exp((row - y) ** 2 + (column - x) ** 2 - r**2).clip(0, 1e6))
        ground = rng.uniform(20, 80) + rng.uniform(-4, 4) * row + rng.uniform(-4, 4) * column
        picture = ground + inside * rng.uniform(80, 150) + rng.normal(0, 4, (8, 8))
        yield picture.clip(0, 255).astype(np.uint8)


def shapes(folder, n, seed):
    folder.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(drawn(n, seed)):
        Image.fromarray(picture).save(folder / f"{seed}-{i:04d}.png")
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """What a model learned from, and what it never saw."""
    top = tmp_path_factory.mktemp("real")
    return {"train": shapes(top / "train", 600, 1), "reference": shapes(top / "reference", 480, 2)}


def judged(samples, real, out, **sides):
    asked = {**real, **sides}
    *_, report = of_folder.evaluate(str(samples), str(asked["reference"]), str(asked["train"]), str(out))
    assert isinstance(report, Report)
    return report


def test_more_samples_than_can_be_compared_are_drawn_from_all_of_them(real, tmp_path):
    """A folder in an order of its own: all discs of one half of the brightness come first."""
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    for i, picture in enumerate(sorted(drawn(480, 3), key=lambda p: float(np.asarray(p).mean()))):
        Image.fromarray(picture).save(fresh / f"{i:04d}.png")
    report = judged(fresh, real, tmp_path / "out")
    assert report.figures[0].protocol.n == 240
    assert report.verdict.word in ("gold", "promising") and report.verdict.skill.interval[1] > 0.95


def test_fresh_real_samples_are_not_called_a_bubble(real, tmp_path):
    report = judged(shapes(tmp_path / "fresh", 240, 3), real, tmp_path / "out")
    assert report.verdict.word in ("gold", "promising"), report.verdict
    assert report.verdict.skill.interval[1] > 0.95
    page = (tmp_path / "out" / "report.html").read_text()
    assert "http-equiv" in page and len(page) < 5_000_000
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written["verdict"] == report.verdict.word and written["figures"][0]["protocol"]["n"] == 240


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_copycat_and_half_a_copycat_are_a_bubble(real, tmp_path, share):
    folder = shapes(tmp_path / "half", round(120 * (1 - share)), 4)
    for path in sorted(real["train"].iterdir())[: round(120 * share)]:
        shutil.copy(path, folder / f"copy-{path.name}")
    report = judged(folder, real, tmp_path / "out")
    assert report.verdict.word == "bubble" and "copied" in report.verdict.reasons[0]
    assert report.pairs and report.pairs[0].suspicion > 0


def test_noise_is_a_bubble_because_a_baseline_does_as_well(real, tmp_path):
    folder, rng = tmp_path / "noise", np.random.default_rng(0)
    folder.mkdir()
    for i in range(240):
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / f"{i}.png")
    report = judged(folder, real, tmp_path / "out")
    assert report.verdict.word == "bubble" and "than a plain baseline" in report.verdict.reasons[0]


def test_too_few_unseen_samples_are_not_enough_to_tell(real, tmp_path):
    few = shapes(tmp_path / "few", 40, 5)
    report = judged(shapes(tmp_path / "fresh", 60, 6), real, tmp_path / "out", reference=few)
    assert report.verdict.word == "not enough data to tell" and "20" in report.verdict.reasons[0]


def test_a_reference_that_overlaps_the_training_set_is_refused_by_name(real, tmp_path):
    both = shapes(tmp_path / "both", 60, 7)
    known = min(real["train"].iterdir())
    shutil.copy(known, both / "seen.png")
    with pytest.raises(UserError, match=rf"seen\.png is {known.name}"):
        judged(real["reference"], real, tmp_path / "out", reference=both)
    assert not (tmp_path / "out").exists()


def test_a_model_of_text_is_worth_its_likelihood_where_samples_tell_nothing():
    assert judge(None, None, None).word == "not enough data to tell"
    assert judge(None, None, "few", (), "likelier").word == "not enough data to tell"
    found = judge(None, None, None, (), "It predicts unseen text better.")
    assert found.word == "promising" and found.reasons[0] == "It predicts unseen text better."


def test_samples_that_are_the_reference_itself_are_refused(real, tmp_path):
    mixed = shapes(tmp_path / "mixed", 200, 9)
    own = sorted(real["reference"].iterdir())
    for i in range(2):  # one in a hundred may be chance
        shutil.copy(own[i], mixed / f"own-{i}.png")
    judged(mixed, real, tmp_path / "out")
    shutil.copy(own[2], mixed / "own-2.png")
    with pytest.raises(UserError, match=rf"3 of 203 samples .*own-0\.png is {own[0].name}"):
        judged(mixed, real, tmp_path / "other")


def test_sets_of_two_kinds_and_empty_ones_are_refused(real, tmp_path):
    texts, empty = toys.write_texts(tmp_path / "texts"), tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="two kinds"):
        judged(texts, real, tmp_path / "out")
    with pytest.raises(UserError, match="empty"):
        judged(empty, real, tmp_path / "out")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    top = tmp_path_factory.mktemp("run")
    made = toys.make(toys.write_babble(top / "data"), "transformer", top / "run", steps=60)
    list(loop.train(made))
    return made


def test_a_run_gets_its_report_and_a_repeated_evaluation_equals_it(run):
    *_, report = of_run.evaluate(run, n=60)
    kept = json.loads((run.path / "report" / "report.json").read_text())
    assert kept["verdict"] in ("bubble", "promising", "gold", "not enough data to tell")
    assert {"bits_per_character", "frechet", "distinct_2"} <= {f["metric"] for f in kept["figures"]}
    assert kept["membership"]["sentences"] and kept["cost"]["minutes_source"] == "measured"
    assert (run.path / "MODEL_CARD.md").read_text().startswith("---")
    assert kept["cost"]["memory_mib"] > 50 and kept["subject"]["steps"] == kept["subject"]["checkpoint"] == 60
    assert [(run.path / "report" / shown["file"]).stat().st_size > 0 for shown in kept["shown"]] == [True, True]
    *_, again = of_run.evaluate(run, n=60)
    assert again.to_json()["figures"] == report.to_json()["figures"]


def test_arithmetic_is_counted_up_to_the_checkpoint_that_was_judged(run):
    half, whole = cost(run, 30), cost(run, 60)
    assert 2 * half["flops"] == pytest.approx(whole["flops"]) == pytest.approx(run.card.plan["flops"])
    assert "multiplied by 30" in half["flops_source"]


@pytest.mark.parametrize("kind", ["overfitting", "copying", "rolled-back"])
def test_what_training_noticed_is_in_the_report_of_later_weights_alone(run, kind, monkeypatch):
    told = {"event": "notice", "kind": kind, "step": 40, "text": "Stop now."}
    monkeypatch.setattr(type(run), "log", lambda self: [told])
    some = Samples(["a"], None, torch.zeros(1).long(), ("a",))
    cases = [of_run.case_of(run, some, Real(some, some, some, "", 1), {}, 0, {}, step) for step in (30, 40)]
    assert [case.notices for case in cases] == [(), ("Stop now.",)]


def test_other_training_samples_are_other_data_to_a_protocol(real, tmp_path):
    paths = [real["reference"], *(shapes(tmp_path / str(s), 30, s) for s in (8, 9))]
    folders = [last(folder.read(str(path))) for path in paths]
    one, other = (of_folder.hashed([folders[0], train], 1) for train in folders[1:])
    assert one != other and one == of_folder.hashed([folders[0], folders[1]], 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_verdicts_over_200_repeats(tmp_path, monkeypatch):
    """Of fresh real samples at most 5 % are called anything but gold or promising; copycats are always a bubble."""
    monkeypatch.setenv("AURIFY_HOME", str(tmp_path))
    monkeypatch.setattr(metric, "names", lambda: ("frechet", *CLOSE))  # the others do not reach the verdict
    codec = Pictures()
    codec.fit(picture[..., None] for picture in drawn(600, 0))

    def made(n, seed):
        natives = [picture[..., None] for picture in drawn(n, seed)]
        x = torch.stack([codec.spec.widen(codec.encode(native)) for native in natives])
        return Samples(natives, x, torch.full((n,), -1), tuple(map(str, range(n))))

    train, words = made(600, 0), Counter()
    for repeat in range(200):
        reference, fresh, mine = (made(400, 3 * repeat + i) for i in (1, 2, 3))
        half = sources.joined([train.take(range(repeat, repeat + 400)), mine.take(range(200))])
        real = Real(train, reference, fresh, "unseen", 600)
        for kind, some in {"fresh": mine, "copycat": train.take(range(repeat, repeat + 400)), "half": half}.items():
            case = Case(some, real, codec, {"hash": "shapes"}, repeat, {}, True, "")
            words[kind, last(assess.assess(case)).verdict.word] += 1
    assert words["fresh", "gold"] + words["fresh", "promising"] >= 190, words
    assert words["copycat", "bubble"] == words["half", "bubble"] == 200, words


def last(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
