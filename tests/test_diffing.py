"""Two states from rows in memory: every trap that concerns comparing, each with its control."""

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import duckdb
import psycopg
import pytest

from diffing.documents import diff_document, write_parquet
from diffing.engine import LedgerError, Options, compare
from diffing.model import (
    Column,
    Constraint,
    Key,
    Ledger,
    Schema,
    SchemaDivergence,
    Sequence_,
    Sides,
    Status,
    Table,
    TableDiff,
    Verdict,
)

Row = tuple[str | None, ...]
Divergence = tuple[str, str, str, str, str | None, str | None]


class Quiet:
    def stage(self, name: str, *, total: int = 0) -> None: ...

    def advance(self, amount: int = 1) -> None: ...

    def note(self, text: str) -> None: ...


class Rows:
    """A state whose rows are given."""

    def __init__(
        self,
        *tables: tuple[Table, Sequence[Row]],
        unloaded: dict[str, str] | None = None,
        constraints: tuple[Constraint, ...] = (),
        sequences: tuple[Sequence_, ...] = (),
    ) -> None:
        self.schema = Schema(
            tuple(table for table, _ in tables), constraints=constraints, sequences=sequences
        )
        self.unloaded = unloaded or {}
        self._rows = {table.name: rows for table, rows in tables}

    def export(self, table: Table, columns: Sequence[str], path: Path) -> int:
        names = [column.name for column in table.columns]
        places = [names.index(name) for name in columns]
        with path.open("w", encoding="utf-8", newline="") as file:
            for row in self._rows[table.name]:
                fields = ["1", *(quoted(row[place]) for place in places)]
                file.write(",".join(fields) + "\n")
        return len(self._rows[table.name])


def quoted(value: str | None) -> str:
    return "" if value is None else '"' + value.replace('"', '""') + '"'


def table(*columns: Column | str, key: Sequence[str] = (), name: str = "t") -> Table:
    full = tuple(Column(one, "text", "text") if isinstance(one, str) else one for one in columns)
    return Table("public", name, full, Key(tuple(key), "primary" if key else "none"))


@pytest.fixture
def facts() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(":memory:")
    connection.execute(
        'CREATE TABLE divergence ("table" VARCHAR, key VARCHAR, kind VARCHAR, '
        '"column" VARCHAR, backup VARCHAR, current VARCHAR)'
    )
    yield connection
    connection.close()


class Bench:
    def __init__(self, facts: duckdb.DuckDBPyConnection, workspace: Path) -> None:
        self.facts = facts
        self.workspace = workspace

    def states(self, backup: Rows, current: Rows, options: Options | None = None) -> Ledger:
        ledger = compare(
            backup,
            current,
            self.facts,
            workspace=self.workspace,
            options=options or Options(threads=1),
            progress=Quiet(),
        )
        assert list(self.workspace.iterdir()) == []
        assert all(entry.closes() for entry in ledger)
        return ledger

    def rows(self, one: Table, backup: Sequence[Row], current: Sequence[Row]) -> TableDiff:
        (entry,) = self.states(Rows((one, backup)), Rows((one, current)))
        return entry

    @property
    def divergences(self) -> list[Divergence]:
        return self.facts.execute("FROM divergence ORDER BY ALL").fetchall()


@pytest.fixture
def bench(facts: duckdb.DuckDBPyConnection, tmp_path: Path) -> Bench:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    return Bench(facts, workspace)


def row_key(row: dict[str, str | None], copy: int = 1) -> tuple[str, str]:
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    digest = sha256(text.encode()).hexdigest()
    return f'{{"#row":"{digest}","#n":"{copy}"}}', text


def entry(status: Status, key: Sequence[str], rows: tuple[int, int], **more: object) -> TableDiff:
    fields: dict[str, object] = {"why": "", **more}
    return TableDiff("public.t", tuple(key), status, rows=Sides(*rows), **fields)  # type: ignore[arg-type]


