"""What a reader of somebody's dump hands on: statements and blocks of rows, in the file's order.

Rows stay bytes in the dump's own encoding, exactly as `COPY ... FROM stdin` wants them. Statements
are text, decoded strictly by the encoding the dump declares.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from recovery.model import Problem

Section = Literal["pre-data", "data", "post-data"]
Kind = Literal["PostgreSQL plain dump", "PostgreSQL custom archive"]
Wrapper = Literal["gzip", "zstd"]


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement without its semicolon. `kind` is the archive's own word for the object
    (TABLE, FK CONSTRAINT, SEQUENCE SET, ACL ...) or, in a plain dump, the same word found from the
    leading words; statements about the session are SET, those about rows INSERT. One entry of an
    archive may become several statements of the same kind and name."""

    sql: str
    section: Section
    line: int  # first line in a plain dump; the entry's dumpId in an archive
    kind: str
    name: str = ""  # public.orders; of constraints, triggers, defaults: 'public.orders own_name'
    owner: str = ""


@dataclass(frozen=True, slots=True)
class TableData:
    """The rows of one COPY block. `chunks()` opens the file anew and yields bytes of whole or
    partial lines, never the closing `\\.`; it raises EngineError(UNUSABLE) where the file breaks.
    """

    table: str  # qualified: public.orders
    columns: tuple[str, ...]  # () when the COPY names none
    copy: str  # the COPY ... FROM stdin statement, no semicolon
    chunks: Callable[[], Iterator[bytes]]
    line: int  # of the COPY statement; the dumpId in an archive
    offset: int  # bytes from the beginning of the (unwrapped) file to the first row


Item = Statement | TableData


@dataclass(frozen=True, slots=True)
class SourceInfo:
    path: Path
    kind: Kind
    wrappers: tuple[Wrapper, ...]  # outermost first
    server_version: str  # '' when the file does not say
    dump_version: str  # of pg_dump, '' when the file does not say
    taken_at: datetime | None  # with a zone; None when the file does not say
    database: str
    encoding: str  # PostgreSQL's name of the encoding that statements and rows are in
    tables: tuple[str, ...]  # that the file creates or fills, in the file's order
    complete: bool  # the file says it is whole (end mark, every block); see `detail`
    detail: str
    zone_known: bool = True  # False: taken_at is a clock without a zone, taken for UTC
    left_out: tuple[str, ...] = ()  # sentences: what the file holds and `items` does not hand on


class Source(Protocol):
    """An opened dump. Opening reads what is needed for `info`; nothing is kept open."""

    @property
    def info(self) -> SourceInfo: ...

    def items(self) -> Iterator[Item]:
        """Everything in the file's order. Raises EngineError(UNUSABLE) where it breaks."""
        ...

    def problems(self) -> tuple[Problem, ...]:
        """Reads the whole file once and names all that is broken; () means whole."""
        ...
