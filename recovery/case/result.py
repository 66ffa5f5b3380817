"""What a verb gives back to a face: the exit code, sentences, tables, and the same for machines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from recovery.model import Exit

Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Grid:
    """A table where people compare. Cells are text already."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Result:
    exit: Exit
    summary: tuple[str, ...]
    grids: tuple[Grid, ...] = ()
    warnings: tuple[str, ...] = ()
    document: Mapping[str, Json] = field(default_factory=dict)
