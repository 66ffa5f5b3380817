"""Checks a custom archive once from end to end: its table of contents against itself, every block
against the table of contents, every row against its COPY statement."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from diffing.model import qualified
from recovery.model import Problem
from recovery.sources.archive import (
    BLOCK_LARGE_OBJECTS,
    BLOCK_ROWS,
    POSITION_KNOWN,
    ArchiveReader,
    BlockHead,
    Entry,
    Header,
    UnpackError,
    unpack,
)
from recovery.sources.classify import CopyHead, classify, copy_head
from recovery.sources.encodings import codec
from recovery.sources.model import Wrapper
from recovery.sources.rows import RowCheck
from recovery.sources.scanner import Scanner, SqlPiece
from recovery.sources.stream import READ_BYTES, Broken, open_stream

_BLOCK_OF = {"TABLE DATA": BLOCK_ROWS, "BLOBS": BLOCK_LARGE_OBJECTS}
_LINES_JUDGED = 20  # so many line ends without a single bare LF are no accident


@dataclass(frozen=True, slots=True)
class Inspection:
    problems: tuple[Problem, ...]
    tables: tuple[str, ...]
    rows: int
    large_objects: int
    complete: bool  # every block that the table of contents names was read to its end


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive whose table of contents has been read."""

    path: Path
    wrappers: tuple[Wrapper, ...]
    header: Header
    entries: tuple[Entry, ...]
    encoding: str
    data_begins: int
    open_at: Callable[[int], ArchiveReader]


@dataclass(slots=True)
class _State:
    archive: Archive
    problems: list[Problem] = field(default_factory=list)
    tables: dict[str, None] = field(default_factory=dict)
    read: set[int] = field(default_factory=set)  # dumpIds whose blocks were read to the end
    met: set[int] = field(default_factory=set)
    rows: int = 0
    large_objects: int = 0

    def add(self, message: str, hint: str = "") -> None:
        self.problems.append(Problem(str(self.archive.path), 0, message, hint))

    def text(self, raw: bytes) -> str:
        return raw.decode(codec(self.archive.encoding) or "utf-8", "backslashreplace")

    def name(self, entry: Entry) -> str:
        return qualified(self.text(entry.schema), self.text(entry.tag))

    def label(self, entry: Entry) -> str:
        if entry.kind == "BLOBS":
            return "large objects"
        name = self.name(entry)
        return f"table {name}" if entry.kind == "TABLE DATA" else f"{entry.kind} {name}"


def inspect(archive: Archive) -> Inspection:
    state = _State(archive)
    _check_contents(state)
    expected = [entry for entry in archive.entries if entry.with_data]
    _read_data(state, expected)
    if state.problems:
        damage = transferred_as_text(archive.path, archive.wrappers)
        state.problems = state.problems if damage is None else [damage.problem]
    complete = all(entry.dump_id in state.read for entry in expected)
    return Inspection(
        tuple(state.problems), tuple(state.tables), state.rows, state.large_objects, complete
    )


def _read_data(state: _State, expected: list[Entry]) -> None:
    try:
        if all(entry.state == POSITION_KNOWN for entry in expected):
            _read_by_position(state, expected, state.archive.data_begins)
        else:
            _read_in_sequence(state, expected, state.archive.data_begins)
    except Broken as broken:
        state.problems.append(broken.problem)
    _name_unread(state, expected)


def transferred_as_text(path: Path, wrappers: tuple[Wrapper, ...]) -> Broken | None:
    """The error to give when every LF of a binary file has become CR LF."""
    line_feeds = pairs = 0
    last = b""
    stream = open_stream(path, wrappers)
    try:
        while piece := stream.read(READ_BYTES):
            line_feeds += piece.count(b"\n")
            pairs += piece.count(b"\r\n") + (last == b"\r" and piece[:1] == b"\n")
            last = piece[-1:]
            if line_feeds != pairs:
                return None
    except Broken:
        return None
    finally:
        stream.close()
    if line_feeds < _LINES_JUDGED:
        return None
    return Broken(
        path,
        "the archive was transferred in text mode: every LF byte in it has become CR LF",
        hint="transfer it again in binary mode",
    )


