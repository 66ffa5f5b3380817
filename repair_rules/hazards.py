"""Named risks of an operation, found from the catalog and the figures; each needs consent."""

from collections.abc import Iterator
from typing import Literal

from repair_rules.model import Damage, Facts, Hazard

Note = tuple[Hazard, str]
_LARGE_SHARE = 0.5
_LARGE_ROWS = 100_000


def about_grade(damage: Damage) -> Iterator[Note]:
    if damage.grade == "stale":
        yield (
            Hazard.STALE_VALUES,
            f"{damage.cells} values are the backup's; nothing shows whether they were changed"
            " on purpose since",
        )


def about_triggers(
    damage: Damage, facts: Facts, event: Literal["insert", "update", "delete"]
) -> Iterator[Note]:
    names = facts.triggers(damage.table, event)
    if names:
        yield (
            Hazard.SUPPRESSES_TRIGGER,
            f"{', '.join(names)} would fire on {event}; switched off for the time of the write",
        )


def about_amount(damage: Damage, facts: Facts) -> Iterator[Note]:
    rows = facts.rows(damage.table) + (damage.rows if damage.shape == "rows-gone" else 0)
    if damage.rows > _LARGE_ROWS:
        yield Hazard.LONG_LOCK, f"{damage.rows} rows of {damage.table} are locked until the end"
    if rows and damage.rows > 20 and damage.rows > _LARGE_SHARE * rows:
        yield Hazard.LARGE_CHANGE, f"{damage.rows} of {rows} rows of {damage.table} are written"


def about_schema(damage: Damage, facts: Facts) -> Iterator[Note]:
    if facts.schema_differs(damage.table):
        yield Hazard.SCHEMA_DIFFERS, f"{damage.table} has other columns than in the backup"
