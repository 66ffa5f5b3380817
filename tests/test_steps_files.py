"""Steps that name files: CSV that was imported, tables that were put back from another source. Real
files, read as they are, hashed as evidence, replayed like every other step."""

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from recovery.case.documents import schema
from recovery.case.world import Inputs
from recovery.doubts import evidence_of, examined
from recovery.load import load
from recovery.model import Act, EngineError, Exit, Import, Restore, Step, StepLog
from recovery.replay.history import history
from recovery.replay.restored import Restored
from recovery.scratch.catalog import read_schema
from recovery.scratch.cluster import Cluster
from recovery.sources.detect import open_source
from recovery.steps.read import examine, problems, read_steps
from tests.replayed import START, Played, Stage, act, stage, strike

HEAD = "dbmend: steps/1\nsteps:\n"


def log(folder: Path, *steps: str) -> Path:
    path = folder / "steps.yaml"
    path.write_text(HEAD + "".join(f"- {step}\n" for step in steps), encoding="utf-8")
    return path


def said(folder: Path, step: str) -> list[str]:
    path = log(folder, step)
    return [str(problem).replace(f"{folder}/", "") for problem in problems(path)]


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "fields", "expected"),
    [
        # Without columns the first line names them.
        ("id,name\n1,a\n", "", (("id", "name"), True)),
        ("id,name\n1,a\n", ", header: true", (("id", "name"), True)),
        ("1,a\n", ", header: false", ((), False)),
        # With columns it is a heading when it holds just their names.
        ("ID, name\n1,a\n", ", columns: [id, name]", (("id", "name"), True)),
        ("\ufeffid,name\n1,a\n", ", columns: [id, name]", (("id", "name"), True)),
        ("1,a\n", ", columns: [id, name]", (("id", "name"), False)),
        ("name,id\n1,a\n", ", columns: [id, name]", (("id", "name"), False)),
        ("Nr.,Name\n1,a\n", ", columns: [id, name], header: true", (("id", "name"), True)),
        ("id,name\n1,a\n", ", columns: [id, name], header: false", (("id", "name"), False)),
        ("", ", columns: [id, name]", (("id", "name"), False)),
        ('"id","a\nb"\n1,a\n', "", (("id", "a\nb"), True)),
        ("id;name\n1;a\n", ", delimiter: ';'", (("id", "name"), True)),
    ],
)
def test_is_the_first_line_a_row(
    tmp_path: Path, content: str, fields: str, expected: tuple[tuple[str, ...], bool]
) -> None:
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    path = log(tmp_path, f"{{id: 1, import: {{file: a.csv, table: t{fields}}}}}")
    (step,) = read_steps(path).steps
    assert isinstance(step.action, Import)
    assert (step.action.columns, step.action.header) == expected
    assert (step.action.table, step.action.file) == ("public.t", tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("{id: 1, import: {file: no.csv, table: t}}",
         "s.yaml:3: step 1, import: there is no such file: no.csv"
         " (names start at the folder of the step log)"),
        ("{id: 1, import: {file: ., table: t}}",
         "s.yaml:3: step 1, import: this is no file: ."
         " (names start at the folder of the step log)"),
        ("{id: 1, import: a.csv}", "s.yaml:3: step 1: 'import' must be a mapping, this is 'a.csv'"
         " (write {file: …, table: …, columns: […]})"),
        ("{id: 1, import: {file: empty.csv, table: t}}",
         "s.yaml:3: step 1, import: empty.csv: it is empty"),
        ("{id: 1, import: {file: a.csv, table: t}}", "s.yaml:3: step 1, import: a.csv: its first"
         " line names no columns (name the columns in 'columns', or say header: false)"),
        ("{id: 1, import: {file: a.csv, table: t, columns: [a, a]}}",
         "s.yaml:3: step 1, import: 'a' is named twice"),
        ("{id: 1, import: {file: a.csv, table: t, columns: [a], header: maybe}}",
         "s.yaml:3: step 1, import: 'header' must be true or false, this is 'maybe'"),
        ("{id: 1, import: {file: a.csv, table: t, columns: [a], delimiter: '::'}}",
         "s.yaml:3: step 1, import: 'delimiter' must be one character"),
        ("{id: 1, import: {file: cyrillic.csv, table: t}}", "s.yaml:3: step 1, import:"
         " cyrillic.csv: its first line is not UTF8 (say its 'encoding')"),
        ("{id: 1, import: {file: a.csv, table: t, columns: [a], encoding: ASCII}}",
         "s.yaml:3: step 1, import: 'encoding' must be one of UTF8, WIN1251, WIN1252, WIN866,"
         " KOI8R, LATIN1, this is 'ASCII'"),
        ("{id: 1, restore: {source: no.sql, tables: [t]}}",
         "s.yaml:3: step 1, restore: there is no such file: no.sql"
         " (names start at the folder of the step log)"),
        ("{id: 1, restore: {source: a.csv, tables: []}}",
         "s.yaml:3: step 1, restore: 'tables' is empty (name the tables that were restored)"),
        ("{id: 1, restore: {source: a.csv}}", "s.yaml:3: step 1, restore: 'tables' is missing"),
        ("{id: 1, what: x, sql: select 1, import: {file: a.csv, table: t, columns: [a]}}",
         "s.yaml:3: step 1: more than one action: sql, import (make each a step of its own)"),
    ],
)  # fmt: skip
def test_faults_of_files(tmp_path: Path, step: str, expected: str) -> None:
    (tmp_path / "a.csv").write_text("1,,\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "cyrillic.csv").write_bytes("имя,цена\n".encode("cp1251"))
    assert said(tmp_path, step) == [expected.replace("s.yaml", "steps.yaml")]


def test_a_source_is_looked_into_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "old.sql").write_text("CREATE TABLE public.t (id int);\nSELECT 1;\n")
    (tmp_path / "no.sql").write_text("nothing of the kind, but text of some length\n" * 9)
    path = log(
        tmp_path,
        "{id: 1, restore: {source: old.sql, tables: [t]}}",
        "{id: 2, restore: {source: old.sql, tables: [t, gone]}}",
        "{id: 3, restore: {source: no.sql, tables: [t]}}",
    )
    assert examine(path).problems == ()
    told = [str(problem).replace(f"{tmp_path}/", "") for problem in examined(path).problems]
    assert told[0] == "steps.yaml:4: step 2, restore: old.sql has no table public.gone"
    assert told[1].startswith("steps.yaml:5: step 3, restore: no.sql: this is text, but no dump")
    assert examined(path).log is None


