"""Is this the database that was analysed? Its shape and untouched rows answer."""

from diffing.model import PINNED_SETTINGS, Column, Table
from recovery.script.context import TableSample
from recovery.script.dialect import Dialect, Fragment, fill, join
from recovery.script.staging import numbered

CANARY = "Съешь ещё этих мягких французских булок"
SETTINGS, WRONG_DATABASE, MOVED, BROKEN = "DBM01", "DBM02", "DBM03", "DBM04"


def canary(dialect: Dialect) -> Fragment:
    """Fails before anything else when a client sends the text in another encoding."""
    return fill(
        "DO $dbmend$ BEGIN\n"
        "IF pg_catalog.encode(pg_catalog.convert_to({text}, 'UTF8'), 'hex') <> {hex} THEN\n"
        "{refuse}END IF;\nEND $dbmend$;\n",
        text=dialect.literal(CANARY),
        hex=dialect.literal(CANARY.encode().hex()),
        refuse=refuse(
            dialect,
            SETTINGS,
            "the client changed the text on its way: it did not send it as UTF-8",
        ),
    )


def refuse(
    dialect: Dialect, state: str, why: str, *, figures: Fragment | None = None, rows: bool = False
) -> Fragment:
    """RAISE EXCEPTION with a message that begins 'dbmend: refused: '."""
    text = dialect.literal("dbmend: refused: " + why)
    message = text if figures is None else fill("pg_catalog.concat({t}, {f})", t=text, f=figures)
    return fill(
        "RAISE EXCEPTION USING ERRCODE = {state}, MESSAGE = {message}{detail};\n",
        state=dialect.literal(state),
        message=message,
        detail=Fragment(", DETAIL = pg_catalog.concat(dbmend_text)" if rows else ""),
    )


def settings(dialect: Dialect) -> Fragment:
    """The session is as pinned: the guards compare what output functions print."""
    pinned = (
        *PINNED_SETTINGS,
        ("search_path", '""'),
        ("session_replication_role", "origin"),
        ("transaction_isolation", "read committed"),
    )
    return join(
        "",
        (
            fill(
                "IF pg_catalog.lower(pg_catalog.current_setting({name})) <> {value} THEN\n"
                "{refuse}END IF;\n",
                name=dialect.literal(name),
                value=dialect.literal(value.lower()),
                refuse=refuse(dialect, SETTINGS, "the setting " + name + " is not " + value),
            )
            for name, value in pinned
        ),
    )


def shape(table: Table, dialect: Dialect) -> Fragment:
    """Refuses unless the table exists with exactly these columns and types."""
    expected = ", ".join(
        column.name + " " + column.type
        for column in sorted(table.columns, key=lambda column: column.name)
    )
    return fill(
        "SELECT pg_catalog.string_agg(pg_catalog.concat(a.attname, ' ', "
        "pg_catalog.format_type(a.atttypid, a.atttypmod)), ', ' "
        'ORDER BY a.attname COLLATE pg_catalog."C") INTO dbmend_text\n'
        "  FROM pg_catalog.pg_attribute AS a\n"
        "  JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')\n"
        "  JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace\n"
        " WHERE s.nspname = {schema} AND c.relname = {relation}\n"
        "   AND a.attnum > 0 AND NOT a.attisdropped;\n"
        "IF dbmend_text IS NULL THEN\n{absent}END IF;\n"
        "IF dbmend_text <> {expected} THEN\n{other}END IF;\n",
        schema=dialect.literal(table.schema),
        relation=dialect.literal(table.relation),
        expected=dialect.literal(expected),
        absent=refuse(dialect, WRONG_DATABASE, "wrong database: no table " + table.name),
        other=refuse(
            dialect,
            WRONG_DATABASE,
            "the columns of " + table.name + " are not those of the evidence",
            rows=True,
        ),
    )


def contents(samples: tuple[tuple[Table, TableSample], ...], dialect: Dialect) -> Fragment:
    """Counts how many sampled rows are found with their content: fewer than nine of ten is another
    database, fewer than all is one that moved on, said with figures."""
    total = sum(len(sample.rows) for _, sample in samples)
    if not total:
        return Fragment(
            "RAISE NOTICE USING MESSAGE = 'dbmend: the evidence has no untouched row: "
            "the database is recognised by its tables alone';\n"
        )
    counts = (
        fill(
            "SELECT dbmend_found + pg_catalog.count(*) INTO dbmend_found\n"
            "  FROM pg_temp.dbmend_sample_{n} AS st JOIN {rows} AS tgt ON {match}\n"
            " WHERE {digest} = st.digest;\n",
            n=Fragment(str(number)),
            rows=dialect.rows_of(table),
            match=match_key(table, dialect, Fragment("tgt"), Fragment("st")),
            digest=row_digest(table.columns, dialect, Fragment("tgt")),
        )
        for number, (table, _) in enumerate(samples, start=1)
    )
    figures = fill("dbmend_found, {rest}", rest=dialect.literal(" of " + str(total)))
    return fill(
        "dbmend_found := 0;\n{counts}IF dbmend_found * 10 < {total} * 9 THEN\n{wrong}END IF;\n"
        "IF dbmend_found < {total} THEN\n"
        "RAISE NOTICE USING MESSAGE = pg_catalog.concat('dbmend: moved on: sampled untouched rows "
        "found unchanged: ', {figures});\nEND IF;\n",
        counts=join("", counts),
        total=Fragment(str(total)),
        wrong=refuse(
            dialect,
            WRONG_DATABASE,
            "wrong database: sampled untouched rows found unchanged: ",
            figures=figures,
        ),
        figures=figures,
    )


def match_key(table: Table, dialect: Dialect, target: Fragment, staged: Fragment) -> Fragment:
    """`target` has the key whose texts are k1.. of `staged`."""
    names = numbered("k", len(table.key_columns))
    return join(
        " AND ",
        (
            dialect.same_key(
                fill("{t}.{c}", t=target, c=dialect.identifier(column.name)),
                fill("{s}.{k}", s=staged, k=name),
                column,
            )
            for column, name in zip(table.key_columns, names, strict=True)
        ),
    )


def row_digest(columns: tuple[Column, ...], dialect: Dialect, row: Fragment) -> Fragment:
    """SHA-256 over the row's texts, each with its length in front, NULL marked: injective."""
    parts = (
        fill(
            "CASE WHEN {v} IS DISTINCT FROM NULL THEN pg_catalog.concat("
            "pg_catalog.length(pg_catalog.concat({v})), ':', {v}, ',') ELSE '-,' END",
            v=fill("{row}.{c}", row=row, c=dialect.identifier(column.name)),
        )
        for column in columns
        if not column.generated
    )
    return fill(
        "pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to("
        "pg_catalog.array_to_string(ARRAY[{parts}], ''), 'UTF8')), 'hex')",
        parts=join(", ", parts),
    )
