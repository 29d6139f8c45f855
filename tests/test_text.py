import itertools
import json
import random
import time
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from aurify.ancestral import Options, choose
from aurify.codec import Unreadable
from aurify.codecs.text import Config, Text
from aurify.errors import UserError

relaxed = settings(deadline=None, max_examples=60)

ENGLISH = " ".join(dict.fromkeys(topics.values()))
CHINESE = "明月照春江白鳥不見故人來空山流水落花無聲夜雨秋風千里孤舟"
BPE = Text(Config(unit="bytes", layout="documents"))
BPE.fit(["the cat sat on the mat and the dog sat on the log. " * 20, "明月照江水。" * 30])


def fitted(*texts: str, **config: Any):
    codec = Text(Config(**config))
    codec.fit(texts)
    return codec


def prose(characters, i):
    """The i-th passage of real English: the language reference that Python itself carries."""
    start = i * characters % (len(ENGLISH) - characters)
    return ENGLISH[start : start + characters]


def trip(codec, text):
    return codec.decode(codec.spec.widen(codec.encode(text)))


def overlap(a, b):
    a, b = (np.unpackbits(Text().fingerprint(t)) for t in (a, b))
    return (a & b).sum() / max((a | b).sum(), 1)


# Round trips


@relaxed
@given(st.lists(st.text(), min_size=1).filter(any), st.sampled_from(["documents", "stream"]))
def test_texts_of_the_training_set_come_back_exactly(texts, layout):
    codec = fitted(*texts, layout=layout, unit="characters")
    for text in texts:
        assert codec.spec.contains(codec.spec.widen(codec.encode(text)))
        assert trip(codec, text) == text
        assert codec.same(text, trip(codec, text))


@relaxed
@given(st.text(max_size=200))
def test_byte_pairs_lose_nothing_not_even_of_unknown_characters(text):
    assert trip(BPE, text) == text


@relaxed
@given(st.text(max_size=200))
def test_a_cut_alphabet_spells_rare_characters_in_bytes_and_loses_nothing(text):
    codec = fitted("dddddccccbbb" + "".join(map(chr, range(300, 600))), unit="characters", vocab=260)
    assert codec.spec.vocab == 260
    assert codec.state["alphabet"] == "bcd"  # the most frequent
    assert trip(codec, text) == text


@relaxed
@given(st.text(max_size=100))
def test_a_small_alphabet_keeps_what_it_knows_and_marks_what_it_does_not(text):
    codec = fitted("abcdefghij 0123456789", layout="stream")
    expected = "".join(c if c in "abcdefghij 0123456789" else "\ufffd" for c in text)
    assert trip(codec, text) == expected
    assert codec.same(text, expected)
    assert not codec.same(text, expected + "a")


@pytest.mark.parametrize("text", ["", "👩‍👩‍👧‍👦", "e\u0301", "\u200fשלום", "\n\n\n", "𠀀"])
@pytest.mark.parametrize("layout", ["documents", "stream"])
def test_odd_strings_come_back_exactly(text, layout):
    assert trip(fitted(text, "x" * 10, layout=layout), text) == text
    assert trip(fitted(text, "x" * 10, layout=layout, unit="bytes"), text) == text


def test_the_empty_text_is_nothing_but_its_end():
    for codec in (fitted("abc", layout="stream"), fitted("abc", layout="documents"), BPE):
        assert codec.encode("").tolist() == [codec.spec.end] == [codec.spec.vocab - 1]


def test_lone_surrogates_become_the_replacement_character():
    assert trip(BPE, "a\ud800b") == "a\ufffdb"
    assert BPE.same("a\ud800b", "a\ufffdb")


def test_a_document_that_is_too_long_is_cut_and_the_note_says_so():
    codec = fitted("a" * 30, "b" * 5, layout="documents", length=16)
    assert trip(codec, "a" * 30) == "a" * 16
    assert codec.same("a" * 30, "a" * 16)
    assert not codec.same("a" * 30, "a" * 7)
    assert not codec.same("a" * 30, "b" * 16)
    assert "1 of 2 are longer" in codec.notes[1]
    kept = trip(BPE, "明" * 3000).rstrip("\ufffd")
    assert 0 < len(kept) < 3000 and set(kept) == {"明"}
    assert BPE.same("明" * 3000, trip(BPE, "明" * 3000))


@relaxed
@given(st.lists(st.integers(-(2**40), 2**40)), st.lists(st.integers(0, 600)))
def test_any_integers_decode_to_text_that_can_be_written(wild, tame):
    stream = fitted("ab", unit="bytes", layout="stream", vocab=300)
    for codec, ids in itertools.product((BPE, stream, fitted("ab")), (wild, tame)):
        text = codec.decode(torch.tensor(ids, dtype=torch.int64))
        assert text.encode().decode() == text  # no half of a surrogate pair, which no file could hold


