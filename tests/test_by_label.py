"""Figures by label: the judge reads real samples, and an untrained model is found out."""

import toys
from aurify import loop
from aurify.evaluate.by_label import Figures, by_label


def test_an_untrained_model_is_read_by_chance_and_real_samples_are_read_rightly(tmp_path):
    run = toys.make(toys.write_pictures(tmp_path / "data", n=400, size=(12, 12)), "gan", tmp_path / "run", steps=2)
    list(loop.train(run))
    *_, found = by_label(run, n=30)
    assert isinstance(found, Figures)
    assert found.label_right_real > 0.95 and found.coverage_real > 0.7 and found.reference == "held"
    assert 0.2 <= found.label_right <= 0.8 and found.coverage < 0.5 * found.coverage_real
    assert f"n = {found.n}" in " ".join(found.lines()) and found.to_json()["neighbours"] == 5
