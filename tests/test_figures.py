"""Figures with their protocol: what may stand beside the samples, how many were used, and what is not extrapolated."""

import pytest
import torch

from aurify.evaluate import figures, interval, metric
from aurify.evaluate.embedders.inception import SHA256
from aurify.evaluate.figure import COPIES, Protocol
from faults import draw


def protocol(n, weights="w"):
    return Protocol("Inception", weights, n, "held-out", "", "", 0, interval.BLOCKS)


def figure(name, looked, weights="w"):
    return figures.figure(name, metric.load(name)(), looked, protocol(len(looked["made"]), weights))


def wide(n, F, seed):
    return torch.randn(n, F, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("n", "told"), [(40, "fewer samples than features: 40 of 60"), (100, "twice the features")])
def test_a_frechet_distance_of_few_samples_is_the_plain_one_and_says_so(n, told):
    """Extrapolated, it lies far from the truth, which is 0, and its interval with it."""
    looked = {"reference": wide(n, 60, 1), "made": wide(n, 60, 2), "fresh": wide(n, 60, 3)}
    found = figure("frechet", looked, SHA256[:12])
    plain = metric.load("frechet")().value(looked["reference"], looked["made"])
    assert found.measured.value == plain and found.title == "FID" and told in found.note.lower()
    assert "extrapolated" not in found.source
    assert figures.principal([found], 60) is None


def test_a_frechet_distance_of_enough_samples_is_extrapolated():
    looked = {"reference": wide(600, 20, 1), "made": wide(600, 20, 2), "fresh": wide(600, 20, 3)}
    found = figure("frechet", looked, SHA256[:12])
    low, high = found.measured.interval
    assert low < 0 < high and found.title == "FID∞" and not found.note
    assert found.measured.value < metric.load("frechet")().value(looked["reference"], looked["made"])


def rows(n, symbols, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.stack([50 + torch.rand(n, generator=g), torch.full((n,), symbols), torch.full((n,), 60.0)], 1).double()


def test_a_likelihood_states_how_many_held_out_samples_were_scored():
    looked = {"made": rows(217, 60.0), "n-gram": rows(217, 60.0, 1)}
    found = figures.figure("nats", metric.load("nats")(), looked, protocol(60))
    assert found.protocol.n == 217 and found.protocol.embedder == ""


@pytest.mark.parametrize(("symbols", "compared"), [(60.0, True), (25.0, False)])
def test_perplexity_stands_beside_models_of_the_same_symbols_alone(symbols, compared):
    looked = {"made": rows(50, symbols), "n-gram": rows(50, 60.0, 1)}
    assert ("n-gram" in figure("perplexity", looked).ceilings) == compared
    assert "n-gram" in figure("bits_per_character", looked).ceilings  # whose unit is everyone's


def test_grids_have_a_likelihood_and_no_perplexity():
    found = figure("perplexity", {"made": rows(50, float("nan"))})
    assert not torch.tensor(found.measured.value).isfinite()  # what is not finite is no figure


def test_training_samples_of_other_number_stand_beside_figures_of_infinitely_many_alone():
    for name, few, there in (("frechet", 60, True), ("frechet", 15, False), ("kid", 15, True), ("coverage", 60, False)):
        looked = {"made": draw(100, 1), "reference": draw(100, 2), COPIES: draw(few, 3)}
        found = figure(name, looked)
        assert (COPIES in found.ceilings) == there
        assert found.protocol.apart == (few if there else 0)
