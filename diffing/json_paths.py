"""What changed inside a JSON value, as lines that a person reads:

$.address.city: 'A' → 'B'
$.tags[2]: added 'new'
"""

import json
import re
from decimal import Decimal
from typing import Protocol

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_Json = dict[str, "_Json"] | list["_Json"] | str | Decimal | bool | None


def changed_paths(backup: str, current: str) -> tuple[str, ...]:
    """One line per difference of two JSON texts, ordered by path; none when their values are
    equal. A text that is no JSON makes one line for the whole value."""
    from deepdiff import DeepDiff  # a fifth of a second, and most databases have no JSON

    try:
        ours, theirs = _read(backup), _read(current)
        found = DeepDiff(ours, theirs, view="tree", verbose_level=2, threshold_to_diff_deeper=0)
    except (ValueError, ArithmeticError, RecursionError):
        return () if backup == current else (f"$: {_shown(backup)} → {_shown(current)}",)
    return tuple(sorted(_line(kind, level) for kind, levels in found.items() for level in levels))


def _read(text: str) -> _Json:
    value: _Json = json.loads(text, parse_int=Decimal, parse_float=Decimal)
    return value


class _Level(Protocol):
    """One difference as deepdiff's tree view gives it."""

    t1: _Json
    t2: _Json

    def path(self, *, output_format: str) -> list[str | int]: ...


def _line(kind: str, level: _Level) -> str:
    path = _path(level.path(output_format="list"))
    before, after = level.t1, level.t2
    if kind.endswith("_added"):
        return f"{path}: added {_shown(after)}"
    if kind.endswith("_removed"):
        return f"{path}: removed {_shown(before)}"
    return f"{path}: {_shown(before)} → {_shown(after)}"


def _path(parts: list[str | int]) -> str:
    text = "$"
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN.fullmatch(part):
            text += f".{part}"
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


def _shown(value: _Json) -> str:
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_number)


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
