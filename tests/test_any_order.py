"""The masked objective against the enumeration of all orders and of all sets of hidden places."""

import itertools
import math
from functools import partial
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from aurify import any_order
from aurify.cond import Cond, CondSpec, from_labels, from_rows
from aurify.errors import UserError
from aurify.families.transformer import Config, Options, Transformer
from aurify.rng import BatchRng, SampleRng
from aurify.spec import Tokens
from test_transformer import LABELS, NOTHING, everything, make

TINY = [Tokens(3, 3), Tokens(3, 3, end=2), Tokens(3, 3, sizes=(2, 3, 1)), Tokens(3, 3, end=0, stream=True)]
EXACT = Options(steps=3)  # as many as symbols


def masked(spec: Tokens, cond: CondSpec = NOTHING, **config: Any) -> Transformer:
    return make(spec, cond, objective="masked", **config)


def lengths(spec: Tokens, x: Tensor) -> Tensor:
    return (spec.mask(x) & (x != spec.end)).sum(1) if spec.variable else torch.full((len(x),), x.shape[1])


def told(model: Transformer, x: Tensor, m: Tensor) -> Tensor:
    """log p(x_i | what is not hidden), (n, L, V)."""
    return model.tell(None, None, x, m).log_softmax(-1)


def by_orders(model: Transformer, x: Tensor) -> Tensor:
    """p(x), by its definition: the mean over all orders of the places that are there."""
    spec, m, found = model.spec, lengths(model.spec, x), []
    for row, size in zip(x, m.tolist(), strict=True):
        p = []
        for order in itertools.permutations(range(size)):
            known, log_p = torch.full_like(row, any_order.HIDDEN), torch.zeros(())
            for i in order:
                log_p = log_p + told(model, known[None], torch.tensor([size]))[0, i, row[i]]
                known[i] = row[i]
            p.append(log_p.exp())
        found.append(torch.stack(p).mean())
    total = torch.stack(found)
    if spec.variable:
        total = total * model.length_logits(None, None, 1).softmax(-1)[0, m]
    return total


@pytest.mark.parametrize("spec", TINY[1:3], ids=str)
def test_the_probabilities_of_all_samples_sum_to_one(spec: Tokens) -> None:
    assert by_orders(masked(spec), everything(spec)).sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("spec", TINY[1:], ids=str)
def test_samples_come_as_often_as_the_mean_over_orders_says(spec: Tokens) -> None:
    model, n, x = masked(spec), 1500, everything(spec)
    samples = model.sample(Cond(), SampleRng(5, range(n)), EXACT)
    assert spec.contains(samples)
    same = (samples[:, None] == x).all(-1)
    assert same.any(1).all(), "a sample outside the space"
    expected = n * by_orders(model, x)
    often = expected > 5
    chi_square = ((same.sum(0) - expected)[often] ** 2 / expected[often]).sum()
    freedom = int(often.sum())
    assert chi_square < freedom + 5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("spec", TINY[1:2], ids=str)
def test_the_bound_is_its_definition_and_lies_below_the_likelihood(spec: Tokens) -> None:
    model, x = masked(spec), everything(spec)
    m = lengths(spec, x)
    exact = torch.zeros(len(x))
    for row, size in enumerate(m.tolist()):
        for k in range(1, size + 1):
            subsets = list(itertools.combinations(range(size), k))
            for hidden in subsets:
                known = x[row : row + 1].clone()
                known[0, list(hidden)] = any_order.HIDDEN
                log_p = told(model, known, m[row : row + 1])[0]
                exact[row] += sum(log_p[i, x[row, i]] for i in hidden) / k / len(subsets)  # size/k, k one of size
    if spec.variable:
        exact += model.length_logits(None, None, 1).log_softmax(-1)[0, m]
    rng = BatchRng(0, 400 * len(x))
    many = x.repeat(400, 1)
    draws = model.bound(many, Cond(), rng.uniform(), rng.uniform(spec.length)).view(400, -1)
    error = draws.std(0) / math.sqrt(400)
    assert ((draws.mean(0) - exact).abs() < 5 * error + 1e-5).all()
    assert (exact <= by_orders(model, x).log() + 1e-5).all()
    assert (model.log_prob(x, Cond()) - exact).abs().mean() < 1


def test_every_place_sees_both_sides() -> None:
    spec = Tokens(6, 5)
    model, x = masked(spec), spec.like(BatchRng(0, 4))
    x[:, 3] = any_order.HIDDEN
    m = torch.full((4,), 6)
    for other in (0, 5):
        changed = x.clone()
        changed[:, other] = (x[:, other] + 1) % 5
        assert (told(model, x, m)[:, 3] != told(model, changed, m)[:, 3]).any(1).all()


