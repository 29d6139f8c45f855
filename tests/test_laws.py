"""The laws, over every codec, every family and every legal pair found by name: a new file brings no copied test.

They hold on the device of $AURIFY_TEST_DEVICE, the CPU where it says nothing.
"""

import copy
import json
import os

import numpy as np
import pytest
import torch

from aurify import codec, family
from aurify import spec as specs
from aurify.cond import CondSpec, from_rows, unasked
from aurify.family import Family
from aurify.rng import BatchRng, SampleRng
from aurify.spec import Grid, Tokens

DEVICE = torch.device(os.environ.get("AURIFY_TEST_DEVICE", "cpu"))
LABELS = CondSpec(("a", "b", "c"))
SPECS = {
    "picture": Grid(1, (9, 8)),
    "wave": Grid(2, (20,)),
    "row": Grid(5, ()),
    "documents": Tokens(12, 7, end=6),
    "stream": Tokens(16, 7, end=6, stream=True),
    "fixed": Tokens(8, 5),
    "columns": Tokens(4, 5, sizes=(2, 5, 3, 4)),
    "pairs": Tokens(11, 7, end=6),
}
TEXTS = {SPECS["pairs"]: Tokens(9, 6, end=5)}  # samples of this spec come with such texts


def legal(name, case):
    kind = family.load(name)
    return isinstance(SPECS[case], kind.kind) and (kind.reads_text or SPECS[case] not in TEXTS)


CASES = [(f, s) for f in family.names() for s in SPECS if legal(f, s)]
STREAMED = [(f, s) for f, s in CASES if hasattr(family.load(f), "stream")]
PAIRS = [(c, f) for c in codec.names() for f in family.names() if issubclass(codec.load(c).gives, family.load(f).kind)]


def fitted(name):
    kind = codec.load(name)
    made = kind(kind.Config())
    samples = kind.examples(12, seed=0)
    made.fit(samples)
    return made, samples


def built(name: str, spec, seed=0) -> Family:
    torch.manual_seed(seed)
    kind = family.load(name)
    return kind(spec, asks(spec), kind.toy(spec)).to(DEVICE)


def asks(spec) -> CondSpec:
    return CondSpec(LABELS.labels, TEXTS.get(spec))


def batch(spec, n=8):
    """Samples with labels in turn and, of pairs, a text for all but the last."""
    texts = None
    if spec in TEXTS:
        symbols = TEXTS[spec].like(BatchRng(4, n))
        there = TEXTS[spec].mask(symbols)
        there[-1] = False
        texts = symbols, there
    cond = from_rows(torch.tensor([i % 3 for i in range(n)]), texts, asks(spec))
    return spec.like(BatchRng(3, n)).to(DEVICE), cond.to(DEVICE)


def optimise(model, x, cond, steps):
    """A bare version of the loop: returns the first and last mean of what is minimised."""
    optimizers = {p.name: p.optimizer(p.params) for p in model.phases()}
    losses = []
    for step in range(steps):
        for phase in model.phases():
            model.requires_grad_(False)
            for p in phase.params:
                p.requires_grad_(True)
            out = model.loss(x, cond, phase.name, BatchRng(step, len(x)))
            optimizers[phase.name].zero_grad(set_to_none=True)
            out["loss"].backward()
            optimizers[phase.name].step()
            losses.append(float(out["loss"].detach()))
    return losses


@pytest.mark.parametrize("name", codec.names())
def test_a_codec_round_trip_keeps_its_stated_loss(name):
    made, samples = fitted(name)
    for sample in samples:
        x = made.spec.widen(made.encode(sample))
        assert made.spec.contains(x)
        once = made.decode(x)
        assert made.same(once, sample)
        assert made.same(made.decode(made.spec.widen(made.encode(once))), once)


@pytest.mark.parametrize("name", codec.names())
def test_a_codec_decodes_anything(name):
    made, _ = fitted(name)
    for x in made.spec.like(BatchRng(1, 20)):
        assert made.spec.contains(made.spec.widen(made.encode(made.decode(x))))
    if isinstance(made.spec, Grid):
        for value in (float("nan"), float("inf"), -1e30):
            picture = made.decode(torch.full(made.spec.shape, value))
            assert made.spec.contains(made.spec.widen(made.encode(picture)))


@pytest.mark.parametrize("name", codec.names())
def test_figures_see_what_a_written_sample_holds(name):
    """No value beyond black and white, no step finer than a file has: of anything that a family may put out."""
    made, _ = fitted(name)
    x = made.spec.like(BatchRng(1, 20))
    x = 3 * x if isinstance(made.spec, Grid) else x
    if made.seen(x) is None:
        return
    for row in x:
        held = made.spec.widen(made.encode(made.decode(row)))
        assert torch.equal(made.seen(row[None]), made.seen(held[None]))


