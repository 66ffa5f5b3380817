"""Step logs: the text a person writes, and exactly what is understood or said about it."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery.case.documents import schema
from recovery.model import (
    Complaint,
    Edit,
    EngineError,
    Event,
    Exit,
    Sql,
    Step,
    StepLog,
)
from recovery.steps.nodes import Scalar, parse_yaml
from recovery.steps.read import examine, problems, read_steps
from recovery.steps.times import in_order

HEAD = "dbmend: steps/1\n"
MOSCOW = timezone(timedelta(hours=3))


def written(folder: Path, text: str, name: str = "s.yaml") -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


def said(folder: Path, text: str) -> list[str]:
    """What is wrong with a log, as printed, with the folder's name left out."""
    path = written(folder, text)
    return [str(problem).replace(f"{folder}/", "") for problem in problems(path)]


CONTRACT = """\
dbmend: steps/1
timezone: Europe/Moscow     # for times without a zone
describes: executed
covers: [public.orders, product]
steps:
  - id: 007
    at: 2026-03-01T14:02:00+03:00
    actor: Иванова
    what: Raised the prices of store 3 by 10 %
    sql: UPDATE product SET price = price * 1.10 WHERE store_id = 3
    transaction: each
    rows: 120
    suspect: true
  - id: "8"
    at: {from: 2026-03-01 15:00, to: 2026-03-01 16:30}
    describes: intended
    edit: {table: orders, key: {id: 12345678901234567890}, set: {total: 500.00, note: null, on: 2026-01-01, t: true}}
  - id: 9
    event: {kind: disk-failure, tables: [public.orders]}
  - id: 10
    what: Told the shop to wait
complaints:
  - {table: public.orders, key: {id: 123}, column: total, should_be: 500.00}
  - {table: public.orders, key: {id: 124}, column: total, should_be: null}
  - {table: public.customer, key: {id: 9}, row: missing}
  - {table: '"we.ird".orders', key: {id: 77}, fine: true}
"""  # noqa: E501

UNDERSTOOD = StepLog(
    steps=(
        Step(
            id="007",
            line=6,
            what="Raised the prices of store 3 by 10 %",
            action=Sql("UPDATE product SET price = price * 1.10 WHERE store_id = 3"),
            at=datetime(2026, 3, 1, 14, 2, tzinfo=MOSCOW),
            actor="Иванова",
            transaction="each",
            rows=120,
            suspect=True,
            describes="executed",
        ),
        Step(
            id="8",
            line=14,
            what="",
            action=Edit(
                "public.orders",
                (("id", "12345678901234567890"),),
                (("total", "500.00"), ("note", None), ("on", "2026-01-01"), ("t", "true")),
            ),
            at=datetime(2026, 3, 1, 15, tzinfo=ZoneInfo("Europe/Moscow")),
            until=datetime(2026, 3, 1, 16, 30, tzinfo=ZoneInfo("Europe/Moscow")),
            describes="intended",
        ),
        Step("9", 18, "", Event("disk-failure", ("public.orders",)), describes="executed"),
        Step("10", 20, "Told the shop to wait", None, describes="executed"),
    ),
    complaints=(
        Complaint("public.orders", (("id", "123"),), "total", "500.00", has_value=True),
        Complaint("public.orders", (("id", "124"),), "total", None, has_value=True),
        Complaint("public.customer", (("id", "9"),), row_missing=True),
        Complaint('"we.ird".orders', (("id", "77"),), fine=True),
    ),
    covered=frozenset({"public.orders", "public.product"}),
)


def test_the_log_of_the_contract_is_understood_whole(tmp_path: Path) -> None:
    path = written(tmp_path, CONTRACT)
    assert read_steps(path) == UNDERSTOOD
    assert examine(path).warnings == ()


