"""Writes in the order that constraints ask for, on every shape of table, and nothing besides."""

from dataclasses import replace

import pytest

from recovery.apply import apply
from recovery.model import EngineError, Exit
from recovery.scratch.catalog import read_schema
from recovery.script.header import body_digest
from tests.scripted import damage

SHOP = """
CREATE TABLE customer (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, name text NOT NULL,
    boss int REFERENCES customer, code text UNIQUE);
CREATE TABLE "order" (id serial PRIMARY KEY, customer int NOT NULL REFERENCES customer
    ON DELETE CASCADE, total numeric(10,2), doubled numeric GENERATED ALWAYS AS (total * 2) STORED);
CREATE TABLE line ("order" int REFERENCES "order" ON DELETE CASCADE, no int, what text,
    PRIMARY KEY ("order", no));
INSERT INTO customer (name, boss, code)
    SELECT 'c' || g, nullif(g / 2, 0), 'k' || g FROM generate_series(1, 40) g;
INSERT INTO "order" (customer, total) SELECT g, g * 10 FROM generate_series(1, 40) g;
INSERT INTO line SELECT g, n, 'w' FROM generate_series(1, 40) g, generate_series(1, 2) n;
"""
PARENTS = ("public.customer", "public.order", "public.line")


def repaired(case, **options):
    """Applied, found whole, applied again, undone: each with the whole state compared."""
    repair, undo = case.scripts(**options)
    assert apply(repair.text, case.dsn()).state == "applied"
    assert case.now() == case.whole
    assert apply(repair.text, case.dsn()).state == "already applied"
    assert case.now() == case.whole
    assert apply(undo.text, case.dsn()).state == "applied"
    assert case.now() == case.broken
    assert apply(undo.text, case.dsn()).state == "already applied"


