"""Reads a plain dump once: checks it, and collects what the file says about itself.

Plain text has no checksum: what is whole in form may still hold changed values.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from recovery.model import Problem
from recovery.sources.classify import (
    KNOWN_WORDS,
    classify,
    copy_head,
    first_word,
    has_place,
    searched_first,
    section_of,
)
from recovery.sources.encodings import codec
from recovery.sources.model import Section, Statement, Wrapper
from recovery.sources.rows import RowCheck
from recovery.sources.scanner import CommentPiece, CopyPiece, MetaPiece, Scanner, SqlPiece
from recovery.sources.stream import Broken

BEGIN_MARK = b"PostgreSQL database dump"
END_MARK = b"PostgreSQL database dump complete"
CLUSTER_MARK = b"PostgreSQL database cluster dump"
PROBLEMS_MAX = 100  # shown; the last one says how many more there are

_ENCODING = re.compile(r"SET\s+client_encoding\s*(?:=|\bTO\b)\s*'?([\w-]+)", re.IGNORECASE)
OWNER_NOTE = re.compile(
    rb"Name: .*; Type: .*; Schema: .*?; Owner: (?P<owner>.*?)(?:; Tablespace: .*)?\Z"
)
_STARTED = re.compile(
    rb"Started on (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)?(?: (UTC|GMT|[+-]\d\d(?::?\d\d)?))?\Z"
)
_TOOL_NOISE = re.compile(r"^pg_(?:dump|dumpall|restore)(?:\.exe)?: ", re.MULTILINE)
_ELSEWHERE = re.compile(rb"\\(?:i|ir|include|include_relative|copy|g\w*|!|set|o|w)\b|\\!")


@dataclass(slots=True)
class Session:
    """What the statements read so far have set."""

    encoding: str = "UTF8"
    schema: str = "public"
    section: Section = "pre-data"
    owner: str = ""

    def decode(self, sql: bytes) -> str:
        """Raises UnicodeDecodeError or LookupError: never guesses."""
        return sql.decode(codec(self.encoding))

    def statement(self, piece: SqlPiece) -> Statement | str:
        """The statement with its kind and place, what it sets being set; or why these bytes are
        no statement that can be handed on."""
        fault = undecodable(piece.sql, self)
        if fault:
            return fault
        sql = self.decode(piece.sql)
        word = first_word(sql)
        fault = _fault(sql, word, piece)
        if fault:
            return fault
        if word in {"SET", "SELECT"}:
            encoding = _ENCODING.match(sql)
            if encoding is not None:
                self.encoding = encoding[1]
            schema = searched_first(sql)
            self.schema = self.schema if schema is None else schema
        found = classify(sql, self.schema or "public")
        section = section_of(found.kind, self.section)
        if has_place(found.kind):
            self.section = section
        owner = found.owner or self.owner
        return Statement(sql, section, piece.line, found.kind, found.name, owner)


@dataclass(slots=True)
class Survey:
    """What one reading of a plain dump has found."""

    path: Path
    server_version: str = ""
    dump_version: str = ""
    taken_at: datetime | None = None
    database: str = ""
    encoding: str = "UTF8"
    begun: list[int] = field(default_factory=list)  # lines of the marks
    ended: list[int] = field(default_factory=list)
    cluster: bool = False
    tables: dict[str, None] = field(default_factory=dict)
    rows: int = 0
    last: str = ""  # what was read last, in words
    large_objects: int = 0
    databases: list[str] = field(default_factory=list)
    crlf: bool = False
    problems: list[Problem] = field(default_factory=list)
    unshown: int = 0

    def add(self, line: int, message: str, hint: str = "") -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(str(self.path), line, message, hint))
        else:
            self.unshown += 1


def survey(path: Path, read: Callable[[int], bytes]) -> Survey:
    """Reads everything once. Problems come in the file's order."""
    found = Survey(path)
    session = Session()
    scanner = Scanner(path, read)
    try:
        for piece in scanner.pieces():
            match piece:
                case CommentPiece():
                    _note_comment(found, piece)
                case MetaPiece():
                    follow(piece, session)
                    _note_meta(found, piece)
                case SqlPiece():
                    _note_statement(found, piece, session)
                case CopyPiece():
                    _note_rows(found, piece, session, scanner)
    except Broken as broken:
        # Where the container broke it knows bytes only: the reader adds how far it came.
        line = broken.problem.line
        place = "" if line else f"; read up to line {scanner.line}" + _behind(found)
        found.add(line, broken.message + place, broken.hint)
    else:
        _judge_marks(found)
    if found.unshown:
        found.problems.append(Problem(str(path), 0, f"and {found.unshown} more problems"))
    return found


def _note_comment(found: Survey, piece: CommentPiece) -> None:
    text = piece.text
    if text == END_MARK:
        found.ended.append(piece.line)
    elif text == BEGIN_MARK:
        if found.ended and not found.cluster:
            found.add(
                piece.line,
                "a second dump begins here: two runs were written into one file, one after the "
                f"other (the first ends at line {found.ended[-1]})",
                "cut the file before this line and take the part that is wanted",
            )
        elif len(found.begun) > len(found.ended):
            found.add(piece.line, "a second dump begins here before the first one ended")
        found.begun.append(piece.line)
    elif text == CLUSTER_MARK:
        found.cluster = True
        found.add(
            piece.line,
            "this is a dump of a whole cluster (pg_dumpall): several databases in one file are "
            "not read in this version",
            "dump the one database with pg_dump, or cut its part out of the file",
        )
    elif text.startswith(b"Dumped from database version "):
        found.server_version = found.server_version or _version(text)
    elif text.startswith(b"Dumped by pg_dump version "):
        found.dump_version = found.dump_version or _version(text)
    elif text.startswith(b"Started on ") and found.taken_at is None:
        found.taken_at = _taken_at(text)


