"""Solvers against a flow whose every path is known: Gaussian data."""

from collections import deque
from itertools import count

import pytest
import torch

from aurify import shortcuts, solvers
from aurify.diffusion import PATHS

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


ORDERS = [("euler", 1, "linear"), ("euler", 1, "ve"), ("heun", 2, "linear"), ("heun", 2, "ve")]  # know no path
ORDERS += [(solver, order, path) for solver, order in (("ddim", 1), ("dpm2m", 2)) for path in PATHS]


@pytest.mark.parametrize(("solver", "order", "path"), ORDERS)
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

    assert float((error(128) / error(256)).log2()) == pytest.approx(order, abs=0.2)


def moments_made(solve, times, mean, std):
    """Mean and standard deviation that a solver makes of N(mean, std^2), without chance: on Gaussian data every step is
    affine in x and in its noise, so rows that differ in one of them tell all coefficients."""
    x = torch.zeros(len(times) + 2, 1, dtype=torch.float64)
    x[1] = 1
    calls = count(2)

    def noise():
        z = torch.zeros_like(x)
        z[next(calls)] = 1
        return z

    (end,) = deque(solve(x, times, noise), maxlen=1)
    slope, *draws = (end[1:] - end[0])[:, 0]
    return end[0, 0] + slope * mean, (slope**2 * std**2 + sum(c**2 for c in draws)).sqrt()


