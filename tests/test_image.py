import io
import json
import time
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as Pillow
from pydantic import ValidationError

from aurify import png
from aurify.codec import Unreadable
from aurify.codecs.image import Config, Image, grid, record_of
from aurify.errors import UserError

relaxed = settings(deadline=None, max_examples=50)


def arrays(channels=(1, 3, 4), dtypes=(np.uint8, np.uint16), side=9):
    shapes = st.tuples(st.integers(1, side), st.integers(1, side), st.sampled_from(channels))
    return shapes.flatmap(lambda s: st.sampled_from(dtypes).flatmap(lambda d: hnp.arrays(d, s)))


def fitted(*samples, **config: Any):
    codec = Image(Config(**config))
    codec.fit(samples)
    return codec


def saved(picture, suffix, **options):
    file = io.BytesIO()
    (picture if isinstance(picture, Pillow.Image) else Pillow.fromarray(picture)).save(file, suffix, **options)
    return file.getvalue()


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def photo(seed, side=64, contrast=50.0):
    """Noise with the spectrum of natural pictures, 1/f."""
    rng = np.random.default_rng(seed)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    f[0, 0] = 1
    x = np.stack([np.fft.ifft2(np.fft.fft2(rng.normal(size=(side, side))) / f**1.2).real for _ in range(4)], -1)
    x = x[..., :3] + 2 * x[..., 3:]
    return (128 + contrast * (x - x.mean()) / x.std()).clip(0, 255).round().astype(np.uint8)


def overlap(codec, a, b):
    a, b = np.unpackbits(codec.fingerprint(a)), np.unpackbits(codec.fingerprint(b))
    return (a & b).sum() / max((a | b).sum(), 1)


# Round trips


@relaxed
@given(arrays())
def test_a_picture_of_the_fitted_size_comes_back_exactly_whatever_mode_and_bits_it_has(picture):
    codec = fitted(picture)
    x = codec.spec.widen(codec.encode(picture))
    back = codec.decode(x)
    assert codec.spec.contains(x)
    assert codec.same(picture, back)
    shown = np.broadcast_to(back[..., :3], (*back.shape[:2], 3))
    assert (shown == np.broadcast_to(picture[..., :3], shown.shape)).all()
    if back.shape[2] == 4:
        assert (back[..., 3] == picture[..., 3]).all()


@relaxed
@given(st.lists(arrays(), min_size=1, max_size=4))
def test_pictures_of_unlike_sizes_are_stable_after_one_encoding(pictures):
    codec = fitted(*pictures)
    for picture in pictures:
        once = codec.decode(codec.spec.widen(codec.encode(picture)))
        assert codec.same(picture, once)
        assert (codec.decode(codec.spec.widen(codec.encode(once))) == once).all()


@relaxed
@given(arrays(), st.integers(0, 2**32 - 1), st.floats(0.1, 1e30))
def test_any_float_tensor_decodes_to_a_picture(picture, seed, scale):
    codec = fitted(picture)
    x = torch.randn(codec.spec.shape, generator=torch.Generator().manual_seed(seed)) * scale
    x.view(-1)[0] = [torch.nan, torch.inf, -torch.inf][seed % 3]
    back = codec.decode(x)
    assert back.shape == (*codec.spec.size, codec.spec.channels)
    assert back.dtype == picture.dtype
    top = np.iinfo(back.dtype).max
    assert back.flat[0] == [round(top / 2), top, 0][seed % 3]


@relaxed
@given(arrays())
def test_the_state_survives_json(picture):
    codec, other = fitted(picture), Image()
    assert other.restore(json.loads(json.dumps(codec.state))) == codec.spec
    assert torch.equal(other.encode(picture), codec.encode(picture))


def test_a_codec_does_not_take_a_wrong_picture_for_the_same():
    codec = fitted(noise(8, 8, 1))
    other = noise(8, 8, 1).copy()
    other[3, 3] ^= 1
    assert not codec.same(noise(8, 8, 1), other)
    assert not codec.same(noise(8, 8, 1), noise(8, 8, 3))


# What fit decides


def test_the_mode_is_the_smallest_that_loses_nothing():
    grey, rgb = noise(8, 8, 1), noise(8, 8, 3)
    opaque, clear = np.dstack([rgb, np.full((8, 8), 255, np.uint8)]), np.dstack([rgb, np.full((8, 8), 254, np.uint8)])
    assert fitted(grey, np.repeat(grey, 3, 2)).mode == "grey"
    assert fitted(grey, opaque).mode == "rgb"
    assert fitted(grey, rgb, clear).mode == "rgba"
    assert fitted(rgb, mode="grey").spec.channels == 1


