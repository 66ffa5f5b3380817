"""Statements that differ in their constants only are read once, and read as each would be."""

from pathlib import Path

from recovery.replay.whatif.reads import Reader
from recovery.replay.whatif.relations import read_relations
from recovery.replay.whatif.shapes import Shapes
from recovery.scratch.catalog import read_schema
from recovery.scratch.cluster import Cluster
from tests.any_objects import make_schema
from tests.histories import SHARED, make_case
from tests.replayed import stage, strike

TABLES = """
CREATE TABLE t (id int PRIMARY KEY, n numeric(8,2), s text, d date, b bigint UNIQUE);
CREATE TABLE u (id serial PRIMARY KEY, t int REFERENCES t, s varchar(9));
"""
STATEMENTS = (
    "UPDATE t SET n = n + 5 WHERE id = 7",
    "UPDATE t SET n = n + 15.5 WHERE id = 8",
    "UPDATE t SET n = n + 2.5 WHERE id = 900",
    "UPDATE t SET n = 1.5 WHERE id = 9.0",
    "UPDATE t SET n = 2.5 WHERE id = 10.0",
    "UPDATE t SET n = 2.5 WHERE id = 10.5",
    "UPDATE t SET s = 'a' WHERE s = 'b' AND d = '2026-01-02'",
    "UPDATE t SET s = 'c' WHERE s = 'd' AND d = '2026-01-03'",
    "UPDATE t SET s = 'c' WHERE s = 'd' AND d = 'today'",
    "UPDATE t SET s = 'it''s' WHERE s = 'it''s'",
    "UPDATE t SET s = 'itis' WHERE s = 'o''s'",
    "UPDATE t SET s = 'x' WHERE id IN (1, 2, 3)",
    "UPDATE t SET s = 'y' WHERE id IN (4, 5, 6)",
    "UPDATE t SET s = 'y' WHERE n > 5",
    "UPDATE t SET s = 'y' WHERE n > 6",
    "UPDATE t SET s = 'y' WHERE id = -5",
    "UPDATE t SET s = 'y' WHERE id = -6",
    "UPDATE t SET s = 'y' WHERE id = '7'",
    "UPDATE t SET s = 'y' WHERE id = '08'",
    "INSERT INTO u (t, s) VALUES (1, 'x')",
    "INSERT INTO u (t, s) VALUES (2, 'y')",
    "INSERT INTO t (id, n) VALUES (2, 3) ON CONFLICT (id) DO UPDATE SET n = 4 WHERE t.id = 2",
    "INSERT INTO t (id, n) VALUES (3, 4) ON CONFLICT (id) DO UPDATE SET n = 5 WHERE t.id = 3",
    "INSERT INTO u (t, s) SELECT id, s FROM t WHERE b = 5 ORDER BY 1, 2",
    "INSERT INTO u (t, s) SELECT id, s FROM t WHERE b = 5 ORDER BY 1, 3",
    "DELETE FROM t USING u WHERE u.t = t.id AND u.s = 'q' AND t.b = 5",
    "DELETE FROM t USING u WHERE u.t = t.id AND u.s = 'r' AND t.b = 77777777777",
    "SELECT 1 FROM t WHERE id = 1.5e3",
    "SELECT 1 FROM t WHERE id = 2.5e3",
    "SELECT nextval('u_id_seq'), 5",
    "SELECT lastval('u_id_seq'), 6",
    "not SQL 5",
    "not SQL 6",
)


def test_a_shape_is_read_as_each_of_its_statements(scratch: Cluster, tmp_path: Path) -> None:
    ready = stage(scratch, "shapes", tmp_path, TABLES)
    try:
        with scratch.connect("shapes") as connection:
            schema = read_schema(connection)
            relations = read_relations(connection, schema, schema)
    finally:
        strike(ready)
    shapes = Shapes(Reader(relations))
    for text in STATEMENTS * 2:
        assert shapes.read([text]) == Reader(relations).read([text]), text
    assert len(shapes) < len(STATEMENTS) * 2 / 3


def test_made_up_statements_are_read_alike(scratch: Cluster, tmp_path: Path) -> None:
    for number in range(3):
        ready = stage(scratch, "shapes", tmp_path, make_schema(number).text)
        try:
            with scratch.connect("shapes") as connection:
                schema = read_schema(connection)
                relations = read_relations(connection, schema, schema)
        finally:
            strike(ready)
        shapes, reader = Shapes(Reader(relations)), Reader(relations)
        for seed in range(number * SHARED, (number + 1) * SHARED):
            for step in make_case(seed, 2).steps:
                for text in step.statements:
                    assert shapes.read([text]) == reader.read([text]), text