def _note_meta(found: Survey, piece: MetaPiece) -> None:
    text = piece.text.decode("ascii", "backslashreplace")[:60]
    if piece.text.startswith((b"\\connect", b"\\c ")):
        parts = text.split()
        if len(parts) > 1:
            found.database = parts[-1].strip('"')
    elif piece.text.startswith(b"\\."):
        found.add(piece.line, "the end mark of rows (\\.) stands where no COPY is open")
    elif _ELSEWHERE.match(piece.text):
        found.add(piece.line, f"a psql command that is not carried out: {text}")


def _note_statement(found: Survey, piece: SqlPiece, session: Session) -> None:
    item = session.statement(piece)
    if isinstance(item, str):
        found.add(piece.line, item)
        return
    found.encoding = session.encoding
    match item.kind:
        case "TABLE" | "INSERT" if item.name:
            created = item.kind == "INSERT" or first_word(item.sql) == "CREATE"
            if created:
                found.tables[item.name] = None
            found.rows += item.kind == "INSERT"
            found.last = f"{item.kind} {item.name}"
        case "BLOB":
            found.large_objects += 1
        case _:
            found.last = f"{item.kind} {item.name}".strip()


def _note_rows(found: Survey, piece: CopyPiece, session: Session, scanner: Scanner) -> None:
    fault = undecodable(piece.sql, session)
    head = None if fault else copy_head(session.decode(piece.sql), session.schema)
    if head is None:
        found.add(piece.line, fault or "this COPY cannot be read")
        return
    session.section = "data"
    found.tables[head.table] = None
    check = RowCheck(
        head.table, len(head.columns), session.encoding, scanner.line, delimited=not head.options
    )
    found.last = f"the rows of {head.table}"
    try:
        for block in scanner.rows():
            check.feed(block)
            found.crlf = found.crlf or block.endswith(b"\r\n")
    except Broken as broken:
        _add_faults(found, check)
        message = f"table {head.table}: after {check.rows} whole rows {broken.message}"
        line = broken.problem.line or scanner.line
        raise Broken(found.path, message, line=line, hint=broken.hint) from broken
    _add_faults(found, check)
    found.rows += check.rows


def _add_faults(found: Survey, check: RowCheck) -> None:
    for line, message in check.faults():
        found.add(line, message)


def _judge_marks(found: Survey) -> None:
    if found.cluster or len(found.begun) == len(found.ended):
        return
    if found.begun and len(found.ended) < len(found.begun):
        found.add(
            0,
            f"the end mark '{END_MARK.decode()}' is missing: the file was cut off"
            f"{_behind(found)}; what pg_dump writes after that is lost, as a rule constraints, "
            "indexes and triggers",
            "copy the backup again from where it was made",
        )
    else:
        found.add(0, f"the beginning ('{BEGIN_MARK.decode()}') is missing: the file was cut")


def _behind(found: Survey) -> str:
    return f" behind {found.last}" if found.last else ""


def _fault(sql: str, word: str, piece: SqlPiece) -> str:
    start = sql.split("\n", 1)[0][:60]
    if word not in KNOWN_WORDS:
        if _TOOL_NOISE.match(sql):
            return f"a message of a program was written into the dump: {start!r}"
        return f"this is no SQL: {start!r}"
    if "'" not in sql and "$" not in sql and (noise := _TOOL_NOISE.search(sql)):
        text = sql[noise.start() :].split("\n", 1)[0][:60]
        return f"a message of a program was written into this statement: {text!r}"
    return "" if piece.ended else f"the statement that begins here does not end: {start!r}"


def undecodable(sql: bytes, session: Session) -> str:
    if b"\0" in sql:
        return "a NUL byte stands in this statement"
    try:
        session.decode(sql)
    except LookupError:
        return f"statements in the encoding {session.encoding} cannot be read in this version"
    except UnicodeDecodeError:
        return f"this statement has bytes that are not {session.encoding}"
    return ""


def follow(piece: MetaPiece, session: Session) -> None:
    parts = piece.text.split()
    if parts[0] == b"\\encoding" and len(parts) > 1:
        session.encoding = parts[1].decode("ascii", "backslashreplace").strip("'")


def owner_of(owner: bytes, session: Session) -> str:
    if owner == b"-":
        return ""
    try:
        return session.decode(owner)
    except (UnicodeDecodeError, LookupError):
        return ""


def _version(text: bytes) -> str:
    found = re.search(rb"version (\S+)", text)
    return found[1].decode("ascii", "backslashreplace") if found else ""


def _taken_at(text: bytes) -> datetime | None:
    """The start that `pg_dump --verbose` writes, when its zone is beyond doubt."""
    found = _STARTED.match(text)
    if found is None or found[2] is None:
        return None
    zone: timezone = UTC
    if found[2][:1] in b"+-":
        digits = found[2][1:].replace(b":", b"").ljust(4, b"0")
        distance = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        zone = timezone(-distance if found[2][:1] == b"-" else distance)
    try:
        return datetime.fromisoformat(found[1].decode()).replace(tzinfo=zone)
    except ValueError:
        return None


def detail_of(found: Survey, wrappers: tuple[Wrapper, ...]) -> str:
    parts: list[str] = []
    if not found.begun:
        parts.append(
            "a script without pg_dump's marks: that it ends with a whole statement is all that "
            "speaks for its being whole"
        )
    if wrappers != ("gzip",):
        parts.append("no checksum over the contents: changed values cannot be noticed")
    if found.crlf:
        parts.append("lines end with CR LF")
    parts.append(f"{found.rows} rows in {len(found.tables)} tables")
    return "; ".join(parts)
