"""The rehearsal: the body runs on copies of the current state, and every claim gets its check.

Procedure, each on a copy that nobody else uses: apply and compare what was written with what was
planned; apply again; undo; apply where somebody went on working; kill in the middle.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import duckdb
import psycopg
from psycopg import sql

from recovery.model import Check, Group, Progress, Rehearsal, Script
from recovery.rehearse.planned import Judged, judge, planned_rows
from recovery.rehearse.reader import Connection, Picture, changes, orphans, picture, relations
from recovery.rehearse.seeds import by_key, edit_planned_row, last_row, name_of, row_text
from recovery.scratch.cluster import Cluster

State = Literal["applied", "already applied", "refused", "lost"]
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Run:
    state: State
    detail: str


def rehearse(
    script: Script,
    undo: Script,
    groups: tuple[Group, ...],
    facts: duckdb.DuckDBPyConnection,
    cluster: Cluster,
    database: str,
    *,
    proposal: bool,
    on_moved: Literal["refuse", "skip"] = "refuse",
    progress: Progress | None = None,
) -> Rehearsal:
    """Every check with its figures; a check that could not be made has not passed.

    `database`: the current state on scratch, to which nobody may be connected. It is only copied;
    the copies are dropped whatever happens.
    """
    if progress is not None:
        progress.stage("rehearsing", total=5)
    checks: list[Check] = []
    with _copy(cluster, database, "rehearsal_before") as before:
        with _connected(cluster, before) as connection:
            picture_before = picture(connection)
        with _copy(cluster, before, "rehearsal_after") as after:
            made, picture_after = _applied(
                script, groups, facts, cluster, before, after, picture_before
            )
            checks += made
            _step(progress)
            checks.append(_again(script, cluster, after, picture_after))
            _step(progress)
            checks.append(_undone(undo, cluster, after, picture_before))
            _step(progress)
        with _copy(cluster, before, "rehearsal_moved") as moved:
            checks.append(_moved(script, groups, facts, cluster, moved, on_moved))
            _step(progress)
        with _copy(cluster, before, "rehearsal_killed") as killed:
            checks.append(_killed(script, groups, facts, cluster, killed, picture_before))
            _step(progress)
    return Rehearsal(script.digest, proposal, tuple(checks))


def _applied(
    script: Script,
    groups: tuple[Group, ...],
    facts: duckdb.DuckDBPyConnection,
    cluster: Cluster,
    before: str,
    after: str,
    picture_before: Picture,
) -> tuple[list[Check], Picture]:
    with _connected(cluster, before) as old, _connected(cluster, after) as new:
        orphans_before = orphans(new)
        run = _run(new, script)
        picture_after = picture(new)
        written, collateral = _compare(groups, facts, old, new, picture_before, picture_after)
        orphans_after = dict(orphans(new))
    worse = sum(max(0, orphans_after.get(name, 0) - count) for name, count in orphans_before)
    positions = dict(picture_after.sequences)
    back = sum(positions.get(name, place) < place for name, place in picture_before.sequences)
    switched = set(picture_before.triggers) ^ set(picture_after.triggers)
    checks = [
        Check("applied", run.state == "applied", run.detail),
        written,
        collateral,
        Check(
            "constraints",
            worse == 0,
            "no foreign key has more orphans than before",
            (("foreign keys", len(orphans_before)), ("new orphans", worse)),
        ),
        Check(
            "sequences",
            back == 0,
            "sequences only went forward",
            (("sequences", len(positions)), ("moved back", back)),
        ),
        Check(
            "triggers",
            not switched,
            "every trigger has the mode it had",
            (("triggers", len(picture_before.triggers)), ("changed", len(switched) // 2)),
        ),
    ]
    return checks, picture_after


def _compare(
    groups: tuple[Group, ...],
    facts: duckdb.DuckDBPyConnection,
    old: Connection,
    new: Connection,
    picture_before: Picture,
    picture_after: Picture,
) -> tuple[Check, Check]:
    known = {relation.root: relation for relation in relations(old)}
    planned = {group.operation.table for group in groups}
    total = Judged()
    strange: list[str] = []
    for table in sorted({*planned, *picture_before.differing(picture_after)}):
        if table not in known:
            strange.append(table)
            continue
        plan = planned_rows(groups, facts, table)
        total = total.plus(judge(changes(old, new, table), plan, known[table]))
    # Saved values are in a schema of their own; any other new table was not asked for.
    strange = [table for table in strange if not table.strip('"').startswith("dbmend_")]
    expected = sum(
        group.operation.cells if group.operation.op == "set-cells" else group.operation.rows
        for group in groups
    )
    collateral = total.collateral + len(strange)
    return (
        Check(
            "residual",
            total.residual == 0 and total.reached == expected,
            "everything planned was written" + (": not " + total.example if total.example else ""),
            (("planned", expected), ("reached", total.reached), ("residual", total.residual)),
        ),
        Check(
            "collateral",
            collateral == 0,
            "nothing else was written" + (": but " + total.example if total.example else ""),
            (("tables read", len(known)), ("collateral", collateral)),
        ),
    )


def _again(script: Script, cluster: Cluster, after: str, before: Picture) -> Check:
    with _connected(cluster, after) as connection:
        run = _run(connection, script)
        same = before == picture(connection)
    return Check(
        "again",
        run.state == "already applied" and same,
        run.detail,
        (("changed tables", 0 if same else 1),),
    )


def _undone(undo: Script, cluster: Cluster, after: str, picture_before: Picture) -> Check:
    with _connected(cluster, after) as connection:
        run = _run(connection, undo)
        found = picture(connection)
    differing = tuple(
        name
        for name in picture_before.differing(found)
        if not name.strip('"').startswith("dbmend_")
    )
    return Check(
        "undo",
        run.state == "applied" and not differing and found.triggers == picture_before.triggers,
        ", ".join(differing) or run.detail,
        (("tables compared", len(found.tables)), ("tables that differ", len(differing))),
    )


def _moved(
    script: Script,
    groups: tuple[Group, ...],
    facts: duckdb.DuckDBPyConnection,
    cluster: Cluster,
    database: str,
    on_moved: Literal["refuse", "skip"],
) -> Check:
    with _connected(cluster, database) as connection:
        known = relations(connection)
        edited = edit_planned_row(connection, groups, facts, known)
        if edited is None:
            return Check("moved on", False, "no planned row could be edited on a copy")
        relation = next(item for item in known if item.root == edited.table)
        before, row_before = picture(connection), row_text(connection, relation, edited.key)
        run = _run(connection, script)
        same = before.tables == picture(connection).tables
        kept = row_before == row_text(connection, relation, edited.key)
    if on_moved == "skip" and run.state == "applied":
        right = kept and "; skipped: 0" not in run.detail
    else:
        ends = {"refused", "already applied"} if edited.forestalled else {"refused"}
        # By its own word: an error of the server would stop a script that guards nothing, too.
        right = run.state in ends and same and run.detail.startswith("dbmend: ")
    return Check(
        "moved on",
        right,
        "edited " + edited.table + " " + edited.key + ": " + edited.how + "; then: " + run.detail,
        (
            ("rows edited", 1),
            ("edited rows lost", int(not kept)),
            ("changed tables", int(not same)),
        ),
    )


def _killed(
    script: Script,
    groups: tuple[Group, ...],
    facts: duckdb.DuckDBPyConnection,
    cluster: Cluster,
    database: str,
    picture_before: Picture,
) -> Check:
    """Another session holds what the script needs; while it waits in the middle, it is killed."""
    runs: list[Run] = []
    victim = cluster.connect(database)
    pid = victim.info.backend_pid
    worker = threading.Thread(target=lambda: runs.append(_run(victim, script)), daemon=True)
    with _connected(cluster, database) as holder:
        with holder.transaction(force_rollback=True):
            _hold(holder, groups, facts)
            worker.start()
            waited = _waits(holder, pid, worker)
            holder.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [pid])
            worker.join(_PATIENCE_SECONDS)
        same = picture(holder).tables == picture_before.tables
    victim.close()
    state = runs[0].state if runs else "lost"
    return Check(
        "killed in the middle",
        waited and same and state in ("lost", "refused"),
        "nothing was changed" if same else "something was changed",
        (("waited for a lock", int(waited)), ("changed tables", 0 if same else 1)),
    )


def _hold(holder: Connection, groups: tuple[Group, ...], facts: duckdb.DuckDBPyConnection) -> None:
    late = last_row(groups, facts)
    known = {relation.root: relation for relation in relations(holder)}
    if late is not None:
        relation = known[late[0]]
        query = sql.SQL("SELECT 1 FROM {} WHERE {} FOR UPDATE").format(
            name_of(relation), by_key(relation, late[1])
        )
        if holder.execute(query).fetchall():
            return
    relation = known[groups[-1].operation.table]
    holder.execute(sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(name_of(relation)))


def _waits(holder: Connection, pid: int, worker: threading.Thread) -> bool:
    """Until the script waits for a lock; False when it ended without waiting."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end and worker.is_alive():
        found = holder.execute(
            "SELECT 1 FROM pg_catalog.pg_locks WHERE pid = %s AND NOT granted", [pid]
        ).fetchone()
        if found is not None:
            return True
        time.sleep(0.01)
    return False


