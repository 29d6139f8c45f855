"""Pictures as arrays (H, W, C): reading files, size, mode and bits, looking at them, telling near copies."""

# H height, W width, C channels: 1 grey, 3 RGB, 4 RGBA; uint8 or uint16

import io
import math
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import UInt
from PIL import Image as Pillow
from PIL import UnidentifiedImageError
from pydantic import BeforeValidator, Field

from aurify import png
from aurify.codec import Preview, Unreadable
from aurify.errors import UserError

Picture = UInt[np.ndarray, "_ _ _"]  # H, W, C; unnamed, because what comes out may have other sizes than what went in
Mode = Literal["grey", "rgb", "rgba"]

CHANNELS: dict[str, int] = {"grey": 1, "rgb": 3, "rgba": 4}
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
SHOWN = 32  # places of a side: an overview enlarges smaller samples
MAX_PIXELS = 128_000_000


def parse_size(value: Any) -> Any:
    """32 or "32" -> (32, 32); "28x32" -> (28, 32), height first."""
    if isinstance(value, int):
        return (value, value)
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)\s*(?:[x×]\s*(\d+)\s*)?", value)
        if not match:
            raise ValueError("size is one number or HEIGHTxWIDTH, such as 32 or 48x64")
        return (int(match[1]), int(match[2] or match[1]))
    return value


Side = Annotated[int, Field(ge=1, le=4096)]
Size = Annotated[tuple[Side, Side] | None, BeforeValidator(parse_size)]  # of a configuration; None: by the pictures


# Reading


