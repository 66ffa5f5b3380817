"""What a stage made, read back from the case's documents and told in sentences and tables. The
same whether the stage was done now or before. English: these are the engineers' words.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from diffing.model import Ledger, Status, Verdict
from recovery.bench import LOAD, SIDES, Bench
from recovery.case.evidence import NAMES
from recovery.case.reading import Reader
from recovery.case.result import Grid, Json, Result
from recovery.case.serial import read_ledger, read_rehearsal
from recovery.depth import share, totals
from recovery.messages import show
from recovery.model import (
    SAFE,
    Evidence,
    Exit,
    Outcome,
    Replay,
    StepLog,
    StepOutcome,
)
from recovery.standing import backups_words

_FINDINGS_THAT_MATTER = frozenset({"constraint", "violation", "data"})


def opened(
    case: Path, evidence: Mapping[str, Evidence], log: StepLog, warnings: Sequence[str]
) -> Result:
    rows = tuple(
        (
            name,
            str(one.path),
            one.kind or NAMES[one.role],
            f"{one.taken_at:%Y-%m-%d %H:%M %Z}" if one.taken_at else "",
            f"{one.size:,}",
            one.sha256[:16],
        )
        for name, one in evidence.items()
    )
    return Result(
        Exit.FINE,
        (f"The evidence is whole. The step log has {len(log.steps)} steps.", f"Case: {case}"),
        (Grid("Evidence", ("name", "file", "what", "taken", "bytes", "SHA-256"), rows),),
        _english(warnings),
        {
            "dbmend": "open/1",
            "case": str(case),
            "evidence": [
                {"name": name, "role": one.role, "sha256": one.sha256}
                for name, one in evidence.items()
            ],
        },
    )


def loaded(bench: Bench) -> Result:
    document = bench.case.read_document(LOAD, "load")
    rows: list[tuple[str, ...]] = []
    unloaded = 0
    for side in bench.states:
        one = document.one(side)
        for finding in one.many("findings"):
            rows.append(
                (side, finding.text("kind"), finding.text("object"), finding.text("message"))
            )
        for table, why in one.texts_by_name("unloaded"):
            rows.append((side, "NOT LOADED", table, why))
            unloaded += side in SIDES
    violations = sum(row[1] == "violation" for row in rows)
    code = Exit.COULD_NOT_TELL if unloaded else Exit.FINDINGS if violations else Exit.FINE
    told = "Both states are loaded." if not unloaded else f"{unloaded} tables could not be loaded."
    if len(bench.states) > len(SIDES):
        told += f" Beside them: {', '.join(bench.states[len(SIDES) :])}."
    if violations:
        told += f" The data violates {violations} constraints."
    grids = (Grid("What the load noticed", ("side", "kind", "object", "what"), tuple(rows)),)
    return Result(code, (told,), grids if rows else (), _english(bench.warnings), document.value)


def compared(bench: Bench) -> Result:
    ledger = read_ledger(bench.case.read_document("diff.json", "diff"))
    codes = {
        Verdict.IDENTICAL: Exit.FINE,
        Verdict.DIFFERENT: Exit.FINDINGS,
        Verdict.INCONCLUSIVE: Exit.COULD_NOT_TELL,
    }
    return Result(
        codes[ledger.verdict],
        (_compared_words(ledger), *backups_words(bench.case)),
        (_ledger_grid(ledger),),
        _english(bench.warnings),
        bench.case.read_document("diff.json", "diff").value,
    )


def _compared_words(ledger: Ledger) -> str:
    differing = [table for table in ledger if table.status is Status.DIFFERENT]
    not_compared = [
        table for table in ledger if table.status in (Status.NOT_COMPARED, Status.PARTIAL)
    ]
    changed = sum(table.changed for table in ledger)
    missing = sum(table.missing for table in ledger)
    extra = sum(table.extra for table in ledger)
    told = (
        f"{len(ledger.tables)} tables compared: {len(differing)} differ; {changed:,} rows changed,"
        f" {missing:,} missing, {extra:,} extra; {len(ledger.schema)} differences in the schema."
    )
    if not_compared:
        names = ", ".join(table.table for table in not_compared)
        told += f" NOT COMPARED: {names}."
    return told


def _ledger_grid(ledger: Ledger) -> Grid:
    rows = tuple(
        (
            table.table,
            str(table.status),
            f"{table.rows.backup:,}",
            f"{table.rows.current:,}",
            f"{table.changed:,}",
            f"{table.missing:,}",
            f"{table.extra:,}",
            table.why,
        )
        for table in ledger
        if table.status is not Status.IDENTICAL
    )
    header = ("table", "status", "backup", "current", "changed", "missing", "extra", "remarks")
    return Grid("Tables that are not identical", header, rows)


def replayed(bench: Bench) -> Result:
    replay = read_replay(bench.case.read_document("replay.json", "replay"))
    counts = {
        outcome: sum(one.outcome is outcome for one in replay.outcomes) for outcome in Outcome
    }
    rows = tuple(
        (one.step, str(one.outcome), one.why)
        for one in replay.outcomes
        if one.outcome is not Outcome.DONE or one.why
    )
    incomplete = [one.step for one in replay.outcomes if not one.complete]
    told = [
        f"{counts[Outcome.DONE]} of {len(replay.outcomes)} steps replayed,"
        f" {counts[Outcome.FAILED]} failed, {counts[Outcome.NOT_REPLAYED]} cannot be replayed."
    ]
    if incomplete:
        told.append(f"Effects not fully captured: {', '.join(incomplete)}.")
    captured = all(one.complete for one in replay.outcomes)
    title = "Steps that were not replayed" + ("" if captured else ", or not captured whole")
    grids = (Grid(title, ("step", "outcome", "why"), rows),) if rows else ()
    document = bench.case.read_document("replay.json", "replay").value
    return Result(Exit.FINE, tuple(told), grids, _english(bench.warnings), document)


def located(bench: Bench) -> Result:
    assessment = bench.assessment
    codes = {"clean": Exit.FINE, "damaged": Exit.FINDINGS, "inconclusive": Exit.COULD_NOT_TELL}
    told = [f"Verdict: {assessment.verdict}."]
    if assessment.cut_short:
        told.append("The time for the search was up before everything was tried.")
    for fault in assessment.faults:
        if not fault.accepted:
            told.append(f"  Or: {show(fault.evidence[0], 'en')} ({fault.probability:.3f}).")
            continue
        where = f"step {fault.step}" if fault.step else "in no step"
        told.append(
            f"{fault.id}: {where}, {fault.fault_class}, probability {fault.probability:.3f}."
        )
        told += [f"  {show(sentence, 'en')}" for sentence in fault.evidence]
    sums = totals(assessment.tables)
    exact = share(bench.facts, assessment.faults)
    if exact is not None:
        cells = sum(count for _, count in sums.cells)
        told.append(
            f"{cells:,} cells are damaged; {exact.lower:.1%} of them come back exactly for sure,"
            f" {exact.upper:.1%} at best."
        )
    told.append(
        f"Legitimate work kept: {sums.legitimate.documented:,} cells that a step explains,"
        f" {sums.legitimate.undocumented:,} that nothing explains."
    )
    rows = tuple(
        (
            table.table,
            *(f"{dict(table.cells).get(grade, 0):,}" for grade, _ in sums.cells),
        )
        for table in assessment.tables
        if table.cells
    )
    grids = (
        (Grid("Damaged cells by grade", ("table", *(str(grade) for grade, _ in sums.cells)), rows),)
        if rows
        else ()
    )
    return Result(
        Exit.COULD_NOT_TELL if assessment.cut_short else codes[assessment.verdict],
        tuple(told),
        grids,
        _english(assessment.warnings),
        bench.case.read_document("assessment.json", "assessment").value,
    )


def planned(bench: Bench) -> Result:
    plan = bench.plan
    rows = tuple(
        (
            group.id,
            group.operation.op,
            group.operation.table,
            f"{group.operation.rows:,}",
            f"{group.operation.cells:,}",
            str(group.grade) + (" (safe)" if group.grade in SAFE else ""),
            ", ".join(note.name for note in group.hazards),
        )
        for group in plan.groups
    )
    header = ("group", "operation", "table", "rows", "cells", "grade", "hazards")
    refused = tuple(
        (one.fault, one.table, f"{one.cells:,}", show(one.reason, "en")) for one in plan.refusals
    )
    grids = [Grid("Groups to decide on", header, rows)] if rows else []
    if refused:
        grids.append(Grid("Not repaired", ("fault", "table", "cells", "why"), refused))
    told = f"{len(plan.groups)} groups proposed, {len(plan.refusals)} refused."
    code = Exit.FINDINGS if plan.groups or plan.refusals else Exit.FINE
    document = bench.case.read_document("plan.json", "plan").value
    return Result(code, (told,), tuple(grids), _english(bench.warnings), document)


def rehearsed(bench: Bench) -> Result:
    if not bench.plan.groups:
        return Result(
            Exit.FINE,
            ("Nothing to rehearse: the plan writes nothing.",),
            warnings=_english(bench.warnings),
            document={"dbmend": "rehearsal/1", "checks": []},
        )
    document = bench.case.read_document("rehearsal.json", "rehearsal")
    rehearsal = read_rehearsal(document)
    rows = tuple(
        (check.name, "passed" if check.passed else "FAILED", check.detail)
        for check in rehearsal.checks
    )
    told = (
        f"Rehearsed on a copy: {len(rehearsal.checks)} checks passed."
        if rehearsal.passed
        else "The rehearsal FAILED: this plan must not be used."
    )
    return Result(
        Exit.FINE if rehearsal.passed else Exit.COULD_NOT_TELL,
        (told,),
        (Grid("Rehearsal", ("check", "result", "detail"), rows),),
        _english(bench.warnings),
        document.value,
    )


def reported(bench: Bench) -> Result:
    folder = bench.case.path / "report"
    return Result(
        Exit.FINE,
        (f"Recovery depth report: {folder / 'depth.ru.html'}, {folder / 'depth.en.html'}",),
        (),
        _english(bench.warnings),
        bench.case.read_document("report/depth.json", "depth").value,
    )


def whole(case: Path, results: Mapping[str, Result]) -> Result:
    """All stages as one: the verdict's code, unless a stage could not finish."""
    unsure = [name for name, one in results.items() if one.exit is Exit.COULD_NOT_TELL]
    code = Exit.COULD_NOT_TELL if unsure else results["locate"].exit
    told = [sentence for name, one in results.items() for sentence in one.summary]
    if unsure:
        told.append(f"COULD NOT TELL: {', '.join(unsure)}; see above.")
    if results["plan"].exit is Exit.FINDINGS and results["rehearse"].exit is Exit.FINE:
        told.append(
            f"Next: read the report with the customer (dbmend agree {case} --by NAME), decide on"
            f" the groups (dbmend decide {case} safe approve --by NAME), then dbmend script {case}."
        )
    grids = tuple(grid for name in ("locate", "plan", "rehearse") for grid in results[name].grids)
    warnings = results["locate"].warnings
    document: dict[str, Json] = {name: one.document for name, one in results.items()}
    whole: Mapping[str, Json] = {"dbmend": "assess/1", "case": str(case), **document}
    return Result(code, tuple(told), grids, warnings, whole)


def replay_json(replay: Replay) -> Mapping[str, Json]:
    """Fields of replay.json."""
    return {
        "run": replay.run,
        "blind": sorted(replay.blind),
        "outcomes": [
            {
                "step": one.step,
                "outcome": str(one.outcome),
                "why": one.why,
                "rows": one.rows,
                "effects": one.effects,
                "complete": one.complete,
                "altered": one.altered,
            }
            for one in replay.outcomes
        ],
    }


def read_replay(document: Reader) -> Replay:
    outcomes = tuple(
        StepOutcome(
            one.text("step"),
            Outcome(one.text("outcome")),
            one.text("why"),
            None if one.value.get("rows") is None else one.whole("rows"),
            one.whole("effects"),
            one.flag("complete"),
            one.flag("altered"),
        )
        for one in document.many("outcomes")
    )
    return Replay(document.text("run"), outcomes, frozenset(document.texts("blind")))


def _english(warnings: Sequence[str]) -> tuple[str, ...]:
    return tuple(show(warning, "en") for warning in warnings)
