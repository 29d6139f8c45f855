"""The vae family against closed forms: divergences, sums of likelihoods, probabilistic PCA; and its own failures."""

import math
from typing import Any

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from aurify.cond import Cond, CondSpec, from_labels
from aurify.families.vae import PATIENCE, Config, Options, Vae, discretised_logistic
from aurify.nets.ladder import Latent, latent
from aurify.rng import BatchRng, SampleRng
from aurify.spec import Grid

ROW = Grid(5, ())
PICTURE = Grid(1, (8, 8))
NOTHING = Cond()


def built(spec, labels=(), **settings) -> Any:
    torch.manual_seed(0)
    return Vae(spec, CondSpec(labels), Config(**{"width": 8, "latent": 2, "drop": 0.0, **settings}))


def fit(model, x, steps, lr, cond=NOTHING):
    """Full batches, the rate falling to zero; returns the mean bound of the last hundred steps, in nats."""
    optimizer = torch.optim.Adam(model.parameters(), lr)
    last = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        losses = model.loss(x, cond, "vae", BatchRng(step, len(x)))
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        last = [*last[-99:], float(losses["bound"])]
    return sum(last) / len(last)


def test_divergence_and_density_ratio_are_those_of_normal_distributions():
    d, log_s, m, log_c, e = (torch.randn(4, 3, dtype=torch.float64) for _ in range(5))
    prior, posterior = Normal(m, log_c.exp()), Normal(m + log_c.exp() * d, (log_c + log_s).exp())
    told = Latent(d, log_s)
    torch.testing.assert_close(told.divergence(), kl_divergence(posterior, prior))
    z = m + log_c.exp() * (d + log_s.exp() * e)
    torch.testing.assert_close(told.log_ratio(e), (prior.log_prob(z) - posterior.log_prob(z)).sum(1))


@pytest.mark.parametrize(("mean", "log_scale"), [(0.0, -3.0), (0.9, -1.0), (-1.3, 0.5), (2.0, -6.0)])
def test_a_discretised_logistic_sums_to_one_over_the_grey_levels(mean, log_scale):
    levels = torch.arange(256, dtype=torch.float64) * (2 / 255) - 1
    log_p = discretised_logistic(levels, torch.tensor(mean).double(), torch.tensor(log_scale).double())
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("labels", [(), ("left", "right")])
def test_the_likelihood_of_all_pictures_sums_to_one(labels):
    """Two places, black or white: p(x) by quadrature over a latent of one entry, and the estimate beside it; with a
    label the latent's prior is that label's own."""
    model = built(Grid(2, ()), labels, likelihood="bernoulli", latent=1, width=4)
    all_x = torch.tensor([[a, b] for a in (-1.0, 1.0) for b in (-1.0, 1.0)])
    seen, told = torch.tensor([0, 0, 0, 1, 3, 3, 3, 3]), [0, 0, 0, 0, 1, 1, 1, 1]
    fit(model, all_x[seen], 300, 0.02, from_labels(told, model.cond))  # the estimate needs a posterior that is one
    z = torch.linspace(-8, 8, 4001)
    density = Normal(0.0, 1.0).log_prob(z).exp() * (z[1] - z[0])
    with torch.no_grad():
        put, _ = model.net.decode([z[:, None]], from_labels([0] * len(z), model.cond).vector, None)
        exact = torch.stack([(model.log_likelihood(x.expand(len(z), 2), put).exp() * density).sum() for x in all_x])
    found = model.log_prob(all_x, from_labels([0] * 4, model.cond))
    assert float(exact.sum()) == pytest.approx(1, abs=1e-4)
    assert found.exp().sum() == pytest.approx(1, abs=0.02)
    likely = exact > (0.05 if labels else 0)  # of what it never met with this label the posterior is a guess
    torch.testing.assert_close(found[likely], exact[likely].log(), atol=0.15, rtol=0)


def test_a_label_has_latents_of_its_own_to_be_drawn_from():
    """Two labels of equal shares that lie apart: what is asked for is what comes, though latents alone could tell."""
    model = built(ROW, ("low", "high"))
    rows = torch.tensor([0, 1]).repeat(128)
    x = BatchRng(0, 256).normal(5) * 0.1 + (2.0 * rows - 1)[:, None]
    fit(model, x, 400, 0.01, from_labels(rows, model.cond))
    with torch.no_grad():
        asked, z = from_labels([0, 1], model.cond).vector, torch.randn(2, 2)
        m, log_c = latent(model.net.top_prior(asked))
        torch.testing.assert_close(model.net.led(z, asked)[:, :2], m + log_c.exp() * z)
        assert not torch.allclose(m[0], m[1], atol=0.1)
    made = model.sample(from_labels([0, 1] * 32, model.cond), SampleRng(0, range(64)), Options())
    assert bool((made[0::2].mean(1) < 0).all()) and bool((made[1::2].mean(1) > 0).all())


