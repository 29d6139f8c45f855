"""Sets of samples and ways to spoil them by degrees: vectors of three modes, their probabilities, pictures, texts."""

import numpy as np
import torch

from aurify.evaluate import metric
from prose import prose

N, F = 240, 8
SCALES = torch.linspace(1.5, 0.3, F, dtype=torch.float64)  # features are never alike
MODES = torch.tensor([[2.0, 0, 0, 0, 0, 0, 0, 0], [-2, 0, 1, 0, 0, 0, 0, 0], [0, 2, -2, 0, 0, 0, 0, 0]]).double()
LETTERS = list("abcdefghijklmnopqrstuvwxyz")


def draw(n, seed, modes=3):
    """Three modes in F features; their probabilities by distance."""
    g = torch.Generator().manual_seed(seed)
    which = torch.randint(modes, (n,), generator=g)
    return MODES[which] + 0.8 * SCALES * torch.randn(n, F, generator=g, dtype=torch.float64)


def probabilities(x):
    return torch.softmax(-(x[:, None] - MODES).square().sum(2), 1)


def seen(name, x, asked=None):
    """What a metric of this name looks at, of vectors. Asked for is the mode of `asked`, else the first."""
    match metric.load(name).of:
        case "probabilities":
            return probabilities(x)
        case "asked":
            meant = 0 if asked is None else probabilities(asked).argmax(1)
            return (probabilities(x).argmax(1) == meant).double()
        case _:
            return x


def value(name, real, made):
    return metric.load(name)().value(seen(name, real), seen(name, made))


def spoiled(name, x, degree, seed):
    """x with a failure, in features; degree 0 is none."""
    g = torch.Generator().manual_seed(seed)
    if name == "noise":
        return x + degree * torch.randn(x.shape, generator=g, dtype=torch.float64)
    if name == "blur":  # what varies least is lost first
        return x.mean(0) + (x - x.mean(0)) * SCALES ** (2 * degree) / SCALES[0] ** (2 * degree)
    if name == "repeats":
        return x[torch.arange(len(x)) % max(2, round(len(x) * 0.3**degree))]
    nearest = (x[:, None] - MODES).square().sum(2).argmin(1)
    return x[nearest < 3 - degree][torch.arange(len(x)) % int((nearest < 3 - degree).sum())]


def pictures(n, seed):
    """Discs of any place and size on a shaded ground, 8 x 8, about -1 to 1."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:8, :8]
    made = np.empty((n, 1, 8, 8), np.float32)
    for x in made:
        a, b, r = rng.uniform(2, 6), rng.uniform(2, 6), rng.uniform(1, 3)
        inside = 1 / (1 + np.exp((row - a) ** 2 + (column - b) ** 2 - r**2).clip(0, 1e6))
        slope = rng.uniform(-0.05, 0.05, 2)
        x[0] = rng.uniform(-0.8, -0.2) + slope[0] * row + slope[1] * column + inside * rng.uniform(0.5, 1)
        x[0] += rng.normal(0, 0.03, (8, 8))
    return torch.from_numpy(made)


def spoiled_pictures(name, x, degree):
    """With noise added, or each place averaged with its neighbours so many times."""
    if name == "noise":
        return x + 0.15 * degree * torch.randn(x.shape, generator=torch.Generator().manual_seed(9))
    for _ in range(2 * degree):
        x = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return x


def spoiled_texts(name, texts, share, seed=0):
    """Texts with a failure in so great a share of their characters, words or number."""
    rng = np.random.default_rng(seed)
    if name == "noise":
        return ["".join(rng.choice(LETTERS) if rng.random() < share else c for c in text) for text in texts]
    if name == "repeats":
        return [texts[i % max(2, round(len(texts) * (1 - share)))] for i in range(len(texts))]
    if name == "cut-short":
        return [text[: round(len(text) * (1 - share))] for text in texts]
    if name == "loops":  # the last part is the beginning again and again
        return [(text[: round(len(text) * (1 - share))] + " " + (text[:20] + " ") * 20)[: len(text)] for text in texts]
    return [partly_shuffled(text.split(), share, rng) for text in texts]


def partly_shuffled(words, share, rng):
    places = np.flatnonzero(rng.random(len(words)) < share)
    moved = list(words)
    for place, other in zip(places, rng.permutation(places), strict=True):
        moved[place] = words[other]
    return " ".join(moved)


def side(of, n, seed):
    """Real samples of a kind."""
    if of == "texts":
        return [text[: 100 + i % 50] for i, text in enumerate(prose(n, part=seed))]
    if of == "likelihood":
        g = torch.Generator().manual_seed(seed)
        return torch.rand(n, 3, dtype=torch.float64, generator=g) + torch.tensor([100.0, 40, 50])
    return draw(n, seed)
