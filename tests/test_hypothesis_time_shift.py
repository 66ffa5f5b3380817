"""time-shift: where it wins, and where it must not be claimed."""

from datetime import UTC, date, datetime, timedelta

import pytest

from recovery.model import Complaint, Step
from tests.located import START, located, step

BACKUP = """
CREATE TABLE visit (
    id int PRIMARY KEY, room int NOT NULL, starts timestamp NOT NULL, ends timestamp NOT NULL,
    day date NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE reminder (id int PRIMARY KEY, visit int NOT NULL, at timestamp NOT NULL);
INSERT INTO visit
SELECT n, n % 3, d, d + interval '30 min', d::date, d - interval '10 days'
FROM generate_series(1, 15) AS n, LATERAL (
    SELECT timestamp '2026-02-02 09:15' + n * interval '41 hours') AS t (d);
INSERT INTO reminder SELECT id, id, starts - interval '1 day' FROM visit;
"""
ROOM = "UPDATE visit SET room = 7 WHERE id = 2"
FIRST = datetime(2026, 2, 2, 9, 15)


def starts(*rows: int, grade: str = "consistent") -> dict[str, tuple[str, str]]:
    return {str(n): (str(FIRST + timedelta(hours=41 * n)), grade) for n in rows}


def days(*rows: int, grade: str = "consistent") -> dict[str, tuple[str, str]]:
    return {str(n): (str((FIRST + timedelta(hours=41 * n)).date()), grade) for n in rows}


def created(*rows: int, grade: str = "consistent") -> dict[str, tuple[str, str]]:
    moments = {n: FIRST + timedelta(hours=41 * n, days=-10) for n in rows}
    return {str(n): (f"{moment}+00", grade) for n, moment in moments.items()}


def test_it_wins(scratch, tmp_path):
    """Everything was moved by three hours, and dates by a day; then one visit was put off."""
    happened = f"""
    {ROOM};
    UPDATE visit SET starts = starts + interval '3 hours', ends = ends + interval '3 hours',
        day = day + 1, created_at = created_at + interval '3 hours' WHERE id <= 12;
    UPDATE reminder SET at = at + interval '3 hours';
    UPDATE visit SET starts = '2026-09-01 10:00' WHERE id = 5;
    """
    with located(scratch, tmp_path, BACKUP, happened, [step("1", ROOM)]) as case:
        assert case.faults == [("", "time-shift")]
        assert dict(case.fault.parameters) == {
            "public.reminder.at": "+03:00; rows: all",
            "public.visit.starts": "+03:00; rows: id 1..12",
            "public.visit.ends": "+03:00; rows: id 1..12",
            "public.visit.day": "+03:00; rows: id 1..12",
            "public.visit.created_at": "+03:00; rows: id 1..12",
            "cells": "62",
        }
        found = {
            name: case.targets("public.visit", name) for name in ("starts", "day", "created_at")
        }
        reminded = case.targets("public.reminder", "at")
    rows = range(1, 13)
    assert found["starts"] == starts(*rows) | {"5": (None, "undecided")}
    assert (found["day"], found["created_at"]) == (days(*rows), created(*rows))
    assert set(reminded) == {str(n) for n in range(1, 16)}


def test_putting_off_is_legitimate_work(scratch, tmp_path):
    happened = f"""
    {ROOM};
    UPDATE visit SET starts = starts + interval '1 day', ends = ends + interval '1 day',
        day = day + 1;
    UPDATE reminder SET at = at + interval '2 hours' WHERE id <= 9;
    """
    with located(scratch, tmp_path, BACKUP, happened, [step("1", ROOM)]) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])
        assert case.damage("public.visit") == case.damage("public.reminder") == []


def test_people_say_that_it_was_an_import(scratch, tmp_path):
    prose = Step("2", 0, "Loaded visit anew", None, suspect=True, at=START)
    late = "INSERT INTO reminder SELECT 90, id, starts FROM visit WHERE id = 4"
    happened = f"{ROOM}; UPDATE visit SET starts = starts - interval '5 hours'; {late};"
    steps = [step("1", ROOM), prose, step("3", late)]
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert case.faults == [("2", "time-shift")]
        found = case.targets("public.visit", "starts")
        copied = [(one.label, one.target) for one in case.damage("public.reminder")]
    assert found == starts(*range(1, 16))
    assert copied == [("collateral", starts(4)["4"][0])]


def test_summer_and_winter(scratch, tmp_path):
    """Moments were read as times of Berlin. Somebody may have wanted that."""
    backup = """
    CREATE TABLE event (id int PRIMARY KEY, at timestamptz NOT NULL);
    INSERT INTO event SELECT n, timestamptz '2026-01-10 12:00+00' + n * interval '15 days'
    FROM generate_series(1, 14) AS n;
    """
    happened = """
    UPDATE event SET at = at - CASE WHEN at BETWEEN '2026-03-29 02:00+00' AND '2026-10-25'
                               THEN interval '2 hours' ELSE interval '1 hour' END;
    """
    with located(scratch, tmp_path, backup, happened, [step("1", "SELECT 1")]) as case:
        assert case.faults == [("", "time-shift")]
        assert dict(case.fault.parameters)["how"] == "Europe/Berlin → UTC"
        found = case.targets("public.event", "at")
    begin = datetime(2026, 1, 10, 12, tzinfo=UTC)
    assert found == {
        str(n): (f"{begin + timedelta(days=15 * n):%Y-%m-%d %H:%M:%S}+00", "stale")
        for n in range(1, 15)
    }


