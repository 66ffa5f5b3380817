"""A text that was looked at runs on a target, and its end has a name: applied, already applied,
refused with nothing changed, or unknown."""

import threading

import psycopg
import pytest

from recovery.apply import apply, look
from recovery.model import EngineError, Exit
from tests.scripted import damage
from tests.test_script_shapes import MANY, PARENTS, SHOP


@pytest.fixture
def many(scratch, database):
    return damage(scratch, database, MANY, "UPDATE t SET v = 'x' WHERE id < 5")


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        ("UPDATE t SET v = 'other' WHERE id >= 50", "wrong database: sampled untouched rows"),
        ("ALTER TABLE t ADD COLUMN more int", "the columns of public.t are not those"),
        ("ALTER TABLE t ALTER v TYPE varchar", "the columns of public.t are not those"),
        ("DROP TABLE t", "wrong database: no table public.t"),
    ],
)
def test_another_database_is_refused(many, edit, why):
    repair, _ = many.scripts()
    many.execute(edit)
    done = apply(repair.text, many.dsn())
    assert (done.state, why in done.detail) == ("refused", True), done
    assert look(repair.text, many.dsn()).refusal == done.detail


def test_a_database_that_moved_on_a_little(many):
    repair, _ = many.scripts()
    many.execute("UPDATE t SET v = 'later' WHERE id = 50")
    done = apply(repair.text, many.dsn())
    assert done.state == "applied"
    assert "dbmend: moved on: sampled untouched rows found unchanged: 95 of 96" in done.notices


def test_moved_rows_refuse_the_whole_and_are_named(many):
    repair, _ = many.scripts()
    many.execute("UPDATE t SET v = 'later' WHERE id = 2; DELETE FROM t WHERE id = 3")
    before = many.now()
    seen = look(repair.text, many.dsn())
    done = apply(repair.text, many.dsn())
    assert (seen.ready, seen.done, seen.moved) == (2, 0, 2)
    assert done.state == "refused"
    assert done.detail.split("\n")[1:] == ["public.t 2: moved", "public.t 3: gone"]
    assert many.now() == before


def test_skip_writes_the_rest(many):
    repair, undo = many.scripts(on_moved="skip")
    many.execute("UPDATE t SET v = 'later' WHERE id = 2")
    before = many.now()
    done = apply(repair.text, many.dsn())
    assert (done.state, done.detail) == ("applied", "dbmend: applied: rows written: 3; skipped: 1")
    found = many.now()["public.t"]
    assert [found[f'{{"id":"{n}"}}']["v"] for n in (1, 2, 3, 4)] == ["v1", "later", "v3", "v4"]
    assert apply(repair.text, many.dsn()).state == "already applied"
    assert apply(undo.text, many.dsn()).state == "applied"
    assert many.now() == before


def test_skip_leaves_what_depends_on_a_skipped_row(scratch, database):
    fault = 'DELETE FROM line WHERE "order" IN (7, 8); DELETE FROM "order" WHERE id IN (7, 8)'
    case = damage(scratch, database, SHOP, fault, parents_first=PARENTS)
    repair, _ = case.scripts(on_moved="skip")
    case.execute('INSERT INTO "order" (id, customer, total) VALUES (7, 1, 5)')
    done = apply(repair.text, case.dsn())
    assert (done.state, done.detail) == ("applied", "dbmend: applied: rows written: 3; skipped: 3")
    found = case.now()
    assert [key for key in found["public.line"] if '"order":"7"' in key] == []
    assert found["public.order"]['{"id":"7"}']["total"] == "5.00"


def test_saved_values_are_kept_on_demand(many):
    repair, undo = many.scripts(keep_saved=True)
    assert apply(repair.text, many.dsn()).state == "applied"
    with many.cluster.connect(many.database) as connection:
        query = 'SELECT k1, s1, t1 FROM dbmend_demo."F1-set-cells-public.t" ORDER BY n'
        assert connection.execute(query).fetchall()[0] == ("1", "x", "v1")
    assert apply(undo.text, many.dsn()).state == "applied"


@pytest.mark.parametrize("change", ["SELECT 1;\n{}", "{}SELECT 1;", "\n{}"])
def test_a_changed_text_is_refused(many, change):
    repair, _ = many.scripts()
    with pytest.raises(EngineError) as caught:
        apply(change.format(repair.text) if change[0] != "\n" else "x" + repair.text, many.dsn())
    assert caught.value.code is Exit.REFUSED
    assert many.now() == many.broken


def test_the_password_is_never_shown(many):
    repair, _ = many.scripts()
    for dsn in ("postgresql://u:hush@127.0.0.1:1/x", "postgresql://u:hush@:x/", "password=hush a"):
        with pytest.raises(EngineError) as caught:
            apply(repair.text, dsn)
        assert caught.value.code is Exit.COULD_NOT_TELL
        assert "hush" not in caught.value.message + caught.value.hint
        assert caught.value.__cause__ is None


def test_a_lost_connection_is_an_unknown_end(many):
    repair, _ = many.scripts()
    dsn = many.dsn() + " application_name=victim"
    with psycopg.connect(many.dsn(), autocommit=True) as other:

        def kill():
            query = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted"
            while not other.execute(query).fetchall():
                pass

        with other.transaction(force_rollback=True):
            other.execute("SELECT FROM t WHERE id = 1 FOR UPDATE")
            worker = threading.Thread(target=kill)
            worker.start()
            with pytest.raises(EngineError, match="connection was lost") as caught:
                apply(repair.text, dsn)
            worker.join()
    assert caught.value.code is Exit.COULD_NOT_TELL
    assert many.now() == many.broken
