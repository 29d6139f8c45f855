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


def said(name, folder, **settings):
    """Kinds and texts of the notices of a training; one that gave up, if only while it is planned, says why."""
    found = []
    try:
        run = toys.make(toys.data_for(name, folder / "data"), name, folder / "run", **settings)
        for event in train(run):
            if isinstance(event, Notice):
                found.append((event.kind, event.text))
    except Diverged as error:
        found.append(("diverged", str(error)))
    return found


@pytest.mark.parametrize(("name", "kind"), PROVOKED)
def test_a_failure_is_named_with_what_to_do(name, kind, tmp_path):
    settings, mend = PROVOKED[name, kind]
    told = said(name, tmp_path, **{"steps": 50, **settings})
    texts = [text for found, text in told if found == kind]
    assert len(texts) == 1 and mend in texts[0]


@pytest.mark.parametrize("name", [pytest.param("flow", marks=pytest.mark.slow), "transformer", "vae"])
def test_a_rate_that_is_too_high_is_told_as_a_departure(name, tmp_path):
    told = said(name, tmp_path, steps=60, lr=TOO_FAST[name], warmup=0.5, clip=1e9, save_every=20)
    assert {"rolled-back", "diverged"} & {kind for kind, _ in told}


@pytest.mark.slow
def test_twenty_healthy_trainings_raise_at_most_one_alarm(tmp_path):
    """Of a failure, that is; 24 samples are soon learned by heart, and that is said rightly."""
    alarms, names = [], family.names()
    for i in range(20):
        name = names[i % len(names)]
        told = said(name, tmp_path / str(i), steps=120, seed=i)
        alarms += [(name, i, kind, text) for kind, text in told if kind in KINDS]
    assert len(alarms) <= 1, alarms
