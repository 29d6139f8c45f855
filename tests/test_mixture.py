"""The mixture family against closed forms: densities, expected statistics, probabilistic PCA, conditionals."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

import toys
from aurify.cond import Cond, CondSpec, from_labels
from aurify.events import Notice
from aurify.families.mixture import Config, Gaussians, Mixture, Options, statistics
from aurify.loop import train
from aurify.rng import BatchRng, SampleRng
from aurify.run import Run
from aurify.spec import Grid

ROW, LABELS = Grid(5, ()), CondSpec(("a", "b"))


def built(spec=ROW, cond=CondSpec(), **settings) -> Any:  # noqa: B008
    torch.manual_seed(0)
    return Mixture(spec, cond, Config(**{"components": 3, "rank": 2, "shrink": 0.0, "floor": 1e-3, **settings}))


def shaken(**settings) -> Any:
    """A double-precision mixture with unlike components."""
    model = built(**settings).double()
    K, D, Q1 = model.xz.shape
    share = torch.tensor([0.5, 0.2, 0.3, 0.4])[:K].double()
    psi = 0.1 + torch.rand(K, D).double()
    psi = psi.mean(1, keepdim=True).expand(K, D) if model.config.noise == "isotropic" else psi
    model.put(torch.arange(K), Gaussians(share / share.sum(), torch.randn(K, D, Q1).double(), psi))
    model.centre.copy_(torch.randn(D))
    return model


def oracle(model, k=None):
    """torch's own mixture, of some of the components."""
    g = model.gaussians()
    k = torch.arange(len(g.share)) if k is None else k
    W, mu = g.A[k][..., :-1], g.A[k][..., -1] + model.centre
    covariance = W @ W.mT + torch.diag_embed(g.psi[k])
    return MixtureSameFamily(Categorical(g.share[k] / g.share[k].sum()), MultivariateNormal(mu, covariance))


def fit(model, x, steps, rate=1.0, cond=Cond()):  # noqa: B008
    """Classic EM: all data at once. Returns the loss in nats a sample, before each step."""
    (phase,) = model.phases()
    optimizer, losses = phase.optimizer(phase.params), []
    optimizer.param_groups[0]["lr"] = rate
    for step in range(steps):
        optimizer.zero_grad()
        out = model.loss(x, cond, "em", BatchRng(step, len(x)))
        out["loss"].backward()
        optimizer.step()
        losses.append(float(out["bound"]))
    return losses


@pytest.mark.parametrize("rank", [0, 2, 5])
@pytest.mark.parametrize("noise", ["diagonal", "isotropic"])
def test_the_density_is_that_of_torchs_mixture(rank, noise):
    model = shaken(rank=rank, noise=noise)
    x = 2 * torch.randn(20, 5).double()
    torch.testing.assert_close(model.log_prob(x, Cond()), oracle(model).log_prob(x))
    plain = model.float().log_prob(x.float(), Cond())
    torch.testing.assert_close(plain.double(), model.double().log_prob(x, Cond()), atol=1e-4, rtol=1e-5)


def test_the_density_of_many_grey_places_is_right_in_single_precision():
    model = built(Grid(1, (28, 28)), components=4, rank=8, floor=0.02, shrink=0.01)
    x = BatchRng(0, 400).normal(1, 28, 28).tanh() * (torch.rand(1, 28, 28) > 0.4) - 0.3
    model.look(x, Cond())
    fit(model, x, 10)
    exact = model.double().log_prob(x.double(), Cond())
    torch.testing.assert_close(model.float().log_prob(x, Cond()).double(), exact, atol=0.1, rtol=1e-4)


def test_labels_have_components_of_their_own_and_all_together_are_the_whole():
    model = shaken(cond=LABELS, components=4)
    x = torch.randn(6, 5).double()
    asked = from_labels([0, 1, 0, 1, None, None], LABELS).to("cpu").each(lambda v: v.double())
    found = model.log_prob(x, asked)
    own, other = oracle(model, torch.tensor([0, 1])), oracle(model, torch.tensor([2, 3]))
    expected = torch.stack([own.log_prob(x), other.log_prob(x)])[[0, 1, 0, 1, 0, 0], torch.arange(6)][:4]
    torch.testing.assert_close(found[:4], expected)
    torch.testing.assert_close(found[4:], oracle(model).log_prob(x)[4:])


