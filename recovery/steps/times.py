"""When a step was done: moments and intervals with a zone, and the order they decide."""

import heapq
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from recovery.model import Step

YEARS = range(1970, 2200)
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?")
_EXAMPLE = "such as 2026-03-01T14:02:00+03:00"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?( ?[+-]\d{2}(:?\d{2})?|[Zz])?"
)


class BadTime(Exception):
    """A text that is no moment; the message says why, `hint` what to write."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Span:
    start: datetime
    end: datetime
    warning: str = ""


def read_zone(text: str) -> tzinfo:
    """`Europe/Moscow`, `UTC`, `+03:00`. Raises BadTime."""
    if text in ("UTC", "Z"):
        return UTC
    offset = _OFFSET.fullmatch(text)
    if offset:
        sign, hours, minutes = offset.groups()
        span = timedelta(hours=int(hours), minutes=int(minutes or "0"))
        if span >= timedelta(hours=24) or int(minutes or "0") > 59:
            raise BadTime(f"unknown timezone '{text}'", "such as Europe/Moscow or +03:00")
        return timezone(-span if sign == "-" else span)
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        if not available_timezones():
            hint = "install tzdata, or write an offset such as +03:00"
            raise BadTime(f"no zones such as '{text}' are known on this machine", hint) from error
        raise BadTime(f"unknown timezone '{text}'", "such as Europe/Moscow or +03:00") from error


def read_span(text: str, zone: tzinfo | None) -> Span:
    """One moment, or one whole day when only the date is given. Raises BadTime."""
    if _DAY.fullmatch(text):
        start = _moment(text + "T00:00:00", zone)
        following = _parse(text + "T00:00:00") + timedelta(days=1)
        end = _moment(following.isoformat(), zone)
        return Span(start.start, end.start, start.warning)
    if not _MOMENT.fullmatch(text):
        raise BadTime(f"'{text}' is no time", _EXAMPLE)
    return _moment(re.sub(r" (?=[+-])", "", text), zone)


def _parse(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.upper().replace(" ", "T"))
    except (ValueError, OverflowError) as error:
        raise BadTime(f"'{text}' is no time: {error}", _EXAMPLE) from error
    if moment.year not in YEARS:
        raise BadTime(f"'{text}' is no time of a step: year {moment.year}", _EXAMPLE)
    return moment


def _moment(text: str, zone: tzinfo | None) -> Span:
    moment = _parse(text)
    if moment.tzinfo is not None:
        return Span(moment, moment)
    if zone is None:
        hint = "write the zone (+03:00), or 'timezone:' at the top of the log"
        raise BadTime(f"'{text}' has no zone", hint)
    first, second = moment.replace(tzinfo=zone, fold=0), moment.replace(tzinfo=zone, fold=1)
    if first.utcoffset() == second.utcoffset():
        return Span(_fixed(first), _fixed(first))
    # The clocks were changed in this hour: the text is either no moment at all or two of them.
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
        raise BadTime(f"'{text}' does not exist: the clocks were put forward", "write the zone")
    warning = f"'{text}' came twice: the clocks were put back; taken as either"
    return Span(_fixed(first), _fixed(second), warning)


def _fixed(moment: datetime) -> datetime:
    """The same moment with its offset in figures: times of one zone compare by the clock on the
    wall, which is wrong in the hours in which the clocks are changed."""
    offset = moment.utcoffset()
    assert offset is not None, "the moment has a zone"
    return moment.replace(tzinfo=timezone(offset), fold=0)


def in_order(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps as they were done: by time where times decide, else as they are listed.

    A step is surely before another when its interval ends before the other's begins. A step
    without a time stays behind the one it is listed after.
    """
    chunks: list[list[Step]] = []
    for step in steps:
        if step.at is None and chunks:
            chunks[-1].append(step)
        else:
            chunks.append([step])
    earliest = datetime.min.replace(tzinfo=UTC)
    starts = [chunk[0].at or earliest for chunk in chunks]
    ends = [chunk[0].until or chunk[0].at or earliest for chunk in chunks]
    waiting = sorted(range(len(chunks)), key=lambda index: starts[index], reverse=True)
    unplaced = sorted(range(len(chunks)), key=lambda index: ends[index], reverse=True)
    ready: list[int] = []
    placed: set[int] = set()
    ordered: list[Step] = []
    while len(placed) < len(chunks):
        while unplaced[-1] in placed:
            unplaced.pop()
        # Whoever begins no later than the first end among the rest may come next.
        while waiting and starts[waiting[-1]] <= ends[unplaced[-1]]:
            heapq.heappush(ready, waiting.pop())
        index = heapq.heappop(ready)
        placed.add(index)
        ordered.extend(chunks[index])
    return tuple(ordered)


def contradictions(steps: tuple[Step, ...]) -> tuple[tuple[Step, Step], ...]:
    """Steps that surely were done before one that is listed ahead of them: (step, that one)."""
    found: list[tuple[Step, Step]] = []
    latest: Step | None = None
    for step in steps:
        if step.at is None:
            continue
        if latest is not None and latest.at is not None and (step.until or step.at) < latest.at:
            found.append((step, latest))
        elif latest is None or latest.at is None or step.at > latest.at:
            latest = step
    return tuple(found)
