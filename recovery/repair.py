"""From a plan to the customer's database: consent, decisions, the script of what was approved, and
running it. Nothing is written anywhere before all of these agree: the plan's digest, the report's
digest, the body's digest, and a passed rehearsal of exactly that body.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from recovery import apply as target
from recovery.bench import Bench
from recovery.case import decisions, files
from recovery.case.folder import CaseFolder
from recovery.case.reading import Reader
from recovery.case.result import Grid, Json, Result
from recovery.case.serial import read_rehearsal, rehearsal_json
from recovery.case.world import World
from recovery.doubts import require_as_planned
from recovery.messages import show
from recovery.model import Decision, EngineError, Exit, Group, Plan
from recovery.rehearse import rehearse
from recovery.script.context import ScriptContext
from recovery.script.landmarks import landmarks
from recovery.script.render import dressed, render
from recovery.standing import (
    APPLIED,
    REPORT,
    RUNS,
    SCRIPT,
    LastRun,
    last_run,
    report_digest,
    require_untouched,
)
from repair_rules.model import Hazard

# --- consent --------------------------------------------------------------------------------------


def agree(case: Path, *, by: str, world: World) -> Result:
    """The customer's consent to the report as it is now."""
    with Bench(CaseFolder.open(case, world.clock), world) as bench:
        require_untouched(bench.case, "report")
        digest = files.sha256(bench.case.path / REPORT)
        decisions.agree(bench.case, decisions.Agreement(by, world.clock(), digest))
        told = f"{by} agreed to the report {digest[:12]}."
        document = {"dbmend": "agree/1", "by": by, "report": digest}
        return Result(Exit.FINE, (told,), (), _warnings(bench), document)


def decide(
    case: Path,
    *,
    groups: tuple[str, ...],
    approve: bool,
    by: str,
    note: str,
    accept: tuple[str, ...],
    world: World,
) -> Result:
    """Decisions are bound to the plan as it is now. Approving asks for consent to every hazard."""
    with Bench(CaseFolder.open(case, world.clock), world) as bench:
        require_untouched(bench.case, "plan")
        plan = bench.plan
        chosen = decisions.select(plan, groups)
        if not chosen:
            raise EngineError(
                Exit.REFUSED,
                "no group is meant: the plan has none of that sort",
                hint=f"dbmend plan {case} shows the groups",
            )
        if approve:
            _require_consent(chosen, accept)
        at = world.clock()
        review = decisions.decide(
            bench.case,
            tuple(
                Decision(group.id, approve, by, at, note, _accepted(group, accept), plan.digest)
                for group in chosen
            ),
        )
        return _review_result(bench, plan, review)


def _require_consent(groups: tuple[Group, ...], accept: tuple[str, ...]) -> None:
    lacking = [
        f"{group.id}: {name}: {next(n.detail for n in group.hazards if n.name == name)}"
        for group in groups
        for name in decisions.unconsented(group, accept)
    ]
    if lacking:
        raise EngineError(
            Exit.REFUSED,
            "consent is missing for these hazards; nothing was decided:\n" + "\n".join(lacking),
            hint="--accept HAZARD for each that you accept, or --accept all",
        )


def _accepted(group: Group, accept: tuple[str, ...]) -> tuple[str, ...]:
    """What is consented to by name: the group's hazards, and PARTIAL, which a script may add."""
    names = dict.fromkeys((*(note.name for note in group.hazards), str(Hazard.PARTIAL)))
    return tuple(name for name in names if "all" in accept or name in accept)


def _review_result(bench: Bench, plan: Plan, review: decisions.Review) -> Result:
    known = review.in_force(plan.digest)
    rows = tuple(
        (
            group.id,
            group.operation.table,
            str(group.grade),
            ("approved" if known[group.id].approved else "rejected")
            if group.id in known
            else "open",
            known[group.id].by if group.id in known else "",
        )
        for group in plan.groups
    )
    rejected = any(row[3] == "rejected" for row in rows)
    still_open = [row[0] for row in rows if row[3] == "open"]
    told = "All groups are decided." if not still_open else f"Open: {', '.join(still_open)}."
    grid = Grid("Decisions", ("group", "table", "grade", "decision", "by"), rows)
    document: Mapping[str, Json] = {
        "dbmend": "decide/1",
        "plan": plan.digest,
        "decisions": {row[0]: row[3] for row in rows},
    }
    code = Exit.FINDINGS if rejected else Exit.FINE
    return Result(code, (told,), (grid,), _warnings(bench), document)


# --- script ---------------------------------------------------------------------------------------


