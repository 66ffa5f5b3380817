"""The decision table of grades and labels: for each the smallest relations that give it, and the
nearest case that must not get it. Absence of evidence never makes a grade."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pytest

from diffing.model import Column, Key, Schema, Table
from recovery.case.facts import open_facts
from recovery.localize import grade as grading
from recovery.localize.cells import contradict, final_values, lay_side_by_side, name_columns
from recovery.localize.statement import Target
from recovery.model import FaultClass
from tests.located import located
from tests.located import step as logged_step

STEP = "7"
RUNS = ("faulty up", "faulty down", "target up", "target down", "target early", "target doubt")


def table(name, *columns):
    made = tuple(Column(one, "text", "text") for one in ("id", *columns))
    return Table("public", name, made, Key(("id",), "primary"))


SCHEMA = Schema((table("item", "v", "w", "at"), table("total", "sum")))
AIM = (Target("update", "public.item", frozenset({"v"})),)


@dataclass(frozen=True)
class Cell:
    """Backup, target run, faulty run, current; who wrote it in the faulty and the target run; and
    what the trials gave for it (faulty: `up`, `down`; target: `t_up`, `t_down`, `early`, `doubt`).
    """

    b: str | None = "100.00"
    t: str | None = "100.00"
    f: str | None = "110.00"
    c: str | None = "110.00"
    column: str = "v"
    table: str = "public.item"
    key: str = "1"
    by: tuple[str, ...] = (STEP,)
    t_by: tuple[str, ...] = ()
    up: str | None = None
    down: str | None = None
    t_up: str | None = None
    t_down: str | None = None
    early: str | None = None
    doubt: str | None = None
    noted: bool = False


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Bench:
    def __init__(self, unstable=()):
        self.facts = open_facts(Path(":memory:"))
        name_columns(self.facts, SCHEMA)
        self.facts.execute('CREATE TEMP TABLE unstable ("table" VARCHAR, "column" VARCHAR)')
        self.facts.execute(
            'CREATE TEMP TABLE steady ("table" VARCHAR, key VARCHAR, "column" VARCHAR)'
        )
        self.facts.execute(
            'CREATE TEMP TABLE recorded ("table" VARCHAR, key VARCHAR, "column" VARCHAR)'
        )
        for column in unstable:
            self.facts.execute("INSERT INTO unstable VALUES ('public.item', ?)", [column])
        for run in RUNS:
            final_values(self.facts, run, known=False)
        self.ordinal = 0

    def effect(self, run, step, table, key, op, column, old, new):
        self.ordinal += 1
        self.facts.execute(
            "INSERT INTO effect VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [run, step, self.ordinal, table, compact({"id": key}), op, column, old, new],
        )

    def divergence(self, table, key, kind, column, backup, current):
        self.facts.execute(
            "INSERT INTO divergence VALUES (?, ?, ?, ?, ?, ?)",
            [table, compact({"id": key}), kind, column, backup, current],
        )

    def cell(self, cell):
        for run, final, steps in (("target", cell.t, cell.t_by), ("faulty", cell.f, cell.by)):
            for step in steps if steps or final == cell.b else ("5",):
                self.effect(run, step, cell.table, cell.key, "update", cell.column, cell.b, final)
        if cell.c != cell.b:
            self.divergence(cell.table, cell.key, "changed", cell.column, cell.b, cell.c)
        trials = (cell.up, cell.down, cell.t_up, cell.t_down, cell.early, cell.doubt)
        for run, value in zip(RUNS, trials, strict=True):
            if value is not None:
                self.facts.execute(
                    "INSERT INTO outcome VALUES (?, ?, ?, ?, ?)",
                    [run, cell.table, compact({"id": cell.key}), cell.column, value],
                )
        if cell.noted:
            self.facts.execute(
                "INSERT INTO recorded VALUES (?, ?, ?)",
                [cell.table, compact({"id": cell.key}), cell.column],
            )

    def row(self, run, step, op, row, *, table="public.item"):
        """The row comes or goes in a run."""
        old, new = (compact(row), None) if op == "delete" else (None, compact(row))
        self.effect(run, step, table, row["id"], op, "", old, new)
        for name, value in row.items():
            old, new = (value, None) if op == "delete" else (None, value)
            self.effect(run, step, table, row["id"], op, name, old, new)

    def judge(
        self,
        *,
        covered=(),
        fault_class=FaultClass.MISSING_WHERE,
        injective=("v",),
        targets=AIM,
        rare=(),
        others=(),
        omitted=(),
        certain=True,
    ):
        """(key, column, label, grade, target) of everything found damaged."""
        lay_side_by_side(self.facts, target="target", faulty="faulty", fault_act=STEP)
        verdicts = grading.Verdicts(
            "F1", STEP, STEP, fault_class, "user", "target", "faulty", targets,
            *map(frozenset, (injective, covered, others, omitted)), certain,
        )  # fmt: skip
        asked = {
            (table, column, value)
            for table, column, values in grading.prepare(self.facts, verdicts)
            for value in values
        }
        grading.grade(self.facts, verdicts, sorted(asked & {tuple(one) for one in rare}))
        return self.facts.execute(
            """SELECT json_extract_string(key, '$.id'), "column", label, grade, target
            FROM damage ORDER BY ALL"""
        ).fetchall()


def judged(*cells, unstable=(), **how):
    bench = Bench(unstable)
    for cell in cells:
        bench.cell(cell)
    return bench.judge(**how)


def one(*cells, **how):
    """Label, grade and target of the only damaged cell."""
    ((_, _, *found),) = judged(*cells, **how)
    return tuple(found)


COVERED = {"covered": ("public.item",)}
LATER = {"by": ("9",), "table": "public.total", "column": "sum"}  # a later, correct step
TELLS = {"up": "111.10", "down": "108.90"}
DEPENDS = {"t_up": "101.00", "t_down": "99.00"}  # the target is what was there before
WRONG = {"fault_class": FaultClass.WRONG_VALUE}
CONSTANT = replace(Cell(f="0.99", c="0.99"), **DEPENDS)
# The log sets 5.00 whatever was there; 9.99 was set.
FIXED = Cell(t="5.00", f="9.99", c="9.99", t_by=(STEP,), t_up="5.00", t_down="5.00", early="5.00")

TABLE = {
    # proven: only where the log covers the table, and the replay gives what is there
    "log complete": (Cell(**TELLS, **DEPENDS), COVERED, ("direct", "proven", "100.00")),
    "log complete, a constant": (CONSTANT, COVERED, ("direct", "proven", "100.00")),
    "log complete for another table": (
        CONSTANT, {"covered": ("public.total",)}, ("direct", "stale", "100.00"),
    ),
    "log complete, another value there": (
        Cell(c="165.00", **TELLS, **DEPENDS), COVERED, ("direct", "undecided", None),
    ),
    "log complete, NULL there": (
        Cell(c=None, **TELLS, **DEPENDS), COVERED, ("direct", "undecided", None),
    ),
    # consistent: the value there tells which one it was made from
    "x 1.10 tells": (Cell(**TELLS, **DEPENDS), {}, ("direct", "consistent", "100.00")),
    "a constant tells nothing": (CONSTANT, {}, ("direct", "stale", "100.00")),
    "no trial could be made": (Cell(), {}, ("direct", "stale", "100.00")),
    "only upwards it tells": (
        Cell(up="111.10", down="110.00", **DEPENDS), {}, ("direct", "stale", "100.00"),
    ),
    "only downwards it tells": (
        Cell(up="110.00", down="108.90", **DEPENDS), {}, ("direct", "stale", "100.00"),
    ),
    "it tells, but is no line": (
        Cell(**TELLS, **DEPENDS), {"injective": ()}, ("direct", "stale", "100.00"),
    ),
    "it tells, and another value is there": (
        Cell(c="165.00", **TELLS, **DEPENDS), {}, ("direct", "undecided", None),
    ),
    # consistent: a record of the former value
    "a record names the former value": (
        replace(CONSTANT, noted=True), {}, ("direct", "consistent", "100.00"),
    ),
    "a record, and another value is there": (
        replace(CONSTANT, noted=True, c="2.00"), {}, ("direct", "undecided", None),
    ),
    # consistent: the target is a constant, and so rare that nobody else wrote what is there
    "the target is fixed and the value rare": (
        FIXED, {**WRONG, "rare": [("public.item", "v", "9.99")]}, (..., "consistent", "5.00"),
    ),
    "the target is fixed and the value common": (FIXED, WRONG, (..., "stale", "5.00")),
    "the value is rare and the target is not fixed": (
        CONSTANT, {"rare": [("public.item", "v", "0.99")]}, ("direct", "stale", "100.00"),
    ),
    # a WHERE that was missing is known only where no undocumented edit could have moved the row
    "an undocumented edit decides whether the row was meant": (
        Cell(early="110.00", **TELLS, **DEPENDS), {}, ("direct", "undecided", None),
    ),
    "the same with a complete log": (
        Cell(early="110.00", **TELLS, **DEPENDS), COVERED, ("direct", "undecided", None),
    ),
    "an undocumented edit changes nothing": (
        Cell(early="100.00", **TELLS, **DEPENDS), {}, ("direct", "consistent", "100.00"),
    ),
    # collateral
    "a later step built on it, and it tells": (
        Cell(**LATER, **TELLS), {}, ("collateral", "consistent", "100.00"),
    ),
    "a later step built on it, and it does not tell": (
        Cell(**LATER), {}, ("collateral", "stale", "100.00"),
    ),
    "a later step built on it, log complete": (
        Cell(**LATER), {"covered": ("public.total",)}, ("collateral", "proven", "100.00"),
    ),
    "a rare value that the doubt does not reach": (
        Cell(**LATER), {"rare": [("public.total", "sum", "110.00")]},
        ("collateral", "consistent", "100.00"),
    ),
    "a rare value that the doubt reaches": (
        Cell(**LATER, t_up="101.00", doubt="101.00"), {"rare": [("public.total", "sum", "110.00")]},
        ("collateral", "stale", "100.00"),
    ),
    "built on it, and changed since": (
        Cell(**LATER, **TELLS, c="7.00"), {}, ("collateral", "undecided", None),
    ),
    # cascade
    "the same step, another column": (
        Cell(column="w", **TELLS), {}, ("cascade", "consistent", "100.00"),
    ),
    "the same step, another table": (
        Cell(table="public.total", column="sum"), {}, ("cascade", "stale", "100.00"),
    ),
    # lost work
    "a documented value was overwritten": (
        Cell(t="105.00", t_by=("5",), f="0.99", c="0.99", by=("5", STEP), early="105.00"),
        COVERED, ("lost-work", "proven", "105.00"),
    ),
    "a documented value was overwritten, log partial": (
        Cell(t="105.00", t_by=("5",), f="0.99", c="0.99", by=("5", STEP), early="105.00",
             t_up="105.00", t_down="105.00"),
        {}, ("lost-work", "stale", "105.00"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_cells(name):
    cell, how, expected = TABLE[name]
    label, *rest = one(cell, **how)
    assert (... if expected[0] is ... else label, *rest) == expected


NOT_DAMAGED = {
    "it holds the target": Cell(c="100.00", **TELLS),
    "both histories agree": Cell(t="110.00", t_by=(STEP,)),
}


@pytest.mark.parametrize("name", NOT_DAMAGED)
@pytest.mark.parametrize("how", [{}, COVERED])
def test_what_is_no_damage(name, how):
    assert judged(NOT_DAMAGED[name], **how) == []


def test_what_another_fault_wrote_is_not_this_ones():
    cells = Cell(by=("8",), **TELLS), replace(Cell(by=("8", STEP), **TELLS), key="2")
    assert judged(*cells, others=("8",)) == [("2", "v", "direct", "consistent", "100.00")]
    assert [found[0] for found in judged(*cells)] == ["1", "2"]


def test_an_outcome_that_contradicts_everything_leaves_no_where_decided():
    bench = Bench()
    bench.cell(Cell(**TELLS))
    lay_side_by_side(bench.facts, target="target", faulty="faulty", fault_act=STEP)
    contradict(bench.facts, "target early")
    assert bench.judge() == [("1", "v", "direct", "undecided", None)]


# --- touched-at -----------------------------------------------------------------------------------

BEFORE, THEN, SOON, MUCH_LATER = (
    f"2026-03-01 {time}+00" for time in ("09:00:00", "14:00:00.5", "14:00:03", "17:00:00")
)
STAMP = Cell(column="at", b=BEFORE, t=BEFORE, f=THEN, c=SOON)


def stamped(*cells, **how):
    return [found[1:4] for found in judged(*cells, unstable=("at",), **how)]


SURE = Cell(**TELLS, **DEPENDS)


def test_a_stamp_of_the_faults_own_time_goes_back_with_its_row():
    assert stamped(SURE, STAMP) == [
        ("at", "cascade", "consistent"), ("v", "direct", "consistent"),
    ]  # fmt: skip


def test_a_stamp_is_never_proven():
    assert stamped(SURE, STAMP, **COVERED) == [
        ("at", "cascade", "consistent"), ("v", "direct", "proven"),
    ]  # fmt: skip


def test_a_stamp_of_a_row_that_is_not_sure_is_stale():
    assert stamped(CONSTANT, STAMP) == [("at", "cascade", "stale"), ("v", "direct", "stale")]


def test_a_stamp_of_a_row_that_somebody_worked_on_is_stale():
    edit = Cell(column="w", b="a", t="a", f="a", c="typed in", by=())
    assert stamped(SURE, STAMP, edit) == [
        ("at", "cascade", "stale"), ("v", "direct", "consistent"),
    ]  # fmt: skip


def test_a_later_stamp_is_somebody_elses():
    assert stamped(SURE, replace(STAMP, c=MUCH_LATER)) == [("v", "direct", "consistent")]


def test_a_stamp_that_a_documented_step_wrote_is_known_only_about():
    then = "2026-03-01 11:00:00+00"
    documented = replace(STAMP, t=then, t_by=("5",), early=then)
    assert stamped(SURE, documented) == [
        ("at", "lost-work", "stale"), ("v", "direct", "consistent"),
    ]  # fmt: skip


@pytest.mark.parametrize(("how", "grade"), [({}, "stale"), (COVERED, "consistent")])
def test_a_stamp_that_was_overwritten_was_the_only_sign_of_the_step(how, grade):
    """The log's clock is exact, and still it may tell of a step that never touched the row."""
    then = "2026-03-01 11:00:00+00"
    documented = replace(STAMP, t=then, t_by=("5",), early=then, c=THEN)
    exact = [
        replace(STAMP, key=str(9 + n), t=THEN, c=THEN, by=(f"s{n}",), t_by=(f"s{n}",))
        for n in range(3)
    ]
    found = stamped(SURE, documented, *exact, **how)
    assert ("at", "lost-work", grade) in found


