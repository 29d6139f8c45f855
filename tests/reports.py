"""Reports with made-up but likely content: a full one, a hostile one, and one that holds next to nothing."""

import math

import numpy as np

from aurify import png
from aurify.evaluate.figure import Figure, Measured, Protocol
from aurify.evaluate.report import Pair, Picture, Report
from aurify.evaluate.verdict import Skill, Verdict, judge

PROTOCOL = Protocol(
    embedder="classifier of this data's labels",
    weights="3f9a12c07be4",
    n=5000,
    reference="half of the held-out and test samples",
    data="b1946ac92492d2347c6235b4d2611184",
    preprocessing="28 x 28 grey, -1 to 1",
    seed=20260922,
    blocks=20,
    options={"steps": 24, "guidance": 1.3, "solver": "dpm2m"},
)


def about(value: float, half: float) -> Measured:
    rng = np.random.default_rng(3)
    return Measured(value, (value - half, value + half), tuple(value + half / 9 * rng.standard_normal(20)))


def figures() -> tuple[Figure, ...]:
    plain = {
        "pixel means": about(211.4, 3.0),
        "PCA and Gaussian": about(58.2, 1.1),
        "nearest training sample, blurred": about(31.7, 0.8),
    }
    low = {"pixel means": about(0.81, 0.01), "PCA and Gaussian": about(0.22, 0.006)}
    return (
        Figure("frechet", "Fréchet distance", "lower", "Heusel et al. 2017, Eq. 6", about(3.92, 0.31),
               about(0.98, 0.12), plain, PROTOCOL),
        Figure("kid", "Kernel distance", "lower", "Bińkowski et al. 2018, Eq. 4", about(0.0061, 0.0009),
               about(0.00002, 0.00021), low, PROTOCOL),
        Figure("coverage", "Coverage", "higher", "Naeem et al. 2020, Eq. 9", about(0.912, 0.011),
               about(0.968, 0.006), {"PCA and Gaussian": about(0.21, 0.02)}, PROTOCOL,
               note="k = 5 neighbours; depends on n, so compare equal n only."),
        Figure("label_share", "Label asked, label read", "real", "share of samples", about(0.987, 0.004),
               about(0.9936, 0.002), {}, PROTOCOL),
    )  # fmt: skip


