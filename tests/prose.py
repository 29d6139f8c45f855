"""Real English text to test with, whole and shuffled."""

from pydoc_data.topics import topics

import numpy as np
import torch

from aurify.evaluate.samples import Samples


def samples(texts):
    return Samples(list(texts), None, torch.full((len(texts),), -1), tuple(str(i) for i in range(len(texts))))


def stream(length=300):
    """Real English: Python's own reference manual, which comes with Python, each paragraph once, cut into pieces."""
    whole = "\n".join(sorted(set("\n".join(topics[name] for name in sorted(topics)).split("\n\n"))))
    return [whole[i : i + length] for i in range(0, len(whole) - length, length)]


def original(texts, run=30):
    """Those that have no `run` of characters in common with one before them."""
    seen, kept = set(), []
    for text in texts:
        runs = {text[i : i + run] for i in range(len(text) - run + 1)}
        if not runs & seen:
            kept.append(text)
        seen |= runs
    return kept


def prose(n, length=300, part=0, parts=3):
    """Pieces of the manual in any order. Parts have nothing in common."""
    pieces = stream(length)
    order = np.random.default_rng(0).permutation(len(pieces))[part::parts][:n]
    assert len(order) == n
    return [pieces[i] for i in order]


def shuffled(texts, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.permutation(text.split())) for text in texts]
