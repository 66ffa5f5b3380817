"""Bytes of a file with its compression taken off, forward only, in bounded memory.

Checks of the container (gzip's CRC and length, a zstd frame's own checksum) are made by reading to
the end: the last `read` raises `Broken` when they fail.
"""

import os
import sys
import zlib
from pathlib import Path
from typing import Protocol

from recovery.model import EngineError, Exit, Problem
from recovery.sources.model import Wrapper

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

READ_BYTES = 1 << 18
# zlib hands back what it has not used: small pieces keep that copying cheap.
PACKED_BYTES = 1 << 15
UNPACKED_BYTES = 1 << 16
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class Broken(EngineError):
    """The file breaks here; `problem` is the same as a value."""

    def __init__(self, path: Path, message: str, *, line: int = 0, hint: str = "") -> None:
        where = f"{path}:{line}" if line else str(path)
        super().__init__(Exit.UNUSABLE, message, where=where, hint=hint)
        self.problem = Problem(str(path), line, message, hint)


class Stream(Protocol):
    @property
    def position(self) -> int: ...

    def read(self, size: int) -> bytes:
        """1 to `size` bytes, b'' at the end."""
        ...

    def skip_to(self, position: int) -> None:
        """Forward to `position`, or to the end when the file is shorter."""
        ...

    def close(self) -> None: ...


def open_stream(path: Path, wrappers: tuple[Wrapper, ...]) -> Stream:
    """Raises EngineError(UNUSABLE) when the file cannot be opened."""
    stream: Stream = _File(path)
    for wrapper in wrappers:
        stream = _Gzip(path, stream) if wrapper == "gzip" else _Zstd(path, stream)
    return stream


def read_exactly(stream: Stream, size: int) -> bytes:
    """Up to `size` bytes: fewer only at the end of the file."""
    pieces: list[bytes] = []
    left = size
    while left:
        piece = stream.read(min(left, READ_BYTES))
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise EngineError(
                Exit.UNUSABLE, f"cannot be opened: {error.strerror}", where=str(path)
            ) from error

    @property
    def position(self) -> int:
        return self._file.tell()

    def read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            place = self._file.tell()
            raise Broken(self._path, f"cannot be read at byte {place}: {error.strerror}") from error

    def skip_to(self, position: int) -> None:
        self._file.seek(min(position, os.fstat(self._file.fileno()).st_size))

    def close(self) -> None:
        self._file.close()


class _Unpacking:
    """What both wrappers share: a position in the unpacked bytes and skipping by reading."""

    def __init__(self, path: Path, inner: Stream) -> None:
        self._path = path
        self._inner = inner
        self._position = 0

    @property
    def position(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        raise NotImplementedError

    def skip_to(self, position: int) -> None:
        while self._position < position:
            if not self.read(min(READ_BYTES, position - self._position)):
                return

    def close(self) -> None:
        self._inner.close()


class _Gzip(_Unpacking):
    """All members of a gzip file; zeros after the last one are padding."""

    def __init__(self, path: Path, inner: Stream) -> None:
        super().__init__(path, inner)
        self._member = zlib.decompressobj(wbits=31)
        self._pending = b""

    def read(self, size: int) -> bytes:
        while True:
            if self._member.eof and not self._next_member():
                return b""
            packed = self._pending or self._inner.read(PACKED_BYTES)
            try:
                piece = self._member.decompress(packed, min(size, UNPACKED_BYTES))
            except zlib.error as error:
                raise Broken(self._path, self._damage(error)) from error
            self._pending = self._member.unconsumed_tail or self._member.unused_data
            if piece:
                self._position += len(piece)
                return piece
            if not packed and not self._member.eof:
                raise Broken(
                    self._path,
                    f"the gzip stream is cut off: it breaks off at byte {self._inner.position}, "
                    f"after {self._position} unpacked bytes",
                    hint="copy the backup again from where it was made",
                )

    def _next_member(self) -> bool:
        packed = self._pending.lstrip(b"\0")
        while not packed:
            more = self._inner.read(READ_BYTES)
            if not more:
                self._pending = b""
                return False
            packed = more.lstrip(b"\0")
        while len(packed) < len(GZIP_MAGIC) and (more := self._inner.read(READ_BYTES)):
            packed += more
        if not packed.startswith(GZIP_MAGIC):
            place = self._inner.position - len(packed)
            raise Broken(self._path, f"bytes that are no gzip follow the gzip stream, at {place}")
        self._pending = packed
        self._member = zlib.decompressobj(wbits=31)
        return True

    def _damage(self, error: zlib.error) -> str:
        text = str(error)
        if "incorrect data check" in text:
            what = "its checksum (CRC-32) does not match: a bit of the data or of the checksum"
            return f"the gzip stream is damaged: {what} has changed"
        if "incorrect length check" in text:
            return "the gzip stream is damaged: it unpacks to another length than it says"
        place = self._inner.position
        return (
            f"the gzip stream is damaged: it cannot be unpacked after {self._position} unpacked "
            f"bytes (before byte {place} of the file)"
        )


class _Zstd(_Unpacking):
    """All frames of a zstd file."""

    def __init__(self, path: Path, inner: Stream) -> None:
        super().__init__(path, inner)
        self._frame = zstd.ZstdDecompressor()
        self._pending = b""

    def read(self, size: int) -> bytes:
        while True:
            if self._frame.eof:
                self._pending = self._frame.unused_data or self._inner.read(READ_BYTES)
                if not self._pending:
                    return b""
                self._frame = zstd.ZstdDecompressor()
            packed = self._pending
            if not packed and self._frame.needs_input:
                packed = self._inner.read(READ_BYTES)
                if not packed:
                    raise Broken(
                        self._path,
                        "the zstd stream is cut off: it breaks off at byte "
                        f"{self._inner.position}, after {self._position} unpacked bytes",
                        hint="copy the backup again from where it was made",
                    )
            self._pending = b""
            try:
                piece = self._frame.decompress(packed, size)
            except zstd.ZstdError as error:
                raise Broken(
                    self._path,
                    f"the zstd stream is damaged after {self._position} unpacked bytes",
                ) from error
            if piece:
                self._position += len(piece)
                return piece
