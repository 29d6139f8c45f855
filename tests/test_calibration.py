"""Calibration: what 95 % means, for every metric found by name."""

import math

import numpy as np
import pytest
import torch

from aurify.evaluate import interval, metric
from aurify.evaluate.local import Local
from faults import SCALES, F, draw, seen

NAMES = metric.names()
STRETCHED = torch.tensor([0.7, 1, 1, 1, 1, 1, 1.5, 1.5]).double()
SLOWER = ("mmd", "mauve", "self_bleu")
WIDE = ("lengths", "characters", "mauve")  # divergences, which are skewed where sets are alike


def planted(n, seed):
    """Two Gaussians in 8 features, moved and stretched against each other."""
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, n, F, generator=g, dtype=torch.float64)
    return x * SCALES, y * SCALES * STRETCHED + 0.45


def labels(x):
    return torch.softmax(-(x[:, None] - 2 * torch.eye(4, F, dtype=torch.float64)).square().sum(2), 1)


def texts(n, rng, power=1.5, longest=40):
    """Words as rare as natural ones are, of a topic of each text; some texts repeat themselves."""
    made = []
    for _ in range(n):
        topic, length = rng.integers(40), rng.integers(10, longest)
        words = rng.zipf(power, length) % 3000 + topic * (rng.random(length) < 0.3)
        made.append(" ".join(f"w{w:x}" for w in (words if rng.random() < 0.9 else np.resize(words[:8], length))))
    return made


def windows(n, seed):
    """Nats, symbols and characters of held-out texts of unequal length and difficulty."""
    rng = np.random.default_rng(seed)
    characters = rng.integers(50, 250, n)
    nats = characters * rng.gamma(20, 1.4 / 20, n)
    return torch.from_numpy(np.stack([nats, np.ceil(characters / 3), characters], 1))


def calibrated(name, n, seed, alike=False):
    """A real and a made set of what the metric looks at; of one distribution where they are to be `alike`."""
    if alike:
        (_, real), (_, made) = (calibrated(name, n, s) for s in (seed, seed + 2**31))
        return real, made
    rng = np.random.default_rng(seed % 2**32)
    match metric.load(name).of:
        case "texts":
            return texts(n, rng), texts(n, rng, 1.9, 55)
        case "likelihood":
            return None, windows(n, seed % 2**32)
        case "asked":
            return (torch.from_numpy((rng.random(n) < p).astype(float)) for p in (0.97, 0.9))
        case "probabilities":
            return map(labels, planted(n, seed))
        case "features" if name == "duplicates":
            real, pool = planted(2 * n, seed)
            return real[:n], pool[rng.integers(2 * n, size=n)]  # drawn from twice as many, so some come again
        case _:
            return planted(n, seed)


def measured(name, n, seed, alike):
    real, made = calibrated(name, n, seed, alike)
    return interval.measure(metric.load(name)(), made if real is None else real, made, seed)


def population(name, alike):
    """The figure of infinitely many samples: in closed form, or by two million independent pairs."""
    if alike and metric.load(name).better == "lower":
        return 0.0
    if name == "frechet":
        return float((SCALES - SCALES * STRETCHED).square().sum() + F * 0.45**2)
    (x, y), (u, v) = (calibrated(name, 2_000_000, s, alike) for s in (2**32, 2**32 + 1))
    if name == "inception_score":
        return metric.load(name)().value(x, y)

    def means(k):
        return [float(k(a, b).mean()) for a, b in ((x, u), (y, v), (x, v))]

    if name == "diversity":
        real, made, _ = means(lambda a, b: (a - b).norm(dim=1))
        return made / real
    s2 = float((x - u).square().sum(1).median())
    xx, yy, xy = means({
        "kid": lambda a, b: ((a * b).sum(1) / F + 1) ** 3,
        "mmd": lambda a, b: (-(a - b).square().sum(1) / (2 * s2)).exp(),
    }[name])  # fmt: skip
    return xx + yy - 2 * xy


def known(name, alike):
    """The population's figure where the metric claims it or it is planted; else None: the expectation at this n."""
    if metric.load(name).unbiased:
        return population(name, alike)
    if alike:
        return None
    return {"label_accuracy": 0.9, "bits_per_character": 1.4 / math.log(2)}.get(name)


@pytest.mark.slow
@pytest.mark.parametrize("alike", [False, True], ids=["apart", "alike"])
@pytest.mark.parametrize("name", NAMES)
def test_an_interval_of_95_percent_holds_the_truth_in_95_percent(name, alike):
    """400 repeats have a standard error of 1.1 %; the quick ones are repeated more often. Of equals, where some
    figures are all chance, too."""
    one = metric.load(name)
    if alike and one.of in ("likelihood", "asked"):
        pytest.skip("of one set alone")
    n = 150 if one.of == "texts" else 300
    repeats = 400 if issubclass(one, Local) or one.of == "texts" or name in SLOWER else 1000
    truth, found = known(name, alike), [measured(name, n, s, alike) for s in range(repeats)]
    if truth is None:
        truth = sum(m.value for m in found) / repeats
    share = sum(m.interval[0] <= truth <= m.interval[1] for m in found) / repeats
    assert 0.93 <= share <= (1 if alike and name in WIDE else 0.97), share


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if metric.load(name).of in ("features", "probabilities")])
def test_two_halves_of_the_same_data_are_seldom_called_different(name):
    """Both against a shared reference: a set of samples, and the floor that stands beside it. At most 5 % of the time,
    give or take two standard errors of the count: intervals of 95 % that are exact are wrong in 5 %."""
    one = metric.load(name)()
    repeats = 200 if isinstance(one, Local) or name in SLOWER else 1000
    assert differing(one, lambda s: seen(name, draw(600, s)).split(200), repeats) <= allowed(repeats)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if metric.load(name).of == "texts"])
def test_two_halves_of_the_same_texts_are_seldom_called_different(name):
    def thirds(s):
        rng = np.random.default_rng(s)
        return [texts(150, rng) for _ in range(3)]

    assert differing(metric.load(name)(), thirds, 200) <= allowed(200)


def differing(one, thirds, repeats):
    """How often floor and samples are called different."""
    different = 0
    for s in range(repeats):
        reference, half, other = thirds(s)
        floor, made = (interval.measure(one, reference, x, s) for x in (half, other))
        low, high = interval.difference(made, floor).interval
        different += not low <= 0 <= high
    return different


def allowed(repeats):
    return 0.05 * repeats + 2 * math.sqrt(0.05 * 0.95 * repeats)
