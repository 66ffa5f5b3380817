"""mangled-values: where it wins, and where it must not be claimed."""

import duckdb
import pytest
from psycopg import sql

from recovery.localize.mangles import MANGLES, cut
from recovery.model import Complaint
from tests.located import located, step

BACKUP = """
CREATE TABLE item (
    id int PRIMARY KEY, code text NOT NULL, barcode text, since date, name text, note text,
    price numeric(10,2) NOT NULL, store int NOT NULL);
INSERT INTO item
SELECT n, lpad((n * 37)::text, 5, '0'), (4600000000000 + n * 7123456)::text,
       date '2026-01-01' + n * 5, 'Деталь ' || n || ' для насоса', ' note ' || n, n * 1.37, n % 3
FROM generate_series(1, 20) AS n;
"""
PRICE = "UPDATE item SET price = 5 WHERE id = 20"
SHEET = """
UPDATE item SET code = ltrim(code, '0'), barcode = regexp_replace(
           btrim(to_char(barcode::numeric, '9.99999EEEE')), '[.]?0*e', 'E'),
       since = CASE WHEN date_part('day', since) <= 12 THEN make_date(2026,
           date_part('day', since)::int, date_part('month', since)::int) ELSE since END,
       note = trim(note)
WHERE id <= 14;
"""


def codes(*left_out: int, last: int = 14, grade: str = "consistent") -> dict[str, tuple[str, str]]:
    return {str(n): (f"{n * 37:05}", grade) for n in range(1, last + 1) if n not in left_out}


def test_a_way_through_a_spreadsheet(scratch, tmp_path):
    """One code was changed before, one afterwards, and nobody wrote it down."""
    happened = f"""
    {PRICE};
    UPDATE item SET code = '00045' WHERE id = 4;
    {SHEET}
    UPDATE item SET code = '00777' WHERE id = 3;
    """
    with located(scratch, tmp_path, BACKUP, happened, [step("1", PRICE)]) as case:
        assert case.faults == [("", "mangled-values")]
        assert dict(case.fault.parameters) == {
            "barcode": "scientific-notation; rows: id 1..14",
            "code": "leading-zeros-lost; rows: id 1..14",
            "since": "day-month-swapped; rows: id 1..14",
            "note": "trimmed; rows: id 1..14",
            "cells": "47",
        }
        found = {
            name: case.targets("public.item", name) for name in ("code", "barcode", "since", "note")
        }
    assert found["code"] == codes(3, 4) | {"4": (None, "undecided")}
    assert found["barcode"] == {
        str(n): (str(4600000000000 + n * 7123456), "stale") for n in range(1, 15)
    }
    assert found["since"] == {
        "1": ("2026-01-06", "consistent"),
        "2": ("2026-01-11", "consistent"),
        "7": ("2026-02-05", "consistent"),
        "8": ("2026-02-10", "consistent"),
        "12": ("2026-03-02", "consistent"),
        "13": ("2026-03-07", "consistent"),
        "14": ("2026-03-12", "consistent"),
    }
    assert found["note"] == {str(n): (f" note {n}", "stale") for n in range(1, 15)}


WORK = f"""
{PRICE};
UPDATE item SET price = round(price), name = upper(name), note = trim(note);
UPDATE item SET code = ltrim(code, '0') WHERE id IN (2, 9, 17);
"""


def test_legitimate_work_that_looks_like_it_is_kept(scratch, tmp_path):
    """Prices rounded, names in capitals, notes tidied up, and three codes changed by hand."""
    with located(scratch, tmp_path, BACKUP, WORK, [step("1", PRICE)]) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])
        assert case.damage("public.item") == []


def test_people_say_that_it_is_wrong(scratch, tmp_path):
    said = [Complaint("public.item", (("id", "7"),), "price")]
    happened = f"{PRICE}; UPDATE item SET price = round(price) WHERE store = 1;"
    with located(scratch, tmp_path, BACKUP, happened, [step("1", PRICE)], complaints=said) as case:
        assert ("", "mangled-values") in [*case.faults, *case.alternatives]
        found = case.targets("public.item", "price")
    assert found == {str(n): (f"{n * 1.37:.2f}", "stale") for n in range(1, 20, 3)}


