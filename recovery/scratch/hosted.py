"""A server that somebody gave us by DSN as the host of a cluster.

Everything of ours on it carries the owner's prefix, and `remove` takes all of it away: databases
`dbmend_<owner>_…`, roles `dbmend_<owner>_jail` and `…_capture`. The DSN's own user is the keeper.
"""

import hashlib
import secrets
import time
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from recovery.model import EngineError, Exit
from recovery.scratch.host import Role
from recovery.scratch.places import EPHEMERAL, OWNER

LONGEST = 63  # bytes of an identifier
PREFIX = "dbmend_"
_LOCK_SECONDS = 2.0


class Hosted:
    """Implements recovery.scratch.host.Host."""

    def __init__(self, owner: str, dsn: str) -> None:
        assert OWNER.fullmatch(owner), owner
        self._dsn = dsn
        self._prefix = f"{PREFIX}{owner}_"
        self._ephemeral = owner.startswith(EPHEMERAL)
        # Lives as long as we do: holds the owner's lock.
        self._connection = self._open()
        self._password = secrets.token_urlsafe(24)
        try:
            self.major = self._connection.info.server_version // 10000
            self._take_lock(owner)
            self._require()
            self._make_roles()
        except BaseException:
            self._connection.close()
            raise

    @property
    def place(self) -> Path | None:
        return None

    @property
    def own(self) -> bool:
        return False

    def role(self, role: Role) -> str:
        return self._connection.info.user if role == "keeper" else _short(self._prefix + role)

    def login(self, role: Role) -> str:
        if role == "keeper":
            return self._dsn
        return make_conninfo(self._dsn, user=self.role(role), password=self._password)

    def real(self, database: str) -> str:
        return _short(self._prefix + database)

    def shown(self, real: str) -> str | None:
        return real.removeprefix(self._prefix) if real.startswith(self._prefix) else None

    def maintenance(self) -> str:
        return self._connection.info.dbname

    def trouble(self) -> str:
        return f"server {self._connection.info.host or 'given by DSN'}"

    def stop(self, *, at_once: bool = False) -> None:
        if self._connection.closed:
            return
        if self._ephemeral:
            self.remove()
        self._connection.close()

    def remove(self) -> None:
        if self._connection.closed:
            self._connection = self._open()
        for (name,) in self._connection.execute("SELECT datname FROM pg_database").fetchall():
            if self.shown(str(name)) is not None:
                drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                self._connection.execute(drop.format(sql.Identifier(str(name))))
        for role in self._roles():
            drop = sql.SQL("DROP ROLE IF EXISTS {}")
            self._connection.execute(drop.format(sql.Identifier(role)))
        self._connection.close()

    def _open(self) -> psycopg.Connection[tuple[object, ...]]:
        try:
            return psycopg.connect(self._dsn, autocommit=True, options="-c search_path=pg_catalog")
        except psycopg.Error as error:
            raise EngineError(
                Exit.UNUSABLE,
                f"the server for scratch data cannot be reached: {str(error).strip()}",
                where=str(conninfo_to_dict(self._dsn).get("host", "")),
                hint="see the DSN; passwords come from PGPASSWORD or the password file",
            ) from error

    def _locked(self, key: int) -> bool:
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone()
        return row == (True,)

    def _take_lock(self, owner: str) -> None:
        key = int.from_bytes(hashlib.sha256(owner.encode()).digest()[:8], signed=True)
        # The session of a run that has just ended may take a moment to go.
        end = time.monotonic() + _LOCK_SECONDS
        while not self._locked(key):
            if time.monotonic() < end:
                time.sleep(0.05)
                continue
            raise EngineError(
                Exit.REFUSED,
                f"the scratch databases of '{owner}' are in use by another process",
                hint="wait until it is done",
            )

    def _require(self) -> None:
        """All that is missing, at once."""
        row = self._connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication,"
            " current_setting('wal_level'), current_setting('server_encoding')"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row is not None
        superuser, createdb, createrole, replication, wal_level, encoding = row
        missing = []
        if not (superuser or createdb):
            missing.append("the right CREATEDB")
        if not (superuser or createrole):
            missing.append("the right CREATEROLE")
        if not (superuser or (replication and self.major >= 16)):
            missing.append("the right REPLICATION" if self.major >= 16 else "a superuser")
        if wal_level != "logical":
            missing.append(f"wal_level = logical (it is {wal_level})")
        if encoding != "UTF8":
            missing.append(f"the encoding UTF8 (it is {encoding})")
        if missing:
            raise EngineError(
                Exit.UNUSABLE,
                "the server given by DSN cannot hold scratch data; it lacks: " + "; ".join(missing),
                hint="give the user these rights, or leave the DSN away: a server is bundled",
            )

    def _make_roles(self) -> None:
        keeper = sql.Identifier(self.role("keeper"))
        for role, rights in (("jail", "LOGIN"), ("capture", "LOGIN REPLICATION")):
            name = sql.Identifier(_short(self._prefix + role))
            known = self._connection.execute(
                "SELECT 1 FROM pg_roles WHERE rolname = %s", (_short(self._prefix + role),)
            ).fetchone()
            words = sql.SQL("{} ROLE {} {} PASSWORD {}")
            verb = sql.SQL("ALTER" if known else "CREATE")
            password = sql.Literal(self._password)
            self._connection.execute(words.format(verb, name, sql.SQL(rights), password))
            if not known:
                self._connection.execute(sql.SQL("GRANT {} TO {}").format(name, keeper))

    def _roles(self) -> tuple[str, ...]:
        return (self.role("jail"), self.role("capture"))


def _short(name: str) -> str:
    """Within the server's limit, and still different for different names."""
    if len(name.encode()) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return name.encode()[: LONGEST - 13].decode("utf-8", "ignore") + "~" + digest
