"""A row's text, taken apart and put together again."""

import random

from recovery.replay.whatif.alone import row_text
from recovery.replay.whatif.versions import fields
from recovery.scratch.cluster import Cluster

PIECES = (None, "", "a", "a b", ",", '"', "\\", '""', "x,y", "(", ")", " ", "ж", "1.50", "\n", "'")


def test_rows_are_read_and_written_as_the_server_does(scratch: Cluster) -> None:
    chance = random.Random(3)
    scratch.create("rows")
    try:
        with scratch.connect("rows") as connection:
            connection.execute("CREATE TABLE five (a text, b text, c text, d text, e text)")
            for _ in range(400):
                some = chance.choice((PIECES, PIECES[:4], (None, "a", "a b")))
                values = tuple(chance.choice(some) for _ in range(5))
                told = connection.execute(
                    "SELECT (ROW(%s::text, %s::text, %s::text, %s::text, %s::text)::five)::text",
                    values,
                ).fetchone()
                assert told is not None
                assert fields(str(told[0])) == values
                assert row_text(values) == told[0]
    finally:
        scratch.drop("rows")


def test_a_row_of_one_column() -> None:
    for text, value in (("(a)", "a"), ("()", None), ('("a b")', "a b"), ('("")', "")):
        assert fields(text) == (value,)
