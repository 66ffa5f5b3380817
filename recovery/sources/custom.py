"""Reads PostgreSQL custom archives (pg_dump -Fc): with offsets and without (piped), packed with
none, gzip or zstd. Statements come in the order in which pg_restore would print them.

Only gzip blocks carry a checksum; the table of contents has none, so its entries are held against
each other (names, columns, positions).
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from diffing.model import qualified
from recovery.model import Problem
from recovery.sources.archive import (
    BLOCK_ROWS,
    POSITION_KNOWN,
    ArchiveReader,
    Entry,
    Header,
    UnpackError,
    unpack,
)
from recovery.sources.classify import classify, copy_head, quoted
from recovery.sources.encodings import codec
from recovery.sources.inspection import Archive, Inspection, inspect, transferred_as_text
from recovery.sources.model import Item, Section, SourceInfo, Statement, TableData, Wrapper
from recovery.sources.scanner import CommentPiece, MetaPiece, Scanner, SqlPiece
from recovery.sources.shelf import Shelf
from recovery.sources.stream import Broken, Stream

# What pg_restore sets before it restores anything.
_PRELUDE = (
    "SET check_function_bodies = false",
    "SET xmloption = content",
    "SET row_security = off",
)
_SESSION = ("ENCODING", "STDSTRINGS", "SEARCHPATH")
_NOT_HANDED_ON = frozenset(
    {"DATABASE", "DATABASE PROPERTIES", "BLOB", "BLOBS", "BLOB METADATA", "BLOB COMMENTS"}
)
_ACL = frozenset({"ACL", "ACL LANGUAGE", "DEFAULT ACL"})
_AFTER_ACL = frozenset({"EVENT TRIGGER", "MATERIALIZED VIEW DATA"})
_SECTIONS: tuple[Section, ...] = ("pre-data", "data", "post-data")


class CustomSource:
    """A custom archive, possibly compressed once more as a whole. Raises EngineError(UNUSABLE)
    when its header or table of contents cannot be read."""

    def __init__(self, path: Path, wrappers: tuple[Wrapper, ...]) -> None:
        self._path = path
        self._wrappers = wrappers
        self._shelf = Shelf(path, wrappers)
        self._size = None if wrappers else path.stat().st_size
        self._inspection: Inspection | None = None
        self._positions: tuple[tuple[int, int], ...] | None = None
        reader = self._reader(0)
        try:
            self._header: Header = reader.header()
            self._entries: tuple[Entry, ...] = reader.entries(self._header.version)
            self._data_begins = reader.stream.position
        except Broken as broken:
            reader.stream.close()
            raise transferred_as_text(path, wrappers) or broken from broken
        self._shelf.keep(reader.stream)
        self._encoding = _encoding(self._entries)

    @property
    def info(self) -> SourceInfo:
        inspection = self._inspected()
        header = self._header
        left_out: tuple[str, ...] = ()
        if inspection.large_objects:
            count = inspection.large_objects
            left_out = (f"{count} large objects are kept out in this version",)
        version = ".".join(map(str, header.version))
        detail = [f"archive version {version}, packed with {header.compression}"]
        if header.compression != "gzip" and self._wrappers != ("gzip",):
            detail.append("no checksum over the contents: changed values cannot be noticed")
        detail.append("its table of contents has no checksum")
        detail.append(f"{inspection.rows} rows in {len(inspection.tables)} tables")
        return SourceInfo(
            path=self._path,
            kind="PostgreSQL custom archive",
            wrappers=self._wrappers,
            server_version=header.server_version.split(" ")[0],
            dump_version=header.dump_version.split(" ")[0],
            taken_at=header.made_at,
            database=header.database,
            encoding=self._encoding,
            tables=inspection.tables,
            complete=inspection.complete,
            detail="; ".join(detail),
            zone_known=False,
            left_out=left_out,
        )

    def problems(self) -> tuple[Problem, ...]:
        return self._inspected().problems

    def items(self) -> Iterator[Item]:
        for sql in _PRELUDE:
            yield Statement(sql, "pre-data", 0, "SET")
        for kind in _SESSION:
            for entry in self._entries:
                if entry.kind == kind:
                    yield from self._statements(entry, "pre-data")
        yield from self._pass(_is_main, with_search_path=not self._sets_search_path())
        yield from self._pass(_is_acl, with_search_path=not self._sets_search_path())
        yield from self._pass(_is_after_acl, with_search_path=not self._sets_search_path())

    def _pass(self, belongs: Callable[[Entry], bool], *, with_search_path: bool) -> Iterator[Item]:
        """One of pg_restore's three passes. Entries without a section stand where the one before
        them stands; archives of old versions rely on the search path being set per schema."""
        section: Section = "pre-data"
        schema = b""
        for entry in self._entries:
            section = _SECTIONS[entry.section - 2] if entry.section > 1 else section
            if not belongs(entry) or entry.kind in _NOT_HANDED_ON or _left_out(entry):
                continue
            if with_search_path and entry.schema and entry.schema != schema:
                schema = entry.schema
                path = f"SET search_path = {quoted(self._decode(schema))}, pg_catalog"
                yield Statement(path, section, entry.dump_id, "SET")
            place: Section = section if belongs is _is_main else "post-data"
            if entry.kind == "TABLE DATA":
                yield from self._data(entry)
            else:
                yield from self._statements(entry, place)

    def _statements(self, entry: Entry, section: Section) -> Iterator[Statement]:
        pieces = iter((entry.definition,))
        scanner = Scanner(self._path, lambda _size: next(pieces, b""))
        for piece in scanner.pieces():
            if isinstance(piece, SqlPiece):
                yield self._statement(entry, piece.sql, section)

    def _statement(self, entry: Entry, raw: bytes, section: Section) -> Statement:
        sql, tag, schema = self._decode(raw), self._decode(entry.tag), self._decode(entry.schema)
        kind = "SET" if entry.kind in _SESSION else entry.kind
        match kind:
            case "SET":
                name = ""
            case "COMMENT" | "ACL" | "SECURITY LABEL":
                name = classify(sql).name or tag
            case "FUNCTION" | "PROCEDURE" | "AGGREGATE":
                name = f"{schema}.{tag.split('(')[0]}"
            case "TABLE" | "VIEW" | "MATERIALIZED VIEW" | "SEQUENCE" | "SEQUENCE SET":
                name = qualified(schema, tag)
            case _:
                name = f"{schema}.{tag}" if schema else tag
        return Statement(sql, section, entry.dump_id, kind, name, self._decode(entry.owner))

    def _data(self, entry: Entry) -> Iterator[Item]:
        if not entry.copy.strip():
            yield from self._inserts(entry)
            return
        schema = self._decode(entry.schema)
        head = copy_head(self._decode(entry.copy).rstrip().rstrip(";"), schema)
        if head is None:
            raise Broken(self._path, f"entry {entry.dump_id}: its COPY statement cannot be read")
        position = self._position(entry)
        rows: Callable[[], Iterator[bytes]] = partial(self._rows, entry, head.table)
        yield TableData(head.table, head.columns, head.statement, rows, entry.dump_id, position)

    def _inserts(self, entry: Entry) -> Iterator[Statement]:
        """Of an archive made with --inserts: the block holds statements."""
        reader = self._reader(self._position(entry))
        try:
            scanner = Scanner(self._path, self._block(reader, entry))
            for piece in scanner.pieces():
                match piece:
                    case SqlPiece():
                        yield self._statement_of_rows(entry, piece)
                    case CommentPiece() | MetaPiece():
                        pass
                    case _:
                        raise Broken(self._path, f"entry {entry.dump_id}: COPY inside a block")
        finally:
            reader.stream.close()

    def _statement_of_rows(self, entry: Entry, piece: SqlPiece) -> Statement:
        sql = self._decode(piece.sql)
        found = classify(sql, self._decode(entry.schema))
        return Statement(sql, "data", entry.dump_id, found.kind, found.name)

    def _rows(self, entry: Entry, table: str) -> Iterator[bytes]:
        reader = self._reader(self._position(entry))
        try:
            read = self._block(reader, entry)
            scanner = Scanner(self._path, read, inside=f"the data of {table}")
            yield from scanner.rows()
            while read(1):
                pass  # the checksum stands at the end
        except BaseException:
            reader.stream.close()
            raise
        self._shelf.keep(reader.stream)

    def _block(self, reader: ArchiveReader, entry: Entry) -> Callable[[int], bytes]:
        block = reader.block()
        if block is None or (block.kind, block.dump_id) != (BLOCK_ROWS, entry.dump_id):
            raise Broken(self._path, f"the data of entry {entry.dump_id} is not where it should be")
        pieces = unpack(reader.parts(), self._header.compression)

        def read(_size: int) -> bytes:
            try:
                return next(pieces, b"")
            except UnpackError as error:
                raise Broken(self._path, f"table {self._decode(entry.tag)}: {error}") from error

        return read

    def _position(self, entry: Entry) -> int:
        if entry.state == POSITION_KNOWN:
            return entry.position
        if self._positions is None:
            self._positions = tuple(self._walk())
        for dump_id, position in self._positions:
            if dump_id == entry.dump_id:
                return position
        raise Broken(self._path, f"the data of entry {entry.dump_id} is missing")

    def _walk(self) -> Iterator[tuple[int, int]]:
        """(dumpId, position) of each block of an archive that was written into a pipe."""
        reader = self._reader(self._data_begins)
        try:
            while (block := reader.block()) is not None:
                yield block.dump_id, block.position
                if block.kind == BLOCK_ROWS:
                    for _ in reader.parts():
                        pass
                    continue
                while reader.integer("the number of a large object"):
                    for _ in reader.parts():
                        pass
        finally:
            reader.stream.close()

    def _reader(self, position: int) -> ArchiveReader:
        stream: Stream = self._shelf.take(position)
        reader = ArchiveReader(self._path, stream, self._size)
        if position:
            reader.use(self._header)
        return reader

    def _sets_search_path(self) -> bool:
        return any(entry.kind == "SEARCHPATH" for entry in self._entries)

    def _decode(self, text: bytes) -> str:
        try:
            return text.decode(codec(self._encoding))
        except (UnicodeDecodeError, LookupError) as error:
            raise Broken(
                self._path, f"the table of contents has texts that are not {self._encoding}"
            ) from error

    def _inspected(self) -> Inspection:
        if self._inspection is None:
            self._inspection = inspect(
                Archive(
                    self._path,
                    self._wrappers,
                    self._header,
                    self._entries,
                    self._encoding,
                    self._data_begins,
                    self._reader,
                )
            )
        return self._inspection


def _encoding(entries: tuple[Entry, ...]) -> str:
    for entry in entries:
        if entry.kind == "ENCODING":
            parts = entry.definition.split(b"'")
            if len(parts) == 3:
                return parts[1].decode("ascii", "backslashreplace")
    return "SQL_ASCII"


def _is_acl(entry: Entry) -> bool:
    return entry.kind in _ACL


def _is_after_acl(entry: Entry) -> bool:
    of_event_trigger = entry.kind in {"COMMENT", "SECURITY LABEL"} and entry.tag.startswith(
        b"EVENT TRIGGER "
    )
    return entry.kind in _AFTER_ACL or of_event_trigger


def _is_main(entry: Entry) -> bool:
    return entry.kind not in _SESSION and not _is_acl(entry) and not _is_after_acl(entry)


def _left_out(entry: Entry) -> bool:
    """Whether it is about a large object or about the database itself."""
    return entry.kind in {"ACL", "COMMENT", "SECURITY LABEL"} and entry.tag.startswith(
        (b"LARGE OBJECT ", b"LARGE OBJECTS ", b"DATABASE ")
    )
