"""What people and clocks say of acts that may be a fault, as far as a class needs to know it before
its candidates are tried."""

from collections.abc import Iterable
from datetime import timedelta

from recovery.localize.cells import TOLERANCE_SECONDS
from recovery.localize.scene import Scene
from recovery.model import Step

_COMPLAINED = """
SELECT count(*) FILTER (NOT fine), count(*) FILTER (fine) FROM complaint c WHERE EXISTS (
    SELECT 1 FROM residue r WHERE r."table" = c."table" AND r.key = c.key
      AND (c."column" IN ('', r."column") OR r."column" = '')
      AND list_contains($acts::VARCHAR[], r.act))
"""


def accused(scene: Scene, acts: Iterable[str]) -> bool:
    """The customer suspects one of these steps, or complains of cells that one of them wrote last
    and that are not as it left them, and calls fewer such cells right."""
    names = list(acts)
    if any((step := scene.step(name)) is not None and step.suspect for name in names):
        return True
    row = scene.facts.execute(_COMPLAINED, {"acts": names}).fetchone()
    assert row is not None
    return int(row[0]) > int(row[1])


def in_this_order(
    first: Step, second: Step, *, margin: timedelta = timedelta(seconds=TOLERANCE_SECONDS)
) -> bool:
    """The times of the log leave no doubt that `second` began when `first` had ended."""
    ended = first.until or first.at
    if ended is None or second.at is None:
        return False
    return second.at - ended > margin


def at_once(first: Step, second: Step) -> bool:
    """By the times of the log one went on while the other did, and not by the same person."""
    if first.at is None or second.at is None or (first.until is None and second.until is None):
        return False
    meet = first.at <= (second.until or second.at) and second.at <= (first.until or first.at)
    return meet and (not first.actor or first.actor != second.actor)
