"""From a plan to the customer's database: consent, decisions, the script of what was approved, and
running it. Nothing is written anywhere before all of these agree: the plan's digest, the report's
digest, the body's digest, and a passed rehearsal of exactly that body.
"""

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
from recovery.messages import show
from recovery.model import Decision, EngineError, Exit, Group, Plan
from recovery.rehearse import rehearse
from recovery.script.context import ScriptContext
from recovery.script.landmarks import landmarks
from recovery.script.render import dressed, render

REPORT = "report/depth.json"
SCRIPT = "script.json"


# --- consent --------------------------------------------------------------------------------------


def agree(case: Path, *, by: str, world: World) -> Result:
    """The customer's consent to the report as it is now."""
    with Bench(CaseFolder.open(case, world.clock), world) as bench:
        bench.case.require("report")
        digest = files.sha256(bench.case.path / REPORT)
        decisions.agree(bench.case, decisions.Agreement(by, world.clock(), digest))
        told = f"{by} agreed to the report {digest[:12]}."
        return Result(Exit.FINE, (told,), (), _warnings(bench), {"by": by, "report": digest})


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
        bench.case.require("plan")
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
    names = tuple(dict.fromkeys(note.name for note in group.hazards))
    return names if "all" in accept else tuple(name for name in names if name in accept)


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
    document: Mapping[str, Json] = {"plan": plan.digest, "decisions": {r[0]: r[3] for r in rows}}
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
        bench.case.require("plan")
        groups = _approved(bench)
        agreement = decisions.read_review(bench.case).agreed(_report_digest(bench))
        schema = bench.schema("current")
        with bench.cluster.connect("current") as connection:
            seen = landmarks(connection, groups, bench.facts, schema)
        review = decisions.read_review(bench.case).in_force(bench.plan.digest)
        context = ScriptContext(
            bench.case.id,
            world.clock(),
            title=tuple(group.why for group in groups),
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
            {"repair": repair.digest, "undo": undo.digest, "groups": [g.id for g in groups]},
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


def _report_digest(bench: Bench) -> str:
    return files.sha256(bench.case.path / REPORT) if bench.case.has(REPORT) else ""


# --- apply, undo ----------------------------------------------------------------------------------


def apply(case: Path, *, to: str, world: World) -> Result:
    """Run the reviewed text, byte for byte, on the target."""
    with Bench(CaseFolder.open(case, world.clock), world) as bench:
        return apply_on(bench, to)


def apply_on(bench: Bench, to: str) -> Result:
    """The same with the case already open."""
    known = _ready(bench)
    if decisions.read_review(bench.case).agreed(_report_digest(bench)) is None:
        raise EngineError(
            Exit.REFUSED,
            "the customer has not agreed to this report",
            hint=f"dbmend agree {bench.case.path} --by NAME",
        )
    return _run(bench, "repair.sql", known.text("repair"), to)


def undo(case: Path, *, to: str, world: World) -> Result:
    """Put back what the repair found, as guarded as the repair."""
    with Bench(CaseFolder.open(case, world.clock), world) as bench:
        return _run(bench, "undo.sql", _ready(bench).text("undo"), to)


def _ready(bench: Bench) -> Reader:
    """The script is of this very plan, approved as it is, and its rehearsal passed."""
    if not bench.case.has(SCRIPT):
        raise EngineError(
            Exit.REFUSED, "there is no script yet", hint=f"dbmend script {bench.case.path}"
        )
    known = bench.case.read_document(SCRIPT, "script")
    rehearsal = read_rehearsal(bench.case.read_document("rehearsal.json", "rehearsal"))
    groups = _approved(bench)
    again = f"dbmend script {bench.case.path}"
    if known.text("plan") != bench.plan.digest or list(known.texts("groups")) != [
        group.id for group in groups
    ]:
        raise EngineError(Exit.REFUSED, "the script is not of what is approved now", hint=again)
    if not rehearsal.passed or rehearsal.body_digest != known.text("repair"):
        raise EngineError(Exit.REFUSED, "no passed rehearsal is of exactly this script", hint=again)
    journal = bench.case.journal()
    if not journal.intact:
        raise EngineError(
            Exit.REFUSED,
            f"the journal is broken at line {journal.broken}: {journal.why}",
            where=str(bench.case.path),
        )
    return known


def _run(bench: Bench, name: str, digest: str, to: str) -> Result:
    text = bench.case.read(name).decode()
    if target.body_digest(text) != digest:
        raise EngineError(
            Exit.REFUSED,
            f"{name} is not the text that was rehearsed: it was changed",
            where=str(bench.case.path / name),
            hint=f"dbmend script {bench.case.path}",
        )
    found = target.look(text, to)
    bench.case.record("dbmend", f"runs {name}", {"digest": digest, "database": found.database})
    ended = target.apply(text, to, progress=bench.world.progress)
    bench.case.record("dbmend", f"{name}: {ended.state}", {"digest": digest})
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
        Exit.REFUSED if ended.state == "refused" else Exit.FINE,
        told,
        (Grid("Tables", ("table", "rows, about", "bytes", "triggers"), rows),),
        _warnings(bench),
        {"state": ended.state, "detail": ended.detail, "digest": digest},
    )


def _warnings(bench: Bench) -> tuple[str, ...]:
    return tuple(show(warning, "en") for warning in bench.warnings)
