"""Which cells are damaged, what they should be, and how surely that is known.

Reads the relations `cell`, `row` (two histories beside the current state) and the final values of
the what-if runs; fills `damage`. The rules are those of the grades' definitions: `proven` needs
coverage, `consistent` needs a positive fact, anything else is less.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import duckdb

from recovery.localize.cells import TOLERANCE_SECONDS
from recovery.localize.statement import Target
from recovery.model import Cause, FaultClass

# Which rows are concerned does not hang on what undocumented work was done before the step.
_BY_EFFECT = frozenset({FaultClass.AS_DESCRIBED, FaultClass.WRONG_VALUE})
_EXACT_STEPS_MIN = 3  # so many steps must show their very time before the log's clock is trusted

# Clock-fed values are compared leniently: the log's time is not the transaction's own.
_MACROS = (
    "CREATE OR REPLACE TEMP MACRO moment(x) AS"
    " epoch_us(try_cast(split_part(x, '+', 1) AS TIMESTAMP))",
    "CREATE OR REPLACE TEMP MACRO agrees(c, f, unstable) AS c IS NOT DISTINCT FROM f OR"
    f" (unstable AND abs(moment(c) - moment(f)) <= {TOLERANCE_SECONDS * 1_000_000})",
    # Does a row or cell belong to another fault: what that one did, or what it left undone?
    "CREATE OR REPLACE TEMP MACRO foreign_to(f_steps, t_steps, others) AS"
    " list_has_any(f_steps, others) OR list_has_any(list_filter(t_steps,"
    " lambda s: NOT list_contains(f_steps, s)), others)",
    # Names and values of one row, in column order, as compact JSON.
    "CREATE OR REPLACE TEMP MACRO row_json(names, texts) AS '{' || list_aggregate(list_transform("
    "list_zip(names, texts), lambda p: to_json(p[1])::VARCHAR || ':' ||"
    " coalesce(to_json(p[2])::VARCHAR, 'null')), 'string_agg', ',') || '}'",
)

_JUDGED = """
CREATE OR REPLACE TEMP TABLE judged AS
WITH told AS (
    SELECT c.*, u."column" IS NOT NULL AND (y.key IS NULL OR c.c IS DISTINCT FROM c.f) AS unstable,
           note.key IS NOT NULL AS noted,
           up.key IS NOT NULL AND up.value IS DISTINCT FROM c.f
               AND down.key IS NOT NULL AND down.value IS DISTINCT FROM c.f AS telling,
           tup.key IS NOT NULL AND tup.value IS NOT DISTINCT FROM c.t
               AND tdown.key IS NOT NULL AND tdown.value IS NOT DISTINCT FROM c.t AS fixed,
           (CASE WHEN early.key IS NOT NULL THEN early.value ELSE c.b END)
               IS NOT DISTINCT FROM c.t AS timeless
    FROM cell c
    LEFT JOIN unstable u ON u."table" = c."table" AND u."column" = c."column"
    LEFT JOIN steady y ON y."table" = c."table" AND y.key = c.key AND y."column" = c."column"
    LEFT JOIN recorded note ON note."table" = c."table" AND note.key = c.key
         AND note."column" = c."column"
    LEFT JOIN outcome up ON up.run = 'faulty up'
         AND (up."table", up.key, up."column") = (c."table", c.key, c."column")
    LEFT JOIN outcome down ON down.run = 'faulty down'
         AND (down."table", down.key, down."column") = (c."table", c.key, c."column")
    LEFT JOIN outcome tup ON tup.run = 'target up'
         AND (tup."table", tup.key, tup."column") = (c."table", c.key, c."column")
    LEFT JOIN outcome tdown ON tdown.run = 'target down'
         AND (tdown."table", tdown.key, tdown."column") = (c."table", c.key, c."column")
    LEFT JOIN outcome early ON early.run = 'target early'
         AND (early."table", early.key, early."column") = (c."table", c.key, c."column")
    WHERE c.t_row AND c.f_row AND c.c_row AND c.f IS DISTINCT FROM c.t)
