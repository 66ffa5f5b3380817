"""Rows whose keys a whole replay takes from rows of the current state that are like them
(`recovery.replay.alignment`). A what-if names rows by the keys they have: it has to know that the
whole replay would leave those as they are.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from recovery.replay.alignment import Alignment
from recovery.replay.whatif.record import Written
from recovery.replay.whatif.relations import Relation
from recovery.replay.whatif.versions import Versions, fields, key_text

Told = tuple[tuple[str | None, ...], ...]  # what was inserted under a key: the columns that count

_PRESENT = """
SELECT key, current FROM divergence WHERE kind = 'extra' AND "table" = ?
"""


@dataclass(frozen=True, slots=True)
class Inserted:
    """A row that one of two runs inserted, or both."""

    key: str
    base: Told
    here: Told


class Alike:
    """For one table. `settled`: in the base no row gets another key."""

    def __init__(
        self,
        facts: duckdb.DuckDBPyConnection,
        relation: Relation,
        alignment: Alignment,
        versions: Versions,
    ) -> None:
        self._relation = relation
        self._places = [
            place
            for place, column in enumerate(relation.columns)
            if column.name not in alignment.passed
        ]
        self._present = self._read(facts)
        told = {
            key: self.told(written for _, written in row.writes)
            for key, row in versions.rows[relation.number].items()
        }
        told = {key: one for key, one in told.items() if one}
        self._mine = {one for key, one in told.items() if self._present.get(key) != one}
        self._theirs = {one for key, one in self._present.items() if told.get(key) != one}
        self.settled = not alignment.known and not self._mine & self._theirs

    def told(self, writes: Iterable[Written]) -> Told:
        """What was inserted, in the columns by which rows are told apart."""
        return tuple(
            self._counting(fields(one.new))
            for one in writes
            if one.new is not None and (one.old is None or self._rekeyed(one.old, one.new))
        )

    def stays(self, rows: Iterable[Inserted]) -> bool:
        """Whether no row gets another key when these are inserted otherwise."""
        come = {one.here for one in rows if one.here and self._present.get(one.key) != one.here}
        free = {
            one.base
            for one in rows
            if one.base != one.here and one.base and self._present.get(one.key) == one.base
        }
        return not come & (self._theirs | free) and not self._mine & free

    def _rekeyed(self, old: str, new: str) -> bool:
        return key_text(self._relation, old) != key_text(self._relation, new)

    def _counting(self, values: Sequence[str | None]) -> tuple[str | None, ...]:
        return tuple(values[place] for place in self._places)

    def _read(self, facts: duckdb.DuckDBPyConnection) -> Mapping[str, Told]:
        names = [self._relation.columns[place].name for place in self._places]
        found: dict[str, Told] = {}
        for key, current in facts.execute(_PRESENT, [self._relation.name]).fetchall():
            row: dict[str, str | None] = json.loads(str(current or "{}"))
            found[str(key)] = (tuple(row.get(name) for name in names),)
        return found
