"""The wavenet family: the paper's equations as plain convolutions, what it sees and what not, one step at a time."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from aurify.ancestral import Options
from aurify.cond import Cond, CondSpec
from aurify.errors import UserError
from aurify.families.wavenet import Config, WaveNet
from aurify.nets.causal_conv import CausalConv, doubling, receptive_field
from aurify.nets.ring_buffers import Stepping
from aurify.rng import BatchRng, SampleRng
from aurify.spec import Tokens
from enumeration import TINY, everything, shaken, too_often

LABELS, NOTHING = CondSpec(("a", "b", "c")), CondSpec()
STREAM = Tokens(length=16, vocab=7, end=0, stream=True)


def make(spec: Tokens, cond: CondSpec = NOTHING, **config: Any) -> WaveNet:
    torch.manual_seed(0)
    return shaken(WaveNet(spec, cond, Config(**{"width": 8, "depth": 3} | config)))


def net(places: int = 0, vector: int = 0, dilations: tuple[int, ...] = (1, 2, 4, 1, 2, 4)) -> CausalConv:
    torch.manual_seed(0)
    return shaken(CausalConv(6, 5, dilations, width=8, skip=12, vector=vector, places=places))


def test_the_network_is_the_papers_equations_in_dilated_convolutions() -> None:
    model = net(vector=3).double()
    x, c = torch.randint(6, (4, 20)), torch.randn(4, 3).double()
    h = model.embedding(x).mT  # (B, C, T)
    told = model.told(c).view(4, 6, 2, 8, 1)  # layer, filter or gate
    skips = torch.zeros(4, 12, 20).double() + model.skip.bias[:, None]
    for i, d in enumerate(model.dilations):
        kernels = model.taps[i].weight.view(2, 8, 2, 8).transpose(2, 3)  # filter or gate: (out, in, past and now)
        bias = model.taps[i].bias.view(2, 8)
        late = F.pad(h, (d, 0))
        f, g = (F.conv1d(late, kernels[k], bias[k], dilation=d) + told[:, i, k] for k in (0, 1))
        z = f.tanh() * g.sigmoid()
        skips = skips + F.conv1d(z, model.skip.weight[:, 8 * i : 8 * i + 8, None])
        if i < 5:
            h = h + F.conv1d(z, model.residual[i].weight[..., None])
    y = F.relu(F.conv1d(F.relu(skips), model.hidden.weight[..., None], model.hidden.bias))
    expected = F.conv1d(y, model.head.weight[..., None], model.head.bias)
    torch.testing.assert_close(model(x, c)[0], expected.mT, atol=1e-10, rtol=0)


def test_the_future_does_not_change_the_past() -> None:
    for spec in (STREAM, Tokens(16, 7), Tokens(16, 7, end=0)):
        model, x = make(spec), STREAM.like(BatchRng(0, 4))
        changed = x.clone()
        changed[:, 9:] = (x[:, 9:] + 1) % 7
        before, after = model.log_probs(x, Cond())[0], model.log_probs(changed, Cond())[0]
        assert torch.equal(before[:, :9], after[:, :9])
        assert (before[:, 9:] != after[:, 9:]).all()


@pytest.mark.parametrize(("stacks", "depth"), [(1, 3), (2, 2), (3, 1)])
def test_it_sees_as_far_as_its_receptive_field_says(stacks: int, depth: int) -> None:
    field = receptive_field(doubling(stacks, depth))
    assert field == 1 + stacks * (2**depth - 1)
    model, x = make(STREAM, stacks=stacks, depth=depth), STREAM.like(BatchRng(0, 8))
    changed = x.clone()
    changed[:, 0] = (x[:, 0] + 1) % 7
    before, after = model.log_probs(x, Cond())[0], model.log_probs(changed, Cond())[0]
    assert (before[:, field] != after[:, field]).any()
    assert torch.equal(before[:, field + 1 :], after[:, field + 1 :])


EVERY = [*TINY, Tokens(4, 1)]


@pytest.mark.parametrize("spec", EVERY, ids=str)
def test_the_probabilities_of_all_samples_sum_to_one(spec: Tokens) -> None:
    assert make(spec).double().log_prob(everything(spec), Cond()).exp().sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("spec", TINY, ids=str)
def test_samples_come_as_often_as_log_prob_says(spec: Tokens) -> None:
    model, x = make(spec), everything(spec)
    samples = model.sample(Cond(), SampleRng(5, range(4000)), Options())
    assert spec.contains(samples)
    assert too_often(samples, x, model.log_prob(x, Cond()).exp()) < 5


@pytest.mark.parametrize(("places", "vector"), [(0, 0), (40, 3)])
def test_one_step_at_a_time_gives_the_logits_of_all_at_once(places: int, vector: int) -> None:
    model = net(places, vector)
    x, c = torch.randint(6, (5, 40)), torch.randn(5, 3) if vector else None
    stepping = Stepping(model, 5, c)
    steps = torch.stack([stepping.step(x[:, t]) for t in range(40)], 1)
    torch.testing.assert_close(steps, model(x, c)[0], atol=2e-5, rtol=0)


def trained(model: Any, make_x: Any, steps: int, batch: int = 16) -> list[dict[str, float]]:
    """The bare loop: what was logged at each step."""
    (phase,) = model.phases()
    optimizer, told = phase.optimizer(phase.params), []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * (1 - step / steps)
        losses = model.loss(make_x(step, batch), Cond(), phase.name, BatchRng(step, batch))
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        told.append({f"next/{name}": float(value.detach()) for name, value in losses.items()})
    return told


def echoes(step: int, n: int) -> Tensor:
    """Six coins, and the same six again: log 2 nats for each of the first, none for the others."""
    coins = (BatchRng(step, n).uniform(6) < 0.5).long()
    return torch.cat((coins, coins), 1)


def test_what_lies_six_symbols_back_is_learned_where_it_is_in_sight_and_only_there() -> None:
    spec, found = Tokens(12, 2), {}
    for depth in (2, 3):  # sight of 4 and of 8
        torch.manual_seed(0)
        model = WaveNet(spec, NOTHING, Config(width=16, depth=depth, optimizer="adamw", lr=0.08))
        trained(model, echoes, 120, 32)
        found[depth] = -float(model.log_prob(echoes(999, 512), Cond()).detach().mean())
    assert found[2] > 11.9 * math.log(2)  # all twelve as if by chance
    assert 5.9 * math.log(2) < found[3] < 6.1 * math.log(2)  # the entropy of the source


def test_numb_units_are_said_and_a_healthy_training_hears_nothing() -> None:
    for lr, expected in ((0.04, set()), (20.0, {"dead-units"})):
        torch.manual_seed(0)
        model = WaveNet(Tokens(12, 2), NOTHING, Config(width=16, depth=3, lr=lr))
        told = trained(model, echoes, 60)
        assert {kind for losses in told for kind, _ in model.notices(losses)} == expected
        assert math.isfinite(told[-1]["next/loss"])


def test_presets_see_whole_samples_and_no_farther_than_the_windows_of_a_stream() -> None:
    for length in (1, 2, 9, 64, 784):
        for spec in (Tokens(length, 2), Tokens(length, 2, end=0), Tokens(length, 2, end=0, stream=True)):
            for preset in WaveNet.presets(spec):
                field = receptive_field(doubling(preset.config.stacks, preset.config.depth))
                assert field <= max(length, 1 + preset.config.stacks) if spec.stream else field >= length - 1
    assert WaveNet.presets(Tokens(100_000, 2))[0].config.depth == 10  # as in the paper


def test_sight_beyond_the_windows_of_a_stream_is_refused_with_the_depth_that_fits() -> None:
    with pytest.raises(UserError, match=r"look 32 symbols back.*windows of 16.*depth=4"):
        WaveNet(STREAM, NOTHING, Config(depth=5))
    WaveNet(STREAM, NOTHING, Config(depth=4))


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
