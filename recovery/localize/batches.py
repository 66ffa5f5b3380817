"""A batch of spoilt rows as a supposition: an act that no step of the log is, put where it can have
been, and what speaks for it beside the cells that it explains.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import log2

from psycopg import sql

from diffing.model import Table, Trigger, parts
from recovery.deviation import Insert
from recovery.localize.hypothesis import Candidate
from recovery.localize.scene import Scene
from recovery.localize.spoilt import last_written
from recovery.localize.statement import Target
from recovery.localize.transforms import ROWS_MIN, Batch, Change, is_time
from recovery.model import Act, FaultClass, Step

_PRIOR = 6.0  # bits of a spoilt batch, before its description
# However many columns there are: an undocumented statement that did the same would name them too.
_BITS_MAX = 25.0
_QUIET = 2.0  # bits of not firing triggers
_NO_TIME_KNOWN = datetime(2000, 1, 1, tzinfo=UTC)

# The time that most rows that were hit have in one column now, and had not before.
_MOMENT = """
WITH hit AS (
    SELECT DISTINCT key FROM spoilt
    WHERE "table" = $table AND fate = 'hit' AND list_contains($variants::VARCHAR[], variant))
SELECT d.current, count(*), (SELECT count(*) FROM hit) FROM divergence d JOIN hit USING (key)
WHERE d."table" = $table AND d.kind = 'changed' AND list_contains($times::VARCHAR[], d."column")
GROUP BY d."column", d.current ORDER BY count(*) DESC, d."column", d.current LIMIT 1
"""


def vouched(scene: Scene, changes: Sequence[Change]) -> bool:
    """People say so: a complaint names one of the cells, or the log is complete for the table, or
    somebody suspects a step that is told in words alone and could be it."""
    names = [one.name for one in changes]
    row = scene.facts.execute(
        """SELECT count(*) FROM complaint c JOIN spoilt s
          ON s."table" = c."table" AND s.key = c.key AND c."column" IN ('', s."column")
        WHERE NOT c.answered AND NOT c.fine AND s.fate = 'hit'
          AND list_contains(?::VARCHAR[], s.variant)""",
        [names],
    ).fetchone()
    assert row is not None
    complete = all(scene.log.covers(one.table.name) for one in changes)
    step = told_in_words(scene, [one.table for one in changes])
    return row[0] > 0 or complete or (step is not None and step.suspect)


def overlap(scene: Scene, one: Change, other: Change, *, same_column: bool = False) -> float:
    """The share of the rows hit by `one` that `other` hit too; with `same_column`, that it would
    have changed at all."""
    row = scene.facts.execute(
        """SELECT count(*), count(o.key) FROM spoilt s
        LEFT JOIN spoilt o ON o.variant = $other AND o.key = s.key AND (o.fate = 'hit' OR $same)
        WHERE s.variant = $one AND s.fate = 'hit'""",
        {"one": one.name, "other": other.name, "same": same_column},
    ).fetchone()
    assert row is not None
    return int(row[1]) / int(row[0]) if row[0] else 0.0


def told_in_words(scene: Scene, tables: Sequence[Table]) -> Step | None:
    """The one step without anything to replay that is suspected, or else names such a table."""
    prose = [step for step in scene.log.steps if step.action is None and step.id not in scene.taken]
    named = [step for step in prose if _names(step, tables)]
    speaks_of_others = [step for step in prose if _names(step, scene.schema.tables)]
    doubted = [step for step in prose if step.suspect]
    doubted = [step for step in doubted if step in named or step not in speaks_of_others]
    for found in (doubted, named):
        if len(found) == 1:
            return found[0]
    return None


def _made_by(scene: Scene, batches: Sequence[Batch]) -> Step | None:
    """The step that made every row of the batches: then it made them like that."""
    rows = scene.facts.execute(
        """SELECT DISTINCT f.act FROM spoilt s LEFT JOIN finals f
          ON f."table" = s."table" AND f.key = s.key AND f."column" = '' AND f.came
        WHERE s.fate = 'hit' AND list_contains(?::VARCHAR[], s.variant) LIMIT 2""",
        [[one.change.name for one in batches]],
    ).fetchall()
    made = {str(act) for (act,) in rows}
    doubted = [step for act, step in scene.doubted() if {act.id} == made]
    return doubted[0] if doubted else None


def candidates(
    scene: Scene,
    fault_class: FaultClass,
    batches: Sequence[Batch],
    parameters: tuple[tuple[str, str], ...],
    injective: frozenset[str],
) -> Iterable[Candidate]:
    """The batches as one act, last of all; and, where later steps may have worked with what it
    left, at the earliest place where it can have been."""
    tables = sorted({one.change.table.name for one in batches})
    act = f"~{fault_class}/{' '.join(tables)}"
    if act in scene.taken:
        act += f"/{len(scene.taken)}"
    step = _made_by(scene, batches) or told_in_words(scene, [one.change.table for one in batches])
    said = any(one.id == step.id for one in scene.history) if step is not None else False
    columns = len([column for table in scene.schema.tables for column in table.columns])
    again = any(one.startswith(f"~{fault_class}/") for one in scene.taken)
    prior = 0.0 if again else _PRIOR
    rows = sum({one.rows: one.bits for one in batches}.values())
    bits = prior + log2(max(columns, 2)) + 2 * len(batches) + rows - 3 * said
    late = len(scene.history)
    floor = last_written(scene, [one.change.name for one in batches])
    moment = _moment(scene, batches)
    if said and step is not None:
        late = max(scene.place(step.id), floor)
    elif moment is not None:
        late = max(sum(one.at <= moment for one in scene.history), floor)
    candidate = Candidate(
        fault_class,
        step.id if said and step is not None else "",
        act,
        parameters,
        ";\n".join(one.statement(one.shown) for one in batches),
        (_insert(scene, late, act, batches, moment),),
        (),
        min(bits, _BITS_MAX),
        tuple(
            Target(
                "update",
                table,
                frozenset(
                    column.name
                    for one in batches
                    if one.change.table.name == table
                    for column, _ in one.change.sets
                ),
            )
            for table in tables
        ),
        injective,
    )
    early = replace(candidate, happened=(_insert(scene, floor, act, batches, moment),))
    for one in _placed(scene, candidate, early, floor, late, batches):
        yield one
        # A trigger that has left its time did fire.
        quiet = _quietly(scene, one, tables) if moment is None else None
        if quiet is not None:
            yield quiet


def _placed(
    scene: Scene, candidate: Candidate, early: Candidate, floor: int, late: int,
    batches: Sequence[Batch],
) -> Iterator[Candidate]:  # fmt: skip
    if floor < late and _copied(scene, floor, batches):
        yield early
        return
    yield candidate
    if floor < late and _later_damage(scene, floor, batches):
        yield replace(early, bits=candidate.bits + 2)


def _quietly(scene: Scene, candidate: Candidate, tables: Sequence[str]) -> Candidate | None:
    """The same as a restore does it: no trigger fires. None when there is none that could."""
    fired = [
        (sql.Identifier(*parts(one.table)), sql.Identifier(one.name))
        for one in _fired(scene, tables)
    ]
    if not fired:
        return None
    (insert,) = candidate.happened
    assert isinstance(insert, Insert)
    off, on = (
        tuple(sql.SQL(switch).format(*names).as_string(None) for names in fired)
        for switch in (
            "ALTER TABLE {} DISABLE TRIGGER {}",
            "ALTER TABLE {} ENABLE TRIGGER {}",
        )
    )
    act = replace(insert.act, statements=(*off, *insert.act.statements, *on))
    bits = candidate.bits + _QUIET
    return replace(candidate, happened=(replace(insert, act=act),), bits=bits)


def parameters(batches: Sequence[Batch]) -> tuple[tuple[str, str], ...]:
    """Which columns, how, which rows, and how many cells."""
    cells = ("cells", str(sum(one.hits for one in batches)))
    if len(batches) == 1:
        (one,) = batches
        change = one.change
        found = (("table", change.table.name), ("column", change.column.name))
        return (*found, ("how", change.how), ("rows", one.rows), cells)
    tables = {one.change.table.name for one in batches}
    each = tuple(
        (
            one.change.column.name
            if len(tables) == 1
            else f"{one.change.table.name}.{one.change.column.name}",
            f"{one.change.how}; rows: {one.rows}",
        )
        for one in batches
    )
    return (*each, cells)


def cells_told(candidate: Candidate) -> int:
    """How many cells `parameters` counted: what triggers did besides is not among them."""
    return int(candidate.parameters[-1][1])


def _names(step: Step, tables: Sequence[Table]) -> bool:
    return any(
        re.search(rf"\b{re.escape(table.relation)}\b", step.what, re.IGNORECASE) for table in tables
    )


def _fired(scene: Scene, tables: Sequence[str]) -> Sequence[Trigger]:
    return [
        one
        for one in scene.schema.triggers
        if one.table in tables and one.enabled and "update" in one.events
    ]


def _moment(scene: Scene, batches: Sequence[Batch]) -> datetime | None:
    """When it was done: the time that a trigger has left in most of the rows that were hit."""
    for table in {one.change.table.name: one.change.table for one in batches}.values():
        names = [one.change.name for one in batches if one.change.table == table]
        changed = {column for one in batches for column, _ in one.change.sets}
        times = [one.name for one in table.columns if is_time(one) and one not in changed]
        if not times or not _fired(scene, [table.name]):
            continue
        row = scene.facts.execute(
            _MOMENT, {"table": table.name, "variants": names, "times": times}
        ).fetchone()
        if row is not None and row[1] >= ROWS_MIN and row[1] * 2 > row[2]:
            try:
                at = datetime.fromisoformat(str(row[0]))
            except ValueError:
                continue
            return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return None


def _insert(
    scene: Scene, place: int, act: str, batches: Sequence[Batch], moment: datetime | None
) -> Insert:
    """The act behind the `place`-th of the history, at that moment when it is known."""
    before = scene.history[place - 1] if place else None
    at = before.at if before else scene.history[0].at if scene.history else _NO_TIME_KNOWN
    statements = tuple(one.statement(one.where) for one in batches)
    at = moment or (at + timedelta(milliseconds=1) if place else at)
    return Insert(before.id if before else "", Act(act, statements, at))


def _later_damage(scene: Scene, floor: int, batches: Sequence[Batch]) -> bool:
    """Did an act after that place write something that is not what it should be? One that worked
    on with a spoilt value has left it neither as it was nor as it was spoilt."""
    row = scene.facts.execute(
        """SELECT count(*) FROM residue r
        ANTI JOIN (FROM spoilt WHERE fate = 'hit' AND list_contains(?::VARCHAR[], variant)) s
             ON s."table" = r."table" AND s.key = r.key AND s."column" = r."column"
        WHERE r.place > ? AND NOT list_contains(?::VARCHAR[], r.act)""",
        [[one.change.name for one in batches], floor, sorted(scene.taken)],
    ).fetchone()
    assert row is not None
    return int(row[0]) > 0


def _copied(scene: Scene, floor: int, batches: Sequence[Batch]) -> bool:
    """Did an act after that place write a value as it was afterwards, in the place of one as it
    was before?"""
    row = scene.facts.execute(
        """SELECT count(*) FROM residue r
        JOIN spoilt s ON s.value = r.current AND s.fate = 'hit'
        JOIN residue o ON o."table" = s."table" AND o.key = s.key AND o."column" = s."column"
         AND o.predicted = r.predicted
        ANTI JOIN (FROM spoilt WHERE fate = 'hit' AND list_contains($names::VARCHAR[], variant)) x
             ON x."table" = r."table" AND x.key = r.key AND x."column" = r."column"
        WHERE r.place > $floor AND list_contains($names::VARCHAR[], s.variant)""",
        {"names": [one.change.name for one in batches], "floor": floor},
    ).fetchone()
    assert row is not None
    return int(row[0]) > 0
