"""The scratch server of a case: databases made, cloned and dropped, connections as three roles.

`jail` runs everything that comes out of a dump or a step log. It owns the schemas and everything
in them, is no superuser and has no privilege beyond its databases: the server refuses it programs,
files, untrusted languages, settings of the server and other roles, and there is no network.
`capture` reads logical slots. `keeper` makes and drops databases and never touches a dump's
objects, whose functions would run with its privileges.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import disk_usage
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from diffing.model import PINNED_SETTINGS
from recovery.model import EngineError, Exit, Progress
from recovery.scratch.embedded import Embedded
from recovery.scratch.host import Host, Role
from recovery.scratch.hosted import Hosted
from recovery.scratch.space import ensure_space

__all__ = [
    "Cluster",
    "Connection",
    "Role",
    "about_the_server",
    "ensure_space",
    "open_cluster",
    "server_trouble",
]

FULL_BYTES = 32 << 20  # less than two files of the write-ahead log: nothing can be written

_LEAVING_SECONDS = 0.1

Connection = psycopg.Connection[tuple[object, ...]]


def open_cluster(
    owner: str,
    *,
    place: Path | None = None,
    binaries: Path | None = None,
    dsn: str | None = None,
    case: Path | None = None,
    progress: Progress | None = None,
) -> "Cluster":
    """The running scratch server of `owner`; its databases are still there if it had some.

    Owners called `run-…` are of one run: closing removes them. Others are kept until `remove`,
    or until the folder `case` no longer exists (found by the next run).
    Raises EngineError: REFUSED when another process uses the owner's server, UNUSABLE when there
    is no server to use, COULD_NOT_TELL when it does not start."""
    if progress is not None:
        progress.stage("scratch server")
    if dsn is not None:
        return Cluster(Hosted(owner, dsn))
    return Cluster(Embedded(owner, place=place, binaries=binaries, case=case))


class Cluster:
    """A running server and the databases of one owner in it. Threads may share it."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._kept: Connection | None = None  # the keeper's, where databases are made from

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def place(self) -> Path | None:
        """The folder that holds its data; None on a server given by DSN."""
        return self._host.place

    @property
    def major(self) -> int:
        """The server's major version."""
        return self._host.major

    def role(self, role: Role) -> str:
        """The name of the role on this server."""
        return self._host.role(role)

    def create(self, database: str) -> None:
        """An empty database whose schema `public` belongs to `jail`."""
        self._make(database, sql.SQL("TEMPLATE template0"))
        with self._keeper(self._host.real(database)) as keeper:
            jail = sql.Identifier(self.role("jail"))
            keeper.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(jail))

    def clone(self, template: str, database: str) -> None:
        """A copy of `template`, to which nobody may be connected."""
        source = sql.SQL("TEMPLATE {}").format(sql.Identifier(self._host.real(template)))
        if self.major >= 15:
            source += sql.SQL(" STRATEGY file_copy")
        with self._making() as keeper:
            _let_leave(keeper, self._host.real(template))
        self._make(database, source)

    def drop(self, database: str) -> None:
        """Connections to it are ended. Nothing happens when it does not exist."""
        name = sql.Identifier(self._host.real(database))
        with self._making() as keeper:
            _let_leave(keeper, self._host.real(database))
            keeper.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def exists(self, database: str) -> bool:
        return database in self.databases()

    def databases(self) -> tuple[str, ...]:
        with self._making() as keeper:
            rows = keeper.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall()
        shown = (self._host.shown(str(name)) for (name,) in rows)
        return tuple(name for name in shown if name is not None)

    def rename(self, old: str, new: str) -> None:
        """Nobody may be connected to it."""
        names = (sql.Identifier(self._host.real(name)) for name in (old, new))
        with self._making() as keeper:
            _let_leave(keeper, self._host.real(old))
            keeper.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*names))

    def add_role(self, name: str) -> bool:
        """A role of a dump, without login or rights; False where it would outlive us."""
        if not self._host.own:
            return False
        with self._making() as keeper:
            keeper.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))
        return True

    @contextmanager
    def keeper(self, database: str) -> Iterator[Connection]:
        """The superuser inside a database, for what only it may do there. It sees pg_catalog
        alone and must not touch a dump's objects."""
        with self._keeper(self._host.real(database)) as connection:
            yield connection

    def connect(
        self, database: str, role: Role = "jail", *, statement_timeout_seconds: float = 0
    ) -> Connection:
        """Autocommit, PINNED_SETTINGS, search_path `"$user", public` (keeper: pg_catalog alone).

        `RESET ALL` on the connection comes back to just that. A time-out of 0 means none."""
        extra = f" -c statement_timeout={round(statement_timeout_seconds * 1000)}"
        with server_trouble(self):
            info = self._info(self._host.real(database), role, extra)
            return psycopg.connect(info, autocommit=True)

    def conninfo(self, database: str, role: Role) -> str:
        """libpq connection string with the settings of `connect`."""
        return self._info(self._host.real(database), role)

    def trouble(self) -> str:
        """What the server said last, for an error message."""
        return self._host.trouble()

    def close(self) -> None:
        """Stop the server; the data stays, unless the owner is of one run. Twice is fine."""
        self._let_go()
        self._host.stop()

    def remove(self) -> None:
        """Stop the server and delete everything it held."""
        self._let_go()
        self._host.remove()

    def _let_go(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _make(self, database: str, source: sql.Composable) -> None:
        name, jail = sql.Identifier(self._host.real(database)), sql.Identifier(self.role("jail"))
        with self._making() as keeper:
            # The jail may do everything inside, but neither drop nor alter a database.
            keeper.execute(sql.SQL("CREATE DATABASE {} {}").format(name, source))
            keeper.execute(sql.SQL("GRANT ALL ON DATABASE {} TO {}").format(name, jail))
            # What a dump made its role's habit must not outlive its database.
            keeper.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(jail))

    @contextmanager
    def _making(self) -> Iterator[Connection]:
        """The keeper where databases are made from: one session for all of it, because a session
        costs more than what is asked of it here."""
        with server_trouble(self):
            if self._kept is None or self._kept.closed:
                info = self._info(self._host.maintenance(), "keeper")
                self._kept = psycopg.connect(info, autocommit=True)
            yield self._kept

    @contextmanager
    def _keeper(self, real: str) -> Iterator[Connection]:
        with server_trouble(self):
            info = self._info(real, "keeper")
            with psycopg.connect(info, autocommit=True) as connection:
                yield connection

    def _info(self, real: str, role: Role, extra: str = "") -> str:
        path = "pg_catalog" if role == "keeper" else '"$user", public'
        pairs = (*PINNED_SETTINGS, ("search_path", path))
        options = " ".join(f"-c {name}={_escaped(value)}" for name, value in pairs) + extra
        return make_conninfo(self._host.login(role), dbname=real, options=options)


