"""Files in folders, of a disk or an archive, as items: label from the subfolder, caption from beside or metadata."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from aurify.codec import Unreadable
from aurify.data import archive, kinds, table
from aurify.data.item import Item, file_bytes
from aurify.data.listing import Listing, hidden
from aurify.errors import UserError

MAX_CAPTION = 2**20  # bytes

Bad = tuple[str, str]


@dataclass(frozen=True)
class Tree:
    """Names with forward slashes, sorted, and a way to get each one's bytes; `ignored` names by reason."""

    names: tuple[str, ...]
    loads: Sequence[Callable[[], bytes]]
    head: Callable[[int], bytes]
    ignored: dict[str, list[str]]


def of_folder(listing: Listing) -> Tree:
    paths = [listing.root / f.name for f in listing.files]

    def head(i: int) -> bytes:
        try:
            with open(paths[i], "rb") as file:
                return file.read(kinds.HEAD)
        except OSError:
            return b""  # reading it as a sample will say why

    return Tree(tuple(f.name for f in listing.files), [file_bytes(p) for p in paths], head, dict(listing.ignored))


def of_archive(path: Path) -> Tree:
    """Raises: UserError for a damaged or unsafe archive."""
    members = sorted(archive.members(path), key=lambda m: m.name)
    ignored: dict[str, list[str]] = {}
    seen = [m for m in members if not any(hidden(part) for part in m.name.removeprefix("./").split("/") if part)]
    if len(seen) < len(members):
        ignored["hidden"] = sorted({m.name for m in members} - {m.name for m in seen})

    def head(i: int) -> bytes:
        try:
            return seen[i].read()[: kinds.HEAD]
        except (Unreadable, OSError):
            return b""

    return Tree(tuple(m.name.removeprefix("./") for m in seen), [m.read for m in seen], head, ignored)


@dataclass(frozen=True)
class Found:
    """Items of a tree, what could not be read and why, and what should be said."""

    items: list[Item]
    bad: list[Bad]
    notes: list[str]


def items(tree: Tree, files: Sequence[int], columns: Mapping[str, str] | None = None) -> Found:
    """Items for the files chosen (positions in `tree.names`)."""
    notes: list[str] = []
    bad: list[Bad] = []
    names = [tree.names[i] for i in files]
    places = _places(names, notes)
    captions = {n.rpartition(".")[0]: i for i, n in enumerate(tree.names) if kinds.ending(n) == kinds.CAPTION}
    chosen = set(files)
    metadata = _metadata(tree, columns, bad)
    seen: Counter[str] = Counter()
    found = []
    for i, name, (split, label) in zip(files, names, places, strict=True):
        known = metadata.pop(name, {}) if seen[name] == 0 else {}
        caption = captions.get(name.rpartition(".")[0])
        text = known.get("text")
        if text is None and caption is not None and caption not in chosen:
            text = _caption(tree, caption, bad)
        seen[name] += 1
        unique = name if seen[name] == 1 else f"{name} ({seen[name]})"
        found.append(Item(unique, tree.loads[i], known.get("label") or label, text, known.get("split") or split))
    bad += [(name, "named in metadata, but there is no such sample") for name in metadata]
    return Found(found, bad, [*notes, *_name_notes(seen, found)])


def _places(names: Sequence[str], notes: list[str]) -> list[tuple[str | None, str | None]]:
    """Split and label of each file, from its folders below those that all share."""
    folders = {name: tuple(PurePosixPath(name).parts[:-1]) for name in names}
    different = set(folders.values())
    shared = _shared(different)
    if shared:
        notes.append(f"all samples lie in {'/'.join(shared)}/, which says nothing and is no label")
    tops = {f[len(shared)].lower() for f in different if len(f) > len(shared)}
    splits = {top for top in tops if top in table.SPLITS}
    if not any(table.SPLITS[top] == "train" for top in splits):
        splits = set()  # without a training folder, "test" is a label like any other
    place = {}
    for folder in different:
        parts = folder[len(shared) :]
        split = table.SPLITS[parts[0].lower()] if parts and parts[0].lower() in splits else None
        place[folder] = (split, "/".join(parts[1:] if split else parts) or None)
    return [place[folders[name]] for name in names]


def _shared(folders: set[tuple[str, ...]]) -> tuple[str, ...]:
    first, last = (min(folders), max(folders)) if folders else ((), ())
    n = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:n]


def _metadata(tree: Tree, columns: Mapping[str, str] | None, bad: list[Bad]) -> dict[str, dict[str, str | None]]:
    """Text, label and split by file name, from every metadata table of the tree."""
    found: dict[str, dict[str, str | None]] = {}
    for i, name in enumerate(tree.names):
        folder, _, base = name.rpartition("/")
        if not kinds.METADATA.fullmatch(base):
            continue
        try:
            rows = table.parse(tree.loads[i](), kinds.ending(name), name)
            roles = rows.roles(columns)
        except (UserError, Unreadable, OSError) as error:
            bad.append((name, str(error)))
            continue
        if "file" not in roles:
            bad.append((name, "metadata needs a column file_name"))
            continue
        bad += [(f"{name} {row}", why) for row, why in rows.bad]
        for k, number in enumerate(rows.numbers):
            value = {role: rows.columns[column][k] for role, column in roles.items()}
            file = "/".join(filter(None, (folder, str(value["file"]).removeprefix("./"))))
            if file in found:
                bad.append((f"{name} row {number}", f"names {file} a second time"))
                continue
            text = value.get("text")
            found[file] = {
                "text": None if text is None else str(text),
                "label": table.label_of(value.get("label")),
                "split": table.split_of(value.get("split")),
            }
    return found


def _caption(tree: Tree, i: int, bad: list[Bad]) -> str | None:
    try:
        data = tree.loads[i]()
        if len(data) > MAX_CAPTION:
            raise Unreadable("caption longer than 1 MiB")
        return data.decode("utf-8-sig").strip() or None
    except UnicodeDecodeError:
        bad.append((tree.names[i], "caption is not UTF-8 text"))
    except (Unreadable, OSError) as error:
        bad.append((tree.names[i], str(error)))
    return None


def _name_notes(seen: Counter[str], found: list[Item]) -> list[str]:
    notes = []
    if twice := [name for name, n in seen.items() if n > 1]:
        notes.append(f"{len(twice)} names occur more than once (such as {twice[0]}); all are kept")
    spellings: dict[str, set[str]] = defaultdict(set)
    for label in {item.label for item in found if item.label}:
        spellings[label.lower()].add(label)
    for labels in (sorted(s) for s in spellings.values() if len(s) > 1):
        notes.append(f"the labels {' and '.join(labels)} differ only by case; they are kept as different labels")
    clashes = Counter(name.lower() for name in seen)
    if n := sum(c > 1 for c in clashes.values()):
        notes.append(f"{n} names differ only by case; all are kept")
    return notes
