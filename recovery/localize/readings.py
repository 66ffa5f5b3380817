"""How a condition would have to read for the rows that were hit: another constant, another
operator, another list. Every reading is a set of neighbouring values (of the relation `compared`)
for which the condition holds; the one that separates best the rows hit from the others is taken.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb

from recovery.localize.hits import Look, lay_compared
from recovery.localize.predicates import (
    OPERATORS,
    Condition,
    Operator,
    conditions,
    with_constants,
    with_operator,
)
from recovery.localize.scene import Scene
from recovery.localize.slips import Gap, constant_in, is_near
from recovery.localize.statement import injective_columns

_LIST_MAX = 40  # values of a list that nobody would have typed are not a list
_SLIP_BITS = 4.0
_VALUE_BITS = 1.0  # a row tells by its value what was done to it: it need not be named as well
# Another operator: the end taken or not, the other way round, anything else.
_END_BITS, _WAY_BITS, _OPERATOR_BITS = 2.0, 3.0, 6.0

# The first value, the last, and the run of values that separate best.
_CUTS = """
WITH sums AS (
    SELECT rank, sum(held - failed) OVER (ORDER BY rank) AS upto, held - failed AS own
    FROM compared),
runs AS (
    SELECT rank, upto,
           coalesce(min(upto) OVER (ORDER BY rank ROWS BETWEEN UNBOUNDED PRECEDING
                                    AND 1 PRECEDING), 0) AS least
    FROM sums)
SELECT (SELECT min(rank) FROM sums), (SELECT max(rank) FROM sums),
       (SELECT first(rank ORDER BY upto DESC, rank) FROM sums),
       (SELECT first(rank ORDER BY upto - own, rank DESC) FROM sums),
       (SELECT first(rank ORDER BY upto - least(least, 0) DESC, rank) FROM runs),
       (SELECT first(rank ORDER BY own DESC, rank) FROM sums),
       (SELECT first(rank ORDER BY own, rank) FROM sums),
       (SELECT max(rank) FROM compared WHERE less), (SELECT max(rank) FROM compared WHERE equal)
"""
_LOW = """
WITH sums AS (SELECT rank, sum(held - failed) OVER (ORDER BY rank) AS upto FROM compared)
SELECT first(rank ORDER BY upto, rank DESC) FROM (
    SELECT rank, upto FROM sums WHERE rank < $high UNION ALL
    SELECT (SELECT min(rank) FROM compared) - 1, 0)
"""
_JUDGED = """
SELECT coalesce(sum(held) FILTER (taken), 0),
       coalesce(sum(failed) FILTER (taken), 0) + coalesce(sum(held) FILTER (NOT taken), 0),
       coalesce(sum(extra) FILTER (taken), 0), coalesce(sum(kept) FILTER (NOT taken), 0)
FROM (SELECT *, list_contains($ranks::BIGINT[], rank)
             OR rank BETWEEN $low AND $high AND len($ranks::BIGINT[]) = 0 AS taken FROM compared)
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """Another text of a condition. `extra` rows are explained that the log does not take, `kept`
    rows that it takes; `wrong` rows speak against it; `done` rows were hit, as it says."""

    condition: Condition
    executed: Condition
    statement: str
    bits: float
    extra: int
    kept: int
    wrong: int
    done: int

    @property
    def text(self) -> str:
        return self.executed.text

    @property
    def worth_trying(self) -> bool:
        """Where nothing was done at all, no condition tells why."""
        explained = self.extra + self.kept
        return self.done > 0 and explained > 0 and self.wrong * 10 <= explained


@dataclass(frozen=True, slots=True)
class _Cuts:
    """Ranks, see `_CUTS`. `less`, `equal`: where the logged constant lies."""

    first: int
    last: int
    upto: int
    since: int
    high: int
    only: int
    but: int
    less: int
    equal: int | None


@dataclass(frozen=True, slots=True)
class _Taken:
    """Values for which a condition holds: from rank `low` to `high`, or those of a list."""

    low: int
    high: int
    ranks: tuple[int, ...] = ()


def readings(scene: Scene, look: Look, condition: Condition) -> Iterator[Reading]:
    """Readings of a condition that compares with constants; the relation `verge` is that of the
    look."""
    lay_compared(scene, look, condition)
    cuts = _cuts(scene.facts)
    if cuts is None:
        return
    values = _count(scene.facts)
    match condition.kind:
        case "compare":
            found = (*_operators(condition, cuts), *_bounds(scene.facts, condition, cuts, values))
        case "between":
            found = _ranges(scene.facts, condition, cuts, values)
        case "list":
            telling = bool(injective_columns(look.text))
            found = _lists(scene.facts, condition, math.log2(max(values, 2)), telling=telling)
        case "like":
            found = _patterns(scene.facts, condition)
        case _:
            found = ()
    for one in found:
        reading = _judged(scene, look, condition, one)
        if reading.worth_trying:
            yield reading