def test_it_must_lose_against_a_step_that_says_it(scratch, tmp_path):
    logged = "UPDATE item SET code = ltrim(code, '0') WHERE store = 1"
    happened = "UPDATE item SET code = ltrim(code, '0');"
    with located(scratch, tmp_path, BACKUP, happened, [step("1", logged)]) as case:
        assert case.faults == [("1", "missing-where")]


def test_a_complete_log_proves_it_and_a_copy_of_it_is_collateral(scratch, tmp_path):
    copied = "INSERT INTO label SELECT id, name FROM item WHERE id IN (3, 15)"
    backup = BACKUP + "CREATE TABLE label (id int PRIMARY KEY, text text);"
    happened = f"{PRICE}; UPDATE item SET name = left(name, 12); {copied};"
    steps = [step("1", PRICE), step("2", copied)]
    with located(scratch, tmp_path, backup, happened, steps, complete=True) as case:
        assert case.faults == [("", "mangled-values")]
        assert dict(case.fault.parameters)["how"] == "cut to 12"
        found = case.targets("public.item", "name")
        copies = case.targets("public.label", "text")
    right = {n: (f"Деталь {n} для насоса", "proven") for n in range(1, 21)}
    assert found == {str(n): one for n, one in right.items()}
    assert copies == {"3": right[3], "15": right[15]}


@pytest.mark.parametrize("complete", [True, False])
def test_later_steps_worked_on_with_what_was_spoilt(scratch, tmp_path, complete):
    """The names were cut, and then a step put a word behind some of them: it had been there before
    it. What a step had put there before the cut is cut as well."""
    before = "UPDATE item SET name = name || ' !' WHERE id IN (2, 3)"
    after = "UPDATE item SET name = name || ' new' WHERE store = 1"
    happened = f"{before}; UPDATE item SET name = left(name, 12); {after};"
    steps = [step("1", before), step("2", after)]
    with located(scratch, tmp_path, BACKUP, happened, steps, complete=complete) as case:
        assert case.faults == [("", "mangled-values")]
        found = case.targets("public.item", "name")
    assert {n: one for n, (one, _) in found.items()} == {
        str(n): f"Деталь {n} для насоса" + " !" * (n in (2, 3)) + " new" * (n % 3 == 1)
        for n in range(1, 21)
    }
    assert {grade for _, grade in found.values()} == ({"proven"} if complete else {"stale"})


def test_a_trigger_has_noted_when_it_was(scratch, tmp_path):
    """The time that it left in every row overwrote another, and that goes back as well."""
    backup = f"""{BACKUP}
    ALTER TABLE item ADD touched_at timestamptz NOT NULL DEFAULT '2026-02-01 10:00+00';
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.touched_at := now(); RETURN NEW; END $$;
    CREATE TRIGGER touch BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION touch();
    """
    happened = "UPDATE item SET name = left(name, 12) WHERE id > 4;"
    steps = [step("1", PRICE)]
    with located(scratch, tmp_path, backup, f"{PRICE}; {happened}", steps, complete=True) as case:
        assert case.faults == [("", "mangled-values")]
        found = case.targets("public.item", "touched_at")
    assert {n: found.get(n) for n in ("5", "19")} == {
        n: ("2026-02-01 10:00:00+00", "consistent") for n in ("5", "19")
    }
    assert not {"1", "4"} & found.keys()


