"""Is the SQL of a step something that the server's own grammar accepts, and if not, where not."""

import re

import postgast

from recovery.steps.nodes import FORBIDDEN, Fault, Scalar

_META = re.compile(r"^[ \t]*\\\S*", re.MULTILINE)


def check_sql(node: Scalar) -> Fault | None:
    """The first fault of the statements in `node`, with its line in the file."""
    if FORBIDDEN.search(node.text):
        return None  # said already, and nothing a parser could read
    try:
        statements = postgast.split(node.text, method="parser")
    except postgast.PgQueryError as error:
        return _fault(node, error)
    if not statements:
        return Fault(node.line, "'sql' holds no statement")
    return None


def _fault(node: Scalar, error: postgast.PgQueryError) -> Fault:
    meta = _META.search(node.text)
    if meta:
        word = meta.group().strip()
        message = f"'{word}' is a command of the psql client, not SQL"
        return Fault(_line(node, meta.end() - 1), message, "leave it out, keep the statements")
    position = max(error.cursorpos - 1, 0)
    return Fault(_line(node, position), f"this SQL cannot be parsed: {error.message}")


def _line(node: Scalar, position: int) -> int:
    """Lines inside a text are the file's own only in a literal block; else its first one."""
    if not node.literal:
        return node.first
    # The end of a text is not on the empty line behind it.
    text = node.text.rstrip("\n")
    return node.first + text.count("\n", 0, min(position, len(text)))
