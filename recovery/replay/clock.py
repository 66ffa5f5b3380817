"""The pinned clock and the pinned chance of a replay.

A step that says now() must see the time of the log, not of today; random() and new ids must come
out the same in every run of the same history. A schema placed before pg_catalog in the search path
overrides unqualified calls; it does not override CURRENT_TIMESTAMP and its kin, calls that name
pg_catalog, defaults stored by OID, or functions with a search path of their own: those are
rewritten by token. Shims are never complete, therefore every history is also replayed with clock
and chance moved, and what differs is called unstable.
"""

from datetime import datetime

import postgast
from psycopg import Connection, sql

SHIM = "dbmend_shim"

_DEFINITIONS = f"""
CREATE SCHEMA {SHIM};
CREATE FUNCTION {SHIM}.now() RETURNS timestamptz LANGUAGE sql STABLE
  RETURN pg_catalog.current_setting('dbmend.now')::timestamptz;
CREATE FUNCTION {SHIM}.transaction_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
  RETURN {SHIM}.now();
CREATE FUNCTION {SHIM}.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
  RETURN {SHIM}.now();
CREATE FUNCTION {SHIM}.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
  RETURN {SHIM}.now();
CREATE FUNCTION {SHIM}.timeofday() RETURNS text LANGUAGE sql VOLATILE
  RETURN pg_catalog.to_char({SHIM}.now(), 'Dy Mon DD HH24:MI:SS.US YYYY TZ');
CREATE FUNCTION {SHIM}.gen_random_uuid() RETURNS uuid LANGUAGE sql VOLATILE
  RETURN pg_catalog.md5(pg_catalog.random()::text || pg_catalog.random()::text)::uuid;
CREATE FUNCTION {SHIM}.uuid_generate_v4() RETURNS uuid LANGUAGE sql VOLATILE
  RETURN {SHIM}.gen_random_uuid();
"""

_FUNCTIONS = frozenset(
    {
        "now",
        "transaction_timestamp",
        "statement_timestamp",
        "clock_timestamp",
        "timeofday",
        "gen_random_uuid",
        "uuid_generate_v4",
    }
)
_KEYWORDS = {
    "current_timestamp": f"{SHIM}.now()",
    "current_date": f"({SHIM}.now()::date)",
    "current_time": f"({SHIM}.now()::timetz)",
    "localtime": f"({SHIM}.now()::time)",
    "localtimestamp": f"({SHIM}.now()::timestamp)",
}


def pin(text: str) -> str:
    """SQL with every reading of the clock or of an unseeded id redirected to the shim.

    Works on the server's own tokens, so that literals and comments stay as they are. Text that
    does not scan is returned unchanged: the server will refuse it with its own message."""
    raw = text.encode()
    try:
        tokens = list(postgast.scan(text).tokens)
    except postgast.PgQueryError:
        return text
    words = [raw[token.start : token.end].decode().lower() for token in tokens]
    out: list[bytes] = []
    done = 0
    for place, (token, word) in enumerate(zip(tokens, words, strict=True)):
        start = token.start
        if word in _KEYWORDS and words[place - 1 : place] != ["."]:
            replacement = _KEYWORDS[word]
        elif word in _FUNCTIONS and words[place + 1 : place + 2] == ["("]:
            before = words[max(0, place - 2) : place]
            if before[-1:] == ["."] and before != ["pg_catalog", "."]:
                continue
            if before == ["pg_catalog", "."]:
                start = tokens[place - 2].start
            replacement = f"{SHIM}.{word}"
        else:
            continue
        out += [raw[done:start], replacement.encode()]
        done = token.end
    return b"".join([*out, raw[done:]]).decode()


def install(connection: Connection[tuple[object, ...]]) -> tuple[str, ...]:
    """Put the shim into a database that only replays will use; redirect stored defaults and
    function bodies. Returns what could not be redirected, in words."""
    connection.execute(_DEFINITIONS.encode())
    connection.execute(
        sql.SQL("SELECT pg_catalog.set_config('search_path', {}, false)").format(
            sql.Literal(f"{SHIM}, pg_catalog")
        )
    )
    return (*_redirect_defaults(connection), *_redirect_functions(connection))


def search_path(connection: Connection[tuple[object, ...]]) -> str:
    """Where unqualified names of a step are looked up: the shim, the catalog, then public, then
    the remaining schemas by name (an application's own search path is not in a dump)."""
    rows = connection.execute(
        "SELECT pg_catalog.quote_ident(nspname) FROM pg_catalog.pg_namespace"
        " WHERE nspname !~ '^(pg_|information_schema$|dbmend_)'"
        " ORDER BY nspname <> 'public', nspname"
    ).fetchall()
    return ", ".join([SHIM, "pg_catalog", *(str(row[0]) for row in rows)])


def set_clock(connection: Connection[tuple[object, ...]], at: datetime, seed: float) -> None:
    """Pin the clock, the zone in which the step was written down, and the chance."""
    offset = at.utcoffset()
    hours = offset.total_seconds() / 3600 if offset else 0
    connection.execute(
        "SELECT pg_catalog.set_config('dbmend.now', %s, false),"
        " pg_catalog.set_config('TimeZone', %s, false), pg_catalog.setseed(%s)",
        (at.isoformat(), f"<{hours:+g}>{-hours:g}" if hours else "UTC", seed),
    )


def _redirect_defaults(connection: Connection[tuple[object, ...]]) -> tuple[str, ...]:
    rows = connection.execute(
        "SELECT c.oid::regclass::text, a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid)"
        " FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_class c ON c.oid = d.adrelid"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.adnum"
        " WHERE a.attgenerated = '' AND c.relnamespace::regnamespace::text"
        " !~ '^(pg_|information_schema)'"
    ).fetchall()
    for relation, column, expression in rows:
        pinned = pin(str(expression))
        if pinned != expression:
            connection.execute(
                sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT {}").format(
                    sql.SQL(str(relation)), sql.Identifier(str(column)), sql.SQL(pinned)
                )
            )
    return ()


def _redirect_functions(connection: Connection[tuple[object, ...]]) -> tuple[str, ...]:
    rows = connection.execute(
        "SELECT p.oid::regprocedure::text, p.prosrc, pg_catalog.pg_get_functiondef(p.oid),"
        " (SELECT substr(s, 13) FROM unnest(p.proconfig) s WHERE s LIKE 'search_path=%%')"
        " FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang"
        " WHERE l.lanname IN ('sql', 'plpgsql') AND p.prokind IN ('f', 'p')"
        " AND p.pronamespace::regnamespace::text !~ '^(pg_|information_schema|dbmend_)'"
        " AND pg_catalog.pg_has_role(p.proowner, 'MEMBER')"
    ).fetchall()
    for signature, source, definition, path in rows:
        pinned = (
            str(definition).replace(str(source), pin(str(source)), 1)
            if source
            else pin(str(definition))
        )
        if pinned != definition:
            connection.execute(pinned.encode())
        if path is not None:
            connection.execute(
                sql.SQL("ALTER ROUTINE {} SET search_path TO {}, pg_catalog, {}").format(
                    sql.SQL(str(signature)), sql.SQL(SHIM), sql.SQL(str(path) or "''")
                )
            )
    return ()
