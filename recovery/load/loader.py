"""Loads a dump into a scratch database, tolerant of what real dumps contain and of damaged rows.

Schema first, then rows, then each constraint and index alone: damaged rows violate constraints,
and a violation is a finding with its rows while the constraint stays absent. What cannot be
loaded is said, table by table; nothing is left out silently.

Everything of the dump runs as `jail`. The database carries its name only when it is whole.
"""

import re

import psycopg

from recovery.load.rules import (
    BATCH_BYTES,
    CHECKED,
    COMPRESSION,
    DEFAULT_PATH,
    IGNORED,
    ROWS,
    SCRATCH_PER_BYTE,
    SECOND_TRY,
    SKIPPED,
    Finding,
    FindingKind,
    Loaded,
    as_logged,
    harmless,
    row_of,
    sets_path,
    words_of,
    written_table,
)
from recovery.model import EngineError, Progress
from recovery.scratch import shims
from recovery.scratch.cluster import (
    Cluster,
    Connection,
    about_the_server,
    ensure_space,
    server_trouble,
)
from recovery.scratch.loosen import loosen
from recovery.scratch.ready import make_ready, standing_for
from recovery.scratch.violations import violating_rows
from recovery.sources.model import Source, Statement, TableData


def load(
    source: Source, cluster: Cluster, database: str, progress: Progress | None = None
) -> Loaded:
    """Make `database` hold what the dump holds. A database of that name is replaced.

    Raises EngineError: UNUSABLE where the dump breaks, COULD_NOT_TELL when the disk is full or the
    server goes away. Then the database is not there, or still the old one: never half."""
    _ensure_room(source, cluster)
    loading = f"{database}~loading"
    if progress is not None:
        progress.stage("load", total=len(source.info.tables))
    with server_trouble(cluster):
        cluster.drop(database)
        cluster.drop(loading)
        cluster.create(loading)
        try:
            with cluster.connect(loading) as connection:
                loader = _Loader(cluster, loading, connection, progress)
                loaded = loader.run(source)
        except EngineError:
            cluster.drop(loading)
            raise
        cluster.rename(loading, database)
    return loaded