def test_the_gradient_is_what_is_kept_less_the_expected_statistics():
    """E[z|x, k] and its covariance by conditioning the joint Gaussian of (z, x), shares by Bayes."""
    model = shaken()
    x, g = torch.randn(7, 5).double(), model.gaussians()
    K, D, Q = len(g.share), 5, 2
    r = torch.stack([oracle(model, torch.tensor([k])).log_prob(x) + g.share[k].log() for k in range(K)]).softmax(0)
    xz, zz = torch.zeros(K, D, Q + 1).double(), torch.zeros(K, Q + 1, Q + 1).double()
    for k in range(K):
        W, mu = g.A[k, :, :-1], g.A[k, :, -1] + model.centre
        gain = W.T @ torch.linalg.inv(W @ W.T + g.psi[k].diag())
        for n in range(len(x)):
            z1 = torch.cat([gain @ (x[n] - mu), torch.ones(1).double()])
            second = torch.outer(z1, z1)
            second[:Q, :Q] += torch.eye(Q) - gain @ W
            xz[k] += r[k, n] * torch.outer(x[n] - model.centre, z1) / len(x)
            zz[k] += r[k, n] * second / len(x)
    model.loss(x.float(), Cond(), "em", BatchRng(0, 7))["loss"].backward()
    torch.testing.assert_close(model.xz.grad, model.xz.detach() - xz, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.zz.grad, model.zz.detach() - zz, atol=1e-5, rtol=1e-5)
    assert torch.allclose(statistics(x - model.centre, r.T, model.posterior(x - model.centre, g))[0], xz)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_em_never_lowers_the_likelihood(rank):
    x = torch.cat([BatchRng(i, 60).normal(5) * 0.3 + i - 1 for i in range(3)])
    losses = fit(built(rank=rank), x, 60)
    assert all(after <= before + 1e-3 for before, after in pairwise(losses))
    assert losses[-1] < losses[0] - 1


def mixed(n=400):
    """Five numbers, two directions of which explain most, and the eigenvalues of their covariance."""
    x = BatchRng(0, n).normal(2) @ BatchRng(1, 2).normal(5) + 0.3 * BatchRng(2, n).normal(5) + 0.5
    centred = x - x.mean(0)
    return x, torch.linalg.eigvalsh(centred.T @ centred / n).flip(0)


def test_one_component_with_isotropic_noise_is_probabilistic_pca():
    """Tipping & Bishop 1999, Eq. 7 and 8: the largest likelihood, and the noise that has it."""
    x, values = mixed()
    noise = values[2:].mean()
    exact = float((5 * math.log(2 * math.pi) + values[:2].log().sum() + 3 * noise.log() + 5) / 2)
    model = built(components=1, noise="isotropic")
    losses = fit(model, x, 200)
    assert losses[-1] == pytest.approx(exact, abs=2e-3)
    assert float(model.gaussians().psi.detach().mean()) == pytest.approx(float(noise), rel=0.01)


def test_one_component_of_full_rank_is_the_gaussian_of_the_data():
    x, values = mixed()
    exact = float((5 * math.log(2 * math.pi) + values.log().sum() + 5) / 2)
    model = built(components=1, rank=9)
    assert fit(model, x, 300)[-1] == pytest.approx(exact, abs=0.01)
    g = model.gaussians()
    covariance = g.A[0, :, :-1] @ g.A[0, :, :-1].T + g.psi[0].diag()
    torch.testing.assert_close(covariance.float(), x.T.cov(correction=0), atol=0.03, rtol=0.03)


