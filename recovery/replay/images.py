"""What decoding tells of a replay, in the order in which it was written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

Row = Mapping[str, str | None]
Cells = Sequence[bytes | None]  # the texts of a row, each behind one byte that says nothing


@dataclass(frozen=True, slots=True)
class Marker:
    """From here on, changes belong to this step."""

    step: str


@dataclass(frozen=True, slots=True)
class Image:
    """One row written, with the cells of these columns: no `before` for an insert, no `after` for a
    delete."""

    op: Literal["insert", "update", "delete"]
    table: str
    names: tuple[str, ...]
    before: Cells | None
    after: Cells | None
    whole: bool = True  # False: the server did not send all of it, the rows tell nothing

    @property
    def old(self) -> dict[str, str | None] | None:
        return self._row(self.before)

    @property
    def new(self) -> dict[str, str | None] | None:
        return self._row(self.after)

    @classmethod
    def of(
        cls,
        op: Literal["insert", "update", "delete"],
        table: str,
        old: Row | None,
        new: Row | None,
    ) -> Self:
        """From whole rows of the same columns."""
        return cls(op, table, tuple(old or new or ()), _cells(old), _cells(new))

    def _row(self, cells: Cells | None) -> dict[str, str | None] | None:
        if cells is None:
            return None
        texts = (None if cell is None else cell[1:].decode() for cell in cells)
        return dict(zip(self.names, texts, strict=True))


@dataclass(frozen=True, slots=True)
class Images:
    """Images of one kind that follow each other, all whole; of an update the cells of a row before
    and after, one behind the other. That is how most come, so that there is no object for each."""

    op: Literal["insert", "update", "delete"]
    table: str
    names: tuple[str, ...]
    rows: Sequence[Cells]

    def each(self) -> Iterator[Image]:
        many = len(self.names)
        for row in self.rows:
            match self.op:
                case "update":
                    yield Image(self.op, self.table, self.names, row[:many], row[many:])
                case "insert":
                    yield Image(self.op, self.table, self.names, None, row)
                case "delete":
                    yield Image(self.op, self.table, self.names, row, None)


@dataclass(frozen=True, slots=True)
class Truncated:
    """A TRUNCATE: decoding names the tables and not their rows."""

    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Withheld:
    """From here to `Settled`, row images of this table tell nothing: what happened to its rows
    comes as `Told`."""

    table: str


@dataclass(frozen=True, slots=True)
class Told:
    """A row that is another than before the batch: as in an image, whole, in column order."""

    table: str
    old: dict[str, str | None] | None
    new: dict[str, str | None] | None


@dataclass(frozen=True, slots=True)
class Settled:
    """Images tell again."""


Change = Marker | Image | Images | Truncated | Withheld | Told | Settled


def _cells(row: Row | None) -> Cells | None:
    if row is None:
        return None
    return [None if text is None else b"-" + text.encode() for text in row.values()]
