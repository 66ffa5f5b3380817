"""Every row that the base run wrote, as it was after every act.

The content of a row is its text, None where it is not there. Rows of tables without a key are
known by their whole text, and their content is a number: how many more of them there are than in
the backup.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from recovery.replay.effects import key_of
from recovery.replay.whatif.record import Written
from recovery.replay.whatif.relations import ALL, EXISTENCE, Relation, Relations

Content = str | int | None
Place = tuple[int, str]  # a table, and the key of a row in it

_FIELD = re.compile(r'"((?:[^"\\]|""|\\\\)*)"|([^,]*)', re.S)


@dataclass(slots=True)
class Row:
    """`contents[n]` from act `acts[n]` on; `first` before that. `masks[n]`: the columns that act
    changed, once all acts are noted."""

    first: Content
    acts: list[int] = field(default_factory=list)
    contents: list[Content] = field(default_factory=list)
    masks: list[int] = field(default_factory=list)
    writes: list[tuple[int, Written]] = field(default_factory=list)

    def at(self, act: int) -> Content:
        """After the act of this number; -1: before all acts."""
        place = bisect_right(self.acts, act)
        return self.contents[place - 1] if place else self.first


@lru_cache(maxsize=1 << 14)
def fields(text: str) -> tuple[str | None, ...]:
    """The values of a row from the server's text of it."""
    inside = text[1:-1]
    if '"' not in inside:
        return tuple(one or None for one in inside.split(","))
    if '""' not in inside and "\\" not in inside:
        return tuple(_unescaped(inside.split('"')))
    values: list[str | None] = []
    at = 0
    while True:
        found = _FIELD.match(inside, at)
        assert found is not None
        if found[1] is not None:
            values.append(found[1].replace('""', '"').replace("\\\\", "\\"))
        else:
            values.append(found[2] or None)
        at = found.end() + 1
        if at > len(inside):
            return tuple(values)


def _unescaped(parts: list[str]) -> Iterator[str | None]:
    """The values, when every other part was in quotes."""
    last = len(parts) - 1
    for place, part in enumerate(parts):
        if place % 2:
            yield part
            continue
        start, end = min(place, 1), len(part) - (place < last)  # without the commas at quotes
        if part and start <= end:
            for one in part[start:end].split(","):
                yield one or None


def key_text(relation: Relation, text: str) -> str:
    """Under which a row is known."""
    if not relation.keyed:
        return text
    values = fields(text)
    return _key(relation, tuple(values[place] for place in relation.key))


@lru_cache(maxsize=1 << 14)
def _key(relation: Relation, values: tuple[str | None, ...]) -> str:
    names = (relation.columns[place].name for place in relation.key)
    return key_of(relation.table, dict(zip(names, values, strict=True)))


def different(relation: Relation, one: Content, other: Content) -> int:
    """The columns in which two contents of a row differ, as a mask; 0 when in none."""
    if one == other:
        return 0
    if not isinstance(one, str) or not isinstance(other, str):
        return ALL
    mask = 0
    for place, (left, right) in enumerate(zip(fields(one), fields(other), strict=True)):
        if left != right:
            mask |= 2 << place
    return mask


class Versions:
    """`written[n]`: what act n wrote, row by row, in order. `touched[n]`: the rows of it."""

    def __init__(self, relations: Relations, acts: int) -> None:
        self.relations = relations
        self.rows: list[dict[str, Row]] = [{} for _ in relations.tables]
        self.written: list[list[Written]] = [[] for _ in range(acts)]
        self.touched: list[dict[Place, None]] = [{} for _ in range(acts)]
        # Per table: which rows changed when, in order; of them those that changed in a column.
        self.changes: list[list[tuple[int, str]]] = [[] for _ in relations.tables]
        self.changed: list[dict[int, list[tuple[int, str]]]] = [{} for _ in relations.tables]

    def note(self, act: int, written: Written) -> None:
        """Acts come in order."""
        self.written[act].append(written)
        relation = self.relations.tables[written.table]
        for step in steps(relation, written):
            self.touched[act][written.table, step.key] = None
            self._set(relation, act, step, written)

    def _set(self, relation: Relation, act: int, step: "Step", written: Written) -> None:
        rows = self.rows[relation.number]
        row = rows.get(step.key)
        if row is None:
            row = rows[step.key] = Row(step.before if relation.keyed else 0)
        row.writes.append((act, written))
        content = step.after
        if isinstance(content, int):
            before = row.contents[-1] if row.contents else 0
            assert isinstance(before, int)
            content += before
        if row.acts and row.acts[-1] == act:
            row.contents[-1] = content
        else:
            row.acts.append(act)
            row.contents.append(content)

    def close(self) -> None:
        """All acts are noted: make what is asked for by table and column."""
        for act, touched in enumerate(self.touched):
            for table, key in touched:
                row = self.rows[table][key]
                relation = self.relations.tables[table]
                mask = different(relation, row.at(act - 1), row.at(act))
                row.masks.append(mask)
                if not mask:
                    continue
                self.changes[table].append((act, key))
                changed = self.changed[table]
                for place in range(-1, len(relation.columns)):
                    if mask == ALL or mask & (2 << place if place >= 0 else EXISTENCE):
                        changed.setdefault(place, []).append((act, key))

    def at(self, table: int, key: str, act: int) -> Content:
        """The content of a row after an act of the base. Only of rows that are known."""
        return self.rows[table][key].at(act)

    def apart(self, table: int, key: str, act: int, content: Content) -> tuple[Content, int]:
        """The content of a known row after an act of the base, and the columns in which that
        differs from `content`. Quicker than comparing where that is what the row was before."""
        row = self.rows[table][key]
        place = bisect_right(row.acts, act) - 1
        base = row.contents[place] if place >= 0 else row.first
        if place >= 0 and row.acts[place] == act:
            before = row.contents[place - 1] if place else row.first
            if before is content:
                return base, row.masks[place]
        return base, different(self.relations.tables[table], content, base)

    def knows(self, table: int, key: str) -> bool:
        return key in self.rows[table]

    def adopt(self, table: int, key: str, content: Content) -> None:
        """A row that the base never wrote: it is always so."""
        self.rows[table].setdefault(key, Row(content))

    def between(self, table: int, low: int, high: int, mask: int) -> Iterator[str]:
        """Rows that acts behind `low` up to `high` changed in a column of the mask."""
        if mask == ALL:
            yield from _slice(self.changes[table], low, high)
            return
        for place, events in self.changed[table].items():
            if mask & (2 << place if place >= 0 else EXISTENCE):
                yield from _slice(events, low, high)


@dataclass(frozen=True, slots=True)
class Step:
    """What a write did to one row: its content before and after; without a key, `after` is how
    many came."""

    key: str
    before: Content
    after: Content


def steps(relation: Relation, written: Written) -> tuple[Step, ...]:
    """A write is about two rows when it changes a key, or when there is none."""
    old, new = written.old, written.new
    if not relation.keyed:
        gone = () if old is None else (Step(old, 0, -1),)
        return gone if new is None else (*gone, Step(new, 0, 1))
    key = "" if new is None else key_text(relation, new)
    if old is None:
        return (Step(key, None, new),)
    former = key_text(relation, old)
    if former == key:
        return (Step(key, old, new),)
    left = (Step(former, old, None),)
    return left if new is None else (*left, Step(key, None, new))


def _slice(events: list[tuple[int, str]], low: int, high: int) -> Iterator[str]:
    for place in range(bisect_left(events, (low + 1, "")), len(events)):
        act, key = events[place]
        if act > high:
            return
        yield key
