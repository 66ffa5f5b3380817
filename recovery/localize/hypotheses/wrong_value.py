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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, localcontext

from recovery.deviation import Replace
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.looks import aim, instead
from recovery.localize.rivals import is_slip
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.statement import (
    Constant,
    Target,
    constants,
    injective_columns,
    targets,
    with_constant,
)
from recovery.messages import message
from recovery.model import Act, FaultClass, Variant

PROBES = ("1", "3")  # two values that no sane expression maps to the same result
FAR = "101"  # a third one, far away: rounding hardly bends the line, and a curve is no line
_AGREE = 0.5  # share of the cells that must name one constant
_DIGITS_MAX = 6
_ROWS_MIN = 3  # a constant is inferred from so many rows at least, unless the step is suspect
_OBSERVED_MAX = 2000  # cells read to infer a constant; the trial then judges all of them

_OBSERVED = """
SELECT a.value, b.value, d.current, g.value
FROM sketch a
JOIN sketch b ON b.variant = $second AND b.key = a.key AND b."column" = a."column"
LEFT JOIN sketch g ON g.variant = $far AND g.key = a.key AND g."column" = a."column"
JOIN divergence d ON d.kind = 'changed' AND d."table" = a."table" AND d.key = a.key
     AND d."column" = a."column"
LEFT JOIN finals f ON f."table" = a."table" AND f.key = a.key AND f."column" = a."column"
WHERE a.variant = $first AND coalesce(f.place, 0) <= $place AND a.value IS DISTINCT FROM b.value
ORDER BY a.key, a."column" LIMIT $most
"""
_UNEXPECTED = """
SELECT count(*) FILTER (r.kind = 'changed'), count(*)
FROM finals f
LEFT JOIN unstable u ON u."table" = f."table" AND u."column" = f."column"
LEFT JOIN residue r ON r."table" = f."table" AND r.key = f.key AND r."column" = f."column"
WHERE f.act = $act AND f."column" <> '' AND NOT f.came AND f.value IS NOT NULL
  AND u."column" IS NULL
"""


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


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A constant of the `place`-th statement of an act, to be inferred from probes."""

    act: Act
    place: int
    constant: Constant
    aimed: Target

    def probes(self, scene: Scene) -> tuple[Variant, Variant, Variant]:
        """Two near ones, and one far away."""

        def probe(value: str) -> Variant:
            text = with_constant(self.act.statements[self.place], self.constant, value)
            return instead(self.act, self.place, text, self.aimed, scene.schema)

        return probe(PROBES[0]), probe(PROBES[1]), probe(FAR)


def ask(scene: Scene) -> Iterator[Variant]:
    for doubt in _doubts(scene):
        yield from doubt.probes(scene)


def propose(scene: Scene) -> Iterator[Candidate]:
    for doubt in _doubts(scene):
        first, second, far = (probe.id for probe in doubt.probes(scene))
        names = {"first": first, "second": second, "far": far}
        place = {"place": scene.place(doubt.act.id), "most": _OBSERVED_MAX}
        rows = scene.facts.execute(_OBSERVED, names | place).fetchall()
        value = inferred(doubt.constant, [Observation(*row) for row in rows])
        if value is not None and value != doubt.constant.text:
            yield _candidate(doubt, value, scene)


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    """Only where an undocumented second change of the same rows is ruled out; see `rivals`."""
    if witness.covered:
        return True
    if witness.last_writer == "somebody":
        return False
    logged, executed = (value for _, value in candidate.parameters)
    # A change relative to the former value may as well have met rows that somebody had changed.
    alone = witness.last_writer == "the step" and not candidate.injective
    return alone or witness.vouched or is_slip(logged, executed)


def told(candidate: Candidate, score: Score) -> str:
    logged, executed = (value for _, value in candidate.parameters)
    return message(
        "Step {step} with {executed} in the place of {logged} explains {hits} cells",
        step=candidate.step,
        executed=executed,
        logged=logged,
        hits=score.hits,
    )


def _doubts(scene: Scene) -> Iterator[_Doubt]:
    for act, step in scene.doubted():
        aims = [
            (place, aimed)
            for place, text in enumerate(act.statements)
            if (aimed := aim(text, scene.schema)) is not None and aimed.op == "update"
        ]
        if not any(scene.left(aimed.table, aimed.columns) for _, aimed in aims):
            continue
        if not _unexpected(scene, act, 1 if step.suspect or scene.log.complete else _ROWS_MIN):
            continue
        for place, aimed in aims:
            for constant in constants(act.statements[place]):
                yield _Doubt(act, place, constant, aimed)


def _unexpected(scene: Scene, act: Act, enough: int) -> bool:
    """Most of the cells that this act wrote last hold something else than it should have left."""
    row = scene.facts.execute(_UNEXPECTED, {"act": act.id}).fetchone()
    assert row is not None
    unexpected, written = int(row[0]), int(row[1])
    return unexpected * 2 >= written and unexpected >= enough


def _candidate(doubt: _Doubt, value: str, scene: Scene) -> Candidate:
    act, place = doubt.act, doubt.place
    executed = with_constant(act.statements[place], doubt.constant, value)
    statements = (*act.statements[:place], executed, *act.statements[place + 1 :])
    return Candidate(
        FaultClass.WRONG_VALUE,
        act.id,
        act.id,
        (("logged", doubt.constant.text), ("executed", value)),
        executed,
        (Replace(act.id, statements),),
        (),
        3.4 * len(value) + math.log2(max(len(scene.history), 2)) + 3,
        targets(executed, scene.schema),
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


HYPOTHESIS = Hypothesis(FaultClass.WRONG_VALUE, propose, told, ask, admits)