def test_it_must_lose_against_a_step_that_says_it(scratch, tmp_path):
    logged = "UPDATE visit SET created_at = created_at + interval '3 hours' WHERE room = 1"
    happened = "UPDATE visit SET created_at = created_at + interval '3 hours';"
    with located(scratch, tmp_path, BACKUP, happened, [step("1", logged)]) as case:
        assert case.faults == [("1", "missing-where")]


def test_a_complete_log_proves_it(scratch, tmp_path):
    happened = f"{ROOM}; UPDATE visit SET day = day - 1 WHERE day <= '2026-02-20';"
    steps = [step("1", ROOM)]
    with located(scratch, tmp_path, BACKUP, happened, steps, complete=True) as case:
        assert case.faults == [("", "time-shift")]
        found = case.targets("public.visit", "day")
    assert found == days(*range(1, 11), grade="proven")
    assert date.fromisoformat(found["10"][0]) <= date(2026, 2, 20)


def test_moments_that_the_log_fills_in_too(scratch, tmp_path):
    """New rows get the time of their making, and two old rows had been put right before: the log,
    complete but for the suspect step in prose, still says what each moment should be."""
    put_right = "UPDATE visit SET created_at = created_at + interval '1 min' WHERE id IN (3, 9)"
    late = (
        "INSERT INTO visit (id, room, starts, ends, day)"
        " SELECT 90, 1, starts, ends, day FROM visit WHERE id = 4"
    )
    moved = (
        "UPDATE visit SET created_at = created_at - interval '2 hours' WHERE id BETWEEN 2 AND 13"
    )
    prose = Step("2", 0, "Moved to the new server", None, suspect=True, at=START)
    steps = [step("1", put_right), prose, step("3", late)]
    happened = f"{put_right}; {moved}; {late};"
    with located(scratch, tmp_path, BACKUP, happened, steps, complete=True) as case:
        assert case.faults == [("2", "time-shift")]
        found = case.targets("public.visit", "created_at")
    wanted = created(*range(2, 14))
    for n in (3, 9):
        moment = datetime.fromisoformat(wanted[str(n)][0] + ":00") + timedelta(minutes=1)
        wanted[str(n)] = (f"{moment:%Y-%m-%d %H:%M:%S}+00", "proven")
    assert found == wanted


MADE = "INSERT INTO visit (id, room, starts, ends, day) SELECT {0}, 1, starts, ends, day FROM visit"


@pytest.mark.parametrize("complete", [True, False])
def test_moments_that_the_log_made_were_moved_as_well(scratch, tmp_path, complete):
    """Row 50 has the very time of its step, moved; row 60 that time, as it was made afterwards; of
    row 70 nobody knows when just it was made, and it is left alone or not called exact."""
    made = [MADE.format(n) + " WHERE id = 4" for n in (50, 70, 60)]
    steps = [step(str(n), text) for n, text in enumerate(made, 1)]
    moments = [f"{START + timedelta(minutes=n):%Y-%m-%d %H:%M:%S}+00" for n in (1, 2, 3)]
    at = "UPDATE visit SET created_at = '{1}' WHERE id = {0}"
    happened = f"""
    {made[0]}; {at.format(50, moments[0])};
    {made[1]}; {at.format(70, moments[1])};
    UPDATE visit SET created_at = created_at + interval '0.7 seconds' WHERE id = 70;
    UPDATE visit SET created_at = created_at + interval '3 hours' WHERE id >= 3;
    {made[2]}; {at.format(60, moments[2])};
    """
    said = [] if complete else [Complaint("public.visit", (("id", "4"),), "created_at")]
    with located(
        scratch, tmp_path, BACKUP, happened, steps, complaints=said, complete=complete
    ) as case:
        assert case.faults == [("", "time-shift")]
        found = case.targets("public.visit", "created_at")
    assert found["50"] == (moments[0], "consistent")
    assert "60" not in found
    assert found.get("70", ("", "stale"))[1] in ("stale", "undecided")
    assert found["4"][0] == created(4)["4"][0]


def test_a_row_made_at_another_time_was_not_moved(scratch, tmp_path):
    """Nothing was: the step's clock ran three hours late, and rows came by it."""
    made = [MADE.format(n) + " WHERE id = 4" for n in (50, 51, 52, 53)]
    steps = [step(str(n), text) for n, text in enumerate(made, 1)]
    late = "UPDATE visit SET created_at = '2026-03-01 15:01+00' WHERE id >= 50"
    happened = ";".join([*made, late])
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])
