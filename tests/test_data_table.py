"""Tables of every form give texts, pictures and pairs; bad rows are listed."""

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest

from aurify.data.report import check
from aurify.data.source import open_source
from aurify.errors import UserError
from aurify.settings import parse_columns
from sources import png, read_all, tree


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet", "csv.gz"])
def test_a_text_column_gives_texts_with_labels(tmp_path, form):
    rows = [{"text": "one, two\n\nthree", "category": "a"}, {"text": "vier ü", "category": "b"}]
    path = tmp_path / f"rows.{form}"
    if form == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif form == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        comma = "\t" if form == "tsv" else ","
        lines = [comma.join(f'"{v}"' for v in values) for values in [rows[0].keys(), *(r.values() for r in rows)]]
        data = "\n".join(lines).encode()
        path.write_bytes(gzip.compress(data) if form.endswith("gz") else data)
    read = read_all(path)
    assert [(i.name, i.label, text) for i, text in read] == [
        ("row 1", "a", "one, two\n\nthree"),
        ("row 2", "b", "vier ü"),
    ]


def test_pairs_are_a_target_with_its_source_as_text(tmp_path):
    (tmp_path / "p.csv").write_text("source,target,split\nhund,dog,train\nkatze,cat,test\n,bird,train\n")
    source = open_source(tmp_path / "p.csv")
    assert [(i.text, i.load(), i.split) for i in source.items] == [("hund", "dog", "train"), ("katze", "cat", "test")]
    assert source.bad == (("row 3", "empty"),)


def test_a_file_column_names_files_beside_the_table(tmp_path):
    tree(
        tmp_path / "d",
        {"p/a.png": png(1), "t.csv": "image,caption,class\np/a.png,hill,3\nnone.png,x,4\n../b.png,y,5\n"},
    )
    tree(tmp_path, {"b.png": png(2)})
    source = open_source(tmp_path / "d" / "t.csv")
    assert (source.codec, [(i.text, i.label) for i in source.items]) == ("image", [("hill", None)])
    assert [why for _, why in source.bad] == ["there is no file none.png", "'../b.png' lies outside the table's folder"]


def test_parquet_may_hold_the_pictures_themselves(tmp_path):
    rows = [{"image": {"bytes": png(i), "path": f"{i}.png"}, "label": i} for i in range(3)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet")
    read = read_all(tmp_path / "x.parquet")
    assert [(i.label, picture.shape) for i, picture in read] == [(str(k), (8, 8, 1)) for k in range(3)]


def test_columns_can_be_named(tmp_path):
    (tmp_path / "t.csv").write_text("id,body,kind\n1,hello to you all,x\n2,the world is wide,y\n")
    with pytest.raises(UserError, match="id, body, kind"):
        open_source(tmp_path / "t.csv")
    source = open_source(tmp_path / "t.csv", columns={"text": "body", "label": "kind"})
    assert [(i.load(), i.label) for i in source.items] == [("hello to you all", "x"), ("the world is wide", "y")]
    with pytest.raises(UserError, match="no column 'bodi'"):
        open_source(tmp_path / "t.csv", columns={"text": "bodi"})
    tree(tmp_path / "d", {"a.png": png(1), "b.png": png(2)})
    (tmp_path / "x.txt").write_text("a text")
    for path in (tmp_path / "d", tmp_path / "x.txt"):
        with pytest.raises(UserError, match="no columns to name"):
            open_source(path, columns={"text": "body"})
    (tmp_path / "d" / "metadata.csv").write_text("file,what\na.png,hill\nb.png,sea\n")
    assert [i.text for i in open_source(tmp_path / "d", columns={"text": "what"}).items] == ["hill", "sea"]


def test_bad_rows_are_listed_and_the_others_kept(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n{broken\n\n[1]\n{"text": null}\n{"text": "b"}\n')
    source = open_source(tmp_path / "t.jsonl")
    assert [i.name for i in source.items] == ["row 1", "row 6"]
    assert dict(source.bad) == {"row 2": "not JSON", "row 4": "not a JSON object", "row 5": "empty"}
    (tmp_path / "t.csv").write_text("text,label\nx,1\ny,2,3\n")
    assert open_source(tmp_path / "t.csv").bad == (("row 2", "3 fields where the header has 2"),)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"text\n\xff\xfe\xfa"),
        ("a.parquet", b"PAR1 no"),
        ("a.csv", b""),
        ("a.csv", b"text,text\n1,2"),
        ("a.jsonl", b""),
    ],
)
def test_tables_that_cannot_be_read_are_the_users_to_mend(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError):
        open_source(tmp_path / name)


