"""The shape of the code base: who may import whom, what may never be called, what is documented."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "aurify"
MODULES = sorted(PACKAGE.rglob("*.py"))

UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
UNSAFE_CALLS = {"eval", "exec", "torch.load", "torch.jit.load", "yaml.load", "torch.serialization.load", "load_module"}
UNSAFE_FLAGS = {"allow_pickle", "trust_remote_code"}


def imports(tree: ast.AST) -> set[str]:
    """Full names of all that is imported, at any depth: `from a import b` gives a and a.b."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return names


def unsafe(tree: ast.AST) -> list[str]:
    """What could run code from a file."""
    found = [name for name in sorted(imports(tree)) if name.split(".")[0] in UNSAFE_MODULES or name in UNSAFE_CALLS]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if ast.unparse(node.func) in UNSAFE_CALLS:
                found.append(f"line {node.lineno}: {ast.unparse(node.func)}")
            for keyword in node.keywords:
                off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg in UNSAFE_FLAGS and not off:
                    found.append(f"line {node.lineno}: {keyword.arg}")
    return found


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_the_checks_below_see_what_they_look_for() -> None:
    bad = ["import pickle", "from torch import load", "torch.load(f)", "exec(s)", "np.load(f, allow_pickle=True)",
           "f(trust_remote_code=flag)"]  # fmt: skip
    assert all(unsafe(ast.parse(line)) for line in bad)
    good = ["np.load(f, allow_pickle=False)", "model.eval()", "json.load(f)", "from aurify.plugins import load"]
    assert not any(unsafe(ast.parse(line)) for line in good)
    assert "aurify.families.flow" in imports(ast.parse("def f():\n    from aurify.families import flow"))


@pytest.mark.parametrize(("here", "there"), [("codecs", "families"), ("families", "codecs")])
def test_codecs_and_families_never_meet(here: str, there: str) -> None:
    files = sorted((PACKAGE / here).glob("*.py"))
    assert files
    for path in files:
        met = {i for i in imports(parse(path)) if i.startswith(f"aurify.{there}")}
        assert not met, f"{name(path)} imports {met}"


def test_nets_know_neither_codecs_nor_families() -> None:
    for path in sorted((PACKAGE / "nets").glob("*.py")):
        met = {i for i in imports(parse(path)) if re.match(r"aurify\.(codec|famil)", i)}
        assert not met, f"{name(path)} imports {met}"


def test_nothing_can_run_code_from_a_file() -> None:
    found = {name(path): unsafe(parse(path)) for path in MODULES}
    assert not {path: what for path, what in found.items() if what}


def test_every_module_says_what_it_is() -> None:
    silent = [name(p) for p in MODULES if p.read_text(encoding="utf-8").strip() and not ast.get_docstring(parse(p))]
    assert not silent


def test_the_tree_in_the_readme_is_the_tree_on_the_disk() -> None:
    block = re.search(r"<!-- tree -->\n+```\w*\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block, "README.md has no tree: a fenced block after a line <!-- tree -->"
    package = re.search(r"^src/aurify/?.*\n((?: +\S.*\n)+)", block[1], re.MULTILINE)
    assert package, "the tree has no line src/aurify/ with the files below it, indented"
    rows = [line.split() for line in package[1].splitlines()]
    assert all(len(row) > 1 for row in rows), "each file has a few words beside it"
    told = {row[0].rstrip("/") for row in rows}
    there = {p.name for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert told - {"__init__.py"} == there - {"__init__.py"}


@pytest.mark.parametrize("module", ["aurify", "aurify.cli"])
def test_asking_for_help_does_not_wait_for_torch(module: str) -> None:
    code = f"import sys, {module}; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
