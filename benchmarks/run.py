"""Make cases, run the product on them, print and write the figures.

    python -m benchmarks.run --size XS --seeds 101
    python -m benchmarks.run --size S --seeds 101-104 --samples DIR --write

Seeds 1-9 are for tuning; figures come from 101 upwards. Exit status 1 when a gate does not hold or
a restored share is below its target.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.generator import CLASSES, CONTROLS, Case, Plan, load_backup, make_case
from benchmarks.score import PRODUCT, Score, score
from benchmarks.server import OwnServer
from benchmarks.suites import SUITES, Suite

STEPS = {"XS": 12, "S": 60}
SHARES = (0.0, 0.3, 0.6)
TARGETS = {0.0: 1.0, 0.3: 0.9, 0.6: 0.7}
SAMPLES = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "pg"
RESULTS = Path(__file__).with_name("RESULTS.md")


@dataclass(frozen=True, slots=True)
class Line:
    """One scored case, without its rows."""

    plan: Plan
    kind: str
    damaged: int
    score: Score


def plans(suite: Suite, size: str, seeds: Iterable[int], classes: Sequence[str]) -> Iterator[Plan]:
    """Every case of a suite: fault classes at every share, controls where they can differ."""
    for seed in seeds:
        for fault_class in classes:
            shares = SHARES if fault_class in CLASSES else (0.0, 0.6)
            for share in shares[:1] if fault_class == "nothing-changed" else shares:
                yield Plan(suite, fault_class, share, seed, STEPS[size])


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    # A terminated run ends after the cases in hand and stops its servers.
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    suites = [suite for suite in SUITES if suite.name in options.suites]
    for suite in suites:
        if suite.file and not (options.samples / suite.file).is_file():
            print(f"NOT RUN: {options.samples / suite.file} is absent (--samples)", file=sys.stderr)
            return 3
    work = Path(tempfile.mkdtemp(prefix="bench-", dir="/var/tmp"))
    lines: list[Line] = []
    try:
        with ThreadPoolExecutor(options.jobs) as pool:
            for done in [
                pool.submit(_suite, suite, work, options, lines, stop) for suite in suites
            ]:
                done.result()
    finally:
        if options.keep:
            print(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    print(report(lines, options.size, options.seeds))
    return 0 if all(_holds(line) for line in lines) and not _below(lines) else 1


def _suite(
    suite: Suite,
    work: Path,
    options: argparse.Namespace,
    lines: list[Line],
    stop: threading.Event,
) -> None:
    """Every case of one suite on a server of its own; what is known goes to `lines` at once."""
    server = OwnServer()
    try:
        load_backup(server, suite, options.samples, "sample")
        for plan in plans(suite, options.size, options.seeds, options.classes):
            if stop.is_set():
                break
            lines.append(_one(server, "sample", plan, work, options.product))
            print(_row(lines[-1]), flush=True)
            if options.write:  # also what an interrupted run has got
                _write(lines, options)
            if not options.keep:
                shutil.rmtree(work / plan.name, ignore_errors=True)
    finally:
        server.close()


def _write(lines: Sequence[Line], options: argparse.Namespace) -> None:
    RESULTS.write_text(report(lines, options.size, options.seeds), encoding="utf-8")


def _one(server: OwnServer, template: str, plan: Plan, work: Path, product: Sequence[str]) -> Line:
    case: Case = make_case(server, template, plan, work / plan.name / "given")
    result = score(server, case, work / plan.name / "run", product)
    return Line(plan, case.kind, len(case.cells), result)


def _holds(line: Line) -> bool:
    clean = line.plan.fault_class not in CONTROLS or line.score.verdict == "clean"
    return line.score.gates_hold and clean and not line.score.trouble


def _below(lines: Sequence[Line]) -> list[float]:
    return [
        share
        for share in SHARES
        if (got := _share(lines, share)) is not None and got < TARGETS[share]
    ]


def _share(lines: Sequence[Line], missing: float, *, data: bool = False) -> float | None:
    """The mean over cases, each case weighing the same; cases without a restorable cell are
    left out. `data`: without the cells of record tables."""
    cases = [
        line.score.repair.share_of_data if data else line.score.repair.share
        for line in lines
        if line.plan.missing == missing and line.score.repair.restorable
    ]
    return sum(cases) / len(cases) if cases else None


_HEAD = (
    "| schema | class | missing | seed | fault | damaged | restorable | restored | share "
    "| without records | written | harmed | legit lost | safe | safe wrong | verdict "
    "| fault found | seconds |\n"
    "|---|---|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|---|--:|"
)


def _row(line: Line) -> str:
    plan, got = line.plan, line.score
    repair = got.repair
    share = f"{repair.share:.3f}" if repair.restorable else "-"
    data = f"{repair.share_of_data:.3f}" if repair.restorable > repair.restorable_records else "-"
    cells = [
        plan.suite.name, plan.fault_class, f"{plan.missing:.0%}", plan.seed, line.kind or "-",
        line.damaged, repair.restorable, repair.restored, share, data,
        repair.written, repair.harmed,
        repair.legitimate_lost, got.safe, got.wrong_safe, got.verdict,
        "yes" if got.fault_right else "no", f"{got.seconds:.1f}",
    ]  # fmt: skip
    row = "| " + " | ".join(str(cell) for cell in cells) + " |"
    return row + (f" {' '.join(got.trouble.split())}" if got.trouble else "")


def report(lines: Sequence[Line], size: str, seeds: Sequence[int]) -> str:
    """RESULTS.md: how it was made, the totals, every case."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    numbers = f"{seeds[0]}-{seeds[-1]}"
    ordered = sorted(lines, key=_order)
    text = [
        "# Figures of the benchmark",
        "",
        f"Made {now} by `python -m benchmarks.run --size {size} --seeds {numbers} --write` on "
        f"{os.cpu_count()} cores (load {os.getloadavg()[2]:.1f}), product at commit {_commit()}; "
        f"{len(lines)} cases. What the columns mean: README.md beside this file. Seeds 1-9 are "
        "for tuning and never used here.",
        "",
        *_totals(lines),
        "",
        "## Every case",
        "",
        _HEAD,
        *(_row(line) for line in ordered),
    ]
    return "\n".join(text) + "\n"