def _let_leave(keeper: Connection, real: str) -> None:
    """A session that was just closed takes a moment to go. The server itself would look for it
    ten times a second only. Who stays is left to the server."""
    there = "SELECT 1 FROM pg_stat_activity WHERE datname = %s LIMIT 1"
    end = time.monotonic() + _LEAVING_SECONDS
    while keeper.execute(there, (real,)).fetchone() and time.monotonic() < end:
        time.sleep(0.002)


@contextmanager
def server_trouble(cluster: Cluster) -> Iterator[None]:
    """Errors that are about the server, not about a statement, become
    EngineError(COULD_NOT_TELL) with the end of its log; all others pass."""
    try:
        yield
    except psycopg.Error as error:
        if not about_the_server(error):
            raise
        full = error.sqlstate == "53100" or "No space left" in str(error) or _is_full(cluster.place)
        what = "the disk of the scratch server is full" if full else "the scratch server went away"
        raise EngineError(
            Exit.COULD_NOT_TELL,
            f"{what}: {error.diag.message_primary or str(error).strip()}",
            where=cluster.trouble(),
            hint="make room, or choose another place" if full else "run it again: it resumes",
        ) from error


def about_the_server(error: psycopg.Error) -> bool:
    """Whether the server is in trouble, rather than the statement that it refused."""
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError)
    # 57014 is a statement's own time-out; 58P01 a file that a statement named; XX000 anything.
    return (
        state[:2] in ("08", "53")
        or state in ("58000", "58030", "XX001", "XX002")
        or (state[:2] == "57" and state > "57014")
        or (state == "XX000" and "checkpoint request failed" in str(error))  # a full disk
    )


def _is_full(place: Path | None) -> bool:
    return place is not None and place.exists() and disk_usage(place).free < FULL_BYTES


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
