"""Tables that are told whole: their rows before and after a batch are laid side by side, and what
differs goes into the log as messages, in the place of row images. That is how rows are told which
a statement replaced without writing them one by one, and rows whose images do not add up.
"""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import psycopg
from psycopg import Connection, sql

from diffing.duck import Setting, connect
from diffing.model import PINNED_SETTINGS, Schema, Table
from recovery.scratch.cluster import about_the_server

_BATCH = 1000  # rows sent at a time
_SETTINGS: dict[str, Setting] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "memory_limit": "512MB",
}
Told = tuple[dict[str, str | None] | None, dict[str, str | None] | None]


class WholeTables:
    """One per session of a replay. `folder` exists; what is put there is removed by `forget`."""

    def __init__(
        self, connection: Connection[tuple[object, ...]], schema: Schema, folder: Path
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._parent = folder
        self._place: Path | None = None
        self._before: dict[str, Path] = {}
        self.untold: set[str] = set()  # that the server would not show, before or after

    def keep(self, names: Iterable[str]) -> None:
        """Their rows as they are now, between two batches."""
        for name in sorted(set(names) - self.tried):
            path = self._folder / f"before-{len(self._before)}.csv"
            try:
                with self._connection.transaction(force_rollback=True):
                    self._pin()
                    self._export(self._schema.table(name), path)
                self._before[name] = path
            except psycopg.Error as error:
                self._refuse(name, error)

    @property
    def _folder(self) -> Path:
        if self._place is None:
            self._place = Path(tempfile.mkdtemp(prefix="whole-", dir=self._parent))
        return self._place

    def _refuse(self, name: str, error: psycopg.Error) -> None:
        if self._connection.closed or about_the_server(error):
            raise error
        self.untold.add(name)

    @property
    def kept(self) -> frozenset[str]:
        return frozenset(self._before.keys() - self.untold)

    @property
    def tried(self) -> frozenset[str]:
        return frozenset(self._before.keys() | self.untold)

    def withhold(self) -> None:
        """Inside the batch, first of all: images of these tables tell nothing until `tell`."""
        for name in sorted(self._before):
            self._say("withheld", [name])

    def tell(self) -> tuple[str, ...]:
        """Inside the batch, last of all: what it did to the kept tables. Settings of the session
        are as pinned from here to the end of the transaction. Returns the tables."""
        if not self._before:
            return ()
        self._pin()
        after = self._folder / "after.csv"
        for name, before in sorted(self._before.items()):
            table = self._schema.table(name)
            try:
                with self._connection.transaction():
                    self._export(table, after)
                    self._differences(table, before, after)
            except psycopg.Error as error:
                self._refuse(name, error)
        self._say("settled", [""])
        return tuple(self._before)

    def forget(self) -> None:
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)
            self._place = None
        self._before = {}
        self.untold = set()

    def _pin(self) -> None:
        for name, value in PINNED_SETTINGS:
            self._connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))

    def _say(self, prefix: str, texts: list[str]) -> None:
        self._connection.execute(
            "SELECT pg_catalog.pg_logical_emit_message(true, %s, t)"
            " FROM pg_catalog.unnest(%s::text[]) AS t",
            (prefix, texts),
        )

    def _export(self, table: Table, path: Path) -> None:
        """As LoadedState.export, from inside the session's own transaction."""
        values = [
            sql.SQL(", t.{} AS {}").format(sql.Identifier(column.name), sql.Identifier(f"c{n}"))
            for n, column in enumerate(table.columns)
        ]
        names = sql.SQL(", ").join(sql.Identifier(f"c{n}") for n in range(len(values)))
        copy = sql.SQL("COPY (SELECT 1 AS one{} FROM {}{} AS t) TO STDOUT (FORMAT csv{})").format(
            sql.SQL("").join(values),
            sql.SQL("" if table.partitioned else "ONLY "),
            sql.Identifier(table.schema, table.relation),
            sql.SQL(", FORCE_QUOTE ({})").format(names) if values else sql.SQL(""),
        )
        with (
            path.open("wb") as file,
            self._connection.cursor() as cursor,
            cursor.copy(copy) as rows,
        ):
            for block in rows:
                file.write(block)

    def _differences(self, table: Table, before: Path, after: Path) -> None:
        place = self._folder / "whole.duckdb"
        try:
            with connect(str(place), _SETTINGS) as connection:
                texts = []
                for old, new in _differing(connection, table, before, after):
                    told = {"table": table.name, "old": old, "new": new}
                    texts.append(json.dumps(told, ensure_ascii=False))
                    if len(texts) == _BATCH:
                        self._say("told", texts)
                        texts = []
                self._say("told", texts)
        finally:
            place.unlink(missing_ok=True)


def _differing(
    connection: duckdb.DuckDBPyConnection, table: Table, before: Path, after: Path
) -> Iterator[Told]:
    names = [column.name for column in table.columns]
    places = [f"c{n}" for n in range(len(names))]
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in ("one", *places))
    row = f"[{', '.join(places)}]" if places else "[one]"
    key = ", ".join(_key(table, places)) if table.key.columns else ""
    # Equal rows without a key are told apart by a number.
    joined = f"[{key}]" if key else row
    number = "1" if key else f"row_number() OVER (PARTITION BY {row})"
    for name, path in (("before", before), ("after", after)):
        connection.execute(
            f"CREATE OR REPLACE TABLE {name} AS SELECT {joined} AS k, {number} AS n, {row} AS r"
            " FROM read_csv(?, header = false, auto_detect = false, delim = ',', quote = '\"',"
            " escape = '\"', nullstr = '', allow_quoted_nulls = false, parallel = false,"
            f" max_line_size = 1073741824, buffer_size = 1073741824, columns = {{{columns}}})",
            [str(path)],
        )
    found = connection.execute(
        "SELECT b.r, a.r FROM before b FULL JOIN after a ON a.k = b.k AND a.n = b.n"
        " WHERE b.r IS DISTINCT FROM a.r ORDER BY coalesce(b.k, a.k)::VARCHAR, coalesce(b.n, a.n)"
    )
    while rows := found.fetchmany(_BATCH):
        for old, new in rows:
            yield (
                None if old is None else dict(zip(names, old, strict=False)),
                None if new is None else dict(zip(names, new, strict=False)),
            )


def _key(table: Table, places: list[str]) -> Iterator[str]:
    """As `effects.key_of` writes them."""
    names = [column.name for column in table.columns]
    for column in table.key_columns:
        place = places[names.index(column.name)]
        if column.family == "numeric":
            yield (
                f"CASE WHEN contains({place}, '.') THEN rtrim(rtrim({place}, '0'), '.')"
                f" ELSE {place} END"
            )
        else:
            yield place