def changed(key: str, column: str, backup: str | None, current: str | None) -> Divergence:
    return ("public.t", key, "changed", column, backup, current)


KEYED = table("id", "a", key=["id"])
PAIRS = table("id", "a", "b", key=["id"])

TRAPS = [
    # (name, one cell or row before, after)
    pytest.param((None, "x"), ("", "x"), {"a": (None, "")}, id="1 NULL to empty"),
    pytest.param(("a|b", "c"), ("a", "b|c"), {"a": ("a|b", "a"), "b": ("c", "b|c")}, id="2 bars"),
    pytest.param(("ab", "c"), ("a", "bc"), {"a": ("ab", "a"), "b": ("c", "bc")}, id="2 shift"),
    pytest.param((None, "x"), ("<null>", "x"), {"a": (None, "<null>")}, id="3 <null>"),
    pytest.param((None, "x"), ("NULL", "x"), {"a": (None, "NULL")}, id="3 NULL"),
    pytest.param((None, "x"), ("\\N", "x"), {"a": (None, "\\N")}, id="3 backslash N"),
    pytest.param(("a", "x"), ("a ", "x"), {"a": ("a", "a ")}, id="4 trailing blank"),
    pytest.param(("a", "x"), ("A", "x"), {"a": ("a", "A")}, id="4 case"),
    pytest.param(("é", "x"), ("e\u0301", "x"), {"a": ("é", "e\u0301")}, id="4 NFC NFD"),
    pytest.param(
        ('q"\\\n', "x"), ('q"\\\r\n', "x"), {"a": ('q"\\\n', 'q"\\\r\n')}, id="line breaks"
    ),
]


@pytest.mark.parametrize(("before", "after", "cells"), TRAPS)
def test_a_small_difference_is_seen_and_only_that(
    bench: Bench, before: Row, after: Row, cells: dict[str, tuple[str | None, str | None]]
):
    rest: list[Row] = [("2", None, ""), ("3", "", None), ("4", "\n", '"'), ("5", "<null>", "\\")]
    intact = bench.rows(PAIRS, [("1", *before), *rest], [*rest, ("1", *before)])
    assert intact == entry(Status.IDENTICAL, ["id"], (5, 5), same=5)
    assert bench.divergences == []
    damaged = bench.rows(PAIRS, [("1", *before), *rest], [*rest, ("1", *after)])
    counts = tuple((name, 1) for name in cells)
    assert damaged == entry(Status.DIFFERENT, ["id"], (5, 5), same=4, changed=1, cells=counts)
    assert bench.divergences == [changed('{"id":"1"}', name, *pair) for name, pair in cells.items()]


def test_small_differences_without_a_key(bench: Bench):
    one = table("a", "b")
    bench.rows(one, [("a|b", "c"), (None, "")], [("a", "b|c"), ("", None)])
    assert sorted(row[2] for row in bench.divergences) == ["extra"] * 2 + ["missing"] * 2


def test_two_equal_rows_become_two_other_equal_rows(bench: Bench):
    one = table("a")
    found = bench.rows(one, [("x",), ("x",), ("z",)], [("y",), ("y",), ("z",)])
    why = "no key: rows compared as a multiset"
    assert found == entry(
        Status.DIFFERENT, [], (3, 3), why=why, same=1, missing=2, extra=2, duplicates_scope="all"
    )
    expected = []
    for value, kind in (("x", "missing"), ("y", "extra")):
        for copy in (1, 2):
            key, text = row_key({"a": value}, copy)
            sides = (text, None) if kind == "missing" else (None, text)
            expected.append(("public.t", key, kind, "", *sides))
    assert bench.divergences == sorted(expected)


def test_three_copies_become_two(bench: Bench):
    one = table("a", "b")
    found = bench.rows(one, [("x", None)] * 3 + [("y", "")], [("x", None)] * 2 + [("y", "")])
    key, text = row_key({"a": "x", "b": None})
    assert (found.same, found.missing, found.extra) == (3, 1, 0)
    assert bench.divergences == [("public.t", key, "missing", "", text, None)]