def test_the_divergence_weighs_more_where_grey_levels_are_told():
    assert built(PICTURE).beta == 4 and built(PICTURE, beta=2.0).beta == 2
    assert built(PICTURE, importance=5).beta == built(PICTURE, likelihood="bernoulli").beta == built(ROW).beta == 1


def test_a_linear_vae_is_probabilistic_pca():
    """Lucas et al. 2019, Section 4: the optimum of the bound is the exact likelihood of probabilistic PCA."""
    x = BatchRng(0, 512).normal(2) @ BatchRng(1, 2).normal(5) + 0.3 * BatchRng(2, 512).normal(5)
    x = x - x.mean(0)
    values = torch.linalg.eigvalsh(x.T @ x / len(x)).flip(0)
    noise = values[2:].mean()  # Tipping & Bishop 1999, Eq. 8
    log_det = values[:2].log().sum() + 3 * noise.log()
    exact = float((5 * math.log(2 * math.pi) + log_det + 5) / 2)
    found = fit(built(ROW, depth=0, likelihood="gaussian"), x, 1500, 0.02)
    assert exact - 0.02 < found < exact + 0.05


def test_more_importance_samples_tighten_the_bound():
    """Burda et al. 2016, Theorem 1."""
    model = built(ROW)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.5)
    x = ROW.like(BatchRng(0, 256))
    bounds = []
    for importance in (1, 4, 16):
        model.config = Config(width=8, latent=2, drop=0.0, importance=importance)
        with torch.no_grad():
            bounds.append(float(model.loss(x, Cond(), "vae", BatchRng(1, 256))["bound"]))
    assert bounds[0] > bounds[1] > bounds[2] > float(-model.log_prob(x, Cond()).mean())


def test_free_bits_leave_the_latents_something_to_say():
    """Where what is decoded alone explains the data, the posterior collapses; free bits keep it alive."""
    x = BatchRng(0, 256).normal(5) * 0.5
    rates = {}
    for free in (0.0, 0.5):
        model = built(ROW, free=free)
        fit(model, x, 400, 0.01)
        with torch.no_grad():
            rates[free] = float(model.loss(x, Cond(), "vae", BatchRng(1, 256))["kl_0"])
    assert rates[0.0] < 0.05 and rates[0.5] > 0.3


def test_collapse_is_said_and_a_healthy_training_hears_nothing():
    model = built(ROW)
    told = [model.notices({"vae/loss": 1.0, "vae/kl_0": 0.01}) for _ in range(2 * PATIENCE)]
    assert not any(told[: PATIENCE - 1])
    assert all([kind for kind, _ in found] == ["posterior-collapse"] for found in told[PATIENCE - 1 :])
    healthy = built(ROW)
    assert not any(
        healthy.notices({"vae/loss": 1.0, "vae/kl_0": rate}) for rate in [0.01] * (PATIENCE - 1) + [2.0] * 60
    )


def test_bernoulli_samples_are_probabilities_or_black_and_white():
    model = built(PICTURE, likelihood="bernoulli", layers=2).eval()
    rng = lambda: SampleRng(0, range(model.chunk))  # noqa: E731
    grey = model.sample(Cond(), rng(), Options())
    drawn = model.sample(Cond(), rng(), Options(draw=True))
    assert grey.abs().max() < 1 and set(drawn.unique().tolist()) == {-1.0, 1.0}


def test_the_weighted_bound_takes_no_other_weights():
    with pytest.raises(ValueError, match="importance > 1"):
        Config(importance=5, beta=0.5)


def test_muon_steps_matrices_and_filters_and_adamw_the_rest():
    model = built(PICTURE, layers=2, optimizer="muon", lr=3e-3)
    (phase,) = model.phases()
    optimizer = phase.optimizer(phase.params)
    matrices, others = optimizer.param_groups
    assert matrices["orthogonal"] and matrices["lr"] == 2 * others["lr"]
    assert {p.ndim for p in matrices["params"]} == {2, 4} and {p.ndim for p in others["params"]} == {1}
    assert sorted(map(id, matrices["params"] + others["params"])) == sorted(map(id, model.parameters()))
    led = built(PICTURE, labels=("a", "b"))
    read = led.net.labelled()
    _, others = led.optimizer(list(led.parameters())).param_groups
    assert len(read) == 4 and {id(p) for p in read} <= {id(p) for p in others["params"]}
    x, losses = PICTURE.like(BatchRng(0, 16)), []
    for step in range(40):
        optimizer.zero_grad()
        losses.append(model.loss(x, Cond(), "vae", BatchRng(step, 16))["loss"])
        losses[-1].backward()
        optimizer.step()
    assert float(losses[-1].detach()) < 0.9 * float(losses[0].detach())