def test_rank_zero_is_the_diagonal_gaussian_in_one_step():
    x, _ = mixed()
    model = built(components=1, rank=0)
    fit(model, x, 1)
    g = model.gaussians()
    torch.testing.assert_close(g.A[0, :, 0].float(), x.mean(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(g.psi[0].float(), x.var(0, correction=0), atol=1e-5, rtol=1e-4)


def test_clusters_are_found_from_where_it_looks():
    """Eight Gaussians: the likelihood comes near that of the law itself."""
    centres = 2 * BatchRng(5, 8).normal(5)
    x = centres[(BatchRng(6, 800).uniform() * 8).long()] + 0.2 * BatchRng(7, 800).normal(5)
    truth = MixtureSameFamily(Categorical(torch.ones(8)), MultivariateNormal(centres, 0.04 * torch.eye(5)))
    model = built(components=8, rank=0)
    model.look(x, Cond())
    assert fit(model, x, 20)[-1] < float(-truth.log_prob(x).mean()) + 0.05
    assert float(model.loss(x, Cond(), "em", BatchRng(0, 800))["alive"]) > 7.5


def test_samples_have_the_moments_of_the_mixture():
    model = shaken()
    law, n = oracle(model), 4000
    x = model.sample(Cond(), SampleRng(0, range(n)), Options())
    torch.testing.assert_close(x.mean(0).double(), law.mean, atol=0.15, rtol=0)
    torch.testing.assert_close(x.var(0).double(), law.variance, atol=0.3, rtol=0.1)
    still = model.sample(Cond(), SampleRng(0, range(64)), Options(temperature=0))
    assert len(still.unique(dim=0)) == 3


def test_an_asked_label_is_drawn_from_its_components_alone():
    model = built(cond=LABELS, components=4, rank=0)
    A = torch.tensor([-9.0, -7.0, 7.0, 9.0]).reshape(4, 1, 1).expand(4, 5, 1)
    model.put(torch.arange(4), Gaussians(torch.tensor([0.1, 0.2, 0.4, 0.3]), A, torch.full((4, 5), 1e-2)))
    asked = from_labels([i % 2 for i in range(200)], LABELS)
    x = model.sample(asked, SampleRng(0, range(200)), Options()).mean(1)
    assert (x[::2] < -6).all() and (x[1::2] > 6).all()
    assert float((x[::2] < -8).float().mean()) == pytest.approx(1 / 3, abs=0.1)


def test_missing_places_are_drawn_from_their_exact_conditional():
    """One full Gaussian: mean and covariance of the unknown given the known are textbook."""
    model = shaken(components=1, rank=5)
    law = oracle(model).component_distribution
    mu, S = law.mean[0], law.covariance_matrix[0]
    known = torch.tensor([True, False, True, False, True])
    x, n = torch.randn(5).double(), 6000
    u, o = (~known).nonzero()[:, 0], known.nonzero()[:, 0]
    gain = S[u][:, o] @ torch.linalg.inv(S[o][:, o])
    made = model.complete(x.expand(n, 5), known.expand(n, 5), Cond(), SampleRng(0, range(n)))
    assert (made[:, o] == x[o]).all()
    torch.testing.assert_close(made[:, u].mean(0).double(), mu[u] + gain @ (x[o] - mu[o]), atol=0.06, rtol=0)
    torch.testing.assert_close(made[:, u].T.cov().double(), S[u][:, u] - gain @ S[o][:, u], atol=0.1, rtol=0.05)


def test_known_places_choose_the_component():
    """Two clusters on opposite sides: what is known of a sample says where the rest of it lies."""
    model = built(components=2, rank=0)
    A = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1).expand(2, 5, 1)
    model.put(torch.arange(2), Gaussians(torch.tensor([0.5, 0.5]), A, torch.full((2, 5), 1e-2)))
    side = torch.tensor([-1.0, 1.0]).repeat(8)
    x = torch.where(torch.arange(5) < 2, side[:, None], 0.0)
    made = model.complete(x, (torch.arange(5) < 2).expand(16, 5), Cond(), SampleRng(0, range(16)))
    assert torch.equal(made.mean(1).sign(), side) and (made.abs() > 0.5).all()


def test_dead_components_are_started_anew_from_the_largest():
    """All start far from the data but one, which takes everything: without help the others would stay there."""
    x = torch.cat([BatchRng(i, 100).normal(5) * 0.1 + 2 * i for i in range(4)])
    model = built(components=4, rank=0)
    A = torch.tensor([3.0, 500.0, 600.0, -700.0]).reshape(4, 1, 1).expand(4, 5, 1)
    model.put(torch.arange(4), Gaussians(torch.full((4,), 0.25), A, torch.ones(4, 5)))
    fit(model, x, 60)
    assert int(model.reborn) >= 3
    assert float(model.loss(x, Cond(), "em", BatchRng(0, 400))["alive"]) > 3.5


def test_constant_data_is_no_division_by_zero():
    x = torch.full((16, 5), 0.25)
    model = built(floor=0.02)
    model.look(x, Cond())
    fit(model, x, 20, rate=0.3)
    made = model.sample(Cond(), SampleRng(0, range(16)), Options())
    assert (made - 0.25).abs().max() < 0.2


def test_components_without_use_are_said_and_a_healthy_training_hears_nothing(tmp_path):
    model = built(components=4)
    assert [kind for kind, _ in model.notices({"em/reborn": 9.0})] == ["dead-components"]
    assert not model.notices({"em/reborn": 2.0})
    data = toys.write_pictures(tmp_path / "data", n=40)
    run = toys.make(data, "mixture", tmp_path / "run", steps=40, components=4)
    assert not [e for e in train(run) if isinstance(e, Notice)]
    assert set(Run.load(run.path).sample(2, label="left")[0].shape) == {8, 1}
