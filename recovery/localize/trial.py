"""A supposition that was tried, and one that was found to hold."""

from dataclasses import dataclass

import duckdb

from recovery.localize.hypothesis import Candidate
from recovery.localize.score import Score


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate, how much it explains, and the name of its forecast."""

    candidate: Candidate
    score: Score
    name: str


@dataclass(frozen=True, slots=True)
class Found:
    """An accepted fault, and rivals that explain the same and could not be told from it.
    `accused`: complaints point at the step, nothing else does. `doubtful`: it may be work that
    nobody wrote down as well."""

    trial: Trial
    rivals: tuple[Trial, ...]
    accused: bool = False
    doubtful: bool = False

    @property
    def candidate(self) -> Candidate:
        return self.trial.candidate

    @property
    def score(self) -> Score:
        return self.trial.score


def is_the_same(facts: duckdb.DuckDBPyConnection, one: Trial, other: Trial) -> bool:
    """Does the other say nothing else but, say, another moment that makes no difference?"""
    a, b = one.candidate, other.candidate
    if (a.fault_class, a.step, a.statement) != (b.fault_class, b.step, b.statement):
        return False
    told = 'SELECT "table", key, "column", value FROM forecast WHERE name ='
    row = facts.execute(
        f"SELECT count(*) FROM (({told} $one EXCEPT {told} $other)"
        f" UNION ALL ({told} $other EXCEPT {told} $one))",
        {"one": one.name, "other": other.name},
    ).fetchone()
    return row == (0,)


def explains_the_same(facts: duckdb.DuckDBPyConnection, one: Trial, other: Trial) -> bool:
    """Do both forecasts change a cell to the same value?"""
    row = facts.execute(
        """SELECT count(*) FROM forecast a JOIN forecast b
          ON a."table" = b."table" AND a.key = b.key AND a."column" = b."column"
         AND a.value IS NOT DISTINCT FROM b.value
        WHERE a.name = ? AND b.name = ?""",
        [one.name, other.name],
    ).fetchone()
    assert row is not None
    return int(row[0]) > 0
