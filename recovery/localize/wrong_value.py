"""wrong-value: an UPDATE set another constant than the log says, on the rows the log says.

log:      UPDATE t SET a = a * 1.10 WHERE s = 3
executed: UPDATE t SET a = a * 11.0 WHERE s = 3

The constant is read from the data. Two trial runs with two values of the constant show how the
written cells depend on it; where that is a straight line, every current cell names the constant
that was used, up to rounding. The shortest number that most cells agree on is proposed, and then
tried for real.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, localcontext

from diffing.model import Schema
from recovery.localize.candidate import Candidate, with_statements
from recovery.localize.statement import Constant, injective_columns, targets, with_constant
from recovery.model import Act, FaultClass, History

PROBES = ("1", "3")  # two values that no sane expression maps to the same result
FAR = "101"  # a third one, far away: rounding hardly bends the line, and a curve is no line
_AGREE = 0.5  # share of the cells that must name one constant
_DIGITS_MAX = 6


@dataclass(frozen=True, slots=True)
class Observation:
    """A cell that the step wrote: its text under the two probes, in the current state, and under
    the far probe; None where the database refused that one."""

    first: str | None
    second: str | None
    current: str | None
    far: str | None = None


def inferred(constant: Constant, observations: Sequence[Observation]) -> str | None:
    """The constant that the current state speaks for; None when it speaks for none."""
    if not constant.number:
        return _most_common(
            (one.current for one in observations if one.current is not None), len(observations)
        )
    with localcontext() as context:
        context.prec = 40
        lines = [line for one in observations if (line := _line(one)) is not None]
        if not lines or len(lines) < _AGREE * len(observations):
            return None
        for digits in range(_DIGITS_MAX + 1):
            value = _agreed(lines, digits)
            if value is not None:
                return value
    return None


def candidate(
    act: Act, place: int, constant: Constant, value: str, history: History, schema: Schema
) -> Candidate:
    executed = with_constant(act.statements[place], constant, value)
    statements = (*act.statements[:place], executed, *act.statements[place + 1 :])
    return Candidate(
        act.id,
        FaultClass.WRONG_VALUE,
        (("logged", constant.text), ("executed", value)),
        executed,
        with_statements(history, act.id, statements),
        history,
        3.4 * len(value) + math.log2(max(len(history), 2)) + 3,
        targets(executed, schema),
        place,
        injective_columns(executed),
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """current = start + slope * constant, give or take `reach`: half a unit of the last digit, and
    another half where the probes were rounded as well."""

    start: Decimal
    slope: Decimal
    current: Decimal
    reach: Decimal

    def constant(self) -> Decimal:
        return (self.current - self.start) / self.slope

    def fits(self, value: Decimal) -> bool:
        return abs(self.start + self.slope * value - self.current) <= self.reach


def _line(one: Observation) -> _Line | None:
    first, second, current = (_number(text) for text in (one.first, one.second, one.current))
    if first is None or second is None or current is None or first == second:
        return None
    low, high = (Decimal(text) for text in PROBES)
    unit = Decimal(10) ** min(_exponent(first), _exponent(second), _exponent(current))
    slope = near = (second - first) / (high - low)
    far = _number(one.far)
    if far is not None:
        slope = (far - first) / (Decimal(FAR) - low)
        if abs(first + slope * (high - low) - second) > unit:
            return None
    return _Line(first - slope * low, slope, current, unit / 2 if slope == near else unit)


def _agreed(lines: Sequence[_Line], digits: int) -> str | None:
    """The number with so many digits after the point that most lines can have had."""
    unit = Decimal(1).scaleb(-digits)
    votes = Counter(line.constant().quantize(unit) for line in lines)
    for value, _ in votes.most_common(3):
        if sum(line.fits(value) for line in lines) >= _AGREE * len(lines):
            return str(value)
    return None


def _most_common(values: Iterable[str], total: int) -> str | None:
    for value, count in Counter(values).most_common(1):
        if count >= _AGREE * total:
            return value
    return None


def _number(text: str | None) -> Decimal | None:
    try:
        value = Decimal(text) if text is not None else None
    except InvalidOperation:
        return None
    return value if value is not None and value.is_finite() else None


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0
