"""double-encoding: where it wins, and where it must not be claimed."""

import pytest

from recovery.localize.hypotheses.double_encoding import likely, readings
from recovery.messages import show
from recovery.model import Step
from tests.located import START, located, step

NAMES = (
    "Иванов",
    "Петрова Анна",
    "Müller",
    "Ёжиков",
    "Smith",
    "Сидоренко",
    "Кузнецова",
    "Бойко",
    "Żak",
    "Орлова",
)
BACKUP = f"""
CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL, phone text, branch int NOT NULL);
CREATE TABLE card (id int PRIMARY KEY, person int NOT NULL, owner text NOT NULL);
INSERT INTO person SELECT n, x, '+7' || n * 1111, n % 2
FROM unnest(ARRAY{list(NAMES)!r}) WITH ORDINALITY AS t (x, n);
"""
PHONE = "UPDATE person SET phone = '112' WHERE id = 5"
CARDS = "INSERT INTO card SELECT id, id, name FROM person WHERE id IN (1, 2, 5)"


def garbled(encoding: str, where: str = "true") -> str:
    changed = f"convert_from(convert_to(name, 'UTF8'), '{encoding}')"
    return f"UPDATE person SET name = {changed} WHERE {where};"


def right(*left_out: int, grade: str = "consistent") -> dict[str, tuple[str, str]]:
    """Names that are not plain ASCII, but for these rows."""
    return {
        str(n): (name, grade)
        for n, name in enumerate(NAMES, 1)
        if not name.isascii() and n not in left_out
    }


def test_it_wins(scratch, tmp_path):
    """One was renamed before, one afterwards, and nobody wrote it down."""
    happened = f"""
    {PHONE};
    UPDATE person SET name = 'Бойко-Ким' WHERE id = 8;
    {garbled("KOI8R")}
    UPDATE person SET name = 'Сидоров' WHERE id = 6;
    INSERT INTO person VALUES (50, convert_from(convert_to('Попов', 'UTF8'), 'KOI8R'), '', 1),
        (51, 'Титов', '', 0);
    """
    with located(scratch, tmp_path, BACKUP, happened, [step("1", PHONE)]) as case:
        assert case.faults == [("", "double-encoding")]
        assert dict(case.fault.parameters) == {
            "table": "public.person",
            "column": "name",
            "how": "utf-8 → koi8-r",
            "rows": "all",
            "cells": "7",
        }
        found = case.targets("public.person", "name")
        asked = {one.id: (one.rows, show(one.text, "en")) for one in case.located.questions}
    assert asked["F1-newer-name"] == (
        1,
        "1 texts in rows of public.person that are newer than the backup look the same;"
        " п÷п╬п©п╬п╡ would have been Попов. Are they damaged too?",
    )
    assert found == right(6, 8) | {"8": (None, "undecided")}


def test_some_rows_are_good_and_later_steps_copied_what_was_bad(scratch, tmp_path):
    """Every change is in the log but the one that an import made."""
    prose = Step("2", 0, "Loaded the table person from a file", None, suspect=True, at=START)
    happened = f"{PHONE}; {garbled('WIN866', 'branch = 1')} {CARDS}"
    steps = [step("1", PHONE), prose, step("3", CARDS)]
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert case.faults == [("2", "double-encoding")]
        assert dict(case.fault.parameters)["rows"] == "branch = 1"
        found = case.targets("public.person", "name")
        copied = [(one.key, one.label, one.target) for one in case.damage("public.card")]
    assert found == right(2, 4, 6, 8, 10)
    assert copied == [('{"id":"1"}', "collateral", "Иванов")]


