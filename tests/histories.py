"""Histories made up from one number, and what may have gone otherwise in them. Imports nothing of
the product; SQL text and places alone.

`make_case(seed)` is the same on every machine. Cases of neighbouring seeds share a schema, so that
one database serves several of them.
"""

import re
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from tests.any_objects import make_schema
from tests.any_schema import Made
from tests.any_statement import Text, Writer

SHARED = 6  # seeds that have one schema
Shape = Literal["one", "each"]


@dataclass(frozen=True, slots=True)
class Step:
    """`minute` is when, counted from the start of the history."""

    id: str
    statements: tuple[str, ...]
    shape: Shape
    minute: int


@dataclass(frozen=True, slots=True)
class Dropped:
    step: str


@dataclass(frozen=True, slots=True)
class Replaced:
    step: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inserted:
    after: str  # '' is before all others
    step: Step


@dataclass(frozen=True, slots=True)
class Moved:
    step: str
    after: str


Change = Dropped | Replaced | Inserted | Moved
Steps = tuple[Step, ...]
Changes = tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Case:
    seed: int
    made: Made
    steps: Steps
    faults: tuple[Changes, ...]


def make_case(seed: int, faults: int) -> Case:
    """A schema, a history and this many ways in which it may have gone otherwise."""
    made = make_schema(seed // SHARED)
    return _Maker(seed, made).case(faults)


def changed(steps: Steps, changes: Changes) -> Steps:
    """The history with these changes, one after the other. Said once more here, by somebody who
    has not seen how the product does it."""
    for change in changes:
        rows = list(steps)
        names = [step.id for step in rows]
        match change:
            case Dropped(name):
                rows = [step for step in rows if step.id != name]
            case Replaced(name, statements):
                rows = [
                    replace(step, statements=statements) if step.id == name else step
                    for step in rows
                ]
            case Inserted(after, step):
                rows.insert(names.index(after) + 1 if after else 0, step)
            case Moved(name, after):
                moved = rows.pop(names.index(name))
                names.remove(name)
                rows.insert(names.index(after) + 1 if after else 0, moved)
        steps = tuple(rows)
    return steps


_CHANCE = re.compile(r"\b(random|gen_random_uuid)\b", re.I)
_CLOCK = re.compile(r"\b(current_date|current_timestamp|clock_timestamp)\b", re.I)
_SESSION = re.compile(r"\b(lastval|currval|set_config|current_setting|SET my)\b")


def by_session(steps: Steps) -> bool:
    """Whether something depends on what a session keeps from one step to the next."""
    return any(_SESSION.search(text) for step in steps for text in step.statements)


def by_chance(steps: Steps) -> bool:
    """Whether chance decides something."""
    return any(_CHANCE.search(text) for step in steps for text in step.statements)


def by_keyword(steps: Steps) -> bool:
    """Whether the clock is read in a way that no function can stand in for."""
    return any(_CLOCK.search(text) for step in steps for text in step.statements)


class _Maker:
    def __init__(self, seed: int, made: Made) -> None:
        self.seed = seed
        self.made = made
        self.chance = Random(f"history/{seed}")
        special = self.chance.random()
        self.writer = Writer(
            self.chance,
            made,
            opaque=0.3 if special < 0.06 else 0.02,
            rare=0.08 if special > 0.88 else 0.0,
        )
        self.texts: dict[str, list[Text]] = {}

    def case(self, faults: int) -> Case:
        size = self.chance.choice((self.chance.randint(5, 14), self.chance.randint(15, 30)))
        steps = tuple(self.step(f"s{number}", number) for number in range(1, size + 1))
        return Case(
            self.seed,
            self.made,
            steps,
            tuple(self.fault(steps, number) for number in range(faults)),
        )

    def step(self, name: str, minute: int) -> Step:
        chance = self.chance
        count = chance.choices((1, 2, 3), (75, 15, 10))[0]
        texts = [self.writer.statement() for _ in range(count)]
        self.texts[name] = texts
        shape: Shape = "each" if count > 1 and chance.random() < 0.4 else "one"
        return Step(name, tuple(text.sql for text in texts), shape, minute)

    def fault(self, steps: Steps, number: int) -> Changes:
        chance = self.chance
        first = self.change(steps, number)
        if chance.random() >= 0.15:
            return (first,)
        second = self.change(changed(steps, (first,)), 100 + number)
        return first, second

    def change(self, steps: Steps, number: int) -> Change:
        chance = self.chance
        # Early ones have more behind them.
        place = min(int(chance.random() ** 2 * len(steps)), len(steps) - 1)
        step = steps[place]
        names = ["", *(one.id for one in steps)]
        kind = chance.choices(("drop", "replace", "repeat", "insert", "move"), (26, 42, 12, 8, 12))[
            0
        ]
        if kind == "move" and len(steps) > 1:
            others = [name for name in names if name != step.id]
            near = others[max(0, place - 3) : place + 5]
            return Moved(step.id, chance.choice([*near, *others, *others]))
        if kind == "repeat":
            after = names[chance.randint(place + 1, len(steps))]
            again = replace(step, id=f"{step.id}x{number}", minute=chance.randint(1, 40))
            return Inserted(after, again)
        if kind == "insert":
            return Inserted(names[place], self.step(f"new{number}", step.minute))
        if kind == "replace":
            return Replaced(step.id, self.instead(step))
        return Dropped(step.id)

    def instead(self, step: Step) -> tuple[str, ...]:
        chance = self.chance
        texts = self.texts.get(step.id, [])
        statements = list(step.statements)
        place = chance.randrange(len(statements))
        others = texts[place].others if place < len(texts) else ()
        if others and chance.random() < 0.9:
            statements[place] = chance.choice(others)
        elif len(statements) > 1 and chance.random() < 0.6:
            del statements[place]
        else:
            statements[place] = self.writer.statement().sql
        return tuple(statements)
