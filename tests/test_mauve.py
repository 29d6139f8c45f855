"""MAUVE against its equation and closed forms; k-means against all partitions."""

import itertools

import numpy as np
import pytest
import torch

from aurify.evaluate import interval
from aurify.evaluate.kmeans import kmeans
from aurify.evaluate.metric import Blocks
from aurify.evaluate.metrics.mauve import Mauve, area, curve, mauve, quantised, smooth

# MAUVE


def gaussians(n, centre, seed, width=8):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + centre


def test_mauve_is_one_for_the_same_features_and_nearly_nothing_for_features_apart():
    x = gaussians(300, 0.0, 0)
    axis = torch.eye(8, dtype=torch.float64)[0] * 30
    assert mauve(x, x) == pytest.approx(1)
    assert mauve(x, gaussians(300, 0.0, 1)) > 0.9
    assert mauve(x + axis, gaussians(300, 0.0, 1) - axis) < 0.02


def test_mauve_falls_as_more_of_something_else_is_mixed_in():
    axis = torch.eye(8, dtype=torch.float64)[0] * 4
    real, other = gaussians(400, axis, 0), gaussians(400, -axis, 1)
    own = gaussians(400, axis, 2)
    values = [mauve(real, torch.cat((own[: 400 - k], other[:k]))) for k in (0, 80, 200, 320, 400)]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[-1] > 0.8


def test_mauve_of_two_clusters_is_the_area_under_its_equation():
    axis = torch.eye(8, dtype=torch.float64)[0] * 50
    real = torch.cat((gaussians(15, axis, 0), gaussians(5, -axis, 1)))
    made = torch.cat((gaussians(6, axis, 2), gaussians(14, -axis, 3)))
    P, Q = (np.array([a + 0.5, b + 0.5]) / 21 for a, b in ((15, 5), (6, 14)))
    w = np.linspace(1e-7, 1 - 1e-7, 20001)[:, None]
    R = w * P + (1 - w) * Q
    x, y = (np.exp(-5 * (S * np.log(S / R)).sum(1)) for S in (Q, P))
    exact = np.trapezoid(np.r_[1, y[::-1], 0], np.r_[0, x[::-1], 1])
    assert mauve(real, made) == pytest.approx(exact, abs=2e-3)  # 25 points against 20001


def test_mauve_does_not_depend_on_the_order_of_either_side():
    real, made = gaussians(60, 0.0, 0), gaussians(70, 0.4, 1)
    again = Mauve().value(real[torch.randperm(60)], made.flip(0))
    assert again == pytest.approx(Mauve().value(real, made), rel=1e-12)


def test_mauve_without_a_block_keeps_the_clusters_of_all():
    real, made = gaussians(60, 0.0, 0), gaussians(70, 0.4, 1)
    blocks = Blocks(interval.block_of(60, 0), interval.block_of(70, 1))
    p, q = quantised(real, made)
    k = int(max(p.max(), q.max())) + 1
    for b, value in enumerate(Mauve().without(real, made, blocks)):
        P, Q = (torch.bincount(c[block != b], minlength=k).double() for c, block in zip((p, q), blocks, strict=True))
        assert float(value) == pytest.approx(float(area(*curve(smooth(P), smooth(Q)))), rel=1e-12)


def test_mauve_sees_a_dropped_mode():
    centres = 6 * torch.eye(8, dtype=torch.float64)

    def drawn(modes, seed):
        return gaussians(400, 0.0, seed) + centres[torch.arange(400) % modes]

    one = Mauve()
    floor, bad = (interval.measure(one, drawn(8, 0), drawn(modes, 1)) for modes in (8, 7))
    assert interval.difference(bad, floor).interval[1] < 0


def test_k_means_finds_the_best_of_all_partitions():
    x = torch.randn(7, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def inertia(assignment):
        parts = [x[torch.tensor([a == j for a in assignment])] for j in set(assignment)]
        return sum(float((part - part.mean(0)).square().sum()) for part in parts)

    best = min(inertia(assignment) for assignment in itertools.product(range(3), repeat=7))
    assert inertia(kmeans(x, 3, restarts=20).tolist()) == pytest.approx(best)


def test_k_means_uses_all_its_centres_even_where_rows_are_equal():
    x = torch.tensor([[0.0], [0.0], [0.0], [5.0], [9.0]], dtype=torch.float64)
    assert len(kmeans(x, 3).unique()) == 3
