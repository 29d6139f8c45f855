"""The hidden Markov model against all its paths written out, EM against its theorem, and its own failures."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from aurify.cond import Cond, CondSpec, from_labels
from aurify.counting import Counting
from aurify.families.hmm import PATIENCE, Config, Hmm
from aurify.nets.forward_backward import Chain, Filter, log_likelihood, viterbi
from aurify.rng import BatchRng, SampleRng
from aurify.run import Run
from aurify.sample import load_model
from aurify.spec import Tokens
from test_cli import aurify, refused
from test_transformer import TINY, everything

LABELS, NOTHING = CondSpec(("a", "b", "c")), CondSpec()


def make(spec: Tokens, cond: CondSpec = NOTHING, seed: int = 0, **config: Any) -> Hmm:
    torch.manual_seed(seed)
    return Hmm(spec, cond, Config(**{"states": 3, "prior": 0.0, "drop": 0.0} | config)).double()


def fit(
    model: Hmm, x: Tensor, steps: int, batch: int = 0, cond: Cond | None = None, decay: bool = False
) -> list[float]:
    """The loop in short, in batches of the rows that come next; the loss of each step."""
    (phase,) = model.phases()
    optimizer, losses = phase.optimizer(phase.params), []
    batch = batch or len(x)
    for step in range(steps):
        rows = torch.arange(step * batch, (step + 1) * batch) % len(x)
        part = (cond or Cond()).each(lambda slot, rows=rows: slot[rows])
        out = model.loss(x[rows], part, phase.name, BatchRng(step, batch))
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.param_groups[0]["lr"] = 1 - step / steps if decay else 1.0
        optimizer.step()
        losses.append(out["loss"].item())
    return losses


def distributions(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64).log_softmax(-1).requires_grad_()


CHAINS = {"one for all": (1, 1, 1), "a row each": (1, 4, 1), "a step each": (4, 1, 5), "both": (4, 4, 5)}


@pytest.fixture(params=CHAINS.values(), ids=CHAINS.keys())
def chain(request: Any) -> Chain:
    P, G, Q = request.param
    return Chain(distributions(G, 3), distributions(P, G, 3, 3), distributions(Q, 3, 4))


def all_paths(chain: Chain, x: Tensor) -> tuple[Tensor, Tensor]:
    """All states' sequences (K^T, T) of one row and log p of each with x, by the equation; x is of group 0."""
    T = len(x)
    z = torch.tensor(list(itertools.product(range(3), repeat=T)))
    log_p = chain.start[0, z[:, 0]] + chain.emits[0, z[:, 0], x[0]]
    for t in range(1, T):
        moves, emits = chain.moves[min(t, len(chain.moves)) - 1, 0], chain.emits[min(t + 1, len(chain.emits)) - 1]
        log_p = log_p + moves[z[:, t - 1], z[:, t]] + emits[z[:, t], x[t]]
    return z, log_p


def row_of(chain: Chain, i: int) -> Chain:
    g = i if len(chain.start) > 1 else 0
    return Chain(chain.start[g : g + 1], chain.moves[:, g : g + 1], chain.emits)


X = torch.tensor([[0, 1, 2, 3, 1], [3, 3, 0, 1, 2], [2, 0, 0, 0, 0], [1, 2, 3, 0, 3]])
MASK = torch.arange(5) < torch.tensor([[5], [3], [1], [4]])


def test_likelihood_and_counts_are_those_of_all_paths(chain: Chain) -> None:
    """Rows of unlike length and weight; autograd through the enumeration gives the expected counts."""
    weight = torch.tensor([1.0, 0.5, 2.0, 3.0], dtype=torch.float64)
    slots = (chain.start, chain.moves, chain.emits)
    log_p = log_likelihood(chain, X, MASK)
    counts = torch.autograd.grad((weight * log_p).sum(), slots)
    lengths = MASK.sum(1).tolist()
    expected = torch.stack([all_paths(row_of(chain, i), X[i, :n])[1].logsumexp(0) for i, n in enumerate(lengths)])
    torch.testing.assert_close(log_p, expected, atol=1e-12, rtol=0)
    for mine, theirs in zip(counts, torch.autograd.grad((weight * expected).sum(), slots), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-12, rtol=0)


def test_counts_add_up_to_what_there_is(chain: Chain) -> None:
    log_p = log_likelihood(chain, X, MASK)
    start, moves, emits = torch.autograd.grad(log_p.sum(), (chain.start, chain.moves, chain.emits))
    assert start.sum().item() == pytest.approx(4, abs=1e-12)
    assert moves.sum().item() == pytest.approx(int(MASK.sum()) - 4, abs=1e-12)
    assert emits.sum(1).sum(0).tolist() == pytest.approx(torch.bincount(X[MASK], minlength=4).tolist(), abs=1e-12)


