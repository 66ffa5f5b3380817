"""Where sequences stand in the base and in the world being tried. The position of a sequence is
the number it issued last.

A sequence that feeds a key is set for every act to where it stood for that act in the base: ids
keep their values. Any other goes on from where it is, and when that is elsewhere than in the base,
acts that ask it for numbers have to be run again.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping

from psycopg import Connection

from diffing.model import Schema, parts
from recovery.replay.identity import Feed, positions, set_positions


class Numbers:
    def __init__(self, schema: Schema, pinned: Iterable[Feed]) -> None:
        self.feeds = tuple(
            Feed(one.name, *parts(one.name), "", "", one.increment)
            for one in schema.sequences
            if not one.name.startswith("dbmend_")
        )
        self.pinned = frozenset(one.label for one in pinned)
        self._first: dict[str, int] = {}
        self._acts: dict[str, list[int]] = {one.label: [] for one in self.feeds}
        self._stood: dict[str, list[int]] = {one.label: [] for one in self.feeds}
        self.physical: dict[str, int] = {}
        self._elsewhere: dict[str, tuple[int, int]] = {}

    # --- the base ---------------------------------------------------------------------------------

    def begin(self, connection: Connection[tuple[object, ...]]) -> None:
        self._first = positions(connection, self.feeds)
        self.physical = dict(self._first)

    def note(self, act: int, now: Mapping[str, int]) -> None:
        """The act is over, and sequences stand so. Acts come in order."""
        for label, stands in now.items():
            if stands != self.in_base(label, act):
                self._acts[label].append(act)
                self._stood[label].append(stands)

    def look(self, connection: Connection[tuple[object, ...]]) -> dict[str, int]:
        """Where they stand in the working database."""
        self.physical = positions(connection, self.feeds)
        return dict(self.physical)

    def issued(self, begin: Mapping[str, int], now: Mapping[str, int]) -> int:
        """The most numbers that were taken from one of them."""
        return max((abs((now[one.label] - begin[one.label]) // one.increment) for one in self.feeds
                    if one.label in now), default=0)  # fmt: skip

    def in_base(self, label: str, act: int) -> int:
        place = bisect_right(self._acts[label], act)
        return self._stood[label][place - 1] if place else self._first[label]

    def moved(self, act: int) -> bool:
        """Whether the act moved a sequence in the base."""
        return any(self._moved(label, act) for label in self._acts)

    def _moved(self, label: str, act: int) -> bool:
        acts = self._acts[label]
        place = bisect_right(acts, act)
        return place > 0 and acts[place - 1] == act

    # --- the world being tried --------------------------------------------------------------------

    def back(self) -> None:
        """All sequences stand as in the base again."""
        self._elsewhere = {}

    def at(self, act: int) -> dict[str, int]:
        """Positions after base act `act` in this world."""
        found = {}
        for one in self.feeds:
            label = one.label
            found[label] = self.in_base(label, act)
            if label in self._elsewhere:
                stood, since = self._elsewhere[label]
                # Whoever issued numbers meanwhile did so from where it began in the base.
                issued = label in self.pinned and self.in_base(label, act) != self.in_base(
                    label, since
                )
                found[label] = max(stood, found[label]) if issued else stood
        return found

    def settle(self, act: int, now: Mapping[str, int]) -> None:
        """They stand so in this world where the base has done `act`."""
        for label, stands in now.items():
            if stands == self.in_base(label, act):
                self._elsewhere.pop(label, None)
            else:
                self._elsewhere[label] = (stands, act)

    def next(self, act: int) -> int | None:
        """The next act behind `act` that takes numbers from a sequence that stands elsewhere."""
        found = []
        for label in self._elsewhere:
            if label not in self.pinned:
                place = bisect_right(self._acts[label], act)
                if place < len(self._acts[label]):
                    found.append(self._acts[label][place])
        return min(found, default=None)

    @property
    def elsewhere(self) -> bool:
        return any(label not in self.pinned for label in self._elsewhere)

    def put(self, connection: Connection[tuple[object, ...]], wanted: Mapping[str, int]) -> None:
        """Make the working database's sequences stand so."""
        moved = {one: n for one, n in wanted.items() if self.physical.get(one) != n}
        if moved:
            set_positions(connection, self.feeds, moved)
            self.physical |= moved
