"""How a history may have been otherwise: deviations, as data that can be laid over any history.

A fault is a deviation of what happened from what was written down, or of what was written down
from what should have been done. Laying several over one history gives the history of several
faults.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import assert_never

from recovery.model import Act, History


@dataclass(frozen=True, slots=True)
class Replace:
    """The act ran these statements instead of its own."""

    act: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drop:
    """The act did not happen."""

    act: str


@dataclass(frozen=True, slots=True)
class Insert:
    """An act more, behind the act called `after` ('': before all others)."""

    after: str
    act: Act


@dataclass(frozen=True, slots=True)
class Move:
    """The act happened behind the act called `after` ('': before all others), at the moment it
    had in the log."""

    act: str
    after: str


Deviation = Replace | Drop | Insert | Move
Deviations = tuple[Deviation, ...]


def deviate(history: History, deviations: Iterable[Deviation]) -> History:
    """The history with these deviations, one laid over the other. An act that is not there any
    more is neither replaced nor moved; what was to come behind it comes last."""
    for deviation in _drops_together(deviations):
        match deviation:
            case frozenset():
                history = tuple(act for act in history if act.id not in deviation)
            case Replace(name, statements):
                history = tuple(
                    replace(act, statements=statements) if act.id == name else act
                    for act in history
                )
            case Insert(after, act):
                history = _put(history, after, act)
            case Move(name, after):
                moved = next((act for act in history if act.id == name), None)
                if moved is not None:
                    rest = tuple(act for act in history if act.id != name)
                    history = _put(rest, after, moved)
            case _:
                assert_never(deviation)
    return history


def _drops_together(
    deviations: Iterable[Deviation],
) -> Iterator[Replace | Insert | Move | frozenset[str]]:
    """Acts that are left out one after the other, as a set: there may be thousands."""
    names: set[str] = set()
    for deviation in deviations:
        if isinstance(deviation, Drop):
            names.add(deviation.act)
            continue
        if names:
            yield frozenset(names)
            names = set()
        yield deviation
    if names:
        yield frozenset(names)


def _put(history: History, after: str, act: Act) -> History:
    names = [one.id for one in history]
    place = names.index(after) + 1 if after in names else 0 if not after else len(names)
    return (*history[:place], act, *history[place:])
