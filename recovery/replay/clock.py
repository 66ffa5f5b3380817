"""The pinned clock and the pinned chance of a replay.

A step that says now() must see the time of the log, not of today; random() and new ids must come
out the same in every run of the same history. A schema placed before pg_catalog in the search path
overrides unqualified calls; it does not override CURRENT_TIMESTAMP and its kin, calls that name
pg_catalog, defaults stored by OID, or functions with a search path of their own: those are
rewritten by token. Shims are never complete, therefore every history is also replayed with clock
and chance moved, and what differs is called unstable.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import postgast
import psycopg
from psycopg import Connection, sql

SHIM = "dbmend_shim"
NEVER = datetime(2000, 1, 1, tzinfo=UTC)  # before the first step

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
CREATE FUNCTION {SHIM}.age(timestamptz) RETURNS interval LANGUAGE sql STABLE
  RETURN pg_catalog.age({SHIM}.now()::date::timestamptz, $1);
CREATE FUNCTION {SHIM}.age(timestamp) RETURNS interval LANGUAGE sql STABLE
  RETURN pg_catalog.age({SHIM}.now()::date::timestamp, $1);
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
_ANYWHERE = frozenset({"gen_random_uuid", "uuid_generate_v4"})  # of extensions, in any schema
_KEYWORDS = {
    "current_timestamp": f"{SHIM}.now()",
    "current_date": f"({SHIM}.now()::date)",
    "current_time": f"({SHIM}.now()::timetz)",
    "localtime": f"({SHIM}.now()::time)",
    "localtimestamp": f"({SHIM}.now()::timestamp)",
}
_PRECISE = {
    "current_timestamp": "timestamptz",
    "current_time": "timetz",
    "localtime": "time",
    "localtimestamp": "timestamp",
}
_TODAY = f"pg_catalog.date_trunc('day', {SHIM}.now())"
_LITERALS = {
    "'now'": f"{SHIM}.now()",
    "'today'": _TODAY,
    "'tomorrow'": f"({_TODAY} + '1 day'::interval)",
    "'yesterday'": f"({_TODAY} - '1 day'::interval)",
}
# Without one of these there is nothing to redirect, and nothing has to be scanned.
_PERHAPS = re.compile("now|today|tomorrow|yesterday|time|current_|uuid", re.I)
_MOMENTS = frozenset({"timestamptz", "timestamp", "date", "time", "timetz"})
_TOLD = _FUNCTIONS | _KEYWORDS.keys() | _LITERALS.keys()


@dataclass(frozen=True, slots=True)
class Scanned:
    """A text and its tokens, lower-case and where they are."""

    raw: bytes
    places: list[tuple[int, int]]
    words: list[str]


def scan(text: str) -> Scanned | None:
    """None for text that does not scan."""
    raw = text.encode()
    try:
        places = [(token.start, token.end) for token in postgast.scan(text).tokens]
    except postgast.PgQueryError:
        return None
    return Scanned(raw, places, [raw[start:end].decode().lower() for start, end in places])


def pin(text: str) -> str:
    """SQL with every reading of the clock or of an unseeded id redirected to the shim.

    Works on the server's own tokens, so that literals and comments stay as they are; the body of
    a DO or of a function to be made is SQL of its own. Out of reach: 'now' that becomes a moment
    by assignment only, and SQL put together at run time that does not call now() plainly. Text
    that does not scan is returned unchanged: the server will refuse it with its own message."""
    if not _PERHAPS.search(text):
        return text
    scanned = scan(text)
    return text if scanned is None else pinned(scanned)


def pinned(scanned: Scanned) -> str:
    """As `pin` does it."""
    raw, places, words = scanned.raw, scanned.places, scanned.words
    if _TOLD.isdisjoint(words) and words[:1] not in (["do"], ["create"]):
        return raw.decode()
    out: list[bytes] = []
    done = 0
    for place, (start, end) in enumerate(places):
        if start < done:
            continue
        found = _pinned(words, place, raw[start:end].decode())
        if found is None:
            continue
        replacement, first, last = found
        out += [raw[done : places[first][0]], replacement.encode()]
        done = places[last][1]
    return b"".join([*out, raw[done:]]).decode()


def _pinned(words: list[str], place: int, text: str) -> tuple[str, int, int] | None:
    """What stands for the word at `place`, and the first and last word that it replaces."""
    word = words[place]
    before = words[max(0, place - 2) : place]
    after = words[place + 1 : place + 4]
    if word in _KEYWORDS and before[-1:] != ["."]:
        if word in _PRECISE and after[:1] == ["("] and after[2:] == [")"]:
            digits = after[1]
            return f"({_KEYWORDS[word]}::{_PRECISE[word]}({digits}))", place, place + 3
        return _KEYWORDS[word], place, place
    if word in _FUNCTIONS and after[:1] == ["("]:
        if before[-1:] != ["."]:
            return f"{SHIM}.{word}", place, place
        if before == ["pg_catalog", "."] or (word in _ANYWHERE and len(before) == 2):
            return f"{SHIM}.{word}", place - 2, place
    if word in _LITERALS:
        if after[:1] == ["::"] and set(after[1:2]) & _MOMENTS:
            return _LITERALS[word], place, place
        if before and before[-1] in _MOMENTS:
            return f"({_LITERALS[word]}::{before[-1]})", place - 1, place
    if text.startswith("$") and words[0] in ("do", "create"):
        quote = text[: text.index("$", 1) + 1]
        return quote + pin(text[len(quote) : -len(quote)]) + quote, place, place
    return None


def install(connection: Connection[tuple[object, ...]]) -> tuple[str, ...]:
    """Put the shim into a database that only replays will use; redirect stored defaults, function
    bodies and views. Returns what could not be redirected, in words."""
    connection.execute(_DEFINITIONS.encode())
    connection.execute(
        sql.SQL(
            "SELECT pg_catalog.set_config('search_path', {}, false),"
            " pg_catalog.set_config('check_function_bodies', 'off', false)"
        ).format(sql.Literal(f"{SHIM}, pg_catalog"))
    )
    return (
        *_redirect_defaults(connection),
        *_redirect_functions(connection),
        *_redirect_views(connection),
    )


def search_path(connection: Connection[tuple[object, ...]], *, creating: bool = False) -> str:
    """Where unqualified names of a step are looked up: the shim, the catalog, then public, then
    the remaining schemas by name (an application's own search path is not in a dump). What is
    made without a schema goes to the first one, hence the other order for `creating`."""
    rows = connection.execute(
        "SELECT pg_catalog.quote_ident(nspname) FROM pg_catalog.pg_namespace"
        " WHERE nspname !~ '^(pg_|information_schema$|dbmend_)'"
        " ORDER BY nspname <> 'public', nspname"
    ).fetchall()
    names = [str(row[0]) for row in rows]
    return ", ".join([*names, SHIM] if creating else [SHIM, "pg_catalog", *names])


def set_clock(connection: Connection[tuple[object, ...]], at: datetime, path: str) -> None:
    """A session as new, whatever the step before has set, with the clock and the zone in which
    the step was written down. Temporary tables stay."""
    connection.execute(
        sql.SQL(
            "RESET ROLE; RESET SESSION AUTHORIZATION; RESET ALL; DEALLOCATE ALL; CLOSE ALL;"
            " SELECT pg_catalog.pg_advisory_unlock_all(), {}"
        ).format(moment(at, path))
    )


def moment(at: datetime, path: str) -> sql.Composed:
    """What a SELECT has to call so that a step sees this time, its zone and these schemas."""
    return sql.SQL(
        "pg_catalog.set_config('dbmend.now', {}, false),"
        " pg_catalog.set_config('search_path', {}, false),"
        " pg_catalog.set_config('TimeZone', {}, false)"
    ).format(sql.Literal(at.isoformat()), sql.Literal(path), sql.Literal(zone(at)))


def zone(at: datetime) -> str:
    """The time zone in which a step of this time was written down."""
    offset = at.utcoffset() or timedelta(0)
    return f"<{_hours(offset)}>{_hours(-offset)}" if offset else "UTC"


def keep_clock(connection: Connection[tuple[object, ...]], at: datetime) -> None:
    """Pin the clock again after a statement that reset settings; the rest is as it wanted."""
    connection.execute("SELECT pg_catalog.set_config('dbmend.now', %s, false)", (at.isoformat(),))


def set_chance(
    connection: Connection[tuple[object, ...]], name: str, seed: float, *, mark: str
) -> None:
    """Chance as `seed` has it for the part of a history that is called `name`: parts differ, or
    all their new ids would be the same. What is written from here on belongs to step `mark`."""
    connection.execute(
        "SELECT pg_catalog.setseed(%s), pg_catalog.pg_logical_emit_message(true, 'step', %s::text),"
        " pg_catalog.set_config('dbmend.mark', %s, false)",
        (chance(name, seed), mark, mark),
    )


def chance(name: str, seed: float) -> float:
    """What setseed takes for the part of a history that is called `name`."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return 2 * (int.from_bytes(digest[:6], "big") / 2**48) - 1


def _hours(offset: timedelta) -> str:
    """As zones in the POSIX style write it: +03, -03:30."""
    minutes = round(offset.total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    hours, rest = divmod(abs(minutes), 60)
    return f"{sign}{hours:02}" + (f":{rest:02}" if rest else "")


def _try(
    connection: Connection[tuple[object, ...]], what: str, *queries: sql.SQL | sql.Composed
) -> list[str]:
    """Nothing, or in words that it could not be done."""
    try:
        with connection.transaction():
            for query in queries:
                connection.execute(query)
    except psycopg.Error as error:
        if connection.closed:
            raise
        return [f"{what} reads the clock: {error.diag.message_primary or error}"]
    return []


def _redirect_defaults(connection: Connection[tuple[object, ...]]) -> tuple[str, ...]:
    rows = connection.execute(
        "SELECT c.oid::regclass::text, a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid)"
        " FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_class c ON c.oid = d.adrelid"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.adnum"
        " WHERE a.attgenerated = '' AND c.relnamespace::regnamespace::text"
        " !~ '^(pg_|information_schema)'"
    ).fetchall()
    domains = connection.execute(
        "SELECT pg_catalog.format_type(t.oid, NULL), t.typdefault FROM pg_catalog.pg_type t"
        " WHERE t.typtype = 'd' AND t.typdefault IS NOT NULL"
        " AND t.typnamespace::regnamespace::text !~ '^(pg_|information_schema|dbmend_)'"
    ).fetchall()
    told: list[str] = []
    for relation, column, expression in rows:
        pinned = pin(str(expression))
        if pinned != expression:
            change = sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT {}").format(
                sql.SQL(str(relation)), sql.Identifier(str(column)), sql.SQL(pinned)
            )
            told += _try(connection, f"the default of {relation}.{column}", change)
    for domain, expression in domains:
        pinned = pin(str(expression))
        if pinned != expression:
            change = sql.SQL("ALTER DOMAIN {} SET DEFAULT {}").format(
                sql.SQL(str(domain)), sql.SQL(pinned)
            )
            told += _try(connection, f"the default of {domain}", change)
    return tuple(told)


def _redirect_functions(connection: Connection[tuple[object, ...]]) -> tuple[str, ...]:
    rows = connection.execute(
        "SELECT p.oid::regprocedure::text, p.prosrc, pg_catalog.pg_get_functiondef(p.oid),"
        " (SELECT substr(s, 13) FROM unnest(p.proconfig) s WHERE s LIKE 'search_path=%%')"
        " FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang"
        " WHERE l.lanname IN ('sql', 'plpgsql') AND p.prokind IN ('f', 'p')"
        " AND p.pronamespace::regnamespace::text !~ '^(pg_|information_schema|dbmend_)'"
        " AND pg_catalog.pg_has_role(p.proowner, 'MEMBER')"
    ).fetchall()
    told: list[str] = []
    for signature, source, definition, path in rows:
        if source:  # the body comes last in the definition
            head, _, tail = str(definition).rpartition(str(source))
            pinned = head + pin(str(source)) + tail
        else:
            pinned = pin(str(definition))
        changes: list[sql.SQL | sql.Composed] = [sql.SQL(pinned)] if pinned != definition else []
        if path is not None:
            shown = str(path) if str(path).strip(' "') else ""
            names = ", ".join(filter(None, (SHIM, "pg_catalog", shown)))
            changes.append(
                sql.SQL("ALTER ROUTINE {} SET search_path TO {}").format(
                    sql.SQL(str(signature)), sql.SQL(names)
                )
            )
        if changes:
            told += _try(connection, str(signature), *changes)
    return tuple(told)


def _redirect_views(connection: Connection[tuple[object, ...]]) -> tuple[str, ...]:
    rows = connection.execute(
        "SELECT c.oid::regclass::text, pg_catalog.pg_get_viewdef(c.oid) FROM pg_catalog.pg_class c"
        " WHERE c.relkind = 'v' AND c.relnamespace::regnamespace::text"
        " !~ '^(pg_|information_schema|dbmend_)' AND pg_catalog.pg_has_role(c.relowner, 'MEMBER')"
    ).fetchall()
    told: list[str] = []
    for view, definition in rows:
        pinned = pin(str(definition))
        if pinned != definition:
            change = sql.SQL("CREATE OR REPLACE VIEW {} AS {}").format(
                sql.SQL(str(view)), sql.SQL(pinned)
            )
            told += _try(connection, f"the view {view}", change)
    return tuple(told)