def _order(line: Line) -> tuple[int, int, float, int]:
    plan = line.plan
    classes = [*CLASSES, *CONTROLS]
    return SUITES.index(plan.suite), classes.index(plan.fault_class), plan.missing, plan.seed


def _commit() -> str:
    command = ["git", "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _totals(lines: Sequence[Line]) -> list[str]:
    faults = [line for line in lines if line.plan.fault_class in CLASSES]
    controls = [line for line in lines if line.plan.fault_class in CONTROLS]
    wrong = sum(line.score.wrong_safe for line in lines)
    harmed = sum(line.score.repair.harmed for line in lines)
    lost = sum(line.score.repair.legitimate_lost for line in lines)
    bad = sum(not line.score.gates_hold for line in lines)
    clean = sum(line.score.verdict == "clean" for line in controls)
    times = sorted(line.score.seconds for line in lines)
    rows = [
        "| figure | value | asked for |",
        "|---|--:|--:|",
        f"| cells harmed | {harmed} | 0 |",
        f"| legitimate cells lost | {lost} | 0 |",
        f"| wrong cells graded proven or consistent | {wrong} | 0 |",
        f"| cases in which one of these is not 0 | {bad} of {len(lines)} | 0 |",
        f"| controls found clean | {clean} of {len(controls)} | {len(controls)} |",
        f"| cases that did not run to the end | {sum(bool(x.score.trouble) for x in lines)} | 0 |",
        f"| fault's step and class named first | {sum(x.score.fault_right for x in faults)} of "
        f"{len(faults)} | |",
    ]
    for missing in SHARES:
        share, data = _share(lines, missing), _share(lines, missing, data=True)
        value = "-" if share is None or data is None else f"{share:.3f} / {data:.3f}"
        target = f"{TARGETS[missing]:.1f}"
        rows.append(
            f"| restored share at {missing:.0%} missing, all cells / without records "
            f"| {value} | {target} |"
        )
    if times:
        rows.append(
            f"| seconds a case, median / longest | {times[len(times) // 2]:.1f} / "
            f"{times[-1]:.1f} | |"
        )
    if bad == 0 and lines:
        rows += [
            "",
            f"0 bad of {len(lines)} cases: with 95 % confidence at most "
            f"{3 / len(lines):.1%} of such cases are bad.",
        ]
    return rows


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument("--size", choices=sorted(STEPS), default="XS")
    parser.add_argument("--seeds", type=_seeds, default=(101,), help="101 or 101-104")
    names = [suite.name for suite in SUITES]
    parser.add_argument("--suites", nargs="+", choices=names, default=names)
    known = [*CLASSES, *CONTROLS]
    parser.add_argument("--classes", nargs="+", choices=known, default=known)
    parser.add_argument("--samples", type=Path, default=SAMPLES, help="the folder of sample dumps")
    parser.add_argument("--product", nargs="+", default=PRODUCT, help="the command to score")
    parser.add_argument("--jobs", type=int, default=1, help="suites at the same time")
    parser.add_argument("--keep", action="store_true", help="keep cases and say where")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    return parser.parse_args(arguments)


def _seeds(text: str) -> tuple[int, ...]:
    first, _, last = text.partition("-")
    return tuple(range(int(first), int(last or first) + 1))


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"{time.monotonic() - started:.0f} s in all", file=sys.stderr)
    sys.exit(code)
