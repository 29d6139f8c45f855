"""An interpolated n-gram model of characters: the plain baseline for text, fitted by counting.

    p_0(w) = 1 / U, and above it modified Kneser-Ney (aurify.nets.kneser_ney; Chen & Goodman 1999)

U     all code points of Unicode, and the text's end

A text begins with a mark that is only ever a context and closes with its end, so p sums to one over all strings there
are, whatever characters the training text had. The order, 2 to 6, is the one that codes a held-out tenth best.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from aurify.errors import UserError
from aurify.evaluate.grams import codes
from aurify.nets import kneser_ney
from aurify.nets.kneser_ney import Counts, Level, Roots, Text
from aurify.rng import SampleRng, derive

ORDERS = (2, 3, 4, 5, 6)
MOST = 2**21  # characters it is fitted on
CODE_POINTS = 0x110000
ROOT = Roots(torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.bool), torch.zeros(1, dtype=torch.long))


@dataclass(frozen=True)
class Ngram:
    """A fitted model.

    Attributes:
        alphabet: code points of the training text, sorted; symbol i is alphabet[i]. Symbols beyond are the end, the
            beginning, and whatever was not met.
        levels: of strings of 1, 2, ... `order` symbols.
        ends: whether the end of a text is an event; windows cut from a stream have none.
    """

    alphabet: Int[np.ndarray, " A"]
    levels: tuple[Level, ...]
    ends: bool

    @property
    def order(self) -> int:
        return len(self.levels)

    @classmethod
    def fit(cls, texts: Sequence[str], seed: int = 0, ends: bool = True, orders: Sequence[int] = ORDERS) -> "Ngram":
        """Learns from texts, from a random choice of 2 million characters where there are more; its order is the best
        of `orders`.

        Raises:
            UserError: there is no character in them.
        """
        chosen = _chosen(texts, seed)
        if not any(chosen):
            raise UserError("there is no text to count; give texts that are not empty")
        order = orders[0]
        if len(orders) > 1:
            train, held = _dealt(chosen)
            alphabet, counts = _counted(train, max(orders), ends)
            order = min(orders, key=lambda k: float(cls._of(alphabet, counts, k, ends).nats(held).sum()))
        return cls._of(*_counted(chosen, order, ends), order, ends)

    @classmethod
    def _of(cls, alphabet: Int[np.ndarray, " A"], counts: Counts, order: int, ends: bool) -> "Ngram":
        """The model of this order, or of the highest there is."""
        A, counts = len(alphabet), Counts(counts.codes[:order], counts.raw[:order])
        return cls(alphabet, kneser_ney.levels(counts, A + 3, ROOT, A + 1), ends)

    @property
    def arrays(self) -> list[np.ndarray]:
        """All that it learned."""
        parts = (part for level in self.levels for part in (level.codes, level.share, level.escape))
        return [self.alphabet, *(part.numpy() for part in parts)]

    def nats(self, texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        """-ln p of each text, its end included where texts end."""
        row, number = _row(texts, self.alphabet, self.ends)
        base = torch.full((len(number),), 1 / (CODE_POINTS + self.ends), dtype=torch.float64)
        p = kneser_ney.probabilities(self.levels, row, self._width, base).numpy()
        predicted = row.place.numpy() > 0
        return np.bincount(number[predicted], -np.log(p[predicted]), minlength=len(texts)).astype(np.float64)

    def sample(self, n: int, lengths: Sequence[int], seed: int) -> list[str]:
        """n texts of these lengths in characters, of the training text's characters; text i is a function of the seed,
        i and its length.

        A symbol comes from level k with the probability that no higher level gave it (its escapes) times the level's
        own share; where a text must go on, its end has no share.
        """
        assert len(lengths) == n
        order = np.argsort(-np.asarray(lengths), kind="stable")  # the longest first: those still growing are a slice
        longest = max(lengths, default=0)
        u = np.zeros((n, longest, 2))
        for row, i in enumerate(order.tolist()):
            u[row, : lengths[i]] = SampleRng(seed, [i]).uniform(lengths[i], 2)[0].numpy()
        children = [_Children.of(level, self._end, self._width) for level in self.levels]
        out = np.zeros((n, longest), np.int64)
        contexts = self._advance([torch.zeros(n, dtype=torch.long)], np.full(n, self._end + 1))
        for t in range(longest):
            growing = int((np.asarray(lengths) > t).sum())
            contexts = [h[:growing] for h in contexts]
            out[:growing, t] = self._draw(contexts, children, u[:growing, t])
            contexts = self._advance(contexts, out[:growing, t])
        texts = [""] * n
        for row, i in enumerate(order.tolist()):
            codes = self.alphabet[out[row, : lengths[i]]].astype("<u4")
            texts[i] = codes.tobytes().decode("utf-32-le", "surrogatepass")
        return texts

    def _draw(
        self, contexts: list[Tensor], children: list["_Children"], u: Float[np.ndarray, "n 2"]
    ) -> Int[np.ndarray, " n"]:
        """The next symbol of each text, given its contexts of 0, 1, ... symbols."""
        n = len(u)
        mass, left = np.zeros((len(children), n)), np.ones(n)
        for k in reversed(range(len(contexts))):
            h = contexts[k].numpy()
            mass[k] = np.where(h >= 0, left * children[k].mass[h], 0.0)
            left = np.where(h >= 0, left * self.levels[k].escape.numpy()[h], left)
        upto = mass.cumsum(0)
        level = (u[:, 0] * upto[-1] >= upto).sum(0)
        symbols = np.empty(n, np.int64)
        for k, kind in enumerate(children):
            rows = np.flatnonzero(level == k)
            if len(rows):
                place = kind.pick(contexts[k].numpy()[rows], u[rows, 1])
                symbols[rows] = self.levels[k].codes.numpy()[place] % self._width
        return symbols

    def _advance(self, contexts: list[Tensor], symbols: Int[np.ndarray, " n"]) -> list[Tensor]:
        """The last 0, 1, ... order - 1 symbols of each text, as numbers of their strings, -1 where never met."""
        return kneser_ney.extended(self.levels, contexts, torch.from_numpy(symbols), self._width, ROOT.follow)

    @property
    def _end(self) -> int:
        return len(self.alphabet)

    @property
    def _width(self) -> int:
        return len(self.alphabet) + 3


@dataclass(frozen=True)
class _Children:
    """What may follow each context of one level, the text's end left out."""

    first: Int[np.ndarray, " H1"]  # where the strings hw of each h begin
    upto: Float[np.ndarray, " G1"]  # shares summed up
    mass: Float[np.ndarray, " H"]

    @classmethod
    def of(cls, level: Level, end: int, V: int) -> "_Children":
        codes, share = level.codes.numpy(), level.share.numpy()
        first = np.searchsorted(codes, np.arange(len(level.escape) + 1) * V)
        upto = np.append(0.0, np.cumsum(np.where(codes % V == end, 0.0, share)))
        return cls(first, upto, np.diff(upto[first]))

    def pick(self, h: Int[np.ndarray, " n"], u: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The string hw in which the share u of h's mass is reached."""
        low, high = self.upto[self.first[h]], self.upto[self.first[h + 1]]
        reached = np.minimum(low + u * (high - low), np.nextafter(high, 0))
        return np.searchsorted(self.upto, reached, side="right") - 1


# Symbols


def _counted(texts: Sequence[str], order: int, ends: bool) -> tuple[Int[np.ndarray, " A"], Counts]:
    """The alphabet of the texts and their strings."""
    alphabet = np.unique(codes("".join(texts))).astype(np.int64)
    A, (row, _) = len(alphabet), _row(texts, alphabet, ends)
    return alphabet, kneser_ney.count(row, order, A + 3, A + 1)


def _row(texts: Sequence[str], alphabet: Int[np.ndarray, " A"], ends: bool) -> tuple[Text, Int[np.ndarray, " N"]]:
    """All texts in a row, each after its beginning and before its end, and which text each symbol is of."""
    A, lengths = len(alphabet), np.array([len(text) for text in texts], np.int64)
    letters = codes("".join(texts)).astype(np.int64)
    at = np.minimum(np.searchsorted(alphabet, letters), A - 1)
    ids = np.where(alphabet[at] == letters, at, A + 2)
    size = lengths + 1 + ends
    start = np.cumsum(size) - size
    text = np.repeat(np.arange(len(texts)), size)
    place = np.arange(len(text)) - start[text]
    symbols = np.full(len(text), A)
    symbols[start] = A + 1
    symbols[(place > 0) & (place <= lengths[text])] = ids
    return Text(*map(torch.from_numpy, (symbols, place, np.zeros_like(place)))), text


def _chosen(texts: Sequence[str], seed: int) -> list[str]:
    """The texts in random order, up to MOST characters."""
    order = np.random.default_rng(derive("n-gram", seed)).permutation(len(texts))
    chosen, left = [], MOST
    for i in order.tolist():
        if left > 0:
            chosen.append(texts[i][:left])
            left -= len(chosen[-1])
    return chosen


def _dealt(texts: list[str]) -> tuple[list[str], list[str]]:
    """Nine tenths and one tenth: of the texts, or of each text where there are few."""
    tenth = len(texts) // 10
    if tenth and any(texts[tenth:]):
        return texts[tenth:], texts[:tenth]
    return [t[: len(t) - len(t) // 10] for t in texts], [t[len(t) - len(t) // 10 :] for t in texts]
