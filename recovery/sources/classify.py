"""What an SQL statement of a dump is about: the archive's word for its kind, its name, its section.

Only leading words are read; nothing here decides whether a statement is right.
"""

import re
from dataclasses import dataclass

from diffing.model import qualified
from recovery.sources.model import Section

_NAME = r'(?:"(?:[^"]|"")*"|[^\s"().,;\'=]+)'
_PATH = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_PART = re.compile(_NAME)
_COPY = re.compile(
    rf"COPY\s+(?P<table>{_PATH})\s*(?:\((?P<columns>.*?)\)\s*)?FROM\s+STDIN\b\s*(?P<options>.*)",
    re.IGNORECASE | re.DOTALL,
)

# fmt: off
KNOWN_WORDS = frozenset((
    "ABORT", "ALTER", "ANALYZE", "BEGIN", "CALL", "CHECKPOINT", "CLOSE", "CLUSTER", "COMMENT",
    "COMMIT", "COPY", "CREATE", "DEALLOCATE", "DECLARE", "DELETE", "DISCARD", "DO", "DROP",
    "END", "EXECUTE", "EXPLAIN", "FETCH", "GRANT", "IMPORT", "INSERT", "LISTEN", "LOAD", "LOCK",
    "MERGE", "MOVE", "NOTIFY", "PREPARE", "REASSIGN", "REFRESH", "REINDEX", "RELEASE", "RESET",
    "REVOKE", "ROLLBACK", "SAVEPOINT", "SECURITY", "SELECT", "SET", "SHOW", "START", "TABLE",
    "TRUNCATE", "UNLISTEN", "UPDATE", "VACUUM", "VALUES", "WITH",
))
# fmt: on

POST_DATA = frozenset(
    {
        "CHECK CONSTRAINT",
        "CONSTRAINT",
        "FK CONSTRAINT",
        "INDEX",
        "INDEX ATTACH",
        "TRIGGER",
        "EVENT TRIGGER",
        "RULE",
        "POLICY",
        "ROW SECURITY",
        "PUBLICATION",
        "PUBLICATION TABLE",
        "SUBSCRIPTION",
        "STATISTICS",
        "MATERIALIZED VIEW DATA",
    }
)
DATA = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "SEQUENCE SET", "BLOB"})
# Written before the data as a rule, and after it when they need a constraint to exist.
_MOVABLE = frozenset({"VIEW", "MATERIALIZED VIEW", "FUNCTION", "PROCEDURE", "AGGREGATE"})
# Without a place of their own: they belong to what stands before them.
_ATTACHED = frozenset(
    {"SET", "COMMENT", "ACL", "DEFAULT ACL", "SECURITY LABEL", "OWNER", "TRANSACTION", "DO", "DROP"}
    | {"SELECT", "OTHER"}
)

