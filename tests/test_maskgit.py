"""The family that fills in: its bound and its samples against all orders listed, what it keeps, failures."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import toys
from aurify.cond import Cond, CondSpec, from_labels
from aurify.errors import UserError
from aurify.events import Notice
from aurify.families import maskgit
from aurify.families.maskgit import Config, MaskGit, Options
from aurify.loop import train
from aurify.rng import BatchRng, SampleRng
from aurify.sample import sample, stream
from aurify.spec import Tokens
from enumeration import everything, shaken, too_often

LABELS, NOTHING = CondSpec(("a", "b", "c")), CondSpec()
STREAM = Tokens(length=16, vocab=7, end=0, stream=True)
TINY = [Tokens(3, 3), Tokens(3, 3, end=2), Tokens(4, 3, end=0), Tokens(3, 3, sizes=(2, 3, 1))]
ONE_BY_ONE = Options(steps=100, order="random", schedule="linear")


def make(spec: Tokens, cond: CondSpec = NOTHING, **config: Any) -> MaskGit:
    torch.manual_seed(0)
    return shaken(MaskGit(spec, cond, Config(**{"width": 32, "depth": 2} | config)))


def terms(model: MaskGit, x: Tensor) -> dict[tuple[bool, ...], Tensor]:
    """-log p(x_i | what is visible) of every x, 0 where visible, for every set of hidden places: (n, L) each."""
    hidden = itertools.product((False, True), repeat=x.shape[1])
    return {m: model.nats(x, torch.tensor(m).expand(x.shape), None)[0] for m in hidden}


def any_order(model: MaskGit, x: Tensor) -> Tensor:
    """log p(x) of the mixture over all orders, by listing them."""
    L, found = x.shape[1], []
    each = terms(model, x)
    for order in itertools.permutations(range(L)):
        hidden, log_p = [True] * L, torch.zeros(len(x))
        for i in order:
            log_p = log_p - each[tuple(hidden)][:, i]
            hidden[i] = False
        found.append(log_p)
    return torch.stack(found).logsumexp(0) - math.log(math.factorial(L))


def exact_bound(model: MaskGit, x: Tensor) -> Tensor:
    """The module's bound with its expectations taken by listing all sets."""
    L = x.shape[1]
    total = torch.zeros(len(x))
    for m, nats in terms(model, x).items():
        if k := sum(m):
            total = total - nats.sum(1) * (L / k) / (L * math.comb(L, k))
    return total


def trained(model: MaskGit, x: Tensor, steps: int) -> MaskGit:
    model.train().requires_grad_(True)
    (phase,) = model.phases()
    optimizer = phase.optimizer(phase.params)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * (1 - step / steps)
        optimizer.zero_grad()
        model.loss(x, Cond(), "fill", BatchRng(step, len(x)))["loss"].backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


# The bound and the distribution it bounds


@pytest.mark.parametrize("spec", TINY, ids=str)
def test_the_probabilities_of_all_samples_sum_to_one_and_the_bound_lies_below_each(spec: Tokens) -> None:
    model, x = make(spec), everything(spec)
    log_p, bound = any_order(model, x), exact_bound(model, x)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert (bound <= log_p + 1e-5).all()
    assert (bound < log_p - 1e-3).any(), "orders that agree everywhere would test nothing"


@pytest.mark.parametrize("spec", TINY, ids=str)
def test_what_can_be_hidden_has_conditionals_that_sum_to_one(spec: Tokens) -> None:
    model = make(spec)
    seen = everything(spec)
    seen = model.known(seen.masked_fill(torch.rand(seen.shape) < 0.5, -1))
    p = model.logits(seen, None).softmax(-1)
    torch.testing.assert_close(p.sum(-1), torch.ones_like(p[..., 0]))
    if spec.sizes is not None:
        assert all((p[:, i, size:] == 0).all() for i, size in enumerate(spec.sizes))