def test_json_says_the_same_and_keeps_digits(tmp_path: Path) -> None:
    text = """\ufeff{"dbmend": "steps/1", "covers": "complete",
 "steps": [
\t{"id": 1, "at": "2026-03-01T14:02:00Z", "what": "caf\\u00e9 \\ud83d\\ude00",
   "edit": {"table": "a.b", "key": {"id": 007.0}, "set": {"v": 1e400}}}]}"""
    assert said(tmp_path, text) == ["s.yaml:4: this is no JSON: a value is expected here"]
    text = text.replace("007.0", "12345678901234567890.50")
    assert read_steps(written(tmp_path, text)) == StepLog(
        steps=(
            Step(
                "1",
                3,
                "café 😀",
                Edit("a.b", (("id", "12345678901234567890.50"),), (("v", "1e400"),)),
                datetime(2026, 3, 1, 14, 2, tzinfo=UTC),
            ),
        ),
        complete=True,
    )


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    text = """\
dbmend: steps/1
timezon: Europe/Moscow
describes: wished
covers: [orders, 'a.b.c', {x: 1}]
steps:
  - id: 1
    whta: Raised prices
    sql: |
      UPDATE a SET b = 1;

      UPDTE a SET b = 2;
  - id: 1
    at: 2026-03-01 14:00
    sql: select 1
    edit: {table: orders, key: {}, sett: {a: 1}}
  - id: 2
    at: {from: 2026-03-02T00:00:00Z, to: 2026-03-01T00:00:00Z}
    rows: many
    suspect: yes
    call: {method: GET}
  - id: 3
    transaction: sometimes
    event: powerloss
  - import: {file: a.csv}
  - just text
  - id: 4
  - id: 5
    restore: {source: b.dump}
    tables: [a]
  - id: 6
    sql: |
      select 1;
      \\copy a from b
  - id: 7
    sql: " -- nothing"
complaints:
  - {table: public.orders, key: {id: 1}}
  - {table: public.orders, column: a, row: missing, fine: true}
  - {table: x y, key: [1], column: a, should_be: [1]}
  - {table: a, key: {id: {x: 1}}, should_be: 1}
"""
    assert said(tmp_path, text) == [
        "s.yaml:2: the log: unknown field 'timezon' (did you mean 'timezone'?)",
        "s.yaml:3: the log: 'describes' must be one of intended, executed, unknown, "
        "this is 'wished'",
        "s.yaml:4: the log: 'a.b.c' is no table's name (write schema.table)",
        "s.yaml:4: the log: 'covers' holds names of tables, this is a mapping",
        "s.yaml:7: step 1: unknown field 'whta' (did you mean 'what'?)",
        's.yaml:11: step 1: this SQL cannot be parsed: syntax error at or near "UPDTE"',
        "s.yaml:12: step 1: this id is used already (first in line 6)",
        "s.yaml:13: step 1: '2026-03-01 14:00' has no zone "
        "(write the zone (+03:00), or 'timezone:' at the top of the log)",
        "s.yaml:15: step 1: more than one action: sql, edit (make each a step of its own)",
        "s.yaml:15: step 1, edit: unknown field 'sett' (did you mean 'set'?)",
        "s.yaml:15: step 1, edit: 'set' is missing",
        "s.yaml:15: step 1, edit: 'key' is empty (write {column: value})",
        "s.yaml:17: step 2, at: 'from' is later than 'to' (exchange them)",
        "s.yaml:18: step 2: 'rows' must be a whole number, this is 'many'",
        "s.yaml:19: step 2: 'suspect' must be true or false, this is 'yes'",
        "s.yaml:20: step 2: 'call' is not supported in this version "
        "(write it as sql, or as prose in 'what')",
        "s.yaml:22: step 3: 'transaction' must be one of one, each, none, this is 'sometimes'",
        "s.yaml:23: step 3: 'event' must be one of power-loss, disk-failure, crash, disk-full, "
        "other, this is 'powerloss' (did you mean 'power-loss'?)",
        "s.yaml:24: step 5 of the list: 'id' is missing",
        "s.yaml:24: step 5 of the list, import: 'table' is missing",
        "s.yaml:25: step 6 of the list must be a mapping, this is 'just text'",
        "s.yaml:26: step 4: says nothing "
        "(give it 'what', or one of sql, edit, import, restore, event)",
        "s.yaml:28: step 5, restore: 'tables' is missing",
        "s.yaml:29: step 5: 'tables' belongs to an event",
        "s.yaml:33: step 6: '\\copy' is a command of the psql client, not SQL "
        "(leave it out, keep the statements)",
        "s.yaml:35: step 7: 'sql' holds no statement",
        "s.yaml:37: complaint 1: says nothing (give column, row: missing or fine: true)",
        "s.yaml:38: complaint 2: 'key' is missing",
        "s.yaml:38: complaint 2: give one of should_be, row, fine",
        "s.yaml:39: complaint 3: 'key' must be a mapping, this is a list (write {column: value})",
        "s.yaml:39: complaint 3: 'should_be' is a list (write it as text, in quotes)",
        "s.yaml:40: complaint 4: 'should_be' needs 'column'",
        "s.yaml:40: complaint 4: the value of 'id' is a mapping (write it as text, in quotes)",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "s.yaml: the file is empty (a step log begins with 'dbmend: steps/1')"),
        ("\ufeff \n", "s.yaml: the file is empty (a step log begins with 'dbmend: steps/1')"),
        ("# only\n", "s.yaml: the file is empty (a step log begins with 'dbmend: steps/1')"),
        (
            "steps:\n- {id: 1, what: x}\n",
            "s.yaml:1: the header 'dbmend: steps/1' is missing (begin with 'dbmend: steps/1')",
        ),
        (
            "dbmend: steps/2\nsteps:\n- {id: 1, what: x}\n",
            "s.yaml:1: the log: this version reads 'steps/1', this is 'steps/2'",
        ),
        (HEAD, "s.yaml:1: the log: 'steps' is missing"),
        (HEAD + "steps: []", "s.yaml:2: the log: there are neither steps nor complaints"),
        (HEAD + "steps: 7", "s.yaml:2: the log: 'steps' must be a list, this is '7'"),
        (
            HEAD + "covers: most\nsteps:\n- {id: 1, what: x}\n",
            "s.yaml:2: the log: 'covers' must be partial, complete or a list of tables, "
            "this is 'most'",
        ),
        (
            HEAD + "timezone: Mars/Base\nsteps:\n- {id: 1, what: x, at: 2026-03-01 10:00}\n",
            "s.yaml:2: the log: unknown timezone 'Mars/Base' (such as Europe/Moscow or +03:00)",
        ),
        (
            HEAD + "timezone: Europe/Berlin\nsteps:\n- {id: 1, what: x, at: 2026-03-29 02:30}\n",
            "s.yaml:4: step 1: '2026-03-29 02:30' does not exist: the clocks were put forward "
            "(write the zone)",
        ),
        (
            HEAD + "steps:\n- {id: 1, what: x, at: yesterday}\n",
            "s.yaml:3: step 1: 'yesterday' is no time (such as 2026-03-01T14:02:00+03:00)",
        ),
        (
            HEAD + "steps:\n- {id: 1, what: x, at: 2026-02-30T10:00:00Z}\n",
            "s.yaml:3: step 1: '2026-02-30T10:00:00Z' is no time: day is out of range for month "
            "(such as 2026-03-01T14:02:00+03:00)",
        ),
        (
            HEAD + "timezone: +14:00\nsteps:\n- {id: 1, what: x, at: 9999-12-31}\n",
            "s.yaml:4: step 1: '9999-12-31T00:00:00' is no time of a step: year 9999 "
            "(such as 2026-03-01T14:02:00+03:00)",
        ),
        (HEAD + "steps:\n- {id: '', what: x}\n", "s.yaml:3: step 1 of the list: 'id' is empty"),
        (
            HEAD + "steps:\n- {id: null, what: x}\n",
            "s.yaml:3: step 1 of the list: 'id' must be text, this is empty",
        ),
        (
            HEAD + "steps:\n- {id: 1, what: ' '}\n",
            "s.yaml:3: step 1: says nothing "
            "(give it 'what', or one of sql, edit, import, restore, event)",
        ),
        (
            '{"dbmend": "steps/1",\n"steps": [{"id": 1, "sql": "select \\ud800"}]}',
            "s.yaml:2: the character U+D800 cannot be stored in a database",
        ),
        (
            HEAD + "steps:\n- {id: 1, id: 2, what: x}\n",
            "s.yaml:3: 'id' is given twice (first in line 3)",
        ),
        (
            HEAD + "steps:\n- {id: 1, what: !!python/name:os.system x}\n",
            "s.yaml:3: the tag !!python/name:os.system is not read "
            "(leave it out: values are text)",
        ),
        (
            HEAD + "steps:\n- &a {id: 1, what: x}\n- {id: 2, what: *a}\n",
            "s.yaml:4: the alias *a is not read (write the value out)",
        ),
        (HEAD + "steps:\n\t- id: 1\n", "s.yaml:3: this is no YAML: found character '\\t' that "
         "cannot start any token (indent with spaces, not tabs)"),
        (HEAD + "steps: " + "[" * 40, "s.yaml:2: nested deeper than 16 levels"),
        (HEAD + "---\na: 1", "s.yaml:2: a second document begins here (keep one)"),
        ("[" * 100_000, "s.yaml:1: nested deeper than 16 levels"),
        ('{"dbmend": "steps/1"\n "steps": []}', "s.yaml:2: this is no JSON: ',' or '}' is "
         "expected here"),
        ('{"a": "b', "s.yaml:1: this is no JSON: unterminated string"),
        ('{"dbmend": "steps/1",\n"steps": [{"id": 1, "what": "\\ud800"}]}',
         "s.yaml:2: the character U+D800 cannot be stored in a database"),
        (HEAD + "steps:\n- {id: 1, what: a\x01}\n",
         "s.yaml:3: the character U+0001 is not allowed here"),
    ],
)  # fmt: skip
def test_one_fault(tmp_path: Path, text: str, expected: str) -> None:
    assert said(tmp_path, text) == [expected]