def test_null_in_a_composite_key(bench: Bench):
    one = table("a", "b", "v", key=["a", "b"])
    before: list[Row] = [("1", None, "x"), ("1", None, "x"), ("1", "2", "x")]
    intact = bench.rows(one, before, before[::-1])
    why = "rows with NULL in the key: 2 in the backup, 2 in the current"
    same = entry(Status.IDENTICAL, ["a", "b"], (3, 3), why=why, same=3, duplicates=Sides(2, 2))
    assert intact == same
    found = bench.rows(one, before, [("1", None, "x"), ("1", None, "y"), ("1", "2", "x")])
    assert (found.same, found.changed, found.missing, found.extra) == (2, 0, 1, 1)
    lost, lost_text = row_key({"a": "1", "b": None, "v": "x"})
    new, new_text = row_key({"a": "1", "b": None, "v": "y"})
    assert bench.divergences == sorted(
        [
            ("public.t", lost, "missing", "", lost_text, None),
            ("public.t", new, "extra", "", None, new_text),
        ]
    )


def test_duplicate_keys_are_counted_and_never_last_wins(bench: Bench):
    before: list[Row] = [("1", "x"), ("2", "x")]
    after: list[Row] = [("1", "x"), ("1", "y"), ("2", "y")]
    found = bench.rows(KEYED, before, after)
    assert found == entry(
        Status.DIFFERENT,
        ["id"],
        (2, 3),
        why="keys held by several rows: 0 in the backup, 1 in the current",
        same=1,
        changed=1,
        extra=1,
        cells=(("a", 1),),
        duplicates=Sides(0, 1),
    )
    key, text = row_key({"id": "1", "a": "y"})
    assert bench.divergences == [
        ("public.t", key, "extra", "", None, text),
        changed('{"id":"2"}', "a", "x", "y"),
    ]


def test_a_key_that_held_on_one_side_only_still_names_the_rows(bench: Bench):
    loose = table("id", "a")
    before, after = Rows((KEYED, [("1", "x")])), Rows((loose, [("1", "y")]))
    (found,) = bench.states(before, after)
    assert (found.key, found.changed, found.duplicates_scope) == (("id",), 1, "all")


def test_composite_keys_with_shifted_boundaries(bench: Bench):
    one = table("a", "b", key=["a", "b"])
    found = bench.rows(one, [("1", "1:2"), ("ab", "c")], [("1", "1:2"), ("a", "bc")])
    assert (found.same, found.missing, found.extra) == (1, 1, 1)
    assert [row[1] for row in bench.divergences] == ['{"a":"a","b":"bc"}', '{"a":"ab","b":"c"}']


SAME, OTHER, FORM = "same", "changed", "representation"