@pytest.mark.parametrize("codec", [BPE, fitted("héllo", "wörld"), fitted(CHINESE, vocab=265, unit="characters")])
def test_the_state_survives_json(codec):
    other = Text(codec.config)
    assert other.restore(json.loads(json.dumps(codec.state))) == codec.spec
    for text in ("the cat", "héllo 明月 👍", ""):
        assert torch.equal(other.encode(text), codec.encode(text))
        assert trip(other, text) == trip(codec, text)


def test_learning_byte_pairs_twice_gives_the_same_symbols():
    texts = [prose(2000, i) for i in range(10)]
    assert fitted(*texts, unit="bytes").state == fitted(*texts, unit="bytes").state


# Documents and streams


def test_a_document_ends_at_its_first_end():
    codec = fitted("abc", layout="documents")
    end = codec.spec.end
    assert codec.decode(torch.tensor([0, 1, end, 2, 2])) == "ab"


def test_between_documents_of_a_stream_stands_an_empty_line():
    codec = fitted("abc", layout="stream")
    end = codec.spec.end
    assert codec.decode(torch.tensor([end, 0, 1, end, end, 2, end])) == "ab\n\nc"


@relaxed
@given(st.lists(st.integers(0, 511), max_size=60), st.sampled_from(["documents", "stream"]))
def test_pieces_are_whole_characters_and_join_to_the_decoded_text(ids, layout):
    codec = fitted("ab明", unit="bytes", layout=layout, vocab=300)
    pieces = list(codec.pieces(iter(ids)))
    assert "".join(pieces) == codec.decode(torch.tensor(ids, dtype=torch.int64))
    assert all(pieces)


def test_pieces_come_as_soon_as_a_character_is_complete():
    codec = fitted("明", unit="bytes", vocab=257)
    taken = []

    def symbols():
        for i in codec.encode("明a").tolist():
            taken.append(i)
            yield i

    first = next(codec.pieces(symbols()))
    assert (first, len(taken)) == ("明", 3)


# What fit decides


def test_small_alphabets_are_characters_and_large_ones_byte_pairs_unless_chinese():
    alphabet = "".join(map(chr, range(0x100, 0x300)))
    assert fitted("hello world").spec.vocab == len(set("hello world")) + 2  # with the replacement and the end
    assert fitted(alphabet).state["unit"] == "bytes"
    assert fitted("".join(map(chr, range(0x4E00, 0x5000)))).state["unit"] == "characters"


def test_large_alphabets_of_characters_lose_nothing():
    codec = fitted("".join(map(chr, range(0x4E00, 0x5E00))), layout="stream")
    assert codec.spec.vocab == 0x1000 + 257
    assert trip(codec, "一龘👍a") == "一龘👍a"


@pytest.mark.parametrize(
    ("texts", "stream", "length"),
    [
        (["abc"], True, 256),
        (["ab", "a" * 40], False, 48),
        (["ab", "a" * 31], False, 32),
        (["a" * 1100] * 2, True, 256),
        (["a" * 100] * 30 + ["a" * 1500], False, 1024),
        (["a" * 100] * 30 + ["a" * 150], False, 160),
        (["a" * 100] * 300 + ["a" * 1500], False, 112),
    ],
)
def test_the_layout_follows_the_lengths(texts, stream, length):
    spec = fitted(*texts).spec
    assert (spec.stream, spec.length) == (stream, length)


def test_settings_overrule_what_fit_would_decide():
    spec = fitted("some text to learn", unit="bytes", vocab=270, layout="documents", length=7).spec
    assert (spec.vocab <= 270, spec.stream, spec.length) == (True, False, 7)
    wrong: dict[str, Any]
    for wrong in ({"vocab": 100}, {"vocab": 70_000}, {"length": 0}, {"unit": "words"}, {"colour": 1}):
        with pytest.raises(ValidationError):
            Config(**wrong)


def test_no_text_at_all_is_an_error_in_words():
    for texts in ([], [""], ["", ""]):
        with pytest.raises(UserError, match="no text"):
            Text().fit(texts)


def test_a_megabyte_is_encoded_in_well_under_a_second():
    text = (ENGLISH * 3)[:1_000_000]
    codec = fitted(text)
    start = time.process_time()
    codec.encode(text)
    assert time.process_time() - start < 0.5


# Reading and writing


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030", "utf-16-le-mark", "utf-16-be-mark"]
)
def test_text_is_read_in_the_usual_encodings(encoding):
    text = "明月几时有？把酒问青天。\n不知天上宫阙，今夕是何年。"
    mark = "\ufeff" if encoding.endswith("-mark") else ""
    assert Text().read((mark + text).encode(encoding.removesuffix("-mark"))) == text


def test_european_text_in_one_byte_encodings_is_told_from_chinese():
    text = "Élan, déjà vu – “café” à l’œuvre: façade, naïve, garçon, Ångström."
    assert Text().read(text.encode("cp1252")) == text
    assert Text().read("Grüße aus Köln, schöne Straße".encode("latin-1")) == "Grüße aus Köln, schöne Straße"


