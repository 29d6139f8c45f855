"""Membership inference and usefulness against planted truths."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from aurify.cond import Cond, CondSpec
from aurify.evaluate import text_judge
from aurify.evaluate.membership import attack_of, by_distance, by_likelihood, by_loss, counts, membership, of_features
from aurify.evaluate.samples import Samples
from aurify.evaluate.usefulness import Usefulness, usefulness
from aurify.families.flow import Config as FlowConfig
from aurify.families.flow import Flow
from aurify.families.gan import Gan
from aurify.families.transformer import Config, Transformer
from aurify.rng import BatchRng
from aurify.spec import Grid, Tokens

TOKENS = Tokens(length=12, vocab=8)


def last(steps):
    """What an iterator of shares ends with; the shares rise to 1."""
    *shares, result = steps
    assert shares == sorted(shares) and (not shares or shares[-1] == 1)
    return result


def test_a_model_that_keeps_its_training_samples_gives_them_all_away():
    generator = torch.Generator().manual_seed(0)
    train, held = torch.randn(300, 8, generator=generator), torch.randn(500, 8, generator=generator)
    made = train + 0.01 * torch.randn(300, 8, generator=generator)
    found = membership(by_distance(train, made), by_distance(held, made), "distance")
    assert found.recognised > 0.99 and found.leaks and found.interval[0] > 0.9
    assert "tells which" in found.sentences[0]


def test_fresh_samples_give_away_one_in_a_hundred_and_the_interval_holds_it():
    generator = torch.Generator().manual_seed(0)
    inside, leaks, total = 0, 0, 0.0
    for _ in range(40):
        a, b = torch.randn(200, generator=generator), torch.randn(300, generator=generator)
        found = membership(a, b)
        inside += found.interval[0] <= found.rate <= found.interval[1]
        leaks += found.leaks
        total += found.recognised
    assert inside >= 38 and leaks <= 2
    assert total / 40 == pytest.approx(3 / 301, abs=0.005)


def test_few_held_out_samples_make_the_rate_coarse():
    found = membership(torch.arange(50.0), torch.arange(20.0))
    assert found.rate == pytest.approx(1 / 21) and found.others == 20
    assert json.loads(json.dumps(found.to_json()))["numbers"]["recognised"] == found.recognised


def test_samples_that_lie_by_training_samples_tell_them_whoever_made_them():
    generator = torch.Generator().manual_seed(0)
    members, others, fresh = torch.randn(3, 1000, 12, generator=generator)
    near = members + 0.05 * torch.randn(members.shape, generator=generator)
    told, untold = (of_features(made, members, others, "these") for made in (near, fresh))
    assert told.leaks and told.recognised > 0.9 and "was trained on" in told.sentences[0] and "(these)" in told.attack
    assert not untold.leaks and untold.recognised < 0.05
    assert "different places of the text" in replace(told, elsewhere=True).sentences[0]
    assert replace(untold, elsewhere=True).sentences == untold.sentences


def test_binomial_counts_leave_out_no_more_than_the_tails():
    fewest, most = counts(400, 0.01, 0.0125)
    x = torch.distributions.Binomial(400, torch.tensor(0.01)).sample((20_000,))
    assert (x < fewest).float().mean() <= 0.016 and (x > most).float().mean() <= 0.016
    assert (x < fewest + 1).float().mean() > 0.0125 and (x > most - 1).float().mean() > 0.0125


def test_an_overfitted_transformer_tells_its_training_samples():
    torch.manual_seed(0)
    model = Transformer(TOKENS, CondSpec(), Config(width=32, depth=2, heads=2))
    x = TOKENS.like(BatchRng(0, 130))
    members, others = x[:30], x[30:]
    fresh = last(by_likelihood(model.eval(), members, Cond())), last(by_likelihood(model, others, Cond()))
    assert membership(*fresh).recognised < 0.1
    optimizer = model.train().optimizer(list(model.parameters()))
    for step in range(80):
        loss = model.loss(members, Cond(), "next", BatchRng(step, 30))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scores = last(by_likelihood(model.eval(), members, Cond())), last(by_likelihood(model, others, Cond()))
    assert attack_of(model) == "likelihood"
    assert membership(*scores, attack_of(model)).recognised > 0.9
    by_one = last(by_loss(model, others[:5], Cond(), draws=2))
    torch.testing.assert_close(by_one, scores[1][:5], rtol=1e-4, atol=1e-5)


def test_the_loss_of_a_sample_is_its_own_and_that_of_the_field():
    """The same draws for every sample, whatever stands beside it."""
    torch.manual_seed(0)
    flow = Flow(Grid(3, ()), CondSpec(), FlowConfig(width=8)).eval()
    x = torch.randn(6, 3)
    scores = last(by_loss(flow, x, Cond(), seed=4))
    assert attack_of(flow) == "loss"
    assert last(by_loss(flow, x[[5, 2]], Cond(), seed=4)).equal(scores[[5, 2]])
    assert not last(by_loss(flow, x, Cond(), seed=5)).equal(scores)
    assert last(by_loss(flow, x[[1, 1]], Cond())).unique().numel() == 1


def test_a_game_has_no_loss_of_a_sample():
    spec = Grid(1, (8, 8))
    assert attack_of(Gan(spec, CondSpec(), Gan.toy(spec))).startswith("distance")


def sentences(rng, n, noise=0.0):
    """Texts of three kinds that prefer unlike words; a share of the labels is drawn anew."""
    labels = rng.integers(0, 3, n)
    words = np.array([a + b + c for a in "bcdfghkl" for b in "aeiou" for c in "mnprstvwz"])
    taste = np.ones((3, 360)) + 2 * np.kron(np.eye(3), np.ones(120))
    words = np.random.default_rng(9).permutation(words)
    made = [" ".join(rng.choice(words, 12, p=taste[label] / taste[label].sum())) for label in labels]
    wrong = rng.random(n) < noise
    told = np.where(wrong, rng.integers(0, 3, n), labels)
    return Samples(made, None, torch.from_numpy(told), tuple(str(i) for i in range(n)))


def test_samples_with_wrong_labels_hurt():
    rng = np.random.default_rng(0)
    found = last(usefulness(sentences(rng, 450, noise=1.0), sentences(rng, 150), sentences(rng, 400)))
    assert isinstance(found, Usefulness)
    assert found.lost > found.gained and found.p < 0.01 and "hurt" in found.sentences[1]
    assert found.right["generated"] < 0.45 * found.tested < 0.6 * found.tested < found.right["real"]


def test_further_real_samples_help_where_there_are_few():
    rng = np.random.default_rng(1)
    found = last(usefulness(sentences(rng, 500), sentences(rng, 30), sentences(rng, 400)))
    assert found.gained > found.lost and found.p < 0.01 and "helped" in found.sentences[1]
    assert found.right["both"] > found.right["real"] + 0.05 * found.tested
    told = json.loads(json.dumps(found.to_json()))["numbers"]
    low, high = told["intervals"]["both"]
    assert low < told["accuracy"]["both"] < high


def test_grids_are_judged_by_the_network_of_their_axes(monkeypatch):
    """A loud half says which; labels of generated ones are swapped, so they teach the opposite."""
    monkeypatch.setattr("aurify.evaluate.judge.BATCH", 16)  # as many steps in less time
    rng = np.random.default_rng(0)

    def halves(n):
        labels = torch.from_numpy(rng.integers(0, 2, n))
        x = torch.from_numpy(rng.normal(0, 0.3, (n, 1, 8)).astype(np.float32))
        x[..., :4] += 0.8 * (labels == 0)[:, None, None]
        x[..., 4:] += 0.8 * (labels == 1)[:, None, None]
        return Samples([None] * n, x, labels, tuple(str(i) for i in range(n)))

    made = halves(60)
    swapped = Samples(made.natives, made.x, 1 - made.labels, made.names)
    found = last(usefulness(swapped, halves(60), halves(100)))
    assert found.right["real"] > 90 and found.right["generated"] < 10 and found.lost > found.gained


def test_without_labels_nothing_is_said():
    rng = np.random.default_rng(0)
    plain = sentences(rng, 50)
    none = Samples(plain.natives, None, torch.full((50,), -1), plain.names)
    assert last(usefulness(none, plain, plain)) is None


def test_the_judge_of_texts_reads_what_tells_languages_apart():
    dutch, frisian = "de kat en de hond slapen in het huis", "de kat en de hûn sliepe yn it hûs"
    judge = text_judge.train([dutch, frisian, dutch + " nu", "no " + frisian, ""], torch.tensor([0, 1, 0, 1, 0]))
    assert judge.read(["het huis slapen", "it hûs sliepe"]).tolist() == [0, 1]
    assert text_judge.features([dutch]).norm() == pytest.approx(1)


@pytest.mark.parametrize(("n", "by_all"), [(20, True), (100, True), (600, False)])
def test_few_held_out_samples_show_a_leak_by_all_scores(n, by_all):
    generator = torch.Generator().manual_seed(n)
    others = torch.randn(n, generator=generator)
    fresh, known = torch.randn(300, generator=generator), torch.randn(300, generator=generator) + 8
    leak, none = membership(known, others), membership(fresh, others)
    assert leak.leaks and leak.auc == pytest.approx(1, abs=0.01) and not none.leaks
    assert (leak.interval[0] == 0) == by_all and "tells which samples" in leak.sentences[0]
    assert ("do not tell the threshold" in none.sentences[0]) == by_all
    pairs = (fresh[:, None] > others).double().mean()
    assert none.auc == pytest.approx(float(pairs)) and 0.001 < none.p < 0.999


def test_ties_count_half_among_pairs():
    assert membership(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0, 3.0])).auc == pytest.approx(3.5 / 6)