@pytest.mark.parametrize("spec", TINY, ids=str)
def test_the_loss_and_log_prob_are_the_bound_on_average(spec: Tokens) -> None:
    model, x = make(spec), everything(spec)
    exact = exact_bound(model, x)
    many = x.repeat(400, 1)
    symbols = int(spec.mask(many).sum())
    loss = model.loss(many, Cond(), "fill", BatchRng(0, len(many)))
    assert int(loss["weight"]) == symbols
    assert float(loss["loss"]) == pytest.approx(-400 * float(exact.sum()) / symbols, rel=0.03)
    estimate = model.log_prob(x, Cond())
    assert float(estimate.mean()) == pytest.approx(float(exact.mean()), rel=0.1)
    assert torch.equal(estimate[3:5], model.log_prob(x[3:5], Cond())), "an estimate is a function of its row alone"


def test_one_hidden_symbol_has_its_exact_probability() -> None:
    model, x = make(Tokens(1, 5)), torch.arange(5)[:, None]
    log_p = model.logits(torch.full((1, 1), -1), None).log_softmax(-1)[0, 0]
    torch.testing.assert_close(model.log_prob(x, Cond()), log_p)
    assert log_p.exp().max() > 0.3 and float(log_p.exp().sum()) == pytest.approx(1)


