"""Settings of the flow family: DDPM with a learned variance, EDM, shortcuts, likelihood; and what goes wrong."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal
from typer.testing import CliRunner

import toys
from aurify import density
from aurify.cli import app
from aurify.cond import Cond, CondSpec, from_labels
from aurify.errors import UserError
from aurify.families.flow import EDGE, Config, Flow, Options
from aurify.rng import BatchRng, SampleRng
from aurify.spec import Grid
from test_flow import ROW, optimal
from test_solvers import MEAN, SPREAD

PICTURE, LABELS = Grid(1, (8, 8)), CondSpec(("a", "b"))
DDPM = {"path": "ddpm", "prediction": "noise", "times": "steps"}
SETTINGS = {
    "edm": {"path": "edm", "prediction": "edm", "times": "log-normal"},
    "learned variance": {**DDPM, "learned_variance": True},
    "learned variance, cosine": {**DDPM, "path": "vp", "learned_variance": True},
    "shortcut": {"shortcut": 0.5, "drop": 0.3},
    "dequantised": {"dequantise": True},
}
SOLVERS = ("euler", "heun", "ddim", "dpm2m", "ancestral", "churn")


def built(spec=PICTURE, cond=LABELS, **settings):
    torch.manual_seed(0)
    return Flow(spec, cond, Config(**{"width": 8, "multiples": (1, 2), **settings}))


def fit(flow, x, cond, steps, lr=None):
    """Full batches, the rate falling to zero; the values of every step."""
    (phase,) = flow.phases()
    optimizer, told = phase.optimizer(phase.params), []
    rates = [group["lr"] if lr is None else lr for group in optimizer.param_groups]
    for step in range(steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - step / steps)
        losses = flow.loss(x, cond, "flow", BatchRng(step, len(x)))
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        told.append({f"flow/{k}": float(v.detach()) for k, v in losses.items()})
    return told


@pytest.mark.parametrize("name", SETTINGS)
def test_the_laws_of_training_hold_with_every_setting(name):
    """Every parameter learns, the loss falls, parts of a batch add up, and samples lie in the spec."""
    flow = built(**SETTINGS[name])
    x, cond = PICTURE.like(BatchRng(3, 8)), from_labels([i % 2 for i in range(8)], LABELS)
    many, asked = x.repeat(8, 1, 1, 1), cond.each(lambda slot: slot.repeat(8, 1))
    before = float(flow.loss(many, asked, "flow", BatchRng(1, 64))["loss"].detach())
    fit(flow, x, cond, 20)
    assert float(flow.loss(many, asked, "flow", BatchRng(1, 64))["loss"].detach()) < 0.98 * before
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in flow.parameters())
    whole = flow.loss(x, cond, "flow", BatchRng(1, 8))
    total = dict.fromkeys(whole, 0.0)
    for rows in (slice(0, 3), slice(3, 8)):
        part = cond.each(lambda slot, rows=rows: slot[rows])
        for key, value in flow.loss(x[rows], part, "flow", BatchRng(1, 8, rows.start, rows.stop)).items():
            total[key] += float(value.detach()) * (rows.stop - rows.start) / 8
    assert total == pytest.approx({k: float(v.detach()) for k, v in whole.items()}, rel=1e-4, abs=1e-6)
    flow.eval()
    for solver in SOLVERS if name == "edm" else ("dpm2m", "ancestral"):
        made = flow.sample(from_labels([0, 1, None], LABELS), SampleRng(0, range(3)), Options(solver=solver, steps=4))
        assert PICTURE.contains(made)


@pytest.mark.parametrize("solver", ["ancestral", "churn"])
def test_noise_on_the_way_belongs_to_the_sample(solver):
    flow = built().eval()
    options = Options(solver=solver, steps=4)
    whole = flow.sample(Cond(), SampleRng(5, range(4)), options)
    mixed = flow.sample(Cond(), SampleRng(5, [7, 1, 8, 9]), options)
    assert torch.equal(whole[1], mixed[1]) and not torch.equal(whole[0], mixed[0])


@pytest.mark.slow
def test_ddpm_with_a_learned_variance_makes_the_data():
    """On N(MEAN, SPREAD^2): few ancestral steps are narrow with the small variance, wide with the large one, and
    between them with the learned one."""
    flow = built(ROW, CondSpec(), width=16, learned_variance=True, **DDPM)
    fit(flow, MEAN + SPREAD * BatchRng(0, 256).normal(1), Cond(), 200)
    spread = {}
    for variance in ("small", "auto", "large"):
        options = Options(solver="ancestral", steps=10, variance=variance)
        spread[variance] = float(flow.sample(Cond(), SampleRng(0, range(2000)), options).std())
    assert spread["small"] < spread["auto"] < spread["large"]
    assert spread["auto"] == pytest.approx(SPREAD, rel=0.15)


def test_one_step_of_a_shortcut_makes_the_data():
    """On N(MEAN, SPREAD^2) the whole way is one affine map, which many steps of the field give too."""
    flow = built(ROW, CondSpec(), width=16, shortcut=0.4)
    fit(flow, MEAN + SPREAD * BatchRng(0, 256).normal(1), Cond(), 200)
    rng = lambda: SampleRng(0, range(2000))  # noqa: E731
    many = flow.sample(Cond(), rng(), Options(steps=40))
    for steps in (1, 2):
        made = flow.sample(Cond(), rng(), Options(solver="shortcut", steps=steps))
        assert float(made.mean()) == pytest.approx(MEAN, abs=0.06)
        assert float(made.std()) == pytest.approx(SPREAD, rel=0.15)
        assert float((made - many).square().mean().sqrt()) < 0.1


LIKELY = [("linear", "velocity"), ("ve", "data"), ("edm", "edm"), ("ddpm", "noise")]


@pytest.mark.parametrize(("path", "prediction"), LIKELY)
def test_the_likelihood_of_gaussian_data_is_the_normal_density(path, prediction, monkeypatch):
    """In the limit of fine steps; where the path begins at data and much noise, but for what noise does not hide."""
    monkeypatch.setattr("aurify.families.flow.FINE", 160)
    flow = built(ROW, CondSpec(), path=path, prediction=prediction)
    monkeypatch.setattr(flow, "predict", optimal(flow))
    x = MEAN + SPREAD * torch.linspace(-2, 2, 9)[:, None]
    exact = Normal(MEAN, SPREAD).log_prob(x)[:, 0]
    torch.testing.assert_close(flow.log_prob(x, Cond()), exact, rtol=0, atol=0.1 if path == "ve" else 0.025)


def gaussian_field(flow, covariance):
    """v(x, t) = (alpha' alpha S + sigma' sigma) (alpha^2 S + sigma^2)^-1 x for data N(0, S) on the linear path."""
    eye = torch.eye(len(covariance))

    def predict(x, t, cond, h=None):
        t = t[0]
        led = (t * covariance - (1 - t) * eye) @ torch.linalg.inv(t**2 * covariance + (1 - t) ** 2 * eye)
        return (x.flatten(1) @ led.T).reshape(x.shape)

    return predict


@pytest.mark.parametrize("n", [density.EXACT, density.EXACT + 8])
def test_likelihoods_of_correlated_data(n, monkeypatch):
    """Exact up to some size; beyond, an estimate whose mean is right."""
    monkeypatch.setattr("aurify.families.flow.FINE", 96)
    flow = built(Grid(n, ()), CondSpec())
    factor = 0.5 * torch.eye(n) + 0.08 * torch.randn(n, n, generator=torch.Generator().manual_seed(0))
    data = MultivariateNormal(torch.zeros(n), factor @ factor.T)
    monkeypatch.setattr(flow, "predict", gaussian_field(flow, factor @ factor.T))
    x = BatchRng(1, 400).normal(n) @ factor.T
    off = flow.log_prob(x, Cond()) - data.log_prob(x)
    if n <= density.EXACT:
        assert float(off.abs().max()) < 0.1
        return
    assert float(off.std()) > 0.1  # an estimate, as its docstring says
    assert abs(float(off.mean())) < 0.05 + 4 * float(off.std()) / math.sqrt(len(off))


def test_the_likelihood_of_pictures_is_that_of_their_grey_levels(monkeypatch):
    """Smooth densities hold as much in a level as its width times their height."""
    flow = built(Grid(1, (2, 2)), CondSpec())
    monkeypatch.setattr(flow, "predict", gaussian_field(flow, 0.09 * torch.eye(4)))
    x = (torch.randint(-60, 60, (50, 1, 2, 2), generator=torch.Generator().manual_seed(0)) * 2 + 1) / 255
    mass = (Normal(0.0, 0.3).cdf(x + 1 / 255) - Normal(0.0, 0.3).cdf(x - 1 / 255)).log().flatten(1).sum(1)
    found = flow.log_prob(x, Cond())
    torch.testing.assert_close(found, mass, rtol=0, atol=0.15)
    with torch.inference_mode():
        assert torch.equal(flow.log_prob(x, Cond()), found)  # evaluations ask in this mode


def test_divergence_is_said_and_a_healthy_training_hears_nothing():
    x, cond = PICTURE.like(BatchRng(3, 8)), from_labels([i % 2 for i in range(8)], LABELS)
    for settings in ({}, {"shortcut": 0.5}):
        healthy, wild = built(**settings), built(**settings, lr=3.0)
        assert not any(healthy.notices(told) for told in fit(healthy, x, cond, 20))
        said = [kind for told in fit(wild, x, cond, 20) for kind, _ in wild.notices(told)]
        assert "diverging" in said
    ((_, text),) = built().notices({"flow/loss": 3.0, "flow/idle": 1.5})
    assert "2.0 times" in text and "--set lr=0.003" in text
    ((_, text),) = built(shortcut=0.5).notices({"flow/loss": 1.0, "flow/long": 6.0, "flow/idle": 1.5})
    assert "long steps" in text


def test_shortcuts_that_were_not_learned_are_refused():
    plain, quick = built().eval(), built(shortcut=0.25).eval()
    asked = {
        "learned no shortcuts": (plain, {}),
        "takes 1, 2, 4, 8 steps": (quick, {"steps": 3}),
        "leave guidance": (quick, {"guidance": 1.0}),
    }
    for why, (flow, options) in asked.items():
        with pytest.raises(UserError, match=why):
            flow.sample(Cond(), SampleRng(0, range(2)), Options(**{"solver": "shortcut", "steps": 1, **options}))
    with pytest.raises(ValueError, match="shortcuts need path=linear"):
        Config(shortcut=0.25, path="vp")


def test_the_command_line_says_what_does_not_fit(tmp_path):
    """One sentence and exit code 2 for settings and options that exclude each other."""
    data = toys.write_pictures(tmp_path / "data")
    asked = ["train", str(data), "--family", "flow", "--steps", "2", "--out", str(tmp_path / "run")]
    told = CliRunner().invoke(app, [*asked, "--set", "shortcut=0.2", "--set", "path=edm"])
    assert isinstance(told.exception, UserError) and "shortcuts need path=linear" in str(told.exception)
    told = CliRunner().invoke(app, [*asked, "--set", "path=curved"])
    assert isinstance(told.exception, UserError) and "linear" in str(told.exception)


def test_times_of_training_are_those_asked_for():
    rng = lambda: BatchRng(0, 20_000)  # noqa: E731
    flow = built(**SETTINGS["edm"])
    log_s = flow.path.sigma(flow.times(rng())).log()
    assert float(log_s.mean()) == pytest.approx(-1.2, abs=0.03) and float(log_s.std()) == pytest.approx(1.2, abs=0.03)
    steps = (1000 * (1 - built(**DDPM).times(rng()))).round().unique()
    assert (steps.min(), steps.max()) == (1, 999) and len(steps) == 999  # the thousandth is a hair nearer: see EDGE
    logit = built().times(rng()).logit()
    assert float(logit.mean()) == pytest.approx(0, abs=0.03) and float(logit.std()) == pytest.approx(1, abs=0.03)
    assert float(built(times="uniform").times(rng()).min()) >= EDGE
