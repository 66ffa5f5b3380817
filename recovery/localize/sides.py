"""The two sides of a statement that hit other rows than it should have: rows wrongly changed, and
rows wrongly left out. What speaks for it, under a log that may lack legitimate work?

Somebody may have done the same to more rows on purpose, or taken it back on some. Either alone
looks like a fault and is none. Both at once are told, but two people's work looks just the same, so
that nothing is safe then: touched-at columns, which show who wrote a row last, the customer's word
or the reported rows have to tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from recovery.localize.cells import TOLERANCE_SECONDS
from recovery.localize.hits import Look
from recovery.localize.hypothesis import Candidate, Witness
from recovery.localize.scene import Scene
from recovery.localize.statement import Target, injective_columns
from recovery.messages import message
from recovery.model import Alternative, Fault, Question

BOTH_MIN = 2  # rows on each side, of which each tells by its value what was done to it
_BOTH_DULL_MIN = 5  # rows on each side that say no more than that something was done
_KEPT_MIN = 8  # rows left out, when nothing but their number speaks for it
_VALUES_MIN = 3  # values among them: one value can be typed back, many can not
_DONE_MIN = 3  # rows that the step did change: it ran
_MOST = 0.9

_SIDES = """
WITH touched AS (
    SELECT c."table", c.key,
           bool_or(c.c IS DISTINCT FROM c.b) FILTER (list_contains(c.t_steps, $act)) AS written,
           bool_and(c.c IS NOT DISTINCT FROM c.f OR coalesce(abs(
               epoch_us(try_cast(split_part(c.c, '+', 1) AS TIMESTAMP))
               - epoch_us(try_cast(split_part(c.f, '+', 1) AS TIMESTAMP))) <= $tolerance, false))
               FILTER (c.by_fault) AS signed
    FROM cell c JOIN unstable u ON u."table" = c."table" AND u."column" = c."column"
    WHERE c.t_row AND c.f_row AND c.c_row GROUP BY ALL),
told AS (
    SELECT c.* FROM cell c
    LEFT JOIN unstable u ON u."table" = c."table" AND u."column" = c."column"
    WHERE u."column" IS NULL AND c.c_row AND c.t_row AND c.f_row
      AND list_contains($aimed::VARCHAR[], c."table")),
rows AS (
    SELECT "table", key, bool_or(by_fault AND t IS DISTINCT FROM f) AS changed,
           bool_or(NOT by_fault AND list_contains(t_steps, $act) AND t IS DISTINCT FROM f) AS kept,
           bool_or(by_fault AND t IS NOT DISTINCT FROM f AND c IS NOT DISTINCT FROM f
                   AND f IS DISTINCT FROM b) AS done,
           bool_and(t IS NOT DISTINCT FROM f OR c IS NOT DISTINCT FROM f) AS explained,
           list(b) FILTER (NOT by_fault AND list_contains(t_steps, $act)) AS images
    FROM told GROUP BY ALL
    UNION ALL
    SELECT "table", key, by_fault AND t <> f, NOT by_fault AND t <> f, by_fault AND t = f AND c = f,
           t = f OR c = f, [key]
    FROM row WHERE NOT (b AND t AND f) AND list_contains($aimed::VARCHAR[], "table"))
SELECT count(*) FILTER (changed AND explained), count(*) FILTER (kept AND explained),
       count(DISTINCT images) FILTER (kept AND explained), count(*) FILTER (done),
       count(*) FILTER (kept AND explained AND NOT touched.written),
       count(*) FILTER (kept AND explained AND touched.written AND touched.signed IS NOT TRUE),
       count(*) FILTER (changed AND explained AND touched.signed),
       count(*) FILTER (changed AND explained AND NOT touched.signed),
       count(*) FILTER (kept AND explained AND (touched.signed OR NOT touched.written))
FROM rows LEFT JOIN touched USING ("table", key)
"""

_WITNESSED = """
WITH kept AS (SELECT key FROM verge WHERE member AND NOT hit),
stamp AS (
    SELECT e.key, bool_and(d.key IS NULL) AS still FROM effect e
    JOIN unstable u ON u."table" = e."table" AND u."column" = e."column"
    LEFT JOIN divergence d ON d.kind = 'changed' AND d."table" = e."table" AND d.key = e.key
         AND d."column" = e."column"
    WHERE e.run = $run AND e.step = $act AND e.op = 'update' AND e."table" = $table
    GROUP BY e.key),
heard AS (
    SELECT c.fine FROM complaint c JOIN verge v ON v.key = c.key AND v.hit <> v.member
    WHERE c."table" = $table AND NOT c.answered)
SELECT (SELECT count(*) FROM verge WHERE hit AND NOT member), (SELECT count(*) FROM kept),
       (SELECT count(*) FROM verge WHERE hit),
       (SELECT count(*) FROM heard WHERE NOT fine), (SELECT count(*) FROM heard WHERE fine),
       (SELECT count(*) FROM kept JOIN stamp USING (key) WHERE still)
