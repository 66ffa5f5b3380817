"""Faults of imports, restores, merges, conversions, and of the schema itself."""

from benchmarks.faults.model import (
    Draw,
    NotHere,
    Part,
    Strike,
    plain_touch,
    quoted,
    value_touch,
)
from benchmarks.suites.model import Batch, Column

_ROWS = 12  # of an imported list
_NOBODY = "Nobody wrote it down"


def wrong_restore(draw: Draw) -> Strike:
    """Rows of the backup were put over newer ones."""
    struck, suite = draw.struck, draw.suite
    columns = _columns(draw, struck)
    names = [quoted_name(name) for name, _ in columns]
    values = ", ".join(f"quote_nullable({name})" for name in names)
    query = (
        f"SELECT format('(%s)', concat_ws(', ', {values}))"
        f" FROM {struck.table} ORDER BY {struck.key} LIMIT 400"
    )
    rows = draw.texts(query)
    update = ", ".join(f"{name} = EXCLUDED.{name}" for name in names if name != struck.key)
    text = (
        f"INSERT INTO {struck.table} ({', '.join(names)}) VALUES\n" + ",\n".join(rows) +
        f"\nON CONFLICT ({struck.key}) DO UPDATE SET {update}"
    )  # fmt: skip
    part = _prose(draw, text, f"Restored {struck.table} from an older copy")
    put_back = f"SELECT {struck.key} FROM {struck.table} ORDER BY {struck.key} LIMIT 400"
    touch = value_touch(suite.values, struck.key, f" WHERE {struck.key} IN ({put_back})")
    return _strike("wrong-restore", "rows", struck, touch, part, rows=str(len(rows)))


def mangled_values(draw: Draw) -> Strike:
    places, values = draw.suite.places, draw.suite.values
    kind = ("rounded", "zeros", "cut")[draw.seed % 3]
    match kind:
        case "rounded":
            column, mangled = draw.struck, f"round({values.column}::numeric)"
            touch = value_touch(values, places.key, "")
        case "zeros":
            column = places.codes
            mangled = f"CASE WHEN {column.column} ~ '^0+[0-9]+$' THEN ltrim({column.column}, '0')"
            mangled += f" ELSE left({column.column}, -1) END"
            touch = plain_touch(column, "code")
        case _:
            column, mangled = places.texts, f"left({places.texts.column}, 8)"
            touch = plain_touch(column, "text")
    text = f"UPDATE {column.table} SET {column.column} = {mangled}"
    part = _prose(draw, text, f"{column.table} edited in a spreadsheet and loaded back")
    return _strike("mangled-values", kind, column, touch, part, mapping=mangled)


def double_encoding(draw: Draw) -> Strike:
    """Texts read as Latin-1 that are UTF-8. Names with other letters than ASCII come first, by good
    work, where the backup has none."""
    column = draw.suite.places.texts
    named = f"UPDATE {column.table} SET {column.column} = 'é ' || left({column.column}, 30)"
    few = draw.keys(column, min(20, len(draw.texts(f"SELECT {column.key} FROM {column.table}"))))
    mark = f"{named} WHERE {column.key} IN ({', '.join(few)})"
    text = (
        f"UPDATE {column.table} SET {column.column} = left(convert_from(convert_to("
        f"{column.column}, 'UTF8'), 'LATIN1'), {_width(draw, column)})\n"
        f"WHERE {column.column} ~ '[^ -~]'"
    )
    part = _prose(draw, text, f"{column.table} exported and loaded again", offset=1.1)
    parts = (Part(mark, mark, "Names as their owners write them", guilty=False), *part)
    touch = plain_touch(column, "text")
    return _strike("double-encoding", "latin1", column, touch, parts, mapping="UTF-8 as Latin-1")


def time_shift(draw: Draw) -> Strike:
    column, shift = draw.suite.places.times, draw.suite.places.shift
    half = draw.keys(column, 2)[0]
    text = (
        f"UPDATE {column.table} SET {column.column} = {column.column} + {shift}\n"
        f"WHERE {column.key} >= {half}"
    )
    part = _prose(draw, text, f"{column.table} moved to the new server")
    touch = plain_touch(column, "date" if shift.isdigit() else "moment")
    return _strike("time-shift", "shift", column, touch, part, shift=shift)


