"""The gan family against its papers: known values, the optimal discriminator, penalties, coverage, collapse."""

import math
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from aurify.cond import Cond, CondSpec, from_labels
from aurify.families.gan import GAMES, Config, Gan, Options, squared_slope
from aurify.nets.augment import augment, translate
from aurify.nets.conv import along_axes, pyramid, resize, shrink
from aurify.parallel import Group
from aurify.rng import BatchRng, SampleRng
from aurify.spec import Grid


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small only wait for a second one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


LABELS = CondSpec(("a", "b", "c"))
SPECS = [Grid(1, (5, 7)), Grid(1, (28, 28)), Grid(3, (9, 16)), Grid(2, (100,)), Grid(3, ()), Grid(1, (3, 8, 11))]
ROW = Grid(2, ())


def built(spec, cond=LABELS, **settings) -> Any:
    torch.manual_seed(0)
    return Gan(spec, cond, Config(**{"width": 8, "latent": 8, **settings}))


def asked(n):
    return from_labels([i % 3 for i in range(n)], LABELS)


def train(gan, data, steps, rates=None, batch=128):
    """The loop in short: data(rng) -> (x, cond). Returns each phase's logged values, averaged over 50 steps a time."""
    optimizers = {p.name: p.optimizer(p.params) for p in gan.phases()}
    for name, rate in (rates or {}).items():
        optimizers[name].param_groups[0]["lr"] = rate
    log = []
    for step in range(steps):
        if step % 50 == 0:
            log.append({})
        for phase in gan.phases():
            gan.requires_grad_(False)
            for p in phase.params:
                p.requires_grad_(True)
            x, cond = data(BatchRng(2 * step, batch))
            losses = gan.loss(x, cond, phase.name, BatchRng(2 * step + 1, batch))
            gan.zero_grad()
            losses["loss"].backward()
            optimizers[phase.name].step()
            if phase.gather:
                phase.gather(Group())
            for name, value in losses.items():
                key = f"{phase.name}/{name}"
                log[-1][key] = log[-1].get(key, 0.0) + float(value.detach()) / 50
    return log


CENTRES = 0.7 * torch.stack([torch.tensor([math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)]) for k in range(8)])


def ring(rng):
    """Eight Gaussians on a circle."""
    k = (rng.uniform() * 8).long()
    return CENTRES[k] + 0.03 * rng.normal(2), Cond()


@pytest.mark.parametrize(
    ("loss", "discriminator", "generator", "at"),
    [
        ("relativistic", math.log(2), math.log(2), 0.0),
        ("minimax", 2 * math.log(2), -math.log(2), 0.0),
        ("nonsaturating", 2 * math.log(2), math.log(2), 0.0),
        ("hinge", 2.0, 0.0, 0.0),
        ("least_squares", 1 / 4, 1 / 8, 0.5),
    ],
)
def test_a_discriminator_that_cannot_tell_is_worth_what_the_paper_says(loss, discriminator, generator, at):
    logits = torch.full((4,), at)
    game = GAMES[loss]
    torch.testing.assert_close(game.discriminator(logits, logits), torch.full((4,), discriminator))
    torch.testing.assert_close(game.generator(logits, logits), torch.full((4,), generator))
    assert game.even == pytest.approx(discriminator)


@pytest.mark.parametrize("loss", GAMES)
def test_each_side_of_a_game_pulls_its_own_way(loss):
    """The discriminator wants r up and f down, the generator f up, from the even point."""
    r, f = torch.full((2, 3), 0.5 if loss == "least_squares" else 0.0).requires_grad_().unbind(0)
    up_r, up_f = torch.autograd.grad(GAMES[loss].discriminator(r, f).sum(), (r, f))
    assert (up_r < 0).all() and (up_f > 0).all()
    (up,) = torch.autograd.grad(GAMES[loss].generator(r, f).sum(), f)
    assert (up < 0).all()


class Linear(nn.Module):
    """d(x) = w . x"""

    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x, vector):
        return x.flatten(1) @ self.w