class _Loader:
    def __init__(
        self, cluster: Cluster, database: str, connection: Connection, progress: Progress | None
    ) -> None:
        self._cluster = cluster
        self._database = database
        self._connection = connection
        self._progress = progress
        self._findings: list[Finding] = []
        self._unloaded: dict[str, str] = {}
        self._owners: dict[str, int] = {}
        self._path = DEFAULT_PATH  # the statement that set search_path last
        self._later: list[Statement] = []  # after the rows, each under the path it was met with
        self._later_path = DEFAULT_PATH
        self._again: list[Statement] = []
        self._batch: list[Statement] = []
        self._batch_bytes = 0

    def run(self, source: Source) -> Loaded:
        self._set_encoding(source.info.encoding)
        for item in source.items():
            match item:
                case TableData():
                    self._flush()
                    self._copy(item)
                case Statement(section="post-data"):
                    self._postpone(item)
                case Statement() if item.kind in ROWS:
                    self._collect(item)
                case Statement():
                    self._flush()
                    self._do(item)
        self._flush()
        for statement in self._later:
            self._do(statement)
        self._try_again()
        make_ready(self._connection)
        for role, count in sorted(self._owners.items()):
            what = f"owner of {count} objects, which belong to the scratch server's role here"
            self._find("owner", role, what, 0)
        return Loaded(tuple(self._findings), dict(self._unloaded))

    def _do(self, statement: Statement) -> None:
        if statement.kind in IGNORED:
            return
        if statement.kind in SKIPPED:
            self._skip(statement, SKIPPED[statement.kind])
        elif statement.kind == "OWNER":
            self._owners[statement.owner] = self._owners.get(statement.owner, 0) + 1
        elif statement.kind == "SET":
            self._set(statement)
        elif statement.kind == "EXTENSION":
            self._extension(statement)
        elif statement.kind == "PROCEDURAL LANGUAGE" and "plpgsql" in statement.sql:
            return
        else:
            self._execute(as_logged(statement))

    def _postpone(self, statement: Statement) -> None:
        if sets_path(statement):
            self._path = self._later_path = statement
        elif self._later_path is not self._path:
            self._later.append(self._path)
            self._later_path = self._path
        self._later.append(statement)

    def _execute(self, statement: Statement) -> None:
        error = self._refused(statement)
        if error is None or harmless(statement, error):
            return
        if statement.kind in CHECKED and isinstance(error, psycopg.IntegrityError):
            self._violation(statement, error)
        elif statement.kind == "COLLATION" and shims.replace_collation(
            self._cluster, self._connection, statement.sql
        ):
            self._approximate(statement.name, statement.line)
        elif statement.kind in SECOND_TRY:
            self._again += [self._path, statement]
        else:
            if statement.kind == "TABLE" and re.match(r"CREATE\b", statement.sql, re.IGNORECASE):
                self._unloaded[statement.name] = f"line {statement.line}: {words_of(error)}"
            self._find("statement", statement.name, words_of(error), statement.line)

    def _refused(self, statement: Statement) -> psycopg.Error | None:
        """Run it, supplying what it lacks as far as that can be; the error that remains."""
        supplied: set[str] = set()
        while True:
            try:
                self._connection.execute(self._bytes(statement.sql))
                return None
            except psycopg.Error as error:
                if about_the_server(error):
                    raise
                lack = self._supply(error, statement)
                if not lack or lack in supplied:
                    return error
                supplied.add(lack)

    def _supply(self, error: psycopg.Error, statement: Statement) -> str:
        """The thing that was missing and is now there; '' when nothing could be done."""
        role, collation = shims.missing_role(error), shims.missing_collation(error)
        if role and not role.startswith("pg_") and self._cluster.add_role(role):
            return f"role {role}"
        if collation and shims.supply_collation(self._cluster, self._database, collation):
            self._approximate(collation, statement.line)
            return f"collation {collation}"
        return ""

    def _set(self, statement: Statement) -> None:
        text = statement.sql
        if re.search(r"\bSESSION\s+AUTHORIZATION\b|^\s*(RE)?SET\s+ROLE\b", text, re.IGNORECASE):
            self._skip(statement, "everything belongs to the scratch server's role")
        elif re.search(r"read_only|session_replication_role", text, re.IGNORECASE):
            self._skip(statement, "the load decides on this itself")
        elif re.search(r"client_encoding\W+'?(SQL_ASCII)\b", text, re.IGNORECASE):
            self._set_encoding("SQL_ASCII")
        else:
            if sets_path(statement):
                self._path = statement
            error = self._refused(statement)
            if error is not None:
                self._find("setting", text.strip(), f"ignored: {words_of(error)}", statement.line)

    def _extension(self, statement: Statement) -> None:
        if not re.match(r"CREATE\b", statement.sql, re.IGNORECASE):
            self._skip(statement, "extensions are made as they come")
            return
        match shims.supply_extension(
            self._cluster, self._database, self._connection, statement.sql
        ):
            case "replaced":
                what = "replaced by functions of the same names; not all of them exist"
                self._find("extension", statement.name, what, statement.line)
            case "missing":
                what = "not on the scratch server; what needs it is missing too"
                self._find("extension", statement.name, what, statement.line)
            case "there":
                pass

    def _violation(self, statement: Statement, error: psycopg.Error) -> None:
        found = violating_rows(self._connection, statement.sql)
        shown = f", the first {len(found.rows)} are shown" if found.count > len(found.rows) else ""
        rows = f"rows that violate it: {found.count}{shown}; " if found.count else ""
        self._find(
            "violation",
            statement.name,
            f"{rows}it stays absent: {words_of(error)}",
            statement.line,
            found.rows,
        )

    def _try_again(self) -> None:
        """Views of views and the like: as long as one more can be made."""
        while True:
            waiting, self._again = self._again, []
            refused: list[Finding] = []
            for path, statement in zip(waiting[::2], waiting[1::2], strict=True):
                self._refused(path)
                error = self._refused(statement)
                if error is not None:
                    self._again += [path, statement]
                    name, words = statement.name, words_of(error)
                    refused.append(Finding("statement", name, words, statement.line))
            if not refused or len(self._again) == len(waiting):
                self._findings += refused
                return

    def _copy(self, data: TableData) -> None:
        while True:
            try:
                statement = self._bytes(data.copy)
                with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
                    for chunk in data.chunks():
                        copy.write(chunk)
                break
            except psycopg.Error as error:
                if about_the_server(error):
                    raise
                if not self._loosened(error, data.line):
                    self._lose(
                        data.table, data.copy, f"{words_of(error)}{row_of(error)}", data.line
                    )
                    break
        if self._progress is not None:
            self._progress.advance()

    def _collect(self, statement: Statement) -> None:
        self._batch.append(statement)
        self._batch_bytes += len(statement.sql)
        if self._batch_bytes > BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if not batch:
            return
        try:
            # One round trip and one transaction for all.
            self._connection.execute(self._bytes(";\n".join(each.sql for each in batch)))
        except psycopg.Error as error:
            if about_the_server(error):
                raise
            for statement in batch:
                self._write(statement)

    def _write(self, statement: Statement) -> None:
        while True:
            error = self._refused(statement)
            if error is None:
                return
            if not self._loosened(error, statement.line):
                break
        if statement.kind != "SEQUENCE SET":
            self._lose(statement.name, statement.sql, words_of(error), statement.line)
        else:
            self._find("statement", statement.name, words_of(error), statement.line)

    def _loosened(self, error: psycopg.Error, line: int) -> bool:
        if not isinstance(error, psycopg.IntegrityError):
            return False
        back = loosen(self._connection, error)
        name = error.diag.constraint_name or f"NOT NULL of {error.diag.column_name}"
        owner = error.diag.table_name or error.diag.datatype_name or ""
        for text in back:
            kind, what = "CHECK CONSTRAINT", f"{error.diag.schema_name}.{owner} {name}"
            self._postpone(Statement(text, "post-data", line, kind, what))
        return bool(back)

    def _lose(self, named: str, statement: str, why: str, line: int) -> None:
        table = standing_for(self._connection, written_table(statement)) or named
        if table not in self._unloaded:
            self._unloaded[table] = f"line {line}: {why}"
            self._find("rows", table, why, line)

    def _set_encoding(self, encoding: str) -> None:
        # SQL_ASCII means that nobody knows: bytes that are not UTF-8 are then refused, not guessed.
        name = "UTF8" if encoding in ("", "SQL_ASCII") else encoding
        self._connection.execute("SELECT set_config('client_encoding', %s, false)", (name,))

    def _bytes(self, text: str) -> bytes:
        return text.encode(self._connection.info.encoding)

    def _approximate(self, collation: str, line: int) -> None:
        what = "not on the scratch server: order by code point instead, so order is approximate"
        self._find("collation", collation, what, line)

    def _skip(self, statement: Statement, why: str) -> None:
        self._find("skipped", statement.name or statement.kind, why, statement.line)

    def _find(
        self, kind: FindingKind, name: str, message: str, line: int, rows: tuple[str, ...] = ()
    ) -> None:
        self._findings.append(Finding(kind, name, message, line, rows))


def _ensure_room(source: Source, cluster: Cluster) -> None:
    if cluster.place is None:
        return
    size = source.info.path.stat().st_size
    plain = source.info.kind == "PostgreSQL plain dump" and not source.info.wrappers
    ensure_space(cluster.place, size * SCRATCH_PER_BYTE * (1 if plain else COMPRESSION))
