"""Real English text to test with, whole and shuffled."""

from pydoc_data.topics import topics

import numpy as np
import torch

from aurify.evaluate.samples import Samples


def samples(texts):
    return Samples(list(texts), None, torch.full((len(texts),), -1), tuple(str(i) for i in range(len(texts))))


def prose(n, length=300, part=0, parts=3):
    """Real English: pieces of Python's own reference manual, which comes with Python. Parts have nothing in common."""
    whole = "\n".join(sorted(set("\n".join(topics[name] for name in sorted(topics)).split("\n\n"))))
    pieces = [whole[i : i + length] for i in range(0, len(whole) - length, length)]
    order = np.random.default_rng(0).permutation(len(pieces))[part::parts][:n]
    assert len(order) == n
    return [pieces[i] for i in order]


def shuffled(texts, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.permutation(text.split())) for text in texts]