def script(
    case: Path,
    *,
    output: Path | None,
    keep_saved: bool,
    on_moved: Literal["refuse", "skip"],
    world: World,
) -> Result:
    """Render what is approved, rehearse exactly that, and only then hand it out."""
    with Bench(CaseFolder.open(case, world.clock), world) as bench:
        require_untouched(bench.case, "plan")
        groups = _approved(bench)
        if on_moved == "skip":
            _require_partial(bench, groups)
        require_as_planned(bench.facts, groups)
        agreement = decisions.read_review(bench.case).agreed(report_digest(bench.case))
        schema = bench.schema("current")
        with bench.cluster.connect("current") as connection:
            seen = landmarks(connection, groups, bench.facts, schema)
        review = decisions.read_review(bench.case).in_force(bench.plan.digest)
        context = ScriptContext(
            bench.case.id,
            world.clock(),
            title=tuple(dict.fromkeys(show(group.why, "en") for group in groups)),
            reviewers=tuple(dict.fromkeys(review[group.id].by for group in groups)),
            agreement=f"{agreement.by}, {agreement.at.isoformat()}" if agreement else "",
            landmarks=seen,
            on_moved=on_moved,
            keep_saved=keep_saved,
        )
        repair, undo = render(groups, bench.facts, schema, context)
        rehearsal = rehearse(
            repair,
            undo,
            groups,
            bench.facts,
            bench.cluster,
            "current",
            proposal=False,
            on_moved=on_moved,
            progress=world.progress,
        )
        bench.case.write_document("rehearsal.json", "rehearsal", rehearsal_json(rehearsal))
        if not rehearsal.passed:
            failed = [f"{one.name}: {one.detail}" for one in rehearsal.checks if not one.passed]
            raise EngineError(
                Exit.REFUSED,
                "the rehearsal of the approved groups failed; no script was made:\n"
                + "\n".join(failed),
                where=str(bench.case.path / "rehearsal.json"),
            )
        proof = tuple(f"{check.name}: {check.detail}" for check in rehearsal.checks)
        proven = replace(context, proof=proof)
        for name, one, backwards in (("repair.sql", repair, False), ("undo.sql", undo, True)):
            text = dressed(one, groups, bench.facts, schema, proven, undo=backwards).text
            bench.case.write(name, text.encode())
            if output is not None:
                output.mkdir(mode=files.FOLDER_MODE, parents=True, exist_ok=True)
                with files.writing(output / name) as temporary:
                    files.create(temporary, text.encode())
        bench.case.write_document(
            SCRIPT,
            "script",
            {
                "repair": repair.digest,
                "undo": undo.digest,
                "plan": bench.plan.digest,
                "groups": [group.id for group in groups],
                "on_moved": on_moved,
            },
        )
        bench.case.record("dbmend", "made the script", {"repair": repair.digest})
        place = output or bench.case.path
        told = [f"{place / 'repair.sql'} and undo.sql: rehearsed, {len(groups)} groups."]
        if agreement is None:
            told.append(f"The customer has not agreed yet: dbmend agree {case} --by NAME")
        told.append("Both files hold the customer's values: keep them private.")
        return Result(
            Exit.FINE,
            tuple(told),
            (),
            _warnings(bench),
            {
                "dbmend": "script/1",
                "repair": repair.digest,
                "undo": undo.digest,
                "groups": [group.id for group in groups],
                "on_moved": on_moved,
            },
        )


def _require_partial(bench: Bench, groups: tuple[Group, ...]) -> None:
    """Skipping rows that moved on restores a part only: that is a hazard of its own."""
    known = decisions.read_review(bench.case).in_force(bench.plan.digest)
    lacking = [group.id for group in groups if Hazard.PARTIAL not in known[group.id].accepted]
    if lacking:
        raise EngineError(
            Exit.REFUSED,
            f"consent to {Hazard.PARTIAL} is missing for {', '.join(lacking)}: with"
            " --on-moved skip, rows that moved on are left out, and the rest is written",
            hint=f"dbmend decide {bench.case.path} {' '.join(lacking)} approve --by NAME"
            f" --accept {Hazard.PARTIAL} (and the hazards of the groups)",
        )


def _approved(bench: Bench) -> tuple[Group, ...]:
    """Approved groups in writing order; what they need must be approved too."""
    groups = decisions.read_review(bench.case).approved(bench.plan)
    if not groups:
        raise EngineError(
            Exit.REFUSED,
            "nothing is approved: no script is made",
            hint=f"dbmend decide {bench.case.path} safe approve --by NAME",
        )
    names = {group.id for group in groups}
    lacking = [
        f"{group.id} needs {other}"
        for group in groups
        for other in group.requires
        if other not in names
    ]
    if lacking:
        raise EngineError(
            Exit.REFUSED,
            "approved groups need others that are not: " + "; ".join(lacking),
            hint="approve them together, or reject both",
        )
    return groups


# --- apply, undo ----------------------------------------------------------------------------------


def apply(case: Path, *, to: str, world: World) -> Result:
    """Run the reviewed text, byte for byte, on the target."""
    with Bench(CaseFolder.open(case, world.clock), world) as bench:
        return apply_on(bench, to)


