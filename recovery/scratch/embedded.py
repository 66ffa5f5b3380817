"""A server of our own as the host of a cluster: one folder, one server, gone with its owner."""

from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from recovery.scratch.binaries import find_binaries, reachable
from recovery.scratch.places import claim_place, home, take_folder
from recovery.scratch.pristine import KEEPER
from recovery.scratch.server import CAPTURE, JAIL, PORT, Server


class Embedded:
    """Implements recovery.scratch.host.Host."""

    def __init__(
        self, owner: str, *, place: Path | None, binaries: Path | None, case: Path | None
    ) -> None:
        programs = find_binaries(binaries)
        self._folder = take_folder(claim_place(place), owner)
        try:
            if case is not None:
                self._folder.belongs_to(case)
            self._server = Server(self._folder, reachable(programs, home()))
            fresh = not self._server.intact()
            if fresh:
                self._server.initialize()
            self._server.start()
            if fresh:
                self._bootstrap()
                self._folder.mark(programs.version)
        except BaseException:  # Ctrl-C too: nothing may be left running or locked
            self.stop(at_once=True)
            raise

    @property
    def place(self) -> Path:
        return self._folder.path

    @property
    def own(self) -> bool:
        return True

    @property
    def major(self) -> int:
        return self._server.binaries.major

    def role(self, role: str) -> str:
        return role

    def login(self, role: str) -> str:
        sockets = str(self._folder.sockets)
        return make_conninfo("", host=sockets, port=PORT, user=role, sslmode="disable")

    def real(self, database: str) -> str:
        return database

    def shown(self, real: str) -> str | None:
        return None if real in ("postgres", "template0", "template1") else real

    def maintenance(self) -> str:
        return "postgres"

    def trouble(self) -> str:
        return self._server.last_words()

    def stop(self, *, at_once: bool = False) -> None:
        if hasattr(self, "_server"):
            self._server.stop(at_once=at_once)
        self._folder.release(remove=self._folder.ephemeral)

    def remove(self) -> None:
        self._server.stop(at_once=True)
        self._folder.release(remove=True)

    def _bootstrap(self) -> None:
        info = make_conninfo(self.login(KEEPER), dbname="postgres")
        with psycopg.connect(info, autocommit=True) as keeper:
            keeper.execute(f"CREATE ROLE {JAIL} LOGIN")
            keeper.execute(f"CREATE ROLE {CAPTURE} LOGIN REPLICATION")
            keeper.execute("REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC")