def names_rows(condition: Condition, key: Sequence[str]) -> bool:
    """Does it name rows by a column of their key, each by itself?"""
    return condition.column in key and condition.operator == "="


def _cuts(facts: duckdb.DuckDBPyConnection) -> _Cuts | None:
    """None when there is nothing to compare."""
    row = facts.execute(_CUTS).fetchone()
    if row is None or row[0] is None:
        return None
    first, last, upto, since, high, only, but, less, equal = row
    return _Cuts(
        first, last, upto, since, high, only, but, first - 1 if less is None else less, equal
    )


@dataclass(frozen=True, slots=True)
class _Proposal:
    taken: _Taken
    bits: float
    operator: Operator | None = None
    constants: tuple[str, ...] = ()


def _operators(condition: Condition, cuts: _Cuts) -> tuple[_Proposal, ...]:
    found = []
    for operator in OPERATORS:
        if operator != condition.operator:
            taken = _holding(operator, cuts)
            if taken is not None:
                found.append(_Proposal(taken, _slipped(condition, operator), operator=operator))
    return tuple(found)


def _slipped(condition: Condition, operator: Operator) -> float:
    logged = condition.operator
    if "=" in (logged, operator) or "<>" in (logged, operator):
        return _OPERATOR_BITS
    return _END_BITS if logged[0] == operator[0] else _WAY_BITS


def _holding(operator: Operator, cuts: _Cuts) -> _Taken | None:
    """Values that are so to the logged constant. None for what is not one run of values."""
    here = cuts.equal if cuts.equal is not None else cuts.less
    match operator:
        case "<":
            return _Taken(cuts.first, cuts.less)
        case "<=":
            return _Taken(cuts.first, here)
        case "=":
            return _Taken(cuts.equal, cuts.equal) if cuts.equal is not None else None
        case ">=":
            return _Taken(cuts.less + 1, cuts.last)
        case ">":
            return _Taken(here + 1, cuts.last)
        case _:
            return None


def _bounds(
    facts: duckdb.DuckDBPyConnection, condition: Condition, cuts: _Cuts, values: int
) -> tuple[_Proposal, ...]:
    """Another constant of a comparison."""
    logged = condition.constants[0]
    match condition.operator:
        case "<" | "<=":
            taken = _Taken(cuts.first, cuts.upto)
            executed = constant_in(_above(facts, cuts.upto, condition.operator == "<="), logged)
            everything = cuts.upto == cuts.last
        case ">" | ">=":
            taken = _Taken(cuts.since, cuts.last)
            executed = constant_in(_below(facts, cuts.since, condition.operator == ">="), logged)
            everything = cuts.since == cuts.first
        case "=":
            taken = _Taken(cuts.only, cuts.only)
            executed = _value(facts, cuts.only)
            everything = False
        case _:
            return ()
    if executed is None or executed == logged or everything:
        return ()
    return (_Proposal(taken, _price(logged, executed, values), constants=(executed,)),)


def _ranges(
    facts: duckdb.DuckDBPyConnection, condition: Condition, cuts: _Cuts, values: int
) -> tuple[_Proposal, ...]:
    row = facts.execute(_LOW, {"high": cuts.high}).fetchone()
    assert row is not None
    low = int(row[0]) + 1
    following = facts.execute("SELECT min(rank) FROM compared WHERE rank >= ?", [low]).fetchone()
    assert following is not None
    low = int(following[0])
    start = constant_in(_below(facts, low, included=True), condition.constants[0])
    end = constant_in(_above(facts, cuts.high, included=True), condition.constants[1])
    if start is None or end is None or (start, end) == condition.constants:
        return ()
    bits = sum(
        _price(logged, executed, values) if logged != executed else 1.0
        for logged, executed in zip(condition.constants, (start, end), strict=True)
    )
    return (_Proposal(_Taken(low, cuts.high), bits, constants=(start, end)),)


