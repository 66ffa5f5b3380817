"""A body that is not what was planned is found by reading it again."""

import re

import pytest

from recovery.model import EngineError, Exit
from recovery.script.read_back import read_back
from recovery.script.staged import writes_of
from tests.scripted import damage
from tests.test_script_shapes import FAULTS, PARENTS, SHOP

# Each takes a right body and gives a wrong one; the expectation is what is said about it.
WRONG = {
    "another table": (
        lambda body: body.replace('UPDATE ONLY "public"."line"', 'UPDATE ONLY "public"."order"'),
        "another table",
    ),
    "another column": (lambda body: body.replace('SET "what" =', 'SET "no" ='), "other columns"),
    "no guard": (
        lambda body: re.sub(
            r"(UPDATE ONLY \"public\".\"line\".*?before = 'ready'\n)   AND .*?;",
            r"\1;", body, flags=re.DOTALL,
        ),
        "no guard",
    ),
    "no count": (
        lambda body: body.replace("GET DIAGNOSTICS dbmend_count = ROW_COUNT;", ""),
        "not counted",
    ),
    "one write more": (
        lambda body: body.replace(
            "SET CONSTRAINTS ALL IMMEDIATE;", 'DELETE FROM "public"."line";\nSET CONSTRAINTS ALL '
            "IMMEDIATE;",
        ),
        "an unplanned write",
    ),
    "a statement more": (
        lambda body: body.replace("COMMIT;", "DROP TABLE t;\nCOMMIT;"),
        "not last",
    ),
    "a statement in the block": (
        lambda body: body.replace(
            "SET CONSTRAINTS ALL IMMEDIATE;", "TRUNCATE t;\nSET CONSTRAINTS ALL IMMEDIATE;"
        ),
        "unplanned truncate_stmt",
    ),
    "dynamic SQL": (
        lambda body: body.replace("RETURN;", "EXECUTE 'DROP TABLE t'; RETURN;"),
        "dynamic SQL",
    ),
    "no lock": (lambda body: re.sub(r"LOCK TABLE .*\n", "", body, count=1), "locks"),
    "another value": (lambda body: body.replace("'w')", "'W')", 1), "a staged value differs"),
    "a row less": (
        lambda body: re.sub(r"\(\d+, '\d+', '\d+', 'z', 'w'\),\n", "", body, count=1),
        "a staged value differs",
    ),
}  # fmt: skip


@pytest.fixture
def case(scratch, database):
    return damage(scratch, database, SHOP, FAULTS["all at once"], parents_first=PARENTS)


def test_every_wrong_body_is_found(case):
    context = case.context()
    right, _ = case.scripts()
    writes = writes_of(case.groups, case.facts, case.schema, inverse=False)

    def read(body):
        read_back(body, writes, case.facts, case.schema, context, undo=False)

    read(right.body)
    for name, (spoil, why) in WRONG.items():
        body = spoil(right.body)
        assert body != right.body, name
        with pytest.raises(EngineError, match=why) as caught:
            read(body)
        assert caught.value.code is Exit.BUG