def _run(connection: Connection, script: Script) -> Run:
    """The whole text in one message; the connection is usable afterwards unless it was lost."""
    notices: list[str] = []

    def keep(notice: psycopg.errors.Diagnostic) -> None:
        notices.append(notice.message_primary or "")

    connection.add_notice_handler(keep)
    try:
        connection.execute(script.text.encode())
    except psycopg.Error as error:
        if connection.closed:
            return Run("lost", "the connection was lost")
        connection.execute("ROLLBACK")
        lines = (error.diag.message_primary, error.diag.message_detail)
        return Run("refused", "; ".join(line for line in lines if line))
    finally:
        connection.remove_notice_handler(keep)
    for notice in notices:
        if notice.startswith("dbmend: applied: "):
            return Run("applied", notice)
        if notice.startswith("dbmend: already applied: "):
            return Run("already applied", notice)
    return Run("refused", "the script ended without saying how")


@contextmanager
def _copy(cluster: Cluster, source: str, name: str) -> Iterator[str]:
    cluster.drop(name)  # of a run that was killed
    cluster.clone(source, name)
    try:
        yield name
    finally:
        cluster.drop(name)


@contextmanager
def _connected(cluster: Cluster, database: str) -> Iterator[Connection]:
    connection = cluster.connect(database)
    try:
        yield connection
    finally:
        connection.close()


def _step(progress: Progress | None) -> None:
    if progress is not None:
        progress.advance()