# Object words behind CREATE / ALTER / DROP that are longer than one word, longest first.
_OBJECTS = (
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "FOREIGN DATA WRAPPER",
    "MATERIALIZED VIEW",
    "DEFAULT PRIVILEGES",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "ACCESS METHOD",
    "EVENT TRIGGER",
    "FOREIGN TABLE",
    "USER MAPPING",
    "LARGE OBJECT",
)
_NOISE = re.compile(
    r"(?:OR\s+REPLACE|GLOBAL|LOCAL|TEMPORARY|TEMP|UNLOGGED|UNIQUE|RECURSIVE|TRUSTED|PROCEDURAL"
    r"|CONSTRAINT(?=\s+TRIGGER)|DEFAULT(?=\s+CONVERSION))\s+",
    re.IGNORECASE,
)
_EXISTENCE = re.compile(r"(?:CONCURRENTLY\s+|IF\s+(?:NOT\s+)?EXISTS\s+|ONLY\s+)*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Classified:
    kind: str
    name: str  # qualified where the object lives in a schema
    owner: str = ""


@dataclass(frozen=True, slots=True)
class CopyHead:
    table: str  # qualified
    columns: tuple[str, ...]
    statement: str  # names quoted and qualified, options as they were
    options: str


_FIRST_WORD = re.compile(r"\(*\s*([A-Za-z_]+)(?![\w.:$])")
_INSERT = re.compile(rf"INSERT\s+INTO\s+({_PATH})", re.IGNORECASE)


def first_word(sql: str) -> str:
    found = _FIRST_WORD.match(sql)
    return found.group(1).upper() if found else ""


def names(path: str) -> tuple[str, ...]:
    """The parts of a dotted name as PostgreSQL reads them: unquoted ones in lower case."""
    return tuple(
        part[1:-1].replace('""', '"') if part.startswith('"') else part.lower()
        for part in _PART.findall(path)
    )


def quoted(part: str) -> str:
    return '"' + part.replace('"', '""') + '"'


def qualify(path: str, schema: str) -> str:
    """'orders' -> 'public.orders' under the schema that is searched first."""
    parts = names(path)
    if len(parts) > 1:
        return qualified(parts[-2], parts[-1])
    return qualified(schema, parts[0]) if schema and parts else path


def copy_head(sql: str, schema: str) -> CopyHead | None:
    """None when the statement cannot be read as COPY ... FROM stdin."""
    found = _COPY.match(sql)
    if found is None:
        return None
    parts = names(found["table"])
    if len(parts) == 1:
        parts = (schema or "public", *parts)
    columns = names(found["columns"]) if found["columns"] else ()
    options = found["options"].strip()
    head = "COPY " + ".".join(map(quoted, parts))
    if columns:
        head += " (" + ", ".join(map(quoted, columns)) + ")"
    statement = f"{head} FROM stdin {options}".rstrip()
    return CopyHead(qualified(parts[-2], parts[-1]), columns, statement, options)


def searched_first(sql: str) -> str | None:
    """The first schema of a statement that sets search_path; '' when it is emptied; None when the
    statement is about something else."""
    found = re.match(r"SET\s+(?:SESSION\s+|LOCAL\s+)?search_path\s*(?:=|TO\b)\s*(.*)", sql, re.I)
    if found is None:
        found = re.match(r"SELECT\s+(?:pg_catalog\.)?set_config\('search_path',\s*'([^']*)'", sql)
        if found is None:
            return None
    first = found.group(1).split(",")[0].strip().strip("'")
    parts = names(first)
    return "" if not parts or parts[0] in {"pg_catalog", "default"} else parts[0]


def classify(sql: str, schema: str = "public") -> Classified:
    word = first_word(sql)
    match word:
        case "CREATE":
            return _created(sql, schema)
        case "ALTER":
            return _altered(sql, schema)
        case "SET" | "RESET":
            return Classified("SET", "")
        case "SELECT":
            return _selected(sql, schema)
        case "COMMENT":
            return Classified("COMMENT", _about(sql, r"COMMENT\s+ON\s+"))
        case "GRANT" | "REVOKE":
            return Classified("ACL", _about(sql, r".*?\sON\s+"))
        case "SECURITY":
            return Classified("SECURITY LABEL", _about(sql, r".*?\sON\s+"))
        case "INSERT":
            found = _INSERT.match(sql)
            return Classified(word, qualify(found[1], schema) if found else "")
        case "DELETE" | "MERGE":
            return Classified(word, _named(sql, r"\w+\s+(?:INTO|FROM)\s+(?:ONLY\s+)?", schema))
        case "UPDATE" | "TRUNCATE":
            return Classified(word, _named(sql, r"\w+\s+(?:TABLE\s+)?(?:ONLY\s+)?", schema))
        case "REFRESH":
            start = r"REFRESH\s+MATERIALIZED\s+VIEW\s+"
            return Classified("MATERIALIZED VIEW DATA", _named(sql, start, schema))
        case "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE":
            return Classified("TRANSACTION", "")
        case "DO" | "DROP":
            return Classified(word, "")
        case _:
            return Classified("OTHER", "")


def section_of(kind: str, before: Section) -> Section:
    """Where a statement belongs, given where the last one with a place of its own stood."""
    if kind in POST_DATA:
        return "post-data"
    if kind in DATA:
        return "data"
    if kind in _ATTACHED:
        return before
    return "post-data" if kind in _MOVABLE and before == "post-data" else "pre-data"


def has_place(kind: str) -> bool:
    return kind not in _ATTACHED


def _created(sql: str, schema: str) -> Classified:
    rest = _NOISE_ALL.sub("", sql[len("CREATE") :].lstrip(), count=1)
    kind, rest = _object(rest)
    rest = rest[_end(_EXISTENCE, rest) :]
    match kind:
        case "TRIGGER" | "POLICY":
            found = re.match(rf"({_PATH})\s.*?\sON\s+({_PATH})", rest, re.I | re.S)
            if found is None:
                found = re.match(rf"({_PATH})\s+ON\s+({_PATH})", rest, re.I | re.S)
            return Classified(kind, _member(found, schema))
        case "RULE":
            found = re.match(rf"({_PATH})\s+AS\s+ON\s+\w+\s+TO\s+({_PATH})", rest, re.I | re.S)
            return Classified(kind, _member(found, schema))
        case "INDEX":
            found = re.match(rf"(?:({_PATH})\s+)?ON\s+(?:ONLY\s+)?({_PATH})", rest, re.I)
            if found is None:
                return Classified(kind, "")
            owner_schema = qualify(found[2], schema).rsplit(".", 1)[0]
            return Classified(kind, f"{owner_schema}.{'.'.join(names(found[1] or ''))}")
        case "USER MAPPING" | "CAST" | "TRANSFORM":
            return Classified(kind, "")
        case _:
            return Classified(kind, _object_name(kind, rest, schema))


def _altered(sql: str, schema: str) -> Classified:
    kind, rest = _object(sql[len("ALTER") :].lstrip())
    rest = rest[_end(_EXISTENCE, rest) :]
    if kind == "DEFAULT PRIVILEGES":
        return Classified("DEFAULT ACL", "")
    if kind in {"DATABASE", "ROLE", "USER", "SYSTEM"}:
        return Classified("DATABASE PROPERTIES" if kind == "DATABASE" else kind, "")
    owned = re.search(rf"\sOWNER\s+TO\s+({_NAME})\s*\Z", rest, re.I)
    name = _object_name(kind, rest, schema)
    if owned is not None:
        return Classified("OWNER", name, names(owned[1])[0])
    tail = rest[_end(re.compile(rf"{_PATH}\s*\*?\s*"), rest) :]
    if kind == "SEQUENCE" and re.match(r"OWNED\s+BY", tail, re.I):
        return Classified("SEQUENCE OWNED BY", name)
    if kind == "INDEX" and re.match(r"ATTACH\b", tail, re.I):
        return Classified("INDEX ATTACH", name)
    if kind == "PUBLICATION" and re.match(r"ADD\b", tail, re.I):
        return Classified("PUBLICATION TABLE", name)
    if kind in {"TABLE", "DOMAIN", "FOREIGN TABLE"}:
        return _altered_table(kind, name, tail)
    return Classified(kind, name)


def _altered_table(kind: str, table: str, tail: str) -> Classified:
    added = re.match(rf"ADD\s+CONSTRAINT\s+({_NAME})\s+(\w+)", tail, re.I)
    bare = re.match(r"ADD\s+(PRIMARY|UNIQUE|EXCLUDE|FOREIGN|CHECK)\b", tail, re.I)
    if added is not None or bare is not None:
        word = (added[2] if added else bare[1] if bare else "").upper()
        own = f" {names(added[1])[0]}" if added else ""
        kinds = {"FOREIGN": "FK CONSTRAINT", "CHECK": "CHECK CONSTRAINT", "NOT": "CHECK CONSTRAINT"}
        return Classified(kinds.get(word, "CONSTRAINT"), table + own)
    column = re.match(
        rf"ALTER\s+(?:COLUMN\s+)?({_NAME})\s+(SET\s+DEFAULT|ADD\s+GENERATED)", tail, re.I
    )
    if column is not None:
        identity = column[2].upper().startswith("ADD")
        return Classified("SEQUENCE" if identity else "DEFAULT", f"{table} {names(column[1])[0]}")
    for pattern, found in _TABLE_TAILS:
        if pattern.match(tail):
            return Classified(found, table)
    return Classified(kind, table)


_TABLE_TAILS = (
    (re.compile(r"ATTACH\s+PARTITION\b", re.I), "TABLE ATTACH"),
    (re.compile(r"(?:ENABLE|DISABLE|FORCE|NO\s+FORCE)\s+ROW\s+LEVEL\b", re.I), "ROW SECURITY"),
    (re.compile(r"(?:ENABLE|DISABLE)\s+(?:\w+\s+)?TRIGGER\b", re.I), "TRIGGER"),
    (re.compile(r"(?:ENABLE|DISABLE)\s+(?:\w+\s+)?RULE\b", re.I), "RULE"),
    (re.compile(r"VALIDATE\s+CONSTRAINT\b", re.I), "FK CONSTRAINT"),
    (re.compile(r"CLUSTER\s+ON\b|REPLICA\s+IDENTITY\b", re.I), "INDEX"),
)


def _selected(sql: str, schema: str) -> Classified:
    called = re.match(r"SELECT\s+(?:pg_catalog\.)?(\w+)\s*\(\s*(?:'((?:[^']|'')*)')?", sql, re.I)
    function = called[1].lower() if called else ""
    if called is not None and function == "setval":
        return Classified("SEQUENCE SET", qualify((called[2] or "").replace("''", "'"), schema))
    if function == "set_config":
        return Classified("SET", "")
    if function.startswith("lo_") or function in {"lowrite", "loread"}:
        return Classified("BLOB", called[2] or "" if called else "")
    if function in {"pg_restore_relation_stats", "pg_restore_attribute_stats"}:
        return Classified("STATISTICS DATA", "")
    return Classified("SELECT", "")


def _object(text: str) -> tuple[str, str]:
    """The object word or words at the beginning, and what follows them."""
    for words in _OBJECTS:
        found = re.match(words.replace(" ", r"\s+") + r"\b\s*", text, re.I)
        if found is not None:
            return words, text[found.end() :]
    found = re.match(r"(\w+)\s*", text)
    return (found[1].upper(), text[found.end() :]) if found else ("OTHER", text)


def _object_name(kind: str, rest: str, schema: str) -> str:
    found = re.match(_PATH, rest)
    if found is None:
        return ""
    if kind in _WITHOUT_SCHEMA:
        return ".".join(names(found[0]))
    return qualify(found[0], schema)


_WITHOUT_SCHEMA = frozenset(
    {"SCHEMA", "EXTENSION", "LANGUAGE", "DATABASE", "SERVER", "FOREIGN DATA WRAPPER", "ROLE"}
    | {"EVENT TRIGGER", "PUBLICATION", "SUBSCRIPTION", "ACCESS METHOD", "TABLESPACE", "USER"}
)
_NOISE_ALL = re.compile(rf"(?:{_NOISE.pattern})*", re.IGNORECASE)


def _named(sql: str, start: str, schema: str) -> str:
    found = re.match(rf"{start}({_PATH})", sql, re.IGNORECASE)
    return qualify(found[1], schema) if found else ""


def _about(sql: str, start: str) -> str:
    """'TABLE public.orders' of COMMENT ON TABLE public.orders IS ..., as written."""
    found = re.match(rf"{start}(.*?)\s+(?:IS|TO|FROM)\s", sql, re.IGNORECASE | re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def _member(found: "re.Match[str] | None", schema: str) -> str:
    return f"{qualify(found[2], schema)} {names(found[1])[0]}" if found else ""


def _end(pattern: "re.Pattern[str]", text: str) -> int:
    found = pattern.match(text)
    return found.end() if found else 0
