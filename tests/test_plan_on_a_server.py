"""From damage to a rehearsed script on a real server: three levels of tables, in the order their
foreign keys ask for, with rows in the way left out. The damage is staged by hand."""

import duckdb
import pytest

from diffing.model import Column
from recovery.apply import apply
from recovery.case.facts import SCHEMA
from recovery.model import Assessment, Fault, FaultClass, Grade
from recovery.plan import Catalog, ScratchRows, make_plan
from recovery.rehearse import rehearse
from recovery.scratch.catalog import read_schema
from recovery.script.render import render
from tests.planned import refused, written
from tests.scripted import Damaged, compact, read

SHOP = """
CREATE TABLE customer (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, name text NOT NULL,
    code text);
CREATE UNIQUE INDEX customer_code_key ON customer (code);
CREATE TABLE "order" (id bigserial PRIMARY KEY, customer bigint NOT NULL REFERENCES customer
    ON DELETE CASCADE, total numeric(10,2), doubled numeric GENERATED ALWAYS AS (total * 2) STORED);
CREATE TABLE line ("order" int REFERENCES "order" ON DELETE CASCADE, "no %" numeric, what text,
    PRIMARY KEY ("order", "no %"));
INSERT INTO customer (name, code) SELECT 'c' || g, 'k' || g FROM generate_series(1, 12) g;
INSERT INTO "order" (customer, total) SELECT g, g * 10 FROM generate_series(1, 12) g;
INSERT INTO line SELECT g, n + 0.50, 'w' FROM generate_series(1, 12) g, generate_series(1, 2) n;
"""


def texts(key: dict[str, str | None], columns: tuple[Column, ...]) -> str:
    """As keys are written: numbers without zeros at their end."""
    trimmed = {c.name: key[c.name] for c in columns}
    for column in columns:
        if column.family == "numeric" and "." in (key[column.name] or ""):
            trimmed[column.name] = key[column.name].rstrip("0").rstrip(".")
    return compact(trimmed)


def damaged(cluster, database, fault, later="SELECT 1", *, setup=SHOP):
    """What `fault` did is damage; what was done `later` is not."""
    with cluster.connect(database) as connection:
        connection.execute(setup.encode())
        tables = read_schema(connection).tables
        whole = {table.name: read(connection, table) for table in tables}
        connection.execute(fault.encode())
        hurt = {table.name: read(connection, table) for table in tables}
        connection.execute(later.encode())
        schema = read_schema(connection)
        broken = {table.name: read(connection, table) for table in tables}
    facts = duckdb.connect()
    facts.execute(SCHEMA)
    for table in tables:
        good, bad = whole[table.name], hurt[table.name]
        rows = [(k, "", None, compact(good[k])) for k in good if k not in bad]
        rows += [(k, "", compact(bad[k]), None) for k in bad if k not in good]
        rows += [
            (k, c, bad[k][c], good[k][c])
            for k in good if k in bad for c in good[k] if good[k][c] != bad[k][c]
        ]  # fmt: skip
        for old_key, column, seen, target in rows:
            key = texts({**good, **bad}[old_key], table.key_columns)
            facts.execute(
                "INSERT INTO damage VALUES (?, ?, ?, 'direct', 'F1', '7', 'user',"
                " ?, ?, ?, ?, 'proven', '')",
                [table.name, key, column, target, target, seen, target],
            )
    found = Fault("F1", "7", FaultClass.AS_DESCRIBED, (), 0.9, (), "")
    assessment = Assessment("damaged", (found,), (), (), 0.1, (), (), ())
    counts = {name: len(rows) for name, rows in broken.items()}
    with cluster.connect(database) as connection:
        catalog = Catalog(schema, counts, frozenset(), ScratchRows(connection))
        plan = make_plan(facts, assessment, catalog)
    case = Damaged(cluster, database, schema, facts, plan.groups, whole, broken)
    return plan, case


def rehearsed(case):
    repair, undo = case.scripts()
    found = rehearse(
        repair, undo, case.groups, case.facts, case.cluster, case.database, proposal=True
    )
    assert [check for check in found.checks if not check.passed] == []
    assert case.now() == case.broken


def repaired(case):
    repair, _ = render(case.groups, case.facts, case.schema, case.context())
    assert apply(repair.text, case.dsn()).state == "applied"
    return case.now()