@pytest.mark.parametrize(
    ("column", "before", "after", "what"),
    [
        (Column("v", "double precision", "float"), "0.30000000000000004", "0.3", OTHER),
        (Column("v", "double precision", "float"), "0.3333333333333333", "0.33333333333333", OTHER),
        (Column("v", "double precision", "float"), "NaN", "NaN", SAME),
        (Column("v", "double precision", "float"), "Infinity", "-Infinity", OTHER),
        (Column("v", "double precision", "float"), "0", "-0", FORM),
        (Column("v", "numeric", "numeric"), "1.10", "1.1", FORM),
        (Column("v", "numeric", "numeric"), "100", "1", OTHER),
        (
            Column("v", "timestamptz", "timestamptz"),
            "2026-01-01 00:00:00+00",
            "2026-01-01 03:00:00+03",
            FORM,
        ),
        (
            Column("v", "timestamptz", "timestamptz"),
            "10000-01-01 00:00:00+00",
            "10001-01-01 00:00:00+00",
            OTHER,
        ),
        (Column("v", "timestamptz", "timestamptz"), "infinity", "-infinity", OTHER),
        (Column("v", "json", "json"), '{"a":1,"b":2}', '{ "b": 2, "a": 1.0 }', FORM),
        (Column("v", "json", "json"), '{"a":2}', '{"a":1,"a":2}', FORM),
        (Column("v", "json", "json"), '{"a":1}', '{"a":1,"a":2}', OTHER),
        (Column("v", "interval", "interval"), "1 mon", "30 days", OTHER),
        (Column("v", "character(5)", "char"), "a", "a    ", FORM),
        (Column("v", "citext", "citext"), "ABC", "abc", FORM),
    ],
)
@pytest.mark.parametrize("keyed", [True, False])
def test_what_another_text_means(
    bench: Bench, column: Column, before: str, after: str, what: str, keyed: bool
):
    one = table("id", column, key=["id"] if keyed else [])
    found = bench.rows(one, [("1", before), ("2", None)], [("1", after), ("2", None)])
    moved = 1 if what == OTHER else 0
    figures = (2 - moved, moved, 0, 0) if keyed else (2 - moved, 0, moved, moved)
    assert (found.same, found.changed, found.missing, found.extra) == figures
    assert found.representation_only == (1 if what == FORM else 0)
    assert found.status is (Status.DIFFERENT if moved else Status.IDENTICAL)


def test_long_integers_and_numeric_keys(bench: Bench):
    number = Column("id", "numeric(38,4)", "numeric")
    one = table(number, "a", key=["id"])
    big = ["9007199254740992", "9007199254740993", "12345678901234567890123456789012345678"]
    before: list[Row] = [(f"{value}.00", "x") for value in big]
    after: list[Row] = [(value, "x") for value in big]
    assert bench.rows(one, before, after) == entry(
        Status.IDENTICAL, ["id"], (3, 3), same=3, representation_only=3
    )
    after[1] = (big[1], "y")
    found = bench.rows(one, before, after)
    assert (found.same, found.changed, found.cells) == (2, 1, (("a", 1),))
    assert bench.divergences == [changed('{"id":"9007199254740993"}', "a", "x", "y")]
    plain = table("id", key=["id"])
    apart = bench.rows(plain, [(big[0],)], [(big[1],)])
    assert (apart.missing, apart.extra) == (1, 1)


def test_key_gaps_mixed_keys_and_rows_beyond_the_ends(bench: Bench):
    shared: list[Row] = [
        ("1000000000000", "x"),
        ("2000000000000", "x"),
        ("0b0f1c2e-7d6a-4c39-9b57-6f2f6f1f3a11", "x"),
        ("text", "x"),
    ]
    found = bench.rows(KEYED, [("-5", "low"), *shared], [*shared, ("zzz", "high")])
    assert (found.same, found.missing, found.extra) == (4, 1, 1)
    assert bench.divergences == [
        ("public.t", '{"id":"-5"}', "missing", "", '{"id":"-5","a":"low"}', None),
        ("public.t", '{"id":"zzz"}', "extra", "", None, '{"id":"zzz","a":"high"}'),
    ]


def test_keys_that_the_server_matches_without_case(bench: Bench):
    one = table(Column("id", "citext", "citext"), "a", key=["id"])
    plain = table("id", "a", key=["id"])
    intact = bench.rows(one, [("Ab", "x")], [("aB", "x")])
    assert (intact.same, intact.representation_only) == (1, 1)
    # Where one side only ignores case, texts decide.
    (found,) = bench.states(Rows((one, [("Ab", "x")])), Rows((plain, [("aB", "x")])))
    assert (found.missing, found.extra) == (1, 1)


def test_a_swap_and_a_cycle_of_unique_values(bench: Bench):
    before: list[Row] = [(str(n), f"v{n}") for n in range(1, 6)]
    after: list[Row] = [("1", "v2"), ("2", "v1"), ("3", "v4"), ("4", "v5"), ("5", "v3")]
    found = bench.rows(KEYED, before, after)
    assert (found.same, found.changed, found.cells) == (0, 5, (("a", 5),))
    assert bench.divergences == [
        changed(f'{{"id":"{n}"}}', "a", f"v{n}", row[1]) for n, row in enumerate(after, 1)
    ]