def test_sixteen_bits_are_kept_if_any_picture_has_them():
    assert fitted(noise(8, 8, 1), noise(8, 8, 1).astype(np.uint16)).encode(noise(8, 8, 1)).dtype == torch.uint16


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(28, 28)] * 3, (28, 28)),
        ([(480, 640)] * 2 + [(700, 500)], (48, 64)),
        ([(640, 480)], (64, 48)),
        ([(60, 60), (61, 61), (59, 59)], (56, 56)),
        ([(5, 9), (4, 9), (6, 9)], (5, 8)),
        ([(10, 1000), (12, 1000)], (8, 64)),
    ],
)
def test_the_size_follows_the_median_picture_and_never_exceeds_it(sizes, expected):
    spec = fitted(*[np.zeros((*s, 1), np.uint8) for s in sizes]).spec
    assert spec.size == expected
    assert max(spec.size) <= np.median([max(s) for s in sizes])
    assert min(spec.size) <= np.median([min(s) for s in sizes])


def test_the_configured_size_is_a_number_or_height_by_width():
    assert fitted(noise(50, 50, 1), size=32).spec.size == (32, 32)
    assert fitted(noise(50, 50, 1), size="24x40").spec.size == (24, 40)
    assert Config.model_validate({"size": [24, 40]}) == Config.model_validate({"size": "24 x 40"})
    for wrong in ("large", 0, "0x5", "3x", (1, 2, 3)):
        with pytest.raises(ValidationError):
            Config.model_validate({"size": wrong})


def test_no_pictures_at_all_is_an_error_in_words():
    with pytest.raises(UserError, match="no pictures"):
        Image().fit([])


def test_scaling_keeps_the_centre_and_the_brightness():
    wide = np.zeros((40, 120, 1), np.uint8)
    wide[:, 40:80] = 200
    codec = fitted(wide, size=16)
    back = codec.decode(codec.spec.widen(codec.encode(wide)))
    assert (back[:, 3:-3] == 200).all()
    assert back.min() > 150  # nothing of the black sides but what the filter touches


def test_the_colour_of_what_is_invisible_does_not_bleed_when_scaling():
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[:, :32] = (0, 255, 0, 255)
    picture[:, 32:] = (255, 0, 0, 0)
    small = fitted(picture, size=7)
    back = small.decode(small.spec.widen(small.encode(picture)))
    visible = back[back[..., 3] > 8]
    assert len(visible)
    assert (visible[:, 0] == 0).all()
    assert (visible[:, 1] > 250).all()


# Reading


@pytest.mark.parametrize("suffix", ["PNG", "BMP", "TIFF"])
def test_formats_without_loss_are_read_exactly(suffix):
    picture = noise(12, 17, 3)
    assert (Image().read(saved(picture, suffix)) == picture).all()


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 4), ("P", 3), ("RGB", 3), ("RGBA", 4), ("CMYK", 3), ("I;16", 1)]
)
def test_every_mode_becomes_grey_rgb_or_rgba(mode, channels):
    picture = Pillow.fromarray(noise(12, 17, 3))
    picture = Pillow.fromarray(noise(12, 17) * np.uint16(257)) if mode == "I;16" else picture.convert(mode)
    read = Image().read(saved(picture, "TIFF"))
    assert read.shape == (12, 17, channels)
    assert read.dtype == (np.uint16 if mode == "I;16" else np.uint8)


