"""One what-if: from the first act that is otherwise to the last that can tell, in the order of the
history. All that is run is run in one transaction, which is taken back afterwards.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from recovery.model import Act
from recovery.replay.whatif.alone import Alone
from recovery.replay.whatif.answer import Line, Past, lines
from recovery.replay.whatif.base import Base
from recovery.replay.whatif.dependence import Dependence
from recovery.replay.whatif.footprint import Footprint
from recovery.replay.whatif.reach import Reach
from recovery.replay.whatif.reads import Reading
from recovery.replay.whatif.record import Written
from recovery.replay.whatif.runner import Ran, Runner, Untold
from recovery.replay.whatif.stand import Difference, Differences, Stand
from recovery.replay.whatif.sums import Sums
from recovery.replay.whatif.timeline import Turn
from recovery.replay.whatif.versions import Content, Place, steps

_SEQUENCES = -1  # in the place of a table: what waits is about sequences
_ROUNDS_MAX = 8
_BASE = 1 << 30  # a base act comes behind all acts that were put before it


@dataclass(frozen=True, slots=True)
class Tools:
    """What courses over one base share."""

    base: Base
    stand: Stand
    runner: Runner
    footprint: Footprint
    reach: Reach
    dependence: Dependence
    alone: Alone
    sums: Sums


@dataclass(frozen=True, slots=True)
class _Write:
    order: tuple[int, int]
    act: str
    written: Written


class Course:
    """`reran`: acts that were run, in order, and such as were told without running them:
    `computed` of all. `rows`: what the server reported for each."""

    def __init__(self, tools: Tools, turns: Mapping[int, Turn], *, exact: bool) -> None:
        self._tools = tools
        self._exact = exact
        self._base = tools.base
        self._versions = tools.base.versions
        self._turns = turns
        self._world = Differences(
            [{} for _ in tools.base.relations.tables], [set() for _ in tools.base.relations.tables]
        )
        self._waiting: list[tuple[int, int, str, int]] = [
            (number, _SEQUENCES, "", 0) for number in turns
        ]
        self._waiting.sort()
        self._stamp = 0
        self._otherwise: set[int] = set()  # base acts that did not happen as in the base
        self._apart: set[tuple[int, Place]] = set()  # those that did, but for single rows
        self._writes: dict[Place, list[_Write]] = {}
        self.reran: list[str] = []
        self.computed = 0
        self._begun = False
        self.rows: dict[str, int] = {}

    def go(self) -> None:
        """Raises Untold."""
        while self._waiting:
            number = self._waiting[0][0]
            found = self._woken(number)
            turn = self._turns.get(number)
            for place, act in enumerate(turn.more if turn else ()):
                reading = self._base.read(act)
                self._run(act, reading, (number, place), number - 1, found)
            if number > self._base.last:
                continue
            found = [one for one in {*found, *self._woken(number)} if self._differs(one)]
            if turn is not None and turn.dropped:
                self._otherwise.add(number)
                before = self._base.numbers.at(number - 1)
                self._settle(self._contents(number), number, found)
                self._number(number, before)
            elif self._numbers_missed(number) or (found and not self._told_alone(number, found)):
                act, reading = self._base.history[number], self._base.readings[number]
                self._otherwise.add(number)
                self._run(act, reading, (number, _BASE), number, found)

    def lines(self) -> Iterator[Line]:
        """What is otherwise in the end."""
        for table, rows in enumerate(self._world.rows):
            relation = self._base.relations.tables[table]
            if not self._base.in_backup(table) or not rows:
                continue
            if table in self._base.blind:
                raise Untold(f"{relation.name} was not captured whole")
            for key, row in rows.items():
                yield from lines(relation, key, row, self.past(table, key))

    def touched(self) -> Iterator[Place]:
        """Rows that acts wrote here and not so in the base, or the other way round."""
        yield from self._writes
        for _, place in self._apart:
            yield place
        for number in self._otherwise:
            yield from self._versions.touched[number]

    # --- what waits -------------------------------------------------------------------------------

    def _woken(self, number: int) -> list[Place]:
        """Rows for which the act of this number was to be looked at."""
        found: list[Place] = []
        while self._waiting and self._waiting[0][0] == number:
            _, table, key, stamp = heappop(self._waiting)
            if table == _SEQUENCES:
                continue
            row = self._world.rows[table].get(key)
            if row is not None and row.stamp == stamp:
                found.append((table, key))
        return found

    def _differs(self, place: Place) -> bool:
        return place[1] in self._world.rows[place[0]]

    def _numbers_missed(self, number: int) -> bool:
        numbers = self._base.numbers
        if not self._tools.dependence.sequences or not numbers.elsewhere:
            return False
        reading = self._base.readings[number]
        return reading.opaque or reading.session or numbers.next(number - 1) == number

    def _wait(self, places: Iterable[Place], number: int) -> None:
        """For the next act behind `number` that can tell these rows."""
        by_table: dict[int, list[tuple[str, Difference]]] = {}
        for table, key in places:
            row = self._world.rows[table].get(key)
            if row is not None:
                by_table.setdefault(table, []).append((key, row))
        for table, rows in by_table.items():
            self._tools.reach.prepare(table, rows)
            for key, row in rows:
                after = self._tools.reach.after(table, key, row, number)
                if after is not None:
                    heappush(self._waiting, (after, table, key, row.stamp))

    def _number(self, number: int, now: Mapping[str, int]) -> None:
        """Sequences stand so where the base has done act `number`."""
        numbers = self._base.numbers
        numbers.settle(number, now)
        if not self._tools.dependence.sequences or not numbers.elsewhere:
            return
        opaque = next((one for one in self._tools.reach.opaque if one > number), None)
        for after in (numbers.next(number), opaque):
            if after is not None:
                heappush(self._waiting, (after, _SEQUENCES, "", 0))

    # --- acts -------------------------------------------------------------------------------------

    def _run(
        self,
        act: Act,
        reading: Reading,
        order: tuple[int, int],
        number: int,
        woken: list[Place],
    ) -> None:
        """Run an act in this world; afterwards the base has done act `number`."""
        before = order[0] - 1
        if not act.statements:
            self._settle({}, number, woken)
            return
        self._may_run(act, reading)
        contents = self._contents(number) if order[1] == _BASE else {}
        likely = self._versions.written[number] if order[1] == _BASE else []
        ran, stand = self._tried(act, reading, {*contents, *woken}, likely, before)
        numbered = reading.counted and (reading.chance or ran.issued > 1)
        if self._exact and numbered and _several(ran.written):
            raise Untold(f"{act.id} numbers rows in the order in which they lie")
        self.reran.append(act.id)
        self.rows[act.id] = ran.rows
        for written in ran.written:
            self._wrote(act, order, written, contents, before)
        self._settle(contents, number, woken)
        self._number(number, stand)

    def _told_alone(self, number: int, woken: Sequence[Place]) -> bool:
        """Tell what a base act does here without running it, where that follows from the rows
        that woke it."""
        found = self._by_itself(number, woken)
        if found is None:
            found = self._by_sum(number, woken)
        if found is None:
            return False
        name = self._base.history[number].id
        self.reran.append(name)
        self.computed += 1
        after: dict[Place, Content] = {}
        for place, writes in found.items():
            after[place] = writes[-1].new if writes else self._now(place, number)
            self._apart.add((number, place))
            for written in writes:
                self._writes.setdefault(place, []).append(_Write((number, _BASE), name, written))
        self._settle(after, number, woken)
        return True

    def _by_itself(self, number: int, woken: Iterable[Place]) -> dict[Place, list[Written]] | None:
        """Where it treats every row by itself."""
        found: dict[Place, list[Written]] = {}
        for table, key in woken:
            row = self._world.rows[table][key]
            if isinstance(row.content, int):
                return None
            writes = self._tools.alone.writes(number, table, row.content, row.mask)
            if writes is None:
                return None
            found[table, key] = writes
        return found

    def _by_sum(self, number: int, woken: Iterable[Place]) -> dict[Place, list[Written]] | None:
        """Where it writes what a sum comes to."""
        dirty: dict[int, dict[str, Difference]] = {}
        for table, key in woken:
            dirty.setdefault(table, {})[key] = self._world.rows[table][key]
        return self._tools.sums.writes(number, dirty, lambda place: self._now(place, number))

    def _now(self, place: Place, number: int) -> Content:
        """What a row is here before base act `number`."""
        return self._world.content(self._versions, *place, number - 1)

    def _may_run(self, act: Act, reading: Reading) -> None:
        if reading.barrier:
            raise Untold(f"{act.id} cannot be run again: {reading.barrier}")
        if reading.shuffled:
            raise Untold(f"{act.id} depends on the order in which rows lie")
        if reading.session and not reading.volatile:
            raise Untold(f"{act.id} asks the session for a number")

    def _contents(self, number: int) -> dict[Place, Content]:
        """What the rows that a base act wrote are here before it."""
        return {
            (table, key): self._world.content(self._versions, table, key, number - 1)
            for table, key in self._versions.touched[number]
        }

    def _tried(
        self,
        act: Act,
        reading: Reading,
        hints: Iterable[Place],
        likely: Iterable[Written],
        before: int,
    ) -> tuple[Ran, dict[str, int]]:
        """Until all that the act met was as it should have been."""
        if not self._begun:
            self._begun = True
            self._tools.runner.begin()
        footprint, runner = self._tools.footprint, self._tools.runner
        start = self._base.numbers.at(before)
        rows, whole = footprint.wanted(reading, hints, likely, self._world, before)
        self._bring(rows, whole, before)
        thorough = False
        for _ in range(_ROUNDS_MAX):
            ran, now = runner.run(act, start, numbering=reading.numbering)
            if ran.failed and not thorough:
                # It may have failed for what stands there and should not.
                thorough = True
                runner.again()
                self._bring({}, footprint.tables(reading), before)
                continue
            missing = footprint.missing(ran.written, self._world, before)
            if not missing:
                return ran, now
            runner.again()
            self._bring(missing, set(), before)
        raise Untold(f"{act.id} meets other rows every time")

    def _bring(self, rows: dict[int, set[str]], whole: set[int], before: int) -> None:
        if not self._tools.dependence.copies:
            keyed = {one.number for one in self._base.relations.tables if one.keyed}
            rows, whole = {one: rows[one] for one in rows if one in keyed}, whole & keyed
        self._tools.stand.bring(rows, whole, self._world, before)

    def _wrote(
        self,
        act: Act,
        order: tuple[int, int],
        written: Written,
        contents: dict[Place, Content],
        before: int,
    ) -> None:
        relation = self._base.relations.tables[written.table]
        for step in steps(relation, written):
            place = (relation.number, step.key)
            self._versions.adopt(*place, step.before if relation.keyed else 0)
            after = step.after
            if isinstance(after, int):
                held = contents.get(place)
                if held is None:
                    held = self._world.content(self._versions, *place, before)
                assert isinstance(held, int)
                after += held
            contents[place] = after
            self._tools.stand.wrote(*place, after)
            self._writes.setdefault(place, []).append(_Write(order, act.id, written))

    def _settle(
        self, contents: Mapping[Place, Content], number: int, woken: Iterable[Place]
    ) -> None:
        """The rows are so here where the base has done act `number`."""
        for (table, key), content in contents.items():
            base, mask = self._versions.apart(table, key, number, content)
            rows = self._world.rows[table]
            if not mask:
                rows.pop(key, None)
                self._world.loose[table].discard(key)
                continue
            self._stamp += 1
            rows[key] = Difference(content, base, mask, self._stamp)
            if self._tools.stand.holds(table, key) != content:
                self._world.loose[table].add(key)
            else:
                self._world.loose[table].discard(key)
        self._wait({*contents, *woken}, number)

    def past(self, table: int, key: str) -> Past:
        """What happened to a row."""
        history, place = self._base.history, (table, key)
        base = self._versions.rows[table][key].writes
        kept = [
            (number, written)
            for number, written in base
            if number not in self._otherwise and (number, place) not in self._apart
        ]
        own = self._writes.get(place)
        if own is None:
            here = [(history[number].id, written) for number, written in kept]
        else:
            both = [_Write((one, _BASE), history[one].id, written) for one, written in kept] + own
            here = [(one.act, one.written) for one in sorted(both, key=lambda one: one.order)]
        earlier = self._base.earlier.get((self._base.relations.tables[table].name, key), {})
        return Past(history, here, base, earlier)


def _several(written: Iterable[Written]) -> bool:
    """Whether more than one row of any table was written."""
    return max(Counter(one.table for one in written).values(), default=0) > 1
