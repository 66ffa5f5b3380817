"""Messages of the server's pgoutput plug-in.

Layout: PostgreSQL documentation, "Logical Replication Message Formats" (protocol 1).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Literal

from diffing.model import qualified
from recovery.replay.images import (
    Cells,
    Change,
    Image,
    Images,
    Marker,
    Settled,
    Told,
    Truncated,
    Withheld,
)

_SHORT = 64  # texts shorter than this are taken apart by the machine of regular expressions
_SEEN_MIN = 500  # messages of a kind and a width, before a pattern for it is worth making
_KIND = itemgetter(slice(5))  # what is told, and of which table
_OPS: Mapping[int, Literal["insert", "update", "delete"]] = {
    73: "insert",
    85: "update",
    68: "delete",
}


@dataclass(frozen=True, slots=True)
class _Relation:
    table: str
    columns: tuple[str, ...]


class Decoder:
    """One per reading of a slot."""

    def __init__(self) -> None:
        self._relations: dict[bytes, _Relation] = {}
        self._seen: dict[tuple[int, int], int] = {}

    def decode(self, messages: Iterable[bytes]) -> Iterator[Change]:
        """Those that follow each other and are alike are taken together."""
        for kind, alike in groupby(messages, _KIND):
            if kind[0] in _OPS:
                yield from self._images(kind, list(alike))
                continue
            for message in alike:
                if (change := self._other(message)) is not None:
                    yield change

    def _other(self, message: bytes) -> Change | None:
        reader = _Reader(message, 1)
        match message[:1]:
            case b"R":
                oid = reader.take(4)
                namespace = reader.string() or "pg_catalog"
                table = qualified(namespace, reader.string())
                reader.skip(1)
                columns = []
                for _ in range(reader.integer(2)):
                    reader.skip(1)
                    columns.append(reader.string())
                    reader.skip(8)
                self._relations[oid] = _Relation(table, tuple(columns))
                return None
            case b"T":
                count = reader.integer(4)
                reader.skip(1)
                tables = (self._relations[reader.take(4)].table for _ in range(count))
                return Truncated(tuple(tables))
            case b"M":
                reader.skip(9)
                prefix = reader.string()
                return _message(prefix, reader.take(reader.integer(4)).decode())
            case _:  # begin, commit, origin, type: nothing that a replay needs
                return None

    def _images(self, kind: bytes, messages: list[bytes]) -> Iterator[Change]:
        relation = self._relations[kind[1:]]
        sort = kind[0], len(relation.columns)
        seen = self._seen.get(sort, 0)
        if seen < _SEEN_MIN:
            self._seen[sort] = seen + len(messages)
        if seen + len(messages) < _SEEN_MIN:
            yield from (_slowly(message, relation) for message in messages)
            return
        match = _pattern(*sort).match
        rows: list[Cells] = []
        for message in messages:
            if found := match(message):
                rows.append(found.groups())
                continue
            if rows:
                yield Images(_OPS[kind[0]], relation.table, relation.columns, rows)
                rows = []
            yield _slowly(message, relation)
        if rows:
            yield Images(_OPS[kind[0]], relation.table, relation.columns, rows)


@lru_cache(maxsize=64)
def _pattern(kind: int, columns: int) -> re.Pattern[bytes]:
    """Of a whole message with whole rows, all of whose texts are short. A text is a `t`, its
    length and so many bytes: one alternative for each length, so that no other reading fits."""
    lengths = b"|".join(rb"\x%02x.{%d}" % (size, size) for size in range(_SHORT))
    row = rb"\x%02x\x%02x" % divmod(columns, 256) + rb"(?:t\0\0\0(%s)|n)" % lengths * columns
    rows = {
        85: rb"U.{4}O" + row + rb"N" + row,
        73: rb"I.{4}N" + row,
        68: rb"D.{4}O" + row,
    }
    return re.compile(rows[kind] + rb"\Z", re.DOTALL)


def _slowly(data: bytes, relation: _Relation) -> Image:
    reader = _Reader(data, 5)
    tag = reader.take(1)
    match data[:1]:
        case b"I":
            return Image(
                "insert", relation.table, relation.columns, None, reader.row(relation, None)[0]
            )
        case b"D":
            cells = reader.row(relation, None)[0]
            return Image("delete", relation.table, relation.columns, cells, None, tag == b"O")
        case _:
            old = reader.row(relation, None)[0] if tag in (b"O", b"K") else None
            if old is not None:
                reader.skip(1)
            new, known = reader.row(relation, old)
            whole = tag == b"O" and known
            return Image("update", relation.table, relation.columns, old, new, whole)


def _message(prefix: str, content: str) -> Change | None:
    match prefix:
        case "step":
            return Marker(content)
        case "withheld":
            return Withheld(content)
        case "told":
            told = json.loads(content)
            return Told(told["table"], told["old"], told["new"])
        case "settled":
            return Settled()
        case _:
            return None


class _Reader:
    """A cursor over one message."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def take(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def skip(self, size: int) -> None:
        self.at += size

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def string(self) -> str:
        end = self.data.index(b"\0", self.at)
        text = self.data[self.at : end].decode()
        self.at = end + 1
        return text

    def row(self, relation: _Relation, old: Cells | None) -> tuple[Cells, bool]:
        """The cells of a row, and whether all of them are known: an unchanged out-of-line value is
        not sent and is taken from the old row."""
        cells: list[bytes | None] = []
        known = True
        # Written out, because it is run for many rows.
        data = self.data
        at = self.at + 2
        assert int.from_bytes(data[self.at : at], "big") == len(relation.columns)
        for place in range(len(relation.columns)):
            match data[at]:
                case 116:  # t: a text
                    end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
                    cells.append(b"-" + data[at + 5 : end])
                    at = end
                    continue
                case 110:  # n: NULL
                    cells.append(None)
                case 117 if old is not None:  # u: unchanged, out of line
                    cells.append(old[place])
                case 117:
                    cells.append(None)
                    known = False
                case other:
                    raise AssertionError(f"unknown tuple mark {other!r}")
            at += 1
        self.at = at
        return cells, known