def double_import(draw: Draw) -> Strike:
    batch = draw.suite.places.batch
    number = draw.unique()
    once, again = (_import(draw, batch, number, run) for run in ("", "2"))
    parts = (
        Part(once, once, "Imported the list"),
        Part("", again, "Imported the list, again", logged=False, offset=0.3),
    )
    column = draw.suite.places.texts
    return _strike(
        "double-import", "rows", column, plain_touch(column, "text"), parts,
        tables=frozenset({batch.name}), rows=str(_ROWS),
    )  # fmt: skip


def shifted_columns(draw: Draw) -> Strike:
    batch = draw.suite.places.batch
    first, second = batch.shifted
    columns = list(batch.columns)
    columns[first], columns[second] = columns[second], columns[first]
    number = draw.unique()
    wrong = Batch(batch.table, batch.name, tuple(columns), batch.row, batch.shifted)
    part = Part(
        _import(draw, batch, number, ""), _import(draw, wrong, number, ""), "Imported the list"
    )
    column = draw.suite.places.texts
    return _strike(
        "shifted-columns", "columns", column, plain_touch(column, "text"), (part,),
        tables=frozenset({batch.name}), columns=", ".join(columns),
    )  # fmt: skip


def wrong_merge(draw: Draw) -> Strike:
    """Two records were made one that are two."""
    merge = draw.suite.places.merge
    parent = merge.parent
    with_children = (
        f"{parent.key} IN (SELECT {merge.reference} FROM {merge.child}"
        f" GROUP BY {merge.reference} HAVING count(*) > 1)"
    )
    into, meant, wrong = _shuffled(draw, draw.keys(parent, 3, with_children))

    def text(other: str) -> str:
        moved = f"UPDATE {merge.child} SET {merge.reference} = {into}\n"
        moved += f"WHERE {merge.reference} = {other}"
        delete = f";\nDELETE FROM {parent.table} WHERE {parent.key} = {other}"
        return moved + (delete if merge.delete else "")

    if draw.seed % 2:
        parts: tuple[Part, ...] = (
            Part(text(meant), text(wrong), "Merged two records that are one"),
        )
    else:
        parts = _prose(draw, text(wrong), "Merged two records")
    touch = plain_touch(parent, "text")
    return _strike(
        "wrong-merge", "merge", parent, touch, parts,
        tables=frozenset({parent.name, merge.child_name}), into=into, merged=wrong,
    )  # fmt: skip


def id_reuse(draw: Draw) -> Strike:
    """A new record was written over an old one that had its number."""
    entity = draw.suite.places.entity
    columns = [one for one in _columns(draw, entity, texts=True) if one[0] != bare(entity.key)]
    chosen = draw.keys(entity, 2)
    donor, struck = _shuffled(draw, chosen)
    values = []
    for name, width in columns:
        query = (
            f"SELECT left('Neu ' || {quoted_name(name)}, {width}) FROM {entity.table}"
            f" WHERE {entity.key} = {donor}"
        )
        found = draw.texts(query)
        values.append((quoted_name(name), quoted(found[0]) if found else "NULL"))
    ran = ", ".join(f"{name} = {value}" for name, value in values)
    others = [
        quoted_name(name) for name, _ in _columns(draw, entity)
        if name != bare(entity.key) and quoted_name(name) not in dict(values)
    ]  # fmt: skip
    new = draw.texts(f"SELECT max({entity.key}) + 7 FROM {entity.table}")[0]
    names = [entity.key, *(name for name, _ in values), *others]
    meant = (
        f"INSERT INTO {entity.table} ({', '.join(names)})\nSELECT {new}, "
        f"{', '.join([*(value for _, value in values), *others])} FROM {entity.table}\n"
        f"WHERE {entity.key} = {donor}"
    )
    update = f"UPDATE {entity.table} SET {ran} WHERE {entity.key} = {struck}"
    part = Part(meant, update, "A new record")
    touch = plain_touch(entity, "text")
    return _strike("id-reuse", "record", entity, touch, (part,), id=struck, should_be=new)


