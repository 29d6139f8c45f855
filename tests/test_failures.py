"""Failures on purpose, through the real loop: each is named in words that say what to do, and health is silent.

A GAN that collapses needs two rates, which no setting gives: see test_gan.py; one that runs away is in test_train.py.
"""

import pytest

import toys
from aurify import family
from aurify.events import Notice
from aurify.loop import Diverged, train

# settings that bring a failure about, and what the sentence about it must offer
PROVOKED = {
    ("mixture", "dead-components"): ({"components": 24, "lr": 1.0}, "--set components="),
    ("vae", "posterior-collapse"): ({"layers": 1, "beta": 100.0, "steps": 80}, "smaller beta"),
}
# a rate at which each family of slopes leaves its path; a mixture's steps are averages, and cannot
TOO_FAST = {"flow": 30.0, "transformer": 300.0, "vae": 30.0}
KINDS = {kind for _, kind in PROVOKED} | {"collapse", "runaway", "discriminator-won", "not-finite", "rolled-back"}


def said(run):
    """Kinds and texts of the notices of a training; one that gave up says why."""
    found = []
    try:
        for event in train(run):
            if isinstance(event, Notice):
                found.append((event.kind, event.text))
    except Diverged as error:
        found.append(("diverged", str(error)))
    return found


@pytest.mark.parametrize(("name", "kind"), PROVOKED)
def test_a_failure_is_named_with_what_to_do(name, kind, tmp_path):
    settings, mend = PROVOKED[name, kind]
    run = toys.make(toys.data_for(name, tmp_path / "data"), name, tmp_path / "run", **{"steps": 50, **settings})
    texts = [text for found, text in said(run) if found == kind]
    assert len(texts) == 1 and mend in texts[0]


@pytest.mark.parametrize("name", [pytest.param("flow", marks=pytest.mark.slow), "transformer", "vae"])
def test_a_rate_that_is_too_high_is_told_as_a_departure(name, tmp_path):
    data = toys.data_for(name, tmp_path / "data")
    run = toys.make(data, name, tmp_path / "run", steps=60, lr=TOO_FAST[name], warmup=0.5, clip=1e9, save_every=20)
    kinds = [kind for kind, _ in said(run)]
    assert {"rolled-back", "diverged"} & set(kinds)


@pytest.mark.slow
def test_twenty_healthy_trainings_raise_at_most_one_alarm(tmp_path):
    """Of a failure, that is; 24 samples are soon learned by heart, and that is said rightly."""
    alarms, names = [], family.names()
    for i in range(20):
        name = names[i % len(names)]
        data = toys.data_for(name, tmp_path / f"data-{name}")
        run = toys.make(data, name, tmp_path / f"run-{i}", steps=120, seed=i)
        alarms += [(name, i, kind, text) for kind, text in said(run) if kind in KINDS]
    assert len(alarms) <= 1, alarms
