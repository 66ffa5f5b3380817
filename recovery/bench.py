"""The workbench of one verb: the case's folder, its scratch server, its database of facts. Opened
as far as a verb needs it, and put away again whatever happens.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from diffing.model import Schema
from recovery.case.facts import open_facts
from recovery.case.folder import CaseFolder
from recovery.case.result import Json
from recovery.case.serial import read_assessment, read_plan
from recovery.case.world import World
from recovery.load import Loaded, load
from recovery.model import Assessment, Evidence, Plan, Restore, Role, StepLog
from recovery.replay.restored import Restored
from recovery.scratch.binaries import find_binaries
from recovery.scratch.catalog import read_schema
from recovery.scratch.cluster import Cluster, open_cluster, server_trouble
from recovery.scratch.places import claim_place, take_folder
from recovery.scratch.state import LoadedState
from recovery.sources.detect import open_source
from recovery.standing import WARNINGS
from recovery.steps.read import read_steps

LOAD = "load.json"
PLACES = "scratch.json"  # where scratch databases of the case are, to be removed with it
SIDES: tuple[Role, ...] = ("backup", "current")


class Bench:
    """A context manager; `case` is locked while it is open."""

    def __init__(self, case: CaseFolder, world: World) -> None:
        self.case = case
        self.world = world
        self._cluster: Cluster | None = None
        self._facts: duckdb.DuckDBPyConnection | None = None
        self._schemas: dict[str, Schema] = {}
        self.prepared: set[str] = set()  # databases that this process has made ready to be cloned

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._facts is not None:
                self._facts.close()
            if self._cluster is not None:
                self._cluster.close()
        finally:
            self.case.release()

    @contextmanager
    def or_put_away(self) -> Iterator[None]:
        """When opening fails half-way nothing of it must stay open."""
        opened = False
        try:
            yield
            opened = True
        finally:
            if not opened:
                self.__exit__(None, None, None)

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            _remember(self.case, self.world)
            self._cluster = open_cluster(
                f"case-{self.case.id}",
                place=self.world.scratch_place,
                binaries=self.world.pg_bin,
                dsn=self.world.dsn,
                case=self.case.path,
                progress=self.world.progress,
            )
        return self._cluster

    @property
    def facts(self) -> duckdb.DuckDBPyConnection:
        if self._facts is None:
            self._facts = open_facts(self.case.facts)
        return self._facts

    # --- what the case holds --------------------------------------------------------------------

    def evidence(self) -> tuple[Evidence, ...]:
        return tuple(exhibit.evidence for exhibit in self.case.evidence())

    def path(self, role: Role) -> Path | None:
        return next((one.path for one in self.evidence() if one.role == role), None)

    @cached_property
    def log(self) -> StepLog:
        path = self.path("steps")
        return read_steps(path) if path is not None else StepLog(())

    @property
    def others(self) -> tuple[str, ...]:
        """Other backups, by the names of their databases: backup-2 and on."""
        return self._named("other-backup")

    @property
    def states(self) -> tuple[str, ...]:
        """Everything that is loaded, by the names of the databases."""
        return (*SIDES, *self.others, *self._named("restore"))

    def _named(self, role: Role) -> tuple[str, ...]:
        known = self.case.named_evidence()
        return tuple(name for name, one in known.items() if one.role == role)

    def restored(self) -> Mapping[Path, Restored]:
        """The sources that steps restored tables from, by the path in the log."""
        known = self.case.named_evidence()
        found = {
            known[name].path: Restored(name, self.schema(name), self.unloaded(name))
            for name in self._named("restore")
        }
        sources = [one.action.source for one in self.log.steps if isinstance(one.action, Restore)]
        return {one: found[Path(os.path.abspath(one))] for one in sources}

    def schema(self, side: str) -> Schema:
        """As it is in scratch; what is loaded never changes."""
        self.loaded()
        if side not in self._schemas:
            with self.cluster.connect(side) as connection, server_trouble(self.cluster):
                self._schemas[side] = read_schema(connection)
        return self._schemas[side]

    def state(self, side: str) -> LoadedState:
        return LoadedState(self.cluster, side, self.unloaded(side))

    def unloaded(self, side: str) -> Mapping[str, str]:
        document = self.case.read_document(LOAD, "load")
        return dict(document.one(side).texts_by_name("unloaded"))

    @property
    def assessment(self) -> Assessment:
        return read_assessment(self.case.read_document("assessment.json", "assessment"))

    @property
    def plan(self) -> Plan:
        return read_plan(self.case.read_document("plan.json", "plan"))

    @property
    def warnings(self) -> tuple[str, ...]:
        if not self.case.has(WARNINGS):
            return ()
        return self.case.read_document(WARNINGS, "warnings").texts("warnings")

    # --- scratch --------------------------------------------------------------------------------

    def load(self) -> None:
        """Load every state and write down what was found."""
        found = {name: self._load(name) for name in self.states}
        document: Mapping[str, Json] = {side: _loaded_json(one) for side, one in found.items()}
        self.case.write_document(LOAD, "load", document)

    def loaded(self) -> None:
        """Every state is in scratch: loaded again when scratch was lost since."""
        there = self.cluster.databases()
        for name in self.states:
            if name not in there:
                self.world.progress.note(f"scratch lost the {name}: loading it again")
                self._load(name)

    def _load(self, name: str) -> Loaded:
        path = self.case.named_evidence()[name].path
        self._schemas.pop(name, None)
        self.prepared.clear()
        return load(open_source(path), self.cluster, name, self.world.progress)

    def describe(self) -> None:
        """Keep what the sources say of themselves."""
        for name in self.states:
            info = open_source(self.case.named_evidence()[name].path).info
            self.case.describe_evidence(
                name,
                kind=str(info.kind),
                detail=info.detail,
                taken_at=info.taken_at.isoformat() if info.taken_at else "",
            )


def require_server(world: World) -> None:
    """Raises EngineError(UNUSABLE) when no scratch server can be had as chosen; starts none."""
    if world.dsn is not None:
        with open_cluster(f"run-{os.getpid()}", dsn=world.dsn):
            return
    find_binaries(world.pg_bin)
    claim_place(world.scratch_place)


def _remember(case: CaseFolder, world: World) -> None:
    """Note the place before anything is put there; a DSN without its password."""
    known = _places(case)
    here = str(world.scratch_place.absolute()) if world.scratch_place is not None else ""
    if world.dsn is not None:
        now = (known[0], (*known[1], _without_password(world.dsn)))
    else:
        now = ((*known[0], here), known[1])
    places, servers = (tuple(dict.fromkeys(one)) for one in now)
    if (places, servers) != known:
        case.write_document(PLACES, "scratch", {"places": places, "servers": servers})


def _without_password(dsn: str) -> str:
    parts = conninfo_to_dict(dsn).items()
    kept = {name: str(value) for name, value in parts if "password" not in name and value}
    return make_conninfo("", **kept)


def _places(case: CaseFolder) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Folders ('': the usual one), and servers given by DSN."""
    if not case.has(PLACES):
        return (), ()
    document = case.read_document(PLACES, "scratch")
    return document.texts("places"), document.texts("servers")


def forget_scratch(case: CaseFolder, world: World) -> None:
    """Remove every scratch database of the case, wherever it was loaded. Starts no server.

    Raises EngineError when one of them cannot be reached: its rows would stay."""
    owner = f"case-{case.id}"
    places, servers = _places(case)
    for place in places:
        if place and not Path(place).exists():
            continue
        take_folder(claim_place(Path(place) if place else None), owner).release(remove=True)
    for server in servers:
        # With the password of the moment, where one is given for this very server.
        given = world.dsn is not None and _same_server(world.dsn, server)
        open_cluster(owner, dsn=world.dsn if given else server).remove()


def _same_server(one: str, other: str) -> bool:
    ours, theirs = conninfo_to_dict(one), conninfo_to_dict(other)
    return all(ours.get(name) == theirs.get(name) for name in ("host", "hostaddr", "port", "user"))


def _loaded_json(loaded: Loaded) -> Mapping[str, Json]:
    return {
        "unloaded": dict(loaded.unloaded),
        "findings": [
            {
                "kind": str(finding.kind),
                "object": finding.object,
                "message": finding.message,
                "line": finding.line,
                "rows": len(finding.rows),
            }
            for finding in loaded.findings
        ],
    }