@pytest.mark.parametrize("name", codec.names())
def test_a_codec_comes_back_from_its_json(name):
    made, samples = fitted(name)
    kind = codec.load(name)
    again = kind(kind.Config(**json.loads(json.dumps(made.config.model_dump(mode="json")))))
    again.restore(json.loads(json.dumps(made.state)))
    assert specs.from_json(json.loads(json.dumps(specs.to_json(again.spec)))) == made.spec
    for sample in samples:
        assert torch.equal(again.encode(sample), made.encode(sample))


@pytest.mark.parametrize("name", codec.names())
def test_a_written_sample_is_read_back(name, tmp_path):
    made, samples = fitted(name)
    for i, sample in enumerate(samples):
        sample = made.decode(made.spec.widen(made.encode(sample)))
        path = made.write(sample, tmp_path / str(i), {"index": i})
        assert path.suffix in made.suffixes
        assert made.same(made.read(path.read_bytes()), sample)


@pytest.mark.parametrize("name", codec.names())
def test_a_fingerprint_has_256_bits_and_knows_its_own(name):
    made, samples = fitted(name)
    marks = np.stack([made.fingerprint(s) for s in samples])
    assert marks.shape == (len(samples), 32) and marks.dtype == np.uint8
    assert all((made.fingerprint(s) == mark).all() for s, mark in zip(samples, marks, strict=True))


@pytest.mark.parametrize(("name", "case"), CASES)
def test_every_parameter_gets_a_gradient_in_some_phase(name, case):
    spec = SPECS[case]
    model = built(name, spec)
    x, cond = batch(spec, 16)
    optimise(model, x, cond, 3)  # past initial zeros
    model.requires_grad_(True)
    reached = set()
    for phase in model.phases():
        for seed in range(3):
            model.zero_grad()
            model.loss(x, cond, phase.name, BatchRng(seed, len(x)))["loss"].backward()
            reached |= {id(p) for p in phase.params if p.grad is not None and p.grad.abs().sum() > 0}
    assert not [n for n, p in model.named_parameters() if id(p) not in reached]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_family_overfits_one_batch(name, case):
    """One phase: what is minimised falls far. Several phases (a game): samples come near the batch instead."""
    spec = SPECS[case]
    model = built(name, spec)
    x, cond = batch(spec, 4)
    if len(model.phases()) == 1:
        losses = optimise(model, x, cond, 150)
        assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:3])
        return
    model_before = distance(model, x, cond)
    optimise(model, x, cond, 150)
    assert distance(model, x, cond) < model_before


def distance(model, x, cond):
    made = model.sample(cond, SampleRng(0, range(len(x))), model.Options())
    return float(torch.cdist(x.flatten(1), made.flatten(1)).min(1).values.mean())


