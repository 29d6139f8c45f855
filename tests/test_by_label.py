"""Figures by label: the judge reads real samples, an untrained model is found out, and no figure is bare."""

import json

import pytest

import toys
from aurify import loop
from aurify.evaluate.by_label import ByLabel, by_label
from aurify.evaluate.of_run import strict_json


def test_an_untrained_model_is_read_by_chance_and_real_samples_are_read_rightly(tmp_path):
    run = toys.make(toys.write_pictures(tmp_path / "data", n=400), "gan", tmp_path / "run", steps=2)
    list(loop.train(run))
    *_, found = by_label(run, n=20)
    assert isinstance(found, ByLabel)
    accuracy, coverage = found.figure("label_accuracy"), found.figure("coverage")
    assert accuracy.floor.value > 0.95 and coverage.floor.value > 0.7
    assert 0.2 <= accuracy.measured.value <= 0.8 and coverage.measured.value < 0.5 * coverage.floor.value
    for f in found.figures:
        p = f.protocol
        assert len(p.weights) == 12 and p.n <= 20 and p.reference == "half of the held-out samples"
        for m in (f.measured, f.floor):
            low, high = m.interval
            assert low <= m.value <= high and high > low
    first, second, protocol, judge = found.lines()
    low, high = accuracy.measured.interval
    share = f"asked label read in {100 * accuracy.measured.value:.1f} % ({100 * low:.1f} to {100 * high:.1f}; real"
    assert first.startswith(share) and "held-out" in first
    assert second.startswith("coverage (5 neighbours) 0") and "; of real held-out samples " in second
    assert f"n = {p.n}" in protocol and p.weights in judge
    right, n = found.judge
    assert n > p.n and right / n > 0.95 and f"of all {n} real held-out samples rightly" in judge
    kept = json.loads(strict_json(found.to_json()))
    assert [f["measured"]["value"] for f in kept["figures"]] == pytest.approx([f.measured.value for f in found.figures])
