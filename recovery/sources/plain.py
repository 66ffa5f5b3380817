"""Reads plain SQL dumps: of every pg_dump, with COPY or INSERT, and scripts made by hand."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from recovery.model import Problem
from recovery.sources.classify import copy_head
from recovery.sources.model import Item, SourceInfo, Statement, TableData, Wrapper
from recovery.sources.scanner import CommentPiece, CopyPiece, MetaPiece, Scanner, SqlPiece
from recovery.sources.stream import Broken, Stream, open_stream
from recovery.sources.survey import (
    OWNER_NOTE,
    Session,
    Survey,
    detail_of,
    follow,
    owner_of,
    survey,
    undecodable,
)

_NOT_HANDED_ON = frozenset({"DATABASE", "DATABASE PROPERTIES", "BLOB"})


class PlainSource:
    """A plain dump, possibly compressed."""

    def __init__(self, path: Path, wrappers: tuple[Wrapper, ...]) -> None:
        self._path = path
        self._wrappers = wrappers
        self._survey: Survey | None = None
        self._parked: list[tuple[Stream, Scanner]] = []

    def __del__(self) -> None:
        for stream, _ in self._parked:
            stream.close()

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
            detail=detail_of(survey, self._wrappers),
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
                        owner = OWNER_NOTE.match(piece.text)
                        if owner is not None:
                            session.owner = owner_of(owner["owner"], session)
                    case CopyPiece():
                        yield self._table(piece, session, scanner.line)
                    case SqlPiece():
                        item = self._statement(piece, session)
                        if item.kind not in _NOT_HANDED_ON and not _of_database(item):
                            yield item
                    case MetaPiece():
                        follow(piece, session)
        finally:
            stream.close()

    def _statement(self, piece: SqlPiece, session: Session) -> Statement:
        item = session.statement(piece)
        if isinstance(item, str):
            raise Broken(self._path, item, line=piece.line)
        return item

    def _table(self, piece: CopyPiece, session: Session, line: int) -> TableData:
        fault = undecodable(piece.sql, session)
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


def _of_database(item: Statement) -> bool:
    """Whether it sets up the database itself: only `pg_dump -C` writes that."""
    return item.kind in {"ACL", "COMMENT", "SECURITY LABEL"} and item.name.startswith("DATABASE ")
