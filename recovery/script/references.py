"""Foreign keys around the writes: no cascade that nobody planned, no orphan afterwards, and with
`--on-moved skip` no row written that depends on one that was skipped."""

from collections.abc import Iterator

from diffing.model import Column, ForeignKey, Schema, Table
from recovery.script.dialect import Dialect, Fragment, fill, join
from recovery.script.guards import ST, TGT, found, staged
from recovery.script.recognise import BROKEN, MOVED, match_key, refuse
from recovery.script.staged import Write
from recovery.script.staging import numbered

_SPREADING = frozenset({"cascade", "set null", "set default"})


def unplanned_children(write: Write, schema: Schema, dialect: Dialect) -> Fragment:
    """Before a write: refuse when rows that nobody planned to write would be written, or would be
    left behind, by the foreign keys that point here."""
    parts = []
    for key in _pointing_to(write.table, schema):
        child = schema.table(key.table)
        if write.op == "delete-rows" and (key.on_delete != "no action" or not key.deferrable):
            parts.append(_children_of_deleted(write, key, child, dialect))
        changed = {column.name for column in write.columns} & set(key.parent_columns)
        if write.op == "set-cells" and changed and key.on_update in _SPREADING:
            parts.append(_children_of_changed(write, key, child, dialect))
    return join("", parts)


def orphans(write: Write, schema: Schema, dialect: Dialect) -> Fragment:
    """After all writes: refuse when a written row has no parent, a deleted one still children."""
    parts = []
    if write.op == "delete-rows":
        for key in _pointing_to(write.table, schema):
            child, parent = schema.table(key.table), write.table
            condition = fill(
                "{link} AND NOT EXISTS (SELECT FROM {parents} AS par WHERE {has})",
                link=_links_to_staged(write, key, child, dialect, Fragment("chd")),
                parents=dialect.rows_of(parent),
                has=_linked(key, child, parent, dialect, Fragment("chd"), Fragment("par")),
            )
            parts.append(_count(write, child, condition, dialect, key, BROKEN, "orphans left"))
    else:
        for key in _pointing_from(write, schema):
            parent = schema.table(key.parent)
            condition = fill(
                "{match} AND {filled} AND NOT EXISTS (SELECT FROM {parents} AS par WHERE {has})",
                match=_own_row(write, dialect, Fragment("chd")),
                filled=_filled(key, dialect, Fragment("chd")),
                parents=dialect.rows_of(parent),
                has=_linked(key, write.table, parent, dialect, Fragment("chd"), Fragment("par")),
            )
            parts.append(
                _count(write, write.table, condition, dialect, key, BROKEN, "rows without a parent")
            )
    return join("", parts)


def dependants(writes: tuple[Write, ...], schema: Schema, dialect: Dialect) -> Fragment:
    """For `skip`: repeat until nothing changes: what depends on a skipped row is skipped too."""
    parts = list(_dependent_statements(writes, schema, dialect))
    if not parts:
        return Fragment("")
    count = Fragment(
        "GET DIAGNOSTICS dbmend_count = ROW_COUNT;\ndbmend_found := dbmend_found + dbmend_count;\n"
    )
    return fill(
        "LOOP\ndbmend_found := 0;\n{body}EXIT WHEN dbmend_found = 0;\nEND LOOP;\n",
        body=join("", (fill("{s}{c}", s=part, c=count) for part in parts)),
    )


def deferred(writes: tuple[Write, ...], schema: Schema, dialect: Dialect) -> Fragment:
    """Constraints between written tables that are deferrable already wait until all is written;
    the others are checked by each statement, and the order satisfies them."""
    tables = {write.table.name for write in writes}
    names = sorted(
        {
            (schema.table(key.table).schema, key.name)
            for key in schema.foreign_keys
            if key.deferrable and {key.table, key.parent} <= tables
        }
    )
    fixed = {
        (schema.table(key.table).schema, key.name)
        for key in schema.foreign_keys
        if not key.deferrable and schema.has(key.table)
    }
    return join(
        "",
        (
            fill(
                "SET CONSTRAINTS {schema}.{name} DEFERRED;\n",
                schema=dialect.identifier(place),
                name=dialect.identifier(name),
            )
            for place, name in names
            if (place, name) not in fixed
        ),
    )