def test_what_is_given_stays_and_the_rest_is_found() -> None:
    spec = Tokens(8, 6, end=5)
    model = masked(spec)
    x = model.sample(Cond(), SampleRng(0, range(30)), Options(fill=(1, -1, 2, -1, -1)))
    assert (x[:, 0] == 1).all() and (x[:, 2] == 2).all() and (x[:, 5:] == 5).all()
    assert (x[:, :5] < 5).all() and len(x[:, 1].unique()) > 1
    x = model.sample(Cond(), SampleRng(0, range(30)), Options(prefix=(3, 3)))
    assert (x[:, :2] == 3).all() and spec.contains(x)
    assert len(lengths(spec, x).unique()) > 1 and int(lengths(spec, x).min()) >= 2


def test_fewer_steps_are_fewer_looks_at_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Tokens(12, 6)
    model, calls = masked(spec), []
    tell = model.tell
    monkeypatch.setattr(model, "tell", lambda *a, **k: calls.append(1) or tell(*a, **k))
    for steps, expected in ((12, 12), (3, 3), (64, 12)):
        calls.clear()
        assert spec.contains(model.sample(Cond(), SampleRng(0, range(4)), Options(steps=steps)))
        assert len(calls) == expected


@pytest.mark.parametrize("spec", [Tokens(9, 6, end=5), Tokens(9, 6, end=5, stream=True)], ids=str)
def test_a_row_depends_on_itself_alone_and_parts_add_up(spec: Tokens) -> None:
    model, cond = masked(spec, LABELS), from_labels([0, 1, 2, None], LABELS)
    for options in (Options(), Options(guidance=3.0, steps=2)):
        whole = model.sample(cond, SampleRng(5, range(4)), options)
        mixed = model.sample(cond, SampleRng(5, [0, 91, 92, 93]), options)
        assert torch.equal(whole[0], mixed[0]) and not torch.equal(whole[1:], mixed[1:])
    x, asked = spec.like(BatchRng(3, 6)), from_labels([0, 1, 2] * 2, LABELS)
    whole = model.loss(x, asked, "masked", BatchRng(1, 6))
    parts = []
    for start, stop in ((0, 2), (2, 6)):
        part = asked.each(lambda slot, rows=slice(start, stop): slot[rows])
        parts.append(model.loss(x[start:stop], part, "masked", BatchRng(1, 6, start, stop)))
    total = sum(float(p["loss"] * p["weight"]) for p in parts)
    assert total == pytest.approx(float(whole["loss"] * whole["weight"]), rel=1e-5)


def test_it_learns_one_batch_by_heart_and_fills_it_in() -> None:
    """Told a text and all symbols but one, the network knows which is missing."""
    torch.manual_seed(0)
    spec, cond = Tokens(10, 7, end=6), CondSpec((), Tokens(6, 5, end=4))
    model = Transformer(spec, cond, Config(width=32, depth=2, heads=2, objective="masked", drop=0.0))
    x, symbols = spec.like(BatchRng(0, 8)), Tokens(6, 5, end=4).like(BatchRng(1, 8))
    asked = from_rows(torch.full((8,), -1), (symbols, Tokens(6, 5, end=4).mask(symbols)), cond)
    (phase,) = model.phases()
    optimizer = phase.optimizer(phase.params)
    for step in range(150):
        optimizer.zero_grad()
        model.loss(x, asked, phase.name, BatchRng(step, 8))["loss"].backward()
        optimizer.step()
    model.eval().requires_grad_(False)
    m = lengths(spec, x)
    tell = partial(model.tell, None, model.ways(model.memory(asked, 8)))
    right = []
    for i in range(10):
        read = x.clone()
        read[:, i] = any_order.HIDDEN
        right.append((tell(read, m)[:, i].argmax(-1) == x[:, i])[m > i])
    assert torch.cat(right).float().mean() > 0.9
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        (Tokens(4, 3, end=0, stream=True), {"length": 5}, "at most 4"),
        (Tokens(4, 3, end=0), {"fill": (1,) * 5}, "at most 4"),
        (Tokens(4, 3, end=0), {"fill": (1, 7)}, "outside"),
        (Tokens(4, 3, end=0), {"fill": (1, -1), "prefix": (1,)}, "not both"),
    ],
)
def test_impossible_requests_are_refused_in_words(spec: Tokens, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        masked(spec).sample(Cond(), SampleRng(0, [0]), Options(**options))


def test_causal_models_fill_in_nothing_and_masked_ones_have_no_window() -> None:
    spec = Tokens(4, 3, end=0)
    with pytest.raises(UserError, match="objective=masked"):
        make(spec).sample(Cond(), SampleRng(0, [0]), Options(fill=(1, -1)))
    with pytest.raises(ValidationError, match="causal"):
        Config(objective="masked", window=3)
