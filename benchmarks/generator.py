"""Cases with a known truth: histories as SQL text, executed as meant and as it happened.

One seed, one schema, one fault class and one share of forgotten steps make one case, always the
same one. Nothing of the product is imported; see README.md for what counts as restorable.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

from benchmarks.suites import Suite, Target
from recovery.demo.bundle import (
    Fault,
    Server,
    TrueCell,
    Worlds,
    dump,
    live_all,
    steps_text,
    truth,
    truth_text,
)
from recovery.demo.rows import make_schema
from recovery.demo.twin import Connection, Entry, prepare

CLASSES = ("as-described", "missing-where", "wrong-value")
CONTROLS = ("legitimate-only", "nothing-changed")
FAULT_STEP = "fault"
DEMO_SEED = 2026
STARTED = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which case to make. `fault_class` may be one of CONTROLS; `missing` is the share of the
    legitimate steps that the log forgets."""

    suite: Suite
    fault_class: str
    missing: float
    seed: int
    steps: int  # legitimate ones

    @property
    def name(self) -> str:
        share = round(self.missing * 100)
        return f"{self.suite.name}-{self.fault_class}-{share}-{self.seed}"

    @property
    def complete(self) -> bool:
        return self.missing == 0


@dataclass(frozen=True, slots=True)
class Case:
    """A case on disk (`folder`) and its truth."""

    plan: Plan
    folder: Path
    kind: str  # multiply, add, constant, delete; '' for controls
    fault: Fault | None
    entries: tuple[Entry, ...]
    worlds: Worlds
    cells: tuple[TrueCell, ...]


@dataclass(frozen=True, slots=True)
class _Strike:
    """The faulty step: what was meant, what ran, and whether what ran was blind.
    `where` is what limited what ran."""

    kind: str
    target: Target
    intended: str
    executed: str
    where: str
    blind: bool


def load_backup(server: Server, suite: Suite, samples: Path, database: str) -> None:
    """The suite's database before anything happens."""
    server.create(database)
    if not suite.file:
        with server.connect(database) as connection:
            make_schema(connection, DEMO_SEED)
        return
    load_dump(server, samples / suite.file, database)


