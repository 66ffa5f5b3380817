"""What if the data had been other? Runs that show what the evidence can tell apart.

Nobody has to trust the shape of an expression: the faulty statement is run again on a clone whose
damaged column was moved by the smallest step, up and down. A cell whose outcome moves with it
tells former values apart. And under a partial log, undocumented edits may have come before the
faulty step or after it: the target is computed for both, and where they differ it is not known.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import duckdb
from psycopg import sql

from diffing.model import Column, Schema, Table
from recovery.localize.by_key import among, set_cells
from recovery.localize.statement import Target
from recovery.model import Preparation

_VALUES_MAX = 1000  # rows in one VALUES list
_ASIDE = 0xF0000  # where characters are that nobody uses


def moved(
    step: str,
    targets: Sequence[Target],
    schema: Schema,
    *,
    up: bool,
    only: Mapping[str, Sequence[str]] | None = None,
) -> Preparation | None:
    """Every value of the columns that the step sets, moved by its smallest unit; with `only`,
    those of these rows (keys by table). Of a text the last character becomes the next one. None
    when the step sets nothing that can be moved."""
    statements = []
    quiet = []
    for target in targets:
        table = schema.table(target.table)
        moves = [
            sql.SQL("{0} = {0} {1} {2}").format(
                sql.Identifier(name), sql.SQL("+" if up else "-"), unit
            )
            for name in sorted(target.columns)
            if target.op == "update" and (unit := _unit(table.column(name), table)) is not None
        ]
        if moves:
            quiet.append(table.name)
            statement = sql.SQL("UPDATE {} SET {}").format(
                sql.Identifier(table.schema, table.relation), sql.SQL(", ").join(moves)
            )
            statements.append((statement + _rows(table, only)).as_string(None))
        for name in sorted(target.columns):
            if target.op == "update" and _is_free_text(table.column(name), table, schema):
                quiet.append(table.name)
                where = _rows(table, only)
                statements += [one + where.as_string(None) for one in _next(name, table, up=up)]
    names = tuple(dict.fromkeys(quiet))
    return Preparation(step, tuple(statements), names) if statements else None


def undocumented_first(
    facts: duckdb.DuckDBPyConnection, step: str, schema: Schema
) -> Preparation | None:
    """Every undocumented edit of existing rows, made before the step instead of after it.
    None when there is none. Reads the relation `cell`: a divergence that no run explains."""
    rows = facts.execute(
        """SELECT d."table", d."column", d.key, d.current FROM divergence d
        LEFT JOIN cell c ON c."table" = d."table" AND c.key = d.key AND c."column" = d."column"
        LEFT JOIN unstable u ON u."table" = d."table" AND u."column" = d."column"
        WHERE d.kind = 'changed' AND u."column" IS NULL
          AND (c.key IS NULL OR c.f IS NOT DISTINCT FROM c.t AND c.c IS DISTINCT FROM c.f)
        ORDER BY d."table", d."column", d.key"""
    ).fetchall()
    statements: list[str] = []
    quiet: list[str] = []
    for (name, column), group in groupby(rows, key=lambda row: (str(row[0]), str(row[1]))):
        table = schema.table(name)
        if not table.key.columns or table.column(column).generated:
            continue
        edits = [(str(key), current) for _, _, key, current in group]
        statements += [
            set_cells(table, column, edits[start : start + _VALUES_MAX])
            for start in range(0, len(edits), _VALUES_MAX)
        ]
        if name not in quiet:
            quiet.append(name)
    return Preparation(step, tuple(statements), tuple(quiet)) if statements else None


def _rows(table: Table, only: Mapping[str, Sequence[str]] | None) -> sql.Composable:
    """A WHERE that names these rows; nothing for all rows."""
    if only is None:
        return sql.SQL("")
    return sql.SQL(" WHERE {}").format(among(table, only.get(table.name, ())))


def _is_free_text(column: Column, table: Table, schema: Schema) -> bool:
    """A text that no constraint holds to certain values."""
    bound = {
        name
        for one in schema.constraints
        if one.table == table.name and one.kind in ("check", "foreign")
        for name in one.columns
    }
    bound |= {
        name
        for one in schema.foreign_keys
        for place, names in ((one.table, one.columns), (one.parent, one.parent_columns))
        if place == table.name
        for name in names
    }
    plain = column.type == "text" or column.type.startswith("character varying")
    return plain and not column.generated and column.name not in (*table.key.columns, *bound)


def _next(column: str, table: Table, *, up: bool) -> Iterator[str]:
    """Texts with another last character: digits stay digits, lengths stay. By way of characters
    that nobody uses, so that unique texts stay unique in between."""
    text = sql.SQL("UPDATE {table} SET {column} = {moved}")
    last = sql.SQL("pg_catalog.right({}, 1)").format(sql.Identifier(column))
    aside = sql.SQL("pg_catalog.ascii({}) + {}").format(last, sql.Literal(_ASIDE))
    code = sql.SQL("(pg_catalog.ascii({}) - {})").format(last, sql.Literal(_ASIDE))
    step = sql.Literal(1 if up else -1)
    back = sql.SQL(
        "CASE WHEN {code} BETWEEN 48 AND 57 THEN 48 + ({code} - 38 + {step}) % 10"
        " ELSE {code} + {step} END"
    ).format(code=code, step=step)
    for number in (aside, back):
        moved = sql.SQL(
            "CASE WHEN {0} <> '' THEN pg_catalog.left({0}, -1) || pg_catalog.chr({1}) ELSE {0} END"
        ).format(sql.Identifier(column), number)
        yield text.format(
            table=sql.Identifier(table.schema, table.relation),
            column=sql.Identifier(column),
            moved=moved,
        ).as_string(None)


def _unit(column: Column, table: Table) -> sql.Composable | None:
    """The smallest step of the column's values, as SQL; None for what cannot be moved."""
    if column.generated or column.name in table.key.columns:
        return None
    match column.family, column.type:
        case "numeric", kind if "(" in kind:
            scale = int(kind.rstrip(")").partition(",")[2] or 0)
            return sql.SQL("{}::pg_catalog.numeric").format(sql.Literal(f"1e{-scale}"))
        case (("numeric" | "float"), _):
            # Without a declared scale: the last digit that occurs in the column.
            return sql.SQL(
                "(SELECT pg_catalog.power(10::numeric, -coalesce(max(pg_catalog.scale("
                "{0}::text::numeric)), 0)) FROM {1} WHERE {0}::text ~ '^-?[0-9.]+$')::{2}"
            ).format(
                sql.Identifier(column.name),
                sql.Identifier(table.schema, table.relation),
                sql.SQL(column.type),
            )
        case "text", ("smallint" | "integer" | "bigint"):
            return sql.SQL("1")
        case "text", ("date" | "money"):
            return sql.SQL("1") if column.type == "date" else sql.SQL("'0.01'::money")
        case "timestamptz", _:
            return sql.SQL("interval '1 second'")
        case "text", kind if kind.startswith("timestamp"):
            return sql.SQL("interval '1 second'")
        case _:
            return None
