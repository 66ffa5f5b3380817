"""How text becomes SQL. Everything that reaches a script is a `Fragment`, and only a dialect makes
fragments out of data: a customer's value or name that was not quoted does not type-check.
"""

from collections.abc import Iterable
from typing import NewType, Protocol

from diffing.model import Column, Table

Fragment = NewType("Fragment", str)


def fill(template: str, **parts: Fragment) -> Fragment:
    """A template of this program with fragments in its `{places}`; fragments are not re-read."""
    return Fragment(template.format(**parts))


def join(separator: str, parts: Iterable[Fragment]) -> Fragment:
    return Fragment(separator.join(parts))


class Dialect(Protocol):
    """One server's way of writing values, names and comparisons."""

    def literal(self, value: str | None) -> Fragment:
        """A constant that reads back as exactly this text, whatever the client's settings."""
        ...

    def identifier(self, name: str) -> Fragment: ...

    def table(self, table: Table) -> Fragment:
        """The qualified, quoted name."""
        ...

    def rows_of(self, table: Table) -> Fragment:
        """The table where rows are read or written: children by inheritance are left out."""
        ...

    def text_of(self, value: Fragment) -> Fragment:
        """The value as its output function prints it; NULL stays NULL."""
        ...

    def same_text(self, left: Fragment, right: Fragment) -> Fragment:
        """Both texts are the same bytes, or both are NULL."""
        ...

    def cast(self, text: Fragment, column: Column) -> Fragment:
        """The text read by the input function of the column's type."""
        ...

    def same_key(self, value: Fragment, text: Fragment, column: Column) -> Fragment:
        """A key column's value is the one whose text is given; an index can be used."""
        ...

    def equal(self, left: Fragment, right: Fragment, column: Column) -> Fragment:
        """The type's own equality, as unique and foreign keys use it."""
        ...