def apply_on(bench: Bench, to: str) -> Result:
    """The same with the case already open."""
    known = _ready(bench)
    require_untouched(bench.case, "report")
    if decisions.read_review(bench.case).agreed(report_digest(bench.case)) is None:
        raise EngineError(
            Exit.REFUSED,
            "the customer has not agreed to this report",
            hint=f"dbmend agree {bench.case.path} --by NAME",
        )
    run = LastRun("repair.sql", "", known.text("repair"), known.text("undo"), "")
    result = _run(bench, "repair.sql", run, to)
    if result.document["state"] == "applied":
        _keep(bench, run)
    return result


def _keep(bench: Bench, run: LastRun) -> None:
    """A script made later must not take away the way back from this one."""
    for name, digest in (("repair.sql", run.repair), ("undo.sql", run.undo)):
        bench.case.write(f"{APPLIED}{digest[:12]}.{name}", bench.case.read(name))


def undo(case: Path, *, to: str, world: World) -> Result:
    """Put back what the repair found, as guarded as the repair. What was applied last is taken
    back, whatever was decided or made since."""
    with Bench(CaseFolder.open(case, world.clock), world) as bench:
        known = _script(bench)
        _require_journal(bench)
        run = LastRun("undo.sql", "", known.text("repair"), known.text("undo"), "")
        last = last_run(bench.case)
        kept = f"{APPLIED}{last.undo[:12]}.undo.sql" if last is not None else ""
        if last is not None and last.undo != run.undo and bench.case.has(kept):
            return _run(bench, kept, last, to)
        return _run(bench, "undo.sql", run, to)


def _script(bench: Bench) -> Reader:
    if not bench.case.has(SCRIPT):
        raise EngineError(
            Exit.REFUSED, "there is no script yet", hint=f"dbmend script {bench.case.path}"
        )
    return bench.case.read_document(SCRIPT, "script")


def _ready(bench: Bench) -> Reader:
    """The script is of this very plan, approved as it is, and its rehearsal passed."""
    known = _script(bench)
    rehearsal = read_rehearsal(bench.case.read_document("rehearsal.json", "rehearsal"))
    groups = _approved(bench)
    again = f"dbmend script {bench.case.path}"
    if known.text("plan") != bench.plan.digest or list(known.texts("groups")) != [
        group.id for group in groups
    ]:
        raise EngineError(Exit.REFUSED, "the script is not of what is approved now", hint=again)
    if not rehearsal.passed or rehearsal.body_digest != known.text("repair"):
        raise EngineError(Exit.REFUSED, "no passed rehearsal is of exactly this script", hint=again)
    _require_journal(bench)
    return known


def _require_journal(bench: Bench) -> None:
    journal = bench.case.journal()
    if not journal.intact:
        raise EngineError(
            Exit.REFUSED,
            f"the journal is broken at line {journal.broken}: {journal.why}",
            where=str(bench.case.path / "journal.jsonl"),
            hint="somebody changed it: nothing that it says about consent can be relied on;"
            " open a new case from the same evidence",
        )


def _run(bench: Bench, name: str, run: LastRun, to: str) -> Result:
    """Run the file `name` of the case on the target, as a script that the journal tells of."""
    text = bench.case.read(name).decode("utf-8", "surrogateescape")
    what = "undo.sql" if name.endswith("undo.sql") else "repair.sql"
    digest = run.undo if what == "undo.sql" else run.repair
    if target.body_digest(text) != digest:
        raise EngineError(
            Exit.REFUSED,
            f"{name} is not the text that was rehearsed: it was changed",
            where=str(bench.case.path / name),
            hint=f"dbmend script {bench.case.path}",
        )
    found = target.look(text, to)
    bench.case.record(
        "dbmend",
        RUNS + what,
        {"repair": run.repair, "undo": run.undo, "database": found.database},
    )
    ended = target.apply(text, to, progress=bench.world.progress)
    bench.case.record("dbmend", f"{what}: {ended.state}", {"digest": digest})
    rows = tuple(
        (one.name, f"{one.rows:,}", f"{one.bytes:,}", ", ".join(one.triggers))
        for one in found.tables
    )
    told = (
        f"Target: {found.database}, PostgreSQL {found.server}. Before: {found.ready:,} rows as they"
        f" were seen, {found.done:,} at their target, {found.moved:,} moved on.",
        f"{name}: {ended.state}. {ended.detail}",
    )
    return Result(
        _code(ended),
        told,
        (Grid("Tables", ("table", "rows, about", "bytes", "triggers"), rows),),
        _warnings(bench),
        {
            "dbmend": "apply/1",
            "script": what,
            "state": ended.state,
            "detail": ended.detail,
            "digest": digest,
            "database": found.database,
            "before": {"ready": found.ready, "done": found.done, "moved": found.moved},
        },
    )


def _code(ended: target.Applied) -> Exit:
    """Applied in part is a finding: something was left out."""
    if ended.state == "refused":
        return Exit.REFUSED
    skipped = re.search(r"skipped: (\d+)", ended.detail)
    return Exit.FINDINGS if skipped and int(skipped[1]) else Exit.FINE


def _warnings(bench: Bench) -> tuple[str, ...]:
    return tuple(show(warning, "en") for warning in bench.warnings)