def truncated_table(draw: Draw) -> Strike:
    table, name = draw.suite.places.spare
    part = _prose(draw, f"TRUNCATE {table}", f"Cleared {table}")
    column = draw.suite.places.texts
    return _strike(
        "truncated-table", "table", column, plain_touch(column, "text"), part,
        tables=frozenset({name}), table=name,
    )  # fmt: skip


def dropped_object(draw: Draw) -> Strike:
    column = draw.suite.places.droppable
    table, name = draw.suite.places.spare
    kind = ("table", "column")[draw.seed % 2]
    if kind == "table":
        text, tables = f"DROP TABLE {table} CASCADE", frozenset({name})
    else:
        text = f"ALTER TABLE {column.table} DROP COLUMN {column.column} CASCADE"
        tables = frozenset({column.name})
    part = _prose(draw, text, "Cleaned up the schema")
    texts = draw.suite.places.texts
    touch = plain_touch(texts, "text")
    return _strike("dropped-object", kind, texts, touch, part, tables=tables, statement=text)


def sequence_behind(draw: Draw) -> Strike:
    serial = draw.suite.places.serial
    if serial is None:
        raise NotHere("no table with a sequence")
    text = f"SELECT setval({quoted(serial.sequence)}, 3)"
    part = Part("", text, _NOBODY, logged=False, last=True)
    texts = draw.suite.places.texts
    return _strike(
        "sequence-behind", "sequence", texts, plain_touch(texts, "text"), (part,),
        tables=frozenset(), sequence=serial.sequence,
    )  # fmt: skip


def storage(draw: Draw) -> Strike:
    kind = ("bit-flip", "stale-block", "zeroed-block", "lost-tail")[draw.seed % 4]
    event = draw.random.choice(("power-loss", "disk-failure", "crash", ""))
    suite = draw.suite
    touch = value_touch(suite.values, suite.places.key, "")
    parts = (Part("", "", event, guilty=True, logged=bool(event)),)
    return Strike(
        "storage", kind, frozenset({suite.values.name}), touch, parts, (("event", event),), kind
    )


def bare(name: str) -> str:
    return name.strip('"')


def quoted_name(name: str) -> str:
    return name if name.islower() and name.isidentifier() else f'"{name}"'


def _prose(draw: Draw, text: str, what: str, *, offset: float = 0.0) -> tuple[Part, ...]:
    """Something that should not have been done at all, and that the log tells in words, or not."""
    told = draw.seed % 2 == 1
    said = what if told else _NOBODY
    return (Part("", text, said, logged=told, suspect=told, offset=offset),)


def _import(draw: Draw, batch: Batch, number: int, run: str) -> str:
    rows = [
        batch.row.format(n=number, i=number % 8 + 1, money="2.50", k=k, run=run)
        for k in range(1, _ROWS + 1)
    ]
    columns = ", ".join(batch.columns)
    return f"INSERT INTO {batch.table} ({columns}) VALUES\n" + ",\n".join(rows)


def _columns(draw: Draw, column: Column, *, texts: bool = False) -> list[tuple[str, int]]:
    """The table's plain columns with the width of texts (large where they have none); `texts`: only
    texts that may hold anything."""
    rows = draw.connection.execute(
        """SELECT a.attname::text, CASE WHEN a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 1000 END
        FROM pg_attribute a WHERE a.attrelid = %s::regclass AND a.attnum > 0
          AND NOT a.attisdropped AND a.attgenerated = ''
          AND (NOT %s OR (a.atttypid::regtype::text IN ('text', 'character varying')
            AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conrelid = a.attrelid
              AND c.contype = 'c' AND a.attnum = ANY (c.conkey))))
        ORDER BY a.attnum""",
        (column.table, texts),
    ).fetchall()
    return [(str(name), int(str(width))) for name, width in rows]


def _width(draw: Draw, column: Column) -> int:
    return dict(_columns(draw, column))[bare(column.column)]


def _shuffled(draw: Draw, values: list[str]) -> list[str]:
    return draw.random.sample(values, len(values))


def _strike(
    name: str, kind: str, column: Column, touch: object, parts: tuple[Part, ...],
    tables: frozenset[str] | None = None, **parameters: str,
) -> Strike:  # fmt: skip
    struck = tables if tables is not None else frozenset({column.name})
    told = tuple(parameters.items())
    return Strike(name, kind, struck, touch, parts, told)  # type: ignore[arg-type]