"""


@dataclass(frozen=True, slots=True)
class Sides:
    """Rows in question that are as the fault would leave them. Of those `kept` (wrongly left out):
    how many `values` they hold, how many are `untouched` since the backup by their touched-at
    columns, and how many were `written` since. Of those `changed`: how many bear the time of the
    step, and how many that of somebody else. `done`: rows on which both agree. `spared`: of those
    kept, rows that nobody but the step has written."""

    changed: int
    kept: int
    values: int
    done: int
    untouched: int
    written: int
    signed: int
    foreign: int
    spared: int

    @property
    def worked_on(self) -> bool:
        """Touched-at columns show somebody else at work on most rows of a side."""
        return self.written * 2 > self.kept or self.foreign * 2 > self.changed


def sides(facts: duckdb.DuckDBPyConnection, act: str, aimed: Sequence[Target]) -> Sides:
    """Of the runs that are laid side by side: the log as target, the fault."""
    tables = sorted({target.table for target in aimed})
    row = facts.execute(
        _SIDES, {"act": act, "aimed": tables, "tolerance": TOLERANCE_SECONDS * 1_000_000}
    ).fetchone()
    assert row is not None
    return Sides(*(int(number) for number in row))


def speaks_for(found: Sides, witness: Witness, text: str) -> bool:
    """Is it more than somebody's work that was not written down? The log is complete, people say
    so, touched-at columns show it, or both sides agree with the fault, whose statement is `text`.

    That the customer suspects the step does not tell whether it should have reached more rows, or
    was taken back on some because it should not have been done at all."""
    if witness.covered:
        return True
    if found.worked_on:
        return False
    heard = witness.complaints
    if heard.fine + heard.against > heard.explained:
        return False
    if witness.rows_agree or heard.explained or (witness.vouched and found.changed):
        return True
    if _signed(found):
        return True
    least = BOTH_MIN if injective_columns(text) else _BOTH_DULL_MIN
    return min(found.changed, found.kept) >= least


def _signed(found: Sides) -> bool:
    """Touched-at columns show that the step wrote what is wrongly changed, and nobody else what is
    wrongly left out."""
    return found.signed >= _MOST * found.changed and found.spared >= _MOST * found.kept


def attested(scene: Scene, candidate: Candidate) -> bool:
    """Do touched-at columns tell the fault from the work of two people, one of whom took the
    step back, and the other did the same to other rows?"""
    return _signed(sides(scene.facts, candidate.act, candidate.targets))


def kept_alone(found: Sides, *, reversible: bool) -> bool:
    """So many rows with so many values were left out, and the step did run, that it is more than
    somebody who took it back: nobody does that one by one, and no formula could have (it can
    where what the step did is `reversible`)."""
    return (
        not found.changed
        and found.kept >= _KEPT_MIN
        and found.values >= _VALUES_MIN
        and found.done >= _DONE_MIN
        and not reversible
    )


def certain(scene: Scene, look: Look) -> bool:
    """May a target be called consistent? Somebody's own work could look like the rows left out (of
    `verge`, that of the look), unless something shows that nobody took them back on purpose: rows
    wrongly changed as well, people, or touched-at columns."""
    step = scene.step(look.act.id)
    if scene.covered((look.aimed,)):
        return True
    row = scene.facts.execute(
        _WITNESSED, {"table": look.aimed.table, "act": look.act.id, "run": scene.base.run}
    ).fetchone()
    assert row is not None
    changed, kept, hit, wrong, fine, untouched = (int(number) for number in row)
    told = step is not None and step.rows == hit != hit + kept - changed
    both = min(changed, kept) >= BOTH_MIN and bool(injective_columns(look.text))
    suspected = both and step is not None and step.suspect
    return not kept or told or suspected or wrong > fine or kept == untouched


def which_of_two(
    facts: duckdb.DuckDBPyConnection, candidate: Candidate, fault: Fault
) -> tuple[Question, ...]:
    """Where only the cells speak, it may have been the work of two people just as well."""
    if candidate.certain:
        return ()
    row = facts.execute(
        'SELECT count(*), count(DISTINCT ("table", key)) FROM damage WHERE fault = ?', [fault.id]
    ).fetchone()
    assert row is not None
    return (
        Question(
            f"{fault.id}-or-work",
            message(
                "Was step {step} run otherwise than it is written down, as the data show? Or was"
                " it done as written, and afterwards somebody took it back on some rows and did"
                " the same to others, on purpose? The data do not tell.",
                step=fault.step,
            ),
            (
                Alternative(
                    message("It was run otherwise"),
                    message(
                        "Mark it as suspect in the step log and assess again: {n} cells go back",
                        n=int(row[0]),
                    ),
                    int(row[1]),
                ),
                Alternative(
                    message("It was done as written, and the rest was wanted"),
                    message("They stay as they are"),
                    0,
                ),
            ),
            int(row[1]),
        ),
    )
