"""Rows of a table that are as they were in the backup though steps had changed them, when others of
the table are not: they were put back over newer ones, all at one moment.

The moment is known where a touched-at column kept it (`stamps`). Elsewhere it is the one that tells
best what is gone from what is there, among rows whose keys lie side by side.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from diffing.model import Table
from recovery.localize.scene import Scene
from recovery.localize.stamps import Stamp, stamps

_GONE_SHARE = 0.9
_STAMPS_MAX = 4  # that are looked at
_MOMENTS_MAX = 400  # places in the history that are weighed
_ROWS_MIN = 3  # that are as they were, and of so many steps: fewer are no version
_ALIEN_SHARE = 0.1  # of the rows that bear a moment: more, and it is not that of a restore

# What an act wrote last in a row: as it was in the backup again, or there, or something else.
# `sort`: a cell of a row that was there before, a row that came, a row that went.
_MARKS = """
SELECT f.key, CASE WHEN f."column" <> '' THEN 'cell' WHEN f.came THEN 'came' ELSE 'went' END,
       f.place, CASE WHEN r.key IS NULL THEN 'there'
                     WHEN f."column" = '' OR r.current IS NOT DISTINCT FROM f.start THEN 'gone'
                     ELSE 'other' END
FROM finals f
LEFT JOIN unstable u ON u."table" = f."table" AND u."column" = f."column"
LEFT JOIN residue r ON r."table" = f."table" AND r.key = f.key AND r."column" = f."column"
LEFT JOIN residue whole ON f."column" <> '' AND whole."table" = f."table" AND whole.key = f.key
     AND whole."column" = ''
WHERE f."table" = $table AND u."column" IS NULL AND whole.key IS NULL
  AND CASE WHEN f."column" = '' THEN f.came = f.there
           ELSE NOT f.came AND f.value IS DISTINCT FROM f.start END
