"""When more training does harm: it is said, and the best checkpoint is kept and can be sampled."""

import json
import math

import numpy as np
import pytest
import torch

import toys
from aurify import checkpoint
from aurify.errors import UserError
from aurify.evaluate import sources
from aurify.evaluate.glance import Glance, warning
from aurify.events import Evaluated, Notice, Previewed
from aurify.heldout import coefficient
from aurify.loop import train
from aurify.quality import Quality
from aurify.sample import load_model, sample


def fed(losses):
    quality = Quality()
    return quality, [(quality.improved(step, loss), quality.advice(loss)) for step, loss in enumerate(losses)]


def test_three_clearly_worse_evaluations_in_a_row_are_said_once():
    quality, told = fed([3.0, 2.0, 2.1, 2.2, 2.3, 2.4])
    assert [better for better, _ in told] == [True, True, False, False, False, False]
    assert [advice is not None for _, advice in told] == [False, False, False, False, True, False]
    assert "step 1 " in str(told[4][1]) and quality.best_step == 1


@pytest.mark.parametrize(
    "losses", [[3, 2, 2.03, 2.03, 2.03, 2.03], [3, 2, 2.2, 2.2, 1.99, 2.2, 2.2], [-5, -5.05, -5.01]]
)
def test_noise_and_recovery_say_nothing(losses):
    assert all(advice is None for _, advice in fed(losses)[1])


def test_the_state_survives_json_before_and_after_the_first_evaluation():
    for quality in (Quality(), fed([3.0, 2.0, 2.5])[0]):
        assert Quality(**json.loads(json.dumps(quality.state(), allow_nan=False))) == quality
    assert Quality().best == math.inf


def test_learning_by_heart_is_said_and_the_best_checkpoint_is_kept(tmp_path):
    data = toys.write_texts(tmp_path / "data", n=12)
    run = toys.make(data, "transformer", tmp_path / "run", steps=240, width=32, save_every=1000, warmup=0.0)
    events = list(train(run))
    (notice,) = [e for e in events if isinstance(e, Notice) and e.kind == "overfitting"]
    losses = {e.step: e.figures["held/next/loss"] for e in events if isinstance(e, Evaluated)}
    best = min(losses, key=lambda step: losses[step])
    assert f"step {best} " in notice.text and losses[best] < 0.98 * losses[240]
    assert load_model(run, "best")[1] == best and load_model(run)[1] == 240
    assert next(sample(run, 1, checkpoint=str(best))).record["step"] == best
    with pytest.raises(UserError, match=f"{best}.*240"):
        checkpoint.chosen(run.checkpoints, "17")


def test_a_gan_is_not_judged_by_a_loss_that_one_network_loses_to_the_other(tmp_path):
    run = toys.make(toys.write_pictures(tmp_path / "data"), "gan", tmp_path / "run", steps=40)
    events = list(train(run))
    assert not [e for e in events if isinstance(e, Notice) and e.kind == "overfitting"]
    figures = {e.step: e.figures for e in events if isinstance(e, Evaluated)}
    assert all("held/energy" not in f for f in figures.values())  # too few held-out samples for it
    with pytest.raises(UserError, match="no checkpoint '999' is kept; say last or one of the steps"):
        load_model(run, "999")
    with pytest.raises(UserError, match="keeps no checkpoint as its best; say last or one of the steps"):
        load_model(run, "best")


def test_a_gan_is_followed_by_a_distance_and_its_best_checkpoint_is_kept(tmp_path):
    data = toys.write_pictures(tmp_path / "data", n=900)
    run = toys.make(data, "gan", tmp_path / "run", steps=150, width=16, batch=32, save_every=1000)
    energies = {e.step: e.figures["held/energy"] for e in train(run) if isinstance(e, Evaluated)}
    assert energies[150] < 0.3 * energies[min(energies)] and min(energies.values()) > -0.02
    assert load_model(run, "best")[1] == min(energies, key=lambda step: energies[step])


def test_the_energy_coefficient_by_brute_force_and_by_a_closed_form():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(7, 3, generator=g), torch.randn(5, 3, generator=g) + 1
    xs, ys = list(x), list(y)

    def apart(a, b):
        return np.mean([float((p - q).norm()) for p in a for q in b if p is not q])

    by_hand = 1 - (apart(xs, xs) + apart(ys, ys)) / (2 * apart(xs, ys))
    assert coefficient(x, y) == pytest.approx(by_hand, rel=1e-5)
    far, same = torch.randn(400, 3, generator=g) + 1e4, torch.randn(2, 2000, 3, generator=g)
    assert coefficient(same[0], far) == pytest.approx(1, abs=1e-3) and abs(coefficient(*same)) < 0.003


@pytest.mark.parametrize("family", ["gan", "transformer"])
def test_previews_that_repeat_training_samples_are_noticed_and_fresh_ones_are_not(tmp_path, family):
    write = toys.write_texts if family == "transformer" else toys.write_pictures
    run = toys.make(write(tmp_path / "data", n=400), family, tmp_path / "run", steps=2)
    events = [e for e in train(run) if isinstance(e, Previewed)]
    assert [e.copied for e in events] == [0.0, 0.0]  # of an untrained model
    looking = Glance(run)
    train_side, held = (sources.of_split(run.codec, run.store.split(side)) for side in ("train", "held"))
    copied, fresh = looking.look(train_side.take(range(16))), looking.look(held.take(range(16)))
    assert copied.flagged > fresh.flagged and fresh.flagged <= 1
    assert "Stop now" in str(warning(copied, 5)) and warning(fresh, 5) is None
