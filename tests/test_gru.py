"""The recurrent family against torch.nn.GRU, against itself a symbol at a time, against enumeration; its failures."""

import math
from typing import Any

import pytest
import torch

import toys
from aurify.cond import Cond, CondSpec, from_labels
from aurify.errors import UserError
from aurify.events import Notice
from aurify.families.gru import PATIENCE, Config, Gru, Options, health
from aurify.loop import train
from aurify.nets.gru import FEW, Reading, Recurrence, Recurrent
from aurify.rng import BatchRng, SampleRng
from aurify.spec import Tokens
from enumeration import TINY, everything, shaken, too_often

LABELS, NOTHING = CondSpec(("a", "b", "c")), CondSpec()
STREAM = Tokens(length=16, vocab=7, end=0, stream=True)
SHAPES = [{"depth": 1}, {"depth": 3}, {"depth": 2, "tie": True}]


def make(spec: Tokens, cond: CondSpec = NOTHING, **config: Any) -> Gru:
    torch.manual_seed(0)
    return shaken(Gru(spec, cond, Config(**{"width": 16, "depth": 2} | config)))


def net(symbols: int = 12, **config: Any) -> Recurrent:
    torch.manual_seed(0)
    return shaken(Recurrent(symbols, symbols - 1, 16, **config))


def tokens(*shape: int, symbols: int = 12) -> torch.Tensor:
    return torch.randint(symbols, shape, generator=torch.Generator().manual_seed(1))


# Against torch.nn.GRU


def test_the_gradient_of_the_recurrence_is_its_derivative() -> None:
    shapes = (5, 2, 9), (2, 3), (9, 3), (9,)
    inputs = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(Recurrence.apply, inputs)


