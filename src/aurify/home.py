"""Where aurify keeps what it can make again: encoded data, downloads. And `weights`, which a user puts there."""

import os
from pathlib import Path


def home() -> Path:
    """$AURIFY_HOME, or ~/.cache/aurify. May be deleted at any time: all but `weights` is made again when needed."""
    given = os.environ.get("AURIFY_HOME")
    return Path(given) if given else Path.home() / ".cache" / "aurify"
