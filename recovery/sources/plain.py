"""Reads plain SQL dumps: pg_dump of every version, with COPY or INSERT, and scripts made by hand.

`survey` reads the file once, checks it and collects what `info` says; `items` reads it again and
hands it on. Plain text has no checksum: what is whole in form may still hold changed values.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
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
from recovery.sources.model import Item, Section, SourceInfo, Statement, TableData, Wrapper
from recovery.sources.rows import RowCheck
from recovery.sources.scanner import CommentPiece, CopyPiece, MetaPiece, Scanner, SqlPiece
from recovery.sources.stream import Broken, Stream, open_stream

BEGIN_MARK = b"PostgreSQL database dump"
END_MARK = b"PostgreSQL database dump complete"
CLUSTER_MARK = b"PostgreSQL database cluster dump"
PROBLEMS_MAX = 100  # shown; the last one says how many more there are

_ENCODING = re.compile(r"SET\s+client_encoding\s*(?:=|\bTO\b)\s*'?([\w-]+)", re.IGNORECASE)
_OWNER = re.compile(
    rb"Name: .*; Type: .*; Schema: .*?; Owner: (?P<owner>.*?)(?:; Tablespace: .*)?\Z"
)
_STARTED = re.compile(
    rb"Started on (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)?(?: (UTC|GMT|[+-]\d\d(?::?\d\d)?))?\Z"
)
_TOOL_NOISE = re.compile(r"^pg_(?:dump|dumpall|restore)(?:\.exe)?: ", re.MULTILINE)
_ELSEWHERE = re.compile(rb"\\(?:i|ir|include|include_relative|copy|g\w*|!|set|o|w)\b|\\!")
_DATABASE = frozenset({"DATABASE", "DATABASE PROPERTIES"})


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

    def statement(self, sql: str, line: int) -> Statement:
        """The statement with its kind and place; what it sets is set."""
        encoding = _ENCODING.match(sql)
        if encoding is not None:
            self.encoding = encoding[1]
        schema = searched_first(sql)
        if schema is not None:
            self.schema = schema
        found = classify(sql, self.schema or "public")
        section = section_of(found.kind, self.section)
        if has_place(found.kind):
            self.section = section
        return Statement(sql, section, line, found.kind, found.name, found.owner or self.owner)


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


class PlainSource:
    """A plain dump, possibly compressed."""

    def __init__(self, path: Path, wrappers: tuple[Wrapper, ...]) -> None:
        self._path = path
        self._wrappers = wrappers
        self._survey: Survey | None = None
        self._parked: list[tuple[Stream, Scanner]] = []

    @property
    def info(self) -> SourceInfo:
        survey = self._surveyed()
        complete = bool(survey.ended) if survey.begun else not survey.problems
        left_out: tuple[str, ...] = ()
        if survey.large_objects:
            left_out = ("large objects are kept out in this version",)
        return SourceInfo(
            path=self._path,
            kind="PostgreSQL plain dump",
            wrappers=self._wrappers,
            server_version=survey.server_version,
            dump_version=survey.dump_version,
            taken_at=survey.taken_at,
            database=survey.database,
            encoding=survey.encoding,
            tables=tuple(survey.tables),
            complete=complete,
            detail=_detail(survey, self._wrappers),
            left_out=left_out,
        )

    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._surveyed().problems)

    def items(self) -> Iterator[Item]:
        stream = open_stream(self._path, self._wrappers)
        try:
            scanner = Scanner(self._path, stream.read)
            session = Session()
            for piece in scanner.pieces():
                match piece:
                    case CommentPiece():
                        owner = _OWNER.match(piece.text)
                        if owner is not None:
                            session.owner = _owner(owner["owner"], session)
                    case CopyPiece():
                        yield self._table(piece, session, scanner.line)
                    case SqlPiece():
                        item = self._statement(piece, session)
                        if item.kind not in _DATABASE and item.kind != "BLOB":
                            yield item
                    case MetaPiece():
                        _follow(piece, session)
        finally:
            stream.close()

    def _statement(self, piece: SqlPiece, session: Session) -> Statement:
        fault = _fault(piece, session)
        if fault:
            raise Broken(self._path, fault, line=piece.line)
        return session.statement(session.decode(piece.sql), piece.line)

    def _table(self, piece: CopyPiece, session: Session, line: int) -> TableData:
        fault = _undecodable(piece.sql, session)
        head = None if fault else copy_head(session.decode(piece.sql), session.schema)
        if head is None:
            raise Broken(self._path, fault or "this COPY cannot be read", line=piece.line)
        session.section = "data"
        chunks: Callable[[], Iterator[bytes]] = partial(self._rows, piece.offset, line)
        return TableData(head.table, head.columns, head.statement, chunks, piece.line, piece.offset)

    def _rows(self, offset: int, line: int) -> Iterator[bytes]:
        """Rows from `offset` on. Of a compressed file the place where the last reading stopped is
        kept, so that reading one table after the other unpacks the file once."""
        stream, scanner = self._take(offset)
        scanner.skip_to(offset, line=line)
        try:
            yield from scanner.rows()
        except BaseException:
            stream.close()
            raise
        self._park(stream, scanner)

    def _take(self, offset: int) -> tuple[Stream, Scanner]:
        if self._parked:
            stream, scanner = self._parked.pop()
            if scanner.offset <= offset:
                return stream, scanner
            stream.close()
        stream = open_stream(self._path, self._wrappers)
        if self._wrappers:
            return stream, Scanner(self._path, stream.read)
        stream.skip_to(offset)
        return stream, Scanner(self._path, stream.read, offset=offset)

    def _park(self, stream: Stream, scanner: Scanner) -> None:
        if self._wrappers and not self._parked:
            self._parked.append((stream, scanner))
        else:
            stream.close()

    def _surveyed(self) -> Survey:
        if self._survey is None:
            stream = open_stream(self._path, self._wrappers)
            try:
                self._survey = survey(self._path, stream.read)
            finally:
                stream.close()
        return self._survey


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
                    _follow(piece, session)
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
    fault = _fault(piece, session)
    if fault:
        found.add(piece.line, fault)
        return
    item = session.statement(session.decode(piece.sql), piece.line)
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
    fault = _undecodable(piece.sql, session)
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


def _fault(piece: SqlPiece, session: Session) -> str:
    """Why these bytes are no statement that can be handed on; '' when they are."""
    fault = _undecodable(piece.sql, session)
    if fault:
        return fault
    sql = session.decode(piece.sql)
    start = sql.split("\n", 1)[0][:60]
    if first_word(sql) not in KNOWN_WORDS:
        what = "a message of a program was written into the dump" if _TOOL_NOISE.match(sql) else ""
        return f"{what or 'this is no SQL'}: {start!r}"
    if "'" not in sql and "$" not in sql and (noise := _TOOL_NOISE.search(sql)):
        text = sql[noise.start() :].split("\n", 1)[0][:60]
        return f"a message of a program was written into this statement: {text!r}"
    if not piece.ended:
        return f"the statement that begins here does not end: {start!r}"
    return ""


def _undecodable(sql: bytes, session: Session) -> str:
    if b"\0" in sql:
        return "a NUL byte stands in this statement"
    try:
        session.decode(sql)
    except LookupError:
        return f"statements in the encoding {session.encoding} cannot be read in this version"
    except UnicodeDecodeError:
        return f"this statement has bytes that are not {session.encoding}"
    return ""


def _follow(piece: MetaPiece, session: Session) -> None:
    parts = piece.text.split()
    if parts[0] == b"\\encoding" and len(parts) > 1:
        session.encoding = parts[1].decode("ascii", "backslashreplace").strip("'")


def _owner(owner: bytes, session: Session) -> str:
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


def _detail(found: Survey, wrappers: tuple[Wrapper, ...]) -> str:
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
