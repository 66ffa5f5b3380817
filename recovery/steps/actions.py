"""What a step did: the one of its fields that can be replayed, or an event."""

from pathlib import Path
from typing import Literal, cast

from recovery.model import Action, Edit, Event, Import, Restore, Sql
from recovery.steps.csv_head import ENCODINGS, Head, NoHead, read_head
from recovery.steps.fields import Record, describe
from recovery.steps.nodes import Fields
from recovery.steps.sql import check_sql

EventKind = Literal["power-loss", "disk-failure", "crash", "disk-full", "other"]
EVENTS: tuple[str, ...] = ("power-loss", "disk-failure", "crash", "disk-full", "other")
ACTIONS = ("sql", "edit", "event", "call", "import", "restore")
LATER = frozenset({"call"})
IMPORT_FIELDS = ("file", "table", "columns", "header", "delimiter", "encoding")


def read_action(record: Record, folder: Path) -> Action:
    """The action of a step; None for prose, and for what is reported as a fault. Files are looked
    for from `folder`."""
    given = [name for name in ACTIONS if name in record]
    if "tables" in record and "event" not in record:
        record.fault("tables", "'tables' belongs to an event")
    if len(given) > 1:
        line = max(record.line_of(name) for name in given)
        message = f"{record.where}: more than one action: {', '.join(given)}"
        record.faults.add(line, message, "make each a step of its own")
    if not given and not record.text("what").strip():
        message = f"{record.where}: says nothing"
        hint = "give it 'what', or one of sql, edit, import, restore, event"
        record.faults.add(record.line, message, hint)
    for name in given:
        if name in LATER:
            hint = "write it as sql, or as prose in 'what'"
            record.fault(name, f"'{name}' is not supported in this version", hint)
    actions = [_one(record, name, folder) for name in given if name not in LATER]
    return actions[0] if actions else None


def _one(record: Record, name: str, folder: Path) -> Action:
    match name:
        case "sql":
            return _sql(record)
        case "edit":
            return _edit(record)
        case "import":
            return _import(record, folder)
        case "restore":
            return _restore(record, folder)
        case _:
            return _event(record)


def _sql(record: Record) -> Action:
    node = record.scalar("sql", "text")
    if node is None:
        return None
    fault = check_sql(node)
    if fault is not None:
        record.faults.add(fault.line, f"{record.where}: {fault.message}", fault.hint)
    return Sql(node.text)


def _mapping(record: Record, name: str, hint: str) -> Record | None:
    node = record.get(name)
    if isinstance(node, Fields):
        return Record(node, f"{record.where}, {name}", record.faults)
    found = describe(node) if node is not None else "empty"
    record.fault(name, f"'{name}' must be a mapping, this is {found}", hint)
    return None


def _require(record: Record, *names: str) -> bool:
    missing = [name for name in names if name not in record]
    for name in missing:
        record.faults.add(record.line, f"{record.where}: '{name}' is missing")
    return not missing


def _edit(record: Record) -> Action:
    edit = _mapping(record, "edit", "write {table: …, key: {…}, set: {…}}")
    if edit is None:
        return None
    edit.unknown(("table", "key", "set"))
    _require(edit, "table", "key", "set")
    return Edit(edit.table(), edit.values("key"), edit.values("set"))


def _event(record: Record) -> Action:
    node = record.get("event")
    if not isinstance(node, Fields):
        kind = record.choice("event", EVENTS)
        tables = record.tables("tables")
    else:
        event = Record(node, f"{record.where}, event", record.faults)
        event.unknown(("kind", "tables"))
        if "kind" not in event:
            message = f"{event.where}: 'kind' is missing"
            record.faults.add(event.line, message, "one of " + ", ".join(EVENTS))
        kind = event.choice("kind", EVENTS)
        tables = event.tables("tables")
    return Event(cast(EventKind, kind), tables) if kind else None


# --- files ----------------------------------------------------------------------------------------


def _import(record: Record, folder: Path) -> Action:
    """Whether the first line is a row is decided here, once, by the file as it is."""
    given = _mapping(record, "import", "write {file: …, table: …, columns: […]}")
    if given is None:
        return None
    given.unknown(IMPORT_FIELDS)
    if not _require(given, "file", "table"):
        return None
    table, columns, said = given.table(), given.texts("columns"), given.flag("header")
    delimiter = given.text("delimiter") or ","
    if len(delimiter) != 1 or delimiter in '\r\n"':
        given.fault("delimiter", "'delimiter' must be one character")
        return None
    encoding = given.choice("encoding", tuple(ENCODINGS)) or "UTF8"
    file = _file(given, "file", folder)
    if file is None:
        return None
    head: Head | None = None
    if said is not False:
        try:
            head = read_head(file, delimiter, encoding)
        except NoHead as error:
            if said or not columns:
                given.fault("file", f"{file.name}: {error}", error.hint)
                return None
    if columns:
        header = said if said is not None else head is not None and head.names(columns)
        return Import(table, file, columns, header, delimiter, encoding)
    if head is None:
        return Import(table, file, (), False, delimiter, encoding)
    if not head.plausible:
        hint = "name the columns in 'columns', or say header: false"
        given.fault("file", f"{file.name}: its first line names no columns", hint)
    return Import(table, file, head.fields, True, delimiter, encoding)


def _restore(record: Record, folder: Path) -> Action:
    given = _mapping(record, "restore", "write {source: …, tables: […]}")
    if given is None:
        return None
    given.unknown(("source", "tables"))
    if not _require(given, "source", "tables"):
        return None
    tables = given.tables("tables")
    if not tables:
        given.fault("tables", "'tables' is empty", "name the tables that were restored")
    source = _file(given, "source", folder)
    return Restore(source, tables) if source is not None and tables else None


def _file(record: Record, name: str, folder: Path) -> Path | None:
    """A file that is there; relative names start at the log's own folder."""
    text = record.text(name)
    if not text:
        return None
    path = folder / text
    try:
        if path.is_file():
            return path
        what = "this is no file" if path.exists() else "there is no such file"
    except (OSError, ValueError) as error:
        what = f"cannot be looked at: {error}"
    record.fault(name, f"{what}: {text}", "names start at the folder of the step log")
    return None
