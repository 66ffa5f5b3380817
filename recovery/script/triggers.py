"""Named triggers are switched off for the time of the writes, and then back to the mode they had.

Only triggers that the plan lists; never ALL, and never session_replication_role, which would
silence foreign keys for good.
"""

from diffing.model import Table
from recovery.script.dialect import Dialect, Fragment, fill, join
from recovery.script.recognise import BROKEN, refuse
from recovery.script.staged import Write

_MODES = (("O", "ENABLE TRIGGER"), ("A", "ENABLE ALWAYS TRIGGER"), ("R", "ENABLE REPLICA TRIGGER"))


def planned_off(writes: tuple[Write, ...]) -> tuple[tuple[Table, str], ...]:
    """Every trigger that is switched off, once."""
    found = {
        (write.table.name, trigger): (write.table, trigger)
        for write in writes
        for trigger in write.disabled_triggers
    }
    return tuple(found[name] for name in sorted(found))


def spans(writes: tuple[Write, ...]) -> bool:
    """The writes of each table agree on its triggers: these can be off once for all of them, and
    stay off until deferred constraints were checked (pending ones forbid ALTER TABLE)."""
    agreed: dict[str, set[tuple[str, ...]]] = {}
    for write in writes:
        agreed.setdefault(write.table.name, set()).add(tuple(sorted(write.disabled_triggers)))
    return all(len(sets) == 1 for sets in agreed.values())


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
