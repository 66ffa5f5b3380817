"""The first half of a body: the planned values, as text, in temporary tables that vanish with the
transaction. Nothing of the database is touched here.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

from recovery.script.context import TableSample
from recovery.script.dialect import Dialect, Fragment, fill, join
from recovery.script.staged import StagedRow, Write

ROWS_PER_STATEMENT = 500
CHARACTERS_PER_STATEMENT = 1_000_000  # one row may be longer, and then stands alone


def staging(write: Write, rows: Iterable[StagedRow], dialect: Dialect) -> Iterator[Fragment]:
    """Statements that make `pg_temp.dbmend_<n>`: one row per staged row.

    n counts the rows, k1.. is the key, s1.. what was seen, t1.. the target, w1.. whether the row
    writes the column, `before` and `after` what the repair found.
    """
    keys = numbered("k", len(write.table.key.columns) or 1)
    seen = numbered("s", len(write.columns)) if write.op != "insert-rows" else ()
    target = numbered("t", len(write.columns)) if write.op != "delete-rows" else ()
    flags = numbered("w", len(write.columns)) if write.masked else ()
    texts = join(", ", (fill("{c} pg_catalog.text", c=c) for c in chain(keys, seen, target)))
    marks = join("", (fill(", {c} pg_catalog.bool", c=c) for c in flags))
    table = fill("pg_temp.{r}", r=Fragment(write.relation))
    yield fill(
        "CREATE TEMPORARY TABLE {table} (n pg_catalog.int8, {texts}{marks}, "
        "before pg_catalog.text, after pg_catalog.text) ON COMMIT DROP;\n",
        table=table,
        texts=texts,
        marks=marks,
    )
    head = join(", ", (Fragment("n"), *keys, *seen, *target, *flags))
    lines = (_line(number, row, write, dialect) for number, row in enumerate(rows, start=1))
    yield from _inserts(table, head, lines)
    yield fill("ANALYZE {table};\n", table=table)


def sampling(number: int, sample: TableSample, dialect: Dialect) -> Iterator[Fragment]:
    """Statements that make `pg_temp.dbmend_sample_<n>`: keys and digests of untouched rows."""
    keys = numbered("k", len(sample.rows[0].key))
    table = fill("pg_temp.dbmend_sample_{n}", n=Fragment(str(number)))
    texts = join(", ", (fill("{c} pg_catalog.text", c=c) for c in keys))
    yield fill(
        "CREATE TEMPORARY TABLE {table} ({texts}, digest pg_catalog.text) ON COMMIT DROP;\n",
        table=table,
        texts=texts,
    )
    lines = (
        fill("({v})", v=join(", ", (dialect.literal(text) for text in (*row.key, row.digest))))
        for row in sample.rows
    )
    yield from _inserts(table, join(", ", (*keys, Fragment("digest"))), lines)


def numbered(letter: str, count: int) -> tuple[Fragment, ...]:
    return tuple(Fragment(letter + str(number)) for number in range(1, count + 1))


def _line(number: int, row: StagedRow, write: Write, dialect: Dialect) -> Fragment:
    values = [Fragment(str(number)), *(dialect.literal(text) for text in row.key)]
    if write.op != "insert-rows":
        values += [dialect.literal(text) for text in row.seen]
    if write.op != "delete-rows":
        values += [dialect.literal(text) for text in row.target]
    if write.masked:
        values += [Fragment("true" if written else "false") for written in row.written]
    return fill("({v})", v=join(", ", values))


def _inserts(table: Fragment, head: Fragment, lines: Iterable[Fragment]) -> Iterator[Fragment]:
    batch: list[Fragment] = []
    size = 0
    for line in lines:
        if batch and (
            len(batch) == ROWS_PER_STATEMENT or size + len(line) > CHARACTERS_PER_STATEMENT
        ):
            yield _insert(table, head, batch)
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield _insert(table, head, batch)


def _insert(table: Fragment, head: Fragment, lines: list[Fragment]) -> Fragment:
    return fill(
        "INSERT INTO {table} ({head}) VALUES\n{lines};\n",
        table=table,
        head=head,
        lines=join(",\n", lines),
    )
