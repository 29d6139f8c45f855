"""Which checkpoint to go on from. For the process that holds the run's lock: what stands in the way is moved aside."""

from pathlib import Path

from aurify import atomic, checkpoint
from aurify.checkpoint import Loaded


def newest_whole(folder: Path) -> tuple[Loaded | None, list[str]]:
    """The newest checkpoint whose every byte is as saved, and what to say. Damaged ones above it get a name nobody
    reads: as the newest by name they would be in the way of those to come.

    Raises:
        UserError: there are checkpoints, but not one is whole.
    """
    found, damaged = checkpoint.newest(folder)
    told = []
    for bad in damaged:
        place = checkpoint.set_aside(bad.path)
        told.append(
            f"{bad.path} is damaged ({bad.why}) and is now called {place.name}; the checkpoint before it is used."
        )
    return found, told


def before_trouble(folder: Path) -> tuple[Loaded | None, list[str]]:
    """The newest checkpoint that was made while nothing pointed at a departure, and what to say. Those that were made
    after it are removed: they lead where the training left its path.

    Raises:
        UserError: there are checkpoints, but not one is whole.
    """
    told = []
    while True:
        found, damaged = newest_whole(folder)
        told += damaged
        if found is None or found.state.get("healthy", True):
            return found, told
        atomic.remove(found.path)
        told.append(f"The checkpoint of step {found.step}, made on the way there, is removed.")
