"""Blind judging in a browser: one page that opens offline, is worked by keyboard, and gives its answers as a file.

The page keeps answers in the browser as they are given, where the browser lets it, so a closed window loses nothing. It
holds the samples in their order and the SHA-256 of the key: neither names nor sides.
"""

import base64
from typing import Any

from aurify.codec import Codec
from aurify.evaluate.human import Blind, Trial
from aurify.evaluate.markup import Html, document, el, text
from aurify.evaluate.page_style import STYLE

LONGEST = 20_000  # characters of a text

JUDGING = (
    STYLE
    + """
.pair {
  display: grid; grid-template-columns: 1fr 1fr; gap: 1.2rem; align-items: start; border: 0; margin: 0; padding: 0;
}
.pair[hidden] { display: none; }
.pair h2 { font-size: 1rem; margin: 0 0 .4rem; }
.pair img { width: 100%; max-height: 60vh; object-fit: contain; image-rendering: pixelated; }
.pair pre { max-height: 60vh; }
.choices { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1.2rem 0; }
button {
  font: inherit; padding: .6rem 1.1rem; color: var(--ink); background: var(--raised); border: 1px solid var(--soft);
  border-radius: .3rem; cursor: pointer; min-height: 2.75rem;
}
button:disabled { color: var(--soft); border-color: var(--line); cursor: default; }
progress { width: 100%; accent-color: var(--mark); }
"""
)

SCRIPT = """
"use strict";
const key = document.getElementById("judging").dataset.key;
const pairs = [...document.querySelectorAll(".pair")];
const ids = new Set(pairs.map((p) => p.dataset.trial));
const given = ["left", "right", "cannot tell"];
const store = "aurify answers " + key;
let answers = {};
let at = 0;
try {
  const kept = JSON.parse(localStorage.getItem(store) || "{}");
  for (const [id, answer] of Object.entries(kept)) if (ids.has(id) && given.includes(answer)) answers[id] = answer;
} catch (error) { answers = {}; }

const el = (id) => document.getElementById(id);
function open_at() { return pairs.findIndex((p) => !(p.dataset.trial in answers)); }
function show() {
  const done = Object.keys(answers).length, over = at < 0 || at >= pairs.length;
  pairs.forEach((p, i) => { p.hidden = over || i !== at; });
  el("bar").value = done;
  el("told").textContent = done + " of " + pairs.length + " judged"
    + (over ? ". That was the last one: download the answers." : "");
  for (const name of ["left", "right", "neither"]) el(name).disabled = over;
  el("back").disabled = !over && at === 0;
  el("download").disabled = done === 0;
}
function keep() {
  try { localStorage.setItem(store, JSON.stringify(answers)); } catch (error) { el("unkept").hidden = false; }
}
function choose(answer) {
  if (at < 0 || at >= pairs.length) return;
  answers[pairs[at].dataset.trial] = answer;
  keep();
  at = open_at();
  show();
}
function back() {
  at = at < 0 || at >= pairs.length ? pairs.length - 1 : Math.max(0, at - 1);
  delete answers[pairs[at].dataset.trial];
  keep();
  show();
}
function download() {
  const whole = { kind: "aurify answers", key: key, answers: answers };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(whole, null, 1) + "\\n"], { type: "application/json" }));
  link.download = "answers-" + key.slice(0, 8) + ".json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
el("left").addEventListener("click", () => choose("left"));
el("right").addEventListener("click", () => choose("right"));
el("neither").addEventListener("click", () => choose("cannot tell"));
el("back").addEventListener("click", back);
el("download").addEventListener("click", download);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const meant = { ArrowLeft: "left", 1: "left", ArrowRight: "right", 2: "right", ArrowDown: "cannot tell",
    0: "cannot tell" }[event.key];
  if (!meant && event.key !== "Backspace") return;
  event.preventDefault();
  if (meant) choose(meant); else back();
});
at = open_at();
show();
"""


def page(blind: Blind, codec: Codec[Any], question: str = "Which of the two is better?") -> str:
    """The page as HTML, UTF-8 once written.

    Args:
        question: shown above every pair. Take care that it does not say which set is which.
    """
    buttons = [
        el("button", label, id=id, type="button")
        for id, label in (
            ("left", "← left (1)"),
            ("right", "right (2) →"),
            ("neither", "cannot tell (0 or ↓)"),
            ("back", "one back (Backspace)"),
            ("download", "download the answers"),
        )
    ]
    unkept = "This browser keeps nothing for pages from the disk: download the answers before you close the window."
    body = el(
        "main",
        el("h1", question),
        el("p", "Choose with the buttons or with the arrow keys. Take the time you like.", class_="soft"),
        el("noscript", el("p", "This page needs the script that it holds: allow scripts for it.")),
        *(_pair(trial, place, codec) for place, trial in enumerate(blind.trials, 1)),
        el("div", *buttons, class_="choices"),
        el("progress", id="bar", max=len(blind.trials), value=0, aria_label="judged so far"),
        el("p", id="told", role="status"),
        el("p", unkept, id="unkept", hidden=True),
        id="judging",
        data_key=blind.sealed,
    )
    return document("Blind comparison - aurify", JUDGING, SCRIPT, body)


def _pair(trial: Trial, place: int, codec: Codec[Any]) -> Html:
    sides = [
        el("div", el("h2", side), _sample(sample, side, codec))
        for side, sample in (("left", trial.left), ("right", trial.right))
    ]
    return el("section", *sides, class_="pair", hidden=True, data_trial=trial.id, aria_label=f"pair {place}")


def _sample(sample: Any, side: str, codec: Codec[Any]) -> Html:
    """A text whole, anything else by its codec's preview."""
    if isinstance(sample, str):
        return el("pre", text(sample, LONGEST), tabindex=0)
    preview = codec.preview([sample])
    if preview.suffix != ".png":
        return el("pre", text(preview.data.decode("utf-8", "replace"), LONGEST), tabindex=0)
    data = base64.b64encode(preview.data).decode()
    return el("img", src=f"data:image/png;base64,{data}", alt=f"the {side} sample")
