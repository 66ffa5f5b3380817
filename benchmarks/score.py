"""Score a tool on a case: it is run as a program, its script is run by psql on a copy of the
damaged database, and what is there afterwards is compared with the truth cell by cell."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg

from benchmarks.generator import Case, load_dump
from benchmarks.lives import read_as
from benchmarks.metrics import Measures, listed_faults, measure
from benchmarks.parameters import parameters
from recovery.demo.bundle import Server
from recovery.demo.twin import Connection, Row, State, TableShape, prepare

PRODUCT = (sys.executable, "-m", "cli.main")
_ROOT = Path(__file__).resolve().parent.parent
_TIMEOUT_SECONDS = {"XXS": 600, "XS": 900, "S": 3600, "M": 14400}
_COULD_NOT_TELL, _REFUSED = 3, 4
_SHOWN = 8  # cells of a gate that does not hold


@dataclass(frozen=True, slots=True)
class Repair:
    """What applying a script did, in cells; a row that appears or goes counts as one."""

    written: int
    harmed: int  # written, and not as the truth has it: must be 0
    legitimate_lost: int  # was as the truth has it, and is no more: must be 0
    restored: int  # restorable cells that are as the truth has them now
    restorable: int
    restored_records: int = 0  # of these, in tables to which triggers append what happened
    restorable_records: int = 0
    exact: int = 0  # damaged cells that are as the truth has them now
    shown: tuple[str, ...] = field(default=(), compare=False)  # some harmed cells

    @property
    def share(self) -> float:
        return self.restored / self.restorable if self.restorable else 1.0

    @property
    def share_of_data(self) -> float:
        """The share without the cells of record tables."""
        wanted = self.restorable - self.restorable_records
        return (self.restored - self.restored_records) / wanted if wanted else 1.0


@dataclass(frozen=True, slots=True)
class Score:
    """One case. `trouble` says what did not run; its figures are then those of doing nothing."""

    verdict: str
    verdict_right: bool
    fault_right: bool
    repair: Repair
    wrong_safe: int  # cells graded proven or consistent whose target is not the truth: must be 0
    safe: int
    seconds: float
    trouble: str = ""
    measures: Measures = field(default_factory=Measures)
    actual_share: float = 1.0  # of the damaged cells, as the truth has them after the repair
    violations: int = 0  # rows without their parent that the repair made: must be 0
    sequences: bool = True  # no sequence is behind any more
    memory_bytes: int = 0  # the largest process of the tool, its database servers not counted

    @property
    def gates_hold(self) -> bool:
        repair = self.repair
        return not (repair.harmed or repair.legitimate_lost or self.wrong_safe or self.violations)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool left behind: files that may be missing."""

    trouble: str
    script: Path | None
    assessment: Path
    damage: Path
    memory_bytes: int


def score(
    server: Server, case: Case, work: Path, product: Sequence[str] = PRODUCT,
    tool: Sequence[str] = (),
) -> Score:  # fmt: skip
    """Run the whole way on the case in `work`, which must not exist yet. `tool` is another tool
    that keeps to the one-call protocol of README.md."""
    started = time.monotonic()
    work.mkdir(parents=True)
    answer = _run_tool(case, work, tool) if tool else _run_product(case, work, product)
    seconds = time.monotonic() - started
    found = _document(answer.assessment)
    measures = _measured(server, case, found, answer.damage)
    trouble = answer.trouble
    try:
        repair, violations, sequences = applied(server, case, answer.script)
    except (psycopg.Error, RuntimeError) as error:
        trouble = f"repair.sql: {error}"[-400:]
        repair, violations, sequences = applied(server, case, None)
    damaged = len(case.cells)
    return Score(
        verdict=measures.verdict,
        verdict_right=measures.verdict == ("damaged" if case.damaged else "clean"),
        fault_right=_fault_right(found, case, measures),
        repair=repair,
        wrong_safe=measures.wrong_safe,
        safe=measures.safe,
        seconds=seconds,
        trouble=trouble,
        measures=measures,
        actual_share=repair.exact / damaged if damaged else 1.0,
        violations=violations,
        sequences=sequences,
        memory_bytes=answer.memory_bytes,
    )


def _measured(server: Server, case: Case, found: dict[str, object], damage: Path) -> Measures:
    measures = measure(found, damage, case, case.plan.mode)
    said = parameters(server, case, listed_faults(found))
    named = [replace(one, parameters=word) for one, word in zip(measures.named, said, strict=True)]
    return replace(measures, named=tuple(named))


