"""Which steps may be sent to the server with others: those that do nothing but write and read."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from recovery.model import Act
from recovery.replay import clock
from recovery.replay.transactions import batches

_LEGS_MAX = 64
_BYTES_MAX = 1 << 18
_HEADS = frozenset({"insert", "update", "delete", "merge", "select", "with", "values"})
_QUIET = frozenset({"insert", "update", "delete", "merge"})  # hand over no rows by themselves


@dataclass(frozen=True, slots=True)
class Leg:
    """One transaction of an act: its part `number`, called `name`. `key` is that of the ids which
    it issued; a leg that is not `quiet` hands over rows."""

    act: Act
    at: datetime
    number: int
    name: str
    key: tuple[str, str]
    statements: tuple[bytes, ...]
    last: bool
    quiet: bool


def legs(act: Act, at: datetime) -> tuple[Leg, ...] | None:
    """The transactions of an act that may be sent with others; None for one that may not."""
    found: list[Leg] = []
    parts = batches(act)
    for number, batch in enumerate(parts):
        plain = [_plain(one) for one in batch.statements] if batch.kept and batch.wrapped else []
        texts = tuple(one[0] for one in plain if one is not None)
        if not texts or len(texts) < len(plain):
            return None
        found.append(
            Leg(
                act,
                at,
                number,
                f"{act.id}/{number}" if number else act.id,
                (f"{act.id}/{number}" if number else act.id, "\n".join(batch.statements)),
                texts,
                last=number == len(parts) - 1,
                quiet=all(one is not None and one[1] for one in plain),
            )
        )
    return tuple(found) or None


def _plain(statement: str) -> tuple[bytes, bool] | None:
    """With the clock pinned, and whether it is quiet; None for what may change how others are
    read or run, or is more than one statement."""
    scanned = clock.scan(statement)
    if scanned is None or "\0" in statement:
        return None
    words = [word for word in scanned.words if not word.startswith(("--", "/*"))]
    while words and words[-1] == ";":
        words.pop()
    if not words or words[0] not in _HEADS or ";" in words or "set_config" in words:
        return None
    if words[0] in ("select", "with") and "into" in words:
        return None
    quiet = words[0] in _QUIET and "returning" not in words
    return clock.pinned(scanned).encode(), quiet


class Group:
    """Acts waiting to be sent together."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.legs: list[Leg] = []
        self._bytes = 0
        self._open = True

    def takes(self, act: Act) -> bool:
        """Whether the act may be sent with those that are here."""
        return (
            self._open
            and len(self.legs) < _LEGS_MAX
            and self._bytes < _BYTES_MAX
            and not any(one.id == act.id for one in self.acts)
        )

    def add(self, act: Act, found: Iterable[Leg]) -> None:
        self.acts.append(act)
        for leg in found:
            self.legs.append(leg)
            self._bytes += sum(map(len, leg.statements))
            self._open = self._open and leg.quiet


def grouped(
    acts: Iterable[Act], shift: timedelta, apart: Callable[[Act], bool]
) -> Iterator[Group | Act]:
    """In their order; by itself what may not be sent with others, or is to be `apart`."""
    group = Group()
    for act in acts:
        found = None if apart(act) else legs(act, act.at + shift)
        if group.acts and (found is None or not group.takes(act)):
            yield group
            group = Group()
        if found is None:
            yield act
        else:
            group.add(act, found)
    if group.acts:
        yield group
