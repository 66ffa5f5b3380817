"""Damage of the structure itself: what is gone, and counters that will give numbers again."""

import pytest

from diffing.model import Column, Key, Ledger, Schema, SchemaDivergence, Table
from recovery.localize.structure import gone, on_purpose
from recovery.model import Sql, Step, StepLog
from recovery.scratch.catalog import read_schema
from recovery.scratch.counters import Counter, counters
from tests.located import located, step
from tests.walked import Shop, dbmend, dump, make_shop

TABLE = SchemaDivergence("table", "public.a", "table (id integer)", "")
COLUMN = SchemaDivergence("column", "public.b.price", "numeric", "")
OTHER = SchemaDivergence("column", "public.b.cost", "numeric", "")
NEW = SchemaDivergence("column", "public.b.note", "", "text")
CHANGED = SchemaDivergence("column", "public.b.kind", "integer", "text")
VIEW = SchemaDivergence("view", "public.dear", "SELECT id FROM b", "")
ON_A = SchemaDivergence("constraint", "public.c.to_a", "FOREIGN KEY (a) REFERENCES a(id)", "")


SCHEMA = Schema(
    tuple(
        Table("public", name, (Column("id", "integer", "integer"),), Key("primary", ("id",)))
        for name in ("a", "b", "old_prices")
    )
)


def lost(*divergences, steps=()):
    log = StepLog(tuple(Step(str(n), n, "", Sql(text)) for n, text in enumerate(steps)))
    found = list(gone(Ledger((), schema=tuple(divergences)), log, SCHEMA, first=3))
    assert len(list(on_purpose(found))) == len(found)
    return [(one.id, one.parameters) for one in found]


