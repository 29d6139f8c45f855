"""Long texts that hold much of one another: two editions of a book, a story beside the collection it stands in.

    C(a, b) = |a and b| / min(|a|, |b|)     the share of the shorter one's shingles that the longer one has too

(Broder 1997, "On the resemblance and containment of documents"). Resemblance, which fingerprints measure, falls with
every page that one edition has more, and fingerprints see only a text's beginning; containment knows neither.
"""

import math

import numpy as np
from jaxtyping import Bool, Int, UInt64

LONG = 1000  # characters; of shorter texts a fingerprint says enough
SHINGLE = (
    16  # bytes: few strangers share three words or five Chinese characters; a change every forty leaves two thirds
)
LEAST = 0.5  # containment from which two texts are near copies
SHARED = 0.25  # share of a text's shingles from which it is taken to stand in others, revised perhaps
ENOUGH = 32  # shingles below which a share says nothing
MOST = 2**21  # shingles kept of all texts together
WINDOW = 8  # texts that each shingle's owner is compared with
BLOCK = 2**20  # bytes hashed at a time

Hashes = UInt64[np.ndarray, "_"]


def shingles(text: str, rate: int = 1) -> Hashes:
    """Hashes of the text's strings of 16 bytes, sorted, each once; letter case and white space do not count.

    Of all hashes one in `rate` (a power of two) is kept, the same ones in every text.
    """
    raw = np.frombuffer(" ".join(text.lower().split()).encode("utf-8", "replace"), np.uint8)
    found = [_hashed(raw[k : k + BLOCK + SHINGLE - 1], rate) for k in range(0, len(raw) - SHINGLE + 1, BLOCK)]
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.uint64)


def _hashed(raw: np.ndarray, rate: int) -> Hashes:
    """One 64-bit hash for each place: both halves of its 16 bytes, mixed (the finaliser of Steele et al. 2014)."""
    n = len(raw) - 7
    words = np.zeros(n, np.uint64)
    for k in range(8):
        words |= raw[k : k + n].astype(np.uint64) << np.uint64(8 * k)
    x = words[:-8] * np.uint64(0x9E3779B97F4A7C15) ^ _mix(words[8:])
    x = _mix(x)
    return x[x & np.uint64(rate - 1) == 0]


def _mix(x: Hashes) -> Hashes:
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)


class Sketches:
    """Shingles of long texts by the hash of their content; the more text there is, the fewer of each are kept."""

    def __init__(self) -> None:
        self.rate, self.kept, self.sets = 1, 0, dict[bytes, Hashes]()

    def add(self, digest: bytes, text: str) -> None:
        if len(text) < LONG or digest in self.sets:
            return
        self.sets[digest] = shingles(text, self.rate)
        self.kept += len(self.sets[digest])
        while self.kept > MOST:
            self.rate *= 2
            self.sets = {d: s[s & np.uint64(self.rate - 1) == 0] for d, s in self.sets.items()}
            self.kept = sum(map(len, self.sets.values()))

    def merge(self, digests: list[bytes], leaders: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Groups of n contents that differ, given by each one's leader, joined where their texts hold one another.

        Joined groups chain: whoever shares half of a text with another can give away what is held out of it.
        """
        owners = [i for i, digest in enumerate(digests) if len(self.sets.get(digest, ())) >= ENOUGH]
        first = leaders.copy()
        for a, b in _alike([self.sets[digests[i]] for i in owners]):
            one, other = sorted((_root(first, owners[a]), _root(first, owners[b])))
            first[other] = one
        return np.array([_root(first, i) for i in range(len(first))], np.int64)


def _root(first: Int[np.ndarray, " n"], i: int) -> int:
    while first[i] != i:
        i = int(first[i])
    return i


def _alike(sets: list[Hashes]) -> list[tuple[int, int]]:
    """Pairs with C >= LEAST. Texts meet where they stand beside one another among the owners of a shingle."""
    if len(sets) < 2:
        return []
    sizes = np.array([len(s) for s in sets])
    values, owner = np.concatenate(sets), np.repeat(np.arange(len(sets)), sizes)
    order = np.lexsort((owner, values))
    values, owner = values[order], owner[order]
    met = []
    for k in range(1, min(WINDOW, len(sets) - 1) + 1):
        same = values[k:] == values[:-k]
        met.append(owner[:-k][same] * len(sets) + owner[k:][same])
    codes, shared = np.unique(np.concatenate(met), return_counts=True)
    a, b = np.divmod(codes, len(sets))
    near = shared >= LEAST * np.minimum(sizes[a], sizes[b])
    return list(zip(a[near].tolist(), b[near].tolist(), strict=True))


def with_something_new(texts: list[str]) -> list[bool]:
    """Which of some near copies, the longest first, hold more than those kept before them; the first always does."""
    rate, kept, seen = _rate(texts), list[bool](), np.empty(0, np.uint64)
    for text in texts:
        own = shingles(text, rate)
        kept.append(not kept or (len(own) > 0 and bool(np.isin(own, seen).mean() < SHARED)))
        seen = np.union1d(seen, own) if kept[-1] else seen
    return kept


def found_elsewhere(parts: list[str], wholes: list[str]) -> Bool[np.ndarray, " n"]:
    """Whether each text's part stands in some other of the texts."""
    rate = _rate(wholes)
    values, owners = np.unique(np.concatenate([shingles(w, rate) for w in wholes]), return_counts=True)
    common = values[owners > 1]
    sets = [shingles(part, rate) for part in parts]
    return np.array([len(s) > 0 and np.isin(s, common).mean() >= SHARED for s in sets], bool)


def _rate(texts: list[str]) -> int:
    return 2 ** max(0, math.ceil(math.log2(max(1, sum(map(len, texts))) / MOST)))