def locked_children(writes: tuple[Write, ...], schema: Schema) -> tuple[Table, ...]:
    """Tables whose rows a write could reach through a foreign key: locked against new children."""
    return tuple(
        schema.table(key.table)
        for write in writes
        for key in _pointing_to(write.table, schema)
        if (write.op == "delete-rows" and key.on_delete in _SPREADING)
        or (
            write.op == "set-cells"
            and key.on_update in _SPREADING
            and {column.name for column in write.columns} & set(key.parent_columns)
        )
    )


def _dependent_statements(
    writes: tuple[Write, ...], schema: Schema, dialect: Dialect
) -> Iterator[Fragment]:
    for write in writes:
        for other in writes:
            if other is not write and other.table == write.table and write.keyed:
                yield _dependent(write, _same_row_skipped(write, other))
        if write.op == "delete-rows" and write.keyed:
            for key in _pointing_to(write.table, schema):
                yield _dependent(write, _child_stays(write, writes, key, schema, dialect))
        if write.op != "delete-rows":
            for key in _pointing_from(write, schema):
                if {column.name for column in write.columns} >= set(key.columns):
                    yield _dependent(write, _parent_missing(write, writes, key, schema, dialect))


def _dependent(write: Write, condition: Fragment) -> Fragment:
    return fill(
        "UPDATE {st} AS st SET before = 'dependent'\n WHERE st.before = 'ready' AND {condition};\n",
        st=staged(write),
        condition=condition,
    )


def _same_row_skipped(write: Write, other: Write) -> Fragment:
    names = numbered("k", len(write.table.key_columns))
    return fill(
        "EXISTS (SELECT FROM {other} AS o WHERE o.before NOT IN ('ready', 'done') AND {same})",
        other=staged(other),
        same=join(" AND ", (fill("o.{k} = st.{k}", k=name) for name in names)),
    )


def _child_stays(
    write: Write, writes: tuple[Write, ...], key: ForeignKey, schema: Schema, dialect: Dialect
) -> Fragment:
    child = schema.table(key.table)
    going = join(
        "",
        (
            fill(
                " AND NOT EXISTS (SELECT FROM {st} AS g WHERE g.before = 'ready' AND {match})",
                st=staged(other),
                match=match_key(child, dialect, Fragment("chd"), Fragment("g")),
            )
            for other in writes
            if other.table == child and other.op == "delete-rows" and other.keyed
        ),
    )
    return fill(
        "EXISTS (SELECT FROM {rows} AS chd WHERE {link}{going})",
        rows=dialect.rows_of(child),
        link=_links_to_staged(write, key, child, dialect, Fragment("chd")),
        going=going,
    )


def _parent_missing(
    write: Write, writes: tuple[Write, ...], key: ForeignKey, schema: Schema, dialect: Dialect
) -> Fragment:
    parent = schema.table(key.parent)
    own = {column.name: number for number, column in enumerate(write.columns, start=1)}
    links = [
        (parent.column(there), write.table.column(here), Fragment("st.t" + str(own[here])))
        for here, there in zip(key.columns, key.parent_columns, strict=True)
    ]
    present = fill(
        "EXISTS (SELECT FROM {rows} AS par WHERE {same})",
        rows=dialect.rows_of(parent),
        same=join(
            " AND ",
            (
                dialect.equal(
                    fill("par.{c}", c=dialect.identifier(there.name)),
                    dialect.cast(text, here),
                    there,
                )
                for there, here, text in links
            ),
        ),
    )
    inserts = [
        (staged(other), _same_key_staged(other, links, dialect))
        for other in writes
        if other.table == parent and other.op == "insert-rows"
    ]
    coming = " OR EXISTS (SELECT FROM {st} AS p WHERE p.before = 'ready' AND {same})"
    # A key that was taken by another row meanwhile is not the parent that was meant.
    skipped = (
        " OR EXISTS (SELECT FROM {st} AS p WHERE p.before NOT IN ('ready', 'done') AND {same})"
    )
    return fill(
        "{filled} AND (NOT ({present}{coming}){skipped})",
        filled=join(" AND ", (fill("{t} IS NOT NULL", t=text) for _, _, text in links)),
        present=present,
        coming=join("", (fill(coming, st=st, same=same) for st, same in inserts)),
        skipped=join("", (fill(skipped, st=st, same=same) for st, same in inserts)),
    )