# --- rows -----------------------------------------------------------------------------------------

ROW = {"id": "1", "v": "a", "w": None, "at": "x"}
DELETES = (Target("delete", "public.item", frozenset()),)
INSERTS = (Target("insert", "public.item", frozenset()),)


def gone(*, there=False, targets=DELETES, before=ROW, edit=None, **how):
    bench = Bench()
    if edit:
        bench.effect("target", "5", "public.item", "1", "update", "v", before["v"], edit)
        bench.effect("faulty", "5", "public.item", "1", "update", "v", before["v"], edit)
    bench.row("faulty", STEP, "delete", {**before, "v": edit or before["v"]})
    if not there:
        bench.divergence("public.item", "1", "missing", "", compact(before), None)
    return bench.judge(targets=targets, **how)


def test_rows_that_are_gone():
    image = compact(ROW)
    assert gone(**COVERED) == [("1", "", "direct", "proven", image)]
    assert gone() == [("1", "", "direct", "stale", image)]
    assert gone(targets=AIM[:0]) == [("1", "", "cascade", "stale", image)]
    assert gone(there=True, **COVERED) == []


def test_a_row_comes_back_with_the_documented_work_on_it():
    assert gone(edit="b", **COVERED) == [("1", "", "direct", "proven", compact({**ROW, "v": "b"}))]


