"""Long work tells what it does as it goes, and gives its result at last."""

from collections.abc import Generator, Iterable
from typing import Any, TypeVar

Doing = tuple[str, float]  # what is being done, and the share of it done

T = TypeVar("T")
Steps = Generator[Doing, None, T]


def at_last(steps: Iterable[float | Doing | T], name: str = "") -> Steps[T]:
    """Passes on what is being done, a mere share under `name`, and returns what is neither."""
    found: list[Any] = []
    for step in steps:
        match step:
            case (str(), float()):
                yield step
            case float():
                yield name, step
            case _:
                found.append(step)
    return found[-1]