def read(data: bytes) -> Picture:
    """One file's first picture, upright (EXIF), as an array.

    Raises:
        Unreadable: no known picture format, damaged, or more than MAX_PIXELS (seen before anything is unpacked).
    """
    if not data:
        raise Unreadable("empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata is no reason to speak
        try:
            with Pillow.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Pillow.DecompressionBombError
                image.load()
                return np.ascontiguousarray(upright(as_array(image), image))
        except Unreadable:
            raise
        except Pillow.DecompressionBombError:
            raise Unreadable(f"more than {MAX_PIXELS // 10**6} megapixels; make it smaller") from None
        except UnidentifiedImageError:
            raise Unreadable("not a picture, or its header is damaged") from None
        except Exception:  # decoders meet damage with errors of every kind
            raise Unreadable("truncated or damaged picture") from None


def as_array(image: Pillow.Image) -> Picture:
    if image.mode.startswith("I"):  # 16 bits, or 32 that hold no more
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise Unreadable("more than 16 bits a channel")
        return values.astype(np.uint16)[..., None]
    if image.mode == "F":
        raise Unreadable("floating-point picture")
    mode = "RGBA" if image.has_transparency_data else "L" if image.mode in ("1", "L") else "RGB"
    return np.atleast_3d(np.asarray(image if image.mode == mode else image.convert(mode)))


def upright(picture: Picture, image: Pillow.Image) -> Picture:
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # a picture with damaged EXIF is still a picture
        return picture
    if orientation in (5, 6, 7, 8):
        picture = picture.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        picture = picture[::-1]
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    return picture


# Size, mode and bits


def survey(samples: Iterable[Picture]) -> tuple[np.ndarray, str, int]:
    """Of all pictures: sizes (N, 2) of height and width, the smallest mode that loses nothing, and the most bits.

    Raises:
        UserError: there are none.
    """
    sizes, needed, bits = [], "grey", 8
    for sample in samples:
        sizes.append(sample.shape[:2])
        bits = max(bits, sample.dtype.itemsize * 8)
        if needed != "rgba":
            needed = max(needed, smallest_mode(sample), key=CHANNELS.__getitem__)
    if not sizes:
        raise UserError("there are no pictures to learn from; add some PNG or JPEG files")
    return np.array(sizes), needed, bits


def smallest_mode(picture: Picture) -> str:
    if picture.shape[2] == 4 and (picture[..., 3] != np.iinfo(picture.dtype).max).any():
        return "rgba"
    r, g, b = picture[..., 0], picture[..., min(1, picture.shape[2] - 1)], picture[..., min(2, picture.shape[2] - 1)]
    return "grey" if (r == g).all() and (g == b).all() else "rgb"


def common_size(sizes: np.ndarray, longest: int) -> tuple[tuple[int, int], str]:
    """Height and width for all, and the reason: that of the pictures, if they share one and its longer side is at most
    `longest`. Else the median aspect ratio, with the longer side the largest multiple of 8 that is at most `longest`
    and the median longer side; the shorter side is rounded to a multiple of 8, never longer than the median shorter.

    Args:
        sizes: (N, 2) of height and width.
    """
    if (sizes == sizes[0]).all() and sizes[0].max() <= longest:
        return (int(sizes[0, 0]), int(sizes[0, 1])), "all have this size"
    median_long, median_short = np.median(sizes.max(1)), np.median(sizes.min(1))
    aspect = np.median(sizes[:, 1] / sizes[:, 0])  # width over height
    longer = side(longest, median_long)
    shorter = side(longer * min(aspect, 1 / aspect), median_short)
    size = (longer, shorter) if aspect < 1 else (shorter, longer)
    return size, (
        f"the median shape, with the longer side at most {longest}; each is scaled to fill it and cut at the centre"
    )


def side(wish: int | float, limit: float) -> int:
    """The multiple of 8 nearest to `wish` that is at most `limit`; below 8, the limit itself."""
    return int(min(max(round(wish / 8) * 8, 8), limit // 8 * 8)) or max(1, int(limit))


def to_mode(picture: Picture, mode: str) -> Picture:
    channels, top = picture.shape[2], np.iinfo(picture.dtype).max
    if channels == CHANNELS[mode]:
        return picture
    if channels == 4 and (picture[..., 3] != top).any():  # onto white
        opacity = picture[..., 3:] / top
        picture = (picture[..., :3] * opacity + top * (1 - opacity)).round().astype(picture.dtype)
    picture = picture[..., :3]
    if mode == "grey" and picture.shape[2] == 3:
        luma = picture @ np.array([0.299, 0.587, 0.114])  # the weights sum to one: equal channels keep their value
        return luma.round().astype(picture.dtype)[..., None]
    if mode == "grey":
        return picture
    rgb = np.broadcast_to(picture, (*picture.shape[:2], 3))
    return rgb if mode == "rgb" else np.dstack([rgb, np.full(rgb.shape[:2], top, rgb.dtype)])


def to_bits(picture: Picture, bits: int) -> Picture:
    if picture.dtype.itemsize * 8 == bits:
        return picture
    if bits == 16:
        return picture.astype(np.uint16) * 257
    return ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)


def cover(picture: Picture, size: tuple[int, ...]) -> Picture:
    """Scale to fill `size` and cut at the centre. Colours are weighted by opacity, so what is invisible stays so."""
    (h, w), (height, width), top = picture.shape[:2], size, np.iinfo(picture.dtype).max
    scale = max(height / h, width / w)
    half_h, half_w = min(height / scale, h) / 2, min(width / scale, w) / 2
    box = (w / 2 - half_w, h / 2 - half_h, w / 2 + half_w, h / 2 + half_h)
    planes = [picture[..., c].astype(np.float32) for c in range(picture.shape[2])]
    if len(planes) == 4:
        planes = [*(p * (planes[3] / top) for p in planes[:3]), planes[3]]
    x = np.stack([resample(p, (width, height), box) for p in planes], -1)
    if len(planes) == 4:
        opacity = x[..., 3:].clip(0, top) / top
        x[..., :3] = np.divide(x[..., :3], opacity, out=np.zeros_like(x[..., :3]), where=opacity > 0.5 / top)
    return x.clip(0, top).round().astype(picture.dtype)


def resample(plane: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float] | None) -> np.ndarray:
    image = Pillow.fromarray(plane)
    return np.asarray(image.resize(size, Pillow.Resampling.LANCZOS, box=box, reducing_gap=3.0))


# Looking


def preview(samples: Sequence[Picture]) -> Preview:
    """All samples in one PNG, small ones enlarged, and the same in coloured half blocks at most 100 columns wide."""
    sheet = grid(samples)
    times = max(1, SHOWN // max(max(s.shape[:2]) for s in samples))
    large = sheet.repeat(times, 0).repeat(times, 1)
    return Preview(".png", png.encode(large), terminal(sheet, columns=100))


def describe(picture: Picture) -> str:
    """Height x width, as in a configuration: "28 x 28 grey"."""
    height, width, _ = picture.shape
    return f"{height} x {width} {mode_of(picture)}" + (", 16 bit" if picture.dtype == np.uint16 else "")


def grid(samples: Sequence[Picture], columns: int | None = None) -> Picture:
    """All samples in one picture (H, W, C), uint8, with thin grey gaps, in rows of `columns` (by default near-square).

    Cells have the largest height and width among the samples; smaller ones stand in the middle of theirs.
    """
    assert samples, "a grid needs at least one picture"
    mode = max((mode_of(s) for s in samples), key=CHANNELS.__getitem__)
    cells = [to_bits(to_mode(s, mode), 8) for s in samples]
    height, width = max(c.shape[0] for c in cells), max(c.shape[1] for c in cells)
    columns = columns or max(1, min(len(cells), math.ceil(math.sqrt(len(cells) * height / width))))
    rows, gap = -(-len(cells) // columns), max(1, min(height, width) // 32)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, CHANNELS[mode]), 96, np.uint8)
    for i, cell in enumerate(cells):
        top = i // columns * (height + gap) + (height - cell.shape[0]) // 2
        left = i % columns * (width + gap) + (width - cell.shape[1]) // 2
        sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return sheet


def mode_of(picture: Picture) -> str:
    return {1: "grey", 3: "rgb", 4: "rgba"}[picture.shape[2]]


def terminal(sheet: Picture, columns: int) -> str:
    """Two rows of pixels a line of text: the upper half block takes one colour, its ground the other."""
    picture = to_mode(sheet, "rgb")
    if picture.shape[1] > columns:
        picture = cover(picture, (max(1, round(picture.shape[0] * columns / picture.shape[1])), columns))
    if len(picture) % 2:
        picture = np.concatenate([picture, np.zeros_like(picture[:1])])
    lines = []
    for upper, lower in zip(picture[::2].tolist(), picture[1::2].tolist(), strict=True):
        line, before = "", None
        for colours in zip(upper, lower, strict=True):
            if colours != before:
                (r, g, b), (r2, g2, b2) = colours
                line += f"\x1b[38;2;{r};{g};{b};48;2;{r2};{g2};{b2}m"
            line, before = line + "▀", colours
        lines.append(line + "\x1b[0m")
    return "\n".join(lines)


# Telling copies


def fingerprint(picture: Picture) -> UInt[np.ndarray, "32"]:
    """256 bits: where a 9 x 9 luma thumbnail grows clearly brighter to the right, left, below or above.

    A difference hash of both axes and both signs. A step counts when it exceeds 2 grey levels and a quarter of the
    steps' standard deviation, so flat regions stay 0 and noise flips nothing. A picture without such steps is told by
    its mean colour: for each of R, G, B a window of 33 bits among 85 that slides with the value.
    """
    picture = to_bits(picture, 8)
    if max(picture.shape[:2]) > 288:  # the thumbnail is the same, in a tenth of the time
        image = Pillow.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
        picture = np.atleast_3d(np.asarray(image.resize((72, 72), Pillow.Resampling.BOX)))
    luma = Pillow.fromarray(to_mode(picture, "grey")[..., 0].astype(np.float32))
    thumb = np.asarray(luma.resize((9, 9), Pillow.Resampling.BICUBIC))
    right, below = np.diff(thumb, axis=1)[:8], np.diff(thumb, axis=0)[:, :8]
    steps = np.stack([right, -right, below, -below])  # (4, 8, 8)
    bits = (steps > max(2.0, 0.25 * steps.std())).ravel()
    if bits.sum() < 4:
        place = to_mode(picture, "rgb").mean((0, 1))[:, None] / 255 * 84
        bits = np.append(np.abs(np.arange(85) - place) <= 16, False)
    return np.packbits(bits)


# Making some up


def discs(n: int, seed: int, across: int = 16) -> list[Picture]:
    """Coloured discs on a shaded ground, RGB."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:across, 0:across]
    made = []
    for _ in range(n):
        ground, ink = rng.integers(0, 256, (2, 3))
        centre, radius = rng.uniform(across / 4, across * 3 / 4, 2), rng.uniform(across / 8, across * 3 / 8)
        inside = np.hypot(y - centre[0], x - centre[1]) <= radius
        shaded = ground * (0.5 + x[..., None] * 8 / 15 / across)
        made.append(np.where(inside[..., None], ink, shaded.clip(0, 255)).astype(np.uint8))
    return made
