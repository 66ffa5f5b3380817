"""Where a case stands, read from its folder alone: which stages are done, who decided what, which
script was run and how that ended, and so what comes next. Needs neither a server nor the facts, so
that it answers at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recovery.case import decisions, files
from recovery.case.folder import EARLIER, CaseFolder
from recovery.case.reading import Reader
from recovery.case.result import Grid, Json, Result
from recovery.case.serial import read_plan
from recovery.case.stages import STAGES
from recovery.case.world import World
from recovery.messages import show
from recovery.model import EngineError, Exit

REPORT = "report/depth.json"
SCRIPT = "script.json"
WARNINGS = "warnings.json"
_NOT_TOLD = ("partial", "not-compared")
RUNS = "runs "  # the journal's words before a script is run, and after
APPLIED = "applied/"  # a folder: the scripts that were applied, by digest

NEXT = {
    "open": "dbmend load {case}",
    "load": "dbmend compare {case}",
    "compare": "dbmend replay {case}",
    "replay": "dbmend locate {case}",
    "locate": "dbmend plan {case}",
    "plan": "dbmend rehearse {case}",
    "rehearse": "dbmend report {case}",
}


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last time a script of the case was begun on a target, as the journal tells it. `state`
    is '' when its end is not known; digests are those of the repair and of its undo."""

    name: str
    state: str
    repair: str
    undo: str
    database: str

    @property
    def repaired(self) -> bool:
        """The target holds the repair, as far as is known here."""
        return self.name == "repair.sql" and self.state in ("applied", "already applied")


def status(case: Path, *, world: World) -> Result:
    """Reads only. Exit 4 when the journal was tampered with: nothing that it says can be used."""
    folder = CaseFolder.look(case, world.clock)
    journal = folder.journal()
    states = stage_states(folder)
    done = {one.stage: one.at for one in folder.finished()}
    rows = tuple((stage, state, done.get(stage, "")) for stage, state in states.items())
    if journal.intact:
        lines = len(journal.entries)
        told = [
            f"Case {folder.id}: {lines} journal lines, the chain is whole ({journal.head[:12]})."
        ]
        told += [*backups_words(folder), *what_next(folder)]
    else:
        told = [
            f"THE JOURNAL IS BROKEN at line {journal.broken}: {journal.why}.",
            "Nothing that it says about consent can be relied on.",
            "Next: open a new case from the same evidence",
        ]
    warnings = (
        folder.read_document(WARNINGS, "warnings").texts("warnings") if folder.has(WARNINGS) else ()
    )
    document: Mapping[str, Json] = {
        "dbmend": "status/1",
        "case": folder.id,
        "closed": folder.closed,
        "journal": {
            "lines": len(journal.entries),
            "intact": journal.intact,
            "head": journal.head,
            "why": journal.why,
        },
        "stages": states,
        "open_groups": open_groups(folder),
        "next": told[-1].removeprefix("Next: ") if told[-1].startswith("Next: ") else "",
    }
    return Result(
        Exit.FINE if journal.intact else Exit.REFUSED,
        tuple(told),
        (Grid("Stages", ("stage", "", "at"), rows),),
        tuple(show(warning, "en") for warning in warnings),
        document,
    )


def _difference(tables: tuple[Reader, ...]) -> str:
    there = [one for one in tables if one.flag("there")]
    rows = sum(one.whole(kind) for one in there for kind in ("changed", "missing", "extra"))
    told = f"differs from the backup in {rows:,} rows of {len(there)} tables"
    absent = [one.text("table") for one in tables if not one.flag("there")]
    unknown = [one.text("table") for one in there if one.text("status") in _NOT_TOLD]
    told += f"; not there: {', '.join(absent)}" if absent else ""
    return told + (f"; not compared whole: {', '.join(unknown)}" if unknown else "")


def backups_words(folder: CaseFolder) -> tuple[str, ...]:
    """What other backups there are, and what they say."""
    known = folder.named_evidence()
    others = {name: one for name, one in known.items() if one.role == "other-backup"}
    entries = (
        folder.read_document(EARLIER, "earlier").many("backups") if folder.has(EARLIER) else ()
    )
    found = {one.text("name"): one.many("tables") for one in entries}
    told = []
    for name, one in others.items():
        when = f"taken {one.taken_at:%Y-%m-%d %H:%M %Z}" if one.taken_at else "of an unknown time"
        what = "not compared yet"
        if name in found:
            what = _difference(found[name])
        told.append(f"{name} ({one.path.name}, {when}): {what}.")
    return tuple(told)


def report_digest(folder: CaseFolder) -> str:
    return files.sha256(folder.path / REPORT) if folder.has(REPORT) else ""


