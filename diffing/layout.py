"""How two versions of one table are laid side by side: common columns, their roles, the key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from diffing.equality import TEXT, Form, form_of
from diffing.model import Column, Key, Table

Role = Literal[
    "exact",  # another text is another value
    "judged",  # another text may be the same value: the equality table decides
    "derived",  # follows from other columns: compared, never a change of its own
    "ignored",  # left out on request
]


@dataclass(frozen=True, slots=True)
class Common:
    """A column of both sides."""

    name: str
    form: Form
    role: Role


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows travel as lists: the common columns in the backup's order, then the side's own rest."""

    common: tuple[Common, ...]
    key: Key
    backup_rest: tuple[str, ...]
    current_rest: tuple[str, ...]
    unique: bool  # a unique constraint over the key held on every side that has the table

    def rest(self, side: Literal["backup", "current"]) -> tuple[str, ...]:
        return self.backup_rest if side == "backup" else self.current_rest

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.common)

    @property
    def key_positions(self) -> tuple[int, ...]:
        return tuple(self.names.index(name) for name in self.key.columns)

    @property
    def row_positions(self) -> tuple[int, ...]:
        """What makes two rows without a usable key the same row."""
        bearing = tuple(n for n, one in enumerate(self.common) if one.role in ("exact", "judged"))
        if bearing:
            return bearing
        return tuple(n for n, one in enumerate(self.common) if one.role == "derived")


def lay_out(
    backup: Table | None,
    current: Table | None,
    *,
    ignored: frozenset[str] = frozenset(),
    declared: tuple[str, ...] = (),
) -> Layout:
    """Lay two versions of a table side by side; a version may be absent, not both.

    The key is the primary key of either side, else a unique key, else the declared one; a key
    whose constraint did not survive on one side still names the rows.
    """
    either = backup or current
    assert either is not None
    left = backup or either
    right = current or either
    theirs = {column.name: column for column in right.columns}
    common = tuple(
        _common(column, theirs[column.name], ignored=column.name in ignored)
        for column in left.columns
        if column.name in theirs
    )
    names = frozenset(column.name for column in common)
    sides = tuple(side for side in (backup, current) if side is not None)
    key = _key(sides, names, declared)
    return Layout(
        common=common,
        key=key,
        backup_rest=tuple(one.name for one in left.columns if one.name not in names),
        current_rest=tuple(one.name for one in right.columns if one.name not in names),
        unique=bool(key.columns) and all(_held(side, key) for side in sides),
    )


def _common(backup: Column, current: Column, *, ignored: bool) -> Common:
    ours, theirs = form_of(backup), form_of(current)
    form = ours if ours == theirs else TEXT
    return Common(backup.name, form, _role(backup, current, form, ignored=ignored))


def _role(backup: Column, current: Column, form: Form, *, ignored: bool) -> Role:
    if ignored:
        return "ignored"
    if (backup.generated and current.generated) or form.family == "tsvector":
        return "derived"
    return "exact" if form.by_text else "judged"


_STRENGTH: Mapping[str, int] = {"primary": 0, "unique": 1, "declared": 2}


def _key(sides: tuple[Table, ...], names: frozenset[str], declared: tuple[str, ...]) -> Key:
    offered = [side.key for side in sides if side.key.origin != "none"]
    if declared:
        offered.append(Key(declared, "declared"))
    usable = [key for key in offered if key.columns and names.issuperset(key.columns)]
    return min(usable, key=lambda key: _STRENGTH[key.origin], default=Key((), "none"))


def _held(side: Table, key: Key) -> bool:
    return side.key.origin in ("primary", "unique") and set(side.key.columns) == set(key.columns)
