"""A history of ordinary work with faults in it, as SQL text, before anything is lived through."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from random import Random

from benchmarks.faults import CLASSES, COMPANIONS, DRAWERS, Draw, NotHere, Strike
from benchmarks.faults.model import Touch, value_touch
from benchmarks.lives import Act
from benchmarks.suites import Suite
from recovery.demo.twin import Connection, prepare

STARTED = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
_SEVERAL_SHARE = 0.2  # of the cases have two or three faults
_OLD_ROWS = frozenset({"wrong-restore", "storage"})  # what these damage is what was edited
LAST = float("inf")


@dataclass(frozen=True, slots=True)
class Plan:
    """Which case to make. `fault_class` may be one of CONTROLS; `missing` is the share of the
    legitimate steps that the log forgets; `faults` how many (0: the seed decides); `skew` the
    exponent by which the work of made suites prefers some rows (Zipf; 0: all rows alike)."""

    suite: Suite
    fault_class: str
    missing: float
    seed: int
    steps: int  # legitimate ones
    size: str = "XS"
    level: str = "G0"
    mode: str = "intended"
    complaints: str = "0"
    faults: int = 0
    skew: float = 0.0

    @property
    def name(self) -> str:
        share = round(self.missing * 100)
        words = [self.suite.name, self.fault_class, str(share), str(self.seed)]
        words += [self.level] if self.level != "G0" else []
        words += [self.mode] if self.mode != "intended" else []
        words += [f"complaints-{self.complaints}"] if self.complaints != "0" else []
        words += [f"skew-{self.skew:g}"] if self.skew else []
        return "-".join(words)

    @property
    def complete(self) -> bool:
        """Whether the log can say that it holds every change."""
        return self.missing == 0 and self.level == "G0"


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that was meant, or happened, or both. `intended` and `executed` are SQL, '' where
    nothing was meant or nothing ran; their places order the two worlds. `fault` is the fault that
    it is part of, '' for good work."""

    id: str
    at: datetime
    actor: str
    what: str
    intended: str
    executed: str
    logged: bool
    place: float
    ran_place: float
    fault: str = ""
    suspect: bool = False
    event: str = ""
    slot: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """A strike in a history. `steps`: the ids of its steps that the log could name; `place`: of
    the first of its steps, in either world."""

    id: str
    strike: Strike
    steps: tuple[str, ...]
    place: float

    @property
    def step(self) -> str:
        return self.steps[0] if self.steps else ""

    @property
    def fault_class(self) -> str:
        return self.strike.fault_class


@dataclass(frozen=True, slots=True)
class History:
    """`untrue` are texts of work that nobody did, for logs that tell of it."""

    happenings: tuple[Happening, ...]
    faults: tuple[Fault, ...]
    untrue: tuple[str, ...] = ()


def meant(happenings: Sequence[Happening]) -> list[Act]:
    """The world as it should have been."""
    ordered = sorted(happenings, key=lambda one: one.place)
    return [Act(one.id, one.at, one.intended, one.slot) for one in ordered if one.intended]


def happened(happenings: Sequence[Happening]) -> list[Act]:
    """The world as it was."""
    ordered = sorted(happenings, key=lambda one: one.ran_place)
    return [Act(one.id, one.at, one.executed, one.slot) for one in ordered if one.executed]


