"""One file, one plugin: the file's name is the name everywhere. No registry."""

import importlib
import pkgutil
from functools import cache

from aurify.errors import UserError, nearest


@cache
def names(package: str) -> tuple[str, ...]:
    """Names of the modules in a package, without importing them: names("aurify.families") -> ("flow", "gan", ...)."""
    path = importlib.import_module(package).__path__
    return tuple(sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_")))


def load(package: str, name: str, base: type) -> type:
    """The one subclass of `base` that the named file defines. A broken plugin raises, loudly.

    Raises:
        UserError: no file has this name; the message lists those that do.
    """
    if name not in names(package):
        kind = base.__name__.lower()
        known = list(names(package))
        raise UserError(f"there is no {kind} {name!r}.{nearest(name, known)} There are: {', '.join(known)}")
    module = importlib.import_module(f"{package}.{name}")
    found = [c for c in vars(module).values() if _defines(c, base, module.__name__)]
    assert len(found) == 1, f"{module.__name__} must define exactly one {base.__name__}, found {found}"
    return found[0]


def _defines(value: object, base: type, module: str) -> bool:
    return isinstance(value, type) and issubclass(value, base) and value is not base and value.__module__ == module
