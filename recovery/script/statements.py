"""The writes themselves: one guarded statement per write, with its expected count."""

from recovery.script.dialect import Dialect, Fragment, fill, join
from recovery.script.guards import found, holds, holds_parked, parked, staged
from recovery.script.recognise import BROKEN, refuse
from recovery.script.staged import Write
from recovery.script.staging import numbered


def write_statement(write: Write, dialect: Dialect) -> Fragment:
    """The guarded write of all rows that are ready, and the assertion of how many it wrote.

    Where unique values change places within the write, a first statement parks them.
    """
    match write.op:
        case "set-cells":
            first = (_park(write, dialect),) if write.parked else ()
            statements = (*first, _update(write, dialect))
        case "insert-rows":
            statements = (_insert(write, dialect),)
        case "delete-rows":
            delete = _delete if write.keyed else _delete_copies
            statements = (delete(write, dialect),)
    return fill(
        "SELECT pg_catalog.count(*) INTO dbmend_expected FROM {st} AS st WHERE st.before = 'ready';"
        "\n{statements}",
        st=staged(write),
        statements=join("", (_counted(write, statement, dialect) for statement in statements)),
    )


def _counted(write: Write, statement: Fragment, dialect: Dialect) -> Fragment:
    return fill(
        "{statement}GET DIAGNOSTICS dbmend_count = ROW_COUNT;\n"
        "IF dbmend_count <> dbmend_expected THEN\n{wrong}END IF;\n",
        statement=statement,
        wrong=refuse(
            dialect,
            BROKEN,
            "rows written on " + write.table.name + " (" + write.group + "), and planned: ",
            figures=Fragment("dbmend_count, ', ', dbmend_expected"),
        ),
    )


def _park(write: Write, dialect: Dialect) -> Fragment:
    flags = dict(zip(write.columns, numbered("w", len(write.columns)), strict=True))
    cells = (
        fill(
            "{c} = CASE WHEN st.{w} THEN {value} ELSE tgt.{c} END"
            if write.masked
            else "{c} = {value}",
            c=dialect.identifier(column.name),
            w=flags[column],
            value=parked(column, dialect),
        )
        for column in write.columns
        if column.name in write.parked
    )
    return _set(write, join(",\n       ", cells), holds(write, dialect, "s"), dialect)


def _update(write: Write, dialect: Dialect) -> Fragment:
    flags = numbered("w", len(write.columns))
    targets = numbered("t", len(write.columns))
    cells = (
        fill(
            "{c} = CASE WHEN st.{w} THEN {value} ELSE tgt.{c} END"
            if write.masked
            else "{c} = {value}",
            c=dialect.identifier(column.name),
            w=flag,
            value=dialect.cast(fill("st.{t}", t=target), column),
        )
        for column, flag, target in zip(write.columns, flags, targets, strict=True)
    )
    seen = holds_parked(write, dialect) if write.parked else holds(write, dialect, "s")
    return _set(write, join(",\n       ", cells), seen, dialect)


def _set(write: Write, cells: Fragment, guard: Fragment, dialect: Dialect) -> Fragment:
    return fill(
        "UPDATE {rows} AS tgt\n   SET {cells}\n  FROM {st} AS st\n"
        " WHERE st.before = 'ready'\n   AND {match}\n   AND {guard};\n",
        rows=dialect.rows_of(write.table),
        cells=cells,
        st=staged(write),
        match=found(write, dialect),
        guard=guard,
    )


def _insert(write: Write, dialect: Dialect) -> Fragment:
    targets = numbered("t", len(write.columns))
    absent = (
        fill(
            "\n   AND NOT EXISTS (SELECT FROM {rows} AS tgt WHERE {match})",
            rows=dialect.rows_of(write.table),
            match=found(write, dialect),
        )
        if write.keyed
        else Fragment("")
    )
    return fill(
        "INSERT INTO {table} ({columns})\nOVERRIDING SYSTEM VALUE\nSELECT {values}\n"
        "  FROM {st} AS st\n WHERE st.before = 'ready'{absent}\n ORDER BY st.n;\n",
        table=dialect.table(write.table),
        columns=join(", ", (dialect.identifier(column.name) for column in write.columns)),
        values=join(
            ", ",
            (
                dialect.cast(fill("st.{t}", t=target), column)
                for column, target in zip(write.columns, targets, strict=True)
            ),
        ),
        st=staged(write),
        absent=absent,
    )


def _delete(write: Write, dialect: Dialect) -> Fragment:
    return fill(
        "DELETE FROM {rows} AS tgt\n USING {st} AS st\n"
        " WHERE st.before = 'ready'\n   AND {match}\n   AND {seen};\n",
        rows=dialect.rows_of(write.table),
        st=staged(write),
        match=found(write, dialect),
        seen=holds(write, dialect, "s"),
    )


def _delete_copies(write: Write, dialect: Dialect) -> Fragment:
    """As many copies of a row as are staged ready; which of the equal ones makes no odds."""
    texts = join(
        ", ",
        (fill("st.{s}", s=name) for name in numbered("s", len(write.columns))),
    )
    return fill(
        "DELETE FROM {rows} AS gone\n USING (SELECT tgt.ctid AS place, tgt.tableoid AS part, "
        "pg_catalog.row_number() OVER (PARTITION BY st.copies) AS copy, st.ready\n"
        "          FROM {rows} AS tgt JOIN (SELECT {texts}, pg_catalog.min(st.n) AS copies, "
        "pg_catalog.count(*) AS ready\n"
        "            FROM {st} AS st WHERE st.before = 'ready' GROUP BY {texts}) AS st\n"
        "            ON {seen}) AS found\n"
        " WHERE gone.ctid = found.place AND gone.tableoid = found.part "
        "AND found.copy <= found.ready;\n",
        rows=dialect.rows_of(write.table),
        texts=texts,
        st=staged(write),
        seen=holds(write, dialect, "s"),
    )