def test_rows_with_new_keys_are_missing_and_extra(bench: Bench):
    found = bench.rows(KEYED, [("1", "x"), ("2", "y")], [("11", "x"), ("12", "y")])
    assert (found.same, found.changed, found.missing, found.extra) == (0, 0, 2, 2)


def test_a_link_table_that_is_nothing_but_key(bench: Bench):
    one = table("a", "b", key=["a", "b"])
    found = bench.rows(one, [("1", "1"), ("1", "2")], [("1", "1"), ("2", "1")])
    assert (found.same, found.missing, found.extra) == (1, 1, 1)


def test_lone_nulls_and_no_columns_at_all(bench: Bench):
    found = bench.rows(table("a"), [(None,), (None,), ("",)], [(None,), ("",), ("",)])
    assert (found.same, found.missing, found.extra) == (2, 1, 1)
    none = bench.rows(table(), [(), ()], [()])
    key, text = row_key({})
    assert (none.same, none.missing) == (1, 1)
    assert bench.divergences == [("public.t", key, "missing", "", text, None)]


NAMES = ['q"uote', "do.t", "pl+us", "Capital", "c0", "#row", "й", "n" * 63, "new\nline", "'); --"]


def test_names_of_every_sort(bench: Bench):
    key = 'k."1'
    odd = Table(
        'sch."ema',
        "ta.ble",
        tuple(Column(name, "text", "text") for name in (key, *NAMES)),
        Key((key,), "primary"),
    )
    before: Row = ("1", *("x" for _ in NAMES))
    after: Row = ("1", *("y" for _ in NAMES))
    (found,) = bench.states(Rows((odd, [before])), Rows((odd, [after])))
    assert found.table == '"sch.""ema"."ta.ble"'
    assert found.cells == tuple((name, 1) for name in NAMES)
    shown = json.dumps({key: "1"}, ensure_ascii=False, separators=(",", ":"))
    assert bench.divergences == sorted(
        (found.table, shown, "changed", name, "x", "y") for name in NAMES
    )


def test_tables_of_one_side_only(bench: Bench):
    other = table("id", "a", key=["id"], name="u")
    ledger = bench.states(
        Rows((KEYED, [("1", "x"), ("2", None)])), Rows((other, [("3", "z")]), (table(name="e"), []))
    )
    assert ledger.tables == (
        TableDiff(
            "public.e",
            (),
            Status.DIFFERENT,
            "the table is not in the backup; no key: rows compared as a multiset",
            duplicates_scope="all",
        ),
        TableDiff(
            "public.t",
            ("id",),
            Status.DIFFERENT,
            "the table is not in the current state",
            rows=Sides(2, 0),
            missing=2,
        ),
        TableDiff(
            "public.u",
            ("id",),
            Status.DIFFERENT,
            "the table is not in the backup",
            rows=Sides(0, 1),
            extra=1,
        ),
    )
    assert bench.divergences == [
        ("public.t", '{"id":"1"}', "missing", "", '{"id":"1","a":"x"}', None),
        ("public.t", '{"id":"2"}', "missing", "", '{"id":"2","a":null}', None),
        ("public.u", '{"id":"3"}', "extra", "", None, '{"id":"3","a":"z"}'),
    ]
    assert ledger.schema == (
        SchemaDivergence("table", "public.e", "", "table ()"),
        SchemaDivergence("table", "public.t", "table (id text, a text)", ""),
        SchemaDivergence("table", "public.u", "", "table (id text, a text)"),
    )