SELECT *, agrees(c, f, unstable) AS explained,
       list_contains($direct::VARCHAR[], "table" || chr(31) || "column")
           OR (by_fault AND NOT b_row AND list_contains($inserted::VARCHAR[], "table")) AS aimed
FROM told WHERE NOT (unstable AND NOT agrees(c, f, unstable)) AND c IS DISTINCT FROM t
  AND (by_fault OR NOT foreign_to(f_steps, t_steps, $others::VARCHAR[]))
  AND ("table", key, "column") NOT IN (SELECT ("table", key, "column") FROM damage)
"""

# Steps whose time can be seen in the current state, to the microsecond or only about.
_CLOCK = """
SELECT count(DISTINCT c.f_step) FILTER (c.c IS NOT DISTINCT FROM c.f),
       count(*) FILTER (c.c IS DISTINCT FROM c.f AND agrees(c.c, c.f, true))
FROM cell c JOIN unstable u ON u."table" = c."table" AND u."column" = c."column"
WHERE c.c_row AND c.f_row AND moment(c.f) IS NOT NULL
"""

# Rows on which somebody else may have worked: a divergence that the faulty run does not explain.
_WORKED_ON = """
CREATE OR REPLACE TEMP TABLE worked_on AS
SELECT DISTINCT d."table", d.key FROM divergence d
LEFT JOIN cell c ON c."table" = d."table" AND c.key = d.key AND c."column" = d."column"
LEFT JOIN unstable u ON u."table" = d."table" AND u."column" = d."column"
WHERE d.kind = 'changed' AND u."column" IS NULL
  AND (c.key IS NULL OR c.c IS DISTINCT FROM c.f)
"""

_CELLS = """
INSERT INTO damage
WITH graded AS (
    SELECT *, CASE
        WHEN NOT explained THEN 'undecided'
        WHEN $named AND NOT timeless THEN 'undecided'
        -- A logged step's own time, moved: what is there tells which time it was.
        WHEN unstable AND t_step IS NOT NULL AND aimed AND telling AND c IS NOT DISTINCT FROM f
             AND list_contains($injective::VARCHAR[], "column") THEN 'consistent'
        -- What overwrote the time of a logged step overwrote the only sign that it came, and when.
        WHEN unstable AND t_step IS NOT NULL AND NOT (
            $exact_clock AND list_contains($covered::VARCHAR[], "table")) THEN 'stale'
        WHEN list_contains($covered::VARCHAR[], "table")
            THEN CASE WHEN unstable THEN 'consistent' ELSE 'proven' END
        WHEN unstable THEN 'touch'
        WHEN aimed AND (telling OR untouched) AND list_contains($injective::VARCHAR[], "column")
            THEN 'consistent'
        WHEN aimed AND noted THEN 'consistent'
        WHEN NOT aimed AND telling THEN 'consistent'
        WHEN rare AND (fixed OR NOT aimed AND sure) THEN 'consistent'
        ELSE 'stale' END AS grade
    FROM (SELECT j.*, r.rare, (CASE WHEN d.key IS NOT NULL THEN d.value ELSE j.b END)
                  IS NOT DISTINCT FROM j.t AS sure,
              NOT by_fault AND list_contains($omitted::VARCHAR[], t_step) AS untouched
          FROM judged j
          LEFT JOIN rarity r ON r."table" = j."table" AND r."column" = j."column" AND r.f = j.f
          LEFT JOIN outcome d ON d.run = 'target doubt' AND d."table" = j."table" AND d.key = j.key
               AND d."column" = j."column")),
settled AS (
    SELECT g.* REPLACE (CASE WHEN grade <> 'touch' THEN grade
        WHEN bool_or(grade = 'consistent' AND aimed) OVER one_row
             AND (g."table", g.key) NOT IN (SELECT ("table", key) FROM worked_on)
            THEN 'consistent' ELSE 'stale' END AS grade)
    FROM graded g WINDOW one_row AS (PARTITION BY "table", key))