def test_files_of_steps_are_evidence(tmp_path: Path) -> None:
    for name in ("b.sql", "c.sql", "a.csv", "old.sql"):
        (tmp_path / name).write_text("id\n")
    path = log(
        tmp_path,
        "{id: 1, import: {file: a.csv, table: t}}",
        "{id: 2, import: {file: a.csv, table: t}}",
        "{id: 3, restore: {source: old.sql, tables: [t]}}",
    )
    inputs = Inputs(tmp_path / "b.sql", tmp_path / "c.sql", path, (tmp_path / "old.sql",))
    assert [(one.role, one.path.name) for one in evidence_of(inputs)] == [
        ("backup", "b.sql"),
        ("current", "c.sql"),
        ("steps", "steps.yaml"),
        ("import", "a.csv"),
        ("restore", "old.sql"),
        ("other-backup", "old.sql"),
    ]


def test_the_schema_takes_what_is_read(tmp_path: Path) -> None:
    check = jsonschema.Draft202012Validator(schema("steps"))
    good = [
        {"file": "a.csv", "table": "t"},
        {"file": "a.csv", "table": "t", "columns": ["a"], "header": True, "delimiter": ";",
         "encoding": "WIN1251"},
    ]  # fmt: skip
    for given in good:
        check.validate({"dbmend": "steps/1", "steps": [{"id": 1, "import": given}]})
    restore = {"source": "old.sql", "tables": ["a"]}
    check.validate({"dbmend": "steps/1", "steps": [{"id": 1, "restore": restore}]})
    for bad in (
        {"id": 1, "restore": restore, "sql": "select 1"},
        {"id": 1, "restore": {"source": "old.sql", "tables": []}},
        {"id": 1, "import": {"file": "a.csv"}},
        {"id": 1, "import": {"file": "a.csv", "table": "t", "encoding": "x"}},
    ):
        assert not check.is_valid({"dbmend": "steps/1", "steps": [bad]})


# --- replaying ------------------------------------------------------------------------------------

