"""How likely an explanation is, and what is left for none of them.

Explanations that compete share what there is by their bits (`Score.fit`), less the room for
something that no hypothesis reaches. That room is estimated from what stays unexplained beside
them; without it every probability would be too high.
"""

from collections.abc import Sequence

import duckdb

from recovery.localize.complaints import unanswered
from recovery.localize.covered import unexplained_cells
from recovery.localize.score import Score
from recovery.localize.trial import Found
from recovery.model import StepLog

SAFE_ROOM = 0.5  # nothing is safe where something else is as likely as the fault
_ROOM_COMPLETE, _ROOM_PARTIAL = 0.01, 0.05
_DOUBT = 0.4  # that what a step may have done was somebody's work afterwards
_UNHEARD_BESIDE_DATA = 0.25  # of what complaints say against a fault that the data speak for


def probability(found: Found, judged: Score, room: float) -> float:
    """The share of the explanation that is `judged` so among those that compete with `found`, less
    the `room` for none of these."""
    best = found.score.fit
    weights = [2.0 ** (one.score.fit - best) for one in (found.trial, *found.rivals)]
    share: float = 2.0 ** (judged.fit - best) / sum(weights)
    return round(share * (1 - room), 4)


def none_of_these(log: StepLog, facts: duckdb.DuckDBPyConnection, found: Sequence[Found]) -> float:
    """The probability left for what no hypothesis reaches: a complete log leaves less room than a
    partial one, and what stays unexplained beside a fault speaks for something else: cells, and
    complaints, most of all where complaints are all that speaks for it. The runs of what happened
    and of what should have are laid side by side."""
    rooms = [_ROOM_COMPLETE if log.complete else _ROOM_PARTIAL]
    rooms.append(max((2**-one.score.gain for one in found), default=1.0))
    accused = any(one.accused for one in found)
    rooms.append(unanswered(facts) * (1.0 if accused else _UNHEARD_BESIDE_DATA))
    rooms += [_DOUBT for one in found if one.doubtful]
    rooms += [_beside(log, facts, one) for one in found]
    return round(min(1.0, max(rooms)), 4)


def _beside(log: StepLog, facts: duckdb.DuckDBPyConnection, one: Found) -> float:
    """Of what needs an explanation in the columns of a fault, under a log that says it holds every
    change there: the share that stays without one. What struck the rest may have struck all."""
    targets = one.candidate.targets
    if not all(log.covers(target.table) for target in targets):
        return 0.0
    left = unexplained_cells(facts)
    places = {(target.table, name) for target in targets for name in target.columns or ("",)}
    cells = sum(left.get(place, 0) for place in places)
    return cells / (cells + one.score.hits) if cells else 0.0