@pytest.mark.parametrize(("loss", "penalties"), [("relativistic", 2), ("hinge", 1)])
def test_the_slope_penalty_of_a_linear_discriminator_is_its_squared_weight(loss, penalties):
    w = torch.tensor([3.0, -4.0])
    gan = built(ROW, loss=loss, gamma=0.5)
    gan.discriminator = Linear(w)
    x = BatchRng(1, 6).normal(2)
    out = gan.loss(x, asked(6), "discriminator", BatchRng(2, 6))
    out["loss"].backward()
    assert float(out["r1"]) == pytest.approx(25)
    assert ("r2" in out) == (penalties == 2)
    assert float((out["loss"] - out["adversarial"]).detach()) == pytest.approx(0.5 / 2 * 25 * penalties, rel=1e-4)
    without = built(ROW, loss=loss, gamma=0.0)
    without.discriminator = Linear(w)
    without.loss(x, asked(6), "discriminator", BatchRng(2, 6))["loss"].backward()
    (pulled,), (bare,) = ([p.grad for p in g.discriminator.parameters()] for g in (gan, without))
    pull = pulled - bare  # the penalty's own gradient: gamma w for each
    torch.testing.assert_close(pull, 0.5 * w * penalties, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("lazy", [1, 4, 8])
def test_the_slopes_of_some_rows_stand_for_those_of_all(lazy):
    """Of d(x) = |x|^2 / 2 the slope is x: the penalty is that of every lazy-th row, and parts add up to the whole."""
    gan = built(ROW, loss="hinge", gamma=0.5, lazy=lazy)
    gan.judge = lambda x, cond: x.square().sum(1) / 2
    x = BatchRng(1, 24).normal(2)
    whole = gan.loss(x, asked(24), "discriminator", BatchRng(2, 24))
    assert float(whole["r1"]) == pytest.approx(float(x[::lazy].square().sum(1).mean()))
    r1, parts = 0.0, ((0, 5), (5, 6), (6, 24))
    for start, stop in parts:
        part = gan.loss(x[start:stop], asked(stop - start), "discriminator", BatchRng(2, 24, start, stop))
        r1 += float(part["r1"]) * (stop - start) / 24
    assert r1 == pytest.approx(float(whole["r1"]))


def test_the_slope_of_a_network_is_that_of_finite_differences():
    d = built(Grid(1, (9, 8)), LABELS).double().discriminator
    for p in d.parameters():  # past the zeros it starts from
        nn.init.normal_(p, std=0.2)
    x = torch.randn(2, 1, 9, 8, dtype=torch.double, requires_grad=True)
    vector = torch.eye(3, dtype=torch.double)[:2]
    slopes = squared_slope(d(x, vector), x)
    h = 1e-6 * torch.eye(72, dtype=torch.double).reshape(72, 1, 9, 8)
    for i in range(2):
        rise = [d(x[i : i + 1] + s * h, vector[i : i + 1].expand(72, -1)) for s in (1, -1)]
        exact = ((rise[0] - rise[1]) / 2e-6).square().sum()
        torch.testing.assert_close(slopes[i], exact, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("patch", [1, 2])
def test_any_size_is_made_and_judged(spec, patch):
    gan = built(spec, patch=patch)
    for cond in (asked(4), from_labels([None] * 4, LABELS), Cond()):
        made = gan.sample(cond, SampleRng(0, range(4)), Options())
        assert spec.contains(made) and made.shape == (4, *spec.shape)
        assert gan.judge(made.clone(), cond).shape == (4,)
        assert float(made.square().mean().sqrt()) < 2  # about the range of samples before any training


def test_levels_halve_rounding_up_and_long_waves_shrink_by_four():
    assert pyramid((28, 28), 2) == [(14, 14), (7, 7), (4, 4)]
    assert pyramid((5, 7), 1) == [(5, 7), (3, 4)]
    assert pyramid((1000,), 1) == [(1000,), (250,), (63,), (16,), (4,)]
    assert pyramid((), 1) == [()]


@pytest.mark.parametrize(("spec", "flat"), [(Grid(1, (28, 28)), False), (Grid(1, (5, 7)), True), (Grid(9, ()), True)])
def test_small_grids_get_a_multilayer_network_unless_asked_otherwise(spec, flat):
    assert built(spec).flat == flat
    assert built(spec, network="multilayer").flat
    assert built(spec, network="convolutional").flat == (not spec.size)


@pytest.mark.parametrize("loss", GAMES)
def test_the_loss_of_a_batch_is_the_mean_of_its_parts(loss):
    """Every logged figure too: no row sees another, whatever is dropped, augmented or penalised."""
    gan = built(Grid(3, (9, 8)), loss=loss, augment=0.7)
    x, cond = Grid(3, (9, 8)).like(BatchRng(1, 6)), asked(6)
    for phase in ("discriminator", "generator"):
        whole = gan.loss(x, cond, phase, BatchRng(5, 6))
        cuts = [slice(0, 1), slice(1, 6)]
        parts = [gan.loss(x[c], cond.each(lambda s, c=c: s[c]), phase, BatchRng(5, 6, c.start, c.stop)) for c in cuts]
        for name, value in whole.items():
            total = parts[0][name] + 5 * parts[1][name]
            torch.testing.assert_close(total / 6, value, rtol=1e-4, atol=1e-5, msg=name)


def test_a_loss_leaves_the_batch_as_it_was():
    gan, x = built(Grid(1, (8, 8))), torch.zeros(3, 1, 8, 8)
    gan.loss(x, asked(3), "discriminator", BatchRng(0, 3))["loss"].backward()
    assert not x.requires_grad and x.grad is None


@pytest.mark.parametrize("spec", [Grid(3, (9, 8)), Grid(1, (40,)), Grid(1, (2, 6, 5)), Grid(4, ())], ids=str)
def test_augmentation_is_the_identity_at_strength_zero_and_linear_in_the_sample(spec):
    x, y = (spec.like(BatchRng(seed, 5)).double() for seed in (1, 2))
    assert augment(x, 0.0, BatchRng(3, 5)) is x
    shown = [augment(s, 1.0, BatchRng(3, 5)) for s in (x, y, (x + y) / 2)]
    torch.testing.assert_close((shown[0] + shown[1]) / 2, shown[2])
    assert torch.equal(shown[0], x) == (spec.size == ())
    few = x[:2, :1].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: augment(s, 0.8, BatchRng(4, 2)), few)


def test_a_translated_picture_is_moved_by_whole_places_and_filled_with_zeros():
    x = torch.zeros(64, 1, 17, 33)
    x[:, :, 8, 16] = 1.0
    moved = translate(x, 1.0, BatchRng(0, 64))
    assert (moved.flatten(1).sum(1) == 1).all()
    rows, columns = moved[:, 0].sum(2).argmax(1) - 8, moved[:, 0].sum(1).argmax(1) - 16
    assert rows.min() == -2 and rows.max() == 2 and columns.min() == -4 and columns.max() == 4


class Gaussian(nn.Module):
    """g(z) ~ N(mean, std^2)"""

    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, z, vector):
        return self.mean + self.std * z