def sheet(seed: int, rows: int = 8, columns: int = 10, side: int = 28) -> bytes:
    """A PNG of rings of many sizes, as a sheet of small samples."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    whole = np.full((rows * (side + 1) - 1, columns * (side + 1) - 1, 1), 96, np.uint8)
    for i in range(rows * columns):
        r, (cy, cx) = rng.uniform(0.12, 0.36), rng.normal(0, 0.05, 2)
        ring = np.exp(-(((np.hypot((y - cy) * rng.uniform(0.8, 1.3), x - cx) - r) / 0.06) ** 2))
        top, left = i // columns * (side + 1), i % columns * (side + 1)
        whole[top : top + side, left : left + side, 0] = (255 * ring).astype(np.uint8)
    return png.encode(whole)


def losses(last: int, start: float, end: float, seed: int, every: int = 1) -> list[tuple[int, float]]:
    rng = np.random.default_rng(seed)
    steps = range(every, last + 1, every)
    return [(s, float(end + (start - end) * math.exp(-6 * s / last) + 0.02 * rng.standard_normal())) for s in steps]


COPYING = {
    "title": "Copying",
    "sentences": [
        "no copying was found: 3 of 5,000 samples lie nearer to training data than 1 in 1,000 held-out ones do",
        "the alarm finds planted copies and stays silent on held-out samples, as measured below",
    ],
    "numbers": {
        **{"threshold": 1.0284, "m": 5000, "flagged": 3, "p_share": 0.91, "c_t": 2.3},
        "share_interval": (0.0001, 0.0018),
        "controls": {
            "planted": {
                "exact": {"found": 100, "of": 100, "interval": (0.9638, 1.0)},
                "mirrored": {"found": 99, "of": 100, "interval": (0.9455, 0.9997)},
                "moved": {"found": 96, "of": 100, "interval": (0.9007, 0.989)},
            },
            "recall": 0.983,
            "fresh": {"flagged": 19, "of": 2000, "interval": (0.0057, 0.0148), "rings": False},
        },
    },
}
MEMBERSHIP = {
    "title": "Membership",
    "sentences": ["an attacker who knows the loss tells 1.2 % of training samples at 1 % false alarms"],
    "numbers": {"rate": 0.01, "recognised": 0.012, "interval": (0.006, 0.021), "leaks": False},
}
USEFULNESS = {
    "title": "Usefulness",
    "sentences": ["a classifier trained on these samples alone is right on 96.8 % of real test samples"],
    "numbers": {"accuracy": {"real": 0.991, "generated": 0.968, "both": 0.992}, "tested": 2000, "p": 0.61},
}
COST = {"minutes": 4.96, "minutes_source": "measured", "flops": 1.31e14, "energy_wh": 1.65,
        "energy_source": "estimated, 10 W for each of 2 threads", "threads": 2}  # fmt: skip
SUBJECT = {"run": "digits-flow", "family": "flow", "codec": "image", "parameters": 671_233, "steps": 592,
           "settings": {"batch": 64, "seed": 0, "width": 32, "precision": "float32"}}  # fmt: skip
DATA = {"source": "digits", "counts": {"train": 54_000, "held": 6_000, "test": 10_000},
        "labels": [str(i) for i in range(10)], "hash": "b1946ac92492d2347c6235b4d2611184",
        "licences": ["ABOUT.md: CC BY-SA 3.0"], "notes": ["Pictures become 28 x 28: all have this size."]}  # fmt: skip


def full() -> Report:
    """One in which every part has something to say."""
    skill = Skill(0.905, (0.882, 0.928), "the Fréchet distance", "nearest training sample, blurred")
    return Report(
        verdict=judge(skill, None, None), figures=figures(), copying=COPYING, membership=MEMBERSHIP,
        usefulness=USEFULNESS, cost=COST, subject=SUBJECT, data=DATA,
        curves={"flow/loss": losses(592, 1.21, 0.16, 1), "held/flow/loss": losses(592, 1.3, 0.19, 2, 40),
                "flow/grad": losses(592, 3.0, 0.4, 4)},
        shown=(Picture("made samples", ".png", sheet(1)), Picture("real samples", ".png", sheet(2)),
               Picture("captions", ".txt", "the river runs under the old bridge\n一个旧桥下的河流\n".encode())),
        pairs=tuple(
            Pair(f"sample {i}", f"3/{i:05d}.png", 0.4 - 0.17 * i, Picture("", ".png", sheet(i, 1, 2)))
            for i in range(6)
        ),
        notices=("at step 310 the loss left its path and training went back to step 256, past the batches in between",),
        command="aurify evaluate runs/digits-flow -n 5000 --seed 20260922",
        made_by={"aurify": "0.1.0", "torch": "2.13.0", "python": "3.11.2", "machine": "2 cores, 24 GiB, Linux",
                 "date": "2026-11-22"},
    )  # fmt: skip


def nearly_empty(word: str = "not enough data to tell") -> Report:
    """What is known of three samples in a folder."""
    verdict = Verdict(word, ("only 3 samples were given",), (), None)  # type: ignore[arg-type]
    return Report(verdict, (), None, None, None, {}, {}, {}, {}, (), (), (), "aurify evaluate three", {})


HOSTILE = (
    '<script src="https://evil.example/x.js"></script><img src=x onerror=alert(1)>"\' onmouseover="alert(2)" `</style>'
    "\x00\x1b[31m\u202egnp.exe\ud800]]>--><!-- [a](https://evil.example) | # * _ \n---\n## owned\n{{7*7}} &lt;b&gt;"
)


def hostile() -> Report:
    """Every text that a user or a model gives is an attack, and no number is one."""
    nothing = Measured(math.nan, (-math.inf, math.nan))
    protocol = Protocol(HOSTILE, HOSTILE, 1, HOSTILE, HOSTILE, HOSTILE, 0, 1, {HOSTILE: HOSTILE})
    figure = Figure(HOSTILE, HOSTILE, HOSTILE, HOSTILE, nothing, about(1, 0), {HOSTILE: about(-1e300, 1e290)},
                    protocol, HOSTILE)  # fmt: skip
    found = {
        "title": HOSTILE,
        "sentences": [HOSTILE],
        HOSTILE: {HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]},
        "nan": math.nan,
    }
    picture = Picture(HOSTILE, ".txt", HOSTILE.encode("utf-8", "surrogatepass"))
    return Report(
        Verdict("bubble", (HOSTILE,), (HOSTILE,), Skill(math.nan, (-math.inf, math.inf), HOSTILE, HOSTILE)),
        (figure,), found, found, found, {HOSTILE: HOSTILE}, {"run": HOSTILE, "codec": HOSTILE, "family": HOSTILE},
        {HOSTILE: HOSTILE, "labels": [HOSTILE] * 3},
        {HOSTILE: [(1, 1.0), (2, math.nan), (3, math.inf), (4, 0.5)], "held/": [(1, math.nan)]},
        (picture, Picture(HOSTILE, ".png", b"no picture"), Picture(HOSTILE, HOSTILE, b"\xff\xfe")),
        (Pair(HOSTILE, HOSTILE, math.inf, Picture(HOSTILE, ".png", sheet(1, 1, 1))),),
        (HOSTILE,), HOSTILE + "``` ````", {HOSTILE: HOSTILE},
    )  # fmt: skip
