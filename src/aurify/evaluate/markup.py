"""HTML in which text is text: whatever is no markup yet is escaped on its way into an element.

    el("p", "2 < 3", class_="note")   ->   <p class="note">2 &lt; 3</p>

Only this file makes markup, so a label, a file name or a generated text cannot become any.
"""

import base64
import hashlib
from html import escape

LONGEST = 2_000  # characters of one text, where nothing else is said
VOID = {"meta", "link", "img", "br", "wbr"}

_STEERING = (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))  # they turn the direction of what follows
_NO_TEXT = (*range(9), 11, 12, *range(14, 32), *range(127, 160), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF)
_SHOWN: dict[int, str] = dict.fromkeys((*_NO_TEXT, *_STEERING), "\ufffd") | {13: "\n"}


class Html(str):
    """Markup. Any other string is text."""


def plain(text: str, longest: int = LONGEST) -> str:
    """Text without characters that steer a screen or that no encoding can carry; cut to `longest` characters."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return cut.replace("\r\n", "\n").translate(_SHOWN)


def el(tag: str, *children: str | None, **attributes: str | int | float | None) -> Html:
    """An element. `class_` is class, `aria_label` aria-label; True is a bare attribute; None is left out."""
    told = "".join(_attribute(name, value) for name, value in attributes.items() if value is not None)
    if tag in VOID:
        return Html(f"<{tag}{told}>")
    return Html(f"<{tag}{told}>{joined(*children)}</{tag}>")


def text(content: str, longest: int = LONGEST) -> Html:
    """Text as markup that shows it."""
    return Html(escape(plain(content, longest)))


def joined(*children: str | None) -> Html:
    """Elements and texts one after another."""
    return Html("".join(c if isinstance(c, Html) else text(c) for c in children if c is not None))


def _attribute(name: str, value: str | int | float) -> str:
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    told = f"{value:.6g}" if isinstance(value, float) else str(value)
    return f' {name}="{escape(plain(told, 10**8))}"'  # pictures are attributes too


def document(title: str, style: str, script: str, body: Html) -> str:
    """A whole page that asks nobody for anything.

    Its policy (Content Security Policy, level 3) names the one style and the one script by their SHA-256; nothing else
    is loaded or run, whatever stands in the body.
    """
    scripts = f"; script-src '{_digest(script)}'" if script else ""
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'{scripts}; base-uri 'none'; form-action 'none'"
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("link", rel="icon", href="data:,"),  # else a browser asks the server for one
        el("title", title),
        el("style", Html(style)),
    )
    end = el("script", Html(script)) if script else None
    return f"<!doctype html>\n{el('html', head, el('body', body, end), lang='en')}\n"


def _digest(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
