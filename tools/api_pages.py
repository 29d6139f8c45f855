"""A hook of mkdocs: a page of the API reference for each module there is, so that none is forgotten or goes stale."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

SOURCE = Path(__file__).parent.parent / "src"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds api/<module>.md for every module of the package."""
    for path in sorted((SOURCE / "aurify").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        module = ".".join(parts).removesuffix(".__init__")
        if path.stem == "__init__" and not path.read_text(encoding="utf-8").strip():
            continue
        files.append(File.generated(config, f"api/{module}.md", content=f"# {module}\n\n::: {module}\n"))
    return files
