"""Samples on the page itself: pictures as data, texts as text, and no more of either than the page may weigh."""

import base64
import re
import struct
from collections.abc import Iterable
from itertools import accumulate

from aurify.evaluate.markup import Html, el, text
from aurify.evaluate.report import Picture

ROOM = 3_000_000  # bytes of all pictures; base64 makes four of three
TEXT = 6_000  # characters of one page of texts
RULE = re.compile(r"\n+-{8}\n+")  # what codecs set between texts
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def limit(pictures: Iterable[Picture]) -> int:
    """The size up to which a picture is shown: the largest ones stay outside until the rest fits into ROOM."""
    sizes = sorted(len(p.data) for p in pictures if p.suffix == ".png")
    for size, total in zip(sizes, accumulate(sizes), strict=True):
        if total > ROOM:
            return size - 1
    return ROOM


def figure(picture: Picture, largest: int, caption: str | None = None) -> Html:
    """One picture or page of texts with its title."""
    told = caption or picture.title
    return el("figure", _content(picture, largest, told), el("figcaption", told))


def _content(picture: Picture, largest: int, told: str) -> Html:
    if picture.suffix == ".svg":
        data = base64.b64encode(picture.data).decode()
        return el("img", src="data:image/svg+xml;base64," + data, alt=f"{told}: a drawing")
    if picture.suffix != ".png":
        content = picture.data[: 4 * TEXT + 4].decode("utf-8", "replace")
        texts = RULE.split(content[:TEXT] + "…" * (len(content) > TEXT))
        return el("div", *(el("pre", text(t.strip("\n"), TEXT + 1)) for t in texts), class_="texts", tabindex=0)
    if len(picture.data) < 24 or not picture.data.startswith(SIGNATURE):
        return el("p", "This picture is damaged.", class_="soft")
    if len(picture.data) > largest:
        return el("p", f"Left out here: it has {len(picture.data) / 1e6:.1f} MB.", class_="soft")
    width, height = struct.unpack(">II", picture.data[16:24])  # the header chunk comes first (ISO/IEC 15948)
    scale = max(1, min(8, round(560 / max(width, 1))))  # small ones are enlarged, pixel by pixel
    return el(
        "img",
        src="data:image/png;base64," + base64.b64encode(picture.data).decode(),
        alt=f"{told}: a picture of {width} by {height} pixels",
        width=width * scale,
        height=height * scale,
        class_="pixels" if scale > 1 else None,
    )
