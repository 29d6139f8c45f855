"""The order of training data is a pure function of seed and step, and shows every sample once an epoch."""

import json
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aurify.data.batches import Batches
from aurify.data.view import Split
from aurify.errors import UserError
from aurify.spec import Grid, Tokens


def grid(n: int, before: int = 3) -> Split:
    """n pictures whose pixels are their index, behind `before` of another side."""
    values = np.concatenate([np.full(before, 255), np.arange(n) % 251]).astype(np.uint8)
    data = np.broadcast_to(values[:, None, None, None], (before + n, 1, 2, 2)).copy()
    labels = np.concatenate([np.full(before, -1), np.arange(n)]).astype(np.int32)
    return Split(Grid(1, (2, 2)), data, None, labels, before, before + n, Path())


def documents(lengths: list[int], length: int = 64) -> Split:
    """Documents of the given lengths, filled with 1 + their index, closed by 0."""
    rows = [np.r_[np.full(k - 1, 1 + i), 0] for i, k in enumerate(lengths)]
    offsets = np.cumsum([0, *lengths])
    spec = Tokens(length, len(lengths) + 1, end=0)
    labels = np.arange(len(lengths), dtype=np.int32)
    return Split(spec, np.concatenate(rows).astype(np.uint16), offsets, labels, 0, len(lengths), Path())


def stream(tokens: int, window: int, before: int = 5) -> Split:
    """One text of distinct tokens, behind another side's."""
    data = np.concatenate([np.full(before, tokens), np.arange(tokens)]).astype(np.uint16)
    spec = Tokens(window, tokens + 1, end=tokens, stream=True)
    return Split(spec, data, np.array([0, before, before + tokens]), np.array([7, 4], np.int32), 1, 2, Path())


SIDES = {
    "grid": lambda: grid(37),
    "documents": lambda: documents([2, 30, 9, 17, 64, 3, 5]),
    "stream": lambda: stream(230, 16),
}


@pytest.mark.parametrize("kind", SIDES)
@given(seed=st.integers(0, 2**40), size=st.integers(1, 50), step=st.integers(0, 10**5), data=st.data())
def test_slices_put_together_are_the_batch_whoever_asks_first(kind, seed, size, step, data):
    a, b = data.draw(st.integers(0, size)), data.draw(st.integers(0, size))
    cuts = [0, min(a, b), max(a, b), size]
    batches = Batches(SIDES[kind](), size, seed)
    batches.at(step + 3)
    x, labels = batches.at(step)
    assert len(x) == len(labels) == size
    parts = [Batches(SIDES[kind](), size, seed).at(step, i, j) for i, j in pairwise(cuts)]
    assert torch.equal(torch.cat([p[0] for p in parts]), x)
    assert torch.equal(torch.cat([p[1] for p in parts]), labels)


@given(n=st.integers(1, 60), size=st.integers(1, 90), seed=st.integers(0, 10**6))
def test_an_epoch_shows_every_sample_exactly_once(n, size, seed):
    batches = Batches(grid(n), size, seed)
    steps = -(-3 * n // size)
    order = np.concatenate([batches.at(s)[1].numpy() for s in range(steps)])
    for epoch in range(3):
        assert sorted(order[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_epochs_and_seeds_are_ordered_differently():
    one, other = Batches(grid(100), 100, seed=1), Batches(grid(100), 100, seed=2)
    orders = [tuple(b.at(s)[1].tolist()) for b in (one, other) for s in range(3)]
    assert len(set(orders)) == 6


def test_labels_belong_to_their_samples():
    x, labels = Batches(grid(37), 16, 0).at(5)
    assert x.dtype == torch.uint8 and x.shape == (16, 1, 2, 2)
    assert torch.equal(x[:, 0, 0, 0].long(), labels)


def test_an_epoch_of_a_stream_shows_every_token_about_once():
    side = stream(230, 16)
    batches = Batches(side, 7, seed=3)
    phases = set()
    n = len(side)
    order = np.concatenate([batches.indices(s) for s in range(n)])  # n steps of 7 windows are 7 epochs
    for epoch in range(7):
        starts = order[epoch * n : (epoch + 1) * n]
        x, labels = side.windows(starts)
        shown = np.bincount(x.flatten().numpy(), minlength=230)
        assert shown.max() == 1 and shown.sum() == n * 16 and len(shown) == 230
        assert (labels == 4).all()
        phases.add(int(starts.min()) % 16)
    assert len(phases) > 3


def test_a_stream_shorter_than_its_window_is_one_window():
    side = stream(9, 16)
    assert len(side) == 1
    x, _ = Batches(side, 4, 0).at(0)
    assert x.shape == (4, 9)
    assert all(sorted(row.tolist()) == list(range(9)) for row in x)


def test_padding_is_the_end_and_rows_that_are_too_long_are_cut():
    side = documents([3, 20, 80], length=64)
    x, _ = side.rows(np.array([0, 1]))
    assert x.shape == (2, 32)
    assert x[0].tolist() == [1, 1] + [0] * 30
    assert side.rows(np.array([2]))[0].shape == (1, 64)


def test_an_empty_side_is_the_users_to_mend():
    with pytest.raises(UserError, match="no sample"):
        Batches(grid(0), 4, 0)


@pytest.mark.slow
def test_a_batch_takes_less_than_a_millisecond():
    rng = np.random.default_rng(0)
    pictures = Split(
        Grid(1, (28, 28)),
        rng.integers(0, 256, (50_000, 1, 28, 28), dtype=np.uint8),
        None,
        np.zeros(50_000, np.int32),
        0,
        50_000,
        Path(),
    )
    texts = Split(
        Tokens(256, 100, end=0, stream=True),
        rng.integers(0, 100, 10**6).astype(np.uint8),
        np.array([0, 10**6]),
        np.zeros(1, np.int32),
        0,
        1,
        Path(),
    )
    for side, size in ((pictures, 128), (texts, 64)):
        batches = Batches(side, size, 0)
        batches.at(0)
        times = []
        for step in range(50):
            start = time.perf_counter()
            batches.at(step)
            times.append(time.perf_counter() - start)
        assert np.median(times) < 1e-3, json.dumps(times[:5])