def test_newlines_are_made_alike():
    assert Text().read(b"a\r\nb\rc\nd") == "a\nb\nc\nd"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"ab\0cd", "NUL"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff", "NUL"),
        (b"\x80\x01\x02", "control"),
        ("明月照江水".encode() * 9 + b"\xe6", "damaged UTF-8"),
        (b"\xff\xfea\0b", "damaged UTF-16"),
        (b"abc \x81 \x8d", "unknown encoding"),
    ],
)
def test_what_is_no_text_is_unreadable_in_a_few_words(data, why):
    with pytest.raises(Unreadable, match=why):
        Text().read(data)


@relaxed
@given(st.binary(max_size=300))
def test_any_bytes_are_text_or_unreadable(data):
    try:
        text = Text().read(data)
    except Unreadable:
        return
    assert "\r" not in text
    assert "\0" not in text


def test_a_written_text_has_its_record_beside_it(tmp_path):
    path = Text().write("明月\r\nx", tmp_path / "a", {"seed": 7, "label": "唐"})
    assert path == tmp_path / "a.txt"
    assert path.read_bytes() == "明月\r\nx".encode()
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"seed": 7, "label": "唐"}


def test_the_preview_holds_all_and_the_terminal_only_what_is_safe():
    shown = Text().preview(["one\ntwo", "\x1b[2Jthree" + "x" * 200, "\n".join("abcdefgh")])
    assert shown.suffix == ".txt"
    assert shown.data.decode().count("--------") == 2
    assert "\x1b" not in shown.terminal
    assert max(map(len, shown.terminal.splitlines())) <= 100
    assert "h" not in shown.terminal.rsplit("\n\n", 1)[1]


def test_samples_are_described_by_their_length():
    assert [Text().describe(t) for t in ("", "a", "a" * 1234)] == ["0 characters", "1 character", "1,234 characters"]


# Telling copies


def edited(text, share, seed):
    """`share` of the characters dropped, replaced or doubled by another."""
    rng = random.Random(seed)
    out = []
    for c in text:
        change = rng.choice(["drop", "replace", "insert"]) if rng.random() < share else "keep"
        out += {"keep": [c], "drop": [], "replace": [rng.choice(text)], "insert": [c, rng.choice(text)]}[change]
    return "".join(out)


@pytest.mark.parametrize("length", [200, 2000, 10_000])
def test_near_copies_share_their_fingerprint_and_unlike_texts_share_less(length):
    texts = [prose(length, i) for i in range(15)]
    for t in texts:
        assert overlap(t, t.upper().replace(" ", " \n ")) == 1
    near = [overlap(t, edited(t, 0.03, i)) for i, t in enumerate(texts)]
    unlike = [overlap(a, b) for a, b in itertools.combinations(texts, 2)]
    assert np.mean(near) >= 0.8
    assert min(near) > max(unlike)


def test_short_chinese_poems_are_told_apart():
    rng = random.Random(0)
    poems = ["".join(rng.choices(CHINESE, k=24)) + "。" for _ in range(20)]
    near = [overlap(p, p[:11] + "一" + p[12:]) for p in poems]
    unlike = [overlap(a, b) for a, b in itertools.combinations(poems, 2)]
    assert np.mean(near) >= 0.8
    assert np.mean(unlike) < 0.45


def test_ten_thousand_short_texts_take_a_few_seconds():
    texts = [prose(60, i) for i in range(1000)]
    start = time.process_time()
    for t in texts:
        Text().fingerprint(t)
    assert time.process_time() - start < 0.5


def test_fingerprints_are_256_bits_of_which_a_text_sets_half():
    assert Text().fingerprint("").sum() == 0
    for text in ("a", "abc", "abcd", "\ud800", prose(300, 0)):
        bits = Text().fingerprint(text)
        assert (bits.shape, bits.dtype) == ((32,), np.uint8)
        assert np.unpackbits(bits).sum() == 128


def test_examples_speak_two_languages_and_repeat_for_a_seed():
    assert Text.examples(6, 0) == Text.examples(6, 0) != Text.examples(6, 1)
    assert any(c > "\u4e00" for c in "".join(Text.examples(2, 0)))


def test_samples_never_hold_the_symbol_of_what_was_never_met():
    """Whatever a model makes of it; where the text itself has the replacement character, they may."""
    plain, marked = Text(), Text()
    texts = ["the wind and the sea", "a bird sees the moon"] * 5
    plain.fit(texts)
    marked.fit([*texts, "the \ufffd sea"])
    assert plain.decode(torch.tensor([plain.spec.unseen])) == "\ufffd" and marked.spec.unseen is None
    logits = torch.zeros(400, plain.spec.vocab).index_fill(1, torch.tensor([plain.spec.unseen]), 5.0)
    u = torch.rand(400, generator=torch.Generator().manual_seed(0))
    drawn = choose(logits, u, Options(), plain.spec.unseen)
    assert (drawn != plain.spec.unseen).all() and len(drawn.unique()) > 10
    assert (choose(logits, u, Options(temperature=0), plain.spec.unseen) != plain.spec.unseen).all()
    again = Text()
    assert again.restore(json.loads(json.dumps(plain.state))) == plain.spec
