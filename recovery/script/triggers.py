"""Named triggers are switched off for the time of the writes, and then back to the mode they had.

Only triggers that the plan lists; never ALL, and never session_replication_role, which would
silence foreign keys for good.
"""

from diffing.model import Schema, Table
from recovery.script.dialect import Dialect, Fragment, fill, join
from recovery.script.recognise import BROKEN, refuse
from recovery.script.staged import Write

_EVENTS = {"set-cells": "update", "insert-rows": "insert", "delete-rows": "delete"}
_MODES = (("O", "ENABLE TRIGGER"), ("A", "ENABLE ALWAYS TRIGGER"), ("R", "ENABLE REPLICA TRIGGER"))


def planned_off(writes: tuple[Write, ...]) -> tuple[tuple[Table, str], ...]:
    """Every trigger that is switched off, once."""
    found = {
        (write.table.name, trigger): (write.table, trigger)
        for write in writes
        for trigger in write.disabled_triggers
    }
    return tuple(found[name] for name in sorted(found))


def spans(writes: tuple[Write, ...], schema: Schema) -> bool:
    """Each trigger may be off for all writes of its table: those that do not ask for it would not
    fire it. Then it is off once, until deferred constraints were checked (pending ones forbid
    ALTER TABLE)."""
    events = {(found.table, found.name): found.events for found in schema.triggers}
    return all(
        name in write.disabled_triggers
        or ((table.name, name) in events and _EVENTS[write.op] not in events[(table.name, name)])
        for table, name in planned_off(writes)
        for write in writes
        if write.table.name == table.name
    )


def switched_off(writes: tuple[Write, ...], dialect: Dialect) -> Fragment:
    """Notes each trigger's mode, refuses when it is not there, and switches it off."""
    return join(
        "",
        (
            _off(number, table, trigger, dialect)
            for number, (table, trigger) in enumerate(planned_off(writes), start=1)
        ),
    )


def switched_on(writes: tuple[Write, ...], dialect: Dialect) -> Fragment:
    """Gives each trigger the mode it had; one that was off stays off."""
    return join(
        "",
        (
            fill(
                "IF dbmend_mode_{n} = {mode} THEN\nALTER TABLE {table} {enable} {name};\nEND IF;\n",
                n=Fragment(str(number)),
                mode=dialect.literal(mode),
                table=dialect.table(table),
                enable=Fragment(enable),
                name=dialect.identifier(trigger),
            )
            for number, (table, trigger) in enumerate(planned_off(writes), start=1)
            for mode, enable in _MODES
        ),
    )


def _off(number: int, table: Table, trigger: str, dialect: Dialect) -> Fragment:
    return fill(
        "SELECT t.tgenabled::pg_catalog.text INTO dbmend_mode_{n}\n"
        "  FROM pg_catalog.pg_trigger AS t\n"
        "  JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid\n"
        "  JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace\n"
        " WHERE t.tgname = {trigger} AND NOT t.tgisinternal AND c.relname = {relation} "
        "AND s.nspname = {schema};\n"
        "IF dbmend_mode_{n} IS NULL THEN\n{absent}END IF;\n"
        "ALTER TABLE {table} DISABLE TRIGGER {name};\n",
        n=Fragment(str(number)),
        trigger=dialect.literal(trigger),
        relation=dialect.literal(table.relation),
        schema=dialect.literal(table.schema),
        absent=refuse(dialect, BROKEN, table.name + " has no trigger " + trigger),
        table=dialect.table(table),
        name=dialect.identifier(trigger),
    )