def test_files_that_are_none(tmp_path: Path) -> None:
    assert [str(p) for p in problems(tmp_path / "absent")] == [f"{tmp_path}/absent: no such file"]
    assert [str(p) for p in problems(tmp_path)] == [f"{tmp_path}: this is no file"]
    path = tmp_path / "latin.yaml"
    path.write_bytes(HEAD.encode() + "# é".encode("latin-1"))
    assert [str(p) for p in problems(path)] == [
        f"{path}:2: byte 19 is not UTF-8 (save the file as UTF-8)"
    ]


def test_the_error_lists_every_problem_one_a_line(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + "stepz: 1\n")
    with pytest.raises(EngineError) as caught:
        read_steps(path)
    assert caught.value.code is Exit.UNUSABLE
    assert caught.value.where == str(path)
    assert caught.value.message == (
        "the step log cannot be used: 2 faults\n"
        f"{path}:1: the log: 'steps' is missing\n"
        f"{path}:2: the log: unknown field 'stepz' (did you mean 'steps'?)"
    )


def test_lines_of_sql_in_every_way_of_writing_it(tmp_path: Path) -> None:
    text = HEAD + (
        "steps:\n"
        "- id: 1\n"
        "  sql: |-   # kept as it is\n"
        "    select 'ж',\n"
        "      1 +;\n"
        "- id: 2\n"
        "  sql: >\n"
        "    select 1,\n"
        "    2 +\n"
        "- id: 3\n"
        "  sql: select 'open\n"
        "- id: 4\n"
        "  sql: |\n"
        "    select 1;\n"
        "    select 2 +\n"
    )
    assert said(tmp_path, text) == [
        's.yaml:6: step 1: this SQL cannot be parsed: syntax error at or near ";"',
        "s.yaml:9: step 2: this SQL cannot be parsed: syntax error at end of input",
        "s.yaml:12: step 3: this SQL cannot be parsed: unterminated quoted string "
        'at or near "\'open"',
        "s.yaml:16: step 4: this SQL cannot be parsed: syntax error at end of input",
    ]


