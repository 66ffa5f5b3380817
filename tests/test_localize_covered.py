"""Which tables a log covers. Without this nothing is proven, so whatever contradicts it takes the
whole table out; the nearest thing that does not contradict leaves it in."""

from dataclasses import replace
from pathlib import Path

import pytest

from diffing.model import Key, Schema, Table
from recovery.case.facts import open_facts
from recovery.localize.cells import lay_side_by_side
from recovery.localize.covered import held_whole
from recovery.model import Event, Outcome, Replay, Sql, Step, StepLog, StepOutcome

SCHEMA = Schema(tuple(Table("public", name, (), Key(("id",), "primary")) for name in ("a", "b")))
BOTH = frozenset({"public.a", "public.b"})
STEPS = (Step("1", 1, "", Sql("UPDATE a SET v = 1")), Step("2", 2, "", Sql("UPDATE b SET v = 1")))
DONE = (StepOutcome("1", Outcome.DONE), StepOutcome("2", Outcome.DONE))
LOG = StepLog(STEPS, complete=True)
BASE = Replay("log", DONE)


def covered(log=LOG, base=BASE, *, effects=(), divergences=(), unstable=(), faults=()):
    """Effects are (table, op, column, old, new) of the faulty run, on row 1."""
    facts = open_facts(Path(":memory:"))
    for ordinal, effect in enumerate(effects):
        facts.execute(
            "INSERT INTO effect SELECT 'faulty', '1', ?, ?, '1', ?, ?, ?, ?", [ordinal, *effect]
        )
    for divergence in divergences:
        facts.execute("INSERT INTO divergence SELECT ?, '1', ?, ?, ?, ?", divergence)
    facts.execute('CREATE TEMP TABLE unstable ("table" VARCHAR, "column" VARCHAR)')
    for column in unstable:
        facts.execute("INSERT INTO unstable VALUES ('public.a', ?)", [column])
    lay_side_by_side(facts, target="target", faulty="faulty", fault_act="1")
    return held_whole(log, base, SCHEMA, facts, faults=frozenset(faults))


def test_a_complete_log_covers_every_table():
    assert covered() == BOTH


def test_a_partial_log_covers_what_it_names():
    log = replace(LOG, complete=False)
    assert covered(log) == frozenset()
    assert covered(replace(log, covered=frozenset({"public.b", "public.c"}))) == {"public.b"}


@pytest.mark.parametrize(
    "outcome",
    [StepOutcome("2", Outcome.NOT_REPLAYED), StepOutcome("2", Outcome.DONE, complete=False)],
)
def test_a_step_that_is_not_known_takes_everything_out(outcome):
    assert covered(base=Replay("log", (DONE[0], outcome))) == frozenset()


@pytest.mark.parametrize(
    ("suspect", "action", "faults", "found"),
    [
        (True, None, ["2"], BOTH),
        (True, None, ["1"], frozenset()),
        (False, None, ["2"], frozenset()),
        (True, STEPS[1].action, ["2"], frozenset()),  # of SQL that cannot be run something is meant
    ],
)
def test_a_suspect_step_in_prose_that_is_the_fault_takes_nothing_out(
    suspect, action, faults, found
):
    steps = (STEPS[0], Step("2", 2, "Moved them", action, suspect=suspect))
    base = Replay("log", (DONE[0], StepOutcome("2", Outcome.NOT_REPLAYED)))
    assert covered(replace(LOG, steps=steps), base, faults=faults) == found


def test_a_step_that_failed_takes_nothing_out():
    assert covered(base=Replay("log", (DONE[0], StepOutcome("2", Outcome.FAILED)))) == BOTH


def test_events_and_rows_that_were_not_captured_take_their_tables_out():
    steps = (STEPS[0], Step("2", 2, "", Event("crash", ("public.b",))))
    known = (DONE[0], StepOutcome("2", Outcome.NOT_REPLAYED))
    assert covered(replace(LOG, steps=steps), Replay("log", known)) == {"public.a"}
    assert covered(base=replace(BASE, blind=frozenset({"public.a"}))) == {"public.b"}


UPDATE = ("public.a", "update", "v", "1", "2")
DELETE = ("public.a", "delete", "", "{}", None)
INSERT = ("public.a", "insert", "", None, "{}")
CONTRADICTED = {
    # name: (effects, divergences, does it contradict)
    "a cell as the run left it": ([UPDATE], [("public.a", "changed", "v", "1", "2")], False),
    "a cell otherwise": ([UPDATE], [("public.a", "changed", "v", "1", "3")], True),
    "a cell that no step wrote": ([], [("public.a", "changed", "w", "1", "3")], True),
    "a row that a step deleted": ([DELETE], [("public.a", "missing", "", "{}", None)], False),
    "a row that no step deleted": ([], [("public.a", "missing", "", "{}", None)], True),
    "a row that a step added": ([INSERT], [("public.a", "extra", "", None, "{}")], False),
    "a row that no step added": ([], [("public.a", "extra", "", None, "{}")], True),
    "a row that could not be read": ([], [("public.a", "unreadable", "", None, None)], True),
}


@pytest.mark.parametrize("name", CONTRADICTED)
def test_what_the_log_does_not_explain_takes_its_table_out(name):
    effects, divergences, contradicts = CONTRADICTED[name]
    expected = BOTH - {"public.a"} if contradicts else BOTH
    assert covered(effects=effects, divergences=divergences) == expected


def test_a_clock_contradicts_nothing():
    changed = [("public.a", "changed", "at", "then", "now")]
    assert covered(divergences=changed, unstable=("at",)) == BOTH
    assert covered(divergences=changed) == {"public.b"}
