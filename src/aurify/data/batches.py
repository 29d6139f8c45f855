"""The order of training data as a pure function of (seed, step).

    position p = step * size + row of the batch;  epoch e = p // n;  sample = permutation_e[p mod n]

Epochs follow one another without a seam: a batch may hold the end of one and the beginning of the next, or, of very
small data, several whole ones.
"""

from collections import OrderedDict

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from aurify.cond import TextRows
from aurify.data.view import Split
from aurify.errors import UserError
from aurify.rng import derive
from aurify.spec import Tokens


class Batches:
    """Batches of `size` rows of one side of a store, for ever.

    Every epoch shows each sample once. An epoch of a stream shows windows that lie end to end from a random phase on,
    so that every token is seen about once, each time with other neighbours.

    Raises:
        UserError: the side is empty.
    """

    def __init__(self, split: Split, size: int, seed: int):
        if not len(split):
            raise UserError("there is no sample to learn from in this part of the data")
        self.split, self.size, self.seed, self.n = split, size, seed, len(split)
        self._epochs: OrderedDict[int, Int[np.ndarray, " n"]] = OrderedDict()

    def at(self, step: int, start: int = 0, stop: int | None = None) -> tuple[Tensor, Tensor]:
        """Rows [start, stop) of the batch of a step: stored values and labels, as `Split.rows` gives them.

        Rows are padded as the whole batch needs, so that slices put together are the batch.
        """
        chosen = self.indices(step)
        if self.split.stream:
            return self.split.windows(chosen[start:stop])
        width = self.split.width(chosen) if isinstance(self.split.spec, Tokens) else None
        return self.split.rows(chosen[start:stop], width)

    def texts(self, step: int, start: int = 0, stop: int | None = None) -> TextRows | None:
        """Symbols and mask of the texts of the rows that `at` gives, padded alike; None where the data has none."""
        chosen = self.indices(step)
        return self.split.text_rows(chosen[start:stop], chosen)

    def indices(self, step: int) -> Int[np.ndarray, " size"]:
        """Samples of a step's batch; of a stream, where its windows start."""
        parts, p, left = [], step * self.size, self.size
        while left:
            epoch, offset = divmod(p, self.n)
            part = self._epoch(epoch)[offset : offset + left]
            parts.append(part)
            p, left = p + len(part), left - len(part)
        return np.concatenate(parts)

    def _epoch(self, epoch: int) -> Int[np.ndarray, " n"]:
        """The epoch's samples in order; the last few epochs are kept."""
        if epoch not in self._epochs:
            generator = torch.Generator().manual_seed(derive("epoch", self.seed, epoch))
            order = torch.randperm(self.n, generator=generator).numpy()
            if self.split.stream:
                phase = int(torch.randint(self.split.window, (), generator=generator))
                order = phase + order * self.split.window
            self._epochs[epoch] = order
            if len(self._epochs) > 2:
                self._epochs.popitem(last=False)
        return self._epochs[epoch]
