"""Text: documents or one long stream, as symbols that are characters or frequent strings of bytes."""

# L length in symbols, V vocabulary; `end` is the last symbol, V - 1

import codecs
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Int, Integer, UInt
from pydantic import BaseModel, ConfigDict, Field
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor

from aurify.codec import Codec, Preview, Unreadable
from aurify.errors import UserError
from aurify.rng import derive
from aurify.spec import Tokens, from_json, to_json

UNKNOWN = "\ufffd"  # the standard's own replacement character
SMALL = 256  # alphabets up to this size are worth a symbol each
CJK_VOCAB = 8192
BYTES_FROM = 1024  # alphabets of this size carry 256 byte symbols besides
LONGEST = 1024  # longest document in symbols
WINDOW = 256
BPE_SAMPLE = 2**26  # characters that byte pairs are learned from


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    vocab: int | None = Field(default=None, ge=257, le=65536, description="most symbols; by default from the text")
    unit: Literal["auto", "characters", "bytes"] = Field(
        default="auto", description="what a symbol is: a character, or a frequent string of bytes (byte pairs)"
    )
    length: int | None = Field(
        default=None, ge=1, le=65536, description="longest document, or window of a stream, in symbols"
    )
    layout: Literal["auto", "documents", "stream"] = Field(
        default="auto", description="each text a sample of its own, or all one long stream"
    )


