"""More than one backup: each is evidence, is loaded, and is laid beside the one that the step log
starts from; a case also stands on the files that steps name."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import jsonschema
import pytest

from recovery.case.documents import schema
from recovery.case.facts import open_facts
from recovery.earlier import Other, compare_others, earlier_json
from recovery.load import load
from recovery.scratch.cluster import Cluster
from recovery.scratch.state import LoadedState
from recovery.sources.detect import open_source
from tests.walked import Dbmend, dbmend, dump

BASE = """
CREATE TABLE public.a (id int PRIMARY KEY, v text, n numeric(6,2), added text);
CREATE TABLE public.bag (x int, y text);
CREATE TABLE public.same (id int PRIMARY KEY);
CREATE TABLE public.only (id int PRIMARY KEY);
INSERT INTO public.a VALUES (1, 'one', 1.50, 'p'), (2, NULL, 2, 'q'), (3, 'three', 3, 'r');
INSERT INTO public.bag VALUES (1, 'x'), (1, 'x'), (2, NULL);
INSERT INTO public.same VALUES (1);
INSERT INTO public.only VALUES (1);
"""
OLDER = """
CREATE TABLE public.a (id int PRIMARY KEY, v text, n numeric(8,3));
CREATE TABLE public.bag (x int, y text);
CREATE TABLE public.same (id int PRIMARY KEY);
INSERT INTO public.a VALUES (1, 'ONE', 1.500), (2, 'two', 2), (4, 'four', 4);
INSERT INTO public.bag VALUES (1, 'x'), (2, NULL), (3, 'z');
INSERT INTO public.same VALUES (1);
"""
THREE = '{"id":"3","v":"three","n":"3.00","added":"r"}'
BROKEN = """
CREATE TABLE public.a (id int PRIMARY KEY, v text, n numeric(6,2), added text);
COPY public.a (id, v, n, added) FROM stdin;
1\tone\tmany\tp
\\.
"""


@pytest.fixture(scope="module")
def facts(
    scratch: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[duckdb.DuckDBPyConnection]:
    folder = tmp_path_factory.mktemp("earlier")
    sides = []
    for name, text in (("backup", BASE), ("backup-2", OLDER), ("backup-3", BROKEN)):
        (folder / f"{name}.sql").write_text(text)
        loaded = load(open_source(folder / f"{name}.sql"), scratch, name)
        taken = datetime(2026, 3, 5 - len(sides), tzinfo=UTC) if name != "backup-3" else None
        sides.append(Other(name, LoadedState(scratch, name, loaded.unloaded), taken))
    with open_facts(folder / "case.duckdb") as connection:
        connection.execute(
            "INSERT INTO divergence VALUES"
            " ('public.a', '{\"id\":\"1\"}', 'changed', 'v', 'one', 'bad'),"
            " ('public.a', '{\"id\":\"2\"}', 'changed', 'n', '2.00', '0.00'),"
            " ('public.a', '{\"id\":\"2\"}', 'changed', 'added', 'q', 'bad'),"
            " ('public.a', '{\"id\":\"3\"}', 'changed', 'v', 'three', 'bad')"
        )
        base, *others = sides
        found = compare_others(base, tuple(others), connection, workspace=folder, progress=Silent())
        connection.execute("CREATE TABLE told (document VARCHAR)")
        connection.execute(
            "INSERT INTO told VALUES (?)", [json.dumps(earlier_json(tuple(others), found))]
        )
        left = sorted(path.name for path in folder.iterdir() if path.suffix != ".sql")
        assert left == ["case.duckdb", "case.duckdb.wal"]
        yield connection
    for name in ("backup", "backup-2", "backup-3"):
        scratch.drop(name)


class Silent:
    def stage(self, name: str, *, total: int = 0) -> None: ...

    def advance(self, amount: int = 1) -> None: ...

    def note(self, text: str) -> None: ...


def test_only_differences_are_kept(facts: duckdb.DuckDBPyConnection) -> None:
    rows = facts.execute("SELECT * FROM earlier ORDER BY ALL").fetchall()
    assert [row for row in rows if row[1] == "public.a"] == [
        ("backup-2", "public.a", '{"id":"1"}', "v", "ONE", "one"),
        ("backup-2", "public.a", '{"id":"2"}', "v", "two", None),
        ("backup-2", "public.a", '{"id":"3"}', "", None, THREE),
        ("backup-2", "public.a", '{"id":"4"}', "", '{"id":"4","v":"four","n":"4.000"}', None),
    ]
    bag = [(row[3], row[4]) for row in rows if row[1] == "public.bag"]
    assert sorted(bag, key=str) == [("", '{"x":"3","y":"z"}'), ("", None)]
    assert {row[1] for row in rows} == {"public.a", "public.bag"}


def test_what_is_not_told_is_not_taken_for_equal(facts: duckdb.DuckDBPyConnection) -> None:
    told = facts.execute("SELECT * FROM earlier_told ORDER BY ALL").fetchall()
    assert told == [
        *(("backup-2", "public.a", column) for column in ("", "id", "n", "v")),
        *(("backup-2", "public.bag", column) for column in ("", "x", "y")),
        *(("backup-2", "public.same", column) for column in ("", "id")),
    ]
    (text,) = facts.execute("SELECT document FROM told").fetchone() or ("",)
    second, third = json.loads(text)["backups"]
    assert [(one["table"], one["status"], one["changed"], one["missing"], one["extra"])
            for one in second["tables"]] == [
        ("public.a", "different", 2, 1, 1),
        ("public.bag", "different", 0, 1, 1),
        ("public.only", "different", 0, 1, 0),
    ]  # fmt: skip
    assert third["tables"][0]["status"] == "not-compared"
    assert [one["there"] for one in third["tables"]] == [True, False, False, False]
    assert "many" not in text


def test_what_every_backup_held(facts: duckdb.DuckDBPyConnection) -> None:
    held = facts.execute(
        'SELECT key, "column", backup, there, value FROM held ORDER BY ALL'
    ).fetchall()
    one, two, three = (f'{{"id":"{number}"}}' for number in (1, 2, 3))
    assert held == [
        (one, "v", "backup", True, "one"),
        (one, "v", "backup-2", True, "ONE"),
        (two, "added", "backup", True, "q"),  # the older one has no such column
        (two, "n", "backup", True, "2.00"),
        (two, "n", "backup-2", True, "2.00"),
        (three, "v", "backup", True, "three"),
        (three, "v", "backup-2", False, None),
    ]
    assert facts.execute("SELECT * FROM earlier_backup ORDER BY taken_at").fetchall() == [
        ("backup-2", "2026-03-04T00:00:00+00:00"),
        ("backup", "2026-03-05T00:00:00+00:00"),
        ("backup-3", None),
    ]


# --- a case ---------------------------------------------------------------------------------------

STATES = (
    ("older", """CREATE TABLE goods (id int PRIMARY KEY, name text, price numeric(8,2));
      CREATE TABLE stock (goods int REFERENCES goods, n int);
      INSERT INTO goods SELECT i, 'g' || i, i FROM generate_series(1, 20) i"""),
    ("backup", "UPDATE goods SET price = price + 1 WHERE id <= 5"),
    ("current", "UPDATE goods SET price = price * 2 WHERE id > 10;"
     " INSERT INTO goods VALUES (21, 'new', 9), (22, 'newer', 8);"
     " UPDATE goods SET price = price - 1 WHERE id <= 5"),
    ("newer", "DELETE FROM stock"),
)  # fmt: skip
STEPS = """\
dbmend: steps/1
covers: complete
steps:
  - id: "1"
    what: Doubled some prices
    sql: UPDATE goods SET price = price * 2 WHERE id > 10
  - id: "2"
    what: New goods
    import: {file: goods.csv, table: goods}
  - id: "3"
    what: Put back what was there
    restore: {source: older.dump, tables: [stock]}
