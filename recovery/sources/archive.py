"""The layout of PostgreSQL's custom archive: header, table of contents, data blocks.

Layout facts after PostgreSQL's pg_backup_archiver.c and pg_backup_custom.c, archive versions 1.12
(PostgreSQL 9.0) to 1.16 (17, 18). An integer is a sign byte (0 or 1) and `int_size` bytes, lowest
first; a text is its length as an integer (-1: NULL) and its bytes. Nothing is trusted: every
length is held against what the file can still contain.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Literal, Protocol

import lz4.frame  # type: ignore[import-untyped]

from recovery.sources.stream import READ_BYTES, Broken, Stream, read_exactly, zstd

MAGIC = b"PGDMP"
OLDEST = (1, 12)
NEWEST = (1, 16)
TEXT_BYTES_MAX = 1 << 28

Compression = Literal["none", "gzip", "lz4", "zstd"]
_COMPRESSIONS: tuple[Compression, ...] = ("none", "gzip", "lz4", "zstd")
_CUSTOM_FORMAT = 1

POSITION_UNKNOWN = 1
POSITION_KNOWN = 2
NO_DATA = 3

BLOCK_ROWS = 1
BLOCK_LARGE_OBJECTS = 3


@dataclass(frozen=True, slots=True)
class Header:
    version: tuple[int, int]
    int_size: int
    offset_size: int
    compression: Compression
    made_at: datetime  # the dumping machine's clock; its zone is not recorded, UTC stands in
    database: str
    server_version: str
    dump_version: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table of contents. Texts are bytes: the encoding is one of the entries."""

    dump_id: int
    with_data: bool
    tag: bytes
    kind: str  # the archive's `desc`: TABLE, TABLE DATA, FK CONSTRAINT ...
    section: int  # 1 none, 2 pre-data, 3 data, 4 post-data
    definition: bytes
    copy: bytes
    schema: bytes
    owner: bytes
    state: int
    position: int


@dataclass(frozen=True, slots=True)
class BlockHead:
    kind: int
    dump_id: int
    position: int


