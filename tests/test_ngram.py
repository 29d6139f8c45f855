"""The n-gram family against its equation written out, against counting by hand, and its own failures."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import toys
from aurify.bench import Bench
from aurify.cond import Cond, CondSpec, from_labels
from aurify.data.store import open_or_build
from aurify.events import Notice
from aurify.families.ngram import DOUBLED, Config, Ngram
from aurify.loop import train
from aurify.nets.kneser_ney import count, discounts, merge
from aurify.recipes import Wish, prepare
from aurify.rng import BatchRng, SampleRng
from aurify.spec import Tokens
from test_cli import aurify, refused
from test_transformer import TINY, everything

LABELS = CondSpec(("a", "b"))
STREAM = Tokens(16, 7, end=6, stream=True)
SPECS = {
    "documents": Tokens(12, 5, end=4),
    "stream": STREAM,
    "fixed": Tokens(8, 4),
    "row": Tokens(4, 5, sizes=(2, 5, 3, 4)),
}


def make(spec: Tokens, cond: CondSpec = CondSpec(), order: int = 3) -> Ngram:  # noqa: B008
    return Ngram(spec, cond, Config(order=order))


def tell(model: Ngram, x: Tensor, cond: Cond | None = None) -> dict[str, float]:
    """One step of the loop on these rows."""
    (phase,) = model.phases()
    optimizer = phase.optimizer(phase.params)
    optimizer.zero_grad()
    out = model.loss(x, cond or Cond(), phase.name, BatchRng(0, len(x)))
    out["loss"].backward()
    optimizer.step()
    return {f"count/{name}": float(v.detach()) for name, v in out.items()}


def uneven(spec: Tokens, n: int) -> Tensor:
    """Samples in which some strings are frequent and some rare."""
    like = spec.like(BatchRng(1, n))
    u = BatchRng(2, n).uniform(like.shape[1])
    x = torch.where(u < 0.6, torch.arange(like.shape[1]) % 2, like)
    return torch.where(spec.mask(like), x, like)


class WrittenOut:
    """The equation on strings as tuples, one symbol at a time. `place` in a context says the column of a table."""

    def __init__(self, spec: Tokens, x: Tensor, order: int):
        self.spec, self.order = spec, order
        self.raw: dict[Any, Counter[int]] = defaultdict(Counter)
        self.before: dict[Any, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
        for row in self.rows(x):
            for i in range(len(row)):
                for k in range(min(order, i + 1)):
                    if row[i] == spec.vocab:  # the mark
                        continue
                    h = self.context(row, i, k)
                    self.raw[h][row[i]] += 1
                    if i > k:
                        self.before[h][row[i]].add(row[i - k - 1])
        self.D = {k: self.taken(k) for k in range(order)}

    def rows(self, x: Tensor) -> list[list[int]]:
        marked = [] if self.spec.stream or self.spec.sizes else [self.spec.vocab]
        return [marked + row[mask].tolist() for row, mask in zip(x, self.spec.mask(x), strict=True)]

    def context(self, row: Sequence[int], i: int, k: int) -> Any:
        return (i if self.spec.sizes else None, tuple(row[i - k : i]))

    def counts(self, context: Any) -> Counter[int]:
        column, h = context
        begins = h[:1] == (self.spec.vocab,) or (column is not None and len(h) == column)
        if len(h) == self.order - 1 or begins:
            return self.raw[context]
        return Counter({w: len(self.before[context][w]) for w in self.raw[context]})

    def taken(self, k: int) -> list[float]:
        c = [n for context in list(self.raw) if len(context[1]) == k for n in self.counts(context).values()]
        return discounts(torch.tensor(c, dtype=torch.long)).tolist()

    def p(self, w: int, row: Sequence[int], i: int, k: int) -> float:
        if k < 0:
            return 1 / (self.spec.sizes[i] if self.spec.sizes else self.spec.vocab)
        lower, c = self.p(w, row, i, k - 1), self.counts(self.context(row, i, k))
        if not c.total():
            return lower
        D = self.D[k]
        return (c[w] - D[min(c[w], 3)] + sum(D[min(n, 3)] for n in c.values()) * lower) / c.total()

    def log_prob(self, x: Tensor) -> list[float]:
        return [
            sum(
                math.log(self.p(row[i], row, i, min(self.order - 1, i)))
                for i in range(len(row))
                if row[i] != self.spec.vocab
            )
            for row in self.rows(x)
        ]


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_the_model_is_the_equation_written_out(spec: Tokens, order: int) -> None:
    x, model = uneven(spec, 60), make(spec, order=order)
    tell(model, x)
    asked = torch.cat((spec.like(BatchRng(9, 20)), x[:10]))
    expected = WrittenOut(spec, x, order).log_prob(asked)
    assert model.log_prob(asked, Cond()).tolist() == pytest.approx(expected, rel=1e-12)


def test_discounts_are_those_of_the_paper() -> None:
    """Counts of counts 50, 20, 10, 5: Y = 50 / 90, D1 = 1 - 2 Y 20 / 50, D2 = 2 - 3 Y 10 / 20, D3 = 3 - 4 Y 5 / 10."""
    c = torch.tensor([1] * 50 + [2] * 20 + [3] * 10 + [4] * 5 + [9] * 7)
    Y = 50 / 90
    assert discounts(c).tolist() == pytest.approx([0, 1 - 2 * Y * 20 / 50, 2 - 3 * Y * 10 / 20, 3 - 4 * Y * 5 / 10])


@pytest.mark.parametrize("spec", TINY, ids=str)
@pytest.mark.parametrize("label", [None, 0, 1])
def test_the_probabilities_of_all_samples_sum_to_one(spec: Tokens, label: int | None) -> None:
    """With nothing counted, with a little, and for a label that was never met."""
    model, x = make(spec, LABELS), everything(spec)
    asked = from_labels([label] * len(x), LABELS)
    for rows in (0, 5, 50):
        tell(model, uneven(spec, rows + 1), from_labels([0] * (rows + 1), LABELS)) if rows else None
        assert model.log_prob(x, asked).exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("spec", TINY, ids=str)
def test_samples_come_as_often_as_log_prob_says(spec: Tokens) -> None:
    model, n, x = make(spec), 4000, everything(spec)
    tell(model, uneven(spec, 50))
    samples = model.sample(Cond(), SampleRng(5, range(n)), model.Options())
    assert spec.contains(samples)
    seen = (samples[:, None] == x).all(-1).sum(0)
    assert seen.sum() == n, "a sample outside the space"
    expected = n * model.log_prob(x, Cond()).exp()
    often = expected > 5
    chi_square = ((seen - expected)[often] ** 2 / expected[often]).sum().item()
    freedom = int(often.sum())
    assert chi_square < freedom + 5 * math.sqrt(2 * freedom)


def strings(model: Ngram) -> dict[tuple[int, ...], int]:
    """The table spelt out: every string of the highest order and how often it was met."""
    counts, W = model.table.counts, model.table.width
    spelt: list[tuple[int, ...]] = []
    for k, codes in enumerate(counts.codes):
        spelt = [(*(spelt[c // W] if k else ()), c % W) for c in codes.tolist()]
    return dict(zip(spelt, counts.raw[-1].tolist(), strict=True))


def test_what_was_counted_is_exactly_what_was_shown(tmp_path: Any) -> None:
    """By the loop, in steps and in parts of steps, equals counting every row of every batch by hand."""
    run = toys.make(toys.write_texts(tmp_path / "data"), "ngram", tmp_path / "run", steps=5, micro=3)
    from aurify.loop import Loop
    from aurify.parallel import Group

    loop = Loop(run, torch.device("cpu"), Group())
    expected: Counter[tuple[int, ...]] = Counter()
    for step in range(5):
        x, _ = loop.batches.at(step)
        for row, mask in zip(x.long(), run.spec.mask(x.long()), strict=True):
            symbols = [run.spec.vocab, *row[mask].tolist()]
            expected.update(tuple(symbols[i : i + 3]) for i in range(len(symbols) - 2))
        list(loop.step())
    assert strings(loop.state.family) == expected  # type: ignore[arg-type]


def test_a_backward_pass_without_a_step_counts_nothing() -> None:
    model = make(STREAM)
    (phase,) = model.phases()
    optimizer = phase.optimizer(phase.params)
    model.loss(uneven(STREAM, 5), Cond(), "count", BatchRng(0, 5))["loss"].backward()
    optimizer.zero_grad()
    model.loss(uneven(STREAM, 5), Cond(), "count", BatchRng(0, 5))  # looked at only
    optimizer.step()
    assert not strings(model)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_the_strings_of_two_texts_are_merged_as_if_counted_at_once(spec: Tokens) -> None:
    table, x = make(spec, order=4).table, uneven(spec, 40)
    texts = [table.text(part, torch.zeros(len(part), dtype=torch.long)) for part in (x[:25], x[25:], x)]
    one, two, both = (count(text, 4, table.width, table.mark) for text in texts)
    merged = merge(one, two, table.width)
    for mine, theirs in zip((*merged.codes, *merged.raw), (*both.codes, *both.raw), strict=True):
        assert torch.equal(mine, theirs)


def test_a_label_s_book_falls_back_on_that_of_all() -> None:
    """Samples by label are its own; a label never met is as if nothing were asked."""
    spec, labels = Tokens(12, 4), CondSpec(("up", "down", "never"))
    first, step = torch.randint(4, (60,)), torch.tensor([1, -1]).repeat(30)
    x = (first[:, None] + step[:, None] * torch.arange(12)) % 4
    model = make(spec, labels)
    tell(model, x, from_labels([0, 1] * 30, labels))
    own, other, free, never = (
        model.log_prob(x, from_labels(asked, labels)) for asked in ([0, 1] * 30, [1, 0] * 30, [None] * 60, [2] * 60)
    )
    assert own.mean() > free.mean() > other.mean() and torch.equal(free, never)
    made = model.sample(from_labels([0, 1] * 20, labels), SampleRng(0, range(40)), model.Options())
    follows = ((made[:, 1:] - made[:, :-1]) % 4 == torch.tensor([1, 3]).repeat(20)[:, None]).double().mean()
    assert follows > 0.9
    led = model.sample(from_labels([0, 1] * 20, labels), SampleRng(0, range(40)), model.Options(guidance=3.0))
    assert spec.contains(led) and not torch.equal(led, made)


def test_the_plan_shows_the_data_once(tmp_path: Any) -> None:
    for n in (2, 24, 25, 61):
        store = open_or_build(str(toys.write_texts(tmp_path / f"data-{n}", n)))
        bench = Bench(Ngram, store, {"family": {}, "training": {}}, torch.device("cpu"), tmp_path, tmp_path / "run")
        samples = len(store.split("train"))
        for preset in bench.presets():
            batch = bench.fixed(preset)["batch"]
            steps = bench.enough(batch)
            assert steps and 0 <= steps * batch - samples < max(2, batch / 4), (samples, batch, steps)


def test_minutes_are_enough_for_one_pass(tmp_path: Any) -> None:
    run, plan = prepare(
        Wish(str(toys.write_texts(tmp_path / "data", 60)), "ngram", minutes=0.2, out=str(tmp_path / "run"))
    )
    samples = run.data.counts["train"]
    assert 0 <= plan.training.steps * plan.training.batch - samples < plan.training.steps
    assert not [e for e in train(run) if isinstance(e, Notice)]


def test_counting_twice_is_said_and_counting_once_is_not() -> None:
    x = torch.randint(7, (300, 16))
    model = make(STREAM, order=4)
    halves = x[:150], x[150:]
    once = [model.notices(tell(model, half)) for half in (*halves, x[:1])]
    assert not any(once)
    for half in halves:
        tell(model, half)
    figures = tell(model, x[:1])
    assert figures["count/even"] > DOUBLED and [kind for kind, _ in model.notices(figures)] == ["counted-twice"]


def test_a_single_line_is_counted_and_an_impossible_order_refused(capsys: Any, tmp_path: Any) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "only.txt").write_text(
        "to be or not to be, that is the question: whether it is nobler in mind"
    )
    command = ("train", tmp_path / "data", "--family", "ngram", "--steps", 3, "--out", tmp_path / "run")
    code, _, said = aurify(capsys, *command)
    assert code == 0 and "Traceback" not in said, said
    assert "order" in refused(capsys, *command[:-1], tmp_path / "none", "--set", "order=0")
