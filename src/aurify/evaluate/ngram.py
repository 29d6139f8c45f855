"""An interpolated n-gram model of characters: the plain baseline for text, fitted by counting.

    p_k(w | h) = [c(hw) - D(c(hw))] / C(h) + L(h) p_{k-1}(w | h')        modified Kneser-Ney, interpolated
    p_0(w)     = 1 / U                                                   (Chen & Goodman 1999)

h     the k - 1 characters before w; h' the same without the first
c     at the highest order how often hw occurs; below it how many different characters came before hw
C(h)  sum_w c(hw);     L(h) = sum_w D(c(hw)) / C(h)
D     what is taken off counts of 1, 2, and 3 or more; estimated from counts of counts for each order
U     all code points of Unicode, and the text's end

A text begins with a mark that is only ever a context and closes with its end, so p sums to one over all strings there
are, whatever characters the training text had. The order, 2 to 6, is the one that codes a held-out tenth best.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from aurify.errors import UserError
from aurify.evaluate.grams import codes
from aurify.rng import SampleRng, derive

ORDERS = (2, 3, 4, 5, 6)
MOST = 2**21  # characters it is fitted on
CODE_POINTS = 0x110000


@dataclass(frozen=True)
class Level:
    """All strings hw of k symbols, sorted: first by h, a string of the level below, then by w."""

    codes: Int[np.ndarray, " G"]  # (number of h) * V + w
    share: Float[np.ndarray, " G"]  # [c(hw) - D(c(hw))] / C(h)
    escape: Float[np.ndarray, " H"]  # L(h)


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
            counted = _Counted.of(train, max(orders), ends)
            order = min(orders, key=lambda k: float(counted.model(k).nats(held).sum()))
        return _Counted.of(chosen, order, ends).model(order)

    @property
    def arrays(self) -> list[np.ndarray]:
        """All that it learned."""
        return [self.alphabet, *(part for level in self.levels for part in (level.codes, level.share, level.escape))]

    def nats(self, texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        """-ln p of each text, its end included where texts end."""
        symbols, place, text = _symbols(texts, self.alphabet, self.ends)
        p = np.full(len(symbols), 1 / (CODE_POINTS + self.ends))
        found = np.zeros(len(symbols), np.int64)  # the string of k symbols that ends here, -1 where it was never met
        for k, level in enumerate(self.levels, 1):
            h = np.where(place >= k - 1, np.roll(found, 1), -1) if k > 1 else found
            found = _look_up(level, h, symbols, self._width)
            share = np.where(found >= 0, level.share[found], 0.0)
            p = np.where(h >= 0, share + level.escape[h] * p, p)
        predicted = place > 0
        return np.bincount(text[predicted], -np.log(p[predicted]), minlength=len(texts)).astype(np.float64)

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
        contexts = self._advance([np.zeros(n, np.int64)], np.full(n, self._end + 1))
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
        self, contexts: list[np.ndarray], children: list["_Children"], u: Float[np.ndarray, "n 2"]
    ) -> Int[np.ndarray, " n"]:
        """The next symbol of each text, given its contexts of 0, 1, ... symbols."""
        n = len(u)
        mass, left = np.zeros((len(children), n)), np.ones(n)
        for k in reversed(range(len(contexts))):
            h = contexts[k]
            mass[k] = np.where(h >= 0, left * children[k].mass[h], 0.0)
            left = np.where(h >= 0, left * self.levels[k].escape[h], left)
        upto = mass.cumsum(0)
        level = (u[:, 0] * upto[-1] >= upto).sum(0)
        symbols = np.empty(n, np.int64)
        for k, kind in enumerate(children):
            rows = np.flatnonzero(level == k)
            if len(rows):
                symbols[rows] = self.levels[k].codes[kind.pick(contexts[k][rows], u[rows, 1])] % self._width
        return symbols

    def _advance(self, contexts: list[np.ndarray], symbols: Int[np.ndarray, " n"]) -> list[np.ndarray]:
        """The last 0, 1, ... order - 1 symbols of each text, as numbers of their strings, -1 where never met."""
        longer = [
            _look_up(level, h, symbols, self._width) for level, h in zip(self.levels[:-1], contexts, strict=False)
        ]
        return [np.zeros(len(symbols), np.int64), *longer]

    @property
    def _end(self) -> int:
        return len(self.alphabet)

    @property
    def _width(self) -> int:
        return len(self.alphabet) + 3


# Counting


@dataclass(frozen=True)
class _Counted:
    """Strings of 1 ... K symbols of some texts: `raw` how often each occurs, `before` how many different symbols come
    before it (for strings that begin a text, which have nothing before them, how often they occur)."""

    alphabet: Int[np.ndarray, " A"]
    codes: list[np.ndarray]
    raw: list[np.ndarray]
    before: list[np.ndarray]
    ends: bool

    @classmethod
    def of(cls, texts: Sequence[str], K: int, ends: bool) -> "_Counted":
        alphabet = np.unique(codes("".join(texts))).astype(np.int64)
        symbols, place, _ = _symbols(texts, alphabet, ends)
        V, begin = len(alphabet) + 3, len(alphabet) + 1
        counted = cls(alphabet, [], [], [], ends)
        found = np.zeros(len(symbols), np.int64)
        for k in range(1, K + 1):
            there = np.flatnonzero(place >= k - 1)
            if not len(there):
                break  # no text is that long
            h = found[there - 1] if k > 1 else found
            strings, number = np.unique(h * V + symbols[there], return_inverse=True)
            raw = np.bincount(number)
            if k == 1:
                raw[strings == begin] = 0  # a context, never an outcome
            else:
                shorter = np.zeros(len(strings), np.int64)  # hw without its first symbol
                shorter[number] = found[there]
                before = np.bincount(shorter, minlength=len(counted.raw[-1]))
                first = found[np.flatnonzero(place == k - 2)]
                before[first] = counted.raw[-1][first]
                counted.before.append(before)
            counted.codes.append(strings)
            counted.raw.append(raw)
            found = np.full(len(symbols), -1)
            found[there] = number
        return counted

    def model(self, order: int) -> Ngram:
        """The model of this order, or of the highest there is."""
        V, contexts, levels = len(self.alphabet) + 3, 1, []
        order = min(order, len(self.codes))
        for k in range(1, order + 1):
            codes, c = self.codes[k - 1], self.raw[k - 1] if k == order else self.before[k - 1]
            D, h = _discounts(c)[np.minimum(c, 3)], codes // V
            C = np.bincount(h, c, minlength=contexts)
            taken = np.bincount(h, D, minlength=contexts)
            escape = np.where(C > 0, taken / np.maximum(C, 1), 1.0)
            levels.append(Level(codes, (c - D) / np.maximum(C, 1)[h], escape))
            contexts = len(codes)
        return Ngram(self.alphabet, tuple(levels), self.ends)


def _discounts(c: Int[np.ndarray, " G"]) -> Float[np.ndarray, "4"]:
    """D(0) = 0, D(1), D(2), D(3+) (Chen & Goodman 1999), kept within what can be taken off."""
    n = np.maximum(np.bincount(np.minimum(c, 5), minlength=6), 1)
    Y = n[1] / (n[1] + 2 * n[2])
    D = [j - (j + 1) * Y * n[j + 1] / n[j] for j in (1, 2, 3)]
    return np.array([0.0, *np.clip(D, 0.1, (0.9, 1.9, 2.9))])


@dataclass(frozen=True)
class _Children:
    """What may follow each context of one level, the text's end left out."""

    first: Int[np.ndarray, " H1"]  # where the strings hw of each h begin
    upto: Float[np.ndarray, " G1"]  # shares summed up
    mass: Float[np.ndarray, " H"]

    @classmethod
    def of(cls, level: Level, end: int, V: int) -> "_Children":
        first = np.searchsorted(level.codes, np.arange(len(level.escape) + 1) * V)
        upto = np.append(0.0, np.cumsum(np.where(level.codes % V == end, 0.0, level.share)))
        return cls(first, upto, np.diff(upto[first]))

    def pick(self, h: Int[np.ndarray, " n"], u: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The string hw in which the share u of h's mass is reached."""
        low, high = self.upto[self.first[h]], self.upto[self.first[h + 1]]
        reached = np.minimum(low + u * (high - low), np.nextafter(high, 0))
        return np.searchsorted(self.upto, reached, side="right") - 1


# Symbols


def _look_up(level: Level, h: np.ndarray, w: np.ndarray, V: int) -> Int[np.ndarray, " n"]:
    """The number of each string hw, -1 where it, or h, was never met."""
    codes = h * V + w
    at = np.minimum(np.searchsorted(level.codes, codes), len(level.codes) - 1)
    return np.where((h >= 0) & (level.codes[at] == codes), at, -1)


def _symbols(
    texts: Sequence[str], alphabet: Int[np.ndarray, " A"], ends: bool
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """All texts in a row, each after its beginning and before its end: symbols, places in the text, and which text."""
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
    return symbols, place, text


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