def test_a_documented_row_that_was_deleted_is_lost_work():
    bench = Bench()
    for run in ("target", "faulty"):
        bench.row(run, "5", "insert", ROW)
    bench.row("faulty", STEP, "delete", ROW)
    assert bench.judge(targets=DELETES, **COVERED) == [
        ("1", "", "lost-work", "proven", compact(ROW))
    ]


def added(current=ROW, *, unstable=(), targets=INSERTS, **how):
    bench = Bench(unstable)
    bench.row("faulty", STEP, "insert", ROW)
    if current is not None:
        bench.divergence("public.item", "1", "extra", "", None, compact(current))
    return bench.judge(targets=targets, fault_class=FaultClass.AS_DESCRIBED, **how)


def test_rows_that_a_fault_added():
    assert added(**COVERED) == [("1", "", "direct", "proven", None)]
    assert added() == [("1", "", "direct", "consistent", None)]
    assert added(targets=AIM) == [("1", "", "direct", "consistent", None)]
    assert added(targets=()) == [("1", "", "cascade", "consistent", None)]
    assert added(None, **COVERED) == []


@pytest.mark.parametrize("how", [{}, COVERED])
def test_an_added_row_that_somebody_worked_on_is_undecided(how):
    edited = {**ROW, "v": "typed in"}
    assert added(edited, **how) == [("1", "", "direct", "undecided", None)]


