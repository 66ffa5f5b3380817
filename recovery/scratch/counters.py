"""Where the counters of a database stand beside the numbers that they have given."""

from dataclasses import dataclass

from psycopg import Connection, sql

from diffing.model import Schema, parts


@dataclass(frozen=True, slots=True)
class Counter:
    """A sequence that feeds a column: the number it will give next, and the highest there is
    (None: there is none)."""

    sequence: str
    table: str
    column: str
    next: int
    highest: int | None

    @property
    def behind(self) -> bool:
        """It will give a number that is there already, sooner or later."""
        return self.highest is not None and self.next <= self.highest


def counters(connection: Connection[tuple[object, ...]], schema: Schema) -> tuple[Counter, ...]:
    """Of sequences that count upwards and belong to a column of whole numbers."""
    found = []
    for sequence in schema.sequences:
        match sequence.owned_by:
            case (str(table), str(column)) if sequence.increment > 0 and schema.has(table):
                if schema.table(table).column(column).type not in ("smallint", "integer", "bigint"):
                    continue
                row = connection.execute(
                    sql.SQL("SELECT pg_catalog.max({})::bigint FROM {}").format(
                        sql.Identifier(column), sql.Identifier(*parts(table))
                    )
                ).fetchone()
                assert row is not None
                step = sequence.increment if sequence.is_called else 0
                highest = None if row[0] is None else int(str(row[0]))
                found.append(
                    Counter(sequence.name, table, column, sequence.last_value + step, highest)
                )
            case _:
                pass
    return tuple(found)
