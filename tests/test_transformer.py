"""The Transformer against mathematics, against itself without a cache, and against Qwen3."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import arithmetic
from aurify.ancestral import choose
from aurify.cond import Cond, CondSpec, from_labels
from aurify.errors import UserError
from aurify.families.transformer import PAYS, Config, Options, Transformer
from aurify.muon import POLAR_EXPRESS, Muon, orthogonal
from aurify.nets.decode import Decoding
from aurify.nets.transformer import Decoder, Sizes, rms_norm, to_qwen3
from aurify.rng import BatchRng, SampleRng
from aurify.spec import Tokens

LABELS, NOTHING, FREE = CondSpec(("a", "b", "c")), CondSpec(), Cond()


def shaken(model: Any, seed: int = 0) -> Any:
    """Weights far from their start, where branches are silent and all symbols equally likely."""
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.data += torch.randn(p.shape, generator=generator) * (0.5 if p.shape[-1] < 4 else p.shape[-1] ** -0.5)
    return model.eval().requires_grad_(False)


def make(spec: Tokens, cond: CondSpec = NOTHING, **config: Any) -> Transformer:
    torch.manual_seed(0)
    return shaken(Transformer(spec, cond, Config(**{"width": 32, "depth": 2, "heads": 2} | config)))


def net(**config: Any) -> Decoder:
    torch.manual_seed(0)
    tie = config.pop("tie", False)
    return shaken(Decoder(Sizes(**{"width": 32, "depth": 3, "heads": 4} | config), 12, 11, 24, tie=tie))


STREAM = Tokens(length=16, vocab=7, end=0, stream=True)
SHAPES = [{}, {"kv_heads": 2}, {"kv_heads": 1, "tie": True}, {"hidden": 40}]


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_the_future_does_not_change_the_past(kv_heads: int) -> None:
    model = make(STREAM, kv_heads=kv_heads)
    x = STREAM.like(BatchRng(0, 4))
    changed = x.clone()
    changed[:, 9:] = (x[:, 9:] + 1) % 7
    before, after = model.log_probs(x, Cond()), model.log_probs(changed, Cond())
    assert torch.equal(before[:, :9], after[:, :9])
    assert (before[:, 9:] != after[:, 9:]).all()


def everything(spec: Tokens) -> Tensor:
    """All sequences of a spec, documents padded with `end`."""
    x = torch.tensor(list(itertools.product(range(spec.vocab), repeat=spec.length)))
    if spec.sizes is not None:
        x = x[(x < torch.tensor(spec.sizes)).all(1)]
    return x[(spec.mask(x) | (x == spec.end)).all(1)] if spec.variable else x


TINY = [Tokens(4, 3), Tokens(4, 3, end=2), Tokens(4, 3, end=0), Tokens(4, 3, sizes=(2, 3, 1, 3))]


@pytest.mark.parametrize("spec", TINY, ids=str)
def test_the_probabilities_of_all_samples_sum_to_one(spec: Tokens) -> None:
    assert make(spec).double().log_prob(everything(spec), Cond()).exp().sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("spec", TINY, ids=str)
def test_samples_come_as_often_as_log_prob_says(spec: Tokens) -> None:
    model, n, x = make(spec), 4000, everything(spec)
    samples = model.sample(Cond(), SampleRng(5, range(n)), Options())
    assert spec.contains(samples)
    same = (samples[:, None] == x).all(-1)
    assert same.any(1).all(), "a sample outside the space"
    expected = n * model.log_prob(x, Cond()).exp()
    often = expected > 5
    rest = expected[~often].sum()
    chi_square = ((same.sum(0) - expected)[often] ** 2 / expected[often]).sum() + (
        same.sum(0)[~often].sum() - rest
    ) ** 2 / rest.clamp_min(1e-9)
    freedom = int(often.sum())
    assert chi_square < freedom + 5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_one_position_at_a_time_gives_the_logits_of_all_at_once(config: dict[str, Any]) -> None:
    model = net(**config)
    x = torch.randint(12, (5, 24), generator=torch.Generator().manual_seed(1))
    extra = torch.randn(5, 32, generator=torch.Generator().manual_seed(2))
    whole = model(x, extra)
    decoding = Decoding(model, 5, extra)
    steps = [decoding.start(x[:, :4])] + [decoding.step(x[:, t]) for t in range(4, 24)]
    assert decoding.full
    torch.testing.assert_close(torch.stack(steps, 1), whole[:, 3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(decoding.start(x[:, :9]), whole[:, 8], atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_qwen3_with_these_weights_is_the_same_function(config: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers")
    model = net(**config)
    arguments, state = to_qwen3(model)
    theirs = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**arguments)).eval()
    theirs.load_state_dict(state)
    x = torch.randint(12, (3, 24), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(theirs(x).logits[..., :11], model(x), atol=1e-5, rtol=0)


def test_the_gradient_of_the_norm_is_its_derivative() -> None:
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rms_norm, x)
    torch.testing.assert_close(rms_norm(x), torch.nn.functional.rms_norm(x, (5,), eps=1e-12))


def slow(model: Transformer, options: Options, rng: SampleRng, cond: Cond = FREE) -> Tensor:
    """Sampling without a cache: the rule of the sliding context, and guidance, written as their definitions."""
    L, u = model.spec.length, torch.cat([rng.uniform(64) for _ in range(2)], 1)
    x = torch.tensor(options.prefix, dtype=torch.long).repeat(rng.n, 1)
    context = x if x.shape[1] < L else x[:, -(L // 2) :]
    free = Cond() if cond.vector is None else Cond(vector=torch.zeros_like(cond.vector))
    for t in range(options.length or L):
        if context.shape[1] == L:
            context = context[:, -(L // 2) :]
        read = torch.cat((model.starts(rng.n), context), 1)
        asked, none = (model.net(read, model.extra(c))[:, -1] for c in (cond, free))
        column = choose(none + options.guidance * (asked - none), u[:, t], options)[:, None]
        x, context = torch.cat((x, column), 1), torch.cat((context, column), 1)
    return x


@pytest.mark.parametrize("prefix", [(), tuple(range(7)) * 4], ids=len)
def test_a_context_that_is_full_starts_anew_with_its_last_half(prefix: tuple[int, ...]) -> None:
    model, options = make(STREAM), Options(length=70, prefix=prefix)
    x = model.sample(Cond(), SampleRng(1, range(3)), options)
    assert torch.equal(x, slow(model, options, SampleRng(1, range(3))))


def test_guidance_follows_its_equation_and_scale_one_is_the_model_itself() -> None:
    model, cond = make(STREAM, LABELS), from_labels([0, 1, None], LABELS)
    plain = model.sample(cond, SampleRng(1, range(3)), Options())
    guided = model.sample(cond, SampleRng(1, range(3)), Options(guidance=4.0))
    assert torch.equal(plain, slow(model, Options(), SampleRng(1, range(3)), cond))
    assert torch.equal(guided, slow(model, Options(guidance=4.0), SampleRng(1, range(3)), cond))
    assert torch.equal(plain[2], guided[2]), "nothing was asked of the third row"
    assert not torch.equal(plain[:2], guided[:2])


def test_a_row_does_not_depend_on_its_companions() -> None:
    spec = Tokens(20, 5, end=0)
    model = make(spec, LABELS)
    first = model.sample(from_labels([0, 1, 2], LABELS), SampleRng(3, [10, 11, 12]), Options())
    other = model.sample(from_labels([2, 1, 0], LABELS), SampleRng(3, [30, 11, 32]), Options())
    assert first.shape == other.shape == (3, 20)
    assert torch.equal(first[1], other[1])


def test_weights_that_are_being_trained_give_the_same_samples() -> None:
    model = make(STREAM, LABELS)
    asked = from_labels([0, 1], LABELS)
    before = model.sample(asked, SampleRng(0, range(2)), Options(length=40))
    model.requires_grad_(True)
    after = model.sample(asked, SampleRng(0, range(2)), Options(length=40))
    assert torch.equal(before, after) and not after.requires_grad


def test_documents_end_once_and_stay_ended() -> None:
    spec = Tokens(20, 4, end=1)
    x = make(spec).sample(Cond(), SampleRng(0, range(50)), Options(length=15, prefix=(2, 2)))
    assert spec.contains(x) and x.shape == (50, 17) and (x[:, :2] == 2).all()
    assert (spec.mask(x) | (x == 1)).all() and (x == 1).any()


def test_top_k_and_top_p_keep_the_likeliest_and_their_proportions() -> None:
    p = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15])
    u = (torch.arange(4000) + 0.5) / 4000
    logits = p.log().repeat(4000, 1)

    def shares(**options: float) -> list[float]:
        return (torch.bincount(choose(logits, u, Options(**options)), minlength=5) / 4000).tolist()  # type: ignore[arg-type]

    near = pytest.approx
    assert shares() == near(p.tolist(), abs=1e-3)
    assert shares(top_k=2) == near([0, 4 / 7, 0, 3 / 7, 0], abs=1e-3)
    assert shares(top_p=0.6) == near([0, 4 / 7, 0, 3 / 7, 0], abs=1e-3)
    assert shares(top_p=0.75) == near([0, 0.4 / 0.85, 0, 0.3 / 0.85, 0.15 / 0.85], abs=1e-3)
    assert shares(temperature=0.5) == near((p**2 / (p**2).sum()).tolist(), abs=1e-3)
    assert shares(top_k=1) == shares(temperature=0) == shares(top_p=0.01) == [0, 1, 0, 0, 0]


def test_the_chosen_symbol_is_possible_at_both_ends_of_u() -> None:
    logits = torch.tensor([[-torch.inf, 0.3, 1.0, -torch.inf]]).repeat(2, 1)
    assert choose(logits, torch.tensor([0.0, 1 - 2**-24]), Options()).tolist() == [1, 2]


def test_the_loss_is_the_mean_over_symbols_and_parts_add_up() -> None:
    spec = Tokens(12, 5, end=0)
    model, x = make(spec), spec.like(BatchRng(2, 9))
    whole = model.loss(x, Cond(), "next", BatchRng(0, 9))
    assert whole["loss"] * whole["weight"] == pytest.approx(-model.log_prob(x, Cond()).sum().item(), rel=1e-5)
    parts = [model.loss(x[rows], Cond(), "next", BatchRng(0, 9)) for rows in (slice(0, 2), slice(2, 9))]
    assert sum(p["loss"] * p["weight"] for p in parts) == pytest.approx(
        (whole["loss"] * whole["weight"]).item(), rel=1e-5
    )
    assert sum(int(p["weight"]) for p in parts) == int(whole["weight"]) == int(spec.mask(x).sum())


def test_bfloat16_arithmetic_gives_nearly_the_same_probabilities() -> None:
    model, x = make(STREAM, kv_heads=1), STREAM.like(BatchRng(0, 4))
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.log_probs(x, Cond())
    exact = model.log_probs(x, Cond())
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, atol=0.2, rtol=0.05)


def train(model: Transformer, windows: Tensor, steps: int, batch: int) -> float:
    model.train().requires_grad_(True)
    (phase,) = model.phases()
    optimizer = phase.optimizer(phase.params)
    loss = torch.tensor(math.nan)
    for step in range(steps):
        rng = BatchRng(step, batch)
        rows = (rng.uniform() * len(windows)).long()
        loss = model.loss(windows[rows], Cond(), phase.name, rng)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval().requires_grad_(False)
    return loss.item()


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_it_learns_one_batch_by_heart(optimizer: str) -> None:
    torch.manual_seed(0)
    model = Transformer(STREAM, CondSpec(), Transformer.toy(STREAM).model_copy(update={"optimizer": optimizer}))
    assert train(model, STREAM.like(BatchRng(0, 4)), 40, 8) < 0.4


TEXT = "the quick brown fox jumps over the lazy dog while the slow red hen sleeps under the old oak tree. " * 12


def test_held_out_text_is_coded_in_as_many_bits_as_its_likelihood_says_and_comes_back() -> None:
    alphabet = sorted(set(TEXT))
    tokens = torch.tensor([alphabet.index(c) for c in TEXT])
    spec = Tokens(48, len(alphabet), stream=True)
    torch.manual_seed(0)
    model = Transformer(spec, CondSpec(), Transformer.toy(spec))
    train(model, tokens[:900].unfold(0, 48, 1), 40, 8)
    held = tokens[950:998]

    def code(coder: arithmetic.Encoder | arithmetic.Decoder) -> list[int]:
        decoding, done = Decoding(model.net, 1), []
        logits = decoding.start(model.starts(1))
        for t in range(48):
            cumulative = arithmetic.frequencies(logits[0].double().softmax(-1).tolist())
            if isinstance(coder, arithmetic.Encoder):
                coder.put(int(held[t]), cumulative)
                done.append(int(held[t]))
            else:
                done.append(coder.get(cumulative))
            logits = decoding.step(torch.tensor(done[-1:])) if t < 47 else logits
        return done

    encoder = arithmetic.Encoder()
    code(encoder)
    bits = encoder.finish()
    nll = -model.log_prob(held[None], Cond()).item() / math.log(2)
    assert code(arithmetic.Decoder(bits)) == held.tolist()
    assert nll - 1 < len(bits) <= nll + 2.01
    assert nll < 0.6 * 48 * math.log2(len(alphabet)), "training did not help"


def test_the_gram_iteration_is_the_iteration_on_matrices_and_nearly_orthogonal() -> None:
    seeded = torch.Generator().manual_seed(0)
    shapes = (16, 40), (8, 8), (16, 17)
    matrices = [torch.randn(*shape, dtype=torch.float64, generator=seeded) for shape in shapes]
    for g, found in zip(matrices, orthogonal(matrices), strict=True):
        x = g / torch.linalg.matrix_norm(g)
        for a, b, c in POLAR_EXPRESS:
            gram = x @ x.mT
            x = a * x + (b * gram + c * gram @ gram) @ x
        torch.testing.assert_close(found, x, atol=1e-6, rtol=0)
        values = torch.linalg.svdvals(found)
        assert values.min() > 0.43 and values.max() < 1.57


def test_muon_steps_its_other_parameters_as_adamw_does() -> None:
    mine, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4)) for _ in range(2))
    ours = Muon([{"params": [mine]}], lr=0.01, weight_decay=0.1)
    peer = torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.1, betas=(0.9, 0.95))
    for _ in range(5):
        for p, optimizer in ((mine, ours), (theirs, peer)):
            p.grad = p.detach().sin() + 0.1
            optimizer.step()
    torch.testing.assert_close(mine, theirs)


def test_muon_moves_a_matrix_by_its_rate_whatever_the_gradient_weighs() -> None:
    for scale in (1e-4, 1e4):
        p = torch.nn.Parameter(torch.zeros(32, 8))
        p.grad = scale * torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
        Muon([{"params": [p], "orthogonal": True}], lr=0.1).step()
        values = torch.linalg.svdvals(p.detach()) / (0.1 * 2)
        assert values.min() > 0.43 and values.max() < 1.57


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


def test_a_width_that_heads_do_not_divide_is_refused_with_one_that_they_do() -> None:
    with pytest.raises(UserError, match="width=42"):
        Transformer(STREAM, CondSpec(), Config(width=44, heads=3))


def test_presets_grow_from_small_to_large() -> None:
    spec = Tokens(128, 100, stream=True)
    presets = Transformer.presets(spec)
    sizes = [12 * p.config.width**2 * p.config.depth for p in presets]
    assert sizes == sorted(sizes) and 1e5 < sizes[0] < 3e5 and 2.5e7 < sizes[-1] < 4e7
    assert [p.samples for p in presets] == sorted(p.samples for p in presets)
    assert all(p.config.optimizer == "muon" and p.batch * 128 >= PAYS * p.config.width for p in presets)
    few = Tokens(16, 100, end=0)
    assert Transformer.for_data(few, 1000) == {} and Transformer.for_data(few, 9) == {"optimizer": "adamw"}