def test_a_backslash_inside_a_string_is_no_command(tmp_path: Path) -> None:
    text = HEAD + "steps:\n- id: 1\n  sql: |\n    select '\n    \\d';\n"
    assert said(tmp_path, text) == []


def test_times_decide_the_order_and_contradictions_are_a_warning(tmp_path: Path) -> None:
    text = HEAD + (
        "timezone: +03:00\n"
        "steps:\n"
        "- {id: a, what: x}\n"
        "- {id: b, what: x, at: 2026-03-01 12:00}\n"
        "- {id: c, what: follows b}\n"
        "- {id: d, what: x, at: 2026-03-01 11:00}\n"
        "- {id: e, what: x, at: {from: 2026-03-01 10:00, to: 2026-03-01 13:00}}\n"
        "- {id: f, what: x, at: 2026-03-02}\n"
        "- {id: g, what: x, at: 2026-03-01T10:30:00+00:00}\n"
    )
    reading = examine(written(tmp_path, text))
    assert reading.log is not None
    assert [step.id for step in reading.log.steps] == ["a", "d", "b", "c", "e", "g", "f"]
    assert [f"{one.line}: {one.message} ({one.hint})" for one in reading.warnings] == [
        "7: step d is listed after step b but was done before it (taken in the order of time)",
        "10: step g is listed after step f but was done before it (taken in the order of time)",
    ]
    day = reading.log.steps[-1]
    assert day.at is not None and day.until is not None
    assert day.until - day.at == timedelta(days=1)


