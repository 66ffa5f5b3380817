"""The SQL inside a PL/pgSQL body, as the server's own parser finds it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import postgast
from postgast.errors import check_error
from postgast.native import lib

_PROMISES = re.compile(r"(?:\{\}\},)+")  # what the parser prints for TG_OP and its kin
_TARGET = re.compile(r"[^=]*?:?=")
_QUERY = 0
_EXPRESSION = 2


@dataclass(frozen=True, slots=True)
class Body:
    """Statements and expressions, these as a SELECT. `firsts`: those that are asked for their
    first row only. `catches`: it has an exception handler, so what it did may have been taken
    back. `loops`: rows are worked on one by one, in the order in which they lie."""

    queries: tuple[str, ...]
    firsts: tuple[str, ...]
    catches: bool
    loops: bool


def texts(definition: str) -> Body | None:
    """Of a CREATE FUNCTION; None when the body builds SQL at run time or is not understood."""
    found = lib.pg_query_parse_plpgsql(definition.encode())
    try:
        check_error(found)
        raw: str = found.plpgsql_funcs.decode()
    except postgast.PgQueryError:
        return None
    finally:
        lib.pg_query_free_plpgsql_parse_result(found)
    try:
        tree: object = json.loads(_PROMISES.sub("", raw, count=1) if "{}}," in raw else raw)
    except json.JSONDecodeError:
        return None
    names = set(_names(tree))
    if names & {"PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors", "PLpgSQL_stmt_open"}:
        return None
    if names & {"PLpgSQL_stmt_commit", "PLpgSQL_stmt_rollback", "PLpgSQL_stmt_fetch"}:
        return None
    queries = tuple(_queries(tree))
    if any(one is None for one in queries):
        return None
    return Body(
        tuple(one for one in queries if one is not None),
        tuple(_firsts(tree)),
        "PLpgSQL_exception" in names or "exceptions" in names,
        bool(names & {"PLpgSQL_stmt_fors", "PLpgSQL_stmt_foreach_a"}),
    )


def returned(definition: str) -> frozenset[str]:
    """What the function of a trigger may return: 'new' and 'old' for the rows, '' for what may be
    no row."""
    made = postgast.parse(definition).stmts[0].stmt.create_function_stmt
    for option in made.options:
        if option.def_elem.defname == "as":
            return _returned(str(option.def_elem.arg.list.items[0].string.sval))
    return frozenset({""})


def _returned(body: str) -> frozenset[str]:
    raw = body.encode()
    try:
        words = [raw[one.start : one.end].decode().lower() for one in postgast.scan(body).tokens]
    except postgast.PgQueryError:
        return frozenset({""})
    found: set[str] = set()
    for word, after, end in zip(words, [*words[1:], ""], [*words[2:], "", ""], strict=True):
        if word == "return":
            found.add(after if after in ("new", "old") and end == ";" else "")
        # The whole row may be given another value, maybe none: NEW := x, INTO NEW.
        if word in ("new", "old") and after in (":=", "="):
            found.add("")
        if word == "into" and after in ("new", "old") and end != ".":
            found.add("")
    return frozenset(found)


def _names(tree: object) -> Iterator[str]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield name
            yield from _names(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _names(value)


def _queries(tree: object) -> Iterator[str | None]:
    if isinstance(tree, list):
        for value in tree:
            yield from _queries(value)
    if not isinstance(tree, dict):
        return
    for name, value in tree.items():
        if name == "PLpgSQL_expr" and isinstance(value, dict):
            yield _query(str(value.get("query", "")), int(value.get("parseMode", 0)))
        else:
            yield from _queries(value)


def _firsts(tree: object) -> Iterator[str]:
    if isinstance(tree, list):
        for value in tree:
            yield from _firsts(value)
    if isinstance(tree, dict):
        if tree.get("into") is True and isinstance(tree.get("sqlstmt"), dict):
            yield from (one for one in _queries(tree["sqlstmt"]) if one is not None)
        for value in tree.values():
            yield from _firsts(value)


def _query(text: str, mode: int) -> str | None:
    if mode == _QUERY:
        return text
    if mode == _EXPRESSION:
        return f"SELECT {text}"
    target = _TARGET.match(text)
    return None if target is None else f"SELECT {text[target.end() :]}"