"""


@pytest.fixture(scope="module")
def files(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    scratch.create("backups_walked")
    for name, text in STATES:
        with scratch.connect("backups_walked") as connection:
            connection.execute(text.encode())
        dump(scratch.conninfo("backups_walked", "jail"), folder / f"{name}.dump", "-Fc")
        time.sleep(1.1)  # archives tell their age in seconds
    scratch.drop("backups_walked")
    (folder / "goods.csv").write_text("id,name,price\n21,new,9\n22,newer,8\n")
    (folder / "steps.yaml").write_text(STEPS)
    (folder / "other.sql").write_text("CREATE TABLE public.else (id int);\nSELECT 1, 2, 3;\n")
    (folder / "torn.dump").write_bytes((folder / "older.dump").read_bytes()[:-200])
    (folder / "again.dump").write_bytes((folder / "backup.dump").read_bytes())
    return folder


@pytest.fixture(scope="module")
def runner() -> Iterator[Dbmend]:
    with dbmend() as made:
        yield made


def opening(files: Path, *others: str) -> tuple[object, ...]:
    more = [word for name in others for word in ("--backup", files / name)]
    known = ("--backup", files / "backup.dump", *more, "--current", files / "current.dump")
    return ("open", *known, "--steps", files / "steps.yaml")


def test_a_case_with_several_backups_and_files(files: Path, runner: Dbmend, tmp_path: Path) -> None:
    case = tmp_path / "case"
    opened = runner(*opening(files, "older.dump"), "--case", case)
    assert opened.code == 0, opened.err
    assert "backup-2" in opened.out
    manifest = json.loads((case / "evidence/manifest.json").read_text())
    jsonschema.Draft202012Validator(schema("manifest")).validate(manifest)
    assert [(one["role"], Path(one["path"]).name) for one in manifest["evidence"]] == [
        ("backup", "backup.dump"),
        ("current", "current.dump"),
        ("steps", "steps.yaml"),
        ("import", "goods.csv"),
        ("restore", "older.dump"),
        ("other-backup", "older.dump"),
    ]
    looked = runner("status", case)
    assert "backup-2 (older.dump, taken 20" in looked.out
    assert "not compared yet" in looked.out
    for stage in ("load", "compare", "replay"):
        done = runner(stage, case, *runner.scratch)
        assert done.code in (0, 1), done.err
    assert "backup-2 (older.dump" in runner("status", case).out
    assert "differs from the backup in 5 rows of 1 tables" in runner("status", case).out
    replayed = json.loads((case / "replay.json").read_text())
    assert [(one["step"], one["outcome"], one["rows"], one["complete"])
            for one in replayed["outcomes"]] == [
        ("1", "done", 10, True), ("2", "done", 2, True), ("3", "done", 0, True),
    ]  # fmt: skip
    with open_facts(case / "case.duckdb", read_only=True) as facts:
        slow = facts.execute(
            "SELECT h.key, h.value, h.current FROM held h WHERE backup = 'backup-2'"
            " AND h.value = h.current ORDER BY h.key"
        ).fetchall()
    assert slow == [(f'{{"id":"{i}"}}', f"{i}.00", f"{i}.00") for i in range(1, 6)]
    # The same evidence again resumes; another order of it is another case.
    assert runner(*opening(files, "older.dump"), "--case", case).code == 0
    assert runner(*opening(files), "--case", case).code == 4


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("other.sql", "the other backup is of another database: it has 1 tables, the backup has 2,"
         " and 0 have the same name"),
        ("torn.dump", "the archive is cut off or damaged"),
        ("newer.dump", "after the current data"),
        ("again.dump", "this other backup is the backup once more"),
        ("current.dump", "this other backup is the current data once more"),
        ("gone.dump", "there is no such file"),
    ],
)  # fmt: skip
def test_refusals(files: Path, runner: Dbmend, tmp_path: Path, name: str, said: str) -> None:
    done = runner(*opening(files, name), "--case", tmp_path / "case")
    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "case").exists()
