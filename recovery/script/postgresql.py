"""PostgreSQL's way of writing values, names and comparisons.

Works with an empty search_path: everything is schema-qualified, and so are the operators that an
extension's type brings along.
"""

import re
import unicodedata

from diffing.model import Column, Table
from recovery.script.dialect import Fragment, fill

# Types that have no `=` of their own, or one that compares areas and lengths instead of values.
_WITHOUT_EQUALITY = frozenset(
    {"json", "xml", "point", "polygon", "path", "box", "circle", "lseg", "line", "jsonpath"}
)
_NAMED_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f", "\\": "\\\\"}
# Controls, the backslash, and the blocks in which invisible characters live.
_SUSPICIOUS = re.compile(
    "[\x00-\x1f\\\\\x7f-\xad\u0600-\u08e2\u1680-\u180e\u2000-\u206f\ufe00-\U0010ffff]"
)
_INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp", "Co", "Cn"})


class PostgreSQL:
    """The dialect of PostgreSQL 10 and later."""

    def literal(self, value: str | None) -> Fragment:
        """Printed on one line: clients that end statements at blank lines, change line ends or
        read backslashes their own way cannot change it, and what is invisible is seen."""
        if value is None:
            return Fragment("NULL")
        if "\x00" in value:
            raise ValueError("a text value cannot hold the character U+0000")
        escaped = _SUSPICIOUS.sub(_escape, value.replace("'", "''"))
        return Fragment(("E'" if "\\" in escaped else "'") + escaped + "'")

    def identifier(self, name: str) -> Fragment:
        return Fragment('"' + name.replace('"', '""') + '"')

    def table(self, table: Table) -> Fragment:
        return fill(
            "{schema}.{relation}",
            schema=self.identifier(table.schema),
            relation=self.identifier(table.relation),
        )

    def rows_of(self, table: Table) -> Fragment:
        only = Fragment("" if table.partitioned else "ONLY ")
        return fill("{only}{table}", only=only, table=self.table(table))

    def text_of(self, value: Fragment) -> Fragment:
        # IS DISTINCT FROM NULL and not IS NOT NULL: that one is false for a row with a NULL in it.
        return fill("CASE WHEN {v} IS DISTINCT FROM NULL THEN pg_catalog.concat({v}) END", v=value)

    def same_text(self, left: Fragment, right: Fragment) -> Fragment:
        return fill(
            '({l}) COLLATE pg_catalog."C" IS NOT DISTINCT FROM ({r}) COLLATE pg_catalog."C"',
            l=left,
            r=right,
        )

    def cast(self, text: Fragment, column: Column) -> Fragment:
        # format_type() printed the type's name: quoted and qualified by the server itself.
        return fill("{t}::{type}", t=text, type=Fragment(column.type))

    def same_key(self, value: Fragment, text: Fragment, column: Column) -> Fragment:
        by_text = _texts_equal(self.text_of(value), text)
        if _only_text_tells(column):
            return by_text
        by_type = self.equal(value, self.cast(text, column), column)
        if column.family == "numeric":
            return by_type  # 7 and 7.00 are one key; its text has no trailing zeros
        return fill("{by_type} AND {by_text}", by_type=by_type, by_text=by_text)

    def equal(self, left: Fragment, right: Fragment, column: Column) -> Fragment:
        if _only_text_tells(column):
            return _texts_equal(self.text_of(left), self.text_of(right))
        return fill("{l} OPERATOR({s}.=) {r}", l=left, r=right, s=_operator_schema(column))


def _only_text_tells(column: Column) -> bool:
    """No equality that is known to be there: an extension's type has one in a schema of its own,
    or none. An enum's could be used, and is given up for that."""
    foreign = column.family == "text" and "." in column.type
    return foreign or column.family == "json" or column.type in _WITHOUT_EQUALITY


def _texts_equal(left: Fragment, right: Fragment) -> Fragment:
    # `=` and not IS NOT DISTINCT FROM: only it can be hashed when many rows are joined.
    return fill('({l}) COLLATE pg_catalog."C" = ({r}) COLLATE pg_catalog."C"', l=left, r=right)


def _operator_schema(column: Column) -> Fragment:
    """citext brings its operator in its own schema; ranges, arrays, composites and domains use the
    ones of the system."""
    if column.family == "citext" and "." in column.type:
        return Fragment(column.type.rpartition(".")[0])
    return Fragment("pg_catalog")


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    named = _NAMED_ESCAPES.get(character)
    if named is not None:
        return named
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    code = ord(character)
    if code < 0x80:
        return "\\" + format(code, "03o")
    return "\\u" + format(code, "04x") if code < 0x10000 else "\\U" + format(code, "08x")
