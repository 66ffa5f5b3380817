"""When are two values of a column the same value? One table: family -> canonical text.

`canonical(form, text)` maps every printed form of a value to one text, and different values to
different texts. So: equal texts are equal values; different texts with one canonical text differ
in *representation* only; everything else is a change. The database's own `=` is not used: it
calls `1 mon` and `30 days` equal, or two boxes of the same area.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from diffing import literals
from diffing.model import Column, Family


@dataclass(frozen=True, slots=True)
class Form:
    """What equality needs to know about a type: its family and the forms it is made of."""

    family: Family
    element: "Form | None" = None
    fields: tuple["Form", ...] = ()

    @property
    def by_text(self) -> bool:
        """Exact text decides: there is no other printed form of the same value."""
        if self.family == "composite":
            return all(field.by_text for field in self.fields)
        if self.family in ("array", "range"):
            return self.element is None or self.element.by_text
        return self.family in ("text", "tsvector")


TEXT = Form("text")


def form_of(column: Column) -> Form:
    """The form of a column's type, from the families that the catalog wrote down."""
    if column.family == "composite":
        return _composite(column)
    if column.family in ("array", "range"):
        element = _composite(column) if column.element == "composite" else Form(column.element)
        return Form(column.family, element)
    return Form(column.family)


def canonical(form: Form, text: str) -> str:
    """The one text of this value. A text that cannot be read as its type stands for itself."""
    if form.by_text:
        return text
    try:
        return _CANONICAL[form.family](form, text)
    except (ValueError, RecursionError):
        return text


def same_value(form: Form, backup: str | None, current: str | None) -> bool:
    """Whether both sides hold one value, whatever it is printed like."""
    if backup is None or current is None:
        return backup is current
    return backup == current or canonical(form, backup) == canonical(form, current)


def key_text(form: Form, text: str) -> str:
    """How a key value is shown: as printed, numeric keys without trailing zeros."""
    return canonical(form, text) if form.family == "numeric" else text


def _composite(column: Column) -> Form:
    return Form("composite", fields=tuple(Form(family) for family in column.fields))


def _text(form: Form, text: str) -> str:
    return text


def _numeric(form: Form, text: str) -> str:
    if "." not in text:
        return text
    return text.rstrip("0").rstrip(".")


def _float(form: Form, text: str) -> str:
    # Adding zero takes the sign off -0 and leaves every other value alone; repr is the shortest
    # text that reads back to the same bits, for float4 values too.
    return repr(float(text) + 0.0)


_INSTANT = re.compile(
    r"(\d{4,})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?"
    r"(?:([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?)( BC)?"
)


def _timestamptz(form: Form, text: str) -> str:
    if text in ("infinity", "-infinity"):
        return text
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise literals.NotThatText(text)
    year, month, day, hour, minute, second = (int(found.group(n)) for n in range(1, 7))
    if found.group(12):
        year = 1 - year
    fraction = int((found.group(7) or "").ljust(6, "0"))
    offset = sum(int(found.group(n) or 0) * scale for n, scale in ((9, 3600), (10, 60), (11, 1)))
    if found.group(8) == "-":
        offset = -offset
    seconds = _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset
    return str(seconds * 1_000_000 + fraction)


def _days(year: int, month: int, day: int) -> int:
    """Days since 0000-03-01 of the proleptic Gregorian calendar, for any year."""
    year, month = (year - 1, month + 9) if month < 3 else (year, month - 3)
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 1


_INTERVAL_PART = re.compile(r"([+-]?\d+) (year|mon|day)s?")
_INTERVAL_TIME = re.compile(r"([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?")


def _interval(form: Form, text: str) -> str:
    if text in ("infinity", "-infinity"):
        return text
    months = days = micros = 0
    for part in _INTERVAL_PART.finditer(text):
        amount = int(part.group(1))
        months += {"year": 12, "mon": 1, "day": 0}[part.group(2)] * amount
        days += amount if part.group(2) == "day" else 0
    rest = _INTERVAL_PART.sub("", text).strip()
    if rest:
        time = _INTERVAL_TIME.fullmatch(rest)
        if time is None:
            raise literals.NotThatText(text)
        hours, minutes, seconds = (int(time.group(n)) for n in (2, 3, 4))
        micros = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000
        micros += int((time.group(5) or "").ljust(6, "0"))
        micros = -micros if time.group(1) == "-" else micros
    return f"{months} {days} {micros}"


@dataclass(frozen=True, slots=True)
class _Number:
    text: str


_Json = (
    Mapping[str, "_Json"] | list["_Json"] | str | _Number | bool | None  # what the reader gives
)


def _json(form: Form, text: str) -> str:
    # Of duplicate keys the last one counts, as in jsonb: the rest is representation.
    value: _Json = json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_refuse)
    return _json_text(value)


def _number(text: str) -> _Number:
    """A JSON number by value, of any length: 1, 1.0 and 10e-1 give one text."""
    sign = "-" if text.startswith("-") else ""
    mantissa, _, exponent = text.lstrip("-").lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    power = int(exponent or "0") - len(fraction)
    bare = digits.rstrip("0")
    if not bare:
        return _Number("0")
    return _Number(f"{sign}{bare}e{power + len(digits) - len(bare)}")


def _refuse(name: str) -> _Number:
    raise literals.NotThatText(name)


def _json_text(value: _Json) -> str:
    match value:
        case _Number(text):
            return text
        case list():
            return "[" + ",".join(_json_text(item) for item in value) + "]"
        case Mapping():
            pairs = (json.dumps(name) + ":" + _json_text(value[name]) for name in sorted(value))
            return "{" + ",".join(pairs) + "}"
        case _:
            return json.dumps(value)


def _char(form: Form, text: str) -> str:
    return text.rstrip(" ")


def _citext(form: Form, text: str) -> str:
    return text.lower()


def _array(form: Form, text: str) -> str:
    bounds, items = literals.array(text)
    return bounds + _nested(form.element or TEXT, items)


def _nested(element: Form, item: literals.Nested) -> str:
    if item is None:
        return "null"
    if isinstance(item, str):
        return json.dumps(canonical(element, item))
    return "[" + ",".join(_nested(element, one) for one in item) + "]"


def _record(form: Form, text: str) -> str:
    fields = literals.composite(text)
    if len(fields) != len(form.fields):
        raise literals.NotThatText(text)
    return json.dumps(
        [
            None if field is None else canonical(kind, field)
            for kind, field in zip(form.fields, fields, strict=True)
        ]
    )


def _range(form: Form, text: str) -> str:
    element = form.element or TEXT
    if text.startswith("{"):
        return "{" + ",".join(_span(element, one) for one in literals.spans(text)) + "}"
    return _span(element, literals.span(text))


def _span(element: Form, one: literals.Range) -> str:
    if one.empty:
        return "empty"
    bounds = [
        None if bound is None else canonical(element, bound) for bound in (one.lower, one.upper)
    ]
    return one.brackets[0] + json.dumps(bounds) + one.brackets[1]


_CANONICAL: Mapping[Family, Callable[[Form, str], str]] = {
    "text": _text,
    "numeric": _numeric,
    "float": _float,
    "timestamptz": _timestamptz,
    "interval": _interval,
    "json": _json,
    "char": _char,
    "citext": _citext,
    "array": _array,
    "composite": _record,
    "range": _range,
    "tsvector": _text,
}
