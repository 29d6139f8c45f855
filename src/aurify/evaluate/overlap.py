"""Samples, reference and training set must hold different samples: what a folder shares with another is refused."""

from collections import Counter

from aurify.errors import UserError
from aurify.evaluate.folder import Folder
from aurify.evaluate.nearest_texts import plain
from aurify.evaluate.sources import some_of, spread

CHANCE = 0.01  # share of samples that may be equal to one of the reference
PASSAGE, PASSAGES = 256, 200  # characters of a piece of text, and pieces that are looked for
SAME = 0.02  # share of them that may stand in the training text: quotations, licences

Named = list[tuple[str, str]]  # names of texts, and these


def refuse_overlap(unseen: Folder, known: Folder, paths: tuple[str, str], repeats: bool) -> None:
    """Where samples repeat as rows of a table do, as many may agree as have their like in the training set. Of long
    texts passages are compared."""
    both, (reference, train) = shared(unseen, known), paths
    if len(both) > (CHANCE + with_their_like(known) if repeats else 0) * len(unseen.names):
        raise UserError(
            f"{len(both)} samples of {reference} are in {train} too ({some_of(both)}): "
            "take them out of the reference, which must be unseen"
        )
    tried = passages(plain_texts(unseen))
    held = plain_texts(known) if tried else []
    both = [(name, where) for name, text in tried if (where := holder(text, held))]
    if len(both) > SAME * len(tried):
        raise UserError(
            f"{len(both)} of {len(tried)} passages of {PASSAGE} characters of {reference} stand word for word in "
            f"{train} ({some_of(list(dict.fromkeys(both)))}): take them out of the reference, which must be unseen"
        )


def plain_texts(some: Folder) -> Named:
    """Without case and spacing; none of what is no text."""
    return [(name, plain(t)) for name, t in zip(some.names, some.natives, strict=True) if isinstance(t, str)]


def passages(texts: Named) -> Named:
    """Pieces of one length from all over."""
    cut = [(name, t[i : i + PASSAGE]) for name, t in texts for i in range(0, len(t) - PASSAGE + 1, PASSAGE)]
    return [cut[i] for i in spread(len(cut), PASSAGES)]


def holder(passage: str, texts: Named) -> str | None:
    """The first text that holds it."""
    return next((name for name, text in texts if passage in text), None)


def refuse_the_reference_itself(made: Folder, reference: Folder, repeats: bool) -> None:
    """Samples that are the reference's own would be perfect by every distance. As many as repeat in the reference may
    agree by chance, as short texts do."""
    both = shared(made, reference)
    repeated = with_their_like(reference) if repeats else 1 - len(set(reference.hashes)) / len(reference.hashes)
    if len(both) > (CHANCE + repeated) * len(made.names):
        raise UserError(
            f"{len(both)} of {len(made.names)} samples are in the reference itself ({some_of(both)}): "
            "nothing can be judged by its own copy; a reference must hold other real samples"
        )


def with_their_like(some: Folder) -> float:
    """Share of samples that another one equals."""
    counts = Counter(some.hashes)
    return sum(n for n in counts.values() if n > 1) / len(some.hashes)


def shared(some: Folder, others: Folder) -> list[tuple[str, str]]:
    """Samples of equal content, by name in the one and in the other."""
    names = dict(zip(others.hashes, others.names, strict=True))
    return [(name, names[h]) for h, name in zip(some.hashes, some.names, strict=True) if h in names]
