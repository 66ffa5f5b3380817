"""Which constant was typed, when the data only tell between which two values it lies: the logged
one if it may be, then what a slipped finger makes of it, then the roundest.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import TypeVar

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_PLAIN = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_DIGITS = "0123456789"
_EXPONENTS = range(18, -13, -1)
_Value = TypeVar("_Value", Decimal, str)


@dataclass(frozen=True, slots=True)
class Gap:
    """From `low` to `high`, None where there is no end; `low_in`, `high_in`: may it be the end
    itself?"""

    low: str | None
    high: str | None
    low_in: bool
    high_in: bool


def constant_in(gap: Gap, logged: str) -> str | None:
    """The likeliest constant in the gap; None when the gap has no end that says what is in it."""
    texts = (logged, *_ends(gap))
    if all(_number(text) is not None for text in texts):
        numbers = (_number(gap.low), _number(gap.high))
        return next(
            (one for one in _numbers(gap, logged) if _within(_number(one), *numbers, gap)), None
        )
    if all(_DAY.match(text) for text in texts):
        moments = (_moment(gap.low), _moment(gap.high))
        return next(
            (one for one in _moments(gap, logged) if _within(_moment(one), *moments, gap)), None
        )
    if gap.low is None and gap.high is None:
        return logged
    return gap.low if gap.low is not None and gap.low_in else gap.high if gap.high_in else None


def slips(text: str) -> Iterator[str]:
    """What a slipped finger makes of a number or a date: two neighbours changed places, a digit
    lost, doubled or another, a zero more, the point elsewhere."""
    places = [place for place, one in enumerate(text) if one in _DIGITS]
    for place in places:
        if place + 1 < len(text) and text[place + 1] in _DIGITS:
            yield text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    if _number(text) is not None:
        for power in (1, -1, 2, -2, 3, -3):
            yield format(Decimal(text).scaleb(power).normalize(), "f")
        for place in places:
            yield text[:place] + text[place + 1 :]
            yield text[:place] + text[place] + text[place:]
        yield text[1:] if text.startswith("-") else f"-{text}"
    elif _DAY.match(text):
        yield text[:5] + text[8:10] + text[4:5] + text[5:7] + text[10:]
    for place in places:
        for digit in _DIGITS:
            if digit != text[place]:
                yield text[:place] + digit + text[place + 1 :]


def is_near(logged: str, executed: str) -> bool:
    """Is `executed` one slip away from `logged`?"""
    return executed in set(slips(logged))


def _ends(gap: Gap) -> list[str]:
    return [end for end in (gap.low, gap.high) if end is not None]


def _numbers(gap: Gap, logged: str) -> Iterator[str]:
    yield logged
    yield from (one for one in slips(logged) if _PLAIN.fullmatch(one))
    low = _number(gap.low)
    for exponent in _EXPONENTS:
        unit = Decimal(1).scaleb(exponent)
        near = _number(gap.high) if low is None else low
        if near is None or abs(near.adjusted() - exponent) > 24:
            continue
        first = (near // unit) * unit
        for times in (0, 1, -1):
            yield format((first + times * unit).normalize(), "f")


def _moments(gap: Gap, logged: str) -> Iterator[str]:
    ends = _ends(gap)
    zoned = any(end.endswith("+00") for end in ends)
    if not zoned:
        yield logged
        yield from slips(logged)
    tail = " 00:00:00+00" if zoned else ""
    for end in ends:
        day = date.fromisoformat(end[:10])
        following = day + timedelta(days=1)
        yield from (f"{day.year + more}-01-01{tail}" for more in (0, 1))
        later = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        yield from (f"{one.isoformat()}{tail}" for one in (day.replace(day=1), later))
        yield from (f"{one.isoformat()}{tail}" for one in (day, following))
    yield from ends


def _number(text: str | None) -> Decimal | None:
    try:
        value = Decimal(text) if text is not None else None
    except InvalidOperation:
        return None
    return value if value is not None and value.is_finite() else None


def _moment(text: str | None) -> str | None:
    """A form in which moments of one zone are in order; None for what is no moment."""
    if text is None:
        return None
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return None
    return text if len(text) > 10 else f"{text} 00:00:00"


def _within(value: _Value | None, low: _Value | None, high: _Value | None, gap: Gap) -> bool:
    if value is None:
        return False
    above = low is None or value > low or (gap.low_in and value == low)
    below = high is None or value < high or (gap.high_in and value == high)
    return above and below
