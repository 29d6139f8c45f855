"""What holds for every test: shapes and types are checked as it runs, nothing depends on chance or on the machine."""

import multiprocessing
import os
import random
import tempfile
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

_home = tempfile.TemporaryDirectory(prefix="aurify-home-")
os.environ["AURIFY_HOME"] = _home.name  # for child processes too

os.environ["OMP_NUM_THREADS"] = "1"  # for child processes too
torch.set_num_threads(1)  # toy sizes: two threads would wait for each other, and for whatever else runs
torch.backends.cudnn.allow_tf32 = False  # a GPU's convolutions with the whole mantissa, as laws expect

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

install_import_hook("aurify", "checks.checked")  # before the first import of aurify


def pytest_unconfigure() -> None:
    _home.cleanup()


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Each test starts from the same default generators, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def fork() -> Any:
    """Starts children that have torch imported already, in a few milliseconds each."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["aurify.checkpoint"])
    return context