def test_a_restore_fires_no_triggers(scratch, tmp_path):
    """Of three tables one has a record of every change: it shows that none was recorded."""
    backup = (
        BACKUP
        + """
    CREATE TABLE record (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, person int);
    CREATE FUNCTION record() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN INSERT INTO record (person) VALUES (NEW.id); RETURN NEW; END';
    CREATE TRIGGER record AFTER UPDATE ON person FOR EACH ROW EXECUTE FUNCTION record();
    """
    )
    happened = f"""
    ALTER TABLE person DISABLE TRIGGER record; {garbled("KOI8R")}
    ALTER TABLE person ENABLE TRIGGER record; {PHONE}
    """
    with located(scratch, tmp_path, backup, happened, [step("1", PHONE)]) as case:
        assert case.faults == [("", "double-encoding")]
        assert case.targets("public.person", "name") == right()
        assert case.damage("public.record") == []


def test_what_was_lost_on_the_way_is_only_in_the_backup(scratch, tmp_path):
    """И has a byte that windows-1251 does not know."""
    happened = """
    UPDATE person SET name = translate(convert_from(convert_to(name, 'UTF8'), 'LATIN1'), (
        SELECT string_agg(chr(n), '' ORDER BY n) FROM generate_series(128, 255) n), (
        SELECT string_agg(CASE n WHEN 152 THEN '?' ELSE convert_from(
            decode(to_hex(CASE n WHEN 152 THEN 63 ELSE n END), 'hex'), 'WIN1251') END, ''
            ORDER BY n) FROM generate_series(128, 255) n));
    """
    backup = BACKUP + "UPDATE person SET name = 'Илья ' || name WHERE id IN (2, 3, 4);"
    with located(scratch, tmp_path, backup, happened, [], covered=["public.card"]) as case:
        assert case.faults == [("", "double-encoding"), ("", "double-encoding")]
        found = case.targets("public.person", "name")
    lost = {str(n): (f"Илья {NAMES[n - 1]}", "stale") for n in (2, 3, 4)}
    assert found == right() | lost | {"1": ("Иванов", "stale")}


@pytest.mark.parametrize(
    ("logged", "happened"),
    [
        # Only these are new names, and somebody put texts right that had been wrong before.
        (PHONE, "UPDATE person SET name = name || ' (ушёл)' WHERE id IN (1, 3, 4, 6, 7);"),
        ("UPDATE person SET name = upper(name)", "UPDATE person SET name = upper(name);"),
    ],
)
def test_legitimate_work_is_kept(scratch, tmp_path, logged, happened):
    with located(scratch, tmp_path, BACKUP, happened, [step("1", logged)]) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])
        assert case.damage("public.person") == []


def test_texts_that_were_put_right_are_no_damage(scratch, tmp_path):
    backup = BACKUP + garbled("KOI8R")
    happened = "UPDATE person SET name = convert_from(convert_to(name, 'KOI8R'), 'UTF8');"
    with located(scratch, tmp_path, backup, happened, [step("1", PHONE)]) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


def test_it_must_lose_against_a_step_that_says_it(scratch, tmp_path):
    """The log says that the names of one branch were to be read anew; all were."""
    logged = garbled("KOI8R", "branch = 1").rstrip(";")
    with located(scratch, tmp_path, BACKUP, garbled("KOI8R"), [step("1", logged)]) as case:
        assert case.faults == [("1", "missing-where")]
        assert set(case.targets("public.person", "name")) == {"2", "4", "6", "8", "10"}


def test_a_complete_log_proves_it(scratch, tmp_path):
    happened = f"{PHONE}; {garbled('LATIN1', 'id < 8')}"
    steps = [step("1", PHONE)]
    with located(scratch, tmp_path, BACKUP, happened, steps, complete=True) as case:
        assert case.faults == [("", "double-encoding")]
        assert dict(case.fault.parameters)["rows"] == "id 1..7"
        assert case.targets("public.person", "name") == right(8, 9, 10, grade="proven")


@pytest.mark.parametrize("reading", list(readings()), ids=str)
def test_every_reading_is_recognised(reading):
    pairs = [(one, reading.of(one)) for one in NAMES if one != reading.of(one)]
    found = likely(pairs)
    assert reading in found or [found[0].of(old) for old, _ in pairs] == [new for _, new in pairs]
    back = [reading.back(new) == old for old, new in pairs]
    assert all(back) or reading.lost or reading.written != "utf-8"