SELECT "table", key, "column",
       CASE WHEN by_fault AND t_step <> $act AND t IS DISTINCT FROM b THEN 'lost-work'
            WHEN NOT by_fault AND list_has_any(t_steps, $omitted::VARCHAR[]) THEN 'omission'
            WHEN by_fault AND aimed THEN 'direct' WHEN by_fault THEN 'cascade'
            ELSE 'collateral' END,
       $fault, $step, $cause, b, CASE WHEN $described THEN f ELSE t END, c,
       CASE WHEN grade = 'undecided' THEN NULL ELSE t END, grade, ''
FROM settled
"""

_ROWS = """
INSERT INTO damage
WITH image AS (
    SELECT n."table", n.key, n.run,
           row_json(list(n."column" ORDER BY l.position), list(n.final ORDER BY l.position)) AS row
    FROM net n JOIN layout l ON l."table" = n."table" AND l."column" = n."column"
    WHERE n."column" <> '' GROUP BY ALL),
mine AS (
    SELECT *, NOT by_fault AND list_has_any(t_steps, $omitted::VARCHAR[]) AS omitted,
           list_contains($covered::VARCHAR[], "table") AS covered
    FROM row WHERE (by_fault OR NOT foreign_to(f_steps, t_steps, $others::VARCHAR[]))
      AND ("table", key, '') NOT IN (SELECT ("table", key, "column") FROM damage)),
gone AS (
    SELECT r.*, CASE WHEN r.b THEN coalesce(whole.row, r.missing_image) ELSE i.row END AS should,
           NOT r.b AND r."table" IN (SELECT "table" FROM unstable) AS timed
    FROM mine r
    LEFT JOIN image i ON i.run = $target AND i."table" = r."table" AND i.key = r.key
    LEFT JOIN restored whole ON whole."table" = r."table" AND whole.key = r.key
    WHERE r.t AND NOT r.f AND NOT r.c),
edited AS (
    SELECT DISTINCT c."table", c.key FROM cell c
    LEFT JOIN unstable u ON u."table" = c."table" AND u."column" = c."column"
    WHERE c.f_row AND c.c_row AND NOT c.t_row AND NOT agrees(c.c, c.f, u."column" IS NOT NULL))
SELECT "table", key, '',
       CASE WHEN omitted THEN 'omission'
            WHEN b THEN CASE WHEN by_fault AND list_contains($aimed::VARCHAR[], "table")
                THEN 'direct' WHEN by_fault THEN 'cascade' ELSE 'collateral' END
            WHEN len(f_steps) = 0 THEN 'collateral' ELSE 'lost-work' END,
       $fault, $step, $cause, missing_image, CASE WHEN $described THEN NULL ELSE should END, NULL,
       should, CASE WHEN NOT b AND timed AND NOT $exact_clock THEN 'stale'
                    WHEN covered THEN CASE WHEN timed THEN 'consistent' ELSE 'proven' END
                    WHEN omitted AND NOT timed AND list_contains($injective::VARCHAR[], '')
                        THEN 'consistent' ELSE 'stale' END, ''
FROM gone
UNION ALL
SELECT r."table", r.key, '', CASE WHEN by_fault AND list_contains($aimed::VARCHAR[], r."table")
           THEN 'direct' WHEN by_fault THEN 'cascade' ELSE 'collateral' END,
       $fault, $step, $cause, NULL, CASE WHEN $described THEN extra_image END, extra_image, NULL,
       CASE WHEN edited.key IS NOT NULL THEN 'undecided' WHEN covered THEN 'proven'
            ELSE 'consistent' END, ''
