"""How much of what is there a hypothesis explains, in bits. A hypothesis that predicts a change
which is not there is worth nothing, however much else it explains.

Method: minimum description length. Unexplained, a changed row costs what it takes to say it; many
such rows cost no more than one undocumented statement that changes them all. Explained by a fault,
they cost the description of the fault (`Candidate.bits`).
"""

from dataclasses import dataclass

import duckdb

_ROW_TELLING = 6.0  # bits per row whose new value could hardly be a coincidence
_ROW_DULL = 4.0  # bits per row of a column with few values: which row it is tells as well
_ROW_COVERED = 20.0  # bits per row where the log says that it holds every change
_STATEMENT = 40.0  # bits of an undocumented statement, which could explain any number of rows
_ROWS_REPORTED = 10.0  # the client program reported just the number of rows the fault touches
_SUSPECT = 6.0
ACCEPT = 7.0  # bits a fault must save, about 100 to 1
CREDIBLE = 7.0  # an explanation so many bits worse than the best is no longer credible
_MISSES_SHARE = 0.05

_COUNT = """
WITH predicted AS (
    SELECT c."table", c.key, c."column", c.f, c.t, c.c FROM cell c
    LEFT JOIN unstable u ON u."table" = c."table" AND u."column" = c."column"
    WHERE u."column" IS NULL AND c.t_row AND c.f_row AND c.c_row AND c.f IS DISTINCT FROM c.t
    UNION ALL
    SELECT "table", key, '', f::VARCHAR, t::VARCHAR, c::VARCHAR FROM row
    WHERE f <> t AND NOT (c = t AND "table" IN (SELECT "table" FROM clocked)))
SELECT count(*) FILTER (c IS NOT DISTINCT FROM f) AS hits,
       count(*) FILTER (c IS NOT DISTINCT FROM t) AS misses,
       count(*) FILTER (c IS DISTINCT FROM f AND c IS DISTINCT FROM t) AS others,
       count(DISTINCT ("table", key)) FILTER (c IS NOT DISTINCT FROM f) AS hit_rows,
       count(DISTINCT f) FILTER (c IS NOT DISTINCT FROM f AND "column" <> '') AS values
FROM predicted
"""


@dataclass(frozen=True, slots=True)
class Score:
    """Cells on which the faulty and the target history differ, and which one the current state
    agrees with."""

    hits: int
    misses: int
    others: int
    hit_rows: int
    values: int  # distinct values among the hits
    gain: float

    @property
    def holds(self) -> bool:
        """What is predicted is there: hardly a miss, and not mostly something else."""
        return (
            self.hits > 0
            and self.misses <= max(1, _MISSES_SHARE * self.hits)
            and self.hits >= self.others
        )

    @property
    def accepted(self) -> bool:
        return self.holds and self.gain >= ACCEPT


def score(
    facts: duckdb.DuckDBPyConnection,
    bits: float,
    *,
    suspect: bool,
    rows_agree: bool,
    covered: bool = False,
) -> Score:
    """Score the two runs that were laid side by side (`cells.lay_side_by_side`). `covered`: the
    log says that it is complete for the tables in question, so that undocumented work is no
    explanation."""
    row = facts.execute(_COUNT).fetchone()
    assert row is not None
    hits, misses, others, hit_rows, values = (int(number) for number in row)
    per_row = _ROW_COVERED if covered else _ROW_TELLING if values >= 3 else _ROW_DULL
    gain = min(_STATEMENT, per_row * hit_rows) - bits
    gain += _SUSPECT * suspect + _ROWS_REPORTED * rows_agree
    return Score(hits, misses, others, hit_rows, values, gain)