class ArchiveReader:
    """Reads the parts of an archive one after the other. Every method raises Broken."""

    def __init__(self, path: Path, stream: Stream, size: int | None) -> None:
        """`size`: bytes of the archive, None when it is compressed as a whole."""
        self.path = path
        self.stream = stream
        self.size = size
        self._int_size = 4
        self._offset_size = 8

    def use(self, header: Header) -> None:
        self._int_size = header.int_size
        self._offset_size = header.offset_size

    def header(self) -> Header:
        if self._bytes(len(MAGIC), "the header") != MAGIC:
            raise self.broken("this is no custom archive")
        major, minor, _revision = self._bytes(3, "the header")
        if (major, minor) > NEWEST:
            raise self.broken(
                f"this archive has version {major}.{minor}: it was made by a newer pg_dump than "
                f"this version can read (up to {NEWEST[0]}.{NEWEST[1]}, PostgreSQL 18)",
                "use a newer dbmend, or restore it there and dump it as plain SQL",
            )
        if (major, minor) < OLDEST:
            raise self.broken(
                f"this archive has version {major}.{minor}: archives before "
                f"{OLDEST[0]}.{OLDEST[1]} (PostgreSQL 9.0) are not read",
                "turn it into plain SQL with pg_restore -f",
            )
        self._int_size, self._offset_size, form = self._bytes(3, "the header")
        if self._int_size not in (4, 8) or self._offset_size not in (4, 8):
            raise self.broken("the header is damaged: impossible sizes of integers")
        if form != _CUSTOM_FORMAT:
            raise self.broken(f"the header is damaged: format {form} is no custom archive")
        compression = self._compression((major, minor))
        made_at = self._moment()
        texts = [self._header_text() for _ in range(3)]
        return Header(
            (major, minor), self._int_size, self._offset_size, compression, made_at, *texts
        )

    def entries(self, version: tuple[int, int]) -> tuple[Entry, ...]:
        count = self.integer("the number of entries")
        # An entry takes at least a hundred bytes: fewer cannot be true.
        if count < 0 or (self.size is not None and count > self.size // 50):
            raise self.broken("the table of contents is damaged: impossible number of entries")
        return tuple(
            self._entry(version, f"entry {n} of {count} of the table of contents")
            for n in range(1, count + 1)
        )

    def block(self) -> BlockHead | None:
        """None at the end of the file."""
        position = self.stream.position
        kind = read_exactly(self.stream, 1)
        if not kind:
            return None
        return BlockHead(kind[0], self.integer("the head of a data block"), position)

    def parts(self) -> Iterator[bytes]:
        """The packed bytes of the block or large object that begins here."""
        while length := self.integer("the length of a piece of data"):
            self._bounded(length, "a piece of data")
            while length:
                piece = self.stream.read(min(length, READ_BYTES))
                if not piece:
                    raise self._cut("a piece of data")
                length -= len(piece)
                yield piece

    def integer(self, what: str) -> int:
        raw = self._bytes(1 + self._int_size, what)
        value = int.from_bytes(raw[1:], "little")
        if raw[0] > 1:
            raise self.broken(f"{what} is damaged: impossible sign")
        return -value if raw[0] else value

    def broken(self, message: str, hint: str = "") -> Broken:
        return Broken(self.path, message, hint=hint)

    def _entry(self, version: tuple[int, int], what: str) -> Entry:
        dump_id = self.integer(what)
        with_data = self.integer(what)
        if dump_id <= 0 or with_data not in (0, 1):
            raise self._damaged(what)
        self._text(what)  # OID of the catalogue
        self._text(what)  # OID of the object
        tag = self._text(what)
        kind = self._text(what)
        section = self.integer(what)
        definition = self._text(what)
        self._text(what)  # DROP statement
        copy = self._text(what)
        schema = self._text(what)
        self._text(what)  # tablespace
        if version >= (1, 14):
            self._text(what)  # table access method
        if version >= (1, 16):
            self.integer(what)  # kind of relation
        owner = self._text(what)
        with_oids = self._text(what)
        while self._optional_text(what) is not None:
            pass  # dependencies
        state, position = self._offset(what)
        if (
            section not in (1, 2, 3, 4)
            or not kind.isascii()
            or with_oids not in (b"false", b"true")
        ):
            raise self._damaged(what)
        if (state == NO_DATA) == bool(with_data):
            raise self._damaged(what)
        return Entry(
            dump_id,
            bool(with_data),
            tag,
            kind.decode("ascii"),
            section,
            definition,
            copy,
            schema,
            owner,
            state,
            position,
        )

    def _compression(self, version: tuple[int, int]) -> Compression:
        if version < (1, 15):
            level = self.integer("the header")
            if not -1 <= level <= 9:
                raise self.broken("the header is damaged: impossible compression level")
            return "gzip" if level else "none"
        number = self._bytes(1, "the header")[0]
        if number >= len(_COMPRESSIONS):
            raise self.broken(f"the header is damaged: unknown compression {number}")
        return _COMPRESSIONS[number]

    def _moment(self) -> datetime:
        second, minute, hour, day, month, year, summer = (
            self.integer("the header") for _ in range(7)
        )
        try:
            if summer not in (-1, 0, 1):
                raise ValueError(summer)
            return datetime(year + 1900, month + 1, day, hour, minute, min(second, 59), tzinfo=UTC)
        except (ValueError, OverflowError) as error:
            raise self.broken("the header is damaged: impossible time of the dump") from error

    def _header_text(self) -> str:
        text = self._text("the header")
        return text.decode("utf-8", "backslashreplace")

    def _text(self, what: str) -> bytes:
        return self._optional_text(what) or b""

    def _optional_text(self, what: str) -> bytes | None:
        length = self.integer(what)
        if length == -1:
            return None
        self._bounded(length, what)
        if length > TEXT_BYTES_MAX:
            raise self._damaged(what)
        return self._bytes(length, what)

    def _offset(self, what: str) -> tuple[int, int]:
        state = self._bytes(1, what)[0]
        position = int.from_bytes(self._bytes(self._offset_size, what), "little")
        if state not in (POSITION_UNKNOWN, POSITION_KNOWN, NO_DATA):
            raise self._damaged(what)
        return state, position

    def _bounded(self, length: int, what: str) -> None:
        if length < 0:
            raise self._damaged(what)
        if self.size is not None and self.stream.position + length > self.size:
            raise self._cut(what)

    def _bytes(self, count: int, what: str) -> bytes:
        found = read_exactly(self.stream, count)
        if len(found) < count:
            raise self._cut(what)
        return found

    def _cut(self, what: str) -> Broken:
        end = self.stream.position if self.size is None else self.size
        return self.broken(
            f"the archive is cut off or damaged: {what} goes beyond its end at byte {end}",
            "copy the backup again from where it was made",
        )

    def _damaged(self, what: str) -> Broken:
        return self.broken(f"{what} is damaged (before byte {self.stream.position})")


def unpack(parts: Iterator[bytes], compression: Compression) -> Iterator[bytes]:
    """The data of a block. Raises UnpackError where it cannot be; gzip's own checksum included."""
    match compression:
        case "none":
            yield from parts
        case "gzip":
            yield from _unpack_zlib(parts)
        case "zstd":
            yield from _unpack_frames(parts, zstd.ZstdDecompressor)
        case "lz4":
            yield from _unpack_frames(parts, lz4.frame.LZ4FrameDecompressor)


class UnpackError(Exception):
    """Why packed data of one block cannot be had."""


def _unpack_zlib(parts: Iterator[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj()
    done = 0
    # The empty part at the end fetches what zlib held back for want of room.
    for part in chain(parts, (b"",)):
        packed = part
        while True:
            if unpacker.eof and packed:
                raise UnpackError("bytes follow behind the end of its packed data")
            try:
                piece = unpacker.decompress(packed, READ_BYTES)
            except zlib.error as error:
                sums = "data check" in str(error)
                what = f"it cannot be unpacked after {done} bytes"
                raise UnpackError("its checksum does not match" if sums else what) from error
            packed = unpacker.unconsumed_tail or unpacker.unused_data
            done += len(piece)
            if piece:
                yield piece
            if not packed and not piece:
                break
    if done and not unpacker.eof:
        raise UnpackError(f"its packed data breaks off after {done} bytes")


class _Unpacker(Protocol):
    """What the decompressors of zstd and lz4 frames have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _unpack_frames(parts: Iterator[bytes], new: Callable[[], _Unpacker]) -> Iterator[bytes]:
    unpacker, done, begun = new(), 0, False
    for part in parts:
        packed = part
        while packed or not (unpacker.needs_input or unpacker.eof):
            if unpacker.eof:
                unpacker = new()
            try:
                piece = unpacker.decompress(packed, READ_BYTES)
            except (zstd.ZstdError, RuntimeError) as error:
                raise UnpackError(f"it cannot be unpacked after {done} bytes") from error
            begun = True
            packed = (unpacker.unused_data or b"") if unpacker.eof else b""
            done += len(piece)
            if piece:
                yield piece
    if begun and not unpacker.eof:
        raise UnpackError(f"its packed data breaks off after {done} bytes")
