"""Take PostgreSQL's printed arrays, composites, ranges and multiranges apart.

Every function raises `NotThatText` when the text is not what the type's output function prints;
callers then fall back to exact text, which can only make two values look more different.
"""

from dataclasses import dataclass


class NotThatText(ValueError):
    """The text is not a printed value of the type it was said to be."""


Nested = str | None | tuple["Nested", ...]


@dataclass(frozen=True, slots=True)
class Range:
    """`empty` has no bounds; a bound None is open to infinity."""

    empty: bool
    lower: str | None = None
    upper: str | None = None
    brackets: str = ""


def array(text: str) -> tuple[str, Nested]:
    """The dimension prefix (`[0:1]=`, usually '') and the elements, nested as printed."""
    bounds, equals, body = text.partition("=") if text.startswith("[") else ("", "", text)
    nested, end = _array_level(body, 0)
    if end != len(body):
        raise NotThatText(text)
    return bounds + equals, nested


def composite(text: str) -> tuple[str | None, ...]:
    """The fields of `(a,"b c",)`; an empty unquoted field is NULL."""
    if not (text.startswith("(") and text.endswith(")") and len(text) >= 2):
        raise NotThatText(text)
    fields: list[str | None] = []
    at = 1
    while True:
        field, at = _token(text, at, ",)")
        fields.append(field.text if field.text or field.quoted else None)
        if text[at] == ")":
            break
        at += 1
    if at != len(text) - 1:
        raise NotThatText(text)
    return tuple(fields)


def span(text: str) -> Range:
    """One range: `[1,5)`, `(,"b c"]`, `empty`."""
    found, end = _span_at(text, 0)
    if end != len(text):
        raise NotThatText(text)
    return found


def spans(text: str) -> tuple[Range, ...]:
    """A multirange: `{[1,2),[5,9)}`."""
    if not (text.startswith("{") and text.endswith("}") and len(text) >= 2):
        raise NotThatText(text)
    found: list[Range] = []
    at = 1
    while at < len(text) - 1:
        if found:
            if text[at] != ",":
                raise NotThatText(text)
            at += 1
        one, at = _span_at(text, at)
        found.append(one)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    quoted: bool


def _array_level(text: str, at: int) -> tuple[Nested, int]:
    if text[at : at + 1] != "{":
        raise NotThatText(text)
    at += 1
    items: list[Nested] = []
    if text[at : at + 1] == "}":
        return (), at + 1
    while True:
        if text[at : at + 1] == "{":
            item, at = _array_level(text, at)
            items.append(item)
        else:
            token, at = _token(text, at, ",}")
            is_null = not token.quoted and token.text.upper() == "NULL"
            items.append(None if is_null else token.text)
        if text[at : at + 1] == "}":
            return tuple(items), at + 1
        if text[at : at + 1] != ",":
            raise NotThatText(text)
        at += 1


def _span_at(text: str, at: int) -> tuple[Range, int]:
    if text.startswith("empty", at):
        return Range(empty=True), at + 5
    opening = text[at : at + 1]
    if opening not in ("[", "("):
        raise NotThatText(text)
    lower, at = _token(text, at + 1, ",")
    upper, at = _token(text, at + 1, ")]")
    low = lower.text if lower.text or lower.quoted else None
    high = upper.text if upper.text or upper.quoted else None
    return Range(False, low, high, opening + text[at]), at + 1


def _token(text: str, at: int, ends: str) -> tuple[_Token, int]:
    """Read up to an unquoted character of `ends`. Inside quotes a backslash takes the next
    character as it is and a doubled quote is a quote."""
    out: list[str] = []
    quoted = inside = False
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text):
            out.append(text[at + 1])
            quoted = True
            at += 2
        elif char == '"' and inside and text[at + 1 : at + 2] == '"':
            out.append('"')
            at += 2
        elif char == '"':
            inside = not inside
            quoted = True
            at += 1
        elif char in ends and not inside:
            return _Token("".join(out), quoted), at
        else:
            out.append(char)
            at += 1
    raise NotThatText(text)
