"""A small arithmetic coder (Witten, Neal & Cleary 1987) in exact integers: likelihoods are code lengths."""

from collections.abc import Iterator, Sequence

BITS = 62
TOP, HALF, QUARTER = 1 << BITS, 1 << (BITS - 1), 1 << (BITS - 2)
TOTAL = 1 << 40


def frequencies(p: Sequence[float]) -> list[int]:
    """Cumulative frequencies [0, ..., TOTAL]: every symbol keeps at least one."""
    sizes = [1 + int(q * (TOTAL - 2 * len(p))) for q in p]
    sizes[max(range(len(p)), key=sizes.__getitem__)] += TOTAL - sum(sizes)
    cumulative = [0]
    for size in sizes:
        cumulative.append(cumulative[-1] + size)
    return cumulative


class Encoder:
    def __init__(self) -> None:
        self.low, self.high, self.pending, self.bits = 0, TOP - 1, 0, []

    def put(self, symbol: int, cumulative: list[int]) -> None:
        self.low, self.high = narrowed(self.low, self.high, cumulative[symbol], cumulative[symbol + 1])
        while True:
            if self.high < HALF or self.low >= HALF:
                self._emit(int(self.low >= HALF))
            elif self.low >= QUARTER and self.high < HALF + QUARTER:
                self.pending += 1
                self.low, self.high = self.low - QUARTER, self.high - QUARTER
            else:
                return
            self.low, self.high = 2 * self.low % TOP, 2 * self.high % TOP + 1

    def finish(self) -> list[int]:
        self.pending += 1
        self._emit(int(self.low >= QUARTER))
        return self.bits

    def _emit(self, bit: int) -> None:
        self.bits += [bit] + [1 - bit] * self.pending
        self.pending = 0


class Decoder:
    def __init__(self, bits: Sequence[int]) -> None:
        self.source: Iterator[int] = iter(bits)
        self.low, self.high, self.code = 0, TOP - 1, 0
        for _ in range(BITS):
            self.code = 2 * self.code + next(self.source, 0)

    def get(self, cumulative: list[int]) -> int:
        at = ((self.code - self.low + 1) * TOTAL - 1) // (self.high - self.low + 1)
        symbol = next(i for i in range(len(cumulative) - 1) if cumulative[i + 1] > at)
        self.low, self.high = narrowed(self.low, self.high, cumulative[symbol], cumulative[symbol + 1])
        while True:
            if self.high < HALF or self.low >= HALF:
                shift = 0
            elif self.low >= QUARTER and self.high < HALF + QUARTER:
                shift = QUARTER
            else:
                return symbol
            self.low, self.high, self.code = self.low - shift, self.high - shift, self.code - shift
            self.low, self.high = 2 * self.low % TOP, 2 * self.high % TOP + 1
            self.code = (2 * self.code + next(self.source, 0)) % TOP


def narrowed(low: int, high: int, start: int, stop: int) -> tuple[int, int]:
    span = high - low + 1
    return low + span * start // TOTAL, low + span * stop // TOTAL - 1
