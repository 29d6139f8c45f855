"""What a model that has likelihoods says of held-out samples: rows (nats, symbols, characters)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from aurify.cond import Cond, from_rows
from aurify.data.texts import encode_all
from aurify.errors import UserError
from aurify.evaluate.ngram import Ngram
from aurify.evaluate.samples import Decoded, Samples
from aurify.family import Family
from aurify.run import Run
from aurify.spec import Grid, Tokens

BATCH = 16


def likelihood(run: Run, model: Family, samples: Samples) -> Iterator[float | Tensor | None]:
    """Rows (n, 3), float64; yields the share done, at last the rows, or None where the family has no likelihood.

    Grids have neither symbols nor characters: there stands nan.
    """
    rows = []
    for start in range(0, len(samples), BATCH):
        part = samples.take(range(start, min(start + BATCH, len(samples))))
        x = stored(run, part)
        cond = led(run, part).to(model.device)
        try:
            with torch.inference_mode():
                nats = -model.log_prob(x.to(model.device), cond).double().cpu()
        except UserError:
            yield None
            return
        rows.append(torch.stack((nats, *sizes(run, part, x)), 1))
        yield min(1.0, (start + BATCH) / len(samples))
    yield torch.cat(rows)


def led(run: Run, part: Samples) -> Cond:
    """What these samples come with: labels, and texts if the run reads any."""
    read = encode_all(run.text_codec, part.given) if run.cond.text and part.given else None
    return from_rows(part.labels, read, run.cond)


def stored(run: Run, part: Samples) -> Tensor:
    """What the family sees of these samples."""
    if isinstance(run.spec, Grid):
        return part.grid
    assert isinstance(part.natives, Decoded)
    return run.spec.widen(part.natives.rows)


def sizes(run: Run, part: Samples, x: Tensor) -> tuple[Tensor, Tensor]:
    """Symbols and characters of each sample, float64 (n,)."""
    if not isinstance(run.spec, Tokens):
        none = torch.full((len(x),), torch.nan, dtype=torch.float64)
        return none, none
    symbols = run.spec.mask(x).sum(1).double()
    characters = [float(len(native)) if isinstance(native, str) else float("nan") for native in part.natives]
    return symbols, torch.tensor(characters, dtype=torch.float64)


def of_columns(run: Run, train: Samples, samples: Samples) -> Tensor:
    """The same rows of columns that know nothing of each other: shares of training rows, one added to each count."""
    assert isinstance(run.spec, Tokens) and run.spec.sizes is not None
    known, x = stored(run, train), stored(run, samples)
    counts = [torch.bincount(known[:, j], minlength=r).double() + 1 for j, r in enumerate(run.spec.sizes)]
    nats = -sum((n / n.sum()).log()[x[:, j]] for j, n in enumerate(counts))
    return torch.stack((torch.as_tensor(nats), *sizes(run, samples, x)), 1)


def of_ngram(train: Samples, samples: Samples, ends: bool, seed: int) -> Tensor:
    """The same rows of the plain n-gram model; its symbols are characters, and a text's end, if it `ends`."""
    texts = samples.texts or []
    nats = torch.as_tensor(Ngram.fit(train.texts or [], seed, ends).nats(texts), dtype=torch.float64)
    characters = torch.tensor([float(len(text)) for text in texts], dtype=torch.float64)
    return torch.stack((nats, characters + ends, characters), 1)