ORDER BY f.place, f.key, f."column"
"""
# Rows with values that neither the backup nor an act gave them.
_ALIEN = """
SELECT DISTINCT d.key FROM divergence d
JOIN residue r ON r."table" = d."table" AND r.key = d.key AND r."column" = d."column"
LEFT JOIN unstable u ON u."table" = d."table" AND u."column" = d."column"
WHERE d."table" = $table AND d.kind = 'changed' AND u."column" IS NULL
"""
# Rows that acts changed until then, whatever later ones made of them.
_WRITTEN = """
WITH place AS (SELECT unnest($acts::VARCHAR[]) AS step)
SELECT DISTINCT e.key FROM effect e JOIN place p ON p.step = e.step
LEFT JOIN unstable u ON u."table" = e."table" AND u."column" = e."column"
WHERE e.run = $run AND e."table" = $table AND e.op = 'update' AND u."column" IS NULL
"""


@dataclass(frozen=True, slots=True)
class RowsBack:
    """These rows were put back between the act at `last` (its place in the history, from 1) and
    the next; `lost`: acts that left nothing in them. They bear the time of it, or nothing does."""

    table: str
    keys: frozenset[str]
    last: int
    lost: tuple[int, ...]
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class _Mark:
    key: str
    sort: str
    place: int
    fate: str


def stamped(scene: Scene) -> Iterator[RowsBack]:
    """Rows that bear one moment which no act gave them."""
    for stamp in list(stamps(scene))[:_STAMPS_MAX]:
        marks = _marks(scene, stamp.table)
        last = max(
            (place for place, act in enumerate(scene.history, 1) if act.at <= stamp.at), default=0
        )
        before = [one for one in marks if one.place <= last]
        gone = {one.key for one in before if one.sort == "cell" and one.fate == "gone"}
        kept = {one.key for one in before if one.sort == "cell" and one.fate == "there"} - gone
        later = {one.key for one in marks if one.place > last}
        bearing = frozenset(stamp.keys)
        # A row that bears the moment has been put back, or the moment is of something else.
        if not gone or len(kept & bearing) > (1 - _GONE_SHARE) * len(gone):
            continue
        lost = _lost(before, gone)
        alien = _keys(scene, _ALIEN, {"table": stamp.table}) & bearing - later
        if len(alien) > _ALIEN_SHARE * len(bearing):
            continue
        inside = _between(scene.schema.table(stamp.table), bearing)
        written = _written(scene, stamp.table, last)
        beside = {key for key in written & later if inside(key)}
        keys = bearing | beside | _whole_rows(before)
        yield RowsBack(stamp.table, keys, last, lost, stamp)


def side_by_side(scene: Scene, table: Table) -> Iterator[RowsBack]:
    """Rows of a range of keys; nothing shows when, so that both ends of the time are tried."""
    marks = [one for one in _marks(scene, table.name) if one.sort == "cell"]
    best: tuple[int, int, frozenset[str]] | None = None
    places = sorted({one.place for one in marks if one.fate == "gone"})
    for last in places[-_MOMENTS_MAX:]:
        before = [one for one in marks if one.place <= last]
        gone = frozenset(one.key for one in before if one.fate == "gone")
        inside = _between(table, gone)
        kept = {one.key for one in before if one.fate == "there" and inside(one.key)} - gone
        clear = len(gone) - len(kept)
        if len(kept) <= (1 - _GONE_SHARE) * len(gone) and (best is None or clear > best[0]):
            best = clear, last, gone
    if best is None:
        return
    _, last, gone = best
    lost = _lost([one for one in marks if one.place <= last], gone)
    if min(len(gone), len(lost)) < _ROWS_MIN:
        return
    inside = _between(table, gone)
    written = frozenset(key for key in _written(scene, table.name, last) if inside(key))
    yield RowsBack(table.name, written, last, lost)
    after = [one.place for one in marks if one.place > last and inside(one.key)]
    latest = min(after, default=len(scene.history) + 1) - 1
    if latest > last:
        yield RowsBack(table.name, written, latest, lost)


def _marks(scene: Scene, table: str) -> Sequence[_Mark]:
    return [_Mark(*row) for row in scene.facts.execute(_MARKS, {"table": table}).fetchall()]


def _written(scene: Scene, table: str, last: int) -> frozenset[str]:
    acts = [act.id for act in scene.history[:last]]
    return _keys(scene, _WRITTEN, {"acts": acts, "run": scene.base.run, "table": table})


def _keys(scene: Scene, query: str, names: Mapping[str, object]) -> frozenset[str]:
    return frozenset(str(key) for (key,) in scene.facts.execute(query, names).fetchall())


def _lost(marks: Iterable[_Mark], keys: Iterable[str]) -> tuple[int, ...]:
    rows = set(keys)
    return tuple(sorted({one.place for one in marks if one.fate == "gone" and one.key in rows}))


def _whole_rows(marks: Sequence[_Mark]) -> frozenset[str]:
    """Rows that went or came with the rows that were put back, if hardly one did not."""
    found: set[str] = set()
    for sort in ("came", "went"):
        some = [one for one in marks if one.sort == sort]
        gone = {one.key for one in some if one.fate == "gone"}
        if len(gone) >= _GONE_SHARE * len(some):
            found |= gone
    return frozenset(found)


def _between(table: Table, keys: Iterable[str]) -> Callable[[str], bool]:
    """Whether a key lies between the least and the greatest of these; keys of several columns lie
    nowhere but where they are."""
    some = frozenset(keys)
    if len(table.key.columns) != 1 or not some:
        return some.__contains__
    column = table.key.columns[0]
    texts = {key: str(json.loads(key)[column]) for key in some}
    if all(text.lstrip("-").isdigit() for text in texts.values()):
        low, high = min(map(int, texts.values())), max(map(int, texts.values()))
        return lambda key: low <= int(json.loads(key)[column]) <= high
    first, last = min(texts.values()), max(texts.values())
    return lambda key: first <= str(json.loads(key)[column]) <= last