def test_columns_added_retyped_and_reordered(bench: Bench):
    old = table("id", Column("n", "integer", "text"), "gone", "a", key=["id"])
    new = table("a", "id", Column("n", "numeric", "numeric"), "fresh", key=["id"])
    ledger = bench.states(
        Rows((old, [("1", "7", "g", "x"), ("2", "8", "g", "y"), ("3", "9", "g", "z")])),
        Rows((new, [("x", "1", "7", "f"), ("q", "2", "8.0", "f"), ("w", "4", "9", "f")])),
    )
    assert ledger.tables == (
        entry(
            Status.DIFFERENT,
            ["id"],
            (3, 3),
            why="columns of one side only: gone, fresh",
            same=1,
            changed=1,
            missing=1,
            extra=1,
            cells=(("n", 1), ("a", 1)),
        ),
    )
    assert bench.divergences == [
        changed('{"id":"2"}', "a", "y", "q"),
        changed('{"id":"2"}', "n", "8", "8.0"),
        ("public.t", '{"id":"3"}', "missing", "", '{"id":"3","n":"9","gone":"g","a":"z"}', None),
        ("public.t", '{"id":"4"}', "extra", "", None, '{"a":"w","id":"4","n":"9","fresh":"f"}'),
    ]
    assert ledger.schema == (
        SchemaDivergence("column", "public.t.fresh", "", "text"),
        SchemaDivergence("column", "public.t.gone", "text", ""),
        SchemaDivergence("column", "public.t.n", "integer", "numeric"),
    )
    same = bench.states(Rows((table("id", "a", key=["id"]), [])), Rows((table("a", "id"), [])))
    assert same.verdict is Verdict.IDENTICAL


def test_other_schema_differences(bench: Bench):
    check = Constraint("positive", "public.t", "check", ("a",), "CHECK (a > 0)")
    sequences = (Sequence_("public.s", 7, True, 1, ("public.t", "id")),)
    later = (Sequence_("public.s", 9, True, 1, ("public.t", "id")),)
    one = (KEYED, [("1", "x")])
    ledger = bench.states(
        Rows(one, constraints=(check,), sequences=sequences), Rows(one, sequences=later)
    )
    assert ledger.schema == (
        SchemaDivergence("constraint", "public.t.positive", "CHECK (a > 0)", ""),
        SchemaDivergence(
            "sequence",
            "public.s",
            "at 7 (used), increment 1 owned by public.t.id",
            "at 9 (used), increment 1 owned by public.t.id",
        ),
    )
    assert ledger.verdict is Verdict.DIFFERENT


def test_derived_and_ignored_columns_are_no_changes(bench: Bench):
    one = table(
        "id",
        Column("g", "text", "text", generated=True),
        Column("s", "tsvector", "tsvector"),
        "noise",
        "a",
        key=["id"],
    )
    before: list[Row] = [("1", "g", "'s'", "n", "x"), ("2", "g", "'s'", "n", "x")]
    after: list[Row] = [("1", "G", "'S'", "N", "x"), ("2", "g", "'s'", "n", "y")]
    for ignored in (("public.t", "noise"), "public.t.noise"):
        options = Options(ignore_columns=frozenset({ignored}))
        (found,) = bench.states(Rows((one, before)), Rows((one, after)), options)
        why = "ignored columns: noise; derived columns that differ: g (1), s (1)"
        assert found == entry(
            Status.DIFFERENT, ["id"], (2, 2), why=why, same=1, changed=1, cells=(("a", 1),)
        )
        assert bench.divergences == [changed('{"id":"2"}', "a", "x", "y")]


def test_ignored_tables_are_never_green(bench: Bench):
    rows = Rows((KEYED, [("1", "x")]))
    ledger = bench.states(rows, rows, Options(ignore_tables=frozenset({"public.t"})))
    assert ledger.tables == (entry(Status.NOT_COMPARED, ["id"], (0, 0), why="ignored on request"),)
    assert ledger.verdict is Verdict.INCONCLUSIVE


def test_a_declared_key(bench: Bench):
    one = table("id", "a")
    options = Options(keys={"public.t": ("id",)})
    (found,) = bench.states(Rows((one, [("1", "x")])), Rows((one, [("1", "y")])), options)
    assert (found.key, found.changed, found.duplicates_scope) == (("id",), 1, "all")


