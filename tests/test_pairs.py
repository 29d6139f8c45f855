"""Samples asked for by a text: the encoder-decoder against enumeration and itself, the data's way, the command line."""

import csv
import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import toys
from aurify import loop, recipes
from aurify.ancestral import choose
from aurify.cond import Cond, CondSpec, from_rows
from aurify.data import store, texts
from aurify.data.batches import Batches
from aurify.data.store import open_or_build
from aurify.errors import UserError
from aurify.events import Done, Progress
from aurify.families import transformer
from aurify.families.transformer import Config, Options, Transformer
from aurify.nets.decode import Decoding
from aurify.rng import BatchRng, SampleRng
from aurify.run import Run
from aurify.sample import Asked, make_cond, sample
from aurify.spec import Tokens
from test_cli import aurify, refused
from test_train import everything as all_of_a_run
from test_transformer import everything, make
from test_verdict import last

TEXT = Tokens(6, 5, end=4)
ASKS = CondSpec(("a", "b"), TEXT)
SPEC = Tokens(4, 3, end=2)


def asked(n: int, labels: list[int] | None = None, seed: int = 1) -> Cond:
    symbols = TEXT.like(BatchRng(seed, n))
    return from_rows(torch.tensor(labels or [-1] * n), (symbols, TEXT.mask(symbols)), ASKS)


def rows(cond: Cond, part: Any) -> Cond:
    return cond.each(lambda slot: slot[part])


# The network


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_the_probabilities_of_all_samples_sum_to_one_whatever_the_text(kv_heads: int) -> None:
    model, x = make(SPEC, ASKS, kv_heads=kv_heads), everything(SPEC)
    found = []
    for row in range(3):
        cond = rows(asked(3), [row] * len(x))
        found.append(model.log_prob(x, cond).exp())
        assert found[-1].sum().item() == pytest.approx(1, abs=1e-5)
    assert (found[0] - found[1]).abs().max() > 1e-3, "the text changes nothing"


def test_samples_come_as_often_as_log_prob_says_given_their_text() -> None:
    model, n, x = make(SPEC, ASKS), 1500, everything(SPEC)
    cond = rows(asked(1, [1]), [0] * n)
    samples = model.sample(cond, SampleRng(5, range(n)), Options())
    counts = (samples[:, None] == x).all(-1).sum(0)
    expected = n * model.log_prob(x, rows(cond, slice(0, len(x)))).exp()
    often = expected > 5
    chi_square, freedom = ((counts - expected)[often] ** 2 / expected[often]).sum(), int(often.sum())
    assert chi_square < freedom + 5 * math.sqrt(2 * freedom) and counts.sum() == n


@pytest.mark.parametrize("config", [{}, {"kv_heads": 1, "tie": True}, {"window": 3, "source_depth": 1}], ids=str)
def test_one_position_at_a_time_gives_the_logits_of_all_at_once(config: dict[str, Any]) -> None:
    spec = Tokens(20, 7, end=6)
    model, cond = make(spec, ASKS, **config), asked(5, [0, 1, -1, 0, 1])
    x = torch.cat((model.starts(5), spec.like(BatchRng(0, 5))), 1)[:, :20]
    extra, memory = model.extra(cond), model.memory(cond, 5)
    whole = model.net(x, extra, model.ways(memory))
    assert model.source is not None and memory is not None
    decoding = Decoding(model.net, 5, extra, (model.source.crossings, memory))
    steps = [decoding.start(x[:, :4])] + [decoding.step(x[:, t]) for t in range(4, 20)]
    torch.testing.assert_close(torch.stack(steps, 1), whole[:, 3:], atol=1e-5, rtol=0)


def test_what_lies_behind_a_text_is_not_read() -> None:
    model, x, cond = make(SPEC, ASKS), SPEC.like(BatchRng(0, 4)), asked(4)
    assert cond.sequence is not None and cond.sequence_mask is not None
    other = torch.where(cond.sequence_mask, cond.sequence, (cond.sequence + 1) % TEXT.vocab)
    changed = Cond(cond.vector, other, cond.sequence_mask)
    torch.testing.assert_close(model.log_prob(x, changed), model.log_prob(x, cond), atol=1e-6, rtol=0)
    nothing = Cond(cond.vector, cond.sequence, torch.zeros_like(cond.sequence_mask))
    torch.testing.assert_close(model.log_prob(x, nothing), model.log_prob(x, Cond(cond.vector)), atol=1e-6, rtol=0)


