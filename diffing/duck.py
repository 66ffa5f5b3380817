"""Every DuckDB of the program is opened here, so that whoever is asked to stop can break off what
they work on. DuckDB computes on threads of its own, which hear of no signal: a query would go on
to its end.
"""

from collections.abc import Mapping
from contextlib import suppress
from threading import Lock
from weakref import WeakSet

import duckdb

Setting = str | bool | int | float | list[str]

_opened: WeakSet[duckdb.DuckDBPyConnection] = WeakSet()
_changing = Lock()


def connect(
    database: str, settings: Mapping[str, Setting], *, read_only: bool = False
) -> duckdb.DuckDBPyConnection:
    """Open a database. Whoever opens it closes it."""
    connection = duckdb.connect(database, read_only=read_only, config=dict(settings))
    with _changing:
        _opened.add(connection)
    return connection


def break_off() -> None:
    """Whatever runs on any connection ends at once, with duckdb.InterruptException. To be called
    from another thread than the one that waits for it."""
    with _changing:
        connections = list(_opened)
    for connection in connections:
        with suppress(duckdb.Error):  # it may have been closed meanwhile
            connection.interrupt()
