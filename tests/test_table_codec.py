"""The table codec: what becomes of each kind of column, what is lost, what is refused, and one file for all rows."""

import json

import numpy as np
import pyarrow.parquet
import pytest
import torch

from aurify.cli import app
from aurify.codec import Unreadable
from aurify.codecs.table import Config, Table
from aurify.data.columns import OTHER, Category, Number, column_from, missing, moment, number, pointed
from aurify.data.report import check
from aurify.data.source import open_source
from aurify.data.store import open_or_build
from aurify.errors import UserError
from aurify.evaluate.baselines import plain
from aurify.evaluate.column_distances import column_distances, sentences
from aurify.evaluate.samples import Samples
from aurify.evaluate.sources import Real


def rows_of(**columns):
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def fitted(rows, **settings):
    codec = Table(Config(**settings))
    codec.fit(rows)
    return codec


def column(codec, name):
    return codec.columns[codec.positions.index(name)]


N = 300
RNG = np.random.default_rng(0)
WAGES = np.round(RNG.lognormal(7, 1, N), 2)
ROWS = rows_of(
    id=list(range(1, N + 1)),
    name=[f"person {i}" for i in range(N)],
    town=[("Rome", "Oslo", "Lima")[i % 3] if i % 30 else f"village {i}" for i in range(N)],
    wage=WAGES.tolist(),
    children=RNG.integers(0, 4, N).tolist(),
    born=[f"19{60 + i % 40}-0{1 + i % 9}-1{i % 9}" for i in range(N)],
    zip=[f"0{i % 7}123" for i in range(N)],
    debt=[0.0 if i % 2 else float(WAGES[i]) for i in range(N)],
    note=[None] * N,
)


def test_each_column_becomes_what_it_is():
    codec = fitted(ROWS)
    assert codec.positions == ("town", "wage", "children", "born", "zip", "debt")
    assert set(codec.left_out) == {"id", "name", "note"}
    assert "numbers the rows" in codec.left_out["id"] and "rare" in codec.left_out["name"]
    town, wage, children, born, code, debt = codec.columns
    assert isinstance(town, Category) and set(town.values) == {"Rome", "Oslo", "Lima"} and town.other
    assert town.pooled == 10
    assert isinstance(wage, Number) and len(wage.bins) == 7 and wage.decimals == 2  # 300 ** (1 / 3)
    assert isinstance(children, Number) and children.bins == ((0,), (1,), (2,), (3,))
    assert isinstance(born, Number) and born.form == "date"
    assert isinstance(code, Category) and "00123" in code.values  # a leading zero is no number's
    assert (
        isinstance(debt, Number) and debt.bins[0] == (0,) and len(debt.bins) < 10
    )  # half of all rows: a bin of its own
    assert any("wage: numbers in 7 bins" in note for note in codec.notes)
    assert any("column id is left out" in note for note in codec.notes)


def test_bins_hold_about_equally_many_rows_and_a_number_comes_back_within_its_bin():
    codec = fitted(ROWS, keep=["id"], bins=15)
    assert "id" in codec.positions
    counts = torch.stack([codec.encode(row).long() for row in ROWS])[:, codec.positions.index("wage")].bincount()
    assert counts.min() >= 15 and counts.max() <= 25
    wage = column(codec, "wage")
    for row in ROWS[:60]:
        once = codec.decode(codec.encode(row).long())
        low, *_, high = wage.bins[wage.encode(row["wage"])]
        assert low <= once["wage"] <= high and low <= row["wage"] <= high
        assert once["wage"] == round(once["wage"], 2)
        assert isinstance(once["children"], int) and once["children"] == row["children"]
        assert once["zip"] == row["zip"] and codec.same(once, row)
        assert torch.equal(codec.encode(once), codec.encode(row))


def test_equal_rows_come_back_equal_and_others_take_many_values():
    codec = fitted(ROWS)
    x = torch.stack([codec.encode(row).long() for row in ROWS])
    assert codec.decode(x[0]) == codec.decode(x[0].clone())
    wages = {codec.decode(row)["wage"] for row in x}
    assert len(wages) > 200  # seven bins, but not seven values
    mean = np.mean([codec.decode(row)["wage"] for row in x])
    assert mean == pytest.approx(WAGES.mean(), rel=0.15)


