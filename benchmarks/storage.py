"""What a failing disk does to a table, done with SQL to the damaged database after the history:
single bits of cells, blocks of old rows, blocks of no rows, the end of a file cut off.

A dump has no pages. What is a block here are rows that share a page in the damaged database."""

from random import Random

from benchmarks.faults.model import Strike
from benchmarks.lives import read_as
from recovery.demo.twin import Connection, State, TableShape, prepare

_FLIPS = 5  # cells


def damage(
    connection: Connection, strike: Strike, tables: tuple[TableShape, ...], seed: int, *,
    start: State, now: State,
) -> None:  # fmt: skip
    """Damage the struck table of the database, whose state is `now`. `start` is the state of the
    backup, whose rows a block may have fallen back to."""
    prepare(connection)
    column = strike.touch.column
    random = Random(f"storage {column.name} {strike.storage} {seed}")
    shape = next(one for one in tables if one.name == column.name)
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        match strike.storage:
            case "bit-flip":
                _flip(connection, strike, random)
            case "stale-block":
                old, new = start[shape.name], now[shape.name]
                changed = {
                    str(row[shape.key[0]]) for key, row in new.items() if old.get(key) != row
                }
                _stale(connection, shape, start, _block(connection, strike, random, changed))
            case "zeroed-block":
                _delete(connection, strike, _block(connection, strike, random))
            case _:
                _delete(connection, strike, _tail(connection, strike))


def after(connection: Connection, tables: tuple[TableShape, ...]) -> State:
    return read_as(connection, tables)


def _flip(connection: Connection, strike: Strike, random: Random) -> None:
    """One bit of the last digit's character of a number as it is printed: 1 becomes 3, 4 or 9."""
    column = strike.touch.column
    rows = connection.execute(
        f"SELECT {column.key}::text, {column.column}::text FROM {column.table}"
        f" WHERE {column.column} IS NOT NULL ORDER BY {column.key}".encode()
    ).fetchall()
    for key, value in random.sample(rows, min(_FLIPS, len(rows))):
        text = str(value)
        places = [at for at, sign in enumerate(text) if sign in "01234567"]
        if not places:
            continue
        at = random.choice(places)
        flipped = chr(ord(text[at]) ^ (1 << random.randrange(3)))
        new = text[:at] + flipped + text[at + 1 :]
        connection.execute(
            f"UPDATE {column.table} SET {column.column} = %s::text::numeric"
            f" WHERE {column.key}::text = %s".encode(),
            (new, str(key)),
        )


def _block(
    connection: Connection, strike: Strike, random: Random, among: set[str] | None = None
) -> list[str]:
    """Keys of the rows of one page; of one that has rows `among` these, if there are such."""
    column = strike.touch.column
    rows = connection.execute(
        f"SELECT (ctid::text::point)[0]::integer, array_agg({column.key}::text ORDER BY ctid)"
        f" FROM {column.table} GROUP BY 1 ORDER BY 1".encode()
    ).fetchall()
    pages = [[str(key) for key in keys] for _, keys in rows if isinstance(keys, list)]
    wanted = [keys for keys in pages if among and among & set(keys)]
    return random.choice(wanted or pages)


def _tail(connection: Connection, strike: Strike) -> list[str]:
    """Keys of the rows of the last page, or of the last tenth where there is one page."""
    column = strike.touch.column
    rows = connection.execute(
        f"SELECT (ctid::text::point)[0]::integer, {column.key}::text FROM {column.table}"
        " ORDER BY ctid".encode()
    ).fetchall()
    last = rows[-1][0]
    keys = [str(key) for page, key in rows if page == last]
    return keys if len(keys) < len(rows) else keys[-max(1, len(keys) // 10) :]


def _delete(connection: Connection, strike: Strike, keys: list[str]) -> None:
    column = strike.touch.column
    text = f"DELETE FROM {column.table} WHERE {column.key}::text = ANY(%s)"
    connection.execute(text.encode(), (keys,))


def _stale(connection: Connection, shape: TableShape, start: State, keys: list[str]) -> None:
    """The rows as the backup has them; rows that it does not have go."""
    wanted = set(keys)
    at = shape.key[0]
    relation = ".".join(f'"{part}"' for part in shape.name.split(".", 1))
    key = f'"{shape.columns[at]}"'
    old = {row[at]: row for row in start[shape.name].values() if row[at] in wanted}
    gone = sorted(wanted - {str(one) for one in old})
    text = f"DELETE FROM {relation} WHERE {key}::text = ANY(%s)"
    connection.execute(text.encode(), (gone,))
    for row in old.values():
        for name, value in zip(shape.columns, row, strict=True):
            column = f'"{name}"'
            text = (
                f"UPDATE {relation} SET {column} = (SELECT {column} FROM jsonb_populate_record("
                f"NULL::{relation}, jsonb_build_object(%s::text, %s::text)))"
                f" WHERE {key}::text = %s AND {column}::text IS DISTINCT FROM %s::text"
            )
            connection.execute(text.encode(), (name, value, row[at], value))