def test_rows_that_could_not_be_loaded(bench: Bench):
    other = table("id", key=["id"], name="u")
    fine = (other, [("1",)])
    ledger = bench.states(
        Rows((KEYED, []), fine), Rows((KEYED, []), fine, unloaded={"public.t": "line 7 is torn"})
    )
    assert [(one.table, one.status, one.why) for one in ledger] == [
        ("public.t", Status.NOT_COMPARED, "current: line 7 is torn"),
        ("public.u", Status.IDENTICAL, ""),
    ]
    assert ledger.verdict is Verdict.INCONCLUSIVE


class Failing(Rows):
    """Fails at one table, half way through writing."""

    def __init__(self, error: Exception, *tables: tuple[Table, Sequence[Row]]) -> None:
        super().__init__(*tables)
        self._error = error

    def export(self, table: Table, columns: Sequence[str], path: Path) -> int:
        count = super().export(table, columns, path)
        if table.relation == "t":
            raise self._error
        return count


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        psycopg.OperationalError("server closed the connection"),
        duckdb.OutOfMemoryException("spill is full"),
    ],
)
def test_one_table_fails_and_the_others_are_compared(bench: Bench, error: Exception):
    other = table("id", key=["id"], name="u")
    tables = ((KEYED, [("1", "x")]), (other, [("1",)]))
    ledger = bench.states(Rows(*tables), Failing(error, *tables))
    assert [one.status for one in ledger] == [Status.NOT_COMPARED, Status.IDENTICAL]
    assert ledger.tables[0].why == f"{type(error).__name__}: {error}"
    assert ledger.verdict is Verdict.INCONCLUSIVE


class Miscounting(Rows):
    def export(self, table: Table, columns: Sequence[str], path: Path) -> int:
        return super().export(table, columns, path) + 1


def test_rows_lost_on_the_way_are_noticed(bench: Bench):
    one = (KEYED, [("1", "x")])
    (found,) = bench.states(Rows(one), Miscounting(one))
    why = "rows read back (1, 1) are not the rows written (1, 2)"
    assert found == entry(Status.NOT_COMPARED, ["id"], (1, 2), why=why, unknown=Sides(1, 2))


@pytest.mark.parametrize("error", [ZeroDivisionError(), duckdb.InterruptException("by Ctrl-C")])
def test_an_error_that_is_no_finding_leaves_nothing_behind(bench: Bench, error: Exception):
    one = (KEYED, [("1", "x")])
    with pytest.raises(type(error)):
        bench.states(Rows(one), Failing(error, one))
    assert list(bench.workspace.iterdir()) == []


