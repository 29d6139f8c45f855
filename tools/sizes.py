"""The size budget: prints lines per file and long functions, and fails where a limit of the style is passed.

A file has one idea and at most 400 lines, a function at most 60 (the aim is 40), a signature at most 8 parameters.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE, FUNCTION, AIM, SIGNATURE = 400, 60, 40, 8
NAMELESS = {"utils", "helpers", "common", "misc", "util", "helper"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[tuple[str, int, int]]:
    """(place, lines, parameters) of each function; `self` and `cls` are not counted as parameters."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            args = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield f"{path}:{node.lineno} {node.name}", lines, len(args) - (args[:1] in (["self"], ["cls"]))


def main(root: Path = Path("src")) -> int:
    """Prints the table; returns 1 if a limit is passed."""
    files = sorted(root.rglob("*.py"), key=lambda p: len(p.read_text(encoding="utf-8").splitlines()), reverse=True)
    wrong = []
    for path in files:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        print(f"{lines:6} {path}")
        if lines > FILE:
            wrong.append(f"{path} has {lines} lines; {FILE} are allowed: it holds more than one idea")
        if path.stem in NAMELESS:
            wrong.append(f"{path} is named for nothing: name it for what it does")
        for place, long, wide in functions(path):
            if long > AIM:
                print(f"{long:6}   {place}")
            if long > FUNCTION:
                wrong.append(f"{place} has {long} lines; {FUNCTION} are allowed")
            if wide > SIGNATURE and path.name != "cli.py":  # there an option is a parameter
                wrong.append(f"{place} has {wide} parameters; {SIGNATURE} are allowed")
    print(f"{sum(len(p.read_text(encoding='utf-8').splitlines()) for p in files):6} in {len(files)} files")
    print(*wrong, sep="\n", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