def test_an_hour_that_came_twice_is_taken_as_either_with_a_warning(tmp_path: Path) -> None:
    text = HEAD + "timezone: Europe/Berlin\nsteps:\n- {id: 1, what: x, at: 2026-10-25 02:30}\n"
    reading = examine(written(tmp_path, text))
    assert reading.log is not None
    step = reading.log.steps[0]
    assert step.at is not None and step.until is not None
    assert step.at.astimezone(UTC) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert step.until.astimezone(UTC) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert [one.message for one in reading.warnings] == [
        "step 1: '2026-10-25 02:30' came twice: the clocks were put back; taken as either"
    ]


moments = st.integers(0, 40)


@given(st.lists(st.one_of(st.none(), st.tuples(moments, st.integers(0, 10)))))
def test_order_never_contradicts_times_and_keeps_the_list_otherwise(
    times: list[tuple[int, int] | None],
) -> None:
    def at(minutes: int) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)

    steps = tuple(
        Step(str(n), n, "", None)
        if time is None
        else Step(str(n), n, "", None, at(time[0]), at(time[0] + time[1]))
        for n, time in enumerate(times)
    )
    ordered = in_order(steps)
    assert sorted(ordered, key=lambda step: step.line) == list(steps)
    timed = [step for step in ordered if step.at and step.until]
    for position, step in enumerate(timed):
        for later in timed[position + 1 :]:
            assert later.until is not None and step.at is not None
            assert later.until >= step.at
    if all(time is None or time == (5, 5) for time in times):
        assert ordered == steps


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])))
def test_any_text_in_quotes_comes_back_as_it_was(text: str) -> None:
    root, faults = parse_yaml(json.dumps(text, ensure_ascii=True))
    assert faults == ()
    assert root == Scalar(1, text, False, 1, False)


@given(st.text())
def test_nothing_that_is_in_a_file_raises(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("any") / "s"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert examine(path).log is None


def test_the_schema_takes_what_the_reader_takes() -> None:
    check = jsonschema.Draft202012Validator(schema("steps"))
    good = {
        "dbmend": "steps/1",
        "covers": ["a.b"],
        "steps": [
            {"id": 7, "at": {"from": "2026-03-01", "to": "2026-03-02"}, "sql": "select 1"},
            {"id": "8", "edit": {"table": "a.b", "key": {"id": 1}, "set": {"c": None}}},
            {"id": "9", "event": "crash", "tables": ["a.b"]},
        ],
        "complaints": [{"table": "a.b", "key": {"id": 1}, "column": "c", "should_be": 5.0}],
    }
    assert check.is_valid(good)
    assert not check.is_valid({**good, "stepz": []})
    two = {"id": "1", "sql": "select 1", "event": "crash"}
    assert not check.is_valid({**good, "steps": [two]})
    assert not check.is_valid({**good, "steps": [{"id": "1"}]})
