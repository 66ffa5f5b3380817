"""How much of what is there a hypothesis explains, in bits.

Method: minimum description length. Unexplained, a changed row costs what it takes to say it; many
such rows cost no more than one undocumented statement that changes them all. Explained by a fault,
they cost the description of the fault (`Candidate.bits`). A row that the fault should have changed
and that is as if it had not costs as much as one that it explains saves.
"""

from dataclasses import dataclass

import duckdb

from recovery.localize.complaints import NOTHING_SAID, Agreement, agreement

_ROW_TELLING = 6.0  # bits per row whose new value could hardly be a coincidence
_ROW_DULL = 4.0  # bits per row of a column with few values: which row it is tells as well
_ROW_COVERED = 20.0  # bits per row where the log says that it holds every change
_STATEMENT = 40.0  # bits of an undocumented statement, which could explain any number of rows
_ROWS_REPORTED = 10.0  # the client program reported just the number of rows the fault touches
_SUSPECT = 6.0
_COMPLAINT = 8.0  # a cell that is named wrong, out of so many that are not
_RIGHT = 10.0  # a right value that comes out the same, or does not
_FINE = 6.0  # one complaint in ten is a mistake
_COMPLAINTS_MAX = 3  # more of them are not so many independent facts
ACCEPT = 7.0  # bits a fault must save, about 100 to 1
CREDIBLE = 7.0  # an explanation so many bits worse than the best is no longer credible
_MISSES_SHARE = 0.05

# The forecast beside the current state. Nothing is said of a cell whose row is not there, nor of an
# unstable one, unless no act of the base wrote it: then the very same time is no coincidence.
_SEEN = """
CREATE OR REPLACE TEMP TABLE seen AS
WITH row AS (SELECT * FROM finals WHERE "column" = ''),
shown AS (
    SELECT d."table", d.key, j.key AS "column", json_extract_string(j.value, '$') AS current
    FROM divergence d JOIN forecast p
      ON p.name = $name AND p."table" = d."table" AND p.key = d.key AND p."column" <> '',
    json_each(d.current) j WHERE d.kind = 'extra' AND j.key = p."column"),
cell AS (
SELECT p."table", p.key, p."column", p.base, p.value,
       u."column" IS NOT NULL AND y.key IS NULL AS unstable,
       CASE WHEN d.key IS NOT NULL THEN d.current WHEN s.key IS NOT NULL THEN s.current
            WHEN f.key IS NOT NULL THEN f.start ELSE p.base END AS current
FROM forecast p
LEFT JOIN unstable u ON u."table" = p."table" AND u."column" = p."column"
LEFT JOIN steady y ON y."table" = p."table" AND y.key = p.key AND y."column" = p."column"
LEFT JOIN finals f ON f."table" = p."table" AND f.key = p.key AND f."column" = p."column"
LEFT JOIN row r ON r."table" = p."table" AND r.key = p.key
LEFT JOIN divergence d ON d.kind = 'changed' AND d."table" = p."table" AND d.key = p.key
     AND d."column" = p."column"
LEFT JOIN shown s ON s."table" = p."table" AND s.key = p.key AND s."column" = p."column"
LEFT JOIN divergence m ON m.kind = 'missing' AND m."table" = p."table" AND m.key = p.key
WHERE p.name = $name AND p."column" <> '' AND m.key IS NULL
  AND (p."table", '') NOT IN (FROM absent) AND (p."table", p."column") NOT IN (FROM absent)
  AND (u."column" IS NULL OR f.key IS NULL OR y.key IS NOT NULL)
  AND (s.key IS NOT NULL OR NOT coalesce(r.came, false)))
SELECT * EXCLUDE (unstable) FROM cell
WHERE NOT unstable OR current IS NOT DISTINCT FROM value OR current IS NOT DISTINCT FROM base
UNION ALL
SELECT p."table", p.key, '', p.base, p.value,
       coalesce(d.kind = 'extra', NOT r.came, p.base = 'true')::VARCHAR AS current
FROM forecast p
LEFT JOIN row r ON r."table" = p."table" AND r.key = p.key
LEFT JOIN divergence d ON d.kind IN ('missing', 'extra') AND d."table" = p."table"
     AND d.key = p.key
WHERE p.name = $name AND p."column" = '' AND (p."table", '') NOT IN (FROM absent)
  AND NOT (p."table" IN (SELECT "table" FROM clocked)
           AND coalesce(d.kind = 'extra', NOT r.came, p.base = 'true')::VARCHAR = p.base)
"""

_COUNT = """
SELECT count(*) FILTER (current IS NOT DISTINCT FROM {faulty}),
       count(*) FILTER (current IS NOT DISTINCT FROM {target}),
       count(*) FILTER (current IS DISTINCT FROM value AND current IS DISTINCT FROM base),
       count(DISTINCT ("table", key)) FILTER (current IS NOT DISTINCT FROM {faulty}),
       count(DISTINCT ("table", key)) FILTER (current IS NOT DISTINCT FROM {target}),
       count(DISTINCT {faulty}) FILTER (current IS NOT DISTINCT FROM {faulty} AND "column" <> '')
FROM seen
"""
_COUNTS = {
    (faulty, target): _COUNT.format(faulty=faulty, target=target)
    for faulty, target in (("value", "base"), ("base", "value"))
}


@dataclass(frozen=True, slots=True)
class Score:
    """Cells that a fault changes in the end, and which side the current state agrees with.
    `gain`: bits saved against an undocumented statement that did the same. `fit`: bits saved
    against leaving every row unexplained, by which faults are compared with each other."""

    hits: int
    misses: int
    others: int
    hit_rows: int
    miss_rows: int
    values: int  # distinct values among the hits
    gain: float
    fit: float
    agreement: Agreement = NOTHING_SAID

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
    name: str,
    bits: float,
    *,
    suspect: bool = False,
    rows_agree: bool = False,
    covered: bool = False,
    meant: bool = False,
) -> Score:
    """Score the forecast of this name; `finals` are those of its base. `covered`: the log says
    that it is complete for the tables in question, so that undocumented work is no
    explanation. `meant`: the forecast is what should have been, its base is what was done."""
    facts.execute(_SEEN, {"name": name})
    side = ("base", "value") if meant else ("value", "base")
    row = facts.execute(_COUNTS[side]).fetchone()
    assert row is not None
    hits, misses, others, hit_rows, miss_rows, values = (int(number) for number in row)
    heard = agreement(facts, meant=meant)
    per_row = _ROW_COVERED if covered else _ROW_TELLING if values >= 3 else _ROW_DULL
    said = _SUSPECT * suspect + _ROWS_REPORTED * rows_agree + complained(heard) - bits
    return Score(
        hits,
        misses,
        others,
        hit_rows,
        miss_rows,
        values,
        gain=min(_STATEMENT, per_row * hit_rows) + said,
        fit=per_row * (hit_rows - miss_rows) + said,
        agreement=heard,
    )


def complained(heard: Agreement) -> float:
    """Bits that the customer's complaints speak for a fault, or against it."""
    return (
        _COMPLAINT * min(heard.explained, _COMPLAINTS_MAX)
        + _RIGHT * min(heard.right, _COMPLAINTS_MAX)
        - _RIGHT * heard.against
        - _FINE * heard.fine
    )