FROM mine r LEFT JOIN edited ON edited."table" = r."table" AND edited.key = r.key
WHERE NOT r.t AND r.f AND r.c AND r.extra_image IS NOT NULL
UNION ALL
SELECT r."table", r.key, '', CASE WHEN omitted THEN 'omission'
           WHEN by_fault AND list_contains($aimed::VARCHAR[], r."table") THEN 'direct'
           WHEN by_fault THEN 'cascade' ELSE 'collateral' END,
       $fault, $step, $cause, s.backup, NULL, s.current, NULL,
       CASE WHEN edited.key IS NOT NULL THEN 'undecided' WHEN covered THEN 'proven'
            WHEN omitted AND list_contains($injective::VARCHAR[], '') THEN 'consistent'
            ELSE 'stale' END, ''
FROM mine r JOIN spared s ON s."table" = r."table" AND s.key = r.key
LEFT JOIN edited ON edited."table" = r."table" AND edited.key = r.key
"""

# Rows of the backup that should have been deleted and are still there, as they were and as they
# are: the deletion that was to come has seen all of their columns.
_SPARED = """
CREATE OR REPLACE TEMP TABLE spared AS
SELECT r."table", r.key, row_json(list(l."column" ORDER BY l.position),
           list(c.b ORDER BY l.position)) AS backup,
       row_json(list(l."column" ORDER BY l.position), list(c.c ORDER BY l.position)) AS current
FROM row r JOIN layout l ON l."table" = r."table"
LEFT JOIN cell c ON c."table" = r."table" AND c.key = r.key AND c."column" = l."column"
WHERE r.b AND NOT r.t AND r.f AND r.c
GROUP BY ALL HAVING count(c.key) = count(*)
"""

# A row of the backup that the target history changed before it was lost: the backup's image with
# those cells put in.
_RESTORED = """
CREATE OR REPLACE TEMP TABLE restored AS
WITH base AS (
    SELECT r."table", r.key, j.key AS "column", json_extract_string(j.value, '$') AS value
    FROM row r, json_each(r.missing_image) j
    WHERE r.t AND NOT r.f AND NOT r.c AND r.b AND r.missing_image IS NOT NULL)
SELECT base."table", base.key, row_json(list(base."column" ORDER BY l.position), list(
       CASE WHEN n.key IS NOT NULL THEN n.final ELSE base.value END ORDER BY l.position)) AS row
FROM base
JOIN layout l ON l."table" = base."table" AND l."column" = base."column"
LEFT JOIN net n ON n.run = $target AND n."table" = base."table" AND n.key = base.key
     AND n."column" = base."column"
GROUP BY base."table", base.key
"""


_DOUBT = """
UPDATE damage SET grade = 'undecided', target = NULL
WHERE fault = $fault AND grade <> 'undecided' AND rowid NOT IN (
    SELECT d.rowid FROM damage d JOIN forecast p
      ON p.name = $rival AND p."table" = d."table" AND p.key = d.key AND p."column" = d."column"
    LEFT JOIN unstable u ON u."table" = d."table" AND u."column" = d."column"
    WHERE d.fault = $fault AND $same
      AND (d."column" = '' OR u."column" IS NOT NULL OR p.value IS NOT DISTINCT FROM d.current))
"""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What grading one fault needs to know. `act` wrote the damage; what `others`, the acts of
    the other faults, wrote is theirs. `covered`: tables for which the log is complete and
    nothing contradicts that."""

    fault: str
    step: str
    act: str
    fault_class: FaultClass
    cause: Cause
    target: str
    faulty: str
    targets: tuple[Target, ...]
    injective: frozenset[str]
    covered: frozenset[str]
    others: frozenset[str]
    omitted: frozenset[str] = frozenset()  # acts of the target that this fault left undone
    certain: bool = True  # False: nothing is surer than stale


