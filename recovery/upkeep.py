"""Around the procedure: putting a case away, what this machine has, the demo."""

import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import duckdb

from recovery import engine, repair
from recovery.bench import Bench, forget_scratch
from recovery.case.folder import CaseFolder
from recovery.case.result import Grid, Json, Result
from recovery.case.world import Inputs, World
from recovery.demo.build import build_case
from recovery.demo.outcome import Outcome, compare_with_truth
from recovery.model import EngineError, Exit
from recovery.scratch.binaries import find_binaries
from recovery.scratch.cluster import open_cluster
from recovery.scratch.places import home

# --- putting it away ------------------------------------------------------------------------------


def close(case: Path, *, world: World) -> Result:
    """Wipe the rows: of the case, and of every scratch server it was loaded into."""
    with CaseFolder.open(case, world.clock, closed=True) as folder:
        forget_scratch(folder, world)
        wiped = folder.close("dbmend")
        told = [f"{len(wiped.removed)} files wiped; hashes and the journal are kept."]
        if wiped.left:
            told.append(f"Not made by dbmend and left: {', '.join(wiped.left)}.")
        document: Mapping[str, Json] = {
            "dbmend": "close/1",
            "removed": wiped.removed,
            "left": wiped.left,
        }
        return Result(Exit.FINE, tuple(told), document=document)


# --- the machine ----------------------------------------------------------------------------------


def doctor(*, world: World) -> Result:
    """What is here, what is missing, and the command that brings it."""
    rows: list[tuple[str, str, str]] = []
    code = Exit.FINE
    try:
        found = find_binaries(world.pg_bin)
        rows.append(("PostgreSQL server", "ok", f"{found.version} in {found.folder}"))
    except EngineError as error:
        rows.append(("PostgreSQL server", "MISSING", f"{error.message}. {error.hint}"))
        code = Exit.UNUSABLE
    place = world.scratch_place or home()
    free = shutil.disk_usage(_existing(place)).free
    rows.append(
        ("Disk for scratch", "ok" if free > 5e9 else "LOW", f"{free / 1e9:.1f} GB at {place}")
    )
    rows.append(("Memory", "ok", f"{_memory_bytes() / 1e9:.1f} GB available"))
    rows.append(("DuckDB", "ok", duckdb.__version__))
    rows.append(("dbmend", "ok", version("dbmend")))
    document: Mapping[str, Json] = {
        "dbmend": "doctor/1",
        "machine": {name: {"state": state, "detail": what} for name, state, what in rows},
    }
    told = "Everything is here." if code is Exit.FINE else "Something is missing."
    return Result(
        code, (told,), (Grid("This machine", ("what", "", "detail"), tuple(rows)),), (), document
    )


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _memory_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


# --- the demo -------------------------------------------------------------------------------------


def demo(folder: Path | None, *, world: World) -> Result:
    """The main job on a sample: damage a webshop, assess it, approve what is safe, apply the script
    to a copy of the damaged database, and compare that with what the data should have been."""
    place = folder or Path(tempfile.mkdtemp(prefix="dbmend-demo-"))
    case = place / "case"
    if not (place / "truth.json").exists():
        world.progress.stage("building the sample")
        with open_cluster(
            f"run-demo-{place.name}",
            place=world.scratch_place,
            binaries=world.pg_bin,
            dsn=world.dsn,
        ) as cluster:
            build_case(place, cluster)
    inputs = Inputs(place / "backup.sql", place / "current.sql", place / "steps.yaml")
    assessed = engine.assess(case, inputs=inputs, world=world)
    repair.agree(case, by="demo customer", world=world)
    repair.decide(
        case,
        groups=("safe",),
        approve=True,
        by="demo reviewer",
        note="the demo approves what is safe",
        accept=("all",),
        world=world,
    )
    repair.script(case, output=None, keep_saved=False, on_moved="refuse", world=world)
    outcome = _on_a_copy(case, place, world)
    told = _demo_words(outcome, place, case)
    return Result(
        Exit.FINE if outcome.as_expected else Exit.COULD_NOT_TELL,
        told,
        assessed.grids,
        assessed.warnings,
        {"dbmend": "demo/1", "folder": str(place), "case": str(case), **outcome.figures()},
    )


def _on_a_copy(case: Path, place: Path, world: World) -> Outcome:
    """Apply the script where the customer's database would be, and look at every cell."""
    with Bench(CaseFolder.open(case, world.clock), world) as bench:
        bench.loaded()
        copy = "demo_target"
        bench.cluster.drop(copy)
        bench.cluster.clone("current", copy)
        target = bench.cluster.conninfo(copy, "jail")
        applied = repair.apply_on(bench, target)
        with (
            bench.cluster.connect(copy) as connection,
            bench.cluster.connect("current") as before,
        ):
            outcome = compare_with_truth(
                connection, before, place / "truth.json", bench.assessment, applied.exit
            )
        bench.cluster.drop(copy)
    return outcome


def _demo_words(outcome: Outcome, place: Path, case: Path) -> tuple[str, ...]:
    return (
        f"The sample: a price rise ran without its WHERE; {outcome.damaged:,} cells were damaged.",
        f"Found: step {outcome.step}, {outcome.fault_class}."
        if outcome.found
        else "The fault was NOT found.",
        f"Restored: {outcome.restored:,} of the {outcome.restorable:,} cells that the evidence can"
        f" tell; wrong: {outcome.harmed:,}.",
        f"Report: {case / 'report' / 'depth.ru.html'} and depth.en.html",
        f"Script: {case / 'repair.sql'}, undo.sql; plan: {case / 'plan.json'}",
        f"The evidence: {place}",
    )


__all__ = ["close", "demo", "doctor"]
