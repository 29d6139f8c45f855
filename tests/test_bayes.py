"""The bayes family against enumeration: joint and conditional probabilities, counts, graphs; and its own failures."""

import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch

from aurify import recipes
from aurify.cond import Cond, CondSpec, from_labels
from aurify.errors import UserError
from aurify.evaluate import of_run
from aurify.evaluate.report import Report
from aurify.families.bayes import Bayes, Config, Options
from aurify.loop import train
from aurify.nets import graph_drawing, structure
from aurify.nets.elimination import Network, draw, log_evidence, posterior
from aurify.rng import BatchRng, SampleRng
from aurify.run import Run
from aurify.sample import sample
from aurify.spec import Tokens

SIZES = (2, 3, 2, 4, 2)
SPEC = Tokens(5, 4, sizes=SIZES)
EDGES = ((0, 2), (1, 2), (2, 3), (1, 4))  # 0 -> 2 <- 1, 2 -> 3, 1 -> 4
LABELS, NONE, NOTHING = CondSpec(("a", "b", "c")), CondSpec(), Cond()


def built(spec=SPEC, cond=NONE, edges=EDGES, seed=0, **settings) -> Any:
    """A network with tables from anywhere on the simplex."""
    model = Bayes(spec, cond, Config(edges=edges, **settings))
    torch.manual_seed(seed)
    with torch.no_grad():
        for table in model.theta:
            table.copy_(torch.empty_like(table).exponential_().log().log_softmax(-1))
    return model


def every(sizes):
    return torch.tensor(list(itertools.product(*(range(n) for n in sizes))))


def table(model) -> torch.Tensor:
    """p(x) of every row, by the product of the tables, with axes for the columns."""
    tables, x = [t.detach().double().softmax(-1) for t in model.theta], every(model.sizes)
    p = torch.ones(len(x), dtype=torch.float64)
    for i, parents in enumerate(model.parents):
        place = torch.zeros(len(x), dtype=torch.long)
        for parent in parents:
            place = place * model.sizes[parent] + x[:, parent]
        p = p * tables[i][place, x[:, i]]
    return p.reshape(model.sizes)


def fit(model, x, cond=NOTHING, steps=3):
    """Whole-data steps of the phase's own optimizer."""
    (phase,) = model.phases()
    optimizer = phase.optimizer(phase.params)
    losses = []
    for step in range(steps):
        out = model.loss(x, cond, phase.name, BatchRng(step, len(x)))
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        losses.append(float(out["loss"].detach()))
    return losses


# Probabilities


