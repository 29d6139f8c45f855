"""Near copies among fingerprints of 256 bits: locality-sensitive candidates, exact verification, leader clustering.

    J(a, b) = |a and b| / |a or b|     Jaccard similarity of the set bits

Candidates come from sorting the rows under random permutations of their bits: near copies often share a long prefix and
so stand side by side (Charikar 2002, "Similarity Estimation Techniques from Rounding Algorithms", section 3; Bawa et
al. 2005, "LSH Forest"). Each row meets only its `WINDOW` successors in each of `BANDS` orders, so the work is
BANDS * WINDOW * n whatever the data, while a bucket of a plain hash table may hold everything.
"""

import numpy as np
from jaxtyping import Float, Int, UInt8

NEAR = 0.9  # finds re-compressed, resized, brightened pictures; at 0.8 a third of MNIST is near something else
BANDS = 48
WINDOW = 8

Prints = UInt8[np.ndarray, "n 32"]


def jaccard(a: Prints, b: Prints) -> Float[np.ndarray, " n"]:
    """Row by row. Two rows without any set bit say nothing about their samples: 0."""
    a, b = np.ascontiguousarray(a).view(np.uint64), np.ascontiguousarray(b).view(np.uint64)
    both = np.bitwise_count(a & b).sum(1, dtype=np.int64)
    either = np.bitwise_count(a | b).sum(1, dtype=np.int64)
    return both / np.maximum(either, 1)


def leaders(prints: Prints, least: float = NEAR) -> Int[np.ndarray, " n"]:
    """The leader of each row's group: itself, or an earlier row with J >= `least`.

    Rows come in order of precedence (that of their content hash). Every member is near its leader, so groups do not
    chain. Equal rows are one, unless they are blank: rows without bits are alike in nothing.
    """
    _, first, inverse = np.unique(prints, axis=0, return_index=True, return_inverse=True)
    rows = np.sort(first)  # unique rows, in order of precedence
    place = np.searchsorted(rows, first)[inverse.reshape(-1)]
    leader = rows[_cluster(prints[rows], least)][place]
    return np.where(prints.any(1), leader, np.arange(len(prints)))


def _cluster(rows: Prints, least: float) -> Int[np.ndarray, " n"]:
    """Leader of each unique row. Each order of the bits merges what it shows to be near, and thins the next."""
    rng = np.random.default_rng(0)
    bits = np.unpackbits(rows, axis=1)
    bits = bits[:, bits.min(0) != bits.max(0)] if len(rows) > 1 else bits[:, :0]  # the others sort nothing
    own = np.arange(len(rows))
    owner = own.copy()
    for _ in range(BANDS if bits.shape[1] else 0):
        columns = rng.permutation(bits.shape[1])[:64]
        heads = np.flatnonzero(owner == own)
        if len(heads) == 1:
            break
        head = own.copy()
        head[heads] = heads[_gather(rows[heads], bits[heads][:, columns], least)]
        proposed = head[owner]
        moved = np.flatnonzero(proposed != owner)
        near = jaccard(rows[moved], rows[proposed[moved]]) >= least
        owner[moved] = np.where(near, proposed[moved], moved)  # too far from the new leader: free again
    return owner


def _gather(rows: Prints, bits: UInt8[np.ndarray, "n k"], least: float) -> Int[np.ndarray, " n"]:
    """In order of precedence, each free row takes its free near neighbours among those sorted beside it."""
    n = len(rows)
    key = np.zeros((n, 8), np.uint8)
    packed = np.packbits(bits, axis=1)
    key[:, : packed.shape[1]] = packed
    order = np.argsort(key.view(">u8")[:, 0].astype(np.uint64), kind="stable")
    words = np.ascontiguousarray(rows[order].view(np.uint64).T)
    size = np.bitwise_count(words).sum(0, dtype=np.int16)
    pairs = []
    for k in range(1, min(WINDOW, n - 1) + 1):
        both = np.bitwise_count(words[:, :-k] & words[:, k:]).sum(0, dtype=np.int16)
        near = np.flatnonzero(both >= least * (size[:-k] + size[k:] - both))
        pairs.append(np.stack([order[near], order[near + k]], 1))
    pairs = np.sort(np.concatenate(pairs), axis=1)
    pairs = pairs[np.lexsort(pairs.T[::-1])]
    owner = np.full(n, -1)
    starts = np.searchsorted(pairs[:, 0], np.arange(n + 1))
    for i in np.unique(pairs[:, 0]):
        if owner[i] < 0:
            owner[i] = i
            near = pairs[starts[i] : starts[i + 1], 1]
            owner[near[owner[near] < 0]] = i
    return np.where(owner < 0, np.arange(n), owner)
