"""What dependency replays would run again, and who is suspected by coverage and by taint."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from psycopg import sql

from benchmarks.dependency import Reach, _depends, _reach, run_again
from benchmarks.suspects import look, rank
from recovery.demo.twin import TableShape
from tests.benched import Bench, plan, webshops

TABLES = (
    TableShape("public.products", sql.Identifier("products"), ("id", "price", "stock"), (0,)),
    TableShape("public.lines", sql.Identifier("lines"), ("id", "product_id", "price"), (0,)),
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with webshops(tmp_path_factory.mktemp("cases")) as made:
        yield made


def reach(text: str, **written: set[str]) -> Reach:
    places = {("public.products", column): keys for column, keys in written.items()}
    return _reach([text], TABLES, places)


def test_reads_are_what_expressions_name_and_rows_are_those_pinned_by_key() -> None:
    one = reach("UPDATE products SET price = price * 2 WHERE id = 7", price={'{"id":"7"}'})
    assert one.reads == {("public.products", name) for name in ("", "price", "id")}
    assert one.rows == {"public.products": frozenset({'{"id":"7"}'})}
    several = reach("UPDATE products p SET stock = 0 WHERE p.id IN (1, 2) AND price > 3")
    assert several.rows["public.products"] == frozenset({'{"id":"1"}', '{"id":"2"}'})
    every = reach("UPDATE products SET stock = 0 WHERE price > 3", stock={'{"id":"7"}'})
    assert every.rows == {"public.products": None}
    joined = reach("INSERT INTO lines SELECT 1, id, price FROM products WHERE id = 9")
    assert ("public.products", "price") in joined.reads
    assert joined.rows["public.products"] == frozenset({'{"id":"9"}'})


def test_an_insert_reads_nothing_of_its_table_and_a_trigger_what_it_writes() -> None:
    keys = {("public.products", "price"): {'{"id":"7"}'}}
    insert = _reach(["INSERT INTO products (id, price) VALUES (7, 1)"], TABLES, keys)
    assert not insert.reads
    moved = _reach(["UPDATE lines SET price = 1 WHERE id = 3"], TABLES, keys)
    assert ("public.products", "price") in moved.reads


def test_steps_of_other_columns_or_other_rows_are_left_alone() -> None:
    seven = frozenset({'{"id":"7"}'})
    dirty = {("public.products", "price"): seven}
    assert _depends(reach("UPDATE products SET stock = price"), dirty, rows=True)
    assert not _depends(reach("UPDATE products SET stock = stock + 1"), dirty, rows=False)
    eight = reach("UPDATE products SET price = price + 1 WHERE id = 8", price={'{"id":"8"}'})
    assert _depends(eight, dirty, rows=False) and not _depends(eight, dirty, rows=True)


def test_rows_never_make_more_steps_run_again(bench: Bench) -> None:
    case = bench.make(plan("missing-where", 0.0, 1))
    columns, both = run_again(case, rows=False), run_again(case, rows=True)
    assert columns is not None and both is not None and 0 < both <= columns <= 1


def test_the_faulty_step_is_looked_for_where_the_log_has_it(bench: Bench) -> None:
    found = look(bench.make(plan("missing-where", 0.0, 1)))
    assert found["coverage of steps (Ochiai)"].rank == 1
    assert found["taint alone"].rank is not None
    assert found["full replay"].again == 1.0
    assert "taint alone" not in look(bench.make(plan("unlogged", 0.0, 1)))
    executed = replace(plan("missing-where", 0.0, 1), mode="executed", complaints="3vf")
    assert look(bench.make(executed))["coverage of steps (Ochiai)"].rank is not None
    assert look(bench.make(plan("legitimate-only", 0.6, 1))) == {}


def test_ties_count_half() -> None:
    scores = {"1": (0.5,), "2": (0.5,), "3": (0.9,), "4": (0.1,)}
    assert [rank(scores, step) for step in "1234"] == [2.5, 2.5, 1.0, 4.0]
