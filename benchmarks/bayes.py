"""Exact conditional probabilities of a Bayesian network against pgmpy's: equal within 1e-9, and how much faster.

python benchmarks/bayes.py [--variables 20] [--questions 200] [--threads 1] [--rounds 5]

A random network: each variable has 2 to 4 values and up to 3 parents among the five before it. A question gives three
variables and asks for the distribution of another. Both sides answer every question by variable elimination: pgmpy one
after another, as its interface has it, aurify all of one kind at once; then aurify, too, one after another.
"""

import argparse
import json
import logging
import random

import torch
from pgmpy.factors.discrete import TabularCPD
from pgmpy.inference import VariableElimination
from pgmpy.models import DiscreteBayesianNetwork

from aurify.nets.elimination import Network, posterior
from timing import compare

Question = tuple[int, dict[int, int]]  # the variable asked for, and what is known


def random_network(variables: int, seed: int) -> Network:
    dice = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    sizes = [dice.randint(2, 4) for _ in range(variables)]
    parents, tables = [], []
    for i in range(variables):
        before = range(max(0, i - 5), i)
        mine = tuple(sorted(dice.sample(before, min(len(before), dice.randint(0, 3)))))
        shape = [*(sizes[p] for p in mine), sizes[i]]
        table = torch.empty(shape, dtype=torch.float64).exponential_(generator=generator)
        parents.append(mine)
        tables.append(table / table.sum(-1, keepdim=True))
    return Network(tuple(parents), tables)


def as_peer(net: Network) -> VariableElimination:
    model = DiscreteBayesianNetwork()
    model.add_nodes_from([str(i) for i in range(len(net.tables))])
    for i, parents in enumerate(net.parents):
        model.add_edges_from([(str(p), str(i)) for p in parents])
    for i, (parents, table) in enumerate(zip(net.parents, net.tables, strict=True)):
        r, states = table.shape[-1], {str(v): list(range(net.tables[v].shape[-1])) for v in (*parents, i)}
        cards = [net.tables[p].shape[-1] for p in parents]
        values = table.reshape(-1, r).T.numpy()
        evidence = [str(p) for p in parents]
        model.add_cpds(TabularCPD(str(i), r, values, evidence or None, cards or None, state_names=states))
    assert model.check_model()
    return VariableElimination(model)


def questions(net: Network, n: int, seed: int) -> list[Question]:
    """n questions of one kind: the same variables known and asked for, other values."""
    dice = random.Random(seed)
    asked, *known = dice.sample(range(len(net.tables)), 4)
    return [(asked, {i: dice.randrange(net.tables[i].shape[-1]) for i in known}) for _ in range(n)]


def ours(net: Network, some: list[Question]) -> torch.Tensor:
    known = {i: torch.tensor([given[i] for _, given in some]) for i in some[0][1]}
    return posterior(net, some[0][0], known)


def peers(engine: VariableElimination, some: list[Question]) -> torch.Tensor:
    found = []
    for asked, given in some:
        answer = engine.query([str(asked)], {str(i): v for i, v in given.items()}, show_progress=False)
        found.append(torch.as_tensor(answer.values, dtype=torch.float64))
    return torch.stack(found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--variables", type=int, default=20)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(args.threads)
    apart = 0.0
    for seed in range(5):
        net = random_network(args.variables, seed)
        engine, some = as_peer(net), questions(net, 20, seed)
        apart = max(apart, float((ours(net, some) - peers(engine, some)).abs().max()))
    print(json.dumps({"networks": 5, "questions": 100, "largest difference of a probability": apart}), flush=True)
    assert apart < 1e-9
    net = random_network(args.variables, 0)
    engine, some = as_peer(net), questions(net, args.questions, 0)
    work = {
        "all at once": lambda: ours(net, some),
        "one after another": lambda: [ours(net, [one]) for one in some],
    }
    for how, mine in work.items():
        found = compare(mine, lambda: peers(engine, some), args.threads, args.rounds, warmups=1)
        print(json.dumps({"questions": args.questions, "aurify": how, **found.json()}), flush=True)


if __name__ == "__main__":
    main()
