"""A search that runs out of time says so, and claims nothing of what it did not finish."""

from itertools import count

from recovery.localize import search as searching
from recovery.messages import show
from recovery.model import FaultClass
from tests.located import located, step
from tests.walked import dbmend, make_shop

BACKUP = """
CREATE TABLE a (id int PRIMARY KEY, s int NOT NULL, v numeric(10,2) NOT NULL);
CREATE TABLE b (id int PRIMARY KEY, s int NOT NULL, v numeric(10,2) NOT NULL);
INSERT INTO a SELECT n, n % 3, n * 1.25 FROM generate_series(1, 30) AS n;
INSERT INTO b SELECT n, n % 3, n * 1.75 FROM generate_series(1, 20) AS n;
"""
STEPS = [
    step("1", "UPDATE a SET v = v * 1.1 WHERE s = 1"),
    step("2", "UPDATE b SET v = v + 3 WHERE s = 2"),
]
HAPPENED = "UPDATE a SET v = v * 1.1; UPDATE b SET v = v + 3"
FAULTS = [("1", "missing-where"), ("2", "missing-where")]


def test_two_faults_of_one_case(scratch, tmp_path):
    with located(scratch, tmp_path, BACKUP, HAPPENED, STEPS) as case:
        assert case.faults == FAULTS
        assert not case.located.cut_short
        assert len(case.targets("public.a", "v")) == 20
        assert len(case.targets("public.b", "v")) == 13


def test_without_any_time_nothing_is_claimed(scratch, tmp_path):
    with located(scratch, tmp_path, BACKUP, HAPPENED, STEPS, time_is_up=lambda: True) as case:
        assert (case.located.verdict, case.faults, case.located.cut_short) == (
            "inconclusive", [], True
        )  # fmt: skip
        assert case.damage("public.a") == case.damage("public.b") == []


def test_what_a_finished_round_found_stands(scratch, tmp_path, monkeypatch):
    """Time for the two suppositions of the first round, and no more."""
    only = searching.BY_CLASS[FaultClass.MISSING_WHERE]
    monkeypatch.setattr(searching, "DEVIATIONS", (only,))
    asked = count()
    with located(
        scratch, tmp_path, BACKUP, HAPPENED, STEPS, time_is_up=lambda: next(asked) >= 2
    ) as case:
        assert case.faults == FAULTS[:1]
        assert case.located.cut_short
        said = [show(one, "en") for one in case.located.does_not_prove]
        assert any("The time for the search was up" in one for one in said)
        assert len(case.damage("public.a")) == 20
        assert case.damage("public.b") == []


def test_the_program_says_it_and_goes_on_later(scratch, tmp_path):
    shop = make_shop(scratch, tmp_path)
    case = tmp_path / "case"
    with dbmend() as run:
        ended = run.assess(shop, case, "--budget", "0.001s")
        assert (ended.code, "The time for the search was up" in ended.out) == (3, True)
        assert run.assess(shop, case).code == 1
        told = run("assess", "--budget", "soon")
    assert told.code == 2
    assert "'soon' is no time: give seconds, or 90s, 10m, 2h" in " ".join(told.err.split())