def test_probabilities_are_the_product_of_the_tables_and_sum_to_one():
    model, x = built(), every(SIZES)
    p = model.log_prob(x, Cond()).exp()
    torch.testing.assert_close(p, table(model).flatten(), rtol=1e-12, atol=0)
    assert float(p.sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("known", [(), (3,), (3, 4), (0, 1), (2,), (0, 1, 2, 3)])
def test_posteriors_of_every_column_are_those_of_enumeration(known):
    model = built()
    p, net = table(model), model.network()
    rows = every([SIZES[i] for i in known]) if known else torch.zeros(1, 0, dtype=torch.long)
    given = {column: rows[:, k] for k, column in enumerate(known)}
    for column in set(range(5)) - set(known):
        found = posterior(net, column, given)
        for row, one in zip(rows, found.expand(len(rows), -1), strict=True):
            place: list[Any] = [slice(None)] * 5
            for k, i in enumerate(known):
                place[i] = int(row[k])
            part = p[tuple(place)]
            left = [i for i in range(5) if i not in known]
            others = [a for a, i in enumerate(left) if i != column]
            exact = part.sum(others) if others else part
            torch.testing.assert_close(one, exact / exact.sum(), rtol=0, atol=1e-12)
    exact = [p[tuple(int(row[known.index(i)]) if i in known else slice(None) for i in range(5))].sum() for row in rows]
    torch.testing.assert_close(log_evidence(net, given).exp(), torch.stack(exact), rtol=1e-12, atol=0)


def test_rows_are_drawn_from_the_exact_conditional_distribution():
    """20,000 rows given the two leaves, whose ancestors are everything; chi-squared of the other columns."""
    model, n = built(), 20_000
    p = table(model)[:, :, :, 1, 0]
    u = torch.rand(n, 5, generator=torch.Generator().manual_seed(0)).double()
    x = draw(model.network(), {3: torch.tensor([1]), 4: torch.tensor([0])}, [], u)
    assert bool((x[:, 3] == 1).all() and (x[:, 4] == 0).all())
    counts = torch.bincount((x[:, 0] * 3 + x[:, 1]) * 2 + x[:, 2], minlength=12).double()
    expected = n * (p / p.sum()).flatten()
    assert float(((counts - expected).square() / expected).sum()) < 31  # 11 degrees of freedom: p = 0.001


def test_rows_without_anything_given_are_drawn_from_the_joint_distribution():
    model, n = built(), 20_000
    x = draw(model.network(), {}, [], torch.rand(n, 5, generator=torch.Generator().manual_seed(1)).double())
    place = (((x[:, 0] * 3 + x[:, 1]) * 2 + x[:, 2]) * 4 + x[:, 3]) * 2 + x[:, 4]
    expected = n * table(model).flatten()
    counts = torch.bincount(place, minlength=96).double()
    assert float(((counts - expected).square() / expected).sum()) < 144  # 95 degrees of freedom: p = 0.001


def test_a_document_has_the_probability_of_all_that_could_follow_its_end():
    spec = Tokens(3, 3, end=2)
    model = built(spec, edges=((0, 1), (1, 2), (0, 2)))
    documents = [[*body, 2] for k in range(3) for body in itertools.product(range(2), repeat=k)]
    documents += [list(body) for body in itertools.product(range(2), repeat=3)]
    x = torch.tensor([d + [2] * (3 - len(d)) for d in documents])
    assert float(model.log_prob(x, Cond()).exp().sum()) == pytest.approx(1, abs=1e-12)
    made = model.sample(Cond(), SampleRng(0, range(64)), Options())
    assert spec.contains(made) and all(row.tolist() in x.tolist() for row in made)


# Learning


def test_the_gradient_is_the_count_and_one_step_gives_the_smoothed_tables():
    x = SPEC.like(BatchRng(0, 500))
    model = Bayes(SPEC, CondSpec(), Config(edges=EDGES, rows=500, prior=3.0))
    model.loss(x, Cond(), "count", BatchRng(0, 500))["loss"].backward()
    N = torch.zeros(2, 3, 2, dtype=torch.float64)
    for a, b, c in x[:, :3].tolist():
        N[a, b, c] += 1
    grad = model.theta[2].grad
    torch.testing.assert_close(-grad.double() * 500 * 5, N.reshape(6, 2), rtol=1e-6, atol=0)
    fit(model, x)
    exact = (N + 3 / 12) / (N.sum(-1, keepdim=True) + 3 / 6)
    torch.testing.assert_close(model.theta[2].detach().double().exp(), exact.reshape(6, 2), rtol=1e-5, atol=0)


def test_equal_batches_give_the_counts_of_all_rows():
    x = SPEC.like(BatchRng(0, 400))
    whole, parts = (Bayes(SPEC, CondSpec(), Config(edges=EDGES, rows=400)) for _ in range(2))
    fit(whole, x, steps=1)
    (phase,) = parts.phases()
    optimizer = phase.optimizer(phase.params)
    for part in x.chunk(4):
        optimizer.zero_grad()
        parts.loss(part, Cond(), "count", BatchRng(0, 100))["loss"].backward()
        optimizer.step()
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_label_is_one_more_variable_and_an_unknown_one_is_summed_over():
    model = built(cond=LABELS, edges=(*EDGES, (5, 0), (5, 3)))
    p, x = table(model), every(SIZES)  # axes of p: the columns, then the label
    for label in range(3):
        cond = from_labels([label] * len(x), LABELS)
        exact = p[..., label] / p[..., label].sum()
        torch.testing.assert_close(model.log_prob(x, cond).exp(), exact.flatten(), rtol=1e-10, atol=0)
    free = from_labels([None] * len(x), LABELS)
    torch.testing.assert_close(model.log_prob(x, free).exp(), p.sum(-1).flatten(), rtol=1e-10, atol=0)
    loss = model.loss(x, free, "count", BatchRng(0, len(x)))
    torch.testing.assert_close(-loss["loss"].double() * loss["weight"], p.sum(-1).log().sum(), rtol=1e-5, atol=0)
    loss["loss"].backward()
    r = (p / p.sum(-1, keepdim=True)).sum((0, 1, 2, 3, 4))  # expected counts of the labels
    torch.testing.assert_close(-model.theta[5].grad[0].double() * loss["weight"], r, rtol=1e-4, atol=0)


def test_expectation_maximisation_never_lowers_the_likelihood_of_rows_without_labels():
    teacher = built(cond=LABELS, edges=tuple((5, i) for i in range(5)), seed=1)
    x = draw(teacher.network(), {}, [], torch.rand(400, 6, generator=torch.Generator().manual_seed(0)).double())[:, :5]
    cond = from_labels([int(i) if k % 2 else None for k, i in enumerate(torch.arange(400) % 3)], LABELS)
    model = built(cond=LABELS, edges=tuple((5, i) for i in range(5)), seed=2, rows=400, prior=1e-6)
    (phase,) = model.phases()
    optimizer = phase.optimizer(phase.params)
    for group in optimizer.param_groups:
        group["power"] = 0.0  # all of what is remembered is this step's: EM as it was published
    losses = []
    for step in range(12):
        out = model.loss(x, cond, "count", BatchRng(step, 400))
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        losses.append(float(out["loss"].detach()))
    assert all(b <= a + 1e-6 for a, b in itertools.pairwise(losses)) and losses[-1] < losses[0] - 0.05


# Structure


def drawn_rows(model, n, seed=0):
    u = torch.rand(n, len(model.sizes), generator=torch.Generator().manual_seed(seed)).double()
    return structure.Rows(draw(model.network(), {}, [], u).numpy().T.copy(), tuple(model.sizes))


def skeleton(parents):
    return {frozenset((p, i)) for i, of in enumerate(parents) for p in of}


def test_a_planted_tree_is_found_and_no_tree_is_likelier():
    edges = ((0, 1), (0, 2), (2, 3), (2, 4))
    rows = drawn_rows(built(edges=edges, seed=4), 4000)
    found = structure.tree(rows)
    assert skeleton(found) == {frozenset(e) for e in edges}

    def fitness(parents):
        return sum(structure.bic(rows.counts(i, of)) + penalty(rows, i, of) for i, of in enumerate(parents))

    def penalty(rows, i, of):
        q, r = rows.counts(i, of).shape
        return np.log(rows.n) / 2 * q * (r - 1)

    best = fitness(found)
    for arcs in itertools.combinations(itertools.combinations(range(5), 2), 4):
        parents: Any = rooted(arcs)
        if parents is not None:
            assert fitness(parents) <= best + 1e-6


def rooted(arcs):
    """The tree of these undirected arcs, rooted at 0; None where they are none."""
    parents, left, inside = [()] * 5, list(arcs), {0}
    while left:
        arc = next((a for a in left if len(inside & set(a)) == 1), None)
        if arc is None:
            return None
        (inner,), (outer,) = inside & set(arc), set(arc) - inside
        parents[outer] = (inner,)
        inside.add(outer)
        left.remove(arc)
    return tuple(parents)


@pytest.mark.parametrize("score", ["bic", "bdeu"])
def test_a_planted_collider_is_found_with_its_directions(score):
    """0 -> 2 <- 1 is the only graph of its kind: the arcs into 2 have no other direction."""
    rows = drawn_rows(built(edges=((0, 2), (1, 2)), seed=3), 8000)
    found = structure.search(rows, score, most=3)
    assert found[2] == (0, 1) and found[0] == found[1] == ()


def test_the_search_finds_the_best_of_all_graphs():
    """Every graph over four variables, 543 of them."""
    model = built(Tokens(4, 3, sizes=(2, 3, 2, 2)), edges=((0, 1), (0, 2), (1, 3), (2, 3)), seed=7)
    rows = drawn_rows(model, 600)
    pairs = list(itertools.permutations(range(4), 2))
    best, graphs = -np.inf, 0
    for chosen in itertools.product((0, 1, 2), repeat=6):
        arcs = [
            (i, j) if way == 1 else (j, i)
            for way, (i, j) in zip(chosen, [p for p in pairs if p[0] < p[1]], strict=True)
            if way
        ]
        parents = tuple(tuple(sorted(i for i, j in arcs if j == k)) for k in range(4))
        try:
            structure.topological(parents)
        except ValueError:
            continue
        graphs += 1
        best = max(best, sum(structure.bic(rows.counts(i, of)) for i, of in enumerate(parents)))
    found = structure.search(rows, "bic", most=3)
    assert graphs == 543
    assert sum(structure.bic(rows.counts(i, of)) for i, of in enumerate(found)) == pytest.approx(best, abs=1e-6)


def test_scores_that_know_no_direction_are_equal_for_equivalent_graphs():
    rows = drawn_rows(built(), 500)
    for score in (structure.bic, lambda N: structure.bdeu(N, 1.0)):
        one = score(rows.counts(0, ())) + score(rows.counts(1, (0,)))
        other = score(rows.counts(1, ())) + score(rows.counts(0, (1,)))
        assert one == pytest.approx(other, rel=1e-10)


def test_the_label_has_no_parents_and_edges_must_be_a_network():
    model = built(cond=LABELS, edges=tuple((5, i) for i in range(5)), seed=1)
    full = draw(model.network(), {}, [], torch.rand(2000, 6, generator=torch.Generator().manual_seed(0)).double())
    cond = from_labels(full[:, 5], LABELS)
    for kind in ("search", "tree"):
        found = Bayes.study(Config(structure=kind), SPEC, full[:, :5], cond, 2000)
        assert found.rows == 2000 and any(p == 5 for p, _ in found.edges) and all(i != 5 for _, i in found.edges)
    with pytest.raises(UserError, match="go round in a circle"):
        built(edges=((0, 1), (1, 0)))
    with pytest.raises(UserError, match="not there: the columns are 0 to 4"):
        built(edges=((0, 7),))


def test_a_graph_is_drawn():
    names, parents = ("sun", "rain", "wet <grass>", "slip"), ((), (0,), (0, 1), (2,))
    assert graph_drawing.as_text(names, parents).splitlines() == [
        "sun", "└─ rain", "   └─ wet <grass>  (and sun)", "      └─ slip",
    ]  # fmt: skip
    drawn = graph_drawing.as_svg(names, parents)
    assert drawn.count("<rect") == 4 and drawn.count("marker-end") == 4 and "wet &lt;grass&gt;" in drawn
    assert graph_drawing.layered(parents) == [[0], [1], [2], [3]]


# Failures


def test_a_healthy_network_is_silent():
    rows = drawn_rows(built(seed=3), 3000)
    config = Bayes.study(Config(), SPEC, torch.from_numpy(rows.x.T.copy()), Cond(), 3000)
    assert Bayes(SPEC, CondSpec(), config).notices({"count/loss": 1.0}) == []


def test_tables_that_no_row_ever_fills_are_named():
    model = Bayes(SPEC, CondSpec(), Config(edges=((0, 4), (1, 4), (3, 4)), rows=10))
    ((kind, text),) = model.notices({})
    assert kind == "empty-tables" and "59 cells for 10 rows" in text and "--set bins=8" in text


def test_columns_that_nothing_ties_together_are_named():
    x = SPEC.like(BatchRng(0, 3000))
    config = Bayes.study(Config(), SPEC, x, Cond(), 3000)
    ((kind, text),) = Bayes(SPEC, CondSpec(), config).notices({})
    assert kind == "no-arcs" and "each is drawn on its own" in text


def test_what_is_too_large_is_refused_with_what_to_do():
    with pytest.raises(UserError, match=r"cells, and .* are the most: .*--set unit=characters"):
        Bayes(Tokens(256, 8192, end=0, stream=True), CondSpec(), Config(structure="chain"))
    wheel = Tokens(14, 40, sizes=(40,) * 14)
    model = Bayes(
        wheel, CondSpec(), Config(edges=tuple((i, 13) for i in range(3)) + tuple((i, 12) for i in range(2, 5)))
    )
    with pytest.raises(UserError, match="no symbol 99 in column 13"):
        model.sample(Cond(), SampleRng(0, range(64)), Options(given={13: 99}))
    pairs = tuple(itertools.combinations(range(8), 2))  # each pair has a child that is known, so all are tied to all
    tables = [torch.ones(12).double() / 12] * 8 + [torch.ones(12, 12, 2).double() / 2] * len(pairs)
    with pytest.raises(UserError, match="too entangled"):
        log_evidence(Network(((),) * 8 + pairs, tables), {8 + k: torch.tensor([1]) for k in range(len(pairs))})


# The whole path


ANIMALS = {"cat": (4, 4.0), "bird": (2, 0.3), "spider": (8, 0.02)}


def animals(path, n=400, seed=0):
    rng = np.random.default_rng(seed)
    lines = ["animal,legs,weight,tame"]
    for _ in range(n):
        name = list(ANIMALS)[rng.integers(3)]
        legs, weight = ANIMALS[name]
        tame = "yes" if rng.random() < (0.9 if name == "cat" else 0.1) else "no"
        lines.append(f"{name},{legs},{weight * rng.lognormal(0, 0.2):.3f},{tame}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bayes")
    wish = recipes.Wish(str(animals(folder / "animals.csv")), "bayes", steps=20, out=str(folder / "run"))
    made, _ = recipes.prepare(wish)
    list(train(made))
    return made


def test_a_table_is_learned_and_columns_are_given(run: Run):
    told = json.loads((run.path / "run.json").read_text())["family_config"]
    assert told["structure"] == "search" and len(told["edges"]) >= 3
    rows = [made.native for made in sample(run, 300, seed=1)]
    assert all(row["legs"] == ANIMALS[row["animal"]][0] for row in rows)
    cats = [row for row in rows if row["animal"] == "cat"]
    assert 60 < len(cats) < 140 and np.mean([row["tame"] == "yes" for row in cats]) > 0.75
    given = list(sample(run, 100, seed=1, given={"weight": 0.3, "tame": "yes"}))
    assert all(made.native["weight"] == 0.3 and made.native["tame"] == "yes" for made in given)
    assert np.mean([made.native["animal"] == "bird" for made in given]) > 0.9
    assert given[0].record["options"] == {"given": {"weight": 0.3, "tame": "yes"}}
    again = [made.native for made in sample(run, 2, seed=1, first=98, given={"weight": 0.3, "tame": "yes"})]
    assert again == [made.native for made in given[98:]]
    with pytest.raises(UserError, match="column 'leg' cannot be given"):
        next(sample(run, 1, given={"leg": 4}))


def test_a_run_of_a_table_is_judged(run: Run):
    *_, report = of_run.evaluate(run, n=100)
    assert isinstance(report, Report) and report.figures
    assert {"columns"} <= {name for f in report.figures for name in f.ceilings}
    assert report.copying is not None
    assert (run.path / "report" / "network.svg").read_text().startswith("<svg")
    page = (run.path / "report" / "report.html").read_text()
    assert "data:image/svg+xml" in page and "└─" in page