@pytest.fixture
def narrow(monkeypatch):
    """Limits that a small file passes: 100 kB whatever its size, else 20 times it."""
    monkeypatch.setattr("aurify.data.archive.FREE_BYTES", 100_000)
    monkeypatch.setattr("aurify.data.archive.MAX_RATIO", 20)


def repeated(value: object, times: int, dictionary: bool) -> pyarrow.Table:
    column = pyarrow.array([value]).take(pyarrow.array([0] * times))
    return pyarrow.table({"text": column.dictionary_encode() if dictionary else column})


@pytest.mark.parametrize("kind", ["csv.gz", "lines.csv.gz", "rows", "named rows", "long", "named long", "one value"])
def test_tables_that_unpack_to_far_more_than_they_are_end_at_once(tmp_path, narrow, kind):
    path = tmp_path / ("x.csv.gz" if "gz" in kind else "x.parquet")
    if "gz" in kind:
        line = b"a\n" if kind.startswith("lines") else b"a" * 100 + b"\n"
        path.write_bytes(gzip.compress(b"text\n" + line * (200_000 // 100)))
    elif kind == "one value":
        pyarrow.parquet.write_table(repeated("a" * 200_000, 1, False), path, compression="zstd")
    else:
        value, times = ("a", 5000) if "rows" in kind else ("a" * 5000, 50)
        pyarrow.parquet.write_table(repeated(value, times, "named" in kind), path, compression="zstd")
    assert path.stat().st_size < 5000
    with pytest.raises(UserError, match="20 times its size"):
        open_source(path)


def test_honest_tables_pass_the_limits(tmp_path, narrow):
    rows = [{"text": f"line {i} {i**3:x}", "label": i % 3} for i in range(3000)]
    table = pyarrow.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    encoded = table.set_column(0, "text", table["text"].dictionary_encode())
    pyarrow.parquet.write_table(encoded, tmp_path / "y.parquet")
    text = "text,label\n" + "".join(f"{r['text']},{r['label']}\n" for r in rows)
    (tmp_path / "z.csv.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("x.parquet", "y.parquet", "z.csv.gz"):
        items = open_source(tmp_path / name).items
        assert [(i.load(), i.label) for i in items] == [(r["text"], str(r["label"])) for r in rows]


def test_whoever_gives_pairs_or_captions_learns_who_uses_them(tmp_path):
    (tmp_path / "p.csv").write_text("source,target\nhund,dog\nkatze,cat\n")
    (tmp_path / "t.csv").write_text("text\nhund\n")
    assert any("2 samples come with a text" in n for n in open_source(tmp_path / "p.csv").notes)
    assert any("families that read texts use it" in n for n in check(tmp_path / "p.csv").notes)
    assert not any("come with a text" in n for n in open_source(tmp_path / "t.csv").notes)


def test_columns_may_be_parted_by_semicolons(tmp_path):
    (tmp_path / "t.csv").write_text("text;label\none, two;a\nthree;b\n")
    source = open_source(tmp_path / "t.csv")
    assert [(item.load(), item.label) for item in source.items] == [("one, two", "a"), ("three", "b")]


def test_a_role_that_is_given_twice_is_refused():
    with pytest.raises(UserError, match="gives label twice: 'city' and 'name'"):
        parse_columns(["label=city", "label=name"])
