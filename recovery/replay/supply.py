"""Rows that a step brings from outside of its text: what its COPY FROM STDIN reads."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
from psycopg import Connection, sql

from diffing.model import parts
from recovery.model import EngineError, Exit, Supply
from recovery.replay.trial import Unsupplied
from recovery.scratch.cluster import Cluster

_BLOCK = 1 << 16
_LINE = re.compile(r"^COPY .*?, line (\d+)", re.MULTILINE)


def copied(
    connection: Connection[tuple[object, ...]],
    cluster: Cluster,
    statement: str,
    supplies: Sequence[Supply],
) -> int:
    """Run the COPY; rows that it wrote. Raises Unsupplied when there is nothing for it to read, and
    psycopg.Error as the server does."""
    supply = _meant(statement, supplies)
    if supply is None:
        raise Unsupplied("its data is not in the log: COPY FROM STDIN")
    with connection.cursor() as cursor:
        with cursor.copy(statement.encode()) as target:
            for block in _blocks(supply, cluster):
                target.write(block)
        return max(cursor.rowcount, 0)


def place_of(error: psycopg.Error) -> str:
    """Which line of what was read the server did not like; never its values."""
    found = _LINE.search(error.diag.context or "")
    return f" (line {found[1]})" if found else ""


def _meant(statement: str, supplies: Sequence[Supply]) -> Supply | None:
    if len(supplies) == 1:
        return supplies[0]
    for supply in supplies:
        named = sql.SQL("COPY {} ").format(sql.Identifier(*parts(supply.table)))
        if statement.startswith(named.as_string(None)):
            return supply
    return None


def _blocks(supply: Supply, cluster: Cluster) -> Iterator[bytes | bytearray | memoryview]:
    if supply.file is not None:
        yield from _of_file(supply.file)
        return
    with (
        cluster.connect(supply.database) as source,
        source.cursor() as cursor,
        cursor.copy(supply.query.encode()) as rows,
    ):
        yield from rows


def _of_file(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        raise EngineError(
            Exit.COULD_NOT_TELL,
            f"a file of the step log cannot be read any more: {error.strerror}",
            where=str(path),
            hint="bring it back and run the same command again",
        ) from error