def test_the_likeliest_path_is_the_likeliest_of_all(chain: Chain) -> None:
    path, best = viterbi(chain, X, MASK)
    for i, n in enumerate(MASK.sum(1).tolist()):
        z, log_p = all_paths(row_of(chain, i), X[i, :n])
        assert best[i].item() == pytest.approx(log_p.max().item(), abs=1e-12)
        assert path[i, :n].tolist() == z[log_p.argmax()].tolist() and (path[i, n:] == -1).all()


def test_the_next_symbol_is_a_ratio_of_likelihoods(chain: Chain) -> None:
    """p(x_t | x_<t) = p(x_<=t) / p(x_<t), whether a row is read at once or symbol by symbol."""
    whole = torch.ones_like(MASK)
    upto = [log_likelihood(chain, X, whole & (torch.arange(5) < t)) for t in range(1, 6)]
    step, columns = Filter(chain, 4), []
    for t in range(5):
        told = step(columns)
        torch.testing.assert_close(told, Filter(chain, 4)(columns))
        before = upto[t - 1] if t else 0
        torch.testing.assert_close(told.gather(1, X[:, t, None])[:, 0], upto[t] - before, atol=1e-12, rtol=0)
        columns.append(X[:, t])


def test_nothing_underflows_in_long_rows_of_rare_symbols() -> None:
    chain = Chain(distributions(1, 4), distributions(1, 1, 4, 4), (distributions(1, 4, 3) - 200).detach())
    x = torch.randint(3, (2, 4000))
    log_p = log_likelihood(chain, x, torch.ones_like(x, dtype=torch.bool))
    plain = Chain(chain.start, chain.moves, chain.emits + 200)
    expected = log_likelihood(plain, x, torch.ones_like(x, dtype=torch.bool)) - 200 * 4000
    torch.testing.assert_close(log_p, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("spec", TINY, ids=str)
@pytest.mark.parametrize("label", [None, 0, 1])
def test_the_probabilities_of_all_samples_sum_to_one(spec: Tokens, label: int | None) -> None:
    """As float32 keeps the weights too: what rounding took from a row's sum is put back."""
    x = everything(spec)
    for model in (make(spec, LABELS), make(spec, LABELS).float()):
        p = model.log_prob(x, from_labels([label] * len(x), LABELS)).exp()
        assert p.sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("spec", TINY, ids=str)
def test_samples_come_as_often_as_log_prob_says(spec: Tokens) -> None:
    model, n, x = make(spec), 4000, everything(spec)
    samples = model.sample(Cond(), SampleRng(5, range(n)), model.Options())
    assert spec.contains(samples)
    seen = (samples[:, None] == x).all(-1).sum(0)
    assert seen.sum() == n, "a sample outside the space"
    expected = n * model.log_prob(x, Cond()).exp().detach()
    often = expected > 5
    chi_square = ((seen - expected)[often] ** 2 / expected[often]).sum().item()
    freedom = int(often.sum())
    assert chi_square < freedom + 5 * math.sqrt(2 * freedom)


def planted(n: int = 400, length: int = 30) -> tuple[Hmm, Tensor]:
    """A model whose three states stay and say mostly symbols of their own, and samples of it."""
    spec = Tokens(length, 6)
    model = make(spec)
    stay = torch.full((3, 3), 0.05).fill_diagonal_(0.9)
    says = torch.tensor([[0.6, 0.3, 0.1, 0, 0, 0], [0, 0, 0.1, 0.6, 0.3, 0], [0.1, 0, 0, 0, 0.3, 0.6]])
    model.start.data = torch.full((1, 3), 1 / 3).double().log()
    model.moves.data = stay.double().log()[None, None]
    model.emits.data = (says + 1e-9).double().log().log_softmax(-1)[None]
    return model, model.sample(Cond(), SampleRng(0, range(n)), model.Options())


@pytest.mark.parametrize("spec", [Tokens(12, 5), Tokens(12, 5, end=4), Tokens(4, 5, sizes=(2, 5, 3, 4))], ids=str)
def test_em_never_lowers_the_likelihood(spec: Tokens) -> None:
    x = spec.like(BatchRng(0, 60))
    losses = fit(make(spec, states=4), x, 80)
    rises = [b - a for a, b in itertools.pairwise(losses)]
    assert max(rises) < 1e-12 and losses[-1] < losses[0] - 0.01


def test_a_planted_chain_is_found_again() -> None:
    """The likelihood of unseen samples is nearly that of the truth, and the likeliest states are the true ones. A start
    from anywhere climbs another hill; several, tried first, find this one."""
    truth, x = planted()
    lost, model = (make(truth.spec, seed=1, prior=1e-5) for _ in range(2))
    model.look(x[:300], Cond())
    fit(model, x[:300], 25)
    fit(lost, x[:300], 40)
    held, other, true = (-m.log_prob(x[300:], Cond()).mean().item() / 30 for m in (model, lost, truth))
    assert true < held < true + 0.01 and other > true + 0.1
    found, real = (m.viterbi(x[300:])[0].flatten() for m in (model, truth))
    right = max((torch.tensor(p)[found] == real).double().mean().item() for p in itertools.permutations(range(3)))
    assert right > 0.9


def test_parts_of_the_data_teach_what_the_whole_teaches() -> None:
    """Stepwise EM: after as many passes it is no worse than EM on all the data, and sooner there."""
    truth, x = planted()
    stepwise = make(truth.spec, seed=2, prior=1e-5)
    fit(stepwise, x, 5 * 20, batch=20, decay=True)
    whole = make(truth.spec, seed=2, prior=1e-5)
    fit(whole, x, 5)
    assert stepwise.log_prob(x, Cond()).mean() > whole.log_prob(x, Cond()).mean()


def test_counts_are_remembered_as_the_equation_says() -> None:
    p = torch.nn.Parameter(torch.zeros(2, 3, dtype=torch.float64))
    batches = [torch.rand(2, 3, dtype=torch.float64) for _ in range(4)]
    mean = Counting([p], power=1.0, prior=0.5)
    for n in batches:
        p.grad = -n
        mean.step()
    expected = torch.stack(batches).mean(0) + 0.5
    torch.testing.assert_close(p.detach().exp(), expected / expected.sum(-1, keepdim=True))
    mean.param_groups[0]["lr"] = 0.0  # as the loop's rate at its end: all is remembered, nothing learned
    p.grad = -100 * batches[0]
    mean.step()
    torch.testing.assert_close(p.detach().exp(), expected / expected.sum(-1, keepdim=True))


def test_an_event_that_no_path_needs_stays_finite() -> None:
    p = torch.nn.Parameter(torch.zeros(2, 3))
    p.grad = -torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    Counting([p]).step()
    assert p.isfinite().all() and p.exp().sum(-1).tolist() == pytest.approx([1, 1])


def test_labels_have_moves_of_their_own() -> None:
    """Two labels say the same symbols in unlike order: upwards and downwards."""
    spec, labels = Tokens(12, 4), CondSpec(("up", "down"))
    first, step = torch.randint(4, (200,)), torch.tensor([1, -1]).repeat(100)
    x = (first[:, None] + step[:, None] * torch.arange(12)) % 4
    cond = from_labels([0, 1] * 100, labels)
    model = make(spec, labels, states=4, prior=1e-4, drop=0.2, seed=1)
    fit(model, x, 60, cond=cond)
    own, other = (model.log_prob(x, from_labels(order * 100, labels)).mean() for order in ([0, 1], [1, 0]))
    free = model.log_prob(x, from_labels([None] * 200, labels)).mean()
    assert own > free > other
    made = model.sample(from_labels([0, 1] * 50, labels), SampleRng(0, range(100)), model.Options())
    follows = ((made[:, 1:] - made[:, :-1]) % 4 == torch.tensor([1, 3]).repeat(50)[:, None]).double().mean()
    assert follows > 0.9
    led = model.sample(from_labels([0, 1] * 50, labels), SampleRng(0, range(100)), model.Options(guidance=3.0))
    assert spec.contains(led) and not torch.equal(led, made)


def told(model: Hmm, x: Tensor, steps: int) -> list[str]:
    """Kinds of the notices of a short training, of which every step is logged."""
    (phase,), kinds = model.phases(), []
    optimizer = phase.optimizer(phase.params)
    for step in range(steps):
        out = model.loss(x, Cond(), phase.name, BatchRng(step, len(x)))
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        kinds += [kind for kind, _ in model.notices({f"em/{name}": float(v.detach()) for name, v in out.items()})]
    return sorted(set(kinds))


def test_what_goes_wrong_is_said_and_a_healthy_training_hears_nothing() -> None:
    truth, x = planted(200)
    steps = PATIENCE + 15
    assert told(make(truth.spec, seed=1, prior=1e-5), x, steps) == []
    loose = torch.randint(6, (200, 30))  # nothing depends on anything: no state has anything to say
    assert told(make(truth.spec, seed=1, prior=1.0), loose, steps) == ["states-alike"]
    one = torch.randint(6, (1, 20))  # twenty symbols need no sixty states
    assert told(make(Tokens(20, 6), states=60, prior=1e-6), one, steps + 50) == ["idle-states"]


def test_two_letters_for_ever_are_learned_and_their_states_can_be_asked_for(capsys: Any, tmp_path: Any) -> None:
    (tmp_path / "data").mkdir()
    for i in range(5):
        (tmp_path / "data" / f"{i}.txt").write_text("ab" * (30 + i))
    command = (
        "train",
        tmp_path / "data",
        "--family",
        "hmm",
        "--steps",
        3,
        "--set",
        "states=4",
        "--out",
        tmp_path / "run",
    )
    code, _, said = aurify(capsys, *command)
    assert code == 0 and "Traceback" not in said, said
    assert "states" in refused(capsys, *command[:-3], "states=0", "--out", tmp_path / "none")
    run = Run.load(tmp_path / "run")
    model, _ = load_model(run)
    assert isinstance(model, Hmm)
    x = run.spec.widen(run.codec.encode("abab"))[None]
    states, log_p = model.viterbi(x)
    assert states.shape == x.shape and (states >= 0).all()
    assert log_p.item() < model.log_prob(x, Cond()).item() < 0