def test_a_wrong_value_in_a_row_that_the_step_made_is_its_own():
    bench = Bench()
    bench.row("target", STEP, "insert", ROW)
    bench.row("faulty", STEP, "insert", {**ROW, "w": "b"})
    bench.divergence("public.item", "1", "extra", "", None, compact({**ROW, "w": "b"}))
    assert bench.judge(targets=INSERTS, **COVERED) == [("1", "w", "direct", "proven", None)]
    bench.facts.execute("DELETE FROM damage")
    assert bench.judge(targets=(), **COVERED) == [("1", "w", "cascade", "proven", None)]


def test_an_added_row_is_not_worked_on_because_its_stamp_differs_by_seconds():
    soon = {**ROW, "at": SOON}
    bench = Bench(("at",))
    bench.row("faulty", STEP, "insert", {**ROW, "at": THEN})
    bench.divergence("public.item", "1", "extra", "", None, compact(soon))
    found = bench.judge(targets=INSERTS, fault_class=FaultClass.AS_DESCRIBED)
    assert found == [("1", "", "direct", "consistent", None)]


# --- what was left undone -------------------------------------------------------------------------

SKIPPED = {"fault_class": FaultClass.SKIPPED, "omitted": (STEP,)}
# The log sets 'paid' (5.00 -> 9.00); nobody did, and the backup's value is still there.
NOT_DONE = Cell(t="9.00", t_by=(STEP,), f="100.00", c="100.00", by=(), early="9.00")