def test_a_palette_with_a_clear_colour_becomes_rgba():
    picture = Pillow.new("P", (4, 4), 1)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((0, 0), 0)
    read = Image().read(saved(picture, "PNG", transparency=0))
    assert read.shape == (4, 4, 4)
    assert read[0, 0, 3] == 0
    assert tuple(read[1, 1]) == (0, 0, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(orientation):
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    upright = noise(4, 6, 3)
    stored = {  # how a camera held so would have stored what it saw (EXIF 2.3, Orientation)
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    assert (Image().read(saved(np.ascontiguousarray(stored), "PNG", exif=exif)) == upright).all()


@pytest.mark.parametrize("suffix", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_read(suffix):
    frames = [Pillow.new("RGB", (8, 8), (v, v, v)) for v in (0, 255, 128)]
    options = {"lossless": True} if suffix == "WEBP" else {}
    data = saved(frames[0], suffix, save_all=True, append_images=frames[1:], **options)
    assert (Image().read(data) == 0).all()


@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated_files_are_unreadable_in_a_few_words(suffix):
    data = saved(noise(64, 64, 3), suffix)
    for length in (0, 1, 20, len(data) // 2):
        with pytest.raises(Unreadable) as caught:
            Image().read(data[:length])
        assert "0x" not in str(caught.value)
        assert len(str(caught.value)) < 60


@relaxed
@given(st.binary(max_size=200), st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]), st.data())
def test_damaged_files_are_read_or_unreadable_and_nothing_else(junk, suffix, data):
    whole = saved(noise(16, 16, 3), suffix)
    at = data.draw(st.integers(0, len(whole)))
    try:
        picture = Image().read(whole[:at] + junk + whole[at + len(junk) :])
    except Unreadable:
        return
    assert picture.ndim == 3
    assert picture.shape[2] in (1, 3, 4)


def test_a_picture_bomb_is_refused_at_once():
    side = 30_000
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(bytes(side + 1)) for _ in range(side // 100)) + packer.flush()
    small = png.encode(np.zeros((1, 1, 1), np.uint8))
    header = (side).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    chunk = b"IHDR" + header
    bomb = small[:8] + (13).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    bomb += len(body).to_bytes(4, "big") + b"IDAT" + body + zlib.crc32(b"IDAT" + body).to_bytes(4, "big")
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(Unreadable, match="megapixels"):
        Image().read(bomb)
    seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 0.5
    assert peak < 2**20


# Writing


@relaxed
@given(arrays(channels=(1, 3, 4)))
def test_a_written_png_holds_what_was_given(picture):
    data = png.encode(picture)
    read = np.atleast_3d(np.asarray(Pillow.open(io.BytesIO(data))))
    if picture.dtype == np.uint8 or picture.shape[2] == 1:
        assert (read == picture).all()
    else:  # Pillow keeps the upper eight bits of deep colour
        assert (read == picture >> 8).all()


def test_the_record_lies_in_the_file_and_other_programs_can_read_it(tmp_path):
    record = {"seed": 7, "label": "三", "run": "runs/digits"}
    path = Image().write(noise(8, 8, 3), tmp_path / "a", record)
    assert path.suffix == ".png"
    assert record_of(path) == record
    with Pillow.open(path) as image:
        assert json.loads(image.info["aurify"]) == record


def test_files_without_a_record_have_none(tmp_path):
    (tmp_path / "a.png").write_bytes(saved(noise(8, 8, 3), "PNG"))
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xff")
    assert record_of(tmp_path / "a.png") is None
    assert record_of(tmp_path / "b.png") is None


# Looking


def test_a_grid_shows_every_sample_once_with_gaps_between():
    cells = [np.full((6, 6, 1), 10 * i, np.uint8) for i in range(1, 8)]
    sheet = grid(cells, columns=3)
    assert sheet.shape == (3 * 7 - 1, 3 * 7 - 1, 1)
    for i in range(1, 8):
        assert (sheet == 10 * i).sum() == 36
    assert grid(cells).shape == sheet.shape


def test_a_grid_takes_pictures_of_any_size_and_mode():
    sheet = grid([noise(4, 9, 1), noise(7, 3, 3), noise(2, 2, 4), noise(3, 3, 1).astype(np.uint16) * 257])
    assert sheet.shape[2] == 4
    assert sheet.dtype == np.uint8


def test_the_preview_is_a_png_and_a_drawing_of_at_most_100_columns():
    codec = fitted(noise(28, 28, 3))
    shown = codec.preview([noise(28, 28, 3, seed=i) for i in range(16)])
    assert Image().read(shown.data).shape == grid([noise(28, 28, 3)] * 16).shape
    lines = shown.terminal.splitlines()
    assert {line.count("▀") for line in lines} == {100}
    assert 45 <= len(lines) <= 55


def test_samples_are_described_height_first():
    assert Image().describe(noise(28, 30, 1)) == "28 x 30 grey"
    assert Image().describe(noise(28, 30, 4).astype(np.uint16)) == "28 x 30 rgba, 16 bit"


# Telling copies


@pytest.mark.parametrize("contrast", [50.0, 15.0])
@pytest.mark.parametrize("side", [32, 64, 400])
def test_near_copies_share_their_fingerprint_and_unlike_pictures_do_not(side, contrast):
    codec, pictures = Image(), [photo(s, side, contrast) for s in range(8)]
    for i, p in enumerate(pictures):
        smaller = Pillow.fromarray(p).resize((round(side * 0.9),) * 2, Pillow.Resampling.BICUBIC)
        copies = {
            "jpeg": codec.read(saved(p, "JPEG", quality=80)),
            "noise": (p + np.random.default_rng(i).integers(-2, 3, p.shape)).clip(0, 255).astype(np.uint8),
            "resized": np.asarray(smaller.resize((side, side), Pillow.Resampling.BICUBIC)),
            "brighter": (p * 1.03).clip(0, 255).round().astype(np.uint8),
        }
        for kind, copy in copies.items():
            assert overlap(codec, p, copy) >= 0.8, kind
    unlike = [overlap(codec, p, q) for i, p in enumerate(pictures) for q in pictures[:i]]
    assert np.mean(unlike) < 0.35
    assert max(unlike) < 0.6


def test_flat_pictures_are_told_by_their_colour():
    codec = Image()

    def flat(*colour):
        return np.full((16, 16, 3), colour, np.uint8)

    assert overlap(codec, flat(10, 200, 30), flat(10, 206, 31)) >= 0.8
    assert overlap(codec, flat(10, 200, 30), flat(200, 10, 120)) < 0.2
    assert overlap(codec, flat(0, 0, 0), flat(255, 255, 255)) == 0


def test_examples_are_the_same_for_the_same_seed():
    assert all((a == b).all() for a, b in zip(Image.examples(3, 1), Image.examples(3, 1), strict=True))
    assert not (Image.examples(1, 1)[0] == Image.examples(1, 2)[0]).all()