CASES = {
    "nothing": ([], []),
    "what is new or changed is not gone": ([NEW, CHANGED], []),
    "a table": ([TABLE], [("F3", (("table", "public.a"),))]),
    "what hangs on a lost table goes with it": (
        [TABLE, ON_A],
        [("F3", (("table", "public.a"),))],
    ),
    "the columns of a table are one fault": (
        [COLUMN, OTHER],
        [("F3", (("table", "public.b"), ("columns", "price, cost")))],
    ),
    "a view": ([VIEW], [("F3", (("objects", "view public.dear"),))]),
    "all at once": (
        [TABLE, COLUMN, VIEW],
        [
            ("F3", (("table", "public.a"),)),
            ("F4", (("table", "public.b"), ("columns", "price"))),
            ("F5", (("objects", "view public.dear"),)),
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_gone(name):
    divergences, found = CASES[name]
    assert lost(*divergences) == found


def test_what_a_step_removed_is_no_fault():
    assert lost(TABLE, steps=["DROP TABLE a"]) == []
    assert lost(COLUMN, steps=["ALTER TABLE b DROP COLUMN price"]) == []
    assert len(lost(COLUMN, steps=["ALTER TABLE b DROP COLUMN prices", "UPDATE b SET price = 1"]))


def laid_to(*divergences, said, taken=()):
    steps = tuple(
        Step(name, 1, text, None, suspect=suspect, actor="Ann") for name, text, suspect in said
    )
    ledger = Ledger((), schema=tuple(divergences))
    faults = list(gone(ledger, StepLog(steps), SCHEMA, first=1, taken=frozenset(taken)))
    assert len(list(on_purpose(faults))) == sum(not one.step for one in faults)
    return [(one.step, one.cause) for one in faults]


def test_what_is_gone_is_laid_to_the_step_in_words_that_somebody_suspects():
    """To one that names it; to one that names nothing, when it is the only one."""
    old = SchemaDivergence("table", "public.old_prices", "table (id integer)", "")
    named, vague = ("4", "Removed the old prices", True), ("5", "Tidied up", True)
    assert laid_to(old, said=[vague, named]) == [("4", "user")]
    assert laid_to(old, said=[vague]) == laid_to(COLUMN, said=[vague]) == [("5", "user")]
    assert laid_to(VIEW, said=[vague]) == [("5", "user")]
    nobody = [("", "unknown")]
    assert laid_to(COLUMN, said=[named]) == nobody
    assert laid_to(old, said=[vague, ("6", "Went home", True)]) == nobody
    assert laid_to(old, said=[("4", "Removed the old prices", False)]) == nobody
    assert laid_to(old, said=[named], taken=["4"]) == nobody


def test_what_steps_did_to_a_column_that_is_gone_was_not_left_out(scratch, tmp_path):
    """Nothing is there that could be as it was before them."""
    backup = """
    CREATE TABLE item (id int PRIMARY KEY, price int, note text);
    CREATE TABLE aside (id int PRIMARY KEY, note text);
    INSERT INTO item SELECT n, n, 'note' FROM generate_series(1, 9) AS n;
    """
    texts = [
        "UPDATE item SET note = 'new', price = price + 1 WHERE id = 3",
        "UPDATE item SET note = 'other' WHERE id = 4",
        "INSERT INTO aside VALUES (1, 'x'), (2, 'y')",
    ]
    steps = [step(str(number), text) for number, text in enumerate(texts, 1)]
    happened = "; ".join([*texts, "ALTER TABLE item DROP COLUMN note; DROP TABLE aside"])
    with located(scratch, tmp_path, backup, happened, steps, complete=True) as case:
        assert case.faults == [("", "dropped-object")] * 2
        assert case.damage("public.item") == case.damage("public.aside") == []
    # A step that was left out is found by what it did to the columns that are there.
    left_out = "; ".join([*texts[1:], "ALTER TABLE item DROP COLUMN note"])
    with located(scratch, tmp_path, backup, left_out, steps, complete=True) as case:
        assert case.faults == [("1", "skipped"), ("", "dropped-object")]
        assert [(one.column, one.target) for one in case.damage("public.item")] == [("price", "4")]


SERIAL = """
CREATE TABLE t (id integer GENERATED BY DEFAULT AS IDENTITY, n smallint);
CREATE TABLE u (id bigserial, s text);
"""


def test_where_counters_stand(scratch, database):
    def seen(*statements):
        with scratch.connect(database) as connection:
            for statement in statements:
                connection.execute(statement.encode())
            return counters(connection, read_schema(connection))

    def told(next_t, highest_t, next_u, highest_u):
        return (
            Counter("public.t_id_seq", "public.t", "id", next_t, highest_t),
            Counter("public.u_id_seq", "public.u", "id", next_u, highest_u),
        )

    assert seen(SERIAL) == told(1, None, 1, None)
    assert seen("INSERT INTO t (n) VALUES (1), (2)") == told(3, 2, 1, None)
    found = seen("INSERT INTO u VALUES (7, 'x')")
    assert found == told(3, 2, 1, 7)
    assert [one.behind for one in found] == [False, True]
    assert not any(one.behind for one in seen("SELECT setval('u_id_seq', 8, false)"))
    assert seen("SELECT setval('u_id_seq', 7)")[1].next == 8


@pytest.mark.parametrize("dropped", [False, True])
def test_the_program_tells(scratch, tmp_path, dropped):
    """The shop once more; its counter was set back, and a table nobody speaks of was dropped."""
    shop = make_shop(scratch, tmp_path)
    database = "structure_shop"
    scratch.create(database)
    try:
        with scratch.connect(database) as connection:
            connection.execute(
                b"CREATE TABLE orders (id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,"
                b" total int); INSERT INTO orders (total) SELECT generate_series(1, 9);"
                b" CREATE TABLE aside (id int PRIMARY KEY)"
            )
        files = tmp_path / "files"
        files.mkdir()
        dump(scratch.conninfo(database, "jail"), files / "backup.sql")
        with scratch.connect(database) as connection:
            connection.execute(b"DROP TABLE aside" if dropped else b"SELECT 1")
            if not dropped:
                connection.execute(b"SELECT setval('orders_id_seq', 3)")
        dump(scratch.conninfo(database, "jail"), files / "current.sql")
    finally:
        scratch.drop(database)
    (files / "steps.yaml").write_text(shop.steps.read_text("utf-8"), "utf-8")
    with dbmend() as run:
        ended = run.assess(Shop(files), tmp_path / "case", "--json")
    faults = [(one["class"], one["parameters"]) for one in ended.document["locate"]["faults"]]
    if dropped:
        assert faults == [("dropped-object", {"table": "public.aside"})]
        assert ended.code == 3
    else:
        behind = {"sequence": "public.orders_id_seq", "next": "4", "highest": "9"}
        assert faults == [("sequence-behind", behind)]
        assert ended.code == 1
