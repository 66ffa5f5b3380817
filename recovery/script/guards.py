"""The three states of a staged row in a database: as seen, at its target, or something else.

`before` and `after` of the staged relation hold the answer: `ready` (as seen), `done` (at its
target), `gone`, `taken`, `moved`, or `dependent` (ready, but on a row that is skipped).
"""

from typing import Literal

from diffing.model import Column
from recovery.script.dialect import Dialect, Fragment, fill, join
from recovery.script.recognise import match_key
from recovery.script.staged import Write
from recovery.script.staging import numbered

TGT, ST = Fragment("tgt"), Fragment("st")
Moment = Literal["before", "after"]


def staged(write: Write) -> Fragment:
    return fill("pg_temp.{r}", r=Fragment(write.relation))


def classify(write: Write, dialect: Dialect, moment: Moment) -> Fragment:
    """Statements that set `before` or `after` of every staged row of the write."""
    if not write.keyed:
        return _classify_copies(write, dialect, moment)
    absent = {"set-cells": "gone", "insert-rows": "ready", "delete-rows": "done"}[write.op]
    return fill(
        "UPDATE {st} SET {moment} = {absent};\n"
        "UPDATE {st} AS st SET {moment} = {state}\n  FROM {rows} AS tgt\n WHERE {match};\n",
        st=staged(write),
        moment=Fragment(moment),
        absent=dialect.literal(absent),
        state=_state(write, dialect),
        rows=dialect.rows_of(write.table),
        match=found(write, dialect),
    )


def found(write: Write, dialect: Dialect) -> Fragment:
    """`tgt` is the row that `st` is about. A new row's key is taken by whatever the type's own
    equality finds, as its unique constraint would."""
    if write.op != "insert-rows":
        return match_key(write.table, dialect, TGT, ST)
    names = numbered("k", len(write.table.key_columns))
    return join(
        " AND ",
        (
            dialect.equal(
                fill("tgt.{c}", c=dialect.identifier(column.name)),
                dialect.cast(fill("st.{k}", k=name), column),
                column,
            )
            for column, name in zip(write.table.key_columns, names, strict=True)
        ),
    )


def holds(write: Write, dialect: Dialect, letter: Literal["s", "t"]) -> Fragment:
    """Every guarded cell of `tgt` has the text that `st` names: s as seen, t the target."""
    return _holds(write, dialect, letter, ())


def holds_parked(write: Write, dialect: Dialect) -> Fragment:
    """As `holds` for what was seen, where the parked columns were parked since."""
    return _holds(write, dialect, "s", write.parked)


def _holds(
    write: Write, dialect: Dialect, letter: Literal["s", "t"], away: tuple[str, ...]
) -> Fragment:
    flags = numbered("w", len(write.columns))
    return join(
        "\n   AND ",
        (
            fill(
                "({unwritten}{same})",
                unwritten=fill("NOT st.{w} OR ", w=flag) if write.masked else Fragment(""),
                same=dialect.same_text(
                    dialect.text_of(fill("tgt.{c}", c=dialect.identifier(column.name))),
                    dialect.text_of(parked(column, dialect))
                    if column.name in away
                    else fill("st.{t}", t=name),
                ),
            )
            for column, name, flag in zip(
                write.columns, numbered(letter, len(write.columns)), flags, strict=True
            )
        ),
    )


def parked(column: Column, dialect: Dialect) -> Fragment:
    """A value that no row has and that stands in while unique values change places."""
    if not column.not_null:
        return Fragment("NULL")
    if column.type in ("smallint", "integer", "bigint", "numeric"):
        return dialect.cast(Fragment("(-1000000000 - st.n)"), column)
    return dialect.cast(Fragment("pg_catalog.concat('dbmend ', st.n)"), column)


def _state(write: Write, dialect: Dialect) -> Fragment:
    match write.op:
        case "set-cells":
            return fill(
                "CASE WHEN {seen} THEN 'ready' WHEN {target} THEN 'done' ELSE 'moved' END",
                seen=holds(write, dialect, "s"),
                target=holds(write, dialect, "t"),
            )
        case "insert-rows":
            return fill(
                "CASE WHEN {target} THEN 'done' ELSE 'taken' END",
                target=holds(write, dialect, "t"),
            )
        case "delete-rows":
            return fill(
                "CASE WHEN {seen} THEN 'ready' ELSE 'moved' END", seen=holds(write, dialect, "s")
            )


def _classify_copies(write: Write, dialect: Dialect, moment: Moment) -> Fragment:
    """Rows without key: copy number k1 of a row is there when at least that many copies are."""
    adds = write.op == "insert-rows"
    return fill(
        "UPDATE {st} AS st SET {moment} = CASE WHEN (SELECT pg_catalog.count(*) FROM {rows} AS tgt "
        "WHERE {same}) >= st.k1::pg_catalog.int8 THEN {there} ELSE {absent} END;\n",
        st=staged(write),
        moment=Fragment(moment),
        rows=dialect.rows_of(write.table),
        same=holds(write, dialect, "t" if adds else "s"),
        there=dialect.literal("done" if adds else "ready"),
        absent=dialect.literal("ready" if adds else "done"),
    )