def last_run(folder: CaseFolder) -> LastRun | None:
    """None when no script was run, or none since the last one that changed nothing."""
    found: LastRun | None = None
    before: LastRun | None = None
    for entry in folder.journal().entries:
        if entry.what.startswith(RUNS):
            told = {name: str(value) for name, value in entry.detail.items()}
            before = found
            found = LastRun(
                entry.what.removeprefix(RUNS),
                "",
                told.get("repair", ""),
                told.get("undo", ""),
                told.get("database", ""),
            )
        elif found is not None and entry.what.startswith(f"{found.name}: "):
            state = entry.what.removeprefix(f"{found.name}: ")
            if state == "refused":
                found = before
            else:
                found = LastRun(found.name, state, found.repair, found.undo, found.database)
    return found


def require_untouched(folder: CaseFolder, stage: str) -> None:
    """What people decide on is what the stages wrote. Raises EngineError: UNUSABLE for a stage that
    was not done yet, REFUSED for documents that were changed since."""
    for name in STAGES[: STAGES.index(stage) + 1]:
        folder.require(name)
        if not folder.is_done(name):
            raise EngineError(
                Exit.REFUSED,
                f"what '{name}' wrote into the case is not what it was: it was changed since",
                where=str(folder.path),
                hint=f"dbmend {name} {folder.path} makes it again; look at it before you decide",
            )


def stage_states(folder: CaseFolder) -> dict[str, str]:
    """Per stage: done, CHANGED (its documents, or what they were made from), or ''."""
    known = {one.stage for one in folder.finished()}
    if folder.closed:  # its documents are gone on purpose
        return {stage: "done" if stage in known else "" for stage in STAGES}
    return {
        stage: ("done" if folder.is_done(stage) else "CHANGED") if stage in known else ""
        for stage in STAGES
    }


def open_groups(folder: CaseFolder) -> tuple[str, ...]:
    if not folder.has("plan.json"):
        return ()
    plan = read_plan(folder.read_document("plan.json", "plan"))
    known = decisions.read_review(folder).in_force(plan.digest)
    return tuple(group.id for group in plan.groups if group.id not in known)


def what_next(folder: CaseFolder) -> tuple[str, ...]:
    """Sentences; where something is to be done, the last one names the command."""
    case = folder.path
    if folder.closed:
        return ("The case is closed: its rows are wiped, hashes and journal are kept.",)
    states = stage_states(folder)
    for stage, state in states.items():
        if state == "CHANGED":
            again = "assess" if stage == "open" else f"{stage} {case}"
            return (
                f"What '{stage}' wrote was changed since, or what it stands on.",
                f"Next: dbmend {again}, and what follows it, makes it again",
            )
        if not state and stage == "open":
            return ("Next: the same dbmend assess (or open) again: it resumes",)
        if not state:
            before = STAGES[STAGES.index(stage) - 1]
            return (f"Next: {NEXT[before].format(case=case)}",)
    plan = read_plan(folder.read_document("plan.json", "plan"))
    if not plan.groups:
        return ("Nothing is to be repaired.", f"Next: dbmend close {case}")
    return _after_the_report(folder)


def _after_the_report(folder: CaseFolder) -> tuple[str, ...]:
    case = folder.path
    plan = read_plan(folder.read_document("plan.json", "plan"))
    review = decisions.read_review(folder)
    waiting = open_groups(folder)
    if waiting:
        told = f"Open groups: {', '.join(waiting)}."
        return (told, f"Next: dbmend decide {case} GROUP... approve|reject --by NAME")
    approved = [group.id for group in review.approved(plan)]
    if not approved:
        return ("Every group was rejected: nothing is to be repaired.",)
    if review.agreed(report_digest(folder)) is None:
        told = "The customer has not agreed to the report as it is now."
        return (told, f"Next: dbmend agree {case} --by NAME")
    if not _is_of(folder, plan.digest, approved):
        return (f"Next: dbmend script {case}",)
    run = last_run(folder)
    if run is not None and not run.state:
        told = f"How {run.name} ended on {run.database} is not known."
        verb = "undo" if run.name == "undo.sql" else "apply"
        return (
            told,
            f"Next: dbmend {verb} {case} --to DSN, which says so and writes nothing twice",
        )
    if run is not None and run.repaired and run.repair == _digest(folder, "repair"):
        told = f"The repair was applied to {run.database}."
        return (told, f"Next: dbmend close {case}, or dbmend undo {case} --to DSN")
    return (f"Next: dbmend apply {case} --to DSN, or run repair.sql with psql",)


def _is_of(folder: CaseFolder, plan: str, groups: list[str]) -> bool:
    if not folder.has(SCRIPT):
        return False
    known = folder.read_document(SCRIPT, "script")
    return known.text("plan") == plan and list(known.texts("groups")) == groups


def _digest(folder: CaseFolder, name: str) -> str:
    return folder.read_document(SCRIPT, "script").text(name)
