"""The flow family against closed forms on Gaussian data."""

import math

import pytest
import torch

from aurify.cond import Cond, CondSpec, from_labels
from aurify.diffusion import PATHS, Mix
from aurify.families.flow import Config, Flow, Options
from aurify.rng import BatchRng, SampleRng
from aurify.spec import Grid
from test_solvers import MEAN, SPREAD, exact_velocity, moments

ROW = Grid(1, ())


def optimal(flow):
    """What the network should put out for Gaussian data, whatever it predicts."""
    path, prediction = flow.path, flow.config.prediction

    def predict(x, t, cond, h=None):
        t = t.reshape(-1, 1)
        mean, std = moments(path, t)
        z = (x - mean) / std**2
        x_1, x_0 = MEAN + path.alpha(t) * SPREAD**2 * z, path.sigma(t) * z
        return Mix.at(path, prediction, t, 2).target(x_1, x_0)

    return predict


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("prediction", ["velocity", "data", "noise", "edm"])
def test_every_path_and_prediction_is_the_one_field(path, prediction, monkeypatch):
    flow = Flow(ROW, CondSpec(), Config(width=8, path=path, prediction=prediction)).double()
    monkeypatch.setattr(flow, "predict", optimal(flow))
    x = torch.linspace(-2, 2, 7, dtype=torch.float64)[:, None]
    for t in torch.tensor([0.05, 0.4, 0.95], dtype=torch.float64):
        torch.testing.assert_close(flow.velocity(x, t, Cond()), exact_velocity(flow.path)(x, t), rtol=1e-9, atol=1e-9)


def test_a_trained_field_meets_the_closed_form():
    """On N(MEAN, SPREAD^2) the learned velocity is the exact one, and samples have the data's mean and spread."""
    torch.manual_seed(0)
    flow = Flow(ROW, CondSpec(), Config(width=16, multiples=(1,), times="uniform"))
    optimizer = flow.optimizer(list(flow.parameters()))
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 0.015 * (1 - step / 400)
        rng = BatchRng(step, 512)
        x = MEAN + SPREAD * rng.normal(1)
        loss = flow.loss(x, Cond(), "flow", rng)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    errors = []
    for t in torch.linspace(0.1, 0.9, 9):
        mean, std = moments(flow.path, t)
        x = mean + std * torch.linspace(-2, 2, 21)[:, None]
        errors.append((flow.velocity(x, t, Cond()) - exact_velocity(flow.path)(x, t)).square().mean().item())
    assert math.sqrt(sum(errors) / len(errors)) < 0.08
    made = flow.sample(Cond(), SampleRng(0, range(2000)), Options(steps=30))
    assert float(made.mean()) == pytest.approx(MEAN, abs=0.05)
    assert float(made.std()) == pytest.approx(SPREAD, rel=0.1)


def test_the_loss_at_the_optimum_is_the_analytic_minimum(monkeypatch):
    """E |v* - target|^2 is the conditional variance of x_1 - x_0 given x_t: SPREAD^2 / var_t for the linear path."""
    flow = Flow(ROW, CondSpec(), Config(width=8, times="uniform"))
    monkeypatch.setattr(flow, "predict", optimal(flow))
    rng = BatchRng(0, 200_000)
    loss = flow.loss(MEAN + SPREAD * rng.normal(1), Cond(), "flow", rng)["loss"]
    t = torch.linspace(0, 1, 10_001, dtype=torch.float64)
    expected = (SPREAD**2 / moments(flow.path, t)[1] ** 2).mean()
    assert float(loss) == pytest.approx(float(expected), rel=0.01)


def test_a_guided_label_is_followed_more_closely():
    """Two labels, two Gaussians: guidance moves samples away from the other label's side."""
    torch.manual_seed(0)
    cond = CondSpec(("low", "high"))
    flow = Flow(ROW, cond, Config(width=16, multiples=(1,), drop=0.2))
    optimizer = flow.optimizer(list(flow.parameters()))
    for step in range(250):
        rng = BatchRng(step, 256)
        labels = (rng.uniform() < 0.5).long()
        x = (labels * 2 - 1)[:, None] * 0.5 + 0.4 * rng.normal(1)
        loss = flow.loss(x, from_labels(labels, cond), "flow", rng)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    high = from_labels([1] * 500, cond)
    plain, strong = (
        flow.sample(high, SampleRng(0, range(500)), Options(guidance=g, interval=(0, 1))) for g in (1.0, 3.0)
    )
    assert float(plain.mean()) == pytest.approx(0.5, abs=0.12)
    assert float(strong.mean()) > float(plain.mean()) + 0.1


@pytest.mark.parametrize("size", [(), (5,), (5, 7), (3, 5, 4)])
def test_any_number_of_axes_and_odd_sizes(size):
    spec = Grid(2, size)
    flow = Flow(spec, CondSpec(), Config(width=8, multiples=(1, 2)))
    assert spec.contains(flow.sample(Cond(), SampleRng(0, range(3)), Options(steps=3)))


@pytest.mark.parametrize("width", [4, 12, 56, 100])
def test_any_width_can_be_asked_for(width):
    """Attention at the lowest level needs heads that divide its width."""
    spec = Grid(1, (8, 8))
    flow = Flow(spec, CondSpec(), Config(width=width, multiples=(1, 2)))
    assert spec.contains(flow.sample(Cond(), SampleRng(0, range(2)), Options(steps=1)))