def test_stored_and_counted_must_agree(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    nothing = "INSERT INTO divergence SELECT ?, ?, NULL, NULL, NULL, NULL WHERE false"
    monkeypatch.setattr("diffing.queries.KEEP_RESULT", nothing)
    with pytest.raises(LedgerError):
        bench.rows(KEYED, [("1", "x")], [("1", "y")])


def test_equal_files_are_equal_rows(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    """The short way, and that it is not taken where keys have to be counted."""
    before: list[Row] = [("1", "x"), ("1", "x")]
    loose = bench.rows(table("id", "a"), before, before)
    assert loose == entry(
        Status.IDENTICAL,
        [],
        (2, 2),
        why="no key: rows compared as a multiset",
        same=2,
        duplicates_scope="all",
    )
    declared = Options(keys={"public.t": ("id",)})
    rows = Rows((table("id", "a"), before))
    (counted,) = bench.states(rows, rows, declared)
    assert (counted.same, counted.duplicates) == (2, Sides(1, 1))
    monkeypatch.setattr("diffing.pairing.Export.same_bytes", lambda _: False)
    assert bench.rows(table("id", "a"), before, before) == loose


def test_no_table_is_no_answer(bench: Bench):
    assert bench.states(Rows(), Rows()).verdict is Verdict.INCONCLUSIVE


def test_wide_rows_all_changed(bench: Bench):
    wide = table("id", *(f"c{n}" for n in range(1599)), key=["id"])
    before: list[Row] = [(str(n), *("x" * 100 for _ in range(1599))) for n in range(5)]
    after: list[Row] = [(str(n), *("y" * 100 for _ in range(1599))) for n in range(5)]
    found = bench.rows(wide, before, after)
    assert (found.changed, len(found.cells), len(bench.divergences)) == (5, 1599, 5 * 1599)
    assert bench.rows(wide, before, before).status is Status.IDENTICAL


def test_cells_of_many_megabytes(bench: Bench):
    big = "b\n" * 5_000_000
    shared: Row = ("2", big)
    found = bench.rows(KEYED, [("1", big), shared], [("1", big + "c"), shared])
    assert (found.same, found.changed) == (1, 1)
    assert bench.divergences == [changed('{"id":"1"}', "a", big, big + "c")]


def test_everything_changed_in_little_memory(bench: Bench):
    before: list[Row] = [(str(n), f"{n:01000}") for n in range(12_000)]
    after: list[Row] = [(str(n), f"{n + 1:01000}") for n in range(12_000)]
    for one in (KEYED, table("id", "a")):
        options = Options(memory_bytes=64 << 20, threads=1)
        (found,) = bench.states(Rows((one, before)), Rows((one, after)), options)
        assert found.status is Status.DIFFERENT, found.why
        assert found.changed + found.missing == 12_000


def test_the_same_bytes_at_any_number_of_threads(bench: Bench, tmp_path: Path):
    loose = table("a", "b", name="u")
    before: list[Row] = [(str(n % 700), str(n % 3)) for n in range(3000)]
    after: list[Row] = [(str(n % 701), str(n % 4)) for n in range(3000)]
    written = []
    for threads in (1, 2, 4):
        ledger = bench.states(
            Rows((KEYED, before), (loose, before)),
            Rows((KEYED, after[::-1]), (loose, after[::-1])),
            Options(threads=threads),
        )
        path = tmp_path / f"{threads}.parquet"
        write_parquet(bench.facts, path)
        in_order = bench.facts.execute("FROM divergence").fetchall()
        written.append((diff_document(ledger), path.read_bytes(), in_order))
    assert written[0] == written[1] == written[2]


def test_the_documents(bench: Bench, tmp_path: Path):
    ledger = bench.states(Rows((KEYED, [("1", None)])), Rows((KEYED, [("1", "")])))
    assert diff_document(ledger, backup="b.dump", current="c.dump") == {
        "dbmend": "diff/1",
        "sources": {"backup": "b.dump", "current": "c.dump"},
        "verdict": "different",
        "tables": [
            {
                "table": "public.t",
                "key": ["id"],
                "status": "different",
                "why": "",
                "rows": {"backup": 1, "current": 1},
                "same": 0,
                "changed": 1,
                "missing": 0,
                "extra": 0,
                "unreadable": {"backup": 0, "current": 0},
                "unknown": {"backup": 0, "current": 0},
                "cells": {"a": 1},
                "representation_only": 0,
                "duplicates": {"backup": 0, "current": 0},
                "duplicates_scope": "leftovers",
            }
        ],
        "schema": [],
    }
    path = tmp_path / "it's diff.parquet"
    write_parquet(bench.facts, path)
    read = bench.facts.execute("FROM read_parquet(?)", [str(path)])
    assert read.fetchall() == [("public.t", '{"id":"1"}', "changed", "a", None, "")]
    names = [column[0] for column in read.description or ()]
    assert names == ["table", "key", "kind", "column", "backup", "current"]


def test_comparing_again_replaces_what_was_found(bench: Bench):
    bench.rows(KEYED, [("1", "x")], [("1", "y")])
    bench.rows(KEYED, [("1", "x")], [("1", "y")])
    assert bench.divergences == [changed('{"id":"1"}', "a", "x", "y")]
