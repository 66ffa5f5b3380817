"""Finds by content what a file is. What it is not is said in words."""

import re
from pathlib import Path

from recovery.model import EngineError, Exit
from recovery.sources.archive import MAGIC
from recovery.sources.custom import CustomSource
from recovery.sources.model import Source, Wrapper
from recovery.sources.plain import PlainSource
from recovery.sources.stream import (
    GZIP_MAGIC,
    ZSTD_MAGIC,
    Broken,
    open_stream,
    read_exactly,
)

_HEAD_BYTES = 1 << 16
_TINY_BYTES = 32  # shorter than the shortest dump with a statement in it
_SQL = re.compile(
    rb"\A(?:\xef\xbb\xbf)?(?:\s++|--[^\n]*+(?:\n|\Z)|/\*.*?\*/|\\\w+[^\n]*\n|;)*+"
    rb"(?:(?:SET|SELECT|CREATE|DROP|ALTER|INSERT|COPY|BEGIN|START|COMMENT|GRANT|REVOKE|TRUNCATE|DO"
    rb"|pg_dump(?:all)?: \w+)\b|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_MYSQL = re.compile(
    rb"\A\s*(?:/\*M?!\d|-- (?:MySQL|MariaDB) dump |/\*!999999)|\nSET @OLD_|ENGINE=(?:InnoDB|MyISAM)"
)
_HINT_KINDS = (
    "a plain dump (pg_dump) or a custom archive (pg_dump -Fc), as it is or packed with gzip or zstd"
)
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"SQLite format 3\0", "a SQLite database"),
    (b"PK\x03\x04", "a zip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x04\x22\x4d\x18", "an lz4 file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"%PDF-", "a PDF document"),
    (b"PAR1", "a Parquet file"),
    (b"Salted__", "an encrypted file (openssl enc)"),
    (b"age-encryption.org/", "an encrypted file (age)"),
    (b"-----BEGIN PGP MESSAGE", "an encrypted file (PGP)"),
    (b"-----BEGIN AGE ENCRYPTED", "an encrypted file (age)"),
)


def open_source(path: Path) -> Source:
    """The reader of `path`. Raises EngineError(UNUSABLE) with what the file is instead, or with
    what is broken in its header."""
    _require_file(path)
    wrappers, head = _unwrapped(path)
    if head.startswith(MAGIC):
        return CustomSource(path, wrappers)
    what, hint = _something_else(path, wrappers, head)
    if what:
        raise EngineError(Exit.UNUSABLE, what, where=str(path), hint=hint)
    return PlainSource(path, wrappers)


def _require_file(path: Path) -> None:
    if path.is_dir():
        if (path / "toc.dat").exists():
            message = "this is a directory archive (pg_dump -Fd), which is not read in this version"
            hint = "turn it into plain SQL with pg_restore -f"
        else:
            message, hint = "this is a folder, not a dump", "name the file inside"
        raise EngineError(Exit.UNUSABLE, message, where=str(path), hint=hint)
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise EngineError(Exit.UNUSABLE, "there is no such file", where=str(path)) from error
    except OSError as error:
        message = f"cannot be opened: {error.strerror}"
        raise EngineError(Exit.UNUSABLE, message, where=str(path)) from error
    if not path.is_file():
        raise EngineError(Exit.UNUSABLE, "this is no regular file", where=str(path))
    if size == 0:
        raise EngineError(
            Exit.UNUSABLE,
            "the file is empty (0 bytes): the backup that should have filled it has failed",
            where=str(path),
        )


def _unwrapped(path: Path) -> tuple[tuple[Wrapper, ...], bytes]:
    wrappers: tuple[Wrapper, ...] = ()
    while True:
        head = _head(path, wrappers)
        inner: Wrapper
        if head.startswith(GZIP_MAGIC):
            inner = "gzip"
        elif head.startswith(ZSTD_MAGIC):
            inner = "zstd"
        else:
            return wrappers, head
        if wrappers:
            names = " and ".join((*wrappers, inner))
            raise EngineError(
                Exit.UNUSABLE,
                f"the file was packed twice ({names}), which is not read in this version",
                where=str(path),
                hint=f"unpack it once ({'gunzip' if wrappers[0] == 'gzip' else 'unzstd'})",
            )
        wrappers = (inner,)