def repaired(server: Server, case: Case, script: Path | None) -> Repair:
    """Load the damaged database, run the script on it as a person would, and compare."""
    return applied(server, case, script)[0]


def applied(server: Server, case: Case, script: Path | None) -> tuple[Repair, int, bool]:
    """The same, with the rows that lost their parent by the script, and whether every sequence is
    where it was meant to be."""
    database = "scored"
    server.drop(database)
    server.create(database)
    try:
        _load_damaged(server, case, database)
        before, orphans = _state(server, case, database)
        if script is not None:
            load_dump(server, script, database)
        after, left = _state(server, case, database)
        sequences = _sequences_hold(server, case, database)
    finally:
        server.drop(database)
    return compared(case, before, after), max(0, left - orphans), sequences


def _load_damaged(server: Server, case: Case, database: str) -> None:
    """A dump of a database with orphans does not load as a whole; then what loads is loaded."""
    command = [str(server.binaries / "psql"), "-X", "-q", "-d", server.conninfo(database)]
    command += ["-f", str(case.folder / "current.sql")]
    subprocess.run(command, capture_output=True, text=True, check=False)


def compared(case: Case, before: State, after: State) -> Repair:
    """The state of the damaged database before and after a repair, against the truth."""
    truth = case.worlds.intended.state
    written = harmed = lost = 0
    shown: list[str] = []
    for shape in case.worlds.tables:
        old, new, right = before[shape.name], after[shape.name], truth[shape.name]
        for key in old.keys() | new.keys():
            if old.get(key) == new.get(key):
                continue
            for name, was, now, should in _cells(shape, old.get(key), new.get(key), right.get(key)):
                written += 1
                if now == should:
                    continue
                harmed += 1
                lost += was == should
                if len(shown) < _SHOWN:
                    place = f"{shape.name} {key} {name}"
                    shown.append(f"{place}: was {was!r}, now {now!r}, true {should!r}")
    shape_of = {shape.name: shape for shape in case.worlds.tables}
    exact = [
        true
        for true in case.cells
        if _value(shape_of[true.cell.table], after, true.cell.key, true.cell.column)
        == _value(shape_of[true.cell.table], truth, true.cell.key, true.cell.column)
    ]
    wanted = [true for true in case.cells if true.restorable]
    restored = [true for true in exact if true.restorable]
    records = case.plan.suite.records
    return Repair(
        written=written,
        harmed=harmed,
        legitimate_lost=lost,
        restored=len(restored),
        restorable=len(wanted),
        restored_records=sum(true.cell.table in records for true in restored),
        restorable_records=sum(true.cell.table in records for true in wanted),
        exact=len(exact),
        shown=tuple(shown),
    )


def _cells(
    shape: TableShape, old: Row | None, new: Row | None, right: Row | None
) -> list[tuple[str, object, object, object]]:
    """The written cells of one row: name, before, after, truth. Rows that came or went count
    whole."""
    if old is None or new is None or right is None:
        return [("", old, new, right)]
    cells = zip(shape.columns, old, new, right, strict=True)
    return [(name, was, now, should) for name, was, now, should in cells if was != now]


def _value(shape: TableShape, state: State, key: str, column: str) -> object:
    row = state[shape.name].get(key)
    if row is None or not column:
        return row
    return (row[shape.columns.index(column)],)


def _state(server: Server, case: Case, database: str) -> tuple[State, int]:
    with server.connect(database) as connection:
        prepare(connection)
        return read_as(connection, case.worlds.tables), _orphans(connection)


def _orphans(connection: Connection) -> int:
    """Rows that refer to a row that is not there."""
    queries = connection.execute("""
        SELECT format('SELECT count(*) FROM %s c WHERE %s AND NOT EXISTS (SELECT 1 FROM %s p'
            ' WHERE %s)', conrelid::regclass, string_agg(format('c.%I IS NOT NULL', a.attname),
            ' AND '), confrelid::regclass, string_agg(format('p.%I = c.%I', f.attname, a.attname),
            ' AND '))
        FROM pg_constraint k, unnest(k.conkey, k.confkey) AS u (mine, theirs), pg_attribute a,
             pg_attribute f
        WHERE k.contype = 'f' AND k.conparentid = 0 AND a.attrelid = k.conrelid
          AND a.attnum = u.mine AND f.attrelid = k.confrelid AND f.attnum = u.theirs
        GROUP BY k.oid, conrelid, confrelid""").fetchall()
    counts = [connection.execute(str(text).encode()).fetchone() for (text,) in queries]
    return sum(int(str(count[0])) for count in counts if count)