def log_normal(x, mean, std):
    return -0.5 * ((x - mean) / std).square() - math.log(std * math.sqrt(2 * math.pi))


def test_a_trained_discriminator_meets_the_optimum():
    """Against N(m, s^2) it tends to log p(x) / q(x), worth 2 JSD - log 4 (Goodfellow et al. 2014, Prop. 1)."""
    p, q = (0.4, 0.5), (-0.3, 0.7)
    gan = built(Grid(1, ()), CondSpec(), loss="minimax", gamma=0.0, width=24, latent=1)
    gan.generator = Gaussian(*q)
    d = gan.phases()[0]
    optimizer = d.optimizer(d.params)
    for step in range(500):
        optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / 500)
        x = p[0] + p[1] * BatchRng(2 * step, 1024).normal(1)
        losses = gan.loss(x, Cond(), "discriminator", BatchRng(2 * step + 1, 1024))
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    x = torch.linspace(-1.2, 1.4, 100)
    with torch.no_grad():
        error = gan.judge(x[:, None], Cond()) - (log_normal(x, *p) - log_normal(x, *q))
    assert float(error.square().mean().sqrt()) < 0.12
    x = torch.linspace(-6, 6, 20_001, dtype=torch.double)
    dp, dq = log_normal(x, *p).exp(), log_normal(x, *q).exp()
    kl = lambda a, b: float(torch.trapezoid(a * ((a + 1e-300) / (b + 1e-300)).log(), x))  # noqa: E731
    jsd = (kl(dp, (dp + dq) / 2) + kl(dq, (dp + dq) / 2)) / 2
    fresh = 1 << 16
    x = p[0] + p[1] * BatchRng(1 << 20, fresh).normal(1)
    value = -float(gan.loss(x, Cond(), "discriminator", BatchRng(1 << 21, fresh))["loss"].detach())
    assert value == pytest.approx(2 * jsd - math.log(4), abs=0.01)


def kinds(gan, log):
    return {kind for figures in log for kind, _ in gan.notices(figures)}