FAULTS = {
    "cells": 'UPDATE "order" SET total = total + 1 WHERE id < 30',
    "different cells of different rows": "UPDATE customer SET name = 'x' WHERE id < 9; "
    "UPDATE customer SET code = NULL WHERE id BETWEEN 5 AND 12",
    "a subtree is gone": "DELETE FROM customer WHERE boss >= 9; DELETE FROM customer WHERE id = 39",
    "rows too many": "INSERT INTO customer (name) VALUES ('x'), ('y'); "
    'INSERT INTO "order" (customer, total) VALUES (41, 1), (42, 2); '
    "INSERT INTO line VALUES (41, 1, 'x'), (42, 1, 'y')",
    "all at once": "DELETE FROM \"order\" WHERE id = 7; UPDATE line SET what = 'z'; "
    "INSERT INTO customer (name, boss) VALUES ('x', 41)",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_foreign_keys(scratch, database, fault):
    repaired(damage(scratch, database, SHOP, FAULTS[fault], parents_first=PARENTS))


SWAPS = {
    "swap": "UPDATE u SET {c} = CASE id WHEN 1 THEN {two} ELSE {one} END WHERE id < 3",
    "cycle of three, other cells too": "UPDATE u SET v = 'x'; "
    "UPDATE u SET {c} = CASE id WHEN 1 THEN {two} WHEN 2 THEN {three} ELSE {one} END WHERE id < 4",
}


@pytest.mark.parametrize("swap", SWAPS)
@pytest.mark.parametrize("column", ["nullable text", "text not null", "int not null"])
def test_unique_values_change_places(scratch, database, swap, column):
    number = "int" in column
    kind = column.removeprefix("nullable ")
    values = ["1", "2", "3"] if number else ["'a'", "'b'", "'c'"]
    words = dict(zip(("one", "two", "three"), values, strict=True), c="c")
    rows = ", ".join(f"({n}, {value}, 'v')" for n, value in enumerate(values, start=1))
    setup = f"CREATE TABLE u (id int PRIMARY KEY, c {kind}, v text); INSERT INTO u VALUES {rows};"
    unique = "ALTER TABLE u ADD CONSTRAINT once UNIQUE (c);"
    fault = SWAPS[swap].format(**words) + ";" + unique
    repaired(damage(scratch, database, setup, fault))


def test_cycles_through_deferrable_constraints(scratch, database):
    setup = """
    CREATE TABLE a (id int PRIMARY KEY, b int NOT NULL);
    CREATE TABLE b (id int PRIMARY KEY, a int NOT NULL REFERENCES a DEFERRABLE);
    ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE INITIALLY DEFERRED;
    BEGIN; INSERT INTO a SELECT g, g FROM generate_series(1, 9) g;
    INSERT INTO b SELECT g, g FROM generate_series(1, 9) g; COMMIT;
    """
    fault = "BEGIN; SET CONSTRAINTS ALL DEFERRED; DELETE FROM a WHERE id = 3; "
    fault += "DELETE FROM b WHERE id = 3; INSERT INTO a VALUES (20, 20); "
    fault += "INSERT INTO b VALUES (20, 20); COMMIT"
    repaired(damage(scratch, database, setup, fault))


def test_tables_without_key(scratch, database):
    setup = "CREATE TABLE log (a int, b text); INSERT INTO log VALUES (1, 'x'), (1, 'x'), (1, 'x'),"
    setup += "(2, NULL), (2, NULL), (3, '');"
    case = damage(
        scratch, database, setup,
        "DELETE FROM log WHERE ctid IN (SELECT min(ctid) FROM log GROUP BY a HAVING a < 3);"
        "INSERT INTO log VALUES (3, ''), (4, 'n'), (4, 'n')",
    )  # fmt: skip
    repaired(case)


def test_partitions_and_inheritance(scratch, database):
    setup = """
    CREATE TABLE p (id int, d date, v text, PRIMARY KEY (id, d)) PARTITION BY RANGE (d);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE TABLE p2 (v text, d date NOT NULL, id int NOT NULL);
    ALTER TABLE p ATTACH PARTITION p2 DEFAULT;
    INSERT INTO p SELECT g, date '2026-01-25' + g, 'v' FROM generate_series(1, 20) g;
    CREATE TABLE base (id int PRIMARY KEY, v text);
    CREATE TABLE derived (PRIMARY KEY (id)) INHERITS (base);
    INSERT INTO base VALUES (1, 'a'), (2, 'b'); INSERT INTO derived VALUES (1, 'c'), (3, 'd');
    """
    fault = "UPDATE p SET v = 'x' WHERE id % 2 = 0; DELETE FROM p WHERE id IN (3, 13); "
    fault += "INSERT INTO p VALUES (99, '2026-01-02', 'n'); UPDATE base SET v = 'x'"
    repaired(damage(scratch, database, setup, fault))


TRIGGERS = """
CREATE TABLE t (id int PRIMARY KEY, v text, touched int DEFAULT 0);
CREATE TABLE audit (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text);
INSERT INTO t SELECT g, 'v' FROM generate_series(1, 20) g;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.touched := NEW.touched + 1; RETURN NEW; END $$;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.audit (what) VALUES (TG_OP); RETURN NULL; END $$;
CREATE FUNCTION eat() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$;
"""
FIRED = "CREATE TRIGGER touch BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch();"
FIRED += "CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW "
FIRED += "EXECUTE FUNCTION note();"
QUIET = "ALTER TABLE t DISABLE TRIGGER USER; {} ALTER TABLE t ENABLE TRIGGER touch; "
QUIET += "ALTER TABLE t ENABLE ALWAYS TRIGGER note"


def test_named_triggers_are_off_meanwhile_and_get_their_mode_back(scratch, database):
    fault = QUIET.format("UPDATE t SET v = 'x'; DELETE FROM t WHERE id = 9;")
    case = damage(scratch, database, TRIGGERS + FIRED, fault, disabled=("touch", "note"))
    repaired(case)
    with scratch.connect(database) as connection:
        found = connection.execute(
            "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
        ).fetchall()
    assert found == [("note", "A"), ("touch", "O")]


def test_a_trigger_that_undoes_the_repair_is_noticed(scratch, database):
    eaten = "CREATE TRIGGER eat BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION eat()"
    case = damage(scratch, database, TRIGGERS, "UPDATE t SET v = 'x' WHERE id < 9;" + eaten)
    repair, _ = case.scripts()
    done = apply(repair.text, case.dsn())
    assert (done.state, "did not reach their target" in done.detail) == ("refused", True)
    assert case.now() == case.broken


def test_a_missing_trigger_refuses(scratch, database):
    case = damage(
        scratch, database, TRIGGERS + FIRED, QUIET.format("UPDATE t SET v = 'x';"),
        disabled=("touch", "note"),
    )  # fmt: skip
    repair, _ = case.scripts()
    case.execute("DROP TRIGGER note ON t")
    assert apply(repair.text, case.dsn()).state == "refused"
    assert case.now() == case.broken


def test_no_cascade_that_nobody_planned(scratch, database):
    fault = "INSERT INTO customer (name) VALUES ('x')"
    case = damage(scratch, database, SHOP, fault, parents_first=PARENTS)
    repair, _ = case.scripts()
    case.execute('INSERT INTO "order" (customer, total) VALUES (41, 5)')
    before = case.now()
    done = apply(repair.text, case.dsn())
    assert (done.state, "rows still refer to deleted ones" in done.detail) == ("refused", True)
    assert case.now() == before


def test_sequences_go_forward_only(scratch, database):
    fault = 'DELETE FROM line; DELETE FROM "order" WHERE id > 20; '
    case = damage(
        scratch, database, SHOP, fault + """SELECT setval('order_id_seq', 20)""",
        parents_first=PARENTS,
    )  # fmt: skip

    def position():
        with scratch.connect(database) as connection:
            return connection.execute("SELECT last_value, is_called FROM order_id_seq").fetchone()

    repair, undo = case.scripts()
    assert apply(repair.text, case.dsn()).state == "applied"
    assert position() == (40, True)
    assert apply(undo.text, case.dsn()).state == "applied"
    assert position() == (40, True)
    case.execute("SELECT setval('order_id_seq', 1000)")
    assert apply(repair.text, case.dsn()).state == "applied"
    assert position() == (1000, True)


# --- what no script can do ----------------------------------------------------------------------

MANY = "CREATE TABLE t (id int PRIMARY KEY, v text); "
MANY += "INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 100) g"


@pytest.fixture
def many(scratch, database):
    return damage(scratch, database, MANY, "UPDATE t SET v = 'x' WHERE id < 5")


def test_cells_of_rows_without_key_are_refused(scratch, database):
    case = damage(scratch, database, MANY, "UPDATE t SET v = 'x' WHERE id = 1")
    case.execute("ALTER TABLE t DROP CONSTRAINT t_pkey")
    with scratch.connect(database) as connection:
        case.schema = read_schema(connection)
    with pytest.raises(EngineError, match="no key") as caught:
        case.scripts()
    assert caught.value.code is Exit.REFUSED


def test_a_staged_relation_that_is_not_the_plan_is_our_bug(many):
    many.facts.execute('DELETE FROM staged WHERE key = \'{"id":"1"}\'')
    with pytest.raises(EngineError, match="the plan counts 4 rows, 3 staged") as caught:
        many.scripts()
    assert caught.value.code is Exit.BUG


def test_same_input_same_bytes(many):
    first, again = many.scripts(), many.scripts(title=("Another\r\nDROP TABLE t;",))
    assert [script.body for script in first] == [script.body for script in again]
    assert "\r" not in again[0].header
    assert body_digest(again[0].text) == again[0].digest == first[0].digest


def test_triggers_of_several_groups_and_deferred_constraints(scratch, database):
    """Each group names the triggers of its own event; ALTER TABLE must not meet pending checks."""
    setup = TRIGGERS + FIRED
    setup += "ALTER TABLE t ADD up int DEFAULT 1 REFERENCES t DEFERRABLE INITIALLY DEFERRED;"
    fault = QUIET.format("COMMIT; UPDATE t SET v = 'x'; DELETE FROM t WHERE id > 15; COMMIT;")
    case = damage(scratch, database, setup, fault, disabled=("touch", "note"))
    case.groups = tuple(
        replace(group, operation=replace(group.operation, disabled_triggers=("note",)))
        if group.operation.op == "insert-rows"
        else group
        for group in case.groups
    )
    repaired(case)
