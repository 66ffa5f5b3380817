"""A ledger as the documents of the contract: diff.json and diff.parquet."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from diffing import queries
from diffing.model import Ledger, SchemaDivergence, Sides, TableDiff

Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None


def diff_document(ledger: Ledger, *, backup: str = "", current: str = "") -> Mapping[str, Json]:
    """The content of `diff.json`. `backup` and `current` say in words what was compared."""
    document: dict[str, Json] = {"dbmend": "diff/1"}
    if backup or current:
        document["sources"] = {"backup": backup, "current": current}
    document["verdict"] = ledger.verdict.value
    document["tables"] = [_table(entry) for entry in ledger.tables]
    document["schema"] = [_divergence(one) for one in ledger.schema]
    return document


def write_parquet(facts: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Write `diff.parquet`: every row of `divergence`, ordered by all columns. The file must not
    be in use; who needs it atomic gives a temporary name and renames."""
    disorder = facts.execute(queries.OUT_OF_ORDER).fetchone()
    in_order = disorder is not None and disorder[0] == 0
    statement = queries.WRITE_DIVERGENCES if in_order else queries.SORT_DIVERGENCES
    facts.execute(statement, [str(path)])


def _table(entry: TableDiff) -> Mapping[str, Json]:
    return {
        "table": entry.table,
        "key": list(entry.key),
        "status": entry.status.value,
        "why": entry.why,
        "rows": _sides(entry.rows),
        "same": entry.same,
        "changed": entry.changed,
        "missing": entry.missing,
        "extra": entry.extra,
        "unreadable": _sides(entry.unreadable),
        "unknown": _sides(entry.unknown),
        "cells": dict(entry.cells),
        "representation_only": entry.representation_only,
        "duplicates": _sides(entry.duplicates),
        "duplicates_scope": entry.duplicates_scope,
    }


def _sides(sides: Sides) -> Mapping[str, Json]:
    return {"backup": sides.backup, "current": sides.current}


def _divergence(one: SchemaDivergence) -> Mapping[str, Json]:
    return {"kind": one.kind, "name": one.name, "backup": one.backup, "current": one.current}
