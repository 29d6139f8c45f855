"""Near copies are found and kept together; what is held out depends on content alone."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurify.data.duplicates import jaccard, leaders
from aurify.data.split import HELD, TEST, TRAIN, divide
from aurify.errors import UserError


def prints(n: int, density: float, seed: int = 0) -> np.ndarray:
    return np.packbits(np.random.default_rng(seed).random((n, 256)) < density, axis=1)


def edited(rows: np.ndarray, swaps: int, seed: int = 1) -> np.ndarray:
    """The same rows with `swaps` set bits moved elsewhere."""
    rng, bits = np.random.default_rng(seed), np.unpackbits(rows, axis=1)
    for row in bits:
        off, on = np.flatnonzero(row == 0), np.flatnonzero(row)
        row[rng.choice(on, swaps, replace=False)] = 0
        row[rng.choice(off, swaps, replace=False)] = 1
    return np.packbits(bits, axis=1)


def digests(n: int, salt: str = "") -> np.ndarray:
    return np.frombuffer(b"".join(hashlib.sha256(f"{salt}{i}".encode()).digest() for i in range(n)), np.uint8).reshape(
        -1, 32
    )


# Near copies


def test_jaccard_is_the_share_of_common_bits():
    a, b = prints(50, 0.4, 1), prints(50, 0.4, 2)
    rows = zip(np.unpackbits(a, axis=1), np.unpackbits(b, axis=1), strict=True)
    sets = [(set(np.flatnonzero(x)), set(np.flatnonzero(y))) for x, y in rows]
    assert jaccard(a, b) == pytest.approx([len(x & y) / len(x | y) for x, y in sets])
    assert jaccard(np.zeros((1, 32), np.uint8), np.zeros((1, 32), np.uint8)) == [0]


@pytest.mark.parametrize("density", [0.1, 0.3, 0.5])
def test_planted_near_copies_are_found_and_strangers_are_not(density):
    originals = prints(3000, density)
    copies = edited(originals[:500], swaps=1 if density == 0.1 else 3)
    truly = jaccard(originals[:500], copies) >= 0.9
    found = leaders(np.concatenate([originals, copies]))
    assert truly.sum() > 250
    assert (found[3000:][truly] == np.arange(500)[truly]).mean() >= 0.99
    assert (found[:3000] == np.arange(3000)).all()


@given(st.integers(0, 2**32 - 1), st.integers(2, 120))
def test_every_member_is_near_its_leader_who_leads_himself_and_comes_first(seed, n):
    rng = np.random.default_rng(seed)
    centres = rng.random((4, 256)) < 0.4
    bits = centres[rng.integers(0, 4, n)] ^ (rng.random((n, 256)) < 0.02)
    rows = np.packbits(bits, axis=1)
    found = leaders(rows)
    assert (found[found] == found).all()
    assert (found <= np.arange(n)).all()
    moved = found != np.arange(n)
    assert (jaccard(rows[moved], rows[found[moved]]) >= 0.9).all()


def test_a_chain_of_near_copies_is_not_one_group():
    bits = np.zeros((40, 256), np.uint8)
    for i in range(40):
        bits[i, 2 * i : 2 * i + 60] = 1  # each shares 58 of 62 bits with the next, and nothing with the last
    found = leaders(np.packbits(bits, axis=1))
    assert 5 <= len(set(found.tolist())) < 40


def test_equal_fingerprints_are_one_group_and_blank_ones_none():
    rows = np.concatenate([np.repeat(prints(1, 0.4), 300, axis=0), np.zeros((5, 32), np.uint8)])
    found = leaders(rows)
    assert (found[:300] == 0).all()
    assert (found[300:] == np.arange(300, 305)).all()


@pytest.mark.slow
def test_a_hard_crowd_takes_no_longer_than_strangers():
    import time

    rng = np.random.default_rng(0)
    crowd = np.packbits((rng.random((1, 256)) < 0.4) ^ (rng.random((30_000, 256)) < 0.03), axis=1)
    start = time.process_time()
    found = leaders(crowd)
    assert time.process_time() - start < 20
    assert (jaccard(crowd, crowd[found]) >= 0.9).all()


# Division


@given(st.integers(2, 200), st.integers(0, 10**6), st.floats(0.01, 0.5))
def test_the_division_does_not_depend_on_order(n, seed, fraction):
    rng = np.random.default_rng(seed)
    hashes, groups = digests(n, str(seed)), rng.integers(0, n, n)
    groups = np.array([np.flatnonzero(groups == g)[0] for g in groups])
    order = rng.permutation(n)
    place = np.argsort(order)
    sides = divide(hashes, groups, [None] * n, fraction).sides
    shuffled = divide(hashes[order], place[groups[order]], [None] * n, fraction).sides
    assert (shuffled == sides[order]).all()


@given(st.integers(2, 200), st.integers(0, 10**6), st.integers(1, 40))
def test_groups_stay_on_one_side_and_both_sides_have_samples(n, seed, groups):
    leader = np.random.default_rng(seed).integers(0, groups, n) % n
    leader = np.array([np.flatnonzero(leader == g)[0] for g in leader])
    sides = divide(digests(n, str(seed)), leader, [None] * n).sides
    assert {TRAIN, HELD} == set(sides.tolist())
    if len(set(leader.tolist())) > 1:
        assert all(len(set(sides[leader == g].tolist())) == 1 for g in leader)


def test_about_the_asked_fraction_is_held_out_even_among_groups():
    n = 20_000
    for size in (1, 3, 20):
        sides = divide(digests(n), np.arange(n) // size * size, [None] * n, 0.1).sides
        share = (sides == HELD).mean()
        assert abs(share - 0.1) < 5 * np.sqrt(0.1 * 0.9 * size / n)


def test_more_data_moves_no_sample_to_the_other_side():
    few = divide(digests(500), np.arange(500), [None] * 500).sides
    many = divide(digests(900), np.arange(900), [None] * 900).sides
    assert (many[:500] == few).all()


def test_one_large_group_does_not_swallow_the_held_out_part():
    leader = np.where(np.arange(400) < 300, 0, np.arange(400))
    for salt in range(20):
        sides = divide(digests(400, str(salt)), leader, [None] * 400).sides
        assert (sides[:300] == TRAIN).all()
        assert (sides == HELD).any()


def test_explicit_splits_win():
    splits = ["train"] * 50 + ["valid"] * 5 + ["test"] * 5
    sides = divide(digests(60), np.arange(60), splits).sides
    assert sides.tolist() == [TRAIN] * 50 + [HELD] * 5 + [TEST] * 5


def test_without_a_valid_part_it_is_cut_from_the_training_part():
    sides = divide(digests(60), np.arange(60), ["train"] * 50 + ["test"] * 10).sides
    assert (sides[50:] == TEST).all()
    assert {TRAIN, HELD} == set(sides[:50].tolist())


def test_test_samples_that_resemble_training_samples_are_named():
    leader = np.arange(60)
    leader[[55, 56]] = [1, 2]
    (note,) = divide(digests(60), leader, ["train"] * 40 + ["valid"] * 10 + ["test"] * 10).notes
    assert note.startswith("2 test samples look much like")


@pytest.mark.parametrize("fraction", [0.0, -1.0, 0.6, float("nan")])
def test_an_odd_fraction_is_the_users_to_mend(fraction):
    with pytest.raises(UserError, match="fraction"):
        divide(digests(3), np.arange(3), [None] * 3, fraction)


def test_one_sample_is_trained_on():
    assert divide(digests(1), np.arange(1), [None]).sides.tolist() == [TRAIN]