def test_the_default_loss_finds_all_eight_gaussians_and_raises_no_alarm():
    gan = built(ROW, CondSpec(), width=48, depth=2, gamma=0.02, lr=5e-3)
    log = train(gan, ring, 600, batch=256)
    made = gan.sample(Cond(), SampleRng(1, range(800)), Options())
    off, nearest = torch.cdist(made, CENTRES).min(1)
    counts = torch.bincount(nearest[off < 0.15], minlength=8)
    assert counts.min() > 20, counts  # noise over the square would give each 9
    assert counts.sum() > 350, counts
    assert float(made.abs().max()) < 1.2
    assert kinds(gan, log) == set()
    assert log[-1]["generator/apart"] == pytest.approx(log[-1]["generator/off"], rel=0.1)


def test_a_collapse_is_noticed():
    """The classic one: a generator with momentum and no penalty runs after a discriminator that is slower than it."""
    gan = built(ROW, CondSpec(), loss="nonsaturating", gamma=0.0, width=32, depth=2, betas=(0.9, 0.99))
    log = train(gan, ring, 600, rates={"generator": 3e-3, "discriminator": 1e-4})
    said = [text for figures in log for kind, text in gan.notices(figures) if kind == "collapse"]
    assert said and "the same sample again and again" in said[0]


def test_a_generator_that_runs_away_is_noticed():
    gan = built(ROW, CondSpec(), loss="minimax", gamma=0.0, width=32)
    assert "runaway" in kinds(gan, train(gan, ring, 100, rates={"generator": 0.3}))


def test_a_discriminator_that_wins_is_noticed():
    """Data far from what is made and a generator that stands still."""
    gan = built(ROW, CondSpec(), loss="minimax", gamma=0.0, width=32, lr=5e-3)
    far = lambda rng: (3 + 0.1 * rng.normal(2), Cond())  # noqa: E731
    assert "discriminator-won" in kinds(gan, train(gan, far, 150, rates={"generator": 0.0}))


def test_a_label_is_followed_and_none_is_still_a_sample_of_the_data():
    spec = CondSpec(tuple("abcdefgh"))

    def labelled(rng):
        k = (rng.uniform() * 8).long()
        return CENTRES[k] + 0.05 * rng.normal(2), from_labels(k, spec)

    gan = built(ROW, spec, width=32, depth=2, gamma=0.05, lr=3e-3)
    log = train(gan, labelled, 300)
    k = torch.arange(400) % 8
    made = gan.sample(from_labels(k, spec), SampleRng(0, range(400)), Options())
    assert float((torch.cdist(made, CENTRES).argmin(1) == k).float().mean()) > 0.95
    free = gan.sample(from_labels([None] * 400, spec), SampleRng(0, range(400)), Options())
    assert torch.bincount(torch.cdist(free, CENTRES).argmin(1), minlength=8).min() > 10
    assert kinds(gan, log) == set()


def test_a_row_that_asks_for_nothing_gets_the_labels_of_the_data_by_chance():
    gan = built(Grid(1, (8, 8)))
    given = from_labels([0] * 50 + [1] * 30 + [None] * 20, LABELS)
    gan.loss(gan.spec.like(BatchRng(0, 100)), given, "discriminator", BatchRng(0, 100))
    next(phase for phase in gan.phases() if phase.gather).gather(Group())
    assert gan.told.tolist() == [50, 30, 0, 20]
    free = gan.chosen(from_labels([None] * 4000, LABELS), SampleRng(0, range(4000))).vector
    assert free.mean(0).tolist() == pytest.approx([0.5, 0.3, 0.0], abs=0.03)
    asked = from_labels([2, None], LABELS)
    assert torch.equal(gan.chosen(asked, SampleRng(0, range(2))).vector[0], asked.vector[0])


def test_truncation_shrinks_towards_the_most_typical_sample():
    gan = built(Grid(1, (8, 8)))
    same = from_labels([1] * 6, LABELS)
    made = [gan.sample(same, SampleRng(0, range(6)), Options(truncation=t)) for t in (0.0, 0.5, 1.0)]
    spread = [float(m.std(0).mean()) for m in made]
    assert spread[0] == pytest.approx(0, abs=1e-6) and spread[0] < spread[1] < spread[2]


@pytest.mark.parametrize(("size", "new"), [((7,), (3,)), ((9, 8), (5, 4)), ((4, 6, 5), (2, 3, 3))])
def test_a_change_of_size_is_the_same_axis_by_axis(size, new):
    small, large = (torch.rand(2, 3, *axes, dtype=torch.float64) for axes in (new, size))
    torch.testing.assert_close(along_axes(large, new, F.adaptive_avg_pool1d), shrink(large, new))
    torch.testing.assert_close(along_axes(small, size, partial(F.interpolate, mode="linear")), resize(small, size))