UNDONE = {
    "nothing has written it since": (NOT_DONE, {}, ("omission", "consistent", "9.00")),
    "log complete": (NOT_DONE, COVERED, ("omission", "proven", "9.00")),
    "the class vouches for no column": (
        NOT_DONE, {"injective": ()}, ("omission", "stale", "9.00"),
    ),
    "something else is there": (
        replace(NOT_DONE, c="7.00"), {}, ("omission", "undecided", None),
    ),
    "an undocumented edit decides whether the row was meant": (
        replace(NOT_DONE, early="100.00"), {}, ("omission", "undecided", None),
    ),
    "a later step would have gone on from there": (
        replace(NOT_DONE, t="18.00", t_by=(STEP, "9"), early="18.00"),
        {}, ("omission", "stale", "18.00"),
    ),
    "a later step did go on from the old value": (
        replace(NOT_DONE, t="18.00", t_by=(STEP, "9"), f="200.00", c="200.00", by=("9",),
                early="18.00", **TELLS),
        {}, ("omission", "consistent", "18.00"),
    ),
    "a total that was made from the old value": (
        replace(NOT_DONE, **LATER | TELLS, t_by=("9",), f="200.00", c="200.00"),
        {}, ("collateral", "consistent", "9.00"),
    ),
    "work that nobody wrote down could look like it": (
        NOT_DONE, {"certain": False}, ("omission", "stale", "9.00"),
    ),
    "the same, log complete": (
        NOT_DONE, {"certain": False, **COVERED}, ("omission", "stale", "9.00"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNDONE)
def test_cells_that_should_have_been_written(name):
    cell, how, expected = UNDONE[name]
    assert one(cell, **SKIPPED, **how) == expected


def test_what_another_fault_left_undone_is_not_this_ones():
    assert judged(NOT_DONE, others=(STEP,)) == []


def spared(now=None, *, targets=DELETES, **how):
    """The step should have deleted a row, which is there as in the backup, or else as `now`."""
    bench = Bench()
    bench.row("target", STEP, "delete", ROW)
    for column, value in (now or {}).items():
        bench.divergence("public.item", "1", "changed", column, ROW[column], value)
    how = {**SKIPPED, "injective": ("",), **how}
    found = bench.judge(targets=targets, **how)
    images = bench.facts.execute("SELECT backup, current FROM damage").fetchall()
    return found, images


def test_rows_that_should_have_been_deleted():
    image = compact(ROW)
    assert spared() == ([("1", "", "omission", "consistent", None)], [(image, image)])
    assert spared(**COVERED) == ([("1", "", "omission", "proven", None)], [(image, image)])
    assert spared(injective=()) == ([("1", "", "omission", "stale", None)], [(image, image)])
    assert spared(omitted=()) == ([("1", "", "collateral", "stale", None)], [(image, image)])
    assert spared(others=(STEP,), omitted=()) == ([], [])


def test_a_row_that_should_have_been_deleted_and_was_worked_on_is_undecided():
    found = [("1", "", "omission", "undecided", None)]
    image = compact({**ROW, "w": "typed in"})
    assert spared({"w": "typed in"}) == (found, [(compact(ROW), image)])
    assert spared({"w": "typed in"}, **COVERED) == (found, [(compact(ROW), image)])


def missed(*, row=ROW, unstable=(), came=False, **how):
    """The step should have inserted a row; `came`: it did."""
    bench = Bench(unstable)
    bench.row("target", STEP, "insert", row)
    if came:
        bench.divergence("public.item", "1", "extra", "", None, compact(row))
    return bench.judge(targets=INSERTS, **{**SKIPPED, "injective": ("",), **how})


def test_rows_that_should_have_come():
    image = compact(ROW)
    assert missed() == [("1", "", "omission", "consistent", image)]
    assert missed(**COVERED) == [("1", "", "omission", "proven", image)]
    assert missed(injective=()) == [("1", "", "omission", "stale", image)]
    assert missed(omitted=()) == [("1", "", "collateral", "stale", image)]
    assert missed(came=True, **COVERED) == []


def test_the_time_of_a_row_that_should_have_come_is_known_only_about():
    timed = {**ROW, "at": THEN}
    assert missed(row=timed, unstable=("at",), **COVERED) == [
        ("1", "", "omission", "stale", compact(timed))
    ]


def test_a_text_that_was_set_blindly_tells_nothing_of_the_one_before(scratch, tmp_path):
    """One order had gone on to 'sent' before all were archived, and nobody wrote that down."""
    backup = """
    CREATE TABLE orders (id int PRIMARY KEY, store int NOT NULL, status text NOT NULL);
    INSERT INTO orders SELECT n, n % 2, 'new' FROM generate_series(1, 10) AS n;
    """
    happened = """
    UPDATE orders SET status = 'sent' WHERE id = 2;
    UPDATE orders SET status = 'archived';
    """
    logged = "UPDATE orders SET status = 'archived' WHERE store = 1"
    with located(scratch, tmp_path, backup, happened, [logged_step("1", logged)]) as case:
        found = case.targets("public.orders", "status")
    assert found == {str(n): ("new", "stale") for n in range(2, 11, 2)}


@pytest.mark.parametrize("fraction", ["", ".5", ".12", ".123", ".1234", ".12345", ".123456"])
def test_a_moment_is_read_however_many_digits_it_has(fraction):
    facts = duckdb.connect()
    for macro in grading._MACROS:
        facts.execute(macro)
    shown = f"2026-03-01 10:00:01{fraction}+00"
    found = facts.execute("SELECT agrees(?, '2026-03-01 10:00:03+00', true)", [shown]).fetchone()
    assert found == (True,)
