"""One history gone otherwise, told three ways: by the fast what-if, by a replay of all of it, and
by nothing of the product at all (`tests.plain_runs`). They have to agree.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from recovery.deviation import Deviation, Deviations, Drop, Insert, Move, Replace, deviate
from recovery.model import Act, Forecast, History, Replay
from recovery.replay.ground import Ground
from recovery.replay.identity import Identities, feeds
from recovery.replay.run import Laboratory, replay
from recovery.replay.whatif import SOUND, Dependence, WhatIf, open_whatif
from recovery.scratch.cluster import Cluster
from tests.any_schema import Made
from tests.histories import (
    Changes,
    Dropped,
    Inserted,
    Moved,
    Replaced,
    Step,
    Steps,
    by_chance,
    by_keyword,
    by_session,
    changed,
)
from tests.plain_runs import Issued, Left, PlainRuns, expected, told
from tests.replayed import START, Stage, stage, strike

Line = tuple[str, str, str, str | None, str | None, str | None]  # a row of `forecast`, unnamed


@dataclass
class Room:
    """A schema, ready for histories: a ground for the product, a database without it."""

    made: Made
    stage: Stage
    plain: PlainRuns

    def ground(self) -> Ground:
        """Nothing is known of ids yet."""
        old = self.stage.ground
        identities = Identities(feeds(old.schema), {})
        return Ground(old.cluster, old.template, old.schema, old.facts, identities, old.workspace)


@contextmanager
def room(cluster: Cluster, made: Made, name: str, folder: Path) -> Iterator[Room]:
    """`name` is that of its databases."""
    folder.mkdir(exist_ok=True)
    ready = stage(cluster, name, folder, made.text)
    plain = f"{name}_plain"
    cluster.create(plain)
    try:
        with cluster.connect(plain) as connection:
            yield Room(made, ready, PlainRuns(connection, made, START))
    finally:
        strike(ready)
        cluster.drop(plain)


def _alone(steps: Steps) -> bool:
    """Whether plain runs can tell it: no chance, clock or session that the product pins."""
    return not (by_chance(steps) or by_keyword(steps) or by_session(steps))


def as_act(step: Step) -> Act:
    return Act(step.id, step.statements, START + timedelta(minutes=step.minute), step.shape)


def as_deviations(changes: Changes) -> Deviations:
    found: list[Deviation] = []
    for change in changes:
        match change:
            case Dropped(name):
                found.append(Drop(name))
            case Replaced(name, statements):
                found.append(Replace(name, statements))
            case Inserted(after, step):
                found.append(Insert(after, as_act(step)))
            case Moved(name, after):
                found.append(Move(name, after))
    return tuple(found)


@dataclass
class Answer:
    """What came of telling one history in all ways. `wrong`: what kind of disagreement, and how."""

    answered: bool = False
    refusal: str = ""
    plainly: bool = False
    whole: bool = False
    different: bool = False
    later: int = 0
    reran: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Trials:
    """One base history in a room."""

    room: Room
    steps: Steps

    def __post_init__(self) -> None:
        self.ground = self.room.ground()
        self.history: History = tuple(as_act(step) for step in self.steps)
        self.base: Replay = replay(self.ground, self.history, "base")
        self.laboratory = Laboratory(self.ground)
        self._issued: Issued = {}
        self.left: Left | None = None
        if _alone(self.steps):
            self.left = self.room.plain.run(self.steps, self._issued, learn=True)

    def fast(self, dependence: Dependence = SOUND) -> WhatIf:
        return open_whatif(self.ground, self.history, self.base, dependence=dependence)

    def tell(self, fast: WhatIf, changes: Changes, *, whole: bool) -> Answer:
        """In all ways; by a replay of all of it when `whole`, or when plain runs cannot tell."""
        answer = Answer()
        deviant = self.deviant(changes)
        left = self.plainly(changes)
        answer.plainly = left is not None
        told_slowly: Forecast | None = None
        slow: Counter[Line] = Counter()
        if whole or left is None:
            told_slowly = self.slow(deviant)
            slow = self.lines("slow")
            if left is not None and (why := self.against_plain(slow, left)):
                answer.wrong.append(("slow way is not the plain run", why))
        quick = fast.forecast(deviant, "fast")
        if quick is None:
            answer.refusal = fast.refusal or "no reason given"
            return answer
        answer.answered = True
        answer.later, answer.reran = self._again(deviant, fast)
        found = self.lines("fast")
        answer.different = bool(found)
        if left is not None and (why := self.against_plain(found, left)):
            answer.wrong.append(("what-if is not the plain run", why))
        if told_slowly is not None:
            answer.whole = True
            if why := self._against_slow(found, slow):
                answer.wrong.append(("what-if is not the slow way", why))
            rows = dict(quick.rows)
            odd = [one for one in told_slowly.rows if rows.get(one[0]) != one[1]]
            if odd:
                answer.wrong.append(("reported rows", f"slow {odd} fast {quick.rows}"))
        return answer

    def slow(self, deviant: History) -> Forecast:
        found = self.laboratory.forecast_slowly(self.base, self.history, deviant, "slow")
        assert found is not None
        return found

    def wrong(self, fast: WhatIf, changes: Changes) -> str:
        """How the fast way differs from the plain run; '' when it does not, or says nothing."""
        left = self.plainly(changes)
        if left is None or fast.forecast(self.deviant(changes), "fast") is None:
            return ""
        return self.against_plain(self.lines("fast"), left)

    def deviant(self, changes: Changes) -> History:
        """By the product's own way of laying deviations over a history; it has to be ours."""
        deviant = deviate(self.history, as_deviations(changes))
        assert deviant == tuple(as_act(step) for step in changed(self.steps, changes))
        return deviant

    def _again(self, deviant: History, fast: WhatIf) -> tuple[int, int]:
        """Acts behind the first that went otherwise, and how many of them were run again."""
        pairs = enumerate(zip(self.history, deviant, strict=False))
        first = next((place for place, (one, two) in pairs if one != two), len(deviant))
        later = [act.id for act in deviant[first + 1 :]]
        return len(later), sum(name in fast.reran for name in later)

    def _against_slow(self, fast: Counter[Line], slow: Counter[Line]) -> str:
        """Cells with the acts that wrote them; of rows without a key, how many of which."""
        keyed = [
            Counter({line: n for line, n in one.items() if '{"#row":' not in line[1]})
            for one in (fast, slow)
        ]
        bags = [
            told(self.room.made, (line[:5] for line in one.elements()))[1] for one in (fast, slow)
        ]
        if keyed[0] == keyed[1] and bags[0] == bags[1]:
            return ""
        missing = list((keyed[1] - keyed[0]).elements())[:6]
        more = list((keyed[0] - keyed[1]).elements())[:6]
        return f"missing {missing} too much {more} rows without key {bags[1]} {bags[0]}"

    def lines(self, name: str) -> Counter[Line]:
        rows = self.ground.facts.execute(
            'SELECT "table", key, "column", base, value, act FROM forecast WHERE name = ?', [name]
        ).fetchall()
        return Counter(tuple(row) for row in rows)

    def plainly(self, changes: Changes) -> Left | None:
        """None where the clock or chance cannot be had without the product."""
        steps = changed(self.steps, changes)
        if self.left is None or not _alone(steps):
            return None
        return self.room.plain.run(steps, self._issued, learn=False)

    def against_plain(self, lines: Counter[Line], left: Left) -> str:
        """What is wrong with a forecast, '' when nothing is."""
        assert self.left is not None
        wanted = expected(self.left, left)
        got = told(self.room.made, (line[:5] for line in lines.elements()))
        if wanted == got:
            return ""
        cells = f"missing {list((wanted[0] - got[0]).elements())[:6]}"
        cells += f" too much {list((got[0] - wanted[0]).elements())[:6]}"
        return f"{cells} rows without key wanted {wanted[1]} got {got[1]}"
