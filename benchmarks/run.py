"""Make cases, run a tool on them, print and write the figures.

    python -m benchmarks.run --size XS --seeds 102             a sample of everything
    python -m benchmarks.run --size S --seeds 102 --jobs 2 --results s.jsonl
    python -m benchmarks.run --size XS --seeds 102 --suites bank --classes skipped --levels G0 G2
    python -m benchmarks.run --size XS --seeds 102 --all       every suite, class and share

Without any of --suites, --classes, --shares, --levels, --modes and --complaints a stratified sample
is run (sample.py); with some of them every case that they name; with --sample N so many of those.
Seeds 1-9 are for tuning; figures come from 102 upwards. With --results, cases that are in the file
are not run again. Exit status 1 when a gate does not hold or a restored share is below its floor.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.baselines import baselines
from benchmarks.choice import chosen, parser_of, settled
from benchmarks.faults import CONTROLS, NotHere
from benchmarks.generator import ROWS, load_backup, make_case
from benchmarks.history import Plan
from benchmarks.report import report, row
from benchmarks.results import Line, append, bad_gates, line_of, nothing, read
from benchmarks.sample import SHARES, strata
from benchmarks.score import PRODUCT, score
from benchmarks.server import OwnServer
from benchmarks.speed import FILE, commit, read_speed, write_speed
from benchmarks.suites import SUITES, Suite
from benchmarks.suspects import look
from benchmarks.targets import FLOORS, share_of, whole_cases

RESULTS = Path(__file__).with_name("RESULTS.md")
_EQUIVALENTS = frozenset({"XXS", "XS"})  # where other deviations are cheap to try


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options(arguments)
    wanted, left_out = chosen(options)
    print(_told(wanted, left_out), flush=True)
    if options.list:
        print("\n".join(plan.name for plan in wanted))
        return 0
    # A terminated run ends after the cases in hand and stops its servers.
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    suites = [suite for suite in SUITES if any(plan.suite is suite for plan in wanted)]
    for suite in suites:
        if suite.file and not (options.samples / suite.file).is_file():
            print(f"NOT RUN: {options.samples / suite.file} is absent (--samples)", file=sys.stderr)
            return 3
    work = Path(tempfile.mkdtemp(prefix="bench-", dir="/var/tmp"))
    lines: list[Line] = read(options.results) if options.results else []
    try:
        with ThreadPoolExecutor(options.jobs) as pool:
            for done in [
                pool.submit(
                    _suite,
                    suite,
                    [plan for plan in wanted if plan.suite is suite],
                    work,
                    options,
                    lines,
                    stop,
                )
                for suite in suites
            ]:
                done.result()
    finally:
        if options.keep:
            print(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    if options.write_speed:
        _keep_speed(lines, options)
    print(_report(lines, options))
    print("\n".join(bad_gates(lines)))
    return 0 if all(_holds(line) for line in lines) and not _below(lines) else 1


def _suite(
    suite: Suite,
    plans: Sequence[Plan],
    work: Path,
    options: argparse.Namespace,
    lines: list[Line],
    stop: threading.Event,
) -> None:
    """Cases of one suite on a server of its own; what is known goes to `lines` at once."""
    done = {(line.plan.name, line.plan.size) for line in lines}
    wanted = [plan for plan in plans if (plan.name, plan.size) not in done]
    if not wanted:
        return
    server = OwnServer()
    try:
        load_backup(server, suite, options.samples, "sample", ROWS[options.size])
        for plan in wanted:
            if stop.is_set():
                break
            line = _one(server, "sample", plan, work, options)
            lines.append(line)
            if options.results:
                append(options.results, line)
            said = f"{plan.name}: {line.not_here}" if line.not_here else row(line)
            print(said, flush=True)
            for text in bad_gates([line]):
                print(text, flush=True)
            if options.write:  # also what an interrupted run has got
                RESULTS.write_text(_report(lines, options), encoding="utf-8")
            if not options.keep:
                shutil.rmtree(work / plan.name, ignore_errors=True)
    finally:
        server.close()


def _one(
    server: OwnServer, template: str, plan: Plan, work: Path, options: argparse.Namespace
) -> Line:
    place = work / plan.name
    try:
        case = make_case(
            server, template, plan, place / "given", equivalents=plan.size in _EQUIVALENTS
        )
    except NotHere as why:
        return nothing(plan, str(why))
    tool = options.tool.split() if options.tool else ()
    result = score(server, case, place / "run", options.product, tool)
    return line_of(case, result, baselines(case), look(case))


def _holds(line: Line) -> bool:
    clean = line.plan.fault_class not in CONTROLS or line.score.verdict == "clean"
    return bool(line.not_here) or (line.score.gates_hold and clean and not line.score.trouble)


def _below(lines: Sequence[Line]) -> list[float]:
    return [
        share
        for share in SHARES
        if (got := share_of(lines, share)) is not None and got < FLOORS[share]
    ]


def _report(lines: Sequence[Line], options: argparse.Namespace) -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    command = f"python -m benchmarks.run {options.said}"
    head = (
        f"Made {now} by `{command}` on {os.cpu_count()} cores (load {os.getloadavg()[2]:.1f}),"
        f" product at commit {commit()}; {len(lines)} cases. What the columns mean: README.md"
        " beside this file. Seeds 1-9 are for tuning and never used here."
    )
    return report(lines, head, read_speed(options.speed))


def _keep_speed(lines: Sequence[Line], options: argparse.Namespace) -> None:
    """How long whole cases of size M took, for the table of targets of every other run."""
    figures = whole_cases(lines)
    if figures:
        write_speed(options.speed, "case-M", f"python -m benchmarks.run {options.said}", figures)


def _told(plans: Sequence[Plan], left_out: Sequence[str]) -> str:
    """What is going to be run, for people."""
    lines = [f"{len(plans)} cases"]
    for name, counts in strata(plans).items():
        lines.append(f"{name}: " + ", ".join(f"{value} {n}" for value, n in counts.items()))
    if left_out:
        lines.append("in none of them: " + ", ".join(left_out))
    return "\n".join(lines)


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = parser_of("benchmarks.run", __doc__ or "")
    parser.add_argument("--product", nargs="+", default=PRODUCT, help="the command to score")
    parser.add_argument("--tool", default="", help="another tool, called once: see README")
    parser.add_argument("--jobs", type=int, default=1, help="suites at the same time")
    parser.add_argument(
        "--speed", type=Path, default=FILE, help="figures that benchmarks.whatif wrote (--results)"
    )
    parser.add_argument("--write-speed", action="store_true", help="put the times of M there")
    parser.add_argument("--list", action="store_true", help="say which cases, and run none")
    parser.add_argument("--keep", action="store_true", help="keep cases and say where")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    return settled(parser, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"{time.monotonic() - started:.0f} s in all", file=sys.stderr)
    sys.exit(code)