@pytest.mark.parametrize(("name", "case"), CASES)
def test_samples_lie_in_the_spec_and_depend_on_seed_and_index_alone(name, case):
    spec = SPECS[case]
    model = built(name, spec).eval()
    _, cond = batch(spec, model.chunk)
    first, again = (model.sample(cond, SampleRng(5, range(model.chunk)), model.Options()) for _ in range(2))
    other = model.sample(cond, SampleRng(6, range(model.chunk)), model.Options())
    assert spec.contains(first) and len(first) == model.chunk
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_row_does_not_see_the_rows_beside_it(name, case):
    """Row i with other neighbours gives the same bits: chunks may be filled with anything."""
    spec = SPECS[case]
    model = built(name, spec).eval()
    n = model.chunk
    _, cond = batch(spec, n)
    indices = list(range(n))
    whole = model.sample(cond, SampleRng(5, indices), model.Options())
    mixed = model.sample(cond, SampleRng(5, [0] + [900 + i for i in indices[1:]]), model.Options())
    length = min(whole.shape[-1], mixed.shape[-1]) if isinstance(spec, Tokens) else None
    assert torch.equal(whole[0][..., :length], mixed[0][..., :length])


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize(("name", "case"), STREAMED)
def test_each_symbol_of_a_stream_is_the_likeliest_after_all_before(name, case, guidance):
    """By `log_prob`, which reads a sample as a whole; beyond the window, by reading anew what was made so far.

    `stream` yields the columns of `sample`. Half windows are where those families read anew that see a window alone.
    """
    spec, model, options = SPECS[case], built(name, SPECS[case]), {"temperature": 0, "guidance": guidance}
    optimise(model, *batch(spec, 16), 20)  # no two symbols stay equally likely
    L, rng, cond = spec.length, SampleRng(1, [0]), batch(spec)[1].each(lambda slot: slot[:1])
    begun = model.eval().Options(prefix=(1, 0), length=3 * L if spec.stream else None, **options)
    made = model.sample(cond, rng, begun)
    columns = torch.stack(list(model.stream(cond, rng, begun)), 1).to(made)
    assert made[0, :2].tolist() == [1, 0] and torch.equal(made[:, : columns.shape[1]], columns)
    assert made.shape[1] == (2 + 3 * L if spec.stream else L)
    for t in range(2, L if spec.stream else columns.shape[1]):
        assert made[0, t] == likelihoods(model, made[:, :t], cond, guidance).argmax()
    for t in range(L, made.shape[1], L // 2):
        again = model.sample(cond, rng, model.Options(prefix=tuple(made[0, :t].tolist()), length=1, **options))
        assert torch.equal(again, made[:, : t + 1])


def likelihoods(model, x, cond, guidance):
    """log p(x and one symbol more) of each that can follow, (V,), leaning on what is asked for."""
    V, t = model.spec.vocab if model.spec.sizes is None else model.spec.sizes[x.shape[1]], x.shape[1]
    longer = torch.cat((x.expand(V, t), torch.arange(V, device=x.device)[:, None]), 1)
    asked = cond.each(lambda slot: slot.expand(V, *slot.shape[1:]))
    free, led = model.log_prob(longer, unasked(asked)), model.log_prob(longer, asked)
    return free + guidance * (led - free)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_saved_weights_give_identical_samples(name, case):
    spec = SPECS[case]
    model, other = built(name, spec).eval(), built(name, spec, seed=1).eval()
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    _, cond = batch(spec, model.chunk)
    a, b = (m.sample(cond, SampleRng(5, range(model.chunk)), m.Options()) for m in (model, other))
    assert torch.equal(a, b)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_parts_of_a_batch_add_up_to_the_whole(name, case):
    """Accumulation and several processes rest on it: weighted means of the parts' losses are the whole's loss."""
    spec = SPECS[case]
    model = built(name, spec)
    model.eval()
    x, cond = batch(spec, 6)
    for phase in model.phases():
        out = model.loss(x, cond, phase.name, BatchRng(1, 6))
        whole = float(out["loss"].detach())
        total = units = 0.0
        for start, stop in ((0, 2), (2, 6)):
            part = cond.each(lambda slot, rows=slice(start, stop): slot[rows])
            out = model.loss(x[start:stop], part, phase.name, BatchRng(1, 6, start, stop))
            weight = float(out.get("weight", stop - start))
            total, units = total + weight * float(out["loss"].detach()), units + weight
        assert total / units == pytest.approx(whole, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_presets_grow_and_can_be_built(name, case):
    spec = SPECS[case]
    kind = family.load(name)
    ladder = kind.presets(spec)
    needs = [p.samples for p in ladder]
    assert needs == sorted(needs) and needs[0] == 0
    sizes = [sum(p.numel() for p in kind(spec, asks(spec), p.config).parameters()) for p in ladder[:3]]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(("codec_name", "family_name"), PAIRS)
def test_every_legal_pair_trains_samples_decodes_and_scores(codec_name, family_name, tmp_path):
    """On the codec's own example samples, written as files: the whole path in seconds."""
    from aurify import recipes
    from aurify.events import Evaluated
    from aurify.loop import train
    from aurify.sample import sample, write

    kind = codec.load(codec_name)
    made = kind(kind.Config())
    for i, native in enumerate(kind.examples(24, seed=1)):
        (tmp_path / "data").mkdir(exist_ok=True)
        made.fit([native])
        made.write(native, tmp_path / "data" / f"{i:03d}", {})
    for note in (tmp_path / "data").glob("*.json"):
        note.unlink()
    smallest = family.load(family_name).toy(made.spec).model_dump()
    wish = recipes.Wish(
        str(tmp_path / "data"),
        family_name,
        codec_name,
        steps=4,
        out=str(tmp_path / "run"),
        settings={**smallest, "batch": 4},
    )
    run, _ = recipes.prepare(wish)
    events = list(train(run))
    scores = [e.figures for e in events if isinstance(e, Evaluated)]
    assert scores and all(np.isfinite(v) for figures in scores for v in figures.values())
    paths = list(write(run, sample(run, 3, seed=1), tmp_path / "out"))
    assert len(paths) == (1 if kind.repeats else 4) and all(p.stat().st_size > 0 for p in paths)