def _check_contents(state: _State) -> None:
    """The table of contents against itself: nothing else tells that one of its bits has changed."""
    kinds = Counter(entry.kind for entry in state.archive.entries)
    for kind in ("ENCODING", "STDSTRINGS"):
        if kinds[kind] != 1:
            state.add(f"the table of contents has {kinds[kind]} entries {kind} instead of one")
    if not codec(state.archive.encoding):
        state.add(f"texts in the encoding {state.archive.encoding} cannot be read in this version")
        return
    ids = Counter(entry.dump_id for entry in state.archive.entries)
    for dump_id, count in ids.items():
        if count > 1:
            state.add(f"the table of contents has {count} entries with the number {dump_id}")
    tables = {(e.schema, e.tag): e for e in state.archive.entries if e.kind == "TABLE"}
    filled: set[tuple[bytes, bytes]] = set()
    for entry in state.archive.entries:
        fault = _entry_fault(state, entry)
        if not fault and entry.kind == "TABLE DATA":
            if (entry.schema, entry.tag) in filled:
                fault = "its rows come twice"
            filled.add((entry.schema, entry.tag))
            fault = fault or _data_fault(state, entry, tables)
        if fault:
            state.add(f"entry {entry.dump_id} of the table of contents is damaged: {fault}")


def _entry_fault(state: _State, entry: Entry) -> str:
    for raw in (entry.tag, entry.schema, entry.owner, entry.definition):
        if b"\0" in raw:
            return "a NUL byte stands in its texts"
        try:
            raw.decode(codec(state.archive.encoding))
        except UnicodeDecodeError:
            return f"its texts are not {state.archive.encoding}"
    definition = iter((entry.definition,))
    try:
        _drain(Scanner(state.archive.path, lambda _size: next(definition, b"")).pieces())
    except Broken as broken:
        return f"its definition: {broken.message}"
    if (entry.kind in _BLOCK_OF) != entry.with_data:
        return f"{entry.kind} {'with' if entry.with_data else 'without'} data"
    if entry.kind in _BLOCK_OF and entry.section != 3:
        return f"{entry.kind} outside of the data section"
    if entry.kind == "TABLE":
        found = classify(state.text(entry.definition), state.text(entry.schema))
        if found.name != state.name(entry):
            return f"the table {state.text(entry.tag)} is created as {found.name}"
        if entry.section != 2:
            return "a table outside of the pre-data section"
    return ""


def _data_fault(state: _State, entry: Entry, tables: dict[tuple[bytes, bytes], Entry]) -> str:
    if tables and (entry.schema, entry.tag) not in tables:
        return f"rows of {state.text(entry.tag)}, a table that the archive does not create"
    if not entry.copy.strip():
        return ""
    head = _head(state, entry)
    if head is None:
        return "its COPY statement cannot be read"
    if len(set(head.columns)) != len(head.columns):
        return "its COPY statement names a column twice"
    if not tables:
        return ""
    target = tables.get(_split(state, head, tables))
    own = tables[(entry.schema, entry.tag)]
    if target is None:
        return f"its COPY statement fills {head.table}, a table that the archive does not create"
    # pg_dump --load-via-partition-root fills the partitioned table instead of the partition.
    if target is not own and b"PARTITION BY" not in target.definition:
        return f"the rows of {state.text(entry.tag)} are to fill {head.table}"
    missing = [name for name in head.columns if not _creates(state, target, name)]
    if missing:
        return f"its COPY statement names a column that {head.table} does not have: {missing[0]}"
    return ""


def _split(
    state: _State, head: CopyHead, tables: dict[tuple[bytes, bytes], Entry]
) -> tuple[bytes, bytes]:
    for key in tables:
        if qualified(state.text(key[0]), state.text(key[1])) == head.table:
            return key
    return b"", b""


def _creates(state: _State, table: Entry, column: str) -> bool:
    """Whether the CREATE TABLE as pg_dump writes it has a line for the column."""
    definition = state.text(table.definition)
    if re.search(r"\bINHERITS \(|\bOF \S|\bPARTITION OF\b", definition):
        return True  # columns come from elsewhere too
    escaped = column.replace('"', '""')
    pattern = rf'^\s+(?:"{re.escape(escaped)}"|{re.escape(column)})(?=[ ,\n])'
    return re.search(pattern, definition, re.MULTILINE) is not None


def _head(state: _State, entry: Entry) -> CopyHead | None:
    statement = state.text(entry.copy).rstrip().rstrip(";")
    return copy_head(statement, state.text(entry.schema))


def _read_by_position(state: _State, expected: list[Entry], data_begins: int) -> None:
    """Block by block through the table of contents: a broken block does not hide the next."""
    ordered = sorted(expected, key=lambda entry: entry.position)
    ends = [entry.position for entry in ordered[1:]]
    if ordered and ordered[0].position != data_begins:
        state.add(f"the data begins at byte {ordered[0].position} instead of {data_begins}")
    end: int | None = data_begins
    for entry, next_begins in zip_longest(ordered, ends):
        try:
            end = _read_at(state, entry)
        except Broken as broken:
            label = state.label(entry)
            state.add(f"{label} (block at byte {entry.position}): {broken.message}", broken.hint)
            end = None
            continue
        if end is not None and next_begins is not None and end != next_begins:
            state.add(f"{state.label(entry)}: its block ends at byte {end}, not at {next_begins}")
    if end is not None:
        _check_end(state, end)


