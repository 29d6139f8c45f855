"""Small real data and small real trainings, shared by tests of the whole path."""

import numpy as np
from PIL import Image

from aurify import family as families
from aurify import recipes
from aurify.run import Run
from aurify.spec import Tokens

WORDS = "the river runs under the old bridge and the wind walks over the hill while we sleep".split()


def write_pictures(folder, n=24, size=(8, 8), labels=("left", "right"), seed=0):
    """Grey pictures with a bright half: the label says which."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        label = labels[i % len(labels)]
        x = rng.integers(0, 60, size, dtype=np.uint8)
        half = slice(None, size[1] // 2) if label == labels[0] else slice(size[1] // 2, None)
        x[:, half] += rng.integers(120, 190, dtype=np.uint8)
        path = folder / label / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x).save(path)
    return folder


def write_texts(folder, n=24, seed=0):
    """Short made-up sentences, a file each."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        (folder / f"{i:04d}.txt").write_text(" ".join(rng.choice(WORDS, rng.integers(3, 9))) + ".\n")
    return folder


def write_babble(folder, n=700, seed=0):
    """Sentences of words that no language has, a file each."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    words = ["".join(rng.choice(list("aeioulmnrst"), rng.integers(2, 7))) for _ in range(40)]
    for i in range(n):
        (folder / f"{i}.txt").write_text(" ".join(rng.choice(words, rng.integers(4, 12))) + ".\n")
    return folder


TOY = {
    "flow": {"width": 8, "multiples": [1, 2], "patch": 1},
    "gan": {"width": 8},
    "gru": {"width": 16, "depth": 1},
    "hmm": {"states": 8},
    "maskgit": {"width": 16, "depth": 1},
    "ngram": {"order": 3},
    "transformer": {"width": 16, "depth": 1, "heads": 2},
    "vae": {"width": 8, "layers": 2},
    "wavenet": {"width": 8, "depth": 3},
}


def make(folder, family, out, steps=8, **settings) -> Run:
    """A run that is prepared but not trained, of toy size."""
    asked = {**TOY.get(family, {}), "batch": 8, **settings}
    wish = recipes.Wish(str(folder), family=family, steps=steps, out=str(out), settings=asked)
    run, _ = recipes.prepare(wish)
    return run


def data_for(family, folder):
    """A toy folder that the family can model."""
    return write_texts(folder) if families.load(family).kind is Tokens else write_pictures(folder)
