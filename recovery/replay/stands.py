"""Where all sequences of a database stand, and how they are put back there: what was only tried
takes no numbers.
"""

from psycopg import Connection

Stands = dict[int, tuple[int, bool]]  # per sequence: a number, and whether that was issued


def read_stands(connection: Connection[tuple[object, ...]]) -> Stands:
    row = connection.execute(b"SELECT dbmend_watch.stands()").fetchone()
    found: Stands = {}
    for one in str(row[0]).split(",") if row and row[0] is not None else ():
        oid, number, issued = one.split(":")
        found[int(oid)] = int(number), issued == "t"
    return found


def put_back(connection: Connection[tuple[object, ...]], before: Stands) -> None:
    for oid, stand in read_stands(connection).items():
        if before.get(oid, stand) != stand:
            connection.execute(
                "SELECT pg_catalog.setval(%s::oid::regclass, %s, %s)", (oid, *before[oid])
            )