def test_trained_on_a_known_distribution_the_bound_meets_its_entropy() -> None:
    """Three sequences as often as each other: no bound lies above -log 3 on average, and a trained one is near."""
    x = torch.tensor([[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    torch.manual_seed(0)
    model = trained(MaskGit(Tokens(3, 3), NOTHING, Config(width=32, depth=2)), x.repeat(32, 1), 200)
    bound = float(exact_bound(model, x).mean())
    assert -math.log(3) - 0.1 < bound < -math.log(3) + 1e-3
    made = model.sample(Cond(), SampleRng(0, range(200)), ONE_BY_ONE)
    assert float((made[:, None] == x).all(-1).any(1).float().mean()) > 0.9


@pytest.mark.parametrize("spec", TINY, ids=str)
def test_filled_one_by_one_in_any_order_samples_come_as_often_as_they_should(spec: Tokens) -> None:
    model, x = make(spec), everything(spec)
    made = model.sample(Cond(), SampleRng(5, range(3000)), ONE_BY_ONE)
    assert spec.contains(made)
    assert too_often(made, x, any_order(model, x).exp()) < 5


# Documents


def test_a_document_has_one_way_to_be_written() -> None:
    spec = Tokens(6, 4, end=3)
    model = make(spec)
    x = torch.tensor([[0, 1, 3, 2, 0, 1], [0, 1, 3, 3, 3, 3]])
    assert torch.equal(model.whole(x), model.whole(x[:, :3]))
    assert torch.equal(*model.log_prob(x, Cond()))
    seen = model.known(torch.tensor([[-1, -1, 1, -1, 3, -1]]))
    assert seen.tolist() == [[-1, -1, 1, -1, 3, 3]]
    p_end = model.logits(seen, None).softmax(-1)[0, :, 3]
    assert (p_end[:2] == 0).all() and p_end[3] > 0


def test_documents_end_once_and_stay_ended() -> None:
    spec = Tokens(20, 4, end=1)
    for options in (Options(steps=4), ONE_BY_ONE, Options(steps=3, prefix=(2, 2))):
        x = make(spec).sample(Cond(), SampleRng(0, range(50)), options)
        assert spec.contains(x) and x.shape == (50, 20)
        assert (spec.mask(x) | (x == 1)).all() and (x == 1).any()
        assert (x[:, : len(options.prefix)] == 2).all()


# Sampling


@pytest.mark.parametrize(("schedule", "steps"), [("cosine", 5), ("linear", 4), ("cosine", 64), ("linear", 1)])
def test_as_many_places_are_hidden_after_each_step_as_the_schedule_says(
    schedule: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, hidden, real = make(STREAM), [], MaskGit.logits
    monkeypatch.setattr(
        MaskGit, "logits", lambda self, seen, extra: (hidden.append((seen < 0).sum(1)), real(self, seen, extra))[1]
    )
    x = model.sample(Cond(), SampleRng(0, range(3)), Options(steps=steps, schedule=schedule))
    assert STREAM.contains(x) and x.shape == (3, 16) and len(hidden) == min(steps, 16)
    shares = [t / len(hidden) for t in range(len(hidden))]
    told = [math.floor(16 * (math.cos(math.pi / 2 * s) if schedule == "cosine" else 1 - s)) for s in shares]
    expected = [16]
    for left in told[1:]:
        expected.append(min(left, expected[-1] - 1))
    assert [h.tolist() for h in hidden] == [[n] * 3 for n in expected]


def test_the_surest_places_come_first_and_noise_mixes_them() -> None:
    model = make(STREAM)
    logits = torch.randn(2, 16, 7, generator=torch.Generator().manual_seed(0))
    drawn, v = logits.argmax(-1), torch.rand(2, 16, generator=torch.Generator().manual_seed(1))
    plain = model.score(logits, drawn, v, Options(noise=0), 1.0)
    torch.testing.assert_close(plain, logits.log_softmax(-1).max(-1).values)
    noisy, faded = (model.score(logits, drawn, v, Options(noise=4.5), left) for left in (1.0, 0.0))
    torch.testing.assert_close(faded, plain)
    assert not torch.equal(noisy.argsort(1), plain.argsort(1))
    assert torch.equal(model.score(logits, drawn, v, Options(order="random"), 1.0), v)


def test_what_is_given_stays_and_only_the_gaps_are_filled() -> None:
    fill = (1, -1, -1, 2, -1, 3)
    documents = Tokens(10, 5, end=4)
    for spec in (STREAM, documents, Tokens(6, 5)):
        model = make(spec, LABELS)
        for guidance in (1.0, 3.0):
            x = model.sample(
                from_labels([0, 1, 2], LABELS), SampleRng(0, range(3)), Options(fill=fill, guidance=guidance)
            )
            assert all((x[:, i] == symbol).all() for i, symbol in enumerate(fill) if symbol >= 0)
            assert x.shape[1] == (10 if spec == documents else 6)
            assert (x[:, 6:] == 4).all() and (spec.end is None or (x[:, :6] != spec.end).all())


@pytest.mark.slow
def test_a_gap_is_filled_from_both_sides() -> None:
    """Palindromes: one half is known from the other, whichever that is."""
    spec = Tokens(4, 6)
    half = spec.like(BatchRng(0, 128))[:, :2]
    torch.manual_seed(0)
    model = trained(MaskGit(spec, NOTHING, Config(width=32, depth=2)), torch.cat((half, half.flip(1)), 1), 150)
    for fill in ((1, 2, -1, -1), (-1, -1, 2, 1), (1, -1, 2, -1)):
        x = model.sample(Cond(), SampleRng(0, range(4)), Options(fill=fill, temperature=0))
        assert (x == torch.tensor([1, 2, 2, 1])).all(), fill


@pytest.mark.parametrize("prefix", [(), (1, 2, 3), tuple(range(7)) * 4], ids=len)
def test_a_stream_goes_on_beyond_its_window(prefix: tuple[int, ...]) -> None:
    model, options = make(STREAM), Options(length=70, prefix=prefix, steps=3)
    x, again = (model.sample(Cond(), SampleRng(1, rows), options) for rows in ([0, 1, 2], [7, 1, 8]))
    assert STREAM.contains(x) and x.shape == (3, len(prefix) + 70)
    assert x[0, : len(prefix)].tolist() == list(prefix)
    assert torch.equal(x[1], again[1])


def test_guidance_follows_its_equation() -> None:
    model, cond = make(STREAM, LABELS), from_labels([0, 1, None], LABELS)
    plain, guided = (model.sample(cond, SampleRng(1, range(3)), Options(guidance=g)) for g in (1.0, 4.0))
    assert torch.equal(plain[2], guided[2]), "nothing was asked of the third row"
    assert not torch.equal(plain[:2], guided[:2])
    seen = torch.full((3, 16), -1)
    asked, free = (model.logits(seen, model.extra(c)) for c in (cond, from_labels([None] * 3, LABELS)))
    greedy = model.sample(cond, SampleRng(1, range(3)), Options(guidance=4.0, temperature=0, steps=1))
    assert torch.equal((free + 4 * (asked - free)).argmax(-1), greedy)


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        (Tokens(4, 3, end=0), {"prefix": (1,) * 5}, "shorten"),
        (Tokens(4, 3, end=0), {"fill": (1, -1, 1, 1, 1)}, "a sample has 4"),
        (STREAM, {"fill": (1, 2)}, "no gap"),
        (Tokens(4, 3), {"fill": (1, -1)}, "every sample has 4"),
        (STREAM, {"fill": (1, -1), "length": 3}, "no prefix or length"),
        (STREAM, {"fill": (-1, 9)}, "outside"),
        (STREAM, {"fill": (-1, -2)}, "outside"),
        (STREAM, {"prefix": (9,)}, "outside"),
    ],
)
def test_impossible_requests_are_refused_in_words(spec: Tokens, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make(spec).sample(Cond(), SampleRng(0, [0]), Options(**options))


def test_one_symbol_is_nothing_to_learn() -> None:
    with pytest.raises(UserError, match="one symbol"):
        MaskGit(Tokens(4, 1), NOTHING, Config())


def test_every_even_width_has_heads_that_fit() -> None:
    for width in range(8, 600, 2):
        heads = Config(width=width).heads
        assert width % (2 * heads) == 0
    assert [Config(width=w).heads for w in (64, 128, 192, 512)] == [2, 4, 6, 16]


@pytest.mark.parametrize("hide", ["uniform", "cosine"])
def test_how_many_places_are_hidden_in_training(hide: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, shares, real = make(STREAM, hide=hide), [], MaskGit.nats

    def watched(self: MaskGit, x: Tensor, hidden: Tensor, extra: Any) -> Any:
        shares.append(hidden.float().mean(1))
        return real(self, x, hidden, extra)

    monkeypatch.setattr(MaskGit, "nats", watched)
    x = STREAM.like(BatchRng(0, 2000))
    model.loss(x, Cond(), "fill", BatchRng(1, 2000))
    (found,) = shares
    assert found.min() >= 1 / 16 and found.max() == 1
    assert float(found.mean()) == pytest.approx(0.5 + 1 / 32 if hide == "uniform" else 2 / math.pi + 1 / 32, abs=0.02)


# From texts, and failures


def test_a_text_with_gaps_comes_back_filled(tmp_path: Any) -> None:
    data = toys.write_texts(tmp_path / "data")
    run = toys.make(data, "maskgit", tmp_path / "run", steps=4)
    list(train(run))
    (made,) = sample(run, 1, fill="the ___er runs")
    assert len(made.native) == 14 and made.native.startswith("the ") and made.native.endswith("er runs")
    assert made.record["options"]["fill"] == "the ___er runs"
    assert "".join(stream(run, fill="the ___er runs")) == made.native, "on the screen it is the same"


def test_symbols_that_depend_on_nothing_are_said_and_real_text_is_not(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random symbols: what is visible cannot help."""
    monkeypatch.setattr(maskgit, "PATIENCE", 60)
    torch.manual_seed(0)
    spec = Tokens(8, 5)
    model = MaskGit(spec, NOTHING, Config(width=16, depth=1))

    def notices(x: Tensor, step: int) -> list[str]:
        reads = model.loss(x, Cond(), "fill", BatchRng(step, len(x)))["reads"]
        return [kind for kind, _ in model.notices({"fill/reads": float(reads)})]

    with torch.no_grad():
        told = [notices(spec.like(BatchRng(step, 128)), step) for step in range(90)]
    assert not any(told[:59]) and any("context-unused" in found for found in told[59:])
    run = toys.make(toys.write_texts(tmp_path / "data"), "maskgit", tmp_path / "run", steps=80, width=32)
    assert "context-unused" not in [event.kind for event in train(run) if isinstance(event, Notice)]
