"""aurify: train generative models on your own data, sample from them, and learn whether the result is worth anything.

import aurify as au
run = au.train("digits/", family="flow", minutes=5)
pictures = run.sample(16, seed=7, label="3")
run = au.load("runs/digits")
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before torch is loaded: a thread that has nothing to do waits awake for some tens of microseconds, then asleep. Asleep
# at once, a step takes 1.4 to 3 times as long on a quiet machine; awake, ten times as long where anything else runs,
# because the thread that all wait for gets no processor (docs/log.md).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it the same products differ in their last bits

__version__ = "0.1.0"

if TYPE_CHECKING:
    from aurify.recipes import train
    from aurify.run import Run

__all__ = ["Run", "load", "train"]


def load(path: "str | Path") -> "Run":
    """Opens a run folder."""
    from aurify.run import Run

    return Run.load(path)


def __getattr__(name: str) -> Any:  # late, so that `import aurify` and `aurify --help` do not wait for torch
    if name == "train":
        from aurify.recipes import train

        return train
    if name == "Run":
        from aurify.run import Run

        return Run
    raise AttributeError(f"module 'aurify' has no attribute {name!r}")