def _sequences_hold(server: Server, case: Case, database: str) -> bool:
    """Whether sequences that the fault set back have been moved forward."""
    names = [
        dict(fault.strike.parameters)["sequence"]
        for fault in case.history.faults
        if fault.fault_class == "sequence-behind"
    ]
    with server.connect(database) as connection:
        for name in names:
            query = "SELECT last_value FROM pg_sequences WHERE sequencename = %s"
            row = connection.execute(query, (name,)).fetchone()
            if row is None or row[0] is None or int(str(row[0])) <= 3:
                return False
    return True


def _run_tool(case: Case, work: Path, tool: Sequence[str]) -> Answer:
    out = work / "out"
    out.mkdir()
    given = ("--backup", case.folder / "backup.sql", "--current", case.folder / "current.sql")
    steps = ("--steps", case.folder / "steps.yaml", "--out", out)
    seconds = _TIMEOUT_SECONDS[case.plan.size]
    code, said, memory = _call(tool, seconds, *given, *steps)
    script = out / "repair.sql"
    trouble = "" if code in (0, 1) else f"exit {code}: {said}"
    kept = script if script.exists() and not trouble else None
    return Answer(trouble, kept, out / "assessment.json", out / "damage.parquet", memory)


def _run_product(case: Case, work: Path, product: Sequence[str]) -> Answer:
    """What went wrong ('' when nothing did) and the script, if one was made."""
    folder, out = work / "case", work / "out"
    assessment, damage = folder / "assessment.json", folder / "damage.parquet"
    seconds, most = _TIMEOUT_SECONDS[case.plan.size], 0
    given = ("--backup", case.folder / "backup.sql", "--current", case.folder / "current.sql")
    steps = ("--steps", case.folder / "steps.yaml", "--case", folder)
    code, said, most = _call(product, seconds, "assess", *given, *steps)
    inconclusive = code == _COULD_NOT_TELL and assessment.exists()
    if code not in (0, 1) and not inconclusive:
        return Answer(f"assess: exit {code}: {said}", None, assessment, damage, most)
    if code == 0:
        return Answer("", None, assessment, damage, most)
    calls: tuple[tuple[object, ...], ...] = (
        ("agree", folder, "--by", "customer"),
        ("decide", folder, "safe", "approve", "--by", "bench", "--accept", "all"),
        ("script", folder, "-o", out),
    )
    for arguments in calls:
        code, said, memory = _call(product, seconds, *arguments)
        most = max(most, memory)
        if code == _REFUSED and arguments[0] == "decide" and "no group" in said:
            return Answer("", None, assessment, damage, most)  # nothing is safe
        if inconclusive and code in (_COULD_NOT_TELL, _REFUSED):
            return Answer("", None, assessment, damage, most)
        if code not in (0, 1):
            trouble = f"{arguments[0]}: exit {code}: {said}"
            return Answer(trouble, None, assessment, damage, most)
    script = out / "repair.sql"
    if not script.exists():
        return Answer("script: no repair.sql", None, assessment, damage, most)
    return Answer("", script, assessment, damage, most)


def _call(program: Sequence[str], seconds: int, *arguments: object) -> tuple[int, str, int]:
    """Exit status, the end of what it said, and the memory of its largest process in bytes."""
    command = [*program, *(str(one) for one in arguments)]
    environment = {**os.environ, "NO_COLOR": "1"}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        running = subprocess.Popen(
            command, cwd=_ROOT, env=environment, stdout=out, stderr=err, stdin=subprocess.DEVNULL
        )
        timer = threading.Timer(seconds, running.kill)
        timer.start()
        try:
            _, status, usage = os.wait4(running.pid, 0)
        finally:
            timer.cancel()
        running.returncode = os.waitstatus_to_exitcode(status)
        said = ""
        for stream in (out, err):
            stream.seek(0)
            said = stream.read().decode(errors="replace").strip() or said
    return running.returncode, said[-400:], usage.ru_maxrss * 1024


def _document(file: Path) -> dict[str, object]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def _fault_right(found: dict[str, object], case: Case, measures: Measures) -> bool:
    """The most probable fault is a true one, step and class; none where there is none, or where no
    class of the contract fits."""
    listed = found.get("faults")
    if not case.faults or not case.damaged:
        return not listed
    if case.faults[0].strike.outside:
        return not measures.confident_wrong
    return bool(measures.stated) and measures.stated[0][1]
