"""A database loaded into scratch as one side of a comparison."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from psycopg import sql

from diffing.model import Schema, Table
from recovery.scratch.catalog import read_schema
from recovery.scratch.cluster import Cluster, server_trouble


class LoadedState:
    """Implements diffing.model.State. Every export has a connection of its own, as `jail`, so
    that tables can be written by several threads at once."""

    def __init__(
        self, cluster: Cluster, database: str, unloaded: Mapping[str, str] | None = None
    ) -> None:
        self._cluster = cluster
        self._database = database
        self._unloaded = dict(unloaded or {})

    @cached_property
    def schema(self) -> Schema:
        with self._cluster.connect(self._database) as connection, server_trouble(self._cluster):
            return read_schema(connection)

    @property
    def unloaded(self) -> dict[str, str]:
        return dict(self._unloaded)

    def export(self, table: Table, columns: Sequence[str], path: Path) -> int:
        """As State.export. The order of the rows is the server's, and means nothing."""
        names = [f"c{number}" for number in range(len(columns))]  # no clash with the constant's
        values = [
            sql.SQL(", t.{} AS {}").format(sql.Identifier(column), sql.Identifier(name))
            for column, name in zip(columns, names, strict=True)
        ]
        listed = sql.SQL(", ").join(sql.Identifier(name) for name in names)
        quoted = sql.SQL(", FORCE_QUOTE ({})").format(listed)
        # Rows of children by inheritance belong to the children, those of partitions to the root.
        copy = sql.SQL("COPY (SELECT 1 AS one{} FROM {}{} AS t) TO STDOUT (FORMAT csv{})").format(
            sql.SQL("").join(values),
            sql.SQL("" if table.partitioned else "ONLY "),
            sql.Identifier(table.schema, table.relation),
            quoted if names else sql.SQL(""),
        )
        with (
            server_trouble(self._cluster),
            self._cluster.connect(self._database) as connection,
            connection.cursor() as cursor,
            path.open("wb") as file,
        ):
            with cursor.copy(copy) as rows:
                for block in rows:
                    file.write(block)
            return cursor.rowcount
