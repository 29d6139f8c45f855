"""aurify: train generative models on your own data, sample from them, and learn whether the result is worth anything.

import aurify as au
run = au.train("digits/", family="flow", minutes=5)
pictures = run.sample(16, seed=7, label="3")
run = au.load("runs/digits")
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before torch is loaded: threads wait asleep. Where anything else runs, threads that wait awake were measured to make a
# step 70 times slower (docs/log.md), because the one they wait for gets no processor.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

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
