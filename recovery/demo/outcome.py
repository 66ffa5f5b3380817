"""How the demo ended: the repaired copy beside the truth that was kept back, cell by cell."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from psycopg import Connection, sql

from diffing.model import parts
from recovery.model import Assessment, Exit


@dataclass(frozen=True, slots=True)
class Outcome:
    """`restorable` counts damaged cells whose value the evidence can tell. `harmed`: repaired cells
    that do not hold what they should."""

    damaged: int
    restorable: int
    restored: int
    harmed: int
    step: str
    fault_class: str
    found: bool
    applied: bool

    @property
    def as_expected(self) -> bool:
        return (
            self.applied
            and self.found
            and self.harmed == 0
            and 0 < self.restorable == self.restored
        )

    def figures(self) -> Mapping[str, int | bool]:
        return {
            "damaged": self.damaged,
            "restorable": self.restorable,
            "restored": self.restored,
            "harmed": self.harmed,
            "found": self.found,
            "applied": self.applied,
        }


def compare_with_truth(
    connection: Connection[tuple[object, ...]],
    before: Connection[tuple[object, ...]],
    truth: Path,
    assessment: Assessment,
    applied: Exit,
) -> Outcome:
    """`connection` is to the repaired copy, `before` to the damaged database."""
    document = json.loads(truth.read_text("utf-8"))
    cells = document["cells"]
    restored = harmed = restorable = 0
    for cell in cells:
        now = _value(connection, cell)
        right = (
            now == cell["target"] if cell["column"] else (now is None) == (cell["target"] is None)
        )
        restorable += bool(cell["restorable"])
        restored += bool(cell["restorable"] and right)
        harmed += not right and now != _value(before, cell)
    fault = document["fault"]
    found = [(one.step, str(one.fault_class)) for one in assessment.faults]
    step, fault_class = found[0] if found else ("", "")
    return Outcome(
        len(cells),
        restorable,
        restored,
        harmed,
        step,
        fault_class,
        found == [(fault["step"], fault["class"])],
        applied is Exit.FINE,
    )


def _value(connection: Connection[tuple[object, ...]], cell: Mapping[str, str]) -> str | None:
    """The cell's text; of a whole row (column '') whether it is there."""
    key: Mapping[str, str] = json.loads(cell["key"])
    column = sql.Identifier(cell["column"])
    told = (
        sql.SQL("CASE WHEN {0} IS NOT NULL THEN pg_catalog.concat({0}) END").format(column)
        if cell["column"]
        else sql.SQL("'there'").format()
    )
    row = connection.execute(
        sql.SQL("SELECT {} FROM {} WHERE {}").format(
            told,
            sql.Identifier(*parts(cell["table"])),
            sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value))
                for name, value in key.items()
            ),
        )
    ).fetchone()
    return None if row is None or row[0] is None else str(row[0])
