"""The statements of a step, one by one, as the session of a replay runs them."""

import re
from collections.abc import Sequence
from datetime import datetime

from psycopg import Connection

from recovery.model import Supply
from recovery.replay import clock
from recovery.replay.supply import copied
from recovery.replay.transactions import creates, first_words
from recovery.scratch.cluster import Cluster

_COPY = re.compile(r"\s*copy\b", re.I)
WRITES = ("INSERT", "UPDATE", "DELETE", "MERGE", "COPY")


class Statements:
    """`now` and `supplies` are those of the step being run."""

    def __init__(self, connection: Connection[tuple[object, ...]], cluster: Cluster) -> None:
        self._connection = connection
        self._cluster = cluster
        self.path = clock.search_path(connection)
        self._creating = clock.search_path(connection, creating=True)
        self.now: datetime = clock.NEVER
        self.supplies: Sequence[Supply] = ()

    def execute(self, statement: str) -> int:
        """Rows that the server says it wrote."""
        words = first_words(statement, most=1000 if _COPY.match(statement) else 1)
        if words[:1] == ["copy"] and "stdin" in words:
            return copied(self._connection, self._cluster, statement, self.supplies)
        if words[:1] == ["copy"] and "stdout" in words:
            with self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
                for _ in copy:
                    pass
            return 0
        if creating := creates(statement):
            self._swap_path(self.path, self._creating)
        done = self._connection.execute(clock.pin(statement).encode())
        rows = done.rowcount if (done.statusmessage or "").startswith(WRITES) else 0
        if creating:
            self._swap_path(self._creating, self.path)
        if words in (["reset"], ["discard"]):
            clock.keep_clock(self._connection, self.now)
        return max(rows, 0)

    def _swap_path(self, old: str, new: str) -> None:
        self._connection.execute(
            "SELECT pg_catalog.set_config('search_path', %s, false)"
            " WHERE pg_catalog.current_setting('search_path') = %s",
            (new, old),
        )