@pytest.mark.parametrize("symbols", [12, FEW + 1])
@pytest.mark.parametrize("depth", [1, 3])
def test_states_and_gradients_are_those_of_torch_nn_gru(depth: int, symbols: int) -> None:
    model, x = net(symbols, depth=depth).double().requires_grad_(True), tokens(3, 9, symbols=symbols)
    extra, state = torch.randn(3, 16, dtype=torch.float64), torch.randn(depth, 3, 16, dtype=torch.float64)
    found = []
    for read in (model.read, model.fused):
        model.zero_grad()
        states, last = read(x, extra, state)
        (states[-1].cos().sum() + last.sin().sum()).backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        found.append([states[-1].detach(), last.detach(), *gradients])
    assert len(found[0]) == len(found[1]) == 2 + 1 + 4 * depth
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_one_symbol_at_a_time_gives_the_logits_of_all_at_once(config: dict[str, Any]) -> None:
    model, x = net(**config), tokens(5, 24)
    extra = torch.randn(5, 16, generator=torch.Generator().manual_seed(2))
    whole, _ = model(x, extra)
    reading = Reading(model, 5, extra)
    steps = [reading.start(x[:, :4])] + [reading.step(x[:, t]) for t in range(4, 24)]
    torch.testing.assert_close(torch.stack(steps, 1), whole[:, 3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(reading.start(x[:, :9]), whole[:, 8], atol=1e-5, rtol=0)


# Truncated back-propagation through time


def test_a_cut_changes_no_value_and_stops_the_gradient_there() -> None:
    """By hand: windows of four symbols, each from the last state of the one before, taken as a number."""
    model, x = net(depth=2).requires_grad_(True), tokens(3, 12)
    whole, _ = model(x)
    found = []
    for cut in (4, 5, 12, 50):
        logits, states = model(x, cut=cut)
        torch.testing.assert_close(logits, whole)
        assert states.shape == (2, 12, 3, 16)
        found.append(torch.autograd.grad(logits.sin().sum(), [model.gru.weight_hh_l0])[0])
    state, by_hand = None, torch.zeros(())
    for part in x.split(4, 1):
        states, state = model.read(part, None, state)
        state = state.detach()
        by_hand = by_hand + (states[-1] @ model.output.t()).sin().sum()
    torch.testing.assert_close(found[0], torch.autograd.grad(by_hand, [model.gru.weight_hh_l0])[0])
    torch.testing.assert_close(found[2], found[3])
    assert not torch.allclose(found[0], found[2], rtol=0.01)


def test_a_loss_is_a_function_of_its_windows_alone() -> None:
    """No state is left over from other batches: so a resumed training, one in parts, and one on several processes are
    the same."""
    model, x = make(STREAM), STREAM.like(BatchRng(0, 6))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, _, again = (float(model.loss(x[rows], Cond(), "next", BatchRng(0, 3))["loss"])
                       for rows in (slice(0, 3), slice(3, 6), slice(0, 3)))  # fmt: skip
    assert first == again
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# Probabilities


def test_the_future_does_not_change_the_past() -> None:
    model, x = make(STREAM), STREAM.like(BatchRng(0, 4))
    changed = x.clone()
    changed[:, 9:] = (x[:, 9:] + 1) % 7
    before, after = model.log_probs(x, Cond())[0], model.log_probs(changed, Cond())[0]
    assert torch.equal(before[:, :9], after[:, :9])
    assert (before[:, 9:] != after[:, 9:]).all()


@pytest.mark.parametrize("spec", TINY, ids=str)
def test_the_probabilities_of_all_samples_sum_to_one(spec: Tokens) -> None:
    assert make(spec).double().log_prob(everything(spec), Cond()).exp().sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("spec", TINY, ids=str)
def test_samples_come_as_often_as_log_prob_says(spec: Tokens) -> None:
    model, x = make(spec), everything(spec)
    samples = model.sample(Cond(), SampleRng(5, range(4000)), Options())
    assert spec.contains(samples)
    assert too_often(samples, x, model.log_prob(x, Cond()).exp()) < 5


def test_the_loss_is_the_mean_over_symbols() -> None:
    spec = Tokens(12, 5, end=0)
    model, x = make(spec), spec.like(BatchRng(2, 9))
    out = model.loss(x, Cond(), "next", BatchRng(0, 9))
    assert out["loss"] * out["weight"] == pytest.approx(-model.log_prob(x, Cond()).sum().item(), rel=1e-5)
    assert int(out["weight"]) == int(spec.mask(x).sum())


def test_it_learns_a_dependence_over_many_symbols() -> None:
    """The last of eight symbols repeats the first, with six of noise between: only a state that stays can know it."""
    spec = Tokens(8, 4)
    torch.manual_seed(0)
    model = Gru(spec, NOTHING, Config(width=24, lr=0.03))
    (phase,) = model.phases()
    optimizer = phase.optimizer(phase.params)

    def batch(seed: int) -> torch.Tensor:
        x = spec.like(BatchRng(seed, 64))
        x[:, -1] = x[:, 0]
        return x

    for step in range(150):
        optimizer.zero_grad()
        model.loss(batch(step), Cond(), "next", BatchRng(step, 64))["loss"].backward()
        optimizer.step()
    last = -model.log_probs(batch(10_000), Cond())[0][:, -1].mean().item()
    assert last < 0.3 < math.log(4)


# Sampling


def test_guidance_leans_on_the_label_and_scale_one_is_the_model_itself() -> None:
    model, cond = make(STREAM, LABELS), from_labels([0, 1, None], LABELS)
    plain, guided = (model.sample(cond, SampleRng(1, range(3)), Options(guidance=g)) for g in (1.0, 4.0))
    assert torch.equal(plain[2], guided[2]), "nothing was asked of the third row"
    assert not torch.equal(plain[:2], guided[:2])
    read = torch.cat((model.starts(3), guided[:, :-1]), 1)
    asked, free = (model.net(read, model.extra(c))[0] for c in (cond, from_labels([None] * 3, LABELS)))
    greedy = model.sample(cond, SampleRng(1, range(3)), Options(guidance=4.0, temperature=0, length=1))
    assert torch.equal((free + 4 * (asked - free))[:, 0].argmax(-1), greedy[:, 0])


def test_documents_end_once_and_stay_ended() -> None:
    spec = Tokens(20, 4, end=1)
    x = make(spec).sample(Cond(), SampleRng(0, range(50)), Options(length=15, prefix=(2, 2)))
    assert spec.contains(x) and x.shape == (50, 17) and (x[:, :2] == 2).all()
    assert (spec.mask(x) | (x == 1)).all() and (x == 1).any()


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        (Tokens(4, 3, end=0), {"prefix": (1,) * 5}, "shorten"),
        (Tokens(4, 3), {"length": 2}, "leave the length out"),
        (STREAM, {"prefix": (9,)}, "outside"),
    ],
)
def test_impossible_requests_are_refused_in_words(spec: Tokens, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make(spec).sample(Cond(), SampleRng(0, [0]), Options(**options))


def test_one_symbol_is_nothing_to_learn() -> None:
    with pytest.raises(UserError, match="one symbol"):
        Gru(Tokens(4, 1), NOTHING, Config())


# Failures


def said(run: Any) -> set[str]:
    return {event.kind for event in train(run) if isinstance(event, Notice)}


def test_what_a_rate_that_is_far_too_high_does_to_the_states_is_said(tmp_path: Any) -> None:
    data = toys.write_texts(tmp_path / "data")
    found = said(toys.make(data, "gru", tmp_path / "run", steps=40, lr=3.0, warmup=0.0))
    assert {"saturated", "dead-units"} <= found


def test_a_healthy_training_hears_nothing(tmp_path: Any) -> None:
    data = toys.write_texts(tmp_path / "data")
    run = toys.make(data, "gru", tmp_path / "run", steps=40)
    assert not said(run) & {"saturated", "dead-units", "exploding-gradient"}


def test_states_that_do_not_move_are_dead_and_that_is_said() -> None:
    """An update gate that never opens: what is read leaves no trace."""
    model, x = make(STREAM, depth=1), STREAM.like(BatchRng(0, 4))
    healthy = {f"next/{name}": float(v) for name, v in model.loss(x, Cond(), "next", BatchRng(0, 4)).items()}
    model.net.gru.bias_ih_l0.data[16:32] = 30.0
    dead = {f"next/{name}": float(v) for name, v in model.loss(x, Cond(), "next", BatchRng(0, 4)).items()}
    told = [model.notices(dead) for _ in range(PATIENCE)]
    assert not any(told[:-1]) and [kind for kind, _ in told[-1]] == ["dead-units"]
    assert not any(model.notices(healthy) for _ in range(2 * PATIENCE))


def test_gradients_that_explode_are_said() -> None:
    """Pascanu et al. 2013: a recurrence whose steps expand has a gradient that grows with each symbol."""
    spec = Tokens(64, 7, stream=True)
    torch.manual_seed(0)
    norms = {}
    for scale in (1.0, 8.0):
        model = Gru(spec, NOTHING, Config(width=16))
        model.net.output.data.normal_()
        model.net.gru.weight_hh_l0.data *= scale
        model.net.gru.weight_ih_l0.data *= 0.01  # near zero, where tanh does not damp
        model.loss(spec.like(BatchRng(0, 4)), Cond(), "next", BatchRng(0, 4))["loss"].backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        norms[scale] = model.notices({"next/gradient": float(norm), "next/full": 0.0, "next/still": 0.0})
    assert not norms[1.0] and [kind for kind, _ in norms[8.0]] == ["exploding-gradient"]


def test_health_counts_what_is_at_its_limit_and_what_does_not_move() -> None:
    states = torch.tensor([[0.0, 0.5], [0.0, 0.995], [-1.0, 0.995]]).view(1, 3, 1, 2)
    found = health(states)
    assert found["full"].flatten().tolist() == [0.0, 0.5, 1.0]
    assert found["still"].flatten().tolist() == [0.5, 0.5, 0.5]
