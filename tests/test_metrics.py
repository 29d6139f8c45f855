"""Metrics on features and probabilities: closed forms and brute force; for laws see test_metric_laws."""

import math

import pytest
import torch

from aurify.evaluate import interval, metric, moments, neighbours
from aurify.evaluate.metric import Blocks
from aurify.evaluate.metrics import fld, frechet, mmd
from faults import SCALES, F, N, draw, value

NEIGHBOURLY = ("precision", "recall", "density", "coverage")


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


def test_duplicates_are_what_could_be_left_out():
    one, real, made = metric.load("duplicates")(), draw(50, 1), draw(40, 2)
    assert one.value(real, made) == 0
    made[10:20] = made[0]  # eleven are one
    made[20:22] = made[1] + 1e-3  # three are nearly one
    assert one.value(real, made) == pytest.approx((10 + 2) / 40)
    assert one.value(real, made[:1].expand(40, -1).clone()) == pytest.approx(39 / 40)


def test_the_perceptual_distance_is_that_of_the_loops():
    real, made = draw(30, 1), draw(20, 2)
    far = [min(float((y - x).norm()) for x in real) for y in made]
    usual = [min(float((x - z).norm()) for k, z in enumerate(real) if k != i) for i, x in enumerate(real)]
    assert value("perceptual", real, made) == pytest.approx(sum(far) / 20 / (sum(usual) / 30), rel=1e-9)


@pytest.mark.parametrize("name", NEIGHBOURLY)
def test_leaving_out_a_block_is_right_where_many_are_copies(name):
    real, made = draw(120, 1), draw(100, 2)
    real[:60], made[:50], made[50:70] = real[0], made[0], real[0]
    blocks = Blocks(torch.arange(120) % 6, torch.arange(100) % 6)
    one = metric.load(name)()
    fast, slow = one.without(real, made, blocks), metric.Metric.without(one, real, made, blocks)
    assert torch.allclose(fast, slow, rtol=1e-12)


@pytest.mark.parametrize(("apart", "value"), [(0.0, 1.0), (1e3, 0.0)])
def test_all_or_none_still_has_an_interval(apart, value):
    real = draw(60, 0)
    found = interval.measure(metric.load("coverage")(), real, real + apart)
    low, high = found.interval
    assert found.value == value and low <= value <= high
    assert high - low == pytest.approx(1 - 0.025 ** (1 / 60))  # Clopper & Pearson, 60 of 60 or none


@pytest.mark.parametrize("value", [0.02, 0.4, 0.97])
def test_a_shares_interval_is_where_its_own_scatter_could_have_made_the_value(value):
    """Wilson's: |v - p| = t sqrt(p (1 - p) / n) at either end p."""
    n, t = 300, 2.0
    ends = interval.of_a_share(value, t * math.sqrt(value * (1 - value) / n), t, n)
    for p in ends:
        assert abs(value - p) == pytest.approx(t * math.sqrt(p * (1 - p) / n), rel=1e-9)
    assert 0 < ends[0] < value < ends[1] < 1


@pytest.mark.parametrize(("degree", "kept"), [(1, 1.0), (2, 0.5)])
def test_what_pairs_share_is_counted_once_and_a_mean_keeps_its_spread(degree, kept):
    """The mean over all samples, or over all pairs of a product of theirs whose chance is of pairs alone."""
    B, ratios = interval.BLOCKS, []

    def figure(x):
        s, q = float(x.sum()), float(x.square().sum())
        return s / len(x) if degree == 1 else (s * s - q) / (len(x) * (len(x) - 1))

    for seed in range(200):
        x = torch.randn(B, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        every = torch.arange(B)
        without = torch.tensor([figure(x[every != b]) for b in range(B)]).double()
        two = torch.tensor([figure(x[every // 2 != j]) for j in range(B // 2)]).double()
        once = interval.counted_once(figure(x), without, two, joint=2)
        assert float(once.mean()) == pytest.approx(float(without.mean()), abs=1e-9)
        ratios.append((interval.spread(once) / interval.spread(without)) ** 2)
    middle = sorted(ratios)[100]
    assert middle == pytest.approx(1, abs=1e-6) if degree == 1 else kept <= middle < 0.8


@pytest.mark.parametrize("constant", [False, True], ids=["regular", "singular"])
def test_frechet_of_wide_features_is_that_of_narrow_ones(monkeypatch, constant):
    """Another library's eigenvalues and products, chosen by width alone; of a singular covariance, too."""
    real, made = draw(N, 1), 1.2 * draw(N, 2)
    if constant:
        real[:, 0] = 0
    narrow = value("frechet", real, made)
    for module in (frechet, moments):
        monkeypatch.setattr(module, "WIDE", 1)
    assert value("frechet", real, made) == pytest.approx(narrow, rel=1e-9)
