"""Solvers against a flow whose every path is known: Gaussian data."""

from collections import deque

import pytest
import torch

from aurify import solvers
from aurify.families.flow import PATHS

MEAN, SPREAD = 0.7, 0.4


def moments(path, t):
    """Mean and standard deviation of x_t = alpha x_1 + sigma x_0 for x_1 ~ N(MEAN, SPREAD^2)."""
    return path.alpha(t) * MEAN, (path.alpha(t) ** 2 * SPREAD**2 + path.sigma(t) ** 2).sqrt()


def exact_velocity(path):
    """E[alpha' x_1 + sigma' x_0 | x_t = x] for Gaussian data: both conditional means are linear in x."""

    def v(x, t):
        mean, std = moments(path, t)
        z = (x - mean) / std**2
        x_1 = MEAN + path.alpha(t) * SPREAD**2 * z
        x_0 = path.sigma(t) * z
        return path.d_alpha(t) * x_1 + path.d_sigma(t) * x_0

    return v


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("dpm2m", 2)])
def test_a_solver_converges_at_its_order(solver, order, path):
    """The exact path of a Gaussian flow keeps z = (x - mean) / std; halving the step divides the error by 2**order."""
    path = PATHS[path]
    start, stop = torch.tensor(0.2, dtype=torch.float64), torch.tensor(0.9, dtype=torch.float64)
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    (m0, s0), (m1, s1) = moments(path, start), moments(path, stop)

    def error(steps):
        times = torch.linspace(0, 1, steps + 1, dtype=torch.float64) * (stop - start) + start
        (end,) = deque(getattr(solvers, solver)(exact_velocity(path), m0 + s0 * z, times, path), maxlen=1)
        return (end - (m1 + s1 * z)).abs().max()

    slopes = [float((error(n) / error(2 * n)).log2()) for n in (64, 128, 256)]
    assert slopes[-1] == pytest.approx(order, abs=0.1), f"slopes {slopes}"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("solver", ["euler", "heun", "dpm2m"])
def test_from_pure_noise_to_data_the_gaussian_is_reproduced(solver, path):
    """Also over the whole of [0, 1], where alpha or sigma vanish and logarithms do not exist."""
    path = PATHS[path]
    times = torch.linspace(0, 1, 401, dtype=torch.float64)
    x = torch.randn(4000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * path.sigma(times[0])
    (end,) = deque(getattr(solvers, solver)(exact_velocity(path), x, times, path), maxlen=1)
    assert float(end.mean()) == pytest.approx(MEAN, abs=0.03)
    assert float(end.std()) == pytest.approx(SPREAD, rel=0.05)


@pytest.mark.parametrize("path", PATHS)
def test_data_is_recovered_from_the_velocity(path):
    path = PATHS[path]
    x_1, x_0 = torch.randn(2, 5, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for t in torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64):
        x = path.alpha(t) * x_1 + path.sigma(t) * x_0
        v = path.d_alpha(t) * x_1 + path.d_sigma(t) * x_0
        torch.testing.assert_close(solvers.predicted_data(v, x, t, path), x_1, rtol=0, atol=1e-9)


def test_guidance_extrapolates_inside_its_interval_only():
    asked, free = (lambda x, t: x + 2), (lambda x, t: x)
    both = lambda x, t: torch.cat([x[: len(x) // 2] + 2, x[len(x) // 2 :]])  # noqa: E731
    x = torch.ones(3, 1)
    v = solvers.guided(asked, free, both, 3.0, (0.25, 0.75))
    assert torch.equal(v(x, torch.tensor(0.5)), x + 6)
    assert torch.equal(v(x, torch.tensor(0.1)), x + 2)
    assert solvers.guided(asked, free, both, 1.0, (0, 1)) is asked
