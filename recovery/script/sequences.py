"""Sequences behind inserted keys are moved forward, never back, as the very last thing: a
sequence's position is neither rolled back nor undone."""

from diffing.model import Schema, Sequence_
from recovery.script.dialect import Dialect, Fragment, fill, join
from recovery.script.guards import staged
from recovery.script.staged import Write


def moved_sequences(
    writes: tuple[Write, ...], schema: Schema
) -> tuple[tuple[Write, Sequence_, int], ...]:
    """Each insert with the sequences that feed its written columns, and the column's position."""
    return tuple(
        (write, sequence, position)
        for write in writes
        if write.op == "insert-rows"
        for sequence in schema.sequences
        for position, column in enumerate(write.columns, start=1)
        if sequence.owned_by == (write.table.name, column.name)
    )


def sequences_forward(writes: tuple[Write, ...], schema: Schema, dialect: Dialect) -> Fragment:
    return join("", (_forward(*moved, dialect) for moved in moved_sequences(writes, schema)))


def _forward(write: Write, sequence: Sequence_, position: int, dialect: Dialect) -> Fragment:
    up = sequence.increment > 0
    name = join(".", (dialect.identifier(part) for part in name_parts(sequence.name)))
    return fill(
        "SELECT pg_catalog.{furthest}(st.t{position}::pg_catalog.int8) INTO dbmend_count\n"
        "  FROM {st} AS st WHERE st.before = 'ready';\n"
        "SELECT CASE WHEN s.is_called THEN s.last_value ELSE s.last_value - {increment} END\n"
        "  INTO dbmend_expected FROM {sequence} AS s;\n"
        "IF dbmend_count {beyond} dbmend_expected THEN\n"
        "PERFORM pg_catalog.setval({regclass}::pg_catalog.regclass, dbmend_count);\nEND IF;\n",
        furthest=Fragment("max" if up else "min"),
        position=Fragment(str(position)),
        st=staged(write),
        increment=Fragment("(" + str(sequence.increment) + ")"),
        sequence=name,
        beyond=Fragment(">" if up else "<"),
        regclass=dialect.literal(name),
    )


def name_parts(name: str) -> tuple[str, str]:
    """Schema and relation of a name as `diffing.model.qualified` writes it."""
    parts: list[str] = []
    rest = name
    while rest:
        if rest.startswith('"'):
            end = 1
            while rest[end] != '"' or rest[end : end + 2] == '""':
                end += 2 if rest[end] == '"' else 1
            parts.append(rest[1:end].replace('""', '"'))
            rest = rest[end + 2 :]
        else:
            part, _, rest = rest.partition(".")
            parts.append(part)
    if len(parts) != 2:
        raise ValueError("not a qualified name: " + name)
    return parts[0], parts[1]