def make_history(connection: Connection, plan: Plan) -> History:
    """The history of a case; `connection` is to the backup and only read. Raises NotHere when the
    suite has no place for the class."""
    if plan.fault_class == "nothing-changed":
        look = "Looked whether all is well"  # a log without any step is refused
        return History((Happening("1", STARTED, "clerk", look, "", "", True, 1, 1, slot=1),), ())
    prepare(connection)
    random = Random(f"{plan.suite.name} {plan.fault_class} {plan.seed}")  # the same at any share
    writer = _Writer(random, plan.suite, _samples(connection, plan.suite), plan.skew)
    draw = Draw(random, plan.suite, connection, plan.seed)
    at = max(1, round(plan.steps * random.choice((0.1, 0.5, 0.9))))
    texts = [writer.work(number) for number in range(max(4, plan.steps - 8))]
    strikes = _strikes(draw, plan)
    before, after = texts[:at], texts[at:]
    everywhere = value_touch(plan.suite.values, plan.suite.places.key, "")
    touches = [strike.touch for strike in strikes] or [everywhere]
    on_the_rows: set[str] = set()
    count = 8 if plan.fault_class in _OLD_ROWS else 3
    for touch in touches:
        keys = draw.texts(touch.keys)
        if not keys:
            raise NotHere(f"no rows: {touch.keys}")
        for side in (before, after):
            edits = writer.on_the_rows(touch, keys, count)
            on_the_rows.update(edits)
            side += edits
    after += [writer.fill(random.choice(plan.suite.downstream)) for _ in range(2)]
    random.shuffle(before)
    random.shuffle(after)
    good = _good([*before, *after], plan, on_the_rows)
    struck, faults = _struck(strikes, len(before), len(good), random)
    timed = tuple(_timed([*good, *struck], random))
    plain = [text for text in plan.suite.work if "[[" not in text]
    untrue = tuple(writer.fill(random.choice(plain)) for _ in range(max(1, plan.steps // 20)))
    return History(timed, tuple(faults), untrue)


def _strikes(draw: Draw, plan: Plan) -> list[Strike]:
    if plan.fault_class not in CLASSES:
        return []
    chance = Random(f"several {plan.name}")
    several = plan.faults or (chance.choice((2, 2, 3)) if chance.random() < _SEVERAL_SHARE else 1)
    strikes = [DRAWERS[plan.fault_class](draw)]
    others = [name for name in COMPANIONS if name != plan.fault_class]
    for name in chance.sample(others, several - 1):
        try:
            strikes.append(DRAWERS[name](draw))
        except NotHere:
            continue
    return strikes


@dataclass(slots=True)
class _Writer:
    random: Random
    suite: Suite
    samples: dict[str, tuple[str, ...]]
    skew: float = 0.0
    number: int = 100
    # By the identity of what is chosen from: a million keys are not hashed for each choice.
    _popular: dict[int, tuple[tuple[str, ...], list[str], tuple[float, ...]]] = field(
        default_factory=dict
    )

    def work(self, number: int) -> str:
        if number % 5 == 4:
            return self.fill(self.random.choice(self.suite.downstream))
        return self.fill(self.random.choice(self.suite.work))

    def on_the_rows(self, touch: Touch, keys: tuple[str, ...], count: int) -> list[str]:
        """Edits of struck cells and of their neighbours, one row each."""
        kinds = (touch.here * count + touch.near)[: count - 1] + (touch.near or touch.here)[:1]
        return [self.fill(text, key=self._one(keys)) for text in kinds]

    def fill(self, template: str, key: str = "") -> str:
        self.number += 1
        values = {name: self._one(found) for name, found in self.samples.items()}
        values |= {f"{name}2": self._one(found) for name, found in self.samples.items()}
        money = f"{self.random.randrange(1, 6)}.{self.random.choice((19, 39, 59, 89))}"
        return template.format(
            n=self.number, i=self.random.randrange(1, 9), money=money, key=key, **values
        )

    def _one(self, rows: tuple[str, ...]) -> str:
        """A row: with a skew, the first of an order that is chance itself most often."""
        if not self.skew:
            return self.random.choice(rows)
        if id(rows) not in self._popular:
            order = Random(f"popular {self.suite.name} {len(rows)}").sample(rows, len(rows))
            weights = tuple(accumulate(rank**-self.skew for rank in range(1, len(rows) + 1)))
            self._popular[id(rows)] = rows, order, weights
        _, order, weights = self._popular[id(rows)]
        return self.random.choices(order, cum_weights=weights)[0]


def _samples(connection: Connection, suite: Suite) -> dict[str, tuple[str, ...]]:
    samples = {}
    for name, query in suite.samples:
        rows = connection.execute(query.encode()).fetchall()
        samples[name] = tuple(sorted(str(value) for (value,) in rows))
    return samples


def _good(texts: Sequence[str], plan: Plan, on_the_rows: set[str]) -> list[Happening]:
    """The legitimate steps; which are forgotten depends on the share and the seed alone, and the
    edits on the struck rows are among the first to be."""
    chance = Random(f"forgotten {plan.suite.name}-{plan.fault_class}-{plan.missing}-{plan.seed}")
    order = sorted(range(len(texts)), key=lambda _: chance.random())
    near = [at for at in order if texts[at] in on_the_rows]
    first = near[: max(2, round(len(near) * min(1.0, plan.missing + 0.2)))]
    rest = [at for at in order if at not in first]
    forgotten = set((first + rest)[: round(len(texts) * plan.missing)])
    return [
        Happening(
            str(at + 1), STARTED, "clerk", f"Step {at + 1}", text, text, at not in forgotten,
            float(at), float(at),
        )
        for at, text in enumerate(texts)
    ]  # fmt: skip


def _struck(
    strikes: Sequence[Strike], first: int, count: int, random: Random
) -> tuple[list[Happening], list[Fault]]:
    """The faults' own steps. The first fault strikes at its depth, the others anywhere."""
    happenings: list[Happening] = []
    faults = []
    for number, strike in enumerate(strikes, start=1):
        name = "fault" if number == 1 else f"fault{number}"
        start = (first if number == 1 else random.randrange(1, max(2, count))) - 0.5
        start += number * 0.01
        steps = []
        for part_number, part in enumerate(strike.parts):
            own = sum(one.guilty for one in strike.parts[:part_number])
            role = name if part.guilty else f"{name}-near"
            step = f"{role}-{own + 1}" if own or not part.guilty else role
            if not part.guilty:
                step = f"{role}{part_number + 1}"
            place = LAST if part.last else start + part.offset
            ran = place if part.ran_offset is None else start + part.ran_offset
            if part.guilty and part.logged:
                steps.append(step)
            happenings.append(
                Happening(
                    step, STARTED, "clerk", part.what, part.meant, part.ran, part.logged,
                    place, ran, name if part.guilty else "", part.suspect,
                    dict(strike.parameters).get("event", "") if strike.storage else "",
                )
            )  # fmt: skip
        mine = [one for one in happenings if one.fault == name]
        first_place = min(min(one.place, one.ran_place) for one in mine)
        faults.append(Fault(name, strike, tuple(steps), first_place))
    return happenings, faults


def _timed(happenings: Sequence[Happening], random: Random) -> list[Happening]:
    moment = STARTED
    timed = []
    for slot, one in enumerate(sorted(happenings, key=lambda one: one.place), start=1):
        moment += timedelta(
            seconds=random.randrange(30, 1800), microseconds=random.randrange(10**6)
        )
        timed.append(replace(one, at=moment, slot=slot))
    return timed