def _same_key_staged(
    parents: Write, links: list[tuple[Column, Column, Fragment]], dialect: Dialect
) -> Fragment:
    """The staged parent `p` is the one that the texts of a child name."""
    return join(
        " AND ",
        (
            dialect.equal(
                dialect.cast(Fragment("p.t" + str(_position(parents, there))), there),
                dialect.cast(text, here),
                there,
            )
            for there, here, text in links
        ),
    )


def _position(write: Write, column: Column) -> int:
    return [own.name for own in write.columns].index(column.name) + 1


def _children_of_deleted(write: Write, key: ForeignKey, child: Table, dialect: Dialect) -> Fragment:
    own = Fragment("")
    if child == write.table and write.keyed:
        own = fill(
            " AND NOT EXISTS (SELECT FROM {st} AS g WHERE g.before = 'ready' AND {match})",
            st=staged(write),
            match=match_key(child, dialect, Fragment("chd"), Fragment("g")),
        )
    condition = fill(
        "{link}{own}", link=_links_to_staged(write, key, child, dialect, Fragment("chd")), own=own
    )
    return _count(write, child, condition, dialect, key, MOVED, "rows still refer to deleted ones")


def _children_of_changed(write: Write, key: ForeignKey, child: Table, dialect: Dialect) -> Fragment:
    condition = fill(
        "EXISTS (SELECT FROM {rows} AS tgt WHERE {match} AND {link})",
        rows=dialect.rows_of(write.table),
        match=found(write, dialect),
        link=_linked(key, child, write.table, dialect, Fragment("chd"), TGT),
    )
    return _count(write, child, condition, dialect, key, MOVED, "rows would be changed along")


def _count(
    write: Write,
    child: Table,
    condition: Fragment,
    dialect: Dialect,
    key: ForeignKey,
    state: str,
    what: str,
) -> Fragment:
    return fill(
        "SELECT pg_catalog.count(*) INTO dbmend_count FROM {rows} AS chd, {st} AS st\n"
        " WHERE st.before = 'ready' AND {condition};\n"
        "IF dbmend_count > 0 THEN\n{refuse}END IF;\n",
        rows=dialect.rows_of(child),
        st=staged(write),
        condition=condition,
        refuse=refuse(
            dialect,
            state,
            child.name + ": " + what + " (" + write.table.name + ", " + key.name + "): ",
            figures=Fragment("dbmend_count"),
        ),
    )


def _pointing_to(table: Table, schema: Schema) -> Iterator[ForeignKey]:
    return (
        key for key in schema.foreign_keys if key.parent == table.name and schema.has(key.table)
    )


def _pointing_from(write: Write, schema: Schema) -> Iterator[ForeignKey]:
    written = {column.name for column in write.columns}
    return (
        key
        for key in schema.foreign_keys
        if key.table == write.table.name
        and schema.has(key.parent)
        and (write.op == "insert-rows" or written & set(key.columns))
    )


def _own_row(write: Write, dialect: Dialect, row: Fragment) -> Fragment:
    if not write.keyed:
        return Fragment("true")
    return match_key(write.table, dialect, row, ST)


def _filled(key: ForeignKey, dialect: Dialect, row: Fragment) -> Fragment:
    return join(
        " AND ",
        (fill("{r}.{c} IS NOT NULL", r=row, c=dialect.identifier(name)) for name in key.columns),
    )


def _linked(
    key: ForeignKey,
    child: Table,
    parent: Table,
    dialect: Dialect,
    child_row: Fragment,
    parent_row: Fragment,
) -> Fragment:
    return join(
        " AND ",
        (
            dialect.equal(
                fill("{r}.{c}", r=parent_row, c=dialect.identifier(there)),
                fill("{r}.{c}", r=child_row, c=dialect.identifier(here)),
                parent.column(there),
            )
            for here, there in zip(key.columns, key.parent_columns, strict=True)
        ),
    )


def _links_to_staged(
    write: Write, key: ForeignKey, child: Table, dialect: Dialect, row: Fragment
) -> Fragment:
    """The child row refers to the staged row as it was seen."""
    return join(
        " AND ",
        (
            dialect.equal(
                dialect.cast(
                    Fragment("st.s" + str(_position(write, write.table.column(there)))),
                    write.table.column(there),
                ),
                fill("{r}.{c}", r=row, c=dialect.identifier(here)),
                write.table.column(there),
            )
            for here, there in zip(key.columns, key.parent_columns, strict=True)
        ),
    )
