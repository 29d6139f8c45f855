"""Metrics on features and probabilities: closed forms, brute force, laws over every one found by name, calibration."""

import math
from itertools import pairwise

import pytest
import torch

from aurify.evaluate import interval, metric, neighbours
from aurify.evaluate.metric import Blocks
from aurify.evaluate.metrics import fld, mmd

LOOKING = [
    name
    for name in metric.names()
    if metric.load(name).of in ("features", "probabilities") and name != "mauve"  # of clusters found by chance
]
NEIGHBOURLY = ("precision", "recall", "density", "coverage")

N, F = 240, 8
SCALES = torch.linspace(1.5, 0.3, F, dtype=torch.float64)  # features are never alike
STRETCHED = torch.tensor([0.7, 1, 1, 1, 1, 1, 1.5, 1.5]).double()
MODES = torch.tensor([[2.0, 0, 0, 0, 0, 0, 0, 0], [-2, 0, 1, 0, 0, 0, 0, 0], [0, 2, -2, 0, 0, 0, 0, 0]]).double()


def draw(n, seed, modes=3):
    """Three modes in F features; their probabilities by distance."""
    g = torch.Generator().manual_seed(seed)
    which = torch.randint(modes, (n,), generator=g)
    return MODES[which] + 0.8 * SCALES * torch.randn(n, F, generator=g, dtype=torch.float64)


def probabilities(x):
    return torch.softmax(-(x[:, None] - MODES).square().sum(2), 1)


def seen(name, x):
    return probabilities(x) if metric.load(name).of == "probabilities" else x


def value(name, real, made):
    return metric.load(name)().value(seen(name, real), seen(name, made))


def faults(name, x, degree, seed):
    """x with a failure, in features; degree 0 is none."""
    g = torch.Generator().manual_seed(seed)
    if name == "noise":
        return x + degree * torch.randn(x.shape, generator=g, dtype=torch.float64)
    if name == "blur":  # what varies least is lost first
        return x.mean(0) + (x - x.mean(0)) * SCALES ** (2 * degree) / SCALES[0] ** (2 * degree)
    if name == "repeats":
        return x[torch.arange(len(x)) % max(2, round(len(x) * 0.3**degree))]
    nearest = (x[:, None] - MODES).square().sum(2).argmin(1)
    return x[nearest < 3 - degree][torch.arange(len(x)) % int((nearest < 3 - degree).sum())]


def badness(name, real, made):
    """How far from the best there is."""
    better, found = metric.load(name).better, value(name, real, made)
    aim = value(name, real, draw(len(made), 999)) if better == "real" else 0
    return {"lower": found, "higher": -found, "real": abs(found - aim)}[better]


# --- closed forms and brute force