def test_what_is_missing_is_a_value_of_its_own():
    rows = rows_of(a=["x", "", "y", "NA", None, "x"] * 10, b=[1.5, None, float("nan"), 2.5, "?", 3.5] * 10)
    codec = fitted(rows)
    a, b = codec.columns
    assert a.values[-1] is None and b.gaps and b.size == 4
    assert codec.decode(codec.encode({"a": "NA", "b": "nan"}).long()) == {"a": None, "b": None}
    with pytest.raises(Unreadable, match="never has a gap"):
        fitted(ROWS).encode({**ROWS[1], "town": None})


def test_what_training_never_had_cannot_be_encoded_unless_others_were_pooled():
    codec = fitted(ROWS)
    x = codec.encode({**ROWS[1], "town": "Atlantis"}).long()
    assert codec.decode(x)["town"] == OTHER
    with pytest.raises(Unreadable, match="column zip never holds '99999'"):
        codec.encode({**ROWS[1], "zip": "99999"})
    with pytest.raises(Unreadable, match=r"column wage holds numbers, such as [\d.]+, not 'much'"):
        codec.encode({**ROWS[1], "wage": "much"})
    assert codec.decode(codec.encode({**ROWS[1], "wage": 1e9}).long())["wage"] <= WAGES.max()


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("3", 3),
        (" -4.5 ", -4.5),
        ("1e3", 1000),
        ("007", None),
        ("1,234", None),
        (True, None),
        ("", None),
        ("inf", None),
    ],
)
def test_what_a_number_is(cell, found):
    assert number(cell) == found


def test_dates_are_days_and_times_are_seconds_and_come_back_as_written():
    assert moment("1970-01-02") == (1, "date") and moment("1970-01-01 00:01") == (60, "time")
    assert moment("1970-13-01") is None and moment("yesterday") is None and moment("2024-01-01T00:00+02:00") is None
    codec = fitted(rows_of(day=["2024-02-28", "2024-02-29"] * 5, at=["2024-02-28 10:00", "2024-02-28T11:30:05"] * 5))
    assert codec.decode(torch.tensor([1, 1])) == {"day": "2024-02-29", "at": "2024-02-28 11:30:05"}
    codec = fitted(rows_of(at=[f"2024-02-{1 + i % 28:02} {i % 24:02}:30" for i in range(200)]))
    assert all(len(codec.decode(torch.tensor([i]))["at"]) == 16 for i in range(codec.spec.vocab))
    with pytest.raises(UserError, match=r"holds times, such as 2024-02-01 00:30, not '2024-02-03'"):
        codec.given({"at": "2024-02-03"})


def test_settings_leave_out_keep_and_coarsen_columns():
    codec = fitted(ROWS, leave_out="zip", keep=("name",), bins=4, categories=2)
    assert codec.left_out["zip"] == "as asked" and len(column(codec, "wage").bins) == 4
    assert len(column(codec, "town").values) == 2
    with pytest.raises(UserError, match=r"no column 'wages'\. Did you mean 'wage'"):
        fitted(ROWS, leave_out=("wages",))
    with pytest.raises(UserError, match=r"no column of this table can be learned \(note: it is empty\)"):
        fitted(rows_of(note=[None] * 5))
    lists = fitted(rows_of(a=[[1], [2]], b=["x", "y"]))
    assert lists.left_out == {"a": "it holds lists or objects"}


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_a_table_of_every_form_is_read_and_written(tmp_path, form):
    codec = fitted(ROWS, written=form)
    records = [
        (str(i), codec.decode(codec.encode(row).long()), {"index": i, "seed": 1}) for i, row in enumerate(ROWS[:30])
    ]
    (path,) = codec.write_many(iter(records), tmp_path)
    assert path.name == f"table.{form}"
    assert json.loads(path.with_suffix(".json").read_text()) == {"index": list(range(30)), "seed": 1}
    source = open_source(path, "table")
    read = [item.load() for item in source.items]
    assert len(read) == 30 and all(codec.same(a, b) for a, (_, b, _) in zip(read, records, strict=True))
    if form == "parquet":
        assert str(pyarrow.parquet.read_schema(path).field("children").type) == "int64"