KNOWN = [
    ("scientific-notation", "123457123456", "1.23457E+11"),
    ("scientific-notation (,)", "00120000000000", "1,2E+11"),
    ("scientific-notation (2)", "4600000000000", "4.60E+12"),
    ("fifteen-digits", "4276550012345678", "4276550012345670"),
    ("leading-zeros-lost", "00042", "42"),
    ("leading-zeros-lost", "000", "0"),
    ("decimal-comma", "-12.5", "-12,5"),
    ("decimal-point", "12,5", "12.5"),
    ("decimal-point-lost", "12,50", "1250"),
    ("digits-grouped", "1234567.50", "1 234 567.50"),
    ("digits-ungrouped", "1 234 567,5", "1234567,5"),
    ("ИСТИНА", "false", "ЛОЖЬ"),
    ("TRUE", "true", "TRUE"),
    ("day-month-swapped", "03.11.2026", "11.03.2026"),
    ("day-month-swapped", "2026-11-03 10:00", "2026-03-11 10:00"),
    ("day-month-swapped", "25.11.2026", "25.11.2026"),
    ("dates-as-numbers", "2026-03-01", "46082"),
    ("not ASCII → ?", "Łukasz", "?ukasz"),
    ("not ASCII → ??", "Ёж", "????"),
    ("not ASCII → U+FFFD", "Ёж", "\ufffd\ufffd"),
    ("not ASCII dropped", "Müller", "Mller"),
    ("not latin-1 → ?", "Müller Łuk", "Müller ?uk"),
    ("not windows-1251 → ?", "Müller Ёж № «1»", "M?ller Ёж № «1»"),
    ("spaces joined", " a   b ", "a b"),
    ("capitals first", "anna-maria", "Anna-Maria"),
    ("nothing → ''", None, ""),
    ("'' → nothing", "", None),
]
NUMBERS = [
    ("rounded to 1", "12.345", "12.3"),
    ("rounded to 1e2", "1251", "1300"),
    ("decimals cut off", "-12.9", "-12"),
    ("decimal-point-lost", "12.50", "125"),
    ("fifteen-digits", "4276550012345678", "4276550012345670"),
    ("six-digits", "123457123456", "123457000000"),
]


@pytest.mark.parametrize(("kind", "pairs"), [("text", KNOWN), ("number", NUMBERS)])
def test_what_the_server_makes_of_values(scratch, database, kind, pairs):
    known = {one.how: one for one in MANGLES if one.kind == kind}
    with scratch.connect(database) as connection:
        made = [
            (how, value, connection.execute(sql.SQL("SELECT concat_ws('', m), m IS NULL FROM"
             " (SELECT {}) AS t (m)").format(known[how].make(_value(value, kind)))).fetchone())
            for how, value, _ in pairs
        ]  # fmt: skip
    assert made == [(how, value, (new or "", new is None)) for how, value, new in pairs]


def _value(value, kind):
    return sql.SQL("({}::{})").format(
        sql.Literal(value), sql.SQL("text" if kind == "text" else "numeric")
    )


def test_dates_of_a_date_column(scratch, database):
    (swap,) = (one for one in MANGLES if one.kind == "time")
    question = "SELECT ({})::date::text, ({})::timestamp::text"
    values = (sql.SQL("'2026-11-03'::date"), sql.SQL("'2026-11-25 10:00'::timestamp"))
    with scratch.connect(database) as connection:
        made = connection.execute(sql.SQL(question).format(*map(swap.make, values))).fetchone()
    assert made == ("2026-03-11", "2026-11-25 10:00:00")
    assert cut(8, inside_words=True).evidence == "batch"


def test_signs_are_read_in_whatever_stands_there():
    odd = [None, "", "0", "-1", "9" * 28 + ".9999999999", "9" * 400, "1e400", "NaN", "infinity",
           "2026-02-31", "abc\n", "Ёж", "?", "\ufffd", "12.50", "1 234,5"]  # fmt: skip
    facts = duckdb.connect()
    facts.execute("CREATE TABLE residue (predicted VARCHAR, current VARCHAR)")
    facts.executemany("INSERT INTO residue VALUES (?, ?)", [[a, b] for a in odd for b in odd])
    for one in MANGLES:
        facts.execute(f"SELECT count(*) FROM residue WHERE {one.sign}")
    rounded = next(one for one in MANGLES if one.how == "rounded to 1")
    facts.execute("DELETE FROM residue")
    pairs = [["1.25", "1.3"], ["1.25", "1.4"], ["1.25", "1.25"]]
    facts.executemany("INSERT INTO residue VALUES (?, ?)", pairs)
    found = facts.execute(f"SELECT current FROM residue WHERE {rounded.sign}").fetchall()
    assert found == [("1.3",)]
