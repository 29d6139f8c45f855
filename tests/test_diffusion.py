"""Paths and predictions: inverses, slopes, and the published forms of DDPM and EDM."""

import pytest
import torch

from aurify import bound
from aurify.diffusion import PATHS, SPREAD, Ddpm, Mix
from aurify.solvers import variances

TIMES = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)


@pytest.mark.parametrize("path", PATHS)
def test_slopes_are_the_derivatives(path):
    path, e = PATHS[path], 1e-6
    for value, slope in ((path.alpha, path.d_alpha), (path.sigma, path.d_sigma)):
        torch.testing.assert_close((value(TIMES + e) - value(TIMES - e)) / (2 * e), slope(TIMES), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_the_time_of_a_ratio_of_noise_is_found_again(path):
    path = PATHS[path]
    torch.testing.assert_close(path.time(path.sigma(TIMES) / path.alpha(TIMES)), TIMES, rtol=0, atol=1e-6)


def test_ddpm_is_the_product_of_its_thousand_steps():
    """Also in float32, in which a difference of large Gammas would keep no digit."""
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    product = (1 - beta).cumprod(0)
    path, k = Ddpm(), torch.arange(1, 1001)
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
        t = (1 - k.double() / 1000).to(dtype)
        torch.testing.assert_close(path.alpha(t), product.sqrt().to(dtype), rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(path.sigma(t), (1 - product).sqrt().to(dtype), rtol=30 * tolerance, atol=tolerance)
    t = 1 - k.double() / 1000
    small, large = variances(path, t[1:], t[:-1])
    torch.testing.assert_close(large, beta[1:], rtol=1e-6, atol=0)
    torch.testing.assert_close(small, beta[1:] * (1 - product[:-1]) / (1 - product[1:]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("prediction", ["velocity", "data", "noise", "edm"])
def test_both_ends_of_the_path_follow_from_any_prediction(path, prediction):
    x_1, x_0 = torch.randn(2, 25, 3, dtype=torch.float64)
    mix = Mix.at(PATHS[path], prediction, TIMES, 2)
    x = mix.alpha * x_1 + mix.sigma * x_0
    said = mix.target(x_1, x_0)
    for found, true in zip(mix.ends(x, said), (x_1, x_0), strict=True):
        torch.testing.assert_close(found, true, rtol=0, atol=1e-6)
    torch.testing.assert_close(mix.velocity(x, said), mix.d_alpha * x_1 + mix.d_sigma * x_0, rtol=1e-6, atol=1e-6)


def test_edm_is_the_preconditioning_of_karras():
    """D = c_skip x + c_out F(c_in x), with the coefficients of Table 1, and unit variance of what is asked for."""
    mix = Mix.at(PATHS["edm"], "edm", TIMES, 2)
    s, d = mix.sigma, SPREAD
    x, f = torch.randn(2, 25, 3, dtype=torch.float64)
    denoised = d**2 / (s**2 + d**2) * x + s * d / (s**2 + d**2).sqrt() * f
    torch.testing.assert_close(mix.ends(x, f)[0], denoised)
    torch.testing.assert_close(1 / mix.scale, 1 / (s**2 + d**2).sqrt())
    x_1, x_0 = d * torch.randn(25, 100_000, dtype=torch.float64), torch.randn(25, 100_000, dtype=torch.float64)
    torch.testing.assert_close(mix.target(x_1, x_0).std(1), torch.ones(25).double(), rtol=0.02, atol=0)


@pytest.mark.parametrize("k", [600, 100, 10, 2])
def test_the_bound_is_least_at_the_true_variance_of_a_step(k):
    """Data N(0, d^2), means as they are: the share of log variance that the bound asks for is that of Var(x' | x).
    Given x, two data points a standard deviation off their mean stand for all."""
    path, d = PATHS["ddpm"], 0.6
    t = torch.tensor([[1 - k / 1000]] * 2, dtype=torch.float64)
    alpha, sigma, alpha_next, sigma_next = path.alpha(t), path.sigma(t), path.alpha(t + 0.001), path.sigma(t + 0.001)
    v, after = (alpha * d) ** 2 + sigma**2, (alpha_next * d) ** 2 + sigma_next**2
    x = torch.full((2, 1), 0.3, dtype=torch.float64)
    said = alpha * d**2 * x / v, sigma * x / v
    x_1 = said[0] + torch.tensor([[1.0], [-1.0]]) * d * sigma / v.sqrt()
    x_0 = (x - alpha * x_1) / sigma
    small, large = variances(path, t, t + 0.001)
    true = after - (alpha / alpha_next * after) ** 2 / v
    wanted = ((true / small).log() / (large / small).log())[0]
    shares = torch.linspace(0, 1, 101, dtype=torch.float64)
    costs = [bound.bound(path, t, (x_1, x_0), said, s.expand(2, 1), 0.0).mean() for s in shares]
    assert float(shares[torch.stack(costs).argmin()]) == pytest.approx(float(wanted), abs=0.02)


def test_the_last_step_of_the_bound_is_a_likelihood():
    """Of grey levels it sums to one; of values without levels it is a normal density."""
    levels = torch.arange(256, dtype=torch.float64) * (2 / 255) - 1
    for mean, std in ((0.0, 0.3), (0.9, 0.02), (-1.2, 0.1)):
        mean, std = (torch.full_like(levels, value) for value in (mean, std))
        assert float(bound.log_normal(levels, mean, std, 1 / 255).exp().sum()) == pytest.approx(1, abs=1e-6)
        density = torch.distributions.Normal(mean, std).log_prob(levels)
        torch.testing.assert_close(bound.log_normal(levels, mean, std, 0.0), density)
