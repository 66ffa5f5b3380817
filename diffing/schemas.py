"""How two schemas differ: one line per object, with its definition on either side."""

from collections.abc import Iterator, Mapping

from diffing.model import Column, ForeignKey, Schema, SchemaDivergence, Sequence_, Table

_Definitions = Mapping[tuple[str, str], str]  # (kind, name) -> definition


def compare_schemas(backup: Schema, current: Schema) -> tuple[SchemaDivergence, ...]:
    """Everything that is on one side only or is defined otherwise, ordered by kind and name.

    The order of columns does not count. A table of one side only is one line: its columns are
    in the definition.
    """
    both = {table.name for table in backup.tables} & {table.name for table in current.tables}
    ours, theirs = _definitions(backup, both), _definitions(current, both)
    return tuple(
        SchemaDivergence(kind, name, ours.get((kind, name), ""), theirs.get((kind, name), ""))
        for kind, name in sorted(ours.keys() | theirs.keys())
        if ours.get((kind, name)) != theirs.get((kind, name))
    )


def _definitions(schema: Schema, both: set[str]) -> _Definitions:
    found: dict[tuple[str, str], str] = {}
    for table in schema.tables:
        found["table", table.name] = _table(table, columns=table.name not in both)
        if table.name in both:
            for column in table.columns:
                found["column", f"{table.name}.{column.name}"] = _column(column)
    for constraint in schema.constraints:
        found["constraint", f"{constraint.table}.{constraint.name}"] = constraint.definition
    for key in schema.foreign_keys:
        found.setdefault(("constraint", f"{key.table}.{key.name}"), _foreign_key(key))
    for trigger in schema.triggers:
        state = "" if trigger.enabled else " (disabled)"
        found["trigger", f"{trigger.table}.{trigger.name}"] = trigger.definition + state
    for sequence in schema.sequences:
        found["sequence", sequence.name] = _sequence(sequence)
    for thing in schema.objects:
        found[thing.kind, thing.name] = thing.definition or "(no definition)"
    return found


def _table(table: Table, *, columns: bool) -> str:
    return " ".join(_table_parts(table, columns=columns))


def _table_parts(table: Table, *, columns: bool) -> Iterator[str]:
    yield "partitioned table" if table.partitioned else "table"
    if columns:
        shown = ", ".join(f"{column.name} {_column(column)}" for column in table.columns)
        yield f"({shown})"
    if table.inherits:
        yield "inherits " + ", ".join(table.inherits)
    if table.partitions:
        yield "partitions " + ", ".join(sorted(table.partitions))


def _column(column: Column) -> str:
    words = [column.type]
    if column.not_null:
        words.append("not null")
    if column.identity:
        words.append(f"generated {column.identity} as identity")
    if column.generated:
        words.append(f"generated always as ({column.default}) stored")
    elif column.default:
        words.append(f"default {column.default}")
    return " ".join(words)


def _foreign_key(key: ForeignKey) -> str:
    return (
        f"foreign key ({', '.join(key.columns)}) references {key.parent} "
        f"({', '.join(key.parent_columns)}) on delete {key.on_delete} on update {key.on_update}"
        + (" deferrable" if key.deferrable else "")
    )


def _sequence(sequence: Sequence_) -> str:
    called = "used" if sequence.is_called else "next"
    owner = f" owned by {'.'.join(sequence.owned_by)}" if sequence.owned_by else ""
    return f"at {sequence.last_value} ({called}), increment {sequence.increment}{owner}"
