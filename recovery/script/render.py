"""Groups and staged rows become two scripts: the repair and its undo."""

import duckdb

from diffing.model import Schema
from recovery.model import EngineError, Exit, Group, Script
from recovery.script.body import body
from recovery.script.context import ScriptContext
from recovery.script.header import digest_of, header
from recovery.script.postgresql import PostgreSQL
from recovery.script.read_back import read_back
from recovery.script.staged import writes_of


def render(
    groups: tuple[Group, ...],
    facts: duckdb.DuckDBPyConnection,
    schema: Schema,
    context: ScriptContext,
) -> tuple[Script, Script]:
    """(repair, undo) of the groups in their order. The bodies depend on nothing but groups, staged
    rows, schema, and the context's case, samples and options; both are parsed again.

    Raises EngineError: REFUSED for what cannot be written, BUG when a body is not what was planned.
    """
    if not groups:
        raise EngineError(
            Exit.REFUSED, "there is nothing to write", hint="Approve at least one group."
        )
    return (
        _script(groups, facts, schema, context, undo=False),
        _script(groups, facts, schema, context, undo=True),
    )


def dressed(
    script: Script,
    groups: tuple[Group, ...],
    facts: duckdb.DuckDBPyConnection,
    schema: Schema,
    context: ScriptContext,
    *,
    undo: bool,
) -> Script:
    """The same body under a new header: after decisions, agreement and rehearsal are known."""
    writes = writes_of(groups, facts, schema, inverse=undo)
    return Script(
        body=script.body,
        header=header(writes, schema, context, script.digest, undo=undo),
        digest=script.digest,
    )


def _script(
    groups: tuple[Group, ...],
    facts: duckdb.DuckDBPyConnection,
    schema: Schema,
    context: ScriptContext,
    *,
    undo: bool,
) -> Script:
    writes = writes_of(groups, facts, schema, inverse=undo)
    text = body(writes, facts, schema, context, PostgreSQL(), undo=undo)
    read_back(text, writes, facts, schema, context, undo=undo)
    digest = digest_of(text)
    return Script(
        body=text, header=header(writes, schema, context, digest, undo=undo), digest=digest
    )