def test_guidance_follows_its_equation() -> None:
    spec = Tokens(8, 7)
    model, cond, options = make(spec, ASKS), asked(4, [0, 1, -1, 0]), Options(guidance=3.0)
    x, u = torch.zeros(4, 0, dtype=torch.long), SampleRng(2, range(4)).uniform(64)
    for t in range(8):
        read = torch.cat((model.starts(4), x), 1)
        with_text, without = (
            model.net(read, model.extra(c), model.ways(model.memory(c, 4)))[:, -1] for c in (cond, Cond())
        )
        x = torch.cat((x, choose(without + 3.0 * (with_text - without), u[:, t], options)[:, None]), 1)
    assert torch.equal(model.sample(cond, SampleRng(2, range(4)), options), x)


# Texts that tell nothing


def learned(symbols: Tensor, x: Tensor, steps: int = 70) -> list[tuple[str, str]]:
    """Trains a toy on these pairs; what it notices, each kind once."""
    torch.manual_seed(0)
    cond = CondSpec((), TEXT)
    model = Transformer(SPEC, cond, Config(width=32, depth=1, heads=2, drop=0.3))
    (phase,) = model.phases()
    optimizer, said = phase.optimizer(phase.params), {}
    for step in range(steps):
        rng = BatchRng(step, 32)
        some = (rng.uniform() * len(x)).long()
        pairs = from_rows(torch.full((32,), -1), (symbols[some], TEXT.mask(symbols[some])), cond)
        losses = model.loss(x[some], pairs, phase.name, rng)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        said |= dict(model.notices({f"next/{name}": float(value.detach()) for name, value in losses.items()}))
    return list(said.items())


def test_texts_that_belong_to_other_samples_are_noticed_and_right_ones_are_not(monkeypatch: Any) -> None:
    monkeypatch.setattr(transformer, "PATIENCE", 70)
    x = everything(SPEC)[(BatchRng(0, 400).uniform() * 31).long()]
    right = torch.where(SPEC.mask(x), x, 4)
    right = torch.cat((right, torch.full((400, 2), 4)), 1)
    wrong = right[torch.randperm(400, generator=torch.Generator().manual_seed(0))]
    assert learned(right, x) == []
    ((kind, text),) = learned(wrong, x)
    assert kind == "text-ignored" and "source and target" in text


# The data's way


def write_pairs(path: Any, n: int = 400, seed: int = 0) -> dict[str, str]:
    """Words of the letters a to d, and the same words backwards in capitals."""
    rng, found = np.random.default_rng(seed), {}
    while len(found) < n:
        word = "".join(rng.choice(list("abcd"), rng.integers(2, 6)))
        found[word] = word[::-1].upper()
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("source", "target"), *found.items()])
    return found


def test_texts_are_kept_with_their_samples_and_padded_alike_in_all_parts(tmp_path: Any) -> None:
    known = write_pairs(tmp_path / "p.csv", 60)
    made = open_or_build(tmp_path / "p.csv")
    assert made.text is not None and made.cond.text == made.text.spec
    train = made.split("train")
    batches = Batches(train, 12, 0)
    stored, _ = batches.at(3)
    symbols, there = batches.texts(3) or pytest.fail("no texts")
    for x, row, mask in zip(stored, symbols, there, strict=True):
        assert known[made.text.decode(row[mask])] == made.codec.decode(x)
    first, second = batches.texts(3, 0, 5), batches.texts(3, 5)
    assert first and second and torch.equal(torch.cat((first[0], second[0])), symbols)
    asked_for = texts.encode(made.text, ["abc", None])
    assert asked_for[0].shape == (2, made.text.spec.length) and asked_for[1].sum(1).tolist() == [4, 0]


def test_captions_beside_pictures_are_read_and_a_sample_may_have_none(tmp_path: Any) -> None:
    folder = toys.write_pictures(tmp_path / "data")
    for path in sorted((folder / "left").iterdir()):
        path.with_suffix(".txt").write_text("the left half")
    made = open_or_build(folder, codec_name="image")
    _, labels = made.split("train").rows(np.arange(10))
    _, there = made.split("train").text_rows(np.arange(10)) or pytest.fail("no texts")
    assert there.any(1).tolist() == [made.cond.labels[i] == "left" for i in labels]


def test_a_family_that_reads_no_texts_says_so(tmp_path: Any) -> None:
    folder = toys.write_pictures(tmp_path / "data")
    for path in sorted(folder.rglob("*.png")):
        path.with_suffix(".txt").write_text(f"the {path.parent.name} half")
    said: list[str] = []
    wish = recipes.Wish(
        str(folder), "flow", "image", steps=2, out=str(tmp_path / "run"), settings={**toys.TOY["flow"], "batch": 8}
    )
    run, _ = recipes.prepare(wish, said.append)
    assert any("family flow does not use the texts" in line for line in said)
    assert run.cond.text is None and not (run.path / "text.json").exists()
    with pytest.raises(UserError, match="knows no texts"):
        make_cond(run, Asked(text="the left half"), range(4))