def test_a_table_looks_like_one():
    codec = fitted(ROWS)
    shown = codec.preview(ROWS[:30])
    lines = shown.terminal.splitlines()
    assert len(lines) == 14 and lines[-1] == "and 18 rows more"
    assert lines[0].split()[:3] == ["id", "name", "town"] and len({len(line) for line in lines[1:3]}) == 1
    assert len(shown.data.decode().splitlines()) == 31
    assert missing(None) and codec.describe({"a": 1, "b": ""}) == "2 columns, 1 of them missing"


def test_figures_see_ranks_and_categories():
    codec = fitted(rows_of(town=["Rome", "Oslo"] * 10, age=[1, 2, 3, None] * 5))
    x = torch.stack([codec.encode(r).long() for r in ({"town": "Oslo", "age": 3}, {"town": "Rome", "age": None})])
    assert codec.parts == (2, 2)
    assert codec.seen(x).tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]


# Where a table is one


def csv(path, rows):
    lines = [",".join(rows[0])] + [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_file_of_plain_columns_is_found_out_to_be_a_table(tmp_path):
    path = csv(tmp_path / "people.csv", ROWS[:50])
    source = open_source(path)
    assert source.codec == "table" and len(source.items) == 50
    assert "no column is called text or file_name" in source.notes[0] and "--column text=NAME" in source.notes[1]
    assert check(path).sizes == {"9 columns, 1 of them missing": 50}
    assert open_source(path, columns={"text": "town"}).codec == "text"
    labelled = open_source(path, columns={"label": "town"})
    assert (
        labelled.codec == "table" and labelled.items[1].label == "Oslo" and labelled.items[1].load()["town"] == "Oslo"
    )
    with pytest.raises(UserError, match="leave out --column file=name"):
        open_source(path, "table", {"file": "name"})
    with pytest.raises(UserError, match="it needs a column text"):
        open_source(path, "text")


def test_prose_in_a_table_is_asked_about(tmp_path):
    rows = rows_of(id=[1, 2, 3], body=[f"the wind walks over hill {i}" for i in range(3)])
    with pytest.raises(UserError, match=r"'body' holds texts: say --column text=body .* or --codec table"):
        open_source(csv(tmp_path / "t.csv", rows))
    assert open_source(tmp_path / "t.csv", "table").codec == "table"
    assert open_source(tmp_path / "t.csv", columns={"text": "body"}).codec == "text"


def test_a_folder_of_tables_is_one_table_with_its_splits(tmp_path):
    csv(tmp_path / "train.csv", ROWS[:60])
    csv(tmp_path / "test.csv", ROWS[60:80])
    (tmp_path / "README.md").write_text("about")
    source = open_source(tmp_path)
    assert source.codec == "table" and [item.split for item in source.items].count("test") == 20
    split = csv(tmp_path / "one.csv", [{"a": i % 3, "split": ("train", "test")[i % 4 == 0]} for i in range(20)])
    items = open_source(split).items
    assert [i.split for i in items][:2] == ["test", "train"] and "split" not in items[0].load()


def test_rows_that_are_alike_are_no_copies(tmp_path):
    """Of 300 rows 6 are different: all are kept, and held-out ones equal training ones as they should."""
    path = csv(tmp_path / "t.csv", [{"a": i % 2, "b": "xyz"[i % 3]} for i in range(300)])
    store = open_or_build(path)
    assert sum(store.counts.values()) == 300 and 15 < store.counts["held"] < 50
    everyone = np.concatenate([store.hashes(side) for side in ("train", "held")])
    assert len(np.unique(everyone, axis=0)) == 300
    held = {tuple(row) for row in store.split("held").rows(np.arange(store.counts["held"]))[0].tolist()}
    assert len(held) == 6
    shuffled = path.read_text().splitlines()
    path.write_text("\n".join([shuffled[0], *reversed(shuffled[1:])]))
    assert open_or_build(path).hash == store.hash  # whatever the order of the rows
    assert check(path).copies == () and check(path).dropped == {}


def test_given_cells_find_their_places():
    codec = fitted(ROWS)
    assert codec.given({"children": 2, "town": "Rome"}) == {2: 2, 0: column(codec, "town").place["Rome"]}
    with pytest.raises(UserError, match="column 'id' cannot be given: it is left out"):
        codec.given({"id": 3})
    with pytest.raises(UserError, match=r"column 'tow' cannot be given: it is not there\. Did you mean 'town'"):
        codec.given({"tow": "Rome"})
    with pytest.raises(UserError, match="column zip never holds '5' in training; it has '0"):
        codec.given({"zip": 5})


def test_bad_tables_give_one_sentence(tmp_path, capsys):
    bad = {
        "empty.csv": "a,b\n",
        "twice.csv": "a,a\n1,2\n",
        "hollow.csv": "a,b\n,\n,\n",
        "one.csv": "a,b\n1,2\n",
        "equal.csv": "a,b\n1,2\n1,2\n1,2\n",
        "nan.csv": "a,b\nnan,nan\nNaN,\n",
    }
    for name, text in bad.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError) as caught:
            app(["train", str(tmp_path / name), "--family", "bayes", "--steps", "2", "--out", str(tmp_path / "run")],
                standalone_mode=False)  # fmt: skip
        assert len(str(caught.value)) < 300 and "\n" not in str(caught.value), name