BACKUP = """
CREATE TABLE author (id serial PRIMARY KEY, name text NOT NULL, born date);
CREATE TABLE book (id int PRIMARY KEY, author int REFERENCES author ON DELETE CASCADE,
  title text, price numeric(8,2), tax numeric(8,2) GENERATED ALWAYS AS (price * 0.2) STORED);
CREATE TABLE log (id serial PRIMARY KEY, what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO log (what) VALUES (TG_OP || '' '' || TG_NAME); RETURN NULL; END';
CREATE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON author
  FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER off AFTER UPDATE ON author FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE author DISABLE TRIGGER off;
INSERT INTO author (name, born) VALUES ('Anna', '1950-01-01'), ('Boris', NULL), ('Vera', NULL);
INSERT INTO book VALUES (10, 1, 'One', 5.00), (20, 2, 'Two', 6.00), (30, 3, 'Three', NULL);
TRUNCATE log RESTART IDENTITY;
"""
# Of last week: Boris was not there yet, Anna had another name, a column was missing.
OLDER = """
CREATE TABLE public.author (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE public.book (id int PRIMARY KEY, title text, price numeric(8,2), author int);
INSERT INTO public.author VALUES (1, 'Ann'), (3, 'Vera'), (9, 'Zoya');
INSERT INTO public.book VALUES (10, 'One', 5.00, 1), (11, 'More', 7, 9);
"""


