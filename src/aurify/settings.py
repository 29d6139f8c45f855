"""`--set key=value`: from words to the frozen configurations of a family, a codec and the training."""

import json
from typing import Any

from pydantic import BaseModel, ValidationError

from aurify.errors import UserError, nearest


def parse(pairs: list[str], option: str = "--set", example: str = "width=32") -> dict[str, Any]:
    """["width=32", "loss=hinge"] -> {"width": 32, "loss": "hinge"}: values are JSON where they are, else words."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(f"{option} takes key=value, such as {option} {example}; got {pair!r}")
        key, said = key.strip(), found.get(key.strip())
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
        if said not in (None, found[key]):
            raise UserError(f"{option} gives {key} twice: {said!r} and {found[key]!r}; leave one out")
    return found


def parse_columns(pairs: list[str]) -> dict[str, str]:
    """["text=body", "label=kind"] -> {"text": "body", "label": "kind"}: the column of a table for a role."""
    found: dict[str, str] = {}
    for pair in pairs:
        role, equals, column = pair.partition("=")
        if not equals or not role or not column:
            raise UserError(f"--column takes role=name, such as --column text=body; got {pair!r}")
        if found.setdefault(role.strip(), column) != column:
            raise UserError(
                f"--column gives {role.strip()} twice: {found[role.strip()]!r} and {column!r}; leave one out"
            )
    return found


def share_out(settings: dict[str, Any], owners: dict[str, type[BaseModel]]) -> dict[str, dict[str, Any]]:
    """Each setting to the configuration that has a field of its name; "training.seed" names the owner.

    Raises:
        UserError: nobody, or more than one, has this field.
    """
    shares: dict[str, dict[str, Any]] = {owner: {} for owner in owners}
    for key, value in settings.items():
        owner, dot, name = key.partition(".")
        takers = [owner] if dot and owner in owners else [o for o, c in owners.items() if key in c.model_fields]
        name = name if dot and owner in owners else key
        if len(takers) > 1:
            raise UserError(
                f"{key!r} is a setting of {' and '.join(takers)}; write {takers[0]}.{key} or {takers[1]}.{key}"
            )
        if not takers or name not in owners[takers[0]].model_fields:
            known = [f for c in owners.values() for f in c.model_fields]
            raise UserError(f"there is no setting {key!r}.{nearest(name, known)} There are: {', '.join(known)}")
        shares[takers[0]][name] = value
    return shares


def make(config: type[BaseModel], values: dict[str, Any]) -> Any:
    """The configuration with these values. Raises UserError with the field and what it takes."""
    try:
        return config(**values)
    except ValidationError as error:
        raise UserError(explain(error)) from error


def explain(error: ValidationError) -> str:
    """A validation error as one sentence."""
    parts = []
    for e in error.errors():
        named = f"{'.'.join(str(p) for p in e['loc'])}={e['input']!r}: {e['msg'].lower()}"
        parts.append(named if e["loc"] else e["msg"].removeprefix("Value error, "))  # of several fields together
    return "; ".join(parts)