def prepare(
    facts: duckdb.DuckDBPyConnection, verdicts: Verdicts
) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Judge cells as far as runs can; return (table, column, values) whose rarity in the backup
    is asked for: what the fault left there and does not tell former values apart."""
    for macro in _MACROS:
        facts.execute(macro)
    facts.execute(_WORKED_ON)
    facts.execute(
        _JUDGED,
        {
            "direct": [
                f"{target.table}\x1f{column}"
                for target in verdicts.targets
                for column in sorted(target.columns)
            ],
            "inserted": [target.table for target in verdicts.targets if target.op == "insert"],
            "others": sorted(verdicts.others),
        },
    )
    rows = facts.execute(
        'SELECT "table", "column", list(DISTINCT f ORDER BY f) FROM judged'
        " WHERE NOT telling AND NOT unstable AND f IS NOT NULL AND (NOT aimed OR fixed)"
        ' GROUP BY "table", "column" ORDER BY ALL'
    ).fetchall()
    return tuple((str(table), str(column), tuple(values)) for table, column, values in rows)


def doubtful(facts: duckdb.DuckDBPyConnection, verdicts: Verdicts) -> Mapping[str, tuple[str, ...]]:
    """Per table, rows that the step wrote and whose former value nothing shows."""
    rows = facts.execute(
        """SELECT "table", list(DISTINCT key ORDER BY key) FROM judged
        WHERE aimed AND NOT (explained AND timeless AND (noted OR telling
              AND list_contains(?::VARCHAR[], "column")))
        GROUP BY "table" ORDER BY ALL""",
        [sorted(verdicts.injective)],
    ).fetchall()
    return {str(table): tuple(keys) for table, keys in rows}


def grade(
    facts: duckdb.DuckDBPyConnection,
    verdicts: Verdicts,
    rare: Iterable[tuple[str, str, str]],
) -> None:
    """Fill `damage` for one fault."""
    facts.execute(
        'CREATE OR REPLACE TEMP TABLE rarity ("table" VARCHAR, "column" VARCHAR, f VARCHAR,'
        " rare BOOLEAN)"
    )
    for table, column, value in rare:
        facts.execute("INSERT INTO rarity VALUES (?, ?, ?, true)", [table, column, value])
    facts.execute("DELETE FROM damage WHERE fault = ?", [verdicts.fault])
    shared: dict[str, object] = {
        "fault": verdicts.fault,
        "step": verdicts.step,
        "cause": verdicts.cause,
        "covered": sorted(verdicts.covered),
        "described": verdicts.fault_class is FaultClass.AS_DESCRIBED,
        "injective": sorted(verdicts.injective),
        "omitted": sorted(verdicts.omitted),
        "exact_clock": _clock_is_exact(facts),
    }
    facts.execute(
        _CELLS,
        shared
        | {
            "act": verdicts.act,
            "named": verdicts.fault_class not in _BY_EFFECT,
        },
    )
    facts.execute(_RESTORED, {"target": verdicts.target})
    facts.execute(_SPARED)
    facts.execute(
        _ROWS,
        shared
        | {
            "target": verdicts.target,
            "aimed": sorted({target.table for target in verdicts.targets}),
            "others": sorted(verdicts.others),
        },
    )
    if not verdicts.certain:
        facts.execute(
            "UPDATE damage SET grade = 'stale'"
            " WHERE fault = ? AND grade IN ('proven', 'consistent', 'derived')",
            [verdicts.fault],
        )


def doubt(facts: duckdb.DuckDBPyConnection, fault: str, rival: str, *, same_target: bool) -> None:
    """An explanation that could not be excluded is the forecast `rival`. A person decides about
    cells that it leaves as legitimate, and, when its target is another one, about all."""
    facts.execute(_DOUBT, {"fault": fault, "rival": rival, "same": same_target})


def ask_a_person(facts: duckdb.DuckDBPyConnection, fault: str) -> None:
    """Only a person can say that this was the mistake, whatever single complaints say: who quotes
    an old value quotes what any step's absence would leave."""
    facts.execute("UPDATE damage SET grade = 'undecided', target = NULL WHERE fault = ?", [fault])


def _clock_is_exact(facts: duckdb.DuckDBPyConnection) -> bool:
    """The log gives the transactions' own times: enough steps show it, and none speaks against
    it. Then a time that a replayed step wrote is the time that was there."""
    row = facts.execute(_CLOCK).fetchone()
    assert row is not None
    return int(row[0]) >= _EXACT_STEPS_MIN and int(row[1]) == 0
