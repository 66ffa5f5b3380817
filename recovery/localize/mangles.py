"""What spreadsheets, imports and forms make of values: known functions, each with a sign in the
data by which it is suspected at all.

`sign` is DuckDB's SQL over the cells (predicted, current): cheap and rather too generous. What a
function really does is said once, in the server's SQL, and it is the server that applies it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, LiteralString

from psycopg import sql

from diffing.model import Column

# evident  no work on purpose looks like it
# batch    nor does it when all of a described batch of rows went that way
# work     somebody may have wanted it: people have to say so, or the rest of the rows
Evidence = Literal["evident", "batch", "work"]
# always   different values stay different
# width    they do as long as all have the same number of digits
# data     they do when those that are there do: few words, each replaced by its own
# never    something is lost
Tells = Literal["always", "width", "data", "never"]
Kind = Literal["text", "number", "time"]


@dataclass(frozen=True, slots=True)
class Mangle:
    """A known function. `possible` says whether a current value can be its outcome."""

    how: str
    kind: Kind
    sign: str
    make: Callable[[sql.Composable], sql.Composable]
    evidence: Evidence
    tells: Tells
    possible: Callable[[str | None], bool] = lambda _: True


def kind_of(column: Column) -> Kind | None:
    if column.type == "text" or column.type.startswith("character varying"):
        return "text"
    if column.family in ("numeric", "float") or column.type in ("integer", "bigint"):
        return "number"
    if column.type in ("date", "timestamp without time zone"):
        return "time"
    return None


def _sql(text: LiteralString) -> Callable[[sql.Composable], sql.Composable]:
    """`text` with the value in the place of every {x}."""
    return lambda value: sql.SQL(text).format(x=value)


def _unlike(pattern: str) -> Callable[[str | None], bool]:
    """What looks like this cannot have come out of it."""
    return lambda current: current is not None and not re.search(pattern, current)


def _like(pattern: str) -> Callable[[str | None], bool]:
    return lambda current: current is not None and re.search(pattern, current) is not None


_SCIENCE = "regexp_matches(current, '^[0-9]([.,][0-9]+)?E[+][0-9]+$')"


def _science(how: str, point: LiteralString, digits: LiteralString) -> Mangle:
    return Mangle(
        how,
        "text",
        f"regexp_matches(predicted, '^[0-9]{{12,}}$') AND {_SCIENCE}",
        _sql(
            "CASE WHEN {x} ~ '^[0-9]{{12,255}}$' AND pg_catalog.ltrim({x}, '0') ~ '^[0-9]{{12,}}$'"
            " THEN pg_catalog.replace((" + digits + "(pg_catalog.round({x}::numeric"
            " / pg_catalog.power(10::numeric, pg_catalog.length(pg_catalog.ltrim({x}, '0')) - 1),"
            " " + ("2" if digits == "" else "5") + ")))::text, '.', '" + point + "')"
            " || 'E+' || (pg_catalog.length(pg_catalog.ltrim({x}, '0')) - 1)::text ELSE {x} END"
        ),
        "evident",
        "never",
        _like("E[+]"),
    )


_NUMBERS_AS_TEXT = (
    _science("scientific-notation", ".", "pg_catalog.trim_scale"),
    _science("scientific-notation (,)", ",", "pg_catalog.trim_scale"),
    _science("scientific-notation (2)", ".", ""),
    _science("scientific-notation (2,)", ",", ""),
    Mangle(
        "fifteen-digits",
        "text",
        "regexp_matches(predicted, '^[1-9][0-9]{15,}$') AND predicted <> current"
        " AND current = rpad(left(predicted, 15), length(predicted)::INTEGER, '0')",
        _sql(
            "CASE WHEN {x} ~ '^[1-9][0-9]{{15,}}$' THEN pg_catalog.rpad(pg_catalog.left({x}, 15),"
            " pg_catalog.length({x}), '0') ELSE {x} END"
        ),
        "evident",
        "never",
        _like("^[0-9]{15}0+$"),
    ),
    Mangle(
        "leading-zeros-lost",
        "text",
        "regexp_matches(predicted, '^0+[0-9]+$') AND current IN (ltrim(predicted, '0'), '0')",
        _sql(
            "CASE WHEN {x} ~ '^0+[0-9]{{1,15}}$' THEN coalesce(nullif("
            "pg_catalog.ltrim({x}, '0'), ''), '0') ELSE {x} END"
        ),
        "batch",
        "width",
        _unlike("^0[0-9]"),
    ),
    Mangle(
        "decimal-comma",
        "text",
        "regexp_matches(predicted, '^-?[0-9]+[.][0-9]+$')"
        " AND current = replace(predicted, '.', ',')",
        _sql(
            "CASE WHEN {x} ~ '^-?[0-9]+[.][0-9]+$' THEN pg_catalog.replace({x}, '.', ',')"
            " ELSE {x} END"
        ),
        "work",
        "always",
        _unlike("^-?[0-9]+[.][0-9]+$"),
    ),
    Mangle(
        "decimal-point",
        "text",
        "regexp_matches(predicted, '^-?[0-9]+,[0-9]+$') AND current = replace(predicted, ',', '.')",
        _sql(
            "CASE WHEN {x} ~ '^-?[0-9]+,[0-9]+$' THEN pg_catalog.replace({x}, ',', '.')"
            " ELSE {x} END"
        ),
        "work",
        "always",
        _unlike("^-?[0-9]+,[0-9]+$"),
    ),
    Mangle(
        "decimal-point-lost",
        "text",
        "regexp_matches(predicted, '^-?[0-9]+[.,][0-9]+$')"
        " AND current = regexp_replace(predicted, '[.,]', '')",
        _sql(
            "CASE WHEN {x} ~ '^-?[0-9]+[.,][0-9]+$'"
            " THEN pg_catalog.regexp_replace({x}, '[.,]', '') ELSE {x} END"
        ),
        "batch",
        "never",
        _unlike("[.,]"),
    ),
    Mangle(
        "digits-grouped",
        "text",
        "regexp_matches(predicted, '^[0-9]{4,}([.,][0-9]{1,2})?$')"
        " AND regexp_matches(current, '^[0-9]{1,3}( [0-9]{3})+([.,][0-9]{1,2})?$')",
        _sql(
            "CASE WHEN {x} ~ '^[0-9]{{4,}}([.,][0-9]{{1,2}})?$' THEN pg_catalog.regexp_replace("
            "{x}, '([0-9])(?=([0-9]{{3}})+([.,][0-9]{{1,2}})?$)', '\\1 ', 'g') ELSE {x} END"
        ),
        "work",
        "always",
    ),
    Mangle(
        "digits-ungrouped",
        "text",
        "regexp_matches(predicted, '^[0-9]{1,3}( [0-9]{3})+([.,][0-9]{1,2})?$')"
        " AND current = replace(predicted, ' ', '')",
        _sql(
            "CASE WHEN {x} ~ '^[0-9]{{1,3}}( [0-9]{{3}})+([.,][0-9]{{1,2}})?$'"
            " THEN pg_catalog.replace({x}, ' ', '') ELSE {x} END"
        ),
        "work",
        "always",
    ),
)


def _words(how: str, yes: LiteralString, no: LiteralString, evidence: Evidence) -> Mangle:
    return Mangle(
        how,
        "text",
        "lower(predicted) IN ('true', 'false') AND predicted <> current"
        " AND current IN ('" + yes + "', '" + no + "')",
        _sql(
            "CASE pg_catalog.lower({x}) WHEN 'true' THEN '" + yes + "' WHEN 'false' THEN '"
            "" + no + "' ELSE {x} END"
        ),
        evidence,
        "data",
    )


_DOTTED = "'^([0-9]{{2}})([./-])([0-9]{{2}})([./-][0-9]{{4}}.*)$'"
_DATES = (
    _words("ИСТИНА", "ИСТИНА", "ЛОЖЬ", "evident"),
    _words("TRUE", "TRUE", "FALSE", "work"),
    Mangle(
        "day-month-swapped",
        "text",
        "current IN (regexp_replace(predicted, '^([0-9]{2})([./-])([0-9]{2})([./-][0-9]{4})',"
        " '\\3\\2\\1\\4'),"
        " regexp_replace(predicted, '^([0-9]{4})-([0-9]{2})-([0-9]{2})', '\\1-\\3-\\2'))",
        _sql(
            "CASE WHEN {x} ~ '^(0[1-9]|1[0-2])[./-](0[1-9]|1[0-2])[./-][0-9]{{4}}'"
            " THEN pg_catalog.regexp_replace({x},"
            " '^([0-9]{{2}})([./-])([0-9]{{2}})', '\\3\\2\\1')"
            " WHEN {x} ~ '^[0-9]{{4}}-(0[1-9]|1[0-2])-(0[1-9]|1[0-2])'"
            " THEN pg_catalog.regexp_replace({x},"
            " '^([0-9]{{4}})-([0-9]{{2}})-([0-9]{{2}})', '\\1-\\3-\\2') ELSE {x} END"
        ),
        "batch",
        "always",
    ),
    Mangle(
        "day-month-swapped",
        "time",
        "left(current, 4) = left(predicted, 4) AND substr(current, 6, 2) = substr(predicted, 9, 2)"
        " AND substr(current, 9, 2) = substr(predicted, 6, 2)",
        _sql(
            "CASE WHEN pg_catalog.isfinite({x}) AND pg_catalog.date_part('day', {x}) <= 12"
            " THEN pg_catalog.make_date(pg_catalog.date_part('year', {x})::integer,"
            " pg_catalog.date_part('day', {x})::integer,"
            " pg_catalog.date_part('month', {x})::integer)"
            " + ({x}::timestamp - pg_catalog.date_trunc('day', {x}::timestamp)) ELSE {x} END"
        ),
        "batch",
        "always",
    ),
    Mangle(
        "dates-as-numbers",
        "text",
        "regexp_matches(predicted, '^[0-9]{4}-[0-9]{2}-[0-9]{2}$')"
        " AND try_cast(current AS INTEGER) = date_diff('day', DATE '1899-12-30',"
        " try_cast(predicted AS DATE))",
        _sql(
            "CASE WHEN {x} ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$'"
            " AND pg_catalog.pg_input_is_valid({x}, 'date')"
            " THEN ({x}::date - '1899-12-30'::date)::text ELSE {x} END"
        ),
        "evident",
        "always",
        _unlike("-"),
    ),
)


def _replaced(how: str, pattern: LiteralString, instead: LiteralString) -> Mangle:
    return Mangle(
        how,
        "text",
        "regexp_matches(predicted, '[^\\x00-\\x7F]') AND (length(current) - length(replace(replace("
        "current, '?', ''), '\ufffd', '')) > length(predicted) - length(replace(replace("
        "predicted, '?', ''), '\ufffd', '')) OR length(current) < length(predicted))"
        " AND (NOT regexp_matches(current, '[^\\x00-\\x7F\ufffd]') OR contains(current, '?'))",
        _sql("pg_catalog.regexp_replace({x}, '" + pattern + "', '" + instead + "', 'g')"),
        "evident",
        "never",
        _like("[?\ufffd]") if instead else _unlike("[^\\x00-\\x7F]"),
    )


_ASCII: LiteralString = "[^\\u0001-\\u007F]"
_CHARACTERS = (
    _replaced("not ASCII → ?", _ASCII, "?"),
    _replaced("not ASCII → ??", _ASCII, "??"),
    _replaced("not ASCII → U+FFFD", _ASCII, "\ufffd"),
    _replaced("not ASCII → U+FFFD ×2", _ASCII, "\ufffd\ufffd"),
    _replaced("not ASCII dropped", _ASCII, ""),
    _replaced("not latin-1 → ?", "[^\\u0001-\\u00FF]", "?"),
    _replaced(
        "not windows-1251 → ?",
        "[^\\u0001-\\u007F\\u00A0\\u00A4\\u00A6\\u00A7\\u00A9\\u00AB-\\u00AE\\u00B0\\u00B1\\u00B5"
        "-\\u00B7\\u00BB\\u0401-\\u040C\\u040E-\\u044F\\u0451-\\u045C\\u045E\\u045F\\u0490\\u0491"
        "\\u2013\\u2014\\u2018-\\u201A\\u201C-\\u201E\\u2020-\\u2022\\u2026\\u2030\\u2039\\u203A"
        "\\u20AC\\u2116\\u2122]",
        "?",
    ),
)


def _simple(how: str, sign: str, text: LiteralString) -> Mangle:
    return Mangle(how, "text", sign, _sql(text), "work", "never")


_FORMS = (
    _simple("trimmed", "current = trim(predicted, ' \t')", "pg_catalog.btrim({x}, E' \\t')"),
    _simple("trimmed right", "current = rtrim(predicted)", "pg_catalog.rtrim({x})"),
    _simple(
        "spaces joined",
        "current = trim(regexp_replace(predicted, ' +', ' ', 'g'))",
        "pg_catalog.btrim(pg_catalog.regexp_replace({x}, ' +', ' ', 'g'))",
    ),
    _simple("upper case", "current = upper(predicted)", "pg_catalog.upper({x})"),
    _simple("lower case", "current = lower(predicted)", "pg_catalog.lower({x})"),
    _simple(
        "capitals first",
        "lower(current) = lower(predicted) AND regexp_matches(current, '^[[:upper:]]')",
        "pg_catalog.initcap({x})",
    ),
    _simple("nothing → ''", "predicted IS NULL AND current = ''", "coalesce({x}, '')"),
    _simple("'' → nothing", "predicted = '' AND current IS NULL", "nullif({x}, '')"),
)


def _digits(digits: int) -> Mangle:
    """Rounded to so many digits after the point."""
    reach = 0.5 * 10.0**-digits
    return Mangle(
        f"rounded to {digits}" if digits >= 0 else f"rounded to 1e{-digits}",
        "number",
        f"abs(try_cast(predicted AS DOUBLE) - try_cast(current AS DOUBLE)) <= {reach * 1.001!r}"
        f" AND round(try_cast(current AS DOUBLE), {digits}) = try_cast(current AS DOUBLE)",
        lambda value: sql.SQL("pg_catalog.round({}::numeric, {})").format(
            value, sql.Literal(digits)
        ),
        "work",
        "never",
    )


_NUMBERS = (
    *(_digits(digits) for digits in (4, 3, 2, 1, 0, -1, -2, -3)),
    Mangle(
        "decimals cut off",
        "number",
        "trunc(try_cast(predicted AS DOUBLE)) = try_cast(current AS DOUBLE)",
        _sql("pg_catalog.trunc({x}::numeric)"),
        "work",
        "never",
    ),
    Mangle(
        "decimal-point-lost",
        "number",
        "contains(predicted, '.') AND try_cast(current AS DECIMAL(38, 10)) = try_cast("
        "replace(rtrim(predicted, '0'), '.', '') AS DECIMAL(38, 10))",
        _sql(
            "CASE WHEN pg_catalog.scale(pg_catalog.trim_scale({x}::numeric)) > 0"
            " THEN pg_catalog.replace(pg_catalog.trim_scale({x}::numeric)::text, '.', '')::numeric"
            " ELSE {x}::numeric END"
        ),
        "work",
        "never",
    ),
    Mangle(
        "fifteen-digits",
        "number",
        "regexp_matches(predicted, '^[1-9][0-9]{15,}$') AND predicted <> current"
        " AND current = rpad(left(predicted, 15), length(predicted)::INTEGER, '0')",
        _sql(
            "CASE WHEN {x}::text ~ '^[1-9][0-9]{{15,}}$' THEN pg_catalog.rpad(pg_catalog.left("
            "{x}::text, 15), pg_catalog.length({x}::text), '0')::numeric ELSE {x}::numeric END"
        ),
        "evident",
        "never",
    ),
    Mangle(
        "six-digits",
        "number",
        "regexp_matches(predicted, '^[1-9][0-9]{11,}$') AND predicted <> current"
        " AND regexp_matches(current, '^[0-9]{6}0{6,}$')",
        _sql(
            "CASE WHEN {x}::text ~ '^[1-9][0-9]{{11,}}$' THEN pg_catalog.round({x}::numeric,"
            " 6 - pg_catalog.length({x}::text)) ELSE {x}::numeric END"
        ),
        "evident",
        "never",
    ),
)

MANGLES: tuple[Mangle, ...] = (*_NUMBERS_AS_TEXT, *_DATES, *_CHARACTERS, *_FORMS, *_NUMBERS)


def cut(length: int, *, inside_words: bool) -> Mangle:
    """Texts cut to a length."""
    sure = inside_words and length >= 8
    return Mangle(
        f"cut to {length}",
        "text",
        f"starts_with(predicted, current) AND length(current) = {length}",
        lambda value: sql.SQL("pg_catalog.left({}, {})").format(value, sql.Literal(length)),
        "batch" if sure else "work",
        "never",
        lambda current: current is not None and len(current) <= length,
    )


def fitting(kind: Kind) -> Iterator[Mangle]:
    return (one for one in MANGLES if one.kind == kind)