def _read_at(state: _State, entry: Entry) -> int | None:
    """Where the block ends; None when it is broken."""
    reader = state.archive.open_at(entry.position)
    try:
        block = reader.block()
        state.met.add(entry.dump_id)
        if block is None:
            raise reader.broken("the archive was cut off before it")
        if block.dump_id != entry.dump_id or block.kind != _BLOCK_OF.get(entry.kind):
            raise reader.broken("another block stands there")
        before = len(state.problems)
        _read_block(state, reader, block, entry)
        return reader.stream.position if len(state.problems) == before else None
    finally:
        reader.stream.close()


def _read_in_sequence(state: _State, expected: list[Entry], data_begins: int) -> None:
    """An archive that was written into a pipe has no positions."""
    by_id = {entry.dump_id: entry for entry in expected}
    reader = state.archive.open_at(data_begins)
    try:
        while (block := reader.block()) is not None:
            entry = by_id.get(block.dump_id)
            if entry is None or block.kind != _BLOCK_OF.get(entry.kind):
                state.add(
                    f"at byte {block.position} stands a block that the table of contents does not "
                    "name; what follows cannot be read"
                )
                return
            if entry.dump_id in state.met:
                state.add(f"{state.label(entry)}: a second block at byte {block.position}")
            state.met.add(entry.dump_id)
            try:
                _read_block(state, reader, block, entry)
            except Broken as broken:
                label = state.label(entry)
                state.add(f"{label} (block at byte {block.position}): {broken.message}")
                return
    finally:
        reader.stream.close()


def _read_block(state: _State, reader: ArchiveReader, block: BlockHead, entry: Entry) -> None:
    """Reads the block to its end and notes what is wrong inside; raises Broken when its frame
    breaks, so that nobody knows where the next one begins."""
    before = len(state.problems)
    place = f"{state.label(entry)} (block at byte {block.position})"
    if block.kind == BLOCK_LARGE_OBJECTS:
        while number := reader.integer("the number of a large object"):
            parts = reader.parts()
            try:
                for _ in unpack(parts, state.archive.header.compression):
                    pass
            except UnpackError as error:
                state.add(f"large object {number}: {error}")
                _drain(parts)
            state.large_objects += 1
    else:
        parts = reader.parts()
        try:
            _read_rows(state, entry, unpack(parts, state.archive.header.compression), place)
        except UnpackError as error:
            state.add(f"{place}: {error}")
            _drain(parts)
    if len(state.problems) == before:
        state.read.add(entry.dump_id)


def _read_rows(state: _State, entry: Entry, pieces: Iterator[bytes], place: str) -> None:
    scanner = Scanner(state.archive.path, lambda _size: next(pieces, b""), inside="its data")
    if not entry.copy.strip():
        _read_inserts(state, entry, scanner, place)
        return
    head = _head(state, entry)
    if head is None:
        return
    state.tables[head.table] = None
    check = RowCheck(head.table, len(head.columns), state.archive.encoding, 1)
    fault = ""
    try:
        for block in scanner.rows():
            check.feed(block)
    except Broken as broken:
        if broken.problem.line == 0:
            raise
        fault = f"{place}: after {check.rows} whole rows {broken.message}"
    else:
        if next(scanner.pieces(), None) is not None:
            fault = f"{place}: something follows behind its last row"
    _drain(pieces)
    if fault:
        state.add(fault)
    for row, message in check.faults():
        state.add(f"{message}, first in row {row} of its block")
    state.rows += check.rows


def _read_inserts(state: _State, entry: Entry, scanner: Scanner, place: str) -> None:
    state.tables[state.name(entry)] = None
    for piece in scanner.pieces():
        if isinstance(piece, SqlPiece):
            words = piece.sql[:12].upper()
            if not piece.ended or not words.startswith((b"INSERT INTO ", b"SET ", b"ALTER ")):
                state.add(f"{place}: something else than an INSERT statement stands in its data")
                return
            state.rows += words.startswith(b"INSERT")


def _drain(parts: Iterator[object]) -> None:
    for _ in parts:
        pass


def _check_end(state: _State, end: int) -> None:
    reader = state.archive.open_at(end)
    try:
        if reader.block() is not None:
            state.add(f"bytes follow behind the last block, from byte {end} on")
    except Broken:
        state.add(f"bytes follow behind the last block, from byte {end} on")
    finally:
        reader.stream.close()


def _name_unread(state: _State, expected: list[Entry]) -> None:
    unread = [state.label(entry) for entry in expected if entry.dump_id not in state.met]
    if unread:
        shown = ", ".join(unread[:10]) + (f" and {len(unread) - 10} more" if unread[10:] else "")
        state.add(f"no data was found of {shown}", "copy the backup again from where it was made")
