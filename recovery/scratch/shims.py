"""What real dumps want and a scratch server lacks: extensions, collations, roles.

Each function does what can be done without leaving the jail and says how it went.
"""

import re
from typing import Final, Literal

import psycopg
from psycopg import sql

from recovery.scratch.cluster import Cluster, Connection, about_the_server

Supply = Literal["there", "replaced", "missing"]

# Not marked trusted by PostgreSQL, yet unable to reach outside: made by the keeper, and only while
# the database holds no function that an installation script could be tricked into calling.
SAFE_EXTENSIONS: Final = frozenset(
    {"autoinc", "bloom", "dict_xsyn", "earthdistance", "insert_username", "moddatetime", "refint"}
)
NONDETERMINISTIC: Final = "dbmend: stands for a nondeterministic collation"  # queries.COLUMNS too

OWN_FUNCTIONS: Final = """
SELECT EXISTS (
    SELECT FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND f.proowner = (SELECT oid FROM pg_roles WHERE rolname = %s))
"""

UUID_SHIM: Final = (
    ("uuid_generate_v1()", "SELECT pg_catalog.gen_random_uuid()", "VOLATILE"),
    ("uuid_generate_v1mc()", "SELECT pg_catalog.gen_random_uuid()", "VOLATILE"),
    ("uuid_generate_v4()", "SELECT pg_catalog.gen_random_uuid()", "VOLATILE"),
    ("uuid_nil()", "SELECT '00000000-0000-0000-0000-000000000000'::uuid", "IMMUTABLE"),
    ("uuid_ns_dns()", "SELECT '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid", "IMMUTABLE"),
    ("uuid_ns_url()", "SELECT '6ba7b811-9dad-11d1-80b4-00c04fd430c8'::uuid", "IMMUTABLE"),
    ("uuid_ns_oid()", "SELECT '6ba7b812-9dad-11d1-80b4-00c04fd430c8'::uuid", "IMMUTABLE"),
    ("uuid_ns_x500()", "SELECT '6ba7b814-9dad-11d1-80b4-00c04fd430c8'::uuid", "IMMUTABLE"),
)


def supply_extension(cluster: Cluster, database: str, jail: Connection, statement: str) -> Supply:
    """Make the extension that CREATE EXTENSION asks for, in the schema it asks for, in whatever
    version there is. 'replaced': by functions of ours, of the same names."""
    found = re.match(
        r'CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?("(?:[^"]|"")+"|\w+)'
        r'(?:\s+WITH)?(?:.*?\bSCHEMA\s+("(?:[^"]|"")+"|\w+))?',
        statement,
        re.IGNORECASE | re.DOTALL,
    )
    if found is None:
        return "missing"
    name, schema = _plain(found[1]), _plain(found[2] or "public")
    if name == "plpgsql":
        return "there"
    create = sql.SQL("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {}").format(
        sql.Identifier(name), sql.Identifier(schema)
    )
    try:
        jail.execute(create)  # the trusted ones; their scripts are made for hostile databases
        return "there"
    except psycopg.Error as error:
        if about_the_server(error):
            raise
    try:
        # Asked as the keeper: the jail's session sees what its own search_path makes it see.
        with cluster.keeper(database) as keeper:
            if name == "uuid-ossp":
                _shim_uuid(keeper, schema)
                return "replaced"
            jailed = keeper.execute(OWN_FUNCTIONS, (cluster.role("jail"),)).fetchone()
            if name in SAFE_EXTENSIONS and jailed == (False,):
                keeper.execute(create)
                return "there"
    except psycopg.Error as error:
        if about_the_server(error):
            raise
    return "missing"


def supply_collation(cluster: Cluster, database: str, name: str) -> bool:
    """Make a collation of code-point order under a name of the system's schema that this server
    was built without. False when even that is refused."""
    with cluster.keeper(database) as keeper:
        try:
            keeper.execute(_collation(cluster, sql.Identifier("pg_catalog", name)))
        except psycopg.Error as error:
            if about_the_server(error):
                raise
            return False
    return True


def replace_collation(cluster: Cluster, jail: Connection, statement: str) -> bool:
    """Make a collation of code-point order instead of the one that CREATE COLLATION asks for."""
    part = r'(?:"(?:[^"]|"")+"|\w+)'
    found = re.match(
        rf"CREATE\s+COLLATION\s+(?:IF\s+NOT\s+EXISTS\s+)?({part})(?:\.({part}))?",
        statement,
        re.IGNORECASE,
    )
    if found is None:
        return False
    name = sql.Identifier(*(_plain(piece) for piece in found.groups() if piece))
    try:
        jail.execute(_collation(cluster, name))
        if re.search(r"deterministic\s*=\s*'?(?:false|off|no|0)\b", statement, re.IGNORECASE):
            comment = sql.SQL("COMMENT ON COLLATION {} IS {}")
            jail.execute(comment.format(name, sql.Literal(NONDETERMINISTIC)))
    except psycopg.Error as error:
        if about_the_server(error):
            raise
        return False
    return True


def missing_role(error: psycopg.Error) -> str:
    """The role whose absence the server complains about; '' when it is about something else."""
    found = re.fullmatch(r'role "(.+)" does not exist', error.diag.message_primary or "")
    return found[1] if found and error.sqlstate == "42704" else ""


def missing_collation(error: psycopg.Error) -> str:
    """The same for a collation of the system's schema."""
    message = error.diag.message_primary or ""
    found = re.match(r'collation "(?:pg_catalog\.)?(.+)" for encoding', message)
    return found[1] if found and error.sqlstate == "42704" else ""


def _collation(cluster: Cluster, name: sql.Composable) -> sql.Composed:
    provider = "builtin" if cluster.major >= 17 else "libc"
    return sql.SQL("CREATE COLLATION {} (provider = {}, locale = 'C.UTF-8')").format(
        name, sql.SQL(provider)
    )


def _shim_uuid(keeper: Connection, schema: str) -> None:
    for signature, body, volatility in UUID_SHIM:
        function = sql.SQL("{}." + signature).format(sql.Identifier(schema))
        keeper.execute(
            sql.SQL("CREATE FUNCTION {} RETURNS uuid LANGUAGE sql {} AS {}").format(
                function, sql.SQL(volatility), sql.Literal(body)
            )
        )
        comment = sql.SQL("COMMENT ON FUNCTION {} IS 'dbmend: shim'")  # queries._OUR_SHIM too
        keeper.execute(comment.format(function))


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
