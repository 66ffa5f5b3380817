"""What-ifs over one base run."""

import gc
from contextlib import ExitStack, closing
from itertools import count
from types import TracebackType
from typing import Self

import psycopg
from psycopg.pq import TransactionStatus

from recovery.model import Forecast, History, Replay
from recovery.replay import clock, forecast
from recovery.replay.alignment import alignments
from recovery.replay.ground import Ground, clone
from recovery.replay.whatif.alike import Alike, Inserted
from recovery.replay.whatif.alone import Alone
from recovery.replay.whatif.answer import tell
from recovery.replay.whatif.base import run_base
from recovery.replay.whatif.course import Course, Tools
from recovery.replay.whatif.dependence import SOUND, Dependence
from recovery.replay.whatif.footprint import Footprint
from recovery.replay.whatif.reach import Judge, Reach
from recovery.replay.whatif.runner import Untold
from recovery.replay.whatif.stand import Stand
from recovery.replay.whatif.sums import Sums
from recovery.replay.whatif.timeline import Turn, turns
from recovery.scratch.cluster import about_the_server, server_trouble

_DATABASE = "replay_whatif"

_DEAD_MAX = 50_000  # rows moved and taken back, before the server is asked to clear them away
_NEVER_PREPARED = 1 << 30


class WhatIf:
    """Forecasts over one base run, from one working database. `reran`: acts that the last
    forecast ran again, in order; `computed` of them without the server. `refusal`: why the last
    one was not told, '' if it was."""

    def __init__(
        self, ground: Ground, history: History, base: Replay, dependence: Dependence
    ) -> None:
        self.ground = ground
        self.history = history
        self.base = base
        self.dependence = dependence
        self.reran: tuple[str, ...] = ()
        self.computed = 0
        self.refusal = ""
        self._stack = ExitStack()
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise

    def _open(self) -> None:
        cluster = self.ground.cluster
        number = next(one for one in count(1) if (id(cluster), one) not in _in_use)
        _in_use.add((id(cluster), number))
        self._stack.callback(_in_use.discard, (id(cluster), number))
        name = _DATABASE if number == 1 else f"{_DATABASE}_{number}"
        self._stack.enter_context(clone(self.ground, name))
        connection = self._stack.enter_context(closing(cluster.connect(name)))
        connection.prepare_threshold = _NEVER_PREPARED  # but where it is asked for
        self._connection = connection
        found, self._runner = run_base(
            self.ground, name, connection, self.history, self.base, self.dependence
        )
        self._found = found
        judging = self._stack.enter_context(closing(cluster.connect(name)))
        judging.prepare_threshold = _NEVER_PREPARED
        path = clock.search_path(judging)
        judging.execute("SELECT pg_catalog.set_config('search_path', %s, false)", (path,))
        # An act such as TRUNCATE locks its table until the working transaction ends, and that one
        # waits for the judge.
        judging.execute("SET lock_timeout = '50ms'")
        self._stand = Stand(connection, found.relations, found.versions, found.last)
        judge = Judge(judging, found.relations)
        reach = Reach(
            found.relations, found.versions, found.readings, found.failed, self.dependence, judge
        )
        footprint = Footprint(found.relations, found.versions, self._stand)
        self._tools = Tools(
            found,
            self._stand,
            self._runner,
            footprint,
            reach,
            self.dependence,
            Alone(found, self.dependence),
            Sums(found, self.dependence),
        )
        given = alignments(self.ground.facts, self.ground.schema, self.ground.identities.feeds)
        numbers = found.relations.numbers
        self._alike = {
            numbers[one.table]: Alike(
                self.ground.facts, found.relations.tables[numbers[one.table]], one, found.versions
            )
            for one in given
            if one.table in numbers
        }
        forecast.make(self.ground.facts)
        # What is known of the base stays as it is, and is much: not to be gone through again and
        # again in search of garbage.
        gc.collect()
        gc.freeze()
        self._stack.callback(gc.unfreeze)
        self._known = {act.id: act for act in self.history}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """The working database goes."""
        self._stack.close()

    def forecast(self, deviant: History, name: str, *, exact: bool = True) -> Forecast | None:
        """As `recovery.model.Laboratory.forecast`, for the base that this was opened with. None:
        it cannot be told this way, a whole replay has to. Not `exact`: which of several rows that
        one statement makes gets which number may be otherwise than in a whole replay."""
        self.reran = ()
        self.computed = 0
        self.refusal = ""
        try:
            with self.ground.identities.supposing():
                return self._forecast(deviant, name, exact=exact)
        except Untold as untold:
            self.refusal = str(untold)
            return None

    def _forecast(self, deviant: History, name: str, *, exact: bool) -> Forecast:
        if self._found.obstacle:
            raise Untold(self._found.obstacle)
        if self._connection.closed:
            raise Untold("the working session was ended")
        apart = turns(self.history, deviant)
        if apart and min(apart) <= self._found.floor:
            raise Untold("it begins before definitions were changed")
        course = Course(self._tools, apart, exact=exact)
        lines = []
        try:
            course.go()
            lines = list(course.lines())
            self._keys_stay(course)
        except psycopg.Error as error:
            with server_trouble(self.ground.cluster):
                if about_the_server(error):
                    raise
            raise Untold(f"rows could not be put back: {error}") from error
        finally:
            self.reran = tuple(course.reran)
            self.computed = course.computed
            self._back()
        tell(self.ground.facts, name, lines)
        fresh = [act for _, turn in sorted(apart.items(), key=_number) for act in turn.more]
        again = [act.id for act in fresh if self._known.get(act.id) != act]
        rows = tuple((one, course.rows[one]) for one in again if one in course.rows)
        return Forecast(name, rows)

    def _keys_stay(self, course: Course) -> None:
        """Or else a whole replay names rows by other keys."""
        if not self._alike:
            return
        touched = {place for place in course.touched() if place[0] in self._alike}
        for table, alike in self._alike.items():
            rows = []
            for number, key in touched:
                if number == table:
                    past = course.past(table, key)
                    base = alike.told(written for _, written in past.in_base)
                    here = alike.told(written for _, written in past.here)
                    if base or here:
                        rows.append(Inserted(key, base, here))
            if rows and not (alike.settled and alike.stays(rows)):
                raise Untold("keys of its rows are matched with the current state")

    def _back(self) -> None:
        """The working database stands at the end of the base again."""
        if not self._connection.closed:
            if self._connection.info.transaction_status is not TransactionStatus.IDLE:
                self._connection.execute("ROLLBACK")
            if self._stand.moved > _DEAD_MAX:
                self._stand.moved = 0
                self._connection.execute("VACUUM")
                self._runner.empty()
        self._stand.back()
        self._found.numbers.back()


def _number(turn: tuple[int, Turn]) -> int:
    return turn[0]


_in_use: set[tuple[int, int]] = set()  # working databases, by server


def open_whatif(
    ground: Ground, history: History, base: Replay, *, dependence: Dependence = SOUND
) -> WhatIf:
    """`base` is the run of `history` on this ground. Costs one replay of it."""
    return WhatIf(ground, history, base, dependence)