@pytest.fixture(scope="module")
def ground(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("files")
    made = stage(scratch, "files_backup", folder, BACKUP)
    (folder / "older.sql").write_text(OLDER)
    load(open_source(folder / "older.sql"), scratch, "restore-1")
    yield made
    strike(made)
    scratch.drop("restore-1")


def acts(ground: Stage, *steps: Step) -> tuple[Act, ...]:
    older = ground.ground.workspace / "older.sql"
    with ground.ground.cluster.connect("restore-1") as connection:
        known = {older: Restored("restore-1", read_schema(connection), {})}
    return history(StepLog(steps), ground.ground.schema, begins=START, sources=known)


def imported(ground: Stage, name: str, content: str, table: str = "author", **more: str) -> Step:
    folder = ground.ground.workspace
    encoding = {"WIN1251": "cp1251"}.get(more.get("encoding", ""), "utf-8")
    (folder / f"{name}.csv").write_bytes(content.encode(encoding))
    fields = "".join(f", {key}: {value}" for key, value in more.items())
    path = log(folder, f"{{id: {name}, import: {{file: {name}.csv, table: {table}{fields}}}}}")
    (step,) = read_steps(path).steps
    return step


def restored(ground: Stage, name: str, *tables: str) -> Step:
    given = Restore(ground.ground.workspace / "older.sql", tuple(f"public.{t}" for t in tables))
    return Step(name, 1, "", given)


def rows(played: Played, table: str) -> list[tuple[str, str, str, str | None, str | None]]:
    return [
        (one[3], ",".join(json.loads(one[2]).values()), one[4], one[5], one[6])
        for one in played.effects
        if one[1] == f"public.{table}" and (one[3] == "update" or one[4] == "")
    ]


def test_imported_rows(ground: Stage) -> None:
    quoted = 'id,title,price\n40,"a ""quoted"", line\nof two",7\n41,,\n42,"",9.999\n'
    played = ground.play(
        *acts(
            ground,
            imported(ground, "new", "name,born\nGleb,1960-02-03\nDina,\n"),
            imported(ground, "odd", quoted, "book"),
            imported(ground, "win", "имя;1970-01-01\n", columns="[name, born]",
                     encoding="WIN1251", delimiter="';'"),
        )
    )  # fmt: skip
    assert played.failures == {}
    assert set(played.complete.values()) == {True}
    assert [json.loads(one[4] or "") for one in rows(played, "author")] == [
        {"id": "4", "name": "Gleb", "born": "1960-02-03"},
        {"id": "5", "name": "Dina", "born": None},
        {"id": "6", "name": "имя", "born": "1970-01-01"},
    ]
    assert [json.loads(one[4] or "") for one in rows(played, "book")] == [
        {"id": "40", "author": None, "title": 'a "quoted", line\nof two', "price": "7.00",
         "tax": "1.40"},
        {"id": "41", "author": None, "title": None, "price": None, "tax": None},
        {"id": "42", "author": None, "title": "", "price": "10.00", "tax": "2.00"},
    ]  # fmt: skip
    assert [one[6] for one in played.effects if one[1] == "public.log" and one[4] == "what"] == [
        "INSERT noted"
    ] * 3
    assert {one.step: one.rows for one in played.replay.outcomes} == {"new": 2, "odd": 3, "win": 1}


def test_a_file_that_the_server_refuses_is_an_outcome(ground: Stage) -> None:
    played = ground.play(
        *acts(
            ground,
            imported(ground, "wide", "id,name\n50,a\n51,b,c\n"),
            imported(ground, "type", "id,born,name\n52,yesterday-ish,x\n"),
            imported(ground, "column", "id,named\n53,a\n"),
            imported(ground, "key", "id,name\n1,again\n"),
            imported(ground, "quote", 'id,name\n54,"open\n'),
            imported(ground, "table", "id\n1\n", "nowhere"),
            imported(ground, "fine", "id,name\n55,ok\n"),
        )
    )
    assert played.failures == {
        "wide": "22P04: extra data after last expected column (line 3)",
        "type": '22007: invalid input syntax for type date: "yesterday-ish" (line 2)',
        "column": '42703: column "named" of relation "author" does not exist',
        "key": '23505: duplicate key value violates unique constraint "author_pkey" (line 2)',
        "quote": "22P04: unterminated CSV quoted field (line 3)",
        "table": '42P01: relation "public.nowhere" does not exist',
    }
    assert [one[:3] for one in rows(played, "author")] == [("insert", "55", "")]
    assert set(played.complete.values()) == {True}


def test_a_file_that_is_gone_is_trouble(ground: Stage) -> None:
    step = imported(ground, "gone", "name\nx\n")
    (ground.ground.workspace / "gone.csv").unlink()
    with pytest.raises(EngineError) as refused:
        ground.play(*acts(ground, step))
    assert refused.value.code is Exit.COULD_NOT_TELL


def test_tables_are_put_back(ground: Stage) -> None:
    """Rows are replaced; no trigger fires, no child is deleted along, and afterwards keys and
    triggers are as they were."""
    played = ground.play(
        *acts(ground, restored(ground, "back", "author")),
        act("insert", "INSERT INTO book VALUES (50, 2, 'orphan', 1)"),
        act("again", "INSERT INTO book VALUES (51, 9, 'fine', 1)"),
        act("touch", "UPDATE author SET name = 'Zoe' WHERE id = 9"),
        act("next", "INSERT INTO author (name) VALUES ('new')"),
        act("gone", "DELETE FROM author WHERE id = 3"),
    )
    assert played.failures == {
        "insert": '23503: insert or update on table "book" violates foreign key constraint'
        ' "book_author_fkey"'
    }
    assert set(played.complete.values()) == {True}
    assert played.outcome("back").rows == 3
    assert [one for one in rows(played, "author") if one[0] != "insert"] == [
        ("update", "1", "name", "Anna", "Ann"),
        ("update", "1", "born", "1950-01-01", None),  # the older state did not know the column
        ("delete", "2", "", '{"id":"2","name":"Boris","born":null}', None),
        ("update", "9", "name", "Zoya", "Zoe"),
        ("delete", "3", "", '{"id":"3","name":"Vera","born":null}', None),
    ]
    assert [one[:2] for one in rows(played, "author") if one[0] == "insert"] == [
        ("insert", "9"), ("insert", "4"),
    ]  # fmt: skip
    assert [one[:2] for one in rows(played, "book")] == [("insert", "51"), ("delete", "30")]
    assert [one[6] for one in played.effects if one[1] == "public.log" and one[4] == "what"] == [
        "UPDATE noted", "INSERT noted", "DELETE noted",
    ]  # fmt: skip


def test_several_tables_and_tables_that_are_not_there(ground: Stage) -> None:
    played = ground.play(
        *acts(
            ground,
            restored(ground, "both", "author", "book"),
            restored(ground, "same", "author", "book"),
            restored(ground, "log", "log"),
            restored(ground, "none", "nowhere"),
            Step("other", 1, "", Restore(Path("else.sql"), ("public.book",))),
        )
    )
    assert {one.step: one.why for one in played.replay.outcomes if one.why} == {
        "log": "older.sql has no table public.log",
        "none": "the backup has no table public.nowhere",
        "other": "else.sql is not loaded",
    }
    assert [one[:2] for one in rows(played, "book")] == [
        ("insert", "11"), ("delete", "20"), ("delete", "30"),
    ]  # fmt: skip
    assert played.of("same") == []
    assert played.complete["both"] and played.complete["same"]
