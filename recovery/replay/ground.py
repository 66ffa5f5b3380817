"""Where histories are run: a backup made ready once, and clones of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from diffing.model import Schema
from recovery.replay.identity import Identities
from recovery.scratch.cluster import Cluster

SEED = 0.5  # chance of every run that is not there to move it


@dataclass(frozen=True, slots=True)
class Ground:
    """Where histories are run. `template` is the backup, shimmed, never changed. `suspects`:
    per step the tables whose row images did not add up in a run; later runs tell them whole."""

    cluster: Cluster
    template: str
    schema: Schema
    facts: duckdb.DuckDBPyConnection
    identities: Identities
    workspace: Path
    suspects: dict[str, frozenset[str]] = field(default_factory=dict)


@contextmanager
def clone(ground: Ground, database: str) -> Iterator[None]:
    """A fresh clone, for as long as the block runs."""
    if ground.cluster.exists(database):
        ground.cluster.drop(database)
    ground.cluster.clone(ground.template, database)
    try:
        yield
    finally:
        ground.cluster.drop(database)
