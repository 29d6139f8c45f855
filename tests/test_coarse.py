"""Coarse distances err by no more than they say, and counts that rest on them are those of all exact distances."""

import pytest
import torch

from aurify.evaluate import coarse, neighbours
from aurify.evaluate.coarse import Coarse

needs_bytes = pytest.mark.skipif(not coarse.multiplies_bytes(), reason="a processor without VNNI")


def sparse(n, F, seed):
    """Positive, mostly zero and of unlike sizes, as a classifier's features are."""
    g = torch.Generator().manual_seed(seed)
    mixing = torch.randn(6, F, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = torch.randn(n, 6, generator=g, dtype=torch.float64) * torch.linspace(0.1, 3, n, dtype=torch.float64)[:, None]
    return torch.relu(z @ mixing + 0.3 * torch.randn(n, F, generator=g, dtype=torch.float64))


def groups(n, F, seed):
    """Thirty places far from one another, and samples near them."""
    g = torch.Generator().manual_seed(seed)
    places = 3 * torch.randn(30, F, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return places[torch.arange(n) % 30] + 0.3 * torch.randn(n, F, generator=g, dtype=torch.float64)


def all_distances(x, y):
    return (x[:, None] - y).square().sum(2)


def told(a, b):
    return torch.cat([d.clone() for _, d in coarse.tiles(a, b)])


@pytest.mark.parametrize("form", ["float32", pytest.param("bytes", marks=needs_bytes)])
@pytest.mark.parametrize("F", [33, 600])
def test_distances_err_by_no_more_than_the_margin(form, F):
    x, y = sparse(70, F, 1), sparse(90, F, 2)
    x[3], y[5] = 0, x[4]  # nothing, and the same in both
    a, b = Coarse.of(x), Coarse.of(y)
    if form == "bytes":
        a, b = a.in_bytes(), b.in_bytes()
    off = (told(a, b).double() - all_distances(x, y)).abs()
    margin = coarse.margin(a, b)
    assert (off <= margin[:, None]).all()
    assert (off <= coarse.rounding(a, b)[:, None]).all() == (form == "float32")


@needs_bytes
def test_eight_bits_are_nearer_than_half_a_step():
    a = Coarse.of(sparse(20, 50, 1)).in_bytes()
    off = a.x - a.codes * a.step[:, None]
    assert (off.abs() <= a.step[:, None] * 0.5001).all()
    torch.testing.assert_close(a.lost, off.norm(dim=1))
    assert a.codes.abs().amax(1).eq(127).all()


@needs_bytes
@pytest.mark.parametrize("near", [False, True])
def test_counts_by_eight_bits_are_those_of_exact_distances(near, monkeypatch):
    """Nearly every pair is in doubt where the sets lie far from their centre: then too, if bytes are taken."""
    x, y = sparse(200, 600, 1), sparse(160, 600, 2)
    if near:
        x, y = x + 40 * (torch.arange(200) % 2)[:, None], y + 40 * (torch.arange(160) % 2)[:, None]
    left = torch.arange(200)[:, None] % 20 != torch.arange(20)
    right = torch.arange(160)[:, None] % 20 != torch.arange(20)
    taken = []
    monkeypatch.setattr(neighbours, "DOUBT", 2.0)
    monkeypatch.setattr(neighbours, "surer", counted(neighbours.surer, taken))
    found = neighbours.neighbourhoods(x, y, left, right)
    real, made = neighbours.radii(x, left), neighbours.radii(y, right)
    inside = (all_distances(x, y)[..., None] <= real[:, None]).float()
    assert found.held[left].equal((inside * right).sum(1)[left])
    assert found.holding[right].equal((inside * left[:, None]).sum(0)[right])
    reached = (all_distances(x, y)[..., None] <= made).float() * right
    assert found.reached[left].equal(reached.sum(1)[left])
    assert sum(taken) > (20_000 if near else 100)


def counted(function, taken):
    def wrapped(d, a, i, b, j):
        assert a.coarse.codes.shape[1]
        taken.append(len(d))
        return function(d, a, i, b, j)

    return wrapped


@needs_bytes
def test_eight_bits_are_not_taken_where_they_leave_too_much_in_doubt(monkeypatch):
    """Of so few samples a thirtieth is always in doubt: those of the same place."""
    monkeypatch.setattr(neighbours, "DOUBT", 0.1)
    everyone = torch.ones(300, 1, dtype=torch.bool)
    for far, taken in ((0, True), (1000, False)):
        sets = [groups(300, 600, seed) + far * (torch.arange(300) % 2)[:, None] for seed in (1, 2)]
        sides = [neighbours.side(s, sets[0].mean(0), everyone) for s in sets]
        assert all((s.coarse.codes.shape[1] > 0) == taken for s in neighbours.in_bytes(*sides))