class Text(Codec[str]):
    """Strings, kept exactly: no normalisation of any kind but the newlines of files.

    What `fit` decides where the configuration does not:
        unit: characters if there are at most 256 distinct ones or most are Chinese, Japanese or Korean; else byte
            pairs (Sennrich et al. 2016, on bytes): V is the power of two below (bytes of text) / 256, in 512..8192.
        layout: a stream if there is one text, or if more than one document in twenty is longer than 1024 symbols;
            else documents.
        length: a stream's window is 256; documents have the longest's length and its end, or, where that is more than
            twice what 99 in 100 need, what those need; rounded up to a multiple of 16, at most 1024.

    Stated loss: none with byte pairs. Characters: an alphabet of 1024 or more, or one cut to `vocab`, has 256 symbols
    for single bytes besides and loses nothing; a smaller one turns a character never met in training into U+FFFD,
    because 256 symbols that training never shows would make the alphabet of English five times as large for nothing.
    Documents longer than `length` are cut. Lone surrogates, which are no text, become U+FFFD.

    `end` closes a document and pads; in a stream it stands between documents and decodes to an empty line.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".md")
    gives = Tokens
    Config = Config
    config: Config
    spec: Tokens  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, config: Config | None = None):
        self.config = config or Config()

    def fit(self, samples: Iterable[str]) -> Tokens:
        texts = [_clean(s) for s in samples]
        counts = Counter(chain.from_iterable(texts))
        if not counts:
            raise UserError("there is no text to learn from; add some .txt files that are not empty")
        unit = self.config.unit
        if unit == "auto":
            unit = "characters" if len(counts) <= SMALL or _mainly_cjk(counts) else "bytes"
        learned = _characters(counts, self.config.vocab) if unit == "characters" else _byte_pairs(texts, self.config)
        self._learn(learned)
        stream, length, note = self._lay_out(texts)
        end, unseen = len(self.symbols), None if UNKNOWN in counts else self.unknown
        self.notes = (_unit_note(learned, len(counts), end + 1), note)
        self.spec = Tokens(length, end + 1, end, stream, unseen=unseen)  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.spec

    def read(self, data: bytes) -> str:
        return read(data)

    def write(self, sample: str, path: Path, record: dict[str, Any]) -> Path:
        """UTF-8 text, and the record in a .json beside it."""
        path = path.with_suffix(".txt")
        path.write_bytes(_clean(sample).encode())
        path.with_suffix(".json").write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        return path

    def encode(self, sample: str) -> UInt[Tensor, " L"]:
        ids = np.append(self._ids(_clean(sample)), len(self.symbols)).astype(np.uint16)
        return torch.from_numpy(ids if self.spec.stream else ids[: self.spec.length].copy())

    def decode(self, x: Integer[Tensor, " L"]) -> str:
        """Documents stop at the first `end`; in a stream, an empty line stands for those between documents.
        Bytes that are no UTF-8, and symbols out of range, become U+FFFD."""
        return "".join(self.pieces(x.flatten().tolist()))

    def pieces(self, ids: Iterable[int]) -> Iterator[str]:
        """`decode` as the symbols come in: text is yielded as soon as its characters are complete."""
        end, decoder = len(self.symbols), codecs.getincrementaldecoder("utf-8")("replace")
        gap, begun = "", False
        for i in chain(ids, [end]):
            known = 0 <= i <= end
            symbol = b"" if i == end else self.symbols[i] if known else UNKNOWN.encode()
            text = decoder.decode(symbol, final=i == end)
            if text:
                yield gap + text
                gap, begun = "", True
            if i == end:
                if not self.spec.stream:
                    return
                gap = "\n\n" if begun else ""

    def tokens(self, text: str) -> list[int]:
        text = _clean(text)
        if self.table is not None and self.unknown is not None:
            strange = [repr(c) for c in sorted(set(text)) if self.table[ord(c)] < 0]
            if strange:
                raise UserError(f"{text[:40]!r} holds {', '.join(strange[:5])}: never met in training; replace it")
        return self._ids(text).tolist()

    def preview(self, samples: list[str]) -> Preview:
        """All texts in one file with a rule between them; for the terminal the first lines of each."""
        page = "\n\n--------\n\n".join(_clean(s) for s in samples) + "\n"
        return Preview(".txt", page.encode(), "\n\n".join(_head(s) for s in samples))

    def fingerprint(self, sample: str) -> np.ndarray:
        return fingerprint(sample)

    def describe(self, sample: str) -> str:
        return f"{len(sample):,} character{'' if len(sample) == 1 else 's'}"

    def same(self, a: str, b: str) -> bool:
        """Equal but for characters unknown to the alphabet and what was cut from a long document."""
        a = _clean(a)
        if self.table is not None and self.unknown is not None:
            codes = _codes(a)
            a = "".join(UNKNOWN if lost else c for c, lost in zip(a, self.table[codes] < 0, strict=True))
        if self.spec.stream or len(self._ids(a)) <= self.spec.length:
            return a == b
        kept = b.rstrip(UNKNOWN)  # the cut may fall inside a character, and what is left be spelt in fewer symbols
        return a.startswith(kept) and len(self._ids(b)) >= self.spec.length // 2

    @classmethod
    def examples(cls, n: int, seed: int) -> list[str]:
        """Made-up sentences, English and Chinese by turns."""
        rng = np.random.default_rng(seed)
        english = (("A cat", "The moon", "My friend", "One bird"), ("sees", "follows", "sings to"), ("me.", "the sea!"))
        chinese = (("明月", "春风", "白鸟", "故人"), ("照着", "不见", "来看"), ("江水。", "空山。", "我家。"))
        joined = (" ", english), ("", chinese)
        return [g.join(str(rng.choice(words)) for words in parts) for i in range(n) for g, parts in [joined[i % 2]]]

    @property
    def state(self) -> dict[str, Any]:
        return {**self._learned, "spec": to_json(self.spec)}

    def restore(self, state: dict[str, Any]) -> Tokens:
        self._learn({k: v for k, v in state.items() if k != "spec"})
        restored = from_json(state["spec"])
        assert isinstance(restored, Tokens)
        self.spec = restored  # pyright: ignore[reportIncompatibleVariableOverride]
        return restored

    def _learn(self, learned: dict[str, Any]) -> None:
        """The bytes of each symbol, and the way from text to symbols, from what `fit` learned."""
        self._learned, self.table, self.unknown, self.tokenizer = learned, None, None, None
        if learned["unit"] == "bytes":
            self.tokenizer = Tokenizer.from_str(learned["tokenizer"])
            self.symbols = _symbol_bytes(self.tokenizer)
            return
        alphabet = learned["alphabet"]
        self.symbols = [c.encode() for c in alphabet]
        self.table = np.full(0x110000, -1, np.int32)  # code point -> symbol
        self.table[_codes(alphabet)] = np.arange(len(alphabet))
        if learned["byte_symbols"]:
            self.symbols += [bytes([b]) for b in range(256)]
        else:
            self.unknown = alphabet.index(UNKNOWN)

    def _ids(self, text: str) -> Int[np.ndarray, " L"]:
        if self.tokenizer is not None:
            return np.array(self.tokenizer.encode_batch_fast([text])[0].ids, np.int64)
        assert self.table is not None
        codes = _codes(text)
        ids = self.table[codes]
        lost = ids < 0
        if self.unknown is not None:
            ids[lost] = self.unknown
        elif lost.any():  # as many places as the character has bytes in UTF-8, then the bytes into them
            size = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000)
            ids = np.repeat(ids, np.where(lost, size, 1))
            raw = codes[lost].tobytes().decode("utf-32-le").encode()
            ids[ids < 0] = len(self.symbols) - 256 + np.frombuffer(raw, np.uint8).astype(np.int32)
        return ids

    def _lay_out(self, texts: list[str]) -> tuple[bool, int, str]:
        """Stream or documents, their length, and why."""
        layout, length = self.config.layout, self.config.length
        lengths = np.array([0])
        if layout == "auto" and len(texts) == 1:
            layout = "stream"
        if layout != "stream":
            lengths = np.array([len(self._ids(t)) + 1 for t in texts])  # each with its end
            layout = "stream" if layout == "auto" and np.quantile(lengths, 0.95) > LONGEST else "documents"
        if layout == "stream":
            length = length or WINDOW
            return True, length, f"The text is one stream, learned in windows of {length} symbols."
        usual, longest = np.quantile(lengths, 0.99, method="higher"), lengths.max()
        most = longest if longest <= 2 * usual else usual  # a few giants must not set what every batch costs
        length = length or min(LONGEST, math.ceil(most / 16) * 16)
        note = f"Each text is a document of at most {length} symbols."
        if cut := np.count_nonzero(lengths > length):
            note += f" {cut} of {len(texts)} are longer and are cut there; --set layout=stream keeps everything."
        return False, length, note


# Learning


def _mainly_cjk(counts: Counter[str]) -> bool:
    """Whether more than half of what is not white space is Chinese, Japanese or Korean."""
    solid = {c: n for c, n in counts.items() if not c.isspace()}
    return 2 * sum(n for c, n in solid.items() if _is_cjk(ord(c))) > sum(solid.values())


def _is_cjk(code: int) -> bool:
    return 0x2E80 <= code < 0xA000 or 0xAC00 <= code < 0xD7B0 or 0xF900 <= code < 0xFB00 or 0xFF00 <= code < 0x40000


def _characters(counts: Counter[str], vocab: int | None) -> dict[str, Any]:
    """The alphabet in the order of Unicode; with single bytes besides where it is large or must be cut."""
    vocab = vocab or CJK_VOCAB
    alphabet = sorted({*counts, UNKNOWN})
    byte_symbols = len(counts) >= BYTES_FROM or len(alphabet) + 1 > vocab
    if byte_symbols:
        by_count = sorted(counts, key=lambda c: (-counts[c], c))
        alphabet = sorted(by_count[: vocab - 257])
    return {"unit": "characters", "alphabet": "".join(alphabet), "byte_symbols": byte_symbols}


def _byte_pairs(texts: list[str], config: Config) -> dict[str, Any]:
    size = sum(len(t.encode()) for t in texts)
    vocab = config.vocab or min(8192, max(512, 2 ** int(math.log2(max(1, size / 256)))))
    ends = np.cumsum([len(t) for t in texts])
    sample = texts[: int(np.searchsorted(ends, BPE_SAMPLE)) + 1]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - 1, min_frequency=2, initial_alphabet=alphabet, special_tokens=[], show_progress=False
    )
    tokenizer.train_from_iterator((t[:BPE_SAMPLE] for t in sample), trainer)
    return {"unit": "bytes", "tokenizer": tokenizer.to_str()}


def _symbol_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """What each symbol stands for. Byte-level vocabularies write a byte as a printable character: itself where it is
    one in Latin-1, else the next of those from 256 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [b for b in range(256) if b not in printable]
    byte_of = {chr(b): b for b in printable} | {chr(256 + k): b for k, b in enumerate(others)}
    by_id = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return [bytes(byte_of[c] for c in word) for word, _ in by_id]


