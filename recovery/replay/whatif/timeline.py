"""Two histories side by side: which acts of the one the other leaves out, and what it has more."""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import compress
from operator import is_not

from recovery.model import Act, History


@dataclass(slots=True)
class Turn:
    """Where histories part: acts that come before a base act, and whether that one is left out."""

    more: list[Act] = field(default_factory=list)
    dropped: bool = False


def turns(base: History, deviant: History) -> dict[int, Turn]:
    """By the number of the base act; that behind the last stands for the end. As many acts as
    can be are taken for the same; an act that moved is left out and comes again."""
    shorter = min(len(base), len(deviant))
    head = _alike(base, deviant, shorter)
    tail = _alike(reversed(base), reversed(deviant), shorter - head)
    middle = base[head : len(base) - tail]
    left_out = _left_out(middle, deviant[head : len(deviant) - tail])
    if left_out is not None:
        return {head + place: Turn(dropped=True) for place in left_out}
    others = deviant[head : len(deviant) - tail]
    kept = _kept(middle, others)
    found: dict[int, Turn] = {}
    at = 0
    for position, act in enumerate(others):
        place = kept.get(position)
        if place is None:
            found.setdefault(head + at, Turn()).more.append(act)
            continue
        for left in range(at, place):
            found.setdefault(head + left, Turn()).dropped = True
        at = place + 1
    for left in range(at, len(middle)):
        found.setdefault(head + left, Turn()).dropped = True
    return found


def _alike(base: Iterable[Act], deviant: Iterable[Act], most: int) -> int:
    """How many acts from the start on are the same on both sides."""
    return next(compress(range(most), map(is_not, base, deviant)), most)


def _left_out(base: History, deviant: History) -> list[int] | None:
    """Places in `base` of what `deviant` leaves out; None where it does more than that."""
    found: list[int] = []
    left = iter(deviant)
    awaited = next(left, None)
    for place, act in enumerate(base):
        if act is awaited:
            awaited = next(left, None)
        else:
            found.append(place)
    return found if awaited is None else None


def _kept(base: History, deviant: History) -> dict[int, int]:
    """Places in `deviant`, and where in `base` the same act is: the longest row of such pairs
    that goes up on both sides."""
    where = {act.id: place for place, act in enumerate(base)}
    pairs = [
        (position, where[act.id])
        for position, act in enumerate(deviant)
        if act.id in where and _same(base[where[act.id]], act)
    ]
    ends: list[int] = []  # the lowest base place that a row of each length ends with
    row_of: list[int] = []
    for _, place in pairs:
        length = bisect_left(ends, place)
        ends[length : length + 1] = [place]
        row_of.append(length)
    kept: dict[int, int] = {}
    length = len(ends) - 1
    lowest = len(base)
    for (position, place), own in zip(reversed(pairs), reversed(row_of), strict=True):
        if own == length and place < lowest:
            kept[position] = lowest = place
            length -= 1
    return kept


def _same(one: Act, other: Act) -> bool:
    return one is other or one == other
