"""Checks rows of COPY text without reading their values: number of columns, NUL bytes, encoding."""

from collections.abc import Callable
from dataclasses import dataclass, field

from recovery.sources.encodings import rows_checkable


@dataclass(slots=True)
class RowCheck:
    """Counts what is wrong in the rows of one table. Feed it blocks of whole lines."""

    table: str
    columns: int  # 0: as many as the first row has
    encoding: str
    line: int  # of the first row; rows of an archive count from 1
    delimited: bool = True  # False: COPY has options of its own (CSV ...), columns unknown
    rows: int = 0
    _faults: dict[str, tuple[int, str]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def feed(self, block: bytes) -> None:
        lines = block.split(b"\n")
        last = lines.pop()
        if last:
            lines.append(last)
        if self.delimited:
            self._check_columns(lines)
        if b"\0" in block:
            self._each(lines, "a NUL byte", lambda text: b"\0" in text)
        if rows_checkable(self.encoding) and not block.isascii():
            try:
                block.decode("utf-8")
            except UnicodeDecodeError:
                self._each(lines, f"bytes that are not {self.encoding}", _undecodable)
        self.rows += len(lines)

    def faults(self) -> tuple[tuple[int, str], ...]:
        """(line, sentence) per sort of fault, with its number of rows."""
        found: list[tuple[int, str]] = []
        for what, (line, detail) in self._faults.items():
            count = self._counts[what]
            rows = "1 row has" if count == 1 else f"{count} rows have"
            found.append((line, f"table {self.table}: {rows} {what}{detail}"))
        return tuple(found)

    def _check_columns(self, lines: list[bytes]) -> None:
        if not lines:
            return
        if self.columns == 0:
            self.columns = lines[0].count(b"\t") + 1
        expected = self.columns - 1
        if {text.count(b"\t") for text in lines} == {expected}:
            return
        for number, text in enumerate(lines):
            found = text.count(b"\t") + 1
            if found != self.columns:
                detail = f" (the first has {found} instead of {self.columns})"
                self._note("a wrong number of columns", number, detail)

    def _each(self, lines: list[bytes], what: str, wrong: "Wrong") -> None:
        for number, text in enumerate(lines):
            if wrong(text):
                self._note(what, number, "")

    def _note(self, what: str, number: int, detail: str) -> None:
        self._faults.setdefault(what, (self.line + self.rows + number, detail))
        self._counts[what] = self._counts.get(what, 0) + 1


Wrong = Callable[[bytes], bool]


def _undecodable(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False