def _unit_note(learned: dict[str, Any], distinct: int, vocab: int) -> str:
    if learned["unit"] == "bytes":
        return f"The text has {distinct} characters; a symbol is a frequent string of bytes, {vocab} in all."
    rest = "others are spelt in bytes" if learned["byte_symbols"] else f"one never met becomes {UNKNOWN}"
    return f"A symbol is a character: {vocab} in all for {distinct} distinct ones; {rest}."


# Reading

_MARKS = (  # the longer mark first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read(data: bytes) -> str:
    """One file's text with newlines as \\n: UTF-8, or UTF-16 and UTF-32 with their mark, else GB 18030 or Windows-1252.

    Raises:
        Unreadable: empty, binary, or in none of these encodings.
    """
    if not data:
        raise Unreadable("empty file")
    for mark, name in _MARKS:
        if data.startswith(mark):
            text = _decoded(data[len(mark) :], name)
            break
    else:
        text = _decoded(data, "utf-8" if _is(data, "utf-8") else _legacy_encoding(data))
    if "\0" in text:
        raise Unreadable("not text: NUL bytes")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise Unreadable(f"damaged {encoding.upper()}") from None


def _is(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _legacy_encoding(data: bytes) -> str:
    """The encoding of text that is not UTF-8. Bytes over 127 come in pairs in Chinese text and alone in European."""
    raw = np.frombuffer(data, np.uint8)
    high, control = int((raw > 127).sum()), np.isin(raw, [*range(9), *range(14, 27), *range(28, 32)])
    if control.any():
        raise Unreadable("not text: NUL bytes" if (raw == 0).any() else "not text: control bytes")
    if len(data) - len(data.decode("utf-8", "ignore").encode()) < high / 10:
        raise Unreadable("damaged UTF-8")
    if _is(data, "gb18030") and high > 1.5 * sum(ord(c) > 127 for c in data.decode("gb18030")):
        return "gb18030"
    if _is(data, "cp1252"):
        return "cp1252"
    raise Unreadable("unknown encoding; save it as UTF-8")


def _clean(text: str) -> str:
    """Lone surrogates, which no encoding can carry, become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(UNKNOWN if "\ud800" <= c <= "\udfff" else c for c in text)
    return text


def _codes(text: str) -> UInt[np.ndarray, " L"]:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _head(text: str, lines: int = 4, columns: int = 100) -> str:
    """The first lines, trimmed, without the control characters that could steer a terminal."""
    shown = text.strip().splitlines()
    cut = [line if len(line) <= columns else line[: columns - 1] + "…" for line in shown[:lines]]
    safe = ["".join(c if c.isprintable() else " " for c in line) for line in cut]
    return "\n".join(safe + ["…"] * (len(shown) > lines))


# Telling copies

_SPREAD = np.array([derive("text fingerprint", k) | 1 for k in range(128)], np.uint64)


def fingerprint(text: str) -> UInt[np.ndarray, "32"]:
    """256 bits: 128 min-hashes (Broder 1997) of the text's 4-grams of bytes, each setting one bit of a pair (b-bit
    minwise hashing, Li & Koenig 2010, with b = 1).

    Letter case and white space do not count. Of equal grams the first, the second, ... are told apart, so that the
    overlap is that of multisets. Grams of bytes are four letters of English and one to two characters of Chinese, so
    one length serves both. Only the first 20,000 characters are looked at. An empty text has no bits.
    """
    plain = " ".join(text.lower().split())[:20_000]
    raw = np.frombuffer(plain.encode("utf-8", "replace"), np.uint8)
    if not len(raw):
        return np.zeros(32, np.uint8)
    raw = np.pad(raw, (0, max(0, 4 - len(raw)))).astype(np.uint64)
    grams = np.sort(raw[:-3] | raw[1:-2] << 8 | raw[2:-1] << 16 | raw[3:] << 24)
    place = np.arange(len(grams))
    first = np.maximum.accumulate(np.where(np.diff(grams, prepend=grams[:1] + 1) != 0, place, 0))
    hashes = _mix(grams | (place - first).astype(np.uint64) << 32)  # each gram with how many equal ones came before
    least = (hashes[:, None] * _SPREAD + (_SPREAD >> 7)).min(0)
    second = (_mix(least) & 1).astype(bool)
    return np.packbits(np.stack([~second, second], -1).ravel())


def _mix(x: UInt[np.ndarray, "..."]) -> UInt[np.ndarray, "..."]:
    """Every bit of a 64-bit number depends on every other after this (the finaliser of Steele et al. 2014)."""
    x = (x ^ x >> 30) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> 27) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> 31
