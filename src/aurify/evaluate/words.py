"""Texts as words, and words in a row: what figures of wording count.

A word is a run of letters between spaces, of at most 16; a punctuation mark is a word of its own. So is every character
of a script that writes no spaces (Chinese, Japanese, Thai, ...). One rule thus serves text of any language, and a model
that has forgotten the space still has words.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Int

LONGEST = 16
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
MARKS = r"!-/:-@\[-`{-~¡-¿×÷" + "\u2010-\u2027\u2030-\u205e\u2190-\u2bff\U0001f000-\U0001faff"
WORD = re.compile(rf"(?!\s)[{UNSPACED}{MARKS}]|[^\s{UNSPACED}{MARKS}]{{1,{LONGEST}}}")


@dataclass(frozen=True)
class Words:
    """All words of some texts, one text after the other.

    Attributes:
        word: number of each word.
        text: which text each word is in.
        lengths: words of each text.
    """

    word: Int[np.ndarray, " W"]
    text: Int[np.ndarray, " W"]
    lengths: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Words":
        numbers: dict[str, int] = {}
        found = [[numbers.setdefault(word, len(numbers)) for word in WORD.findall(text)] for text in texts]
        lengths = np.array([len(words) for words in found], np.int64)
        word = np.fromiter(chain.from_iterable(found), np.int64, int(lengths.sum()))
        return cls(word, np.repeat(np.arange(len(texts)), lengths), lengths)

    def grams(self, n: int) -> tuple[Int[np.ndarray, " G"], Int[np.ndarray, " G"]]:
        """Every n words in a row within one text: the number of each such string, and its text; equal numbers, equal
        strings."""
        text = np.append(self.text, np.full(n, -1))  # nothing goes on after the last word
        place, gram, V = np.arange(len(self.word)), self.word, int(self.word.max(initial=0)) + 1
        for k in range(1, n):
            inside = text[place + k] == text[place]
            place = place[inside]
            gram = np.unique(gram[inside] * V + self.word[place + k], return_inverse=True)[1]
        return gram, text[place]
