"""A reviewed text runs on a target, byte for byte, as one message; its end has a name.

Nothing is decided here: the script recognises its target and guards every row by itself. What this
adds is a look first, and an honest word when the connection was lost in the middle.
"""

import re
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import conninfo

from recovery.model import EngineError, Exit, Progress
from recovery.script.body import ALREADY_APPLIED, APPLIED, LOOKED
from recovery.script.header import body_digest, stated_digest

__all__ = ["Applied", "TargetReport", "TargetTable", "apply", "body_digest", "look"]

Connection = psycopg.Connection[tuple[object, ...]]
State = Literal["applied", "already applied", "refused"]
_LOCK = re.compile(r"^LOCK TABLE (?:ONLY )?(.+) IN SHARE ROW EXCLUSIVE MODE;$", re.MULTILINE)
_LOOK = "dbmend: look: "


@dataclass(frozen=True, slots=True)
class Applied:
    """How a run ended. Refused: nothing was changed; `detail` says why and names rows."""

    state: State
    detail: str
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TargetTable:
    name: str
    rows: int  # the server's own estimate; -1 when it has none
    bytes: int
    triggers: tuple[str, ...]  # enabled ones that users made


@dataclass(frozen=True, slots=True)
class TargetReport:
    """What a look at the target found; nothing of it was changed."""

    server: str
    database: str
    writable: bool
    tables: tuple[TargetTable, ...]
    ready: int  # rows as they were seen
    done: int  # rows at their target already
    moved: int  # rows that are neither
    refusal: str  # why the script would refuse whatever the rows are; '' when it would not


def look(script_text: str, dsn: str) -> TargetReport:
    """Runs the script's own looking part, without its locks, and rolls back.

    Raises EngineError: REFUSED for a text that is no script or was changed, COULD_NOT_TELL when
    the target cannot be reached.
    """
    _check_text(script_text)
    with _connect(dsn) as connection:
        writable = _one(connection, "SELECT NOT pg_catalog.pg_is_in_recovery()") == "True"
        server = _one(connection, "SELECT pg_catalog.current_setting('server_version')")
        database = _one(connection, "SELECT pg_catalog.current_database()")
        names = dict.fromkeys(_LOCK.findall(script_text))
        tables = tuple(table for name in names if (table := _table(connection, name)) is not None)
        counts, refusal = _guards(connection, script_text) if writable else ((0, 0, 0), "")
        return TargetReport(server, database, writable, tables, *counts, refusal)


def apply(script_text: str, dsn: str, *, progress: Progress | None = None) -> Applied:
    """Run the text. Applied and already applied are certain, and so is refused: nothing changed.

    Raises EngineError: REFUSED for a text that is no script or was changed, COULD_NOT_TELL when
    the target cannot be reached, or was lost before it said how the run ended.
    """
    _check_text(script_text)
    notices: list[str] = []
    with _connect(dsn) as connection:
        connection.add_notice_handler(lambda notice: notices.append(_words(notice)))
        if progress is not None:
            progress.stage("running the script")
        try:
            # Without parameters this is one simple-query message of exactly these bytes.
            connection.execute(script_text.encode())
        except psycopg.Error as error:
            if connection.broken or connection.closed or error.sqlstate is None:
                raise _unknown(dsn, error) from error
            return Applied("refused", _reason(error), tuple(notices))
    for notice in notices:
        if notice.startswith(APPLIED):
            return Applied("applied", notice, tuple(notices))
        if notice.startswith(ALREADY_APPLIED):
            return Applied("already applied", notice, tuple(notices))
    raise EngineError(
        Exit.COULD_NOT_TELL,
        "the target ended the script without saying how",
        hint="Run apply again: a script that was applied says so and writes nothing.",
    )


def _check_text(text: str) -> None:
    if body_digest(text) != stated_digest(text):
        raise EngineError(
            Exit.REFUSED,
            "the script's body is not the one its header was made for: it was changed",
            hint="Make it again: dbmend script",
        )


def _connect(dsn: str) -> Connection:
    try:
        return psycopg.connect(
            dsn, autocommit=True, client_encoding="utf8", application_name="dbmend"
        )
    except psycopg.Error as error:
        raise EngineError(
            Exit.COULD_NOT_TELL,
            "the target cannot be reached: " + _without_password(str(error), dsn),
            hint="Nothing was run. Check the address, and that the server accepts you.",
        ) from None  # the cause would show the address


def _unknown(dsn: str, error: psycopg.Error) -> EngineError:
    return EngineError(
        Exit.COULD_NOT_TELL,
        "the connection was lost before the target said whether the repair was committed: "
        + _without_password(str(error), dsn).strip(),
        hint="It was done wholly or not at all. Run the same command again: a script that was "
        "applied says 'already applied' and writes nothing.",
    )


def _without_password(message: str, dsn: str) -> str:
    try:
        parts = conninfo.conninfo_to_dict(dsn)
    except psycopg.Error:
        return "its address cannot be read"  # libpq would quote it, with the password
    secrets = (str(value) for name, value in parts.items() if "password" in name and value)
    for secret in secrets:
        message = message.replace(secret, "***")
    return message.strip()


def _reason(error: psycopg.Error) -> str:
    lines = (error.diag.message_primary or str(error), error.diag.message_detail or "")
    return "\n".join(line for line in lines if line)


def _words(notice: psycopg.errors.Diagnostic) -> str:
    lines = (notice.message_primary or "", notice.message_detail or "")
    return "\n".join(line for line in lines if line)


def _one(connection: Connection, question: str) -> str:
    row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return str(row[0])


def _table(connection: Connection, name: str) -> TargetTable | None:
    found = connection.execute(
        "SELECT c.reltuples::int8, pg_catalog.pg_total_relation_size(c.oid), "
        "ARRAY(SELECT t.tgname::text FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = c.oid "
        "AND NOT t.tgisinternal AND t.tgenabled <> 'D' ORDER BY 1) "
        "FROM pg_catalog.pg_class AS c WHERE c.oid = pg_catalog.to_regclass(%s)",
        [name],
    ).fetchone()
    if found is None:
        return None
    rows, size, triggers = found
    assert isinstance(triggers, list)
    return TargetTable(name, int(str(rows)), int(str(size)), tuple(map(str, triggers)))


def _guards(connection: Connection, text: str) -> tuple[tuple[int, int, int], str]:
    """(ready, done, moved) and why the script would refuse before it looks at rows."""
    looking, mark, rest = text.partition("\n" + LOOKED + "\n")
    end = rest.rpartition("END\n")[2]  # the closing dollar quote and what follows it
    if not mark or "COMMIT;" not in end:
        return (0, 0, 0), "the script has no looking part"
    looking = _LOCK.sub("", looking)
    closing = end.partition(";")[0]
    notices: list[str] = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    tell = (
        "\nRAISE NOTICE USING MESSAGE = pg_catalog.concat('" + _LOOK + "', dbmend_ready, ' ', "
        "dbmend_done, ' ', dbmend_other);\nEND\n"
    )
    try:
        connection.execute((looking + tell + closing + ";\n").encode())
    except psycopg.Error as error:
        return (0, 0, 0), _reason(error)
    finally:
        if not connection.closed:
            connection.execute("ROLLBACK")
    figures = next(notice for notice in notices if notice.startswith(_LOOK))
    ready, done, moved = (int(figure) for figure in figures.removeprefix(_LOOK).split())
    return (ready, done, moved), ""