# What figures say of a table


def seen(codec, rows):
    x = codec.seen(torch.stack([codec.encode(row).long() for row in rows]))
    return Samples(rows, x, torch.full((len(rows),), -1), tuple(map(str, range(len(rows)))))


def test_the_column_that_is_off_is_named_first_and_pairs_show_what_columns_hide():
    rows = rows_of(a=RNG.integers(0, 2, 600).tolist(), b=RNG.integers(0, 3, 600).tolist())
    rows = [{**row, "c": row["a"]} for row in rows]
    codec = fitted(rows)
    real = Real(*(seen(codec, rows[k : k + 200]) for k in (0, 200, 400)), told="", known=200)
    biased = [{**row, "b": 0} for row in rows[:200]]
    single, _ = column_distances(seen(codec, biased), real, codec.parts, codec.positions)
    assert single[0].name == "b" and single[0].made > 0.6 and single[0].real < 0.15
    untied = [{**row, "c": other["a"]} for row, other in zip(rows[:200], rows[200:], strict=False)]
    single, double = column_distances(seen(codec, untied), real, codec.parts, codec.positions)
    assert all(a.made < 0.15 for a in single)
    assert double[0].name == "a and c" and double[0].made > 0.4 > double[0].real
    assert "a and c 0." in sentences(single, double)[1]


def test_the_plain_baseline_of_a_table_draws_whole_columns():
    codec = fitted(ROWS)
    train = seen(codec, ROWS[:100])
    (made,) = plain(train, 200, 0, codec.parts).values()
    whole = {tuple(row) for part in [train.grid[:, :4]] for row in part.tolist()}
    assert codec.parts[0] == 4 and {tuple(row) for row in made.grid[:, :4].tolist()} <= whole


def test_numbers_with_a_decimal_comma_are_numbers_and_come_back_so():
    rng = np.random.default_rng(0)
    prices = [f"{v:,.2f}".translate(str.maketrans(",.", ".,")) for v in rng.lognormal(6, 1.5, 300)]
    assert any("." in p for p in prices)
    codec = fitted(rows_of(price=prices, thousands=[f"{1 + i % 9},500" for i in range(300)]))
    (price, thousands) = codec.columns
    assert isinstance(price, Number) and price.form == "comma" and price.decimals == 2
    assert not isinstance(thousands, Number)  # a thousand or a one with three decimals: nobody can tell
    for cell in prices[:50]:
        made = price.decode(price.encode(cell), 0.5)
        assert pointed(made) is not None and price.encode(made) == price.encode(cell)
    assert price.value("1.234,50") == 1234.5 and price.value("-3,7") == -3.7
    assert column_from(json.loads(json.dumps(price.state))) == price
