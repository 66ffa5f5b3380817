"""Of several faults only those are kept that are needed beside the others."""

from recovery.deviation import Insert
from recovery.localize import search as searching
from recovery.localize.hypothesis import Candidate, Hypothesis
from recovery.localize.statement import Target
from recovery.model import Act, FaultClass
from tests.located import START, located
from tests.test_localize_budget import BACKUP, FAULTS, HAPPENED, STEPS


def test_two_faults_that_are_both_needed_stay(scratch, tmp_path):
    with located(scratch, tmp_path, BACKUP, HAPPENED, STEPS) as case:
        assert case.faults == FAULTS


def class_of(*statements):
    """A class that supposes one of these statements in each round, behind all acts."""

    def propose(scene):
        number = len(scene.taken - {""})
        if number < len(statements):
            name, text = f"~{number}", statements[number]
            yield Candidate(
                FaultClass.UNLOGGED, "", name, (), text,
                (Insert(scene.history[-1].id, Act(name, (text,), START)),), (), 3.0,
                (Target("update", "public.a", frozenset({"v"})),),
            )  # fmt: skip

    return Hypothesis(FaultClass.UNLOGGED, propose, lambda *_: "told")


def test_a_fault_that_a_later_one_explains_as_well_goes(scratch, tmp_path, monkeypatch):
    """First a few of the rows are explained, then all of them at once, whatever they held."""
    supposed = class_of("UPDATE a SET v = 7 WHERE id < 9", "UPDATE a SET v = 7")
    monkeypatch.setattr(searching, "DEVIATIONS", (supposed,))
    monkeypatch.setitem(searching.BY_CLASS, FaultClass.UNLOGGED, supposed)
    happened = f"{STEPS[0].action.text}; UPDATE a SET v = 7"
    with located(scratch, tmp_path, BACKUP, happened, STEPS[:1]) as case:
        assert [one.statement for one in case.located.faults] == ["UPDATE a SET v = 7"]
        assert len(case.damage("public.a")) == 30


def test_faults_that_explain_different_rows_stay(scratch, tmp_path, monkeypatch):
    supposed = class_of("UPDATE a SET v = 7 WHERE id < 9", "UPDATE a SET v = 8 WHERE id > 20")
    monkeypatch.setattr(searching, "DEVIATIONS", (supposed,))
    monkeypatch.setitem(searching.BY_CLASS, FaultClass.UNLOGGED, supposed)
    happened = f"{STEPS[0].action.text}; UPDATE a SET v = CASE WHEN id < 9 THEN 7 ELSE 8 END"
    happened += " WHERE id < 9 OR id > 20"
    with located(scratch, tmp_path, BACKUP, happened, STEPS[:1]) as case:
        found = {one.statement for one in case.located.faults}
    assert found == {"UPDATE a SET v = 7 WHERE id < 9", "UPDATE a SET v = 8 WHERE id > 20"}