def _lists(
    facts: duckdb.DuckDBPyConnection, condition: Condition, choice: float, *, telling: bool
) -> tuple[_Proposal, ...]:
    """Another list: of every value that was hit. Any rows could be listed: where what was done to
    them does not tell that it was done to just them, naming them explains nothing."""
    rows = facts.execute(
        "SELECT rank, value FROM compared WHERE held > failed ORDER BY rank LIMIT ?",
        [_LIST_MAX + 1],
    ).fetchall()
    executed = tuple(str(value) for _, value in rows)
    if not rows or len(rows) > _LIST_MAX or set(executed) == set(condition.constants):
        return ()
    # Logged values that no row has, or of which nothing is known, stay where they are.
    known = {str(value) for (value,) in facts.execute("SELECT value FROM compared").fetchall()}
    silent = tuple(one for one in condition.constants if one not in known)
    changed = set(executed) ^ set(condition.constants) - set(silent)
    bits = len(changed) * (min(choice, _VALUE_BITS) if telling else choice)
    ranks = tuple(int(rank) for rank, _ in rows)
    return (_Proposal(_Taken(0, 0, ranks), bits, constants=(*executed, *silent)),)


def _patterns(facts: duckdb.DuckDBPyConnection, condition: Condition) -> tuple[_Proposal, ...]:
    """What all values hit begin with, end with; the logged pattern with a sign more or less."""
    rows = facts.execute(
        "SELECT value FROM compared WHERE held > failed ORDER BY rank LIMIT 1000"
    ).fetchall()
    hit = [str(value) for (value,) in rows]
    if not hit:
        return ()
    logged = condition.constants[0]
    begin = _common(hit)
    end = _common([one[::-1] for one in hit])[::-1]
    bare = logged.strip("%")
    tried = [f"{bare}%", f"%{bare}", f"%{bare}%", bare, f"{begin}%", f"%{end}"]
    tried += [f"{begin[:length]}%" for length in range(len(begin) - 1, 0, -1)]
    folded = condition.operator == "~~*"
    found = []
    for pattern in dict.fromkeys(tried):
        if pattern == logged or "_" in pattern or "\\" in pattern or not pattern.strip("%"):
            continue
        like = "ilike" if folded else "like"
        ranks = facts.execute(
            f"SELECT rank FROM compared WHERE value {like} ? ORDER BY rank", [pattern]
        ).fetchall()
        bits = 3.0 if bare in pattern or pattern.strip("%") in bare else 2.0 * len(pattern)
        taken = _Taken(0, 0, tuple(int(rank) for (rank,) in ranks) or (-1,))
        found.append(_Proposal(taken, bits, constants=(pattern,)))
    return tuple(found)


def _common(texts: Sequence[str]) -> str:
    """What all of them begin with."""
    first, last = min(texts), max(texts)
    same = (place for place, one in enumerate(first) if last[place : place + 1] != one)
    return first[: next(same, len(first))]


def _judged(scene: Scene, look: Look, condition: Condition, one: _Proposal) -> Reading:
    row = scene.facts.execute(
        _JUDGED, {"ranks": list(one.taken.ranks), "low": one.taken.low, "high": one.taken.high}
    ).fetchone()
    assert row is not None
    done, wrong, extra, kept = (int(number) for number in row)
    if one.operator is not None:
        statement = with_operator(look.text, condition, one.operator)
    else:
        statement = with_constants(look.text, condition, one.constants)
    executed = conditions(statement)[condition.place]
    return Reading(condition, executed, statement, one.bits, extra, kept, wrong, done)


def _price(logged: str, executed: str, values: int) -> float:
    """Bits of another constant: one of so many values, or a slip."""
    chosen = math.log2(max(values, 2)) + 1
    return min(chosen, _SLIP_BITS) if is_near(logged, executed) else chosen


def _above(facts: duckdb.DuckDBPyConnection, rank: int, included: bool) -> Gap:
    """Upper ends that take the value of this rank, and not the next one."""
    return Gap(_value(facts, rank), _value(facts, rank, "next"), included, not included)


def _below(facts: duckdb.DuckDBPyConnection, rank: int, included: bool) -> Gap:
    """Lower ends that take the value of this rank, and not the one before."""
    return Gap(_value(facts, rank, "before"), _value(facts, rank), not included, included)


def _value(facts: duckdb.DuckDBPyConnection, rank: int, which: str = "") -> str | None:
    query = {
        "": "SELECT value FROM compared WHERE rank = ?",
        "next": "SELECT first(value ORDER BY rank) FROM compared WHERE rank > ?",
        "before": "SELECT first(value ORDER BY rank DESC) FROM compared WHERE rank < ?",
    }[which]
    row = facts.execute(query, [rank]).fetchone()
    return str(row[0]) if row is not None and row[0] is not None else None


def _count(facts: duckdb.DuckDBPyConnection) -> int:
    row = facts.execute("SELECT count(*) FROM compared").fetchone()
    assert row is not None
    return int(row[0])
