"""The procedure, verb by verb. Stages meet here and nowhere else: what one finds out, the next is
given as a value or finds in the case's database. Reading this file is reading the product.

open     hash what the customer handed over, and read all of it once: is it whole?
load     both states into scratch
compare  every divergence of the two, with the ledger closed
replay   the step log on a clone of the backup, every effect recorded
locate   which step, which fault, which cells, and what they should be
plan     operations in groups a person can decide on
rehearse the script, really run on a copy, re-read and compared
report   how deep and how surely the data can be restored, for the customer, before anything is done
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from time import monotonic

from psycopg import sql

from diffing.documents import write_parquet
from diffing.engine import Options
from diffing.engine import compare as compare_states
from diffing.model import Ledger, parts
from recovery import doubts, summary
from recovery.bench import LOAD, SIDES, Bench, require_server
from recovery.case.folder import EARLIER, CaseFolder, require_place
from recovery.case.result import Result
from recovery.case.serial import (
    assessment_json,
    ledger_json,
    plan_json,
    read_ledger,
    read_rehearsal,
    rehearsal_json,
)
from recovery.case.stages import STAGES
from recovery.case.world import Inputs, World
from recovery.depth import Legitimate, Taken, table_depths
from recovery.earlier import Other, compare_others, earlier_json
from recovery.localize.locate import BASE, MOVED, Given
from recovery.localize.locate import locate as locate_faults
from recovery.localize.structure import Behind
from recovery.model import (
    Assessment,
    History,
    Plan,
)
from recovery.plan import Catalog, ScratchRows, make_plan
from recovery.rehearse import rehearse as rehearse_script
from recovery.replay.history import history
from recovery.replay.identity import Identities, feeds
from recovery.replay.run import Ground, Laboratory, prepare_ground
from recovery.replay.run import replay as replay_history
from recovery.reports.document import Case, depth_document
from recovery.reports.page import html
from recovery.scratch.counters import counters
from recovery.script.context import ScriptContext
from recovery.script.landmarks import landmarks
from recovery.script.render import render
from recovery.standing import WARNINGS

REPLAY_BASE = "replay_base"
MOVED_BY = timedelta(hours=1, minutes=7, seconds=13, microseconds=123)
Stage = Callable[[Bench], Result]


# --- the whole way --------------------------------------------------------------------------------


def assess(case: Path, *, inputs: Inputs, world: World) -> Result:
    """Every stage that is not done yet, in order; running again goes on where it stopped."""
    with _opened(case, inputs, world, server=True) as bench:
        results = {name: _run(bench, name) for name in STAGES[1:]}
        return summary.whole(bench.case.path, results)


def open_case(case: Path, *, inputs: Inputs, world: World) -> Result:
    with _opened(case, inputs, world) as bench:
        named = bench.case.named_evidence()
        return summary.opened(bench.case.path, named, bench.log, bench.warnings)


def load(case: Path, *, world: World) -> Result:
    return _stage(case, "load", world)


def compare(case: Path, *, world: World) -> Result:
    return _stage(case, "compare", world)


def replay(case: Path, *, world: World) -> Result:
    return _stage(case, "replay", world)


def locate(case: Path, *, world: World) -> Result:
    return _stage(case, "locate", world)


def plan(case: Path, *, world: World) -> Result:
    return _stage(case, "plan", world)


def rehearse(case: Path, *, world: World) -> Result:
    return _stage(case, "rehearse", world)


def report(case: Path, *, world: World) -> Result:
    return _stage(case, "report", world)


def _stage(case: Path, name: str, world: World) -> Result:
    with Bench(CaseFolder.open(case, world.clock), world) as bench:
        return _run(bench, name)


def _run(bench: Bench, name: str) -> Result:
    """A stage whose inputs and documents are as it left them is not done again."""
    work, told, outputs = _STAGES[name]
    if not bench.case.is_done(name) or (name == "locate" and bench.assessment.cut_short):
        bench.world.progress.stage(name)
        bench.case.begin(name)
        work(bench)
        bench.case.finish(name, [one for one in outputs if bench.case.has(one)])
    return told(bench)


# --- open -----------------------------------------------------------------------------------------


def _opened(case: Path, inputs: Inputs, world: World, *, server: bool = False) -> Bench:
    """Nothing is made before all of the evidence was read and found whole, and with `server`
    before there is one to load it into."""
    if not (case / "case.toml").exists():
        world.progress.stage("reading the evidence")
        checks = [lambda: require_place(case), lambda: require_server(world)]
        doubts.require_usable(inputs, checks[: 1 + server])
    evidence = doubts.evidence_of(inputs)
    bench = Bench(CaseFolder.prepare(case, evidence, world.clock, version=version("dbmend")), world)
    with bench.or_put_away():
        if not bench.case.is_done("open"):
            _describe(bench)
    return bench


def _describe(bench: Bench) -> None:
    """Keep what the files say of themselves."""
    bench.case.begin("open")
    bench.describe()
    bench.case.write_document(
        WARNINGS, "warnings", {"warnings": doubts.about_times(bench.evidence(), bench.log)}
    )
    bench.case.finish("open", [])


# --- load, compare, replay ------------------------------------------------------------------------


def _load(bench: Bench) -> None:
    bench.load()


def _compare(bench: Bench) -> None:
    backup, current = (bench.state(side) for side in SIDES)
    bench.loaded()
    names = [[table.name for table in side.schema.tables] for side in (backup, current)]
    doubts.require_same_database(names[0], names[1], bench.path("current"))
    ledger = compare_states(
        backup,
        current,
        bench.facts,
        workspace=bench.case.work,
        options=Options(),
        progress=bench.world.progress,
    )
    doubts.require_no_trouble(ledger)
    warnings = doubts.about_order(backup.schema, current.schema, ledger, set_back=_set_back(bench))
    known = doubts.about_times(bench.evidence(), bench.log)
    bench.case.write_document(WARNINGS, "warnings", {"warnings": (*known, *warnings)})
    bench.case.write_document("diff.json", "diff", ledger_json(ledger))
    with bench.case.writing("diff.parquet") as path:
        write_parquet(bench.facts, path)
    _compare_others(bench)


def _compare_others(bench: Bench) -> None:
    """Where other backups differ from the one the log starts from."""
    known = bench.case.named_evidence()
    base, *others = (
        Other(name, bench.state(name), known[name].taken_at) for name in ("backup", *bench.others)
    )
    work, progress = bench.case.work, bench.world.progress
    found = compare_others(base, tuple(others), bench.facts, workspace=work, progress=progress)
    for ledger in found.values():
        doubts.require_no_trouble(ledger)
    if others:
        bench.case.write_document(EARLIER, "earlier", earlier_json(tuple(others), found))


def _replay(bench: Bench) -> None:
    """Twice, the second time with clock, chance and rows moved: what differs is unstable."""
    ground = _ground(bench)
    steps = _history(bench)
    bench.world.progress.stage("replay", total=2 * len(steps))
    base = replay_history(ground, steps, BASE, progress=bench.world.progress)
    replay_history(
        ground,
        steps,
        MOVED,
        shift=MOVED_BY,
        seed=-0.25,
        beside=BASE,
        progress=bench.world.progress,
    )
    bench.case.write_document("replay.json", "replay", summary.replay_json(base))


def _ground(bench: Bench) -> Ground:
    bench.loaded()
    if REPLAY_BASE not in bench.prepared or not bench.cluster.exists(REPLAY_BASE):
        prepare_ground(bench.cluster, "backup", REPLAY_BASE)
        bench.prepared.add(REPLAY_BASE)
    schema = bench.schema("backup")
    extras = doubts.rows_only_in_current(bench.facts)
    identities = Identities(feeds(schema), extras)
    return Ground(bench.cluster, REPLAY_BASE, schema, bench.facts, identities, bench.case.work)


def _history(bench: Bench) -> History:
    taken = next((one.taken_at for one in bench.evidence() if one.role == "backup"), None)
    schema = bench.schema("backup")
    return history(bench.log, schema, begins=taken, sources=bench.restored())


# --- locate ---------------------------------------------------------------------------------------


def _locate(bench: Bench) -> None:
    ground = _ground(bench)
    steps = _history(bench)
    base = summary.read_replay(bench.case.read_document("replay.json", "replay"))
    with closing(Laboratory(ground)) as laboratory:
        laboratory.know(steps, base)
        found = locate_faults(
            Given(
                bench.log,
                steps,
                ground.schema,
                base,
                _ledger(bench),
                bench.facts,
                laboratory,
                lambda table, column, values: _never_held(bench, table, column, values),
                _wrong_way_round(bench),
                bench.world.progress,
                _time_is_up(bench),
                _behind(bench),
                bench.schema("current").sequences,
            )
        )
    taken = {one.role: one.taken_at for one in bench.evidence()}
    depths = table_depths(
        bench.facts,
        tables=[table.table for table in _ledger(bench)],
        legitimate={one.table: Legitimate(one.documented, one.undocumented) for one in found.kept},
        taken=Taken(taken.get("backup"), taken.get("current")),
    )
    assessment = Assessment(
        found.verdict,
        found.faults,
        depths,
        found.questions,
        found.none_of_these,
        found.assumptions,
        found.coverage,
        found.does_not_prove,
        bench.warnings,
        found.cut_short,
    )
    bench.case.write_document("assessment.json", "assessment", assessment_json(assessment))


def _time_is_up(bench: Bench) -> Callable[[], bool]:
    """The budget counts from now."""
    seconds = bench.world.budget_seconds
    if seconds is None:
        return lambda: False
    end = monotonic() + seconds
    return lambda: monotonic() >= end


def _behind(bench: Bench) -> tuple[Behind, ...]:
    """Counters that stand behind the numbers given, and did not in the backup."""
    sides = []
    for side in SIDES:
        with bench.cluster.connect(side) as connection:
            sides.append(counters(connection, bench.schema(side)))
    was = {one.sequence: one for one in sides[0]}
    return tuple(
        Behind(one.sequence, one.table, one.column, one.next, one.highest)
        for one in sides[1]
        if one.behind and one.highest is not None
        if one.sequence in was and not was[one.sequence].behind
    )


def _set_back(bench: Bench) -> frozenset[str]:
    return frozenset(one.sequence for one in _behind(bench))


def _wrong_way_round(bench: Bench) -> bool:
    """May the backup be the newer one, or of another database? Then no fault is looked for."""
    order = doubts.about_order(
        bench.schema("backup"),
        bench.schema("current"),
        _ledger(bench),
        set_back=_set_back(bench),
    )
    return bool(order or doubts.taken_the_wrong_way_round(bench.evidence()))


def _never_held(bench: Bench, table: str, column: str, values: tuple[str, ...]) -> frozenset[str]:
    """Those of the values that no row of the backup holds in this column."""
    question = sql.SQL("SELECT DISTINCT t FROM (SELECT pg_catalog.concat({}) AS t FROM {}) AS held")
    held = question.format(sql.Identifier(column), sql.Identifier(*parts(table)))
    with bench.cluster.connect("backup") as connection:
        rows = connection.execute(held + sql.SQL(" WHERE t = ANY(%s)"), (list(values),)).fetchall()
    return frozenset(values) - {str(value) for (value,) in rows}


# --- plan, rehearse, report -----------------------------------------------------------------------


def _plan(bench: Bench) -> None:
    ledger = _ledger(bench)
    schema = bench.schema("current")
    with bench.cluster.connect("current") as connection:
        catalog = Catalog(
            schema,
            {table.table: table.rows.current for table in ledger},
            doubts.tables_that_differ(ledger),
            ScratchRows(connection),
        )
        made = make_plan(bench.facts, bench.assessment, catalog)
    bench.case.write_document("plan.json", "plan", plan_json(made))
    doubts.write_damage(bench.facts, bench.case)


def _rehearse(bench: Bench) -> None:
    """The body of all proposed groups: a proposal, before anybody has decided."""
    made = bench.plan
    if not made.groups:
        return
    script, undo = render(made.groups, bench.facts, bench.schema("current"), _context(bench, made))
    rehearsal = rehearse_script(
        script,
        undo,
        made.groups,
        bench.facts,
        bench.cluster,
        "current",
        proposal=True,
        progress=bench.world.progress,
    )
    bench.case.write_document("rehearsal.json", "rehearsal", rehearsal_json(rehearsal))


def _context(bench: Bench, made: Plan) -> ScriptContext:
    with bench.cluster.connect("current") as connection:
        seen = landmarks(connection, made.groups, bench.facts, bench.schema("current"))
    return ScriptContext(bench.case.id, bench.world.clock(), landmarks=seen)


def _report(bench: Bench) -> None:
    assessment = bench.assessment
    rehearsal = (
        read_rehearsal(bench.case.read_document("rehearsal.json", "rehearsal"))
        if bench.plan.groups
        else None
    )
    document = depth_document(
        assessment,
        bench.plan,
        rehearsal,
        bench.evidence(),
        assessment.tables,
        bench.facts,
        case=Case(bench.case.id, bench.world.clock(), bench.log.steps, _ledger(bench)),
    )
    bench.case.write_document("report/depth.json", "depth", document)
    for language in ("ru", "en"):
        bench.case.write(f"report/depth.{language}.html", html(document, language).encode())


def _ledger(bench: Bench) -> Ledger:
    return read_ledger(bench.case.read_document("diff.json", "diff"))


_STAGES: Mapping[str, tuple[Callable[[Bench], None], Stage, tuple[str, ...]]] = {
    "load": (_load, summary.loaded, (LOAD,)),
    "compare": (_compare, summary.compared, ("diff.json", "diff.parquet", WARNINGS, EARLIER)),
    "replay": (_replay, summary.replayed, ("replay.json",)),
    "locate": (_locate, summary.located, ("assessment.json",)),
    "plan": (_plan, summary.planned, ("plan.json", "damage.parquet")),
    "rehearse": (_rehearse, summary.rehearsed, ()),
    "report": (
        _report,
        summary.reported,
        ("report/depth.json", "report/depth.ru.html", "report/depth.en.html"),
    ),
}