def test_texts_of_a_stream_lead_nothing_and_that_is_said(tmp_path: Any) -> None:
    lines = "".join(json.dumps({"source": f"chapter {i}", "target": f"line {i} " * 300}) + "\n" for i in range(5))
    (tmp_path / "long.jsonl").write_text(lines)
    made = open_or_build(tmp_path / "long.jsonl")
    assert made.text is None and made.cond.text is None and any("one stream" in note for note in made.notes)


def test_texts_longer_than_the_codec_reads_are_cut_and_counted(tmp_path: Any) -> None:
    rows = [("source", "target"), *((f"{i} " * 600, f"word {i}") for i in range(20))]
    with open(tmp_path / "p.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    made = open_or_build(tmp_path / "p.csv")
    assert any("texts are longer than that and are cut" in note for note in made.notes)


def test_a_store_without_texts_has_none(tmp_path: Any) -> None:
    made = store.open_or_build(toys.write_texts(tmp_path / "data"))
    assert made.text is None and made.split("train").text_rows(np.arange(3)) is None


# The whole path

TINY = ["--set", "width=32", "--set", "depth=2", "--set", "heads=2", "--set", "batch=48", "--set", "ema=0"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: Any) -> tuple[Run, dict[str, str]]:
    """A run that has learned to spell backwards in capitals."""
    folder = tmp_path_factory.mktemp("pairs")
    known = write_pairs(folder / "pairs.csv", 700)
    settings = {"width": 32, "depth": 2, "heads": 2, "batch": 32, "ema": 0, "source_depth": 1}
    wish = recipes.Wish(str(folder / "pairs.csv"), "transformer", steps=150, out=str(folder / "run"), settings=settings)
    run, _ = recipes.prepare(wish)
    list(loop.train(run))
    return run, known


def test_held_out_words_are_spelt_backwards(pairs: Any, tmp_path: Any, capsys: Any) -> None:
    run, known = pairs
    held = run.store.split("held")
    asked_for = [text or "" for text in held.texts(range(len(held)))][:60]
    (tmp_path / "words.txt").write_text("\n".join(asked_for) + "\n")
    code, said, _ = aurify(capsys, "sample", run.path, "--texts", tmp_path / "words.txt", "--set", "temperature=0")
    answers = said.splitlines()
    assert code == 0 and len(answers) == len(asked_for), "one answer each"
    right = [known[word] == answer for word, answer in zip(asked_for, answers, strict=True)]
    assert np.mean(right) > 0.9, list(zip(asked_for, answers, strict=True))[:10]


def test_order_and_records_are_kept_and_a_text_alone_is_the_same(pairs: Any, capsys: Any) -> None:
    run, _ = pairs
    words = ["abc", "dddc", "bad"]
    many = list(sample(run, 3, seed=2, text=words))
    assert [made.record["text"] for made in many] == words
    assert next(sample(run, 1, seed=2, text="abc")).native == many[0].native
    assert next(sample(run, 1, seed=2, first=1, text="dddc")).native == many[1].native
    arguments = [part for word in words for part in ("--text", word)]
    _, said, _ = aurify(capsys, "sample", run.path, "--seed", 2, "--json", *arguments)
    assert [json.loads(line)["text"] for line in said.splitlines()] == [made.native for made in many]
    _, alone, _ = aurify(capsys, "sample", run.path, "--seed", 2, "--text", "abc")
    assert alone == many[0].native + "\n"


def test_previews_and_figures_are_led_by_held_out_texts(pairs: Any) -> None:
    from aurify.evaluate import likelihood, sources
    from aurify.sample import load_model

    run, known = pairs
    shown = max((run.path / "previews").iterdir()).read_text()
    source, answer = shown.split("\n\n--------\n\n")[0].strip().split("\n=> ")
    assert known[source] == answer
    model, _ = load_model(run)
    held = sources.of_split(run.codec, run.store.split("held"), 40)
    *_, found = likelihood.likelihood(run, model, held)
    blind = sources.of_split(run.codec, run.store.split("held"), 40)
    *_, without = likelihood.likelihood(run, model, type(blind)(blind.natives, blind.x, blind.labels, blind.names))
    assert isinstance(found, Tensor) and isinstance(without, Tensor)
    assert found[:, 0].mean() < 0.5 * without[:, 0].mean()


def test_mistakes_are_said_in_one_sentence(pairs: Any, tmp_path: Any, capsys: Any) -> None:
    run, _ = pairs
    assert "longer than the" in refused(capsys, "sample", run.path, "--text", "abcd" * 30)
    assert "never read" in refused(capsys, "sample", run.path, "--text", "abc%")
    assert "empty" in refused(capsys, "sample", run.path, "--text", "")
    (tmp_path / "t.txt").write_text("abc\n\nabb\n")
    assert "text 2 of" in refused(capsys, "sample", run.path, "--texts", tmp_path / "t.txt")
    assert "not both" in refused(capsys, "sample", run.path, "--text", "a", "--texts", tmp_path / "t.txt")
    assert "no file" in refused(capsys, "sample", run.path, "--texts", tmp_path / "none.txt")
    (tmp_path / "t.csv").write_text("word\nabc\n")
    assert "named source or text" in refused(capsys, "sample", run.path, "--texts", tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("source\nabc\ncab\n")
    assert len(aurify(capsys, "sample", run.path, "--texts", tmp_path / "t.csv")[1].splitlines()) == 2
    assert "objective=masked" in refused(capsys, "sample", run.path, "--fill", "A_C")


def test_interrupted_and_resumed_equals_uninterrupted_to_the_last_bit(tmp_path: Any) -> None:
    write_pairs(tmp_path / "p.csv", 80)
    settings = {"width": 16, "depth": 1, "heads": 2, "batch": 8, "save_every": 5}

    def run(name: str) -> Run:
        wish = recipes.Wish(str(tmp_path / "p.csv"), steps=12, out=str(tmp_path / name), settings=settings)
        return recipes.prepare(wish)[0]

    whole, parts = run("whole"), run("parts")
    list(loop.train(whole))
    events = loop.train(parts)
    for event in events:
        if isinstance(event, Progress) and event.step == 7:
            break
    events.close()
    assert isinstance(list(loop.train(Run.load(parts.path)))[-1], Done)
    assert all_of_a_run(parts) == all_of_a_run(whole)


@pytest.mark.parametrize("rows", [["abc,CBA"], ["aaa,AAA"] * 5, ["abc,CBA", "abx,XBA"]], ids=["one", "constant", "two"])
def test_too_little_data_ends_in_a_sentence_or_a_run(rows: list[str], tmp_path: Any, capsys: Any) -> None:
    (tmp_path / "p.csv").write_text("\n".join(["source,target", *rows]) + "\n")
    code, said, wrong = aurify(capsys, "train", tmp_path / "p.csv", "--steps", 2, "--out", tmp_path / "run", *TINY)
    assert "Traceback" not in said + wrong
    assert (code == 0 and (tmp_path / "run" / "run.json").exists()) or (code == 2 and len(wrong.splitlines()) == 1)


def test_a_masked_run_fills_in_from_the_command_line(tmp_path: Any, capsys: Any) -> None:
    data = toys.write_texts(tmp_path / "data")
    masked = ["--set", "objective=masked", "--steps", 3, "--out", tmp_path / "run"]
    assert aurify(capsys, "train", data, "--family", "transformer", *masked, *TINY)[0] == 0
    code, said, _ = aurify(capsys, "sample", tmp_path / "run", "-n", 2, "--fill", "the w__d walks", "--json")
    found = [json.loads(line)["text"] for line in said.splitlines()]
    assert code == 0 and all(len(text) == 14 and text[:5] + text[7:] == "the wd walks" for text in found)
    assert aurify(capsys, "sample", tmp_path / "run", "-n", 1)[0] == 0


def test_that_a_run_heeds_its_texts_is_measured(pairs: Any) -> None:
    """Unseen answers are likelier after their own text than after another's; of a run that was led by others, not."""
    from aurify.evaluate import heeding, likelihood, sources
    from aurify.sample import load_model

    run, _ = pairs
    model, _ = load_model(run)
    held = sources.of_split(run.codec, run.store.split("held"), 60)
    other = heeding.led_by_others(held)
    assert sorted(other.given) == sorted(held.given) and other.natives is held.natives
    for some, heeds in ((held, True), (other, False)):
        *_, own = likelihood.likelihood(run, model, some)
        said, proved = last(heeding.heeding(run, model, some, own))
        assert proved == heeds and ("It heeds its texts" in said) == heeds
    assert "No figure here tells" in last(heeding.heeding(run, model, held, None))[0]