def load_dump(server: Server, file: Path, database: str) -> None:
    """Run a plain dump; any error in it is an error here."""
    command = [str(server.binaries / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    command += ["-d", server.conninfo(database), "-f", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"psql -f {file}: {done.stderr[-2000:]}")


def make_case(server: Server, template: str, plan: Plan, folder: Path) -> Case:
    """Write backup.sql, current.sql and steps.yaml into `folder`, the truth into
    `folder`/truth. `template` is the suite's loaded backup; it is left as it was."""
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    prefix = "case"
    databases = [f"{prefix}_{name}" for name in ("backup", "intended", "actual")]
    for database in databases:
        server.drop(database)
    server.clone(template, f"{prefix}_backup")
    with server.connect(f"{prefix}_backup") as connection:
        entries, strike = history(connection, plan)
    worlds = live_all(server, prefix, entries)
    dump(server, f"{prefix}_backup", folder / "backup.sql")
    dump(server, f"{prefix}_actual", folder / "current.sql")
    dump(server, f"{prefix}_intended", folder / "truth" / "intended.sql")
    for database in databases:
        server.drop(database)
    fault = _fault(plan, strike)
    cells = truth(worlds, fault, complete=plan.complete)
    describes = "executed" if plan.fault_class == "as-described" else "intended"
    covers = "complete" if plan.complete else "partial"
    steps = steps_text(entries, describes=describes, covers=covers, timezone="UTC")
    (folder / "steps.yaml").write_text(steps, encoding="utf-8")
    (folder / "truth" / "truth.json").write_text(truth_text(fault, cells), encoding="utf-8")
    return Case(plan, folder, strike.kind if strike else "", fault, entries, worlds, cells)


def history(connection: Connection, plan: Plan) -> tuple[tuple[Entry, ...], _Strike | None]:
    """The entries of a case. `connection` is to the backup and only read."""
    if plan.fault_class == "nothing-changed":
        look = "Looked whether all is well"  # a log without any step is refused
        return (Entry("1", STARTED, "clerk", look, "", "", logged=True),), None
    prepare(connection)
    random = Random(f"{plan.suite.name} {plan.fault_class} {plan.seed}")  # the same at any share
    writer = _Writer(random, plan.suite, _samples(connection, plan.suite))
    at = max(1, round(plan.steps * random.choice((0.1, 0.5, 0.9))))
    texts = [writer.work(number) for number in range(plan.steps - 8)]
    strike = _strike(random, plan) if plan.fault_class in CLASSES else None
    before, after = texts[:at], texts[at:]
    target = strike.target if strike else plan.suite.values
    keys = _texts(connection, target.keys + (strike.where if strike else ""))
    before += writer.on_the_rows(target, keys, 3)
    after += writer.on_the_rows(target, keys, 3)
    after += [writer.fill(random.choice(plan.suite.downstream)) for _ in range(2)]
    random.shuffle(before)
    random.shuffle(after)
    entries = _logged([*before, *after], plan)
    if strike is not None:
        entries.insert(len(before), _struck(strike, plan))
    return tuple(_timed(entries, random)), strike


@dataclass(slots=True)
class _Writer:
    random: Random
    suite: Suite
    samples: dict[str, tuple[str, ...]]
    number: int = 100

    def work(self, number: int) -> str:
        if number % 5 == 4:
            return self.fill(self.random.choice(self.suite.downstream))
        return self.fill(self.random.choice(self.suite.work))

    def on_the_rows(self, target: Target, keys: Sequence[str], count: int) -> list[str]:
        """Edits of struck cells and of their neighbours, one row each."""
        kinds = (target.here * 2 + target.near)[:count]
        return [self.fill(text, key=self.random.choice(keys)) for text in kinds]

    def fill(self, template: str, key: str = "") -> str:
        self.number += 1
        values = {name: self.random.choice(found) for name, found in self.samples.items()}
        values |= {f"{name}2": self.random.choice(found) for name, found in self.samples.items()}
        money = f"{self.random.randrange(1, 6)}.{self.random.choice((19, 39, 59, 89))}"
        return template.format(
            n=self.number, i=self.random.randrange(1, 9), money=money, key=key, **values
        )


def _samples(connection: Connection, suite: Suite) -> dict[str, tuple[str, ...]]:
    return {name: _texts(connection, query) for name, query in suite.samples}


def _texts(connection: Connection, query: str) -> tuple[str, ...]:
    rows = connection.execute(query.encode()).fetchall()
    return tuple(sorted(str(value) for (value,) in rows))


def _strike(random: Random, plan: Plan) -> _Strike:
    kinds = ("multiply", "add", "constant", "delete")
    usable = kinds[:3] if plan.fault_class == "wrong-value" else kinds
    kind = usable[plan.seed % len(usable)]
    target = plan.suite.rows if kind == "delete" else plan.suite.values
    where = f" WHERE {random.choice(target.wheres)}"
    right, wrong = _assignments(random, kind, target)
    match plan.fault_class:
        case "as-described":
            return _Strike(kind, target, "", right + where, where, _blind(kind, target))
        case "missing-where":
            return _Strike(kind, target, right + where, right, "", _blind(kind, target))
        case _:
            return _Strike(kind, target, right + where, wrong + where, where, False)


def _assignments(random: Random, kind: str, target: Target) -> tuple[str, str]:
    """The statement without its WHERE, with the right value and with a wrong one."""
    update = f"UPDATE {target.table} SET {target.column} = "
    match kind:
        case "multiply":
            right, wrong = random.choice((("1.10", "11.0"), ("0.9", "0.09"), ("1.25", "12.5")))
            times = f"{update}{target.column} * "
            return times + right, times + wrong
        case "add":
            right, wrong = random.choice((("0.50", "5.00"), ("1.20", "12.0")))
            plus = f"{update}{target.column} + "
            return plus + right, plus + wrong
        case "constant":
            right = random.choice(target.constants)
            return update + right, update + f"{float(right) * 10:.2f}"
        case _:
            return f"DELETE FROM {target.table}", ""


def _blind(kind: str, target: Target) -> bool:
    return kind == "delete" or (kind == "constant" and not target.audited)


def _fault(plan: Plan, strike: _Strike | None) -> Fault | None:
    if strike is None:
        return None
    name, touched = strike.target.name, plan.suite.touched
    return Fault(
        FAULT_STEP, plan.fault_class, name, strike.blind, touched, _shrunk(plan.suite, strike)
    )


def _shrunk(suite: Suite, strike: _Strike) -> tuple[str, Decimal] | None:
    """The column and factor, where rounding can make two values one. Floating prices keep their
    digits."""
    found = re.search(r" \* (0\.\d+)", strike.executed)
    if found is None or not suite.rounds:
        return None
    return strike.target.column.strip('"'), Decimal(found[1])


def _logged(texts: Sequence[str], plan: Plan) -> list[Entry]:
    """The legitimate entries; which are forgotten depends on the share and the seed alone, and
    the edits on the struck rows are among the first to be."""
    chance = Random(f"forgotten {plan.name}")
    order = sorted(range(len(texts)), key=lambda _: chance.random())
    target = plan.suite.values.table, plan.suite.rows.table
    near = [at for at in order if any(texts[at].startswith(f"UPDATE {one} ") for one in target)]
    first = near[: max(2, round(len(near) * min(1.0, plan.missing + 0.2)))]
    rest = [at for at in order if at not in first]
    forgotten = set((first + rest)[: round(len(texts) * plan.missing)])
    return [
        Entry(str(at + 1), STARTED, "clerk", f"Step {at + 1}", text, text, at not in forgotten)
        for at, text in enumerate(texts)
    ]


def _struck(strike: _Strike, plan: Plan) -> Entry:
    suspect = plan.fault_class == "as-described"
    what = "The step in question"
    return Entry(
        FAULT_STEP,
        STARTED,
        "clerk",
        what,
        strike.executed,
        strike.intended,
        True,
        suspect=suspect,
    )


def _timed(entries: Sequence[Entry], random: Random) -> list[Entry]:
    moment = STARTED
    timed = []
    for entry in entries:
        moment += timedelta(
            seconds=random.randrange(30, 1800), microseconds=random.randrange(10**6)
        )
        timed.append(replace(entry, at=moment))
    return timed
