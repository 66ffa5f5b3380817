"""Cuts the bytes of an SQL script into statements, comments, psql commands and COPY rows.

It follows what psql does with a script: quotes of every sort, nested comments, parentheses, SQL
function bodies (BEGIN ATOMIC ... END) and backslash commands. Values are never decoded here.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from recovery.sources.stream import READ_BYTES, Broken

STATEMENT_BYTES_MAX = 1 << 28
ROW_BYTES_MAX = 1 << 30
_TAG_BYTES = 128  # how far back a token that was cut by the buffer's end may begin

_SPACE = re.compile(rb"[ \t\r\n\f\v]*")
_IDENT = rb"A-Za-z0-9_\x80-\xff"
_SPECIAL = re.compile(
    rb"(?<![" + _IDENT + rb"$])[eE]'|'|\"|--|/\*|[();\\]"
    rb"|(?<![" + _IDENT + rb"$])\$(?:[A-Za-z_\x80-\xff][" + _IDENT + rb"]*)?\$"
)
_ESCAPED = re.compile(rb"['\\]")
_COMMENT_EDGE = re.compile(rb"/\*|\*/")
_FUNCTION = re.compile(rb"CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\b", re.IGNORECASE)
_BLOCK_WORD = re.compile(rb"(?<![" + _IDENT + rb"$.])(BEGIN|CASE|END)(?![" + _IDENT + rb"$])", re.I)
# The whole of a simple INSERT at once: dumps made of them hold little else.
_INSERT = re.compile(
    rb"INSERT INTO (?:[^'\";\\$/-]++|(?<![eE])'[^']*+'|\"[^\"]*+\"|-(?!-)|/(?!\*))*+;"
)
_COPY_IN = re.compile(rb"COPY\b(?!\s*\().*\bFROM\s+STDIN\b", re.IGNORECASE | re.DOTALL)
_LAX_STRINGS = re.compile(
    rb"SET\s+(?:SESSION\s+|LOCAL\s+)?standard_conforming_strings\s*(?:=|\bTO\b)\s*'?(\w+)", re.I
)


@dataclass(frozen=True, slots=True)
class SqlPiece:
    sql: bytes
    line: int
    offset: int
    ended: bool = True  # False: the file ended, or a psql command came, before the semicolon


@dataclass(frozen=True, slots=True)
class CommentPiece:
    text: bytes  # without the dashes, stripped
    line: int


@dataclass(frozen=True, slots=True)
class MetaPiece:
    text: bytes  # the psql command with its backslash
    line: int


@dataclass(frozen=True, slots=True)
class CopyPiece:
    """A COPY statement whose rows follow. Read them with `Scanner.rows()` before going on; rows
    left unread are passed over."""

    sql: bytes
    line: int
    offset: int  # of the first row


Piece = SqlPiece | CommentPiece | MetaPiece | CopyPiece


class Scanner:
    """One pass over a script. `read(size)` gives the next bytes, b'' at the end."""

    def __init__(
        self,
        path: Path,
        read: Callable[[int], bytes],
        *,
        line: int = 1,
        offset: int = 0,
        inside: str = "the file",
    ) -> None:
        self._path = path
        self._read = read
        self._buffer = b""
        self._at = 0
        self._base = offset
        self._inside = inside
        self._ended = False
        self._failure: Broken | None = None
        self._lax_strings = False
        self._rows_pending = False
        self.line = line

    @property
    def offset(self) -> int:
        return self._base + self._at

    def pieces(self) -> Iterator[Piece]:
        """Raises Broken where a quote, a comment or the rows of a COPY never end."""
        while True:
            if self._rows_pending:
                for _ in self.rows():
                    pass
            self._skip_space()
            head = self._buffer[self._at : self._at + 2]
            if not head:
                return
            if head == b"--":
                yield self._comment()
            elif head == b"/*":
                self._advance(self._comment_end(self._at))
            elif head[:1] == b"\\":
                yield self._meta()
            elif head[:1] == b";":
                self._advance(self._at + 1)
            else:
                yield self._statement()

    def skip_to(self, offset: int, *, line: int) -> None:
        """Forward to the byte `offset`, which is on line `line`."""
        while self._base + len(self._buffer) < offset and not self._ended:
            self._base += len(self._buffer)
            self._buffer, self._at = b"", 0
            self._more()
        self._at = min(offset - self._base, len(self._buffer))
        self._rows_pending = False
        self.line = line

    def rows(self) -> Iterator[bytes]:
        """Blocks of whole lines up to the closing `\\.`."""
        self._rows_pending = False
        while True:
            start = self._at
            cut = self._buffer.rfind(b"\n", start) + 1
            end = self._rows_end(start, max(cut, start))
            if end is not None:
                block = self._buffer[start:end]
                self._advance(end)
                if block:
                    yield block
                self._advance(self._line_end(end))
                return
            if cut > start:
                block = self._buffer[start:cut]
                self._advance(cut)
                yield block
            self._trim()
            if not self._more(bytes_max=ROW_BYTES_MAX):
                if self._buffer[self._at :].rstrip(b"\r") == b"\\.":
                    self._advance(len(self._buffer))
                    return
                raise self._broken(
                    f"{self._inside} is cut off inside the rows of a COPY: "
                    f"it ends at byte {self._base + len(self._buffer)} before the end mark \\."
                )

    def _rows_end(self, start: int, cut: int) -> int | None:
        """Where the end mark's line begins, when it is among the whole lines start..cut."""
        buffer = self._buffer
        at = start if buffer.startswith(b"\\.", start) else -1
        if at < 0:
            at = buffer.find(b"\n\\.", start, cut) + 1 or -1
        while at >= 0:
            if buffer[at + 2 : at + 3] == b"\n" or buffer[at + 2 : at + 4] == b"\r\n":
                return at
            at = buffer.find(b"\n\\.", at, cut) + 1 or -1
        return None

    def _statement(self) -> SqlPiece | CopyPiece:
        self._trim()
        line, offset = self.line, self.offset
        simple = None if self._lax_strings else _INSERT.match(self._buffer, self._at)
        if simple is not None:
            return self._take(simple.end() - 1, line, offset, ended=True)
        at, depth, blocks, counted = self._at, 0, 0, self._at
        in_function: bool | None = None
        while True:
            found = self._search(at)
            if found is None:
                return self._take(len(self._buffer), line, offset, ended=False)
            token, at = found.group(), found.end()
            if token == b"(":
                depth += 1
            elif token == b")":
                depth = max(0, depth - 1)
            elif token == b"\\":
                return self._take(found.start(), line, offset, ended=False)
            elif token == b";":
                if in_function is None:
                    in_function = _FUNCTION.match(self._buffer, self._at) is not None
                if in_function:
                    blocks = self._block_depth(blocks, counted, found.start())
                    counted = at
                if depth == 0 and blocks == 0:
                    return self._take(found.start(), line, offset, ended=True)
            else:
                if in_function is None:
                    in_function = _FUNCTION.match(self._buffer, self._at) is not None
                if in_function:
                    blocks = self._block_depth(blocks, counted, found.start())
                at = counted = self._quoted_end(token, found.start(), at)

    def _block_depth(self, depth: int, start: int, end: int) -> int:
        for word in _BLOCK_WORD.findall(self._buffer[start:end]):
            match word.upper():
                case b"BEGIN":
                    depth += 1
                case b"CASE":
                    depth += depth > 0
                case _:
                    depth = max(0, depth - 1)
        return depth

    def _take(self, end: int, line: int, offset: int, *, ended: bool) -> SqlPiece | CopyPiece:
        sql = self._buffer[self._at : end].rstrip()
        self._advance(end + 1 if ended else end)
        setting = _LAX_STRINGS.match(sql)
        if setting is not None:
            self._lax_strings = setting.group(1).lower() in {b"off", b"false", b"no", b"0"}
        if not ended or _COPY_IN.match(sql) is None:
            return SqlPiece(sql, line, offset, ended)
        self._advance(self._line_end(self._at))
        self._rows_pending = True
        return CopyPiece(sql, line, self.offset)

    def _quoted_end(self, token: bytes, start: int, at: int) -> int:
        match token[:1]:
            case b"'":
                return self._escaped_end(at) if self._lax_strings else self._doubled_end(token, at)
            case b'"':
                return self._doubled_end(token, at)
            case b"e" | b"E":
                return self._escaped_end(at)
            case b"$":
                return self._find(token, at, "a dollar-quoted text") + len(token)
            case b"-":
                return self._line_end(at)
            case _:
                return self._comment_end(start)

    def _doubled_end(self, quote: bytes, at: int) -> int:
        what = "a text in quotes" if quote == b"'" else "a name in quotes"
        while True:
            at = self._find(quote, at, what) + 1
            if at == len(self._buffer):
                self._more()
            if self._buffer[at : at + 1] != quote:
                return at
            at += 1

    def _escaped_end(self, at: int) -> int:
        while True:
            found = _ESCAPED.search(self._buffer, at)
            if found is None:
                at = len(self._buffer)
                if not self._more():
                    raise self._broken("a text in quotes that begins in this statement never ends")
                continue
            at = found.end()
            if at == len(self._buffer):
                self._more()
            if found.group() == b"'" and self._buffer[at : at + 1] != b"'":
                return at
            at += 1

    def _comment_end(self, start: int) -> int:
        depth, at = 0, start
        while True:
            found = _COMMENT_EDGE.search(self._buffer, at)
            if found is None:
                at = max(at, len(self._buffer) - 1)
                if not self._more():
                    raise self._broken("a comment /* that begins here never ends")
                continue
            depth += 1 if found.group() == b"/*" else -1
            at = found.end()
            if depth == 0:
                return at

    def _comment(self) -> CommentPiece:
        line, start = self.line, self._at
        end = self._line_end(start)
        text = self._buffer[start:end].strip(b"- \t\r\n")
        self._advance(end)
        return CommentPiece(text, line)

    def _meta(self) -> MetaPiece:
        line, start = self.line, self._at
        end = self._line_end(start)
        text = self._buffer[start:end].strip()
        self._advance(end)
        return MetaPiece(text, line)

    def _search(self, at: int) -> re.Match[bytes] | None:
        while True:
            found = _SPECIAL.search(self._buffer, at)
            # A token at the buffer's end may be the beginning of a longer one.
            if self._ended or (found is not None and found.end() < len(self._buffer)):
                return found
            at = found.start() if found else max(at, len(self._buffer) - _TAG_BYTES)
            self._more()

    def _find(self, needle: bytes, at: int, what: str) -> int:
        while True:
            found = self._buffer.find(needle, at)
            if found >= 0:
                return found
            at = max(at, len(self._buffer) - len(needle) + 1)
            if not self._more():
                raise self._broken(f"{what} that begins in this statement never ends")

    def _line_end(self, at: int) -> int:
        """Behind the newline at or after `at`, or the end of the file."""
        while True:
            found = self._buffer.find(b"\n", at)
            if found >= 0:
                return found + 1
            at = len(self._buffer)
            if not self._more():
                return at

    def _skip_space(self) -> None:
        while True:
            found = _SPACE.match(self._buffer, self._at)
            assert found is not None
            self._advance(found.end())
            if self._at + 1 < len(self._buffer):
                return
            self._trim()
            if not self._more():
                return

    def _advance(self, to: int) -> None:
        self.line += self._buffer.count(b"\n", self._at, to)
        self._at = min(to, len(self._buffer))

    def _trim(self) -> None:
        if self._at >= READ_BYTES or self._at == len(self._buffer):
            self._buffer = self._buffer[self._at :]
            self._base += self._at
            self._at = 0

    def _more(self, *, bytes_max: int = STATEMENT_BYTES_MAX) -> bool:
        """Reads on, as much again as is held: a long text costs linear time."""
        if self._ended:
            return False
        held = len(self._buffer) - self._at
        if held > bytes_max:
            raise self._broken(
                f"a statement or row is longer than {bytes_max >> 20} MiB: "
                "its end is probably destroyed"
            )
        if self._failure is not None:
            raise self._failure
        pieces, wanted = [self._buffer], max(READ_BYTES, held)
        while wanted > 0:
            try:
                piece = self._read(wanted)
            except Broken as broken:
                if len(pieces) == 1:
                    raise
                self._failure = broken  # what was read before it is handed on first
                break
            if not piece:
                self._ended = len(pieces) == 1
                break
            pieces.append(piece)
            wanted -= len(piece)
        self._buffer = b"".join(pieces)
        return not self._ended

    def _broken(self, message: str) -> Broken:
        return Broken(self._path, message, line=self.line)