def _head(path: Path, wrappers: tuple[Wrapper, ...]) -> bytes:
    stream = open_stream(path, wrappers)
    pieces = b""
    try:
        if not wrappers:
            return read_exactly(stream, _HEAD_BYTES)
        while len(pieces) < _HEAD_BYTES and (piece := stream.read(1 << 10)):
            pieces += piece
    except Broken:
        # The reader that is chosen by what came out so far says what is broken.
        if not pieces:
            raise
    finally:
        stream.close()
    return pieces


def _something_else(path: Path, wrappers: tuple[Wrapper, ...], head: bytes) -> tuple[str, str]:
    """('', '') when it looks like SQL, else what it is and what to do."""
    inside = f" inside {wrappers[0]}" if wrappers else ""
    if not head:
        return f"there is nothing{inside}: the backup that should have filled it has failed", ""
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            return f"this is {what}{inside}, which is not read in this version", _HINT_KINDS
    if head[257:262] == b"ustar":
        return _tar(head, inside)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or _looks_like_utf16(head):
        return (
            f"the text{inside} is UTF-16, as PowerShell's > writes it; bytes that were not its own "
            "encoding's may be lost",
            "make the dump again with pg_dump -f FILE",
        )
    if head.startswith(b"version https://git-lfs"):
        return (
            "this is a Git-LFS pointer, not the file itself",
            "fetch the file with git lfs pull",
        )
    if re.match(rb"\s*<(?:!doctype|html|\?xml|head|body)\b", head, re.IGNORECASE):
        return (
            f"this is a web page or XML{inside}, probably an error page saved instead of the file",
            "download the file again",
        )
    if _MYSQL.search(head):
        return f"this is a MySQL or MariaDB dump{inside}, which is not read in this version", ""
    if len(head) < _TINY_BYTES:
        return f"this is no dump: {len(head)} bytes {head!r}", _HINT_KINDS
    if _SQL.match(head) is None:
        return _no_sql(head, inside)
    return "", ""


def _tar(head: bytes, inside: str) -> tuple[str, str]:
    first = head[:100].split(b"\0", 1)[0].decode("ascii", "backslashreplace")
    if first == "toc.dat":
        what = "a tar archive of pg_dump (-Ft)"
    elif re.fullmatch(r"\d+\.dat|restore\.sql", first):
        what = f"a tar archive of pg_dump (-Ft) without its table of contents (begins with {first})"
    else:
        what = f"a tar archive (begins with {first})"
    return (
        f"this is {what}{inside}, which is not read in this version",
        "turn it into plain SQL with pg_restore -f" if first == "toc.dat" else _HINT_KINDS,
    )


def _looks_like_utf16(head: bytes) -> bool:
    """Nearly every second byte is zero, and hardly any of the others."""
    sample = head[:1000]
    few, many = sorted((sample[0::2].count(0), sample[1::2].count(0)))
    return len(sample) >= 8 and many > len(sample) // 3 and few < len(sample) // 50 + 1


def _no_sql(head: bytes, inside: str) -> tuple[str, str]:
    sample = head[:4096]
    textual = sum(byte >= 32 or byte in b"\t\r\n" for byte in sample)
    if b"\0" in sample or textual < len(sample) * 0.95 or len(set(sample)) > 200:
        distinct = len(set(sample))
        even = distinct > 200 and len(sample) == 4096
        what = (
            "bytes without any structure: encrypted, or packed in an unknown way"
            if even
            else ("a binary file of an unknown kind")
        )
        return f"this is no dump{inside}, but {what}", _HINT_KINDS
    start = sample.lstrip().split(b"\n", 1)[0][:60].decode("utf-8", "backslashreplace")
    return f"this is text, but no dump: it begins {start!r}", _HINT_KINDS