GONE = "DELETE FROM customer WHERE id IN (3, 4, 12)"
CAME = """
INSERT INTO customer (name) VALUES ('x'), ('y');
INSERT INTO "order" (customer, total) VALUES (13, 1), (14, 2), (13, 3);
INSERT INTO line VALUES (13, 1, 'x'), (14, 1.50, 'y'), (14, 2, 'z');
"""


def test_rows_come_back_over_three_levels(scratch, database):
    back = "SELECT setval('customer_id_seq', 5), setval('order_id_seq', 2)"
    plan, case = damaged(scratch, database, GONE, back)
    assert written(plan) == [
        ("G1", "insert-rows", "public.customer", 3),
        ("G2", "insert-rows", "public.order", 3),
        ("G3", "insert-rows", "public.line", 6),
    ]
    assert [group.requires for group in plan.groups] == [(), ("G1",), ("G2",)]
    assert refused(plan) == []
    rehearsed(case)
    assert repaired(case) == case.whole
    with scratch.connect(database) as connection:
        drawn = "SELECT nextval('customer_id_seq'), nextval('order_id_seq')"
        assert connection.execute(drawn).fetchone() == (13, 13)


def test_rows_go_over_three_levels(scratch, database):
    plan, case = damaged(scratch, database, CAME)
    assert written(plan) == [
        ("G1", "delete-rows", "public.line", 3),
        ("G2", "delete-rows", "public.order", 3),
        ("G3", "delete-rows", "public.customer", 2),
    ]
    assert [group.requires for group in plan.groups] == [(), ("G1",), ("G2",)]
    assert refused(plan) == []
    rehearsed(case)
    assert repaired(case) == case.whole


def test_what_later_work_refers_to_stays_and_the_rest_goes(scratch, database):
    later = "INSERT INTO line VALUES (14, 7, 'undocumented'), (15, 7, 'too')"
    plan, case = damaged(scratch, database, CAME, later)
    assert refused(plan) == [
        ("public.customer", 2, "2 rows need others that are not repaired: public.order"),
        (
            "public.order", 2,
            "2 rows that stay refer to what would go: public.line (line_order_fkey)",
        ),
    ]  # fmt: skip
    assert written(plan) == [
        ("G1", "delete-rows", "public.line", 3),
        ("G2", "delete-rows", "public.order", 1),
    ]
    rehearsed(case)
    now = repaired(case)
    assert [row["what"] for row in now["public.line"].values() if row["what"] != "w"] == [
        "undocumented", "too",
    ]  # fmt: skip


def test_what_is_taken_or_has_lost_its_parent_stays_away(scratch, database):
    later = "INSERT INTO customer (name, code) VALUES ('new', 'k3')"
    plan, case = damaged(scratch, database, GONE, later)
    assert refused(plan) == [
        (
            "public.customer", 1,
            "1 row would get a value that another row has now: public.customer (customer_code_key)",
        ),
        ("public.line", 2, "2 rows need others that are not repaired: public.order"),
        ("public.order", 1, "1 row needs others that are not repaired: public.customer"),
    ]  # fmt: skip
    assert [rows for *_, rows in written(plan)] == [2, 2, 4]
    rehearsed(case)
    new = {k: r for k, r in case.broken["public.customer"].items() if r["name"] == "new"}
    expected = {k: r for k, r in case.whole["public.customer"].items() if r["name"] != "c3"} | new
    assert repaired(case)["public.customer"] == expected


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("n = 'x'", ""),
        ("number = DEFAULT", "a column is damaged that only the database itself may number"),
    ],
)
def test_what_only_the_render_refused_is_refused_by_the_plan(scratch, database, fault, reason):
    more = """
    CREATE TABLE t (id int PRIMARY KEY, n text, number int GENERATED ALWAYS AS IDENTITY);
    INSERT INTO t (id, n) VALUES (1, 'a');
    """
    fault = f'UPDATE t SET {fault}; DELETE FROM line WHERE "order" = 5'
    plan, case = damaged(scratch, database, fault, setup=SHOP + more)
    assert refused(plan) == ([("public.t", 1, reason)] if reason else [])
    assert ("insert-rows", "public.line", 2) in [one[1:] for one in written(plan)]
    rehearsed(case)
    assert {group.grade for group in plan.groups} == {Grade.PROVEN}