STOCHASTIC = {
    "ancestral, small": (1, lambda v, path: lambda x, t, z: solvers.ancestral(v, x, t, path, z, 0.0)),
    "ancestral, large": (1, lambda v, path: lambda x, t, z: solvers.ancestral(v, x, t, path, z, 1.0)),
    "churn": (2, lambda v, path: lambda x, t, z: solvers.churn(v, x, t, path, z, 4.0)),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", STOCHASTIC)
def test_a_stochastic_solver_has_the_right_moments_in_the_limit(name, path):
    """Mean and spread come out right, the nearer the shorter the steps, at the solver's order."""
    order, make = STOCHASTIC[name]
    path = PATHS[path]
    start, stop = torch.tensor(0.2, dtype=torch.float64), torch.tensor(0.9, dtype=torch.float64)
    (m0, s0), (m1, s1) = moments(path, start), moments(path, stop)

    def error(steps):
        times = torch.linspace(0, 1, steps + 1, dtype=torch.float64) * (stop - start) + start
        mean, std = moments_made(make(exact_velocity(path), path), times, m0, s0)
        return (mean - m1).abs() + (std - s1).abs()

    errors = [float(error(n)) for n in (64, 128)]
    assert errors[1] < 0.05 * float(s1)
    assert errors[0] / errors[1] > 2 ** (order - 0.25), f"errors {errors}"


WHOLE = [(solver, path) for solver in ("euler", "heun", "dpm2m") for path in ("linear", "vp", "ve")]
WHOLE += [(solver, path) for solver in ("ddim", "dpm2m", "ancestral", "churn") for path in ("edm", "ddpm")]
WHOLE += [("ancestral", "linear"), ("churn", "vp"), ("ddim", "ve")]


@pytest.mark.parametrize(("solver", "path"), WHOLE)
def test_from_pure_noise_to_data_the_gaussian_is_reproduced(solver, path):
    """Also over the whole of [0, 1], where alpha or sigma vanish and logarithms do not exist."""
    path = PATHS[path]
    times = torch.linspace(0, 1, {"euler": 801, "ancestral": 401}.get(solver, 161), dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    noise = lambda: torch.randn(4000, 1, dtype=torch.float64, generator=generator)  # noqa: E731
    x, exact = noise() * path.sigma(times[0]), exact_velocity(path)
    v = lambda x, t: exact(x, t.clamp(max=0.9999))  # noqa: E731  # at the end some slopes are infinite
    more = {"ancestral": (noise,), "churn": (noise, 4.0)}.get(solver, ())
    (end,) = deque(getattr(solvers, solver)(v, x, times, path, *more), maxlen=1)
    assert float(end.mean()) == pytest.approx(MEAN, abs=0.03)
    assert float(end.std()) == pytest.approx(SPREAD, rel=0.05)


@pytest.mark.parametrize("path", PATHS)
def test_data_and_noise_are_recovered_from_the_velocity(path):
    path = PATHS[path]
    x_1, x_0 = torch.randn(2, 5, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for t in torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64):
        x = path.alpha(t) * x_1 + path.sigma(t) * x_0
        v = path.d_alpha(t) * x_1 + path.d_sigma(t) * x_0
        torch.testing.assert_close(solvers.predicted_data(v, x, t, path), x_1, rtol=0, atol=1e-9)
        torch.testing.assert_close(solvers.predicted_noise(v, x, t, path), x_0, rtol=0, atol=1e-9)


@pytest.mark.parametrize("path", PATHS)
def test_the_two_variances_are_those_of_known_and_of_standard_normal_data(path):
    """Var(x' | x) of jointly normal x', x: V' - cov^2 / V, with data of variance 1 or, given x_1, of variance 0."""
    path = PATHS[path]
    t, t_next = (torch.tensor(value, dtype=torch.float64) for value in (0.3, 0.45))
    keep = path.alpha(t) / path.alpha(t_next)

    def given(spread):
        before, after = ((path.alpha(s) * spread) ** 2 + path.sigma(s) ** 2 for s in (t, t_next))
        return after - (keep * after) ** 2 / before

    small, large = solvers.variances(path, t, t_next)
    torch.testing.assert_close(small, given(0.0))
    torch.testing.assert_close(large, given(1.0))


def test_guidance_extrapolates_inside_its_interval_only():
    asked, free = (lambda x, t: x + 2), (lambda x, t: x)
    both = lambda x, t: torch.cat([x[: len(x) // 2] + 2, x[len(x) // 2 :]])  # noqa: E731
    x = torch.ones(3, 1)
    v = solvers.guided(asked, free, both, 3.0, (0.25, 0.75))
    assert torch.equal(v(x, torch.tensor(0.5)), x + 6)
    assert torch.equal(v(x, torch.tensor(0.1)), x + 2)
    assert solvers.guided(asked, free, both, 1.0, (0, 1)) is asked


def exact_leap(path):
    """The mean velocity over a step of the Gaussian flow, and the velocity itself where the step has no length."""

    def u(x, t, h):
        t, h = t.reshape(-1, 1), h.reshape(-1, 1)
        (m0, s0), (m1, s1) = moments(path, t), moments(path, t + h)
        led = (m1 + s1 * (x - m0) / s0 - x) / h
        return torch.where(h > 0, led, exact_velocity(path)(x, t))

    return u


def test_one_leap_of_a_mean_velocity_is_the_whole_way():
    u = exact_leap(PATHS["linear"])
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    for steps in (1, 2, 3):
        (end,) = deque(solvers.leaps(u, z, torch.linspace(0, 1, steps + 1, dtype=torch.float64)), maxlen=1)
        torch.testing.assert_close(end, MEAN + SPREAD * z)


def test_mean_velocities_are_where_shortcuts_are_learned_from_one_another():
    """The true u meets its own target; only the shortest, learned from the field, is a midpoint rule's error off."""
    u = exact_leap(PATHS["linear"])
    h = torch.tensor([1, 0.5, 0.25, 0.125], dtype=torch.float64).repeat_interleave(5)
    t = (torch.rand(20, dtype=torch.float64) / h).floor() * h
    x = torch.randn(20, 1, dtype=torch.float64)
    true, told = u(x, t, h), shortcuts.target(u, x, t, h)
    torch.testing.assert_close(told[:15], true[:15])
    assert float((told[15:] - true[15:]).abs().max()) < 0.02


def test_shortcuts_start_at_multiples_of_their_length_and_stay_inside():
    from aurify.rng import BatchRng

    t, h = shortcuts.drawn(torch.full((4000,), 0.3), 0.25, BatchRng(0, 4000))
    long = h > 0
    assert float(long.float().mean()) == pytest.approx(0.25, abs=0.03)
    assert bool((t[~long] == 0.3).all())
    assert set(h[long].tolist()) == {1.0, 0.5, 0.25, 0.125}
    assert bool(((t[long] / h[long]) % 1 == 0).all() and (t[long] + h[long] <= 1).all() and (t >= 0).all())