def with_moments(n, mean, covariance, seed):
    """n samples whose mean and unbiased covariance are exactly these."""
    x = torch.randn(n, len(mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x - x.mean(0)
    x = torch.linalg.solve_triangular(torch.linalg.cholesky(x.T @ x / (n - 1)), x.T, upper=False).T
    return mean + x @ torch.linalg.cholesky(covariance).T


def test_frechet_of_commuting_covariances_is_the_closed_form():
    """|m1 - m2|^2 + sum (s1 - s2)^2 in the common axes, here turned by a random rotation."""
    Q = torch.linalg.qr(draw(F, 1)).Q
    a, b = SCALES, SCALES.flip(0) + 0.1
    m1, m2 = draw(2, 2)
    real = with_moments(50, m1, Q @ torch.diag(a**2) @ Q.T, 3)
    made = with_moments(70, m2, Q @ torch.diag(b**2) @ Q.T, 4)
    truth = float((m1 - m2).square().sum() + (a - b).square().sum())
    assert value("frechet", real, made) == pytest.approx(truth, rel=1e-10)


def test_frechet_of_any_two_covariances_in_two_dimensions_is_the_closed_form():
    """tr (A B)^(1/2) = sqrt(tr A B + 2 sqrt(det A B)) for 2 x 2."""
    A, B = torch.tensor([[2.0, 0.9], [0.9, 1.0]]).double(), torch.tensor([[0.5, -0.3], [-0.3, 1.7]]).double()
    m = torch.tensor([0.3, -1.0]).double()
    real, made = with_moments(40, m, A, 1), with_moments(30, 0 * m, B, 2)
    root = ((A @ B).trace() + 2 * (A.det() * B.det()).sqrt()).sqrt()
    truth = float(m.square().sum() + A.trace() + B.trace() - 2 * root)
    assert value("frechet", real, made) == pytest.approx(truth, rel=1e-10)


def test_frechet_stands_fewer_samples_than_features_and_dead_features():
    real, made = draw(N, 1), draw(N, 2)
    alive = value("frechet", real, made)
    dead = torch.full((N, 3), 7.3, dtype=torch.float64)
    assert value("frechet", torch.cat([real, dead], 1), torch.cat([made, dead], 1)) == pytest.approx(alive, rel=1e-9)
    assert value("frechet", real[:5], real[:5]) == pytest.approx(0, abs=1e-6)
    assert math.isfinite(value("frechet", real[:5], made[:5]))


def test_frechet_of_many_features_is_that_of_the_product_s_eigenvalues():
    """More features than are computed at a time; the eigenvalues of S1 S2 by the general method."""
    g = torch.Generator().manual_seed(0)
    real, made = (torch.randn(700, 300, generator=g, dtype=torch.float64) * s for s in (1.0, 1.3))
    A, B = real.T.cov(), made.T.cov()
    root = torch.linalg.eigvals(A @ B).sqrt().real.sum()
    truth = (real.mean(0) - made.mean(0)).square().sum() + A.trace() + B.trace() - 2 * root
    assert value("frechet", real, made) == pytest.approx(float(truth), rel=1e-9)


def by_pairs(k, real, made):
    """Unbiased squared MMD by loops over pairs."""

    def mean(x, y, same):
        values = [k(a, b) for i, a in enumerate(x) for j, b in enumerate(y) if not (same and i == j)]
        return sum(values) / len(values)

    return mean(real, real, True) + mean(made, made, True) - 2 * mean(real, made, False)


def test_kid_is_the_sum_over_pairs():
    real, made = draw(23, 1), draw(17, 2) + 0.5
    truth = by_pairs(lambda a, b: (float(a @ b) / F + 1) ** 3, real, made)
    assert value("kid", real, made) == pytest.approx(truth, rel=1e-10)


def test_mmd_is_the_sum_over_pairs():
    real, made = draw(23, 1), draw(17, 2) + 0.5
    nobody = torch.ones(len(real), dtype=torch.long)
    s2 = float(mmd.medians_without(real, nobody, 1))
    truth = by_pairs(lambda a, b: math.exp(-float((a - b).square().sum()) / (2 * s2)), real, made)
    assert value("mmd", real, made) == pytest.approx(truth, rel=1e-10)


def test_the_bandwidth_of_mmd_is_the_median():
    real = draw(N, 1)
    exact = torch.pdist(real).square().median()
    found = mmd.medians_without(real, torch.ones(N, dtype=torch.long), 1)
    assert float(found) == pytest.approx(float(exact), rel=1e-3)


def naive_prdc(real, made, k=5):
    """By loops, as the papers write it."""

    def d(a, b):
        return float((a - b).square().sum())

    def radius(i, x):
        return sorted(d(x[i], x[j]) for j in range(len(x)) if j != i)[k - 1]

    r, s = [radius(i, real) for i in range(len(real))], [radius(j, made) for j in range(len(made))]
    inside = [[d(x, y) <= r[i] for y in made] for i, x in enumerate(real)]
    reached = [any(d(x, y) <= s[j] for j, y in enumerate(made)) for x in real]
    return {
        "precision": sum(any(row[j] for row in inside) for j in range(len(made))) / len(made),
        "recall": sum(reached) / len(real),
        "density": sum(map(sum, inside)) / (k * len(made)),
        "coverage": sum(map(any, inside)) / len(real),
    }


@pytest.mark.parametrize("kind", ["plain", "far from the origin", "copies", "whole numbers"])
def test_precision_recall_density_and_coverage_are_those_of_the_loops(kind):
    """Also where float32 sees no difference, and where distances are equal."""
    real, made = draw(60, 1), 1.2 * draw(45, 2)
    if kind == "far from the origin":
        real, made = real * 1e-3 + 3e3, made * 1e-3 + 3e3
        real[0] += 1e4  # so that no common centre helps
    if kind == "copies":
        real[20:40], made[:10], made[10:30] = real[3], real[:10], made[10]
    if kind == "whole numbers":
        real, made = real.round(), made.round()
    truth = naive_prdc(real, made)
    assert {name: value(name, real, made) for name in NEIGHBOURLY} == pytest.approx(truth, rel=1e-12)


def test_neighbours_are_those_of_float64_in_many_features():
    x = torch.randn(300, 700, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[50:90] = x[7]
    d = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square().fill_diagonal_(torch.inf)
    near = neighbours.nearest(x, 15)
    sure = near.distance.isfinite()
    assert torch.allclose(near.distance[sure], d.sort(1).values[:, :15][sure], rtol=1e-12, atol=0)
    assert sure[:, :10].all()
    kept = torch.arange(300)[:, None] % 20 != torch.arange(20)
    radius = neighbours.radii(x, kept)
    for b in (0, 7, 19):
        rest = d.masked_fill(~kept[:, b], torch.inf).kthvalue(5, 1).values
        assert torch.allclose(radius[kept[:, b], b], rest[kept[:, b]], rtol=1e-12, atol=0)


def test_work_is_remembered_only_as_long_as_the_tensor_is_the_same():
    x = draw(40, 1)
    first = neighbours.nearest(x, 5)
    assert neighbours.nearest(x, 5) is first
    x += torch.arange(40)[:, None] ** 2
    changed = neighbours.nearest(x, 5)
    assert not torch.equal(changed.distance, first.distance)


def test_the_classifier_score_of_sure_and_unsure_samples_is_known():
    sure = torch.eye(4, dtype=torch.float64).repeat(5, 1)
    one = metric.load("inception_score")()
    assert one.value(sure, sure) == pytest.approx(4)
    assert one.value(sure, sure[torch.arange(20) % 4 < 2]) == pytest.approx(2)
    assert one.value(sure, torch.full((6, 4), 0.25, dtype=torch.float64)) == pytest.approx(1)


def test_effective_rank_of_equal_singular_values_is_their_number():
    real = with_moments(50, torch.zeros(F).double(), torch.eye(F).double(), 1)
    made = torch.cat([real[:, :3], torch.zeros(50, 5)], 1)
    assert value("rank", real, made) == pytest.approx(3 / F, rel=1e-6)


def test_diversity_is_the_ratio_of_mean_distances():
    real, made = draw(30, 1), draw(20, 2, modes=1)
    assert value("diversity", real, made) == pytest.approx(float(torch.pdist(made).mean() / torch.pdist(real).mean()))


def test_the_likelihood_of_features_is_that_of_the_mixture_at_its_best_width():
    real, made = draw(40, 1), draw(30, 2)

    def best(x, y, itself):
        found = []
        for t in torch.linspace(-4, 3, 1401).tolist():
            d2 = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
            d2 = d2.fill_diagonal_(torch.inf) if itself else d2
            log_p = (-d2 / (2 * math.exp(t))).logsumexp(1) - math.log(len(y) - itself)
            found.append(float(log_p.mean()) - F / 2 * (t + math.log(2 * math.pi)))
        return max(found)

    truth = 100 / F * (best(real, real, True) - best(real, made, False))
    assert value("fld", real, made) == pytest.approx(truth, abs=0.05)
    t = torch.arange(8, dtype=torch.float64) * math.log(2)
    curve = (2.0 - 3 * t - 40 * (-t).exp())[None]
    assert float(fld.peaks(curve)) == pytest.approx(2 - 3 * math.log(40 / 3) - 3, rel=1e-12)


# --- laws, for every metric found by name

ITSELF = {
    "frechet": 0, "precision": 1, "recall": 1, "density": 1.2, "coverage": 1, "diversity": 1, "rank": 1, "fld": 0
}  # fmt: skip


@pytest.mark.parametrize("name", LOOKING)
def test_a_set_with_itself_is_at_its_best(name):
    """Density counts each sample's own ball: (k + 1) / k. U-statistics leave pairs of a sample and itself out on one
    side only and go below zero. The classifier score is then that of real samples."""
    x = draw(N, 1)
    found = value(name, x, x)
    if name in ITSELF:
        assert found == pytest.approx(ITSELF[name], abs=1e-9)
    elif metric.load(name).better == "real":
        assert found == value(name, draw(N, 2), x)
    else:
        assert metric.load(name).better == "lower" and found <= 0


@pytest.mark.parametrize("name", LOOKING)
def test_the_order_of_samples_does_not_matter(name):
    real, made = draw(N, 1), draw(N - 40, 2) + 0.3
    first, second = torch.randperm(len(real)), torch.randperm(len(made))
    assert value(name, real[first], made[second]) == pytest.approx(value(name, real, made), rel=1e-9)


@pytest.mark.parametrize(("name", "fault"), [(n, f) for n in LOOKING for f in metric.load(n).sees])
def test_a_metric_grows_worse_with_each_failure_it_claims_to_see(name, fault):
    real, made = draw(600, 1), draw(600, 2)
    degrees = (0, 0.5, 1, 2) if fault == "noise" else (0, 1, 2)
    found = [badness(name, real, faults(fault, made, degree, 3)) for degree in degrees]
    assert all(b > a for a, b in pairwise(found)), found


@pytest.mark.parametrize("sizes", [(N, N), (150, 210)])
@pytest.mark.parametrize("name", LOOKING)
def test_leaving_out_a_block_is_the_figure_of_the_others(name, sizes):
    real, made = (seen(name, x) for x in (draw(sizes[0], 1), draw(sizes[1], 2) * 1.1))
    blocks = Blocks(interval.block_of(sizes[0], 0), interval.block_of(sizes[1], 1))
    one = metric.load(name)()
    fast, slow = one.without(real, made, blocks), metric.Metric.without(one, real, made, blocks)
    assert len(fast) == interval.BLOCKS
    assert torch.allclose(fast, slow, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NEIGHBOURLY)
def test_leaving_out_a_block_is_right_where_many_are_copies(name):
    real, made = draw(120, 1), draw(100, 2)
    real[:60], made[:50], made[50:70] = real[0], made[0], real[0]
    blocks = Blocks(torch.arange(120) % 6, torch.arange(100) % 6)
    one = metric.load(name)()
    fast, slow = one.without(real, made, blocks), metric.Metric.without(one, real, made, blocks)
    assert torch.allclose(fast, slow, rtol=1e-12)


@pytest.mark.parametrize("name", [n for n in LOOKING if isinstance(metric.load(n)(), interval.Local)])
def test_the_figures_of_selections_are_those_of_the_selected(name):
    real, made = draw(150, 1), draw(130, 2) * 1.1
    left, right = torch.rand(150, 6) < 0.5, torch.rand(130, 6) < 0.5
    one = metric.load(name)()
    truth = [one.value(real[left[:, c]], made[right[:, c]]) for c in range(6)]
    assert one.of_selections(real, made, left, right).tolist() == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("name", LOOKING)
def test_the_fewest_samples_a_metric_states_are_enough(name):
    n = max(metric.load(name).smallest, F + 1 if name == "frechet" else 0)
    found = interval.measure(metric.load(name)(), seen(name, draw(n, 1)), seen(name, draw(n, 2)))
    assert all(map(math.isfinite, (found.value, *found.interval)))


# --- calibration: what 95 % means


def planted(n, seed):
    """Two Gaussians in 8 features, moved and stretched against each other, and as probabilities of four labels."""
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, n, F, generator=g, dtype=torch.float64)
    return x * SCALES, y * SCALES * STRETCHED + 0.45


def labels(x):
    return torch.softmax(-(x[:, None] - 2 * torch.eye(4, F, dtype=torch.float64)).square().sum(2), 1)


def calibrated(name, n, seed):
    sets = planted(n, seed)
    return tuple(map(labels, sets)) if metric.load(name).of == "probabilities" else sets


def population(name):
    """The figure of infinitely many samples: in closed form, or by two million independent pairs."""
    if name == "frechet":
        return float((SCALES - SCALES * STRETCHED).square().sum() + F * 0.45**2)
    (x, y), (u, v) = calibrated(name, 2_000_000, -1), calibrated(name, 2_000_000, -2)
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


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOKING)
def test_an_interval_of_95_percent_holds_the_truth_in_95_percent(name):
    """The truth is the population's figure where the metric claims it, else the expectation at this n. 400 repeats
    have a standard error of 1.1 %; the quick ones are repeated more often."""
    one = metric.load(name)()
    repeats = 400 if isinstance(one, interval.Local) or name == "mmd" else 1000
    if one.unbiased:
        truth = population(name)
    else:
        truth = sum(one.value(*calibrated(name, 300, 10_000 + s)) for s in range(400)) / 400
    found = [interval.measure(one, *calibrated(name, 300, s), s).interval for s in range(repeats)]
    share = sum(low <= truth <= high for low, high in found) / repeats
    assert 0.93 <= share <= 0.97, share


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOKING)
def test_two_halves_of_the_same_data_are_seldom_called_different(name):
    """Both against a shared reference: a set of samples, and the floor that stands beside it. At most 5 % of the time,
    give or take two standard errors of the count: intervals of 95 % that are exact are wrong in 5 %."""
    one = metric.load(name)()
    repeats = 200 if isinstance(one, interval.Local) or name == "mmd" else 1000
    different = 0
    for s in range(repeats):
        reference, half, other = seen(name, draw(600, s)).split(200)
        floor, made = (interval.measure(one, reference, x, s) for x in (half, other))
        low, high = interval.difference(made, floor).interval
        different += not low <= 0 <= high
    assert different <= 0.05 * repeats + 2 * math.sqrt(0.05 * 0.95 * repeats), different / repeats


@pytest.mark.parametrize(("apart", "value"), [(0.0, 1.0), (1e3, 0.0)])
def test_all_or_none_still_has_an_interval(apart, value):
    real = draw(60, 0)
    found = interval.measure(metric.load("coverage")(), real, real + apart)
    low, high = found.interval
    assert found.value == value and low <= value <= high
    assert high - low == pytest.approx(1 - 0.025 ** (1 / 60))  # Clopper & Pearson, 60 of 60 or none
