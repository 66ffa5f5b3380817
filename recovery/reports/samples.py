"""A few damaged rows per table, the same ones every time: before, now, and as it should be.

Every grade of a table gets its turn, so that a sample never hides the bad news; what is shown is
capped, what is counted is not.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import duckdb

from diffing.json_paths import changed_paths
from recovery.case.result import Json
from recovery.model import Grade

ROWS_SHOWN = 10
CELLS_SHOWN = 8  # per row
CHARACTERS_SHOWN = 160  # per value
CHARACTERS_READ = 20_000  # longer values are cut before they leave the case database
PATHS_SHOWN = 8  # per JSON value; with more the values themselves are shown

# A line of `changed_paths`: `$.address["a b"][2]: added 'new'`
_LINE = re.compile(
    r'(?P<path>\$(?:\.\w+|\[\d+\]|\["(?:[^"\\]|\\.)*"\])*)'
    r": (?:(?P<kind>added|removed) )?(?P<text>.*)",
    re.DOTALL,
)

_ROWS = """
    SELECT key FROM (
        SELECT key, worst, row_number() OVER (PARTITION BY worst ORDER BY length(key), key) AS turn
        FROM (SELECT key, max(list_position($grades, grade)) AS worst
              FROM damage WHERE "table" = $table GROUP BY key))
    ORDER BY turn, worst, length(key), key LIMIT $rows"""

_CELLS = """
    SELECT key, "column", label, grade, fault, step,
        left(backup, $cut), length(backup), left(current, $cut), length(current),
        left(target, $cut), length(target)
    FROM damage WHERE "table" = $table AND list_contains($keys, key)
    ORDER BY length(key), key, "column", fault"""


@dataclass(frozen=True, slots=True)
class _Text:
    """A value as read: its text, cut or whole, and how long it really is."""

    text: str | None
    length: int


def samples(facts: duckdb.DuckDBPyConnection, table: str, *, rows: int) -> Mapping[str, Json]:
    """At most ten damaged rows of `table`, of the `rows` there are."""
    wanted = {"grades": [str(grade) for grade in Grade], "table": table, "rows": ROWS_SHOWN}
    keys = [key for (key,) in facts.execute(_ROWS, wanted).fetchall()]
    found = facts.execute(_CELLS, {"table": table, "keys": keys, "cut": CHARACTERS_READ}).fetchall()
    shown: list[Json] = []
    for key, cells in groupby(found, key=lambda cell: str(cell[0])):
        every = list(cells)
        shown.append(
            {
                "key": _key(key),
                "cells": [_cell(cell) for cell in every[:CELLS_SHOWN]],
                "cells_of": len(every),
            }
        )
    return {"shown": len(shown), "of": rows, "rows": shown}


def _key(key: str) -> Json:
    """Key columns with their values; empty for a row without a key, which has no name."""
    columns = _row(key)
    if columns is None:
        return [{"column": "", **_shown(key)}]
    return [
        {"column": name, **_shown(value)}
        for name, value in columns.items()
        if name not in {"#row", "#n"}
    ]


def _cell(cell: Sequence[object]) -> Mapping[str, Json]:
    _, column, label, grade, fault, step, *values = cell
    backup, current, target = (
        _Text(None if text is None else str(text), int(str(length or 0)))
        for text, length in zip(values[::2], values[1::2], strict=True)
    )
    whole = column == ""
    unknown = target.text is None and Grade(str(grade)) in {Grade.UNDECIDED, Grade.LOST}
    return {
        "column": str(column),
        "label": str(label),
        "grade": str(grade),
        "fault": str(fault),
        "step": str(step),
        "backup": _value(backup, whole=whole),
        "current": _value(current, whole=whole),
        "target": {"kind": "unknown"} if unknown else _value(target, whole=whole),
        "changes": [] if whole or unknown else _changes(current, target),
    }


def _value(value: _Text, *, whole: bool) -> Mapping[str, Json]:
    """What a person is shown: NULL, the empty text and no row at all are three things."""
    if value.text is None:
        return {"kind": "no-row" if whole else "null"}
    if value.text == "":
        return {"kind": "empty"}
    columns = _row(value.text) if whole else None
    if columns is not None:
        return {
            "kind": "row",
            "columns": [
                {"column": name, **_shown(text)}
                for name, text in list(columns.items())[:CELLS_SHOWN]
            ],
            "columns_of": len(columns),
        }
    return {
        "kind": "text",
        "text": value.text[:CHARACTERS_SHOWN],
        "characters": value.length,
        "cut": value.length > CHARACTERS_SHOWN,
    }


def _shown(text: str | None) -> Mapping[str, Json]:
    return _value(_Text(text, len(text or "")), whole=False)


def _row(text: str) -> Mapping[str, str | None] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    return {str(name): None if value is None else str(value) for name, value in found.items()}


def _changes(current: _Text, target: _Text) -> Sequence[Json]:
    """Where a JSON value has to change, path by path; nothing for values that are no JSON objects
    or lists, or too long to have been read whole."""
    texts = (current.text or "", target.text or "")
    if not all(_is_json(text) for text in texts):
        return []
    lines = changed_paths(*texts)
    matches = [found for line in lines if (found := _LINE.fullmatch(line))]
    if len(matches) != len(lines) or len(lines) > PATHS_SHOWN:
        return []
    return [
        {
            "path": found["path"],
            "kind": found["kind"] or "changed",
            "text": found["text"][:CHARACTERS_SHOWN],
            "characters": len(found["text"]),
            "cut": len(found["text"]) > CHARACTERS_SHOWN,
        }
        for found in matches
    ]


def _is_json(text: str) -> bool:
    if text[:1] not in {"{", "["}:
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
