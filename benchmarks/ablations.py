"""What each part of the program is worth: the same cases with one part of it disabled.

    python -m benchmarks.ablations --size XS --seeds 102 --sample 24

The program has no switches for this: it is run as `python -m tests.ablated NAME`, a process that
takes the part out of itself before it begins. Cases are named and drawn as in benchmarks.run; each
is made once and given to the whole program and to every weakened one.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.choice import chosen, parser_of, settled
from benchmarks.faults import NotHere
from benchmarks.generator import ROWS, Case, load_backup, make_case
from benchmarks.history import Plan
from benchmarks.score import PRODUCT, score
from benchmarks.server import OwnServer
from benchmarks.suites import Suite

WHOLE = "whole"
VARIANTS = ("no-phantom-test", "no-storage-models", "no-priors", "no-certain-repair")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case under one variant. `rank` of the first fault's step, None where it does not count;
    `share` None where nothing is restorable."""

    case: str
    variant: str
    bad: bool
    harmed: int
    lost: int
    wrong_safe: int
    share: float | None
    rank: int | None
    seconds: float
    trouble: str


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = parser_of("benchmarks.ablations", __doc__ or "")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS, help="all")
    options = settled(parser, given, sample=24)
    wanted, left_out = chosen(options)
    print(f"{len(wanted)} cases" + (f", none with {', '.join(left_out)}" if left_out else ""))
    outcomes = _read(options.results)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # stops its server first
    work = Path(tempfile.mkdtemp(prefix="ablations-", dir="/var/tmp"))
    try:
        for suite in dict.fromkeys(plan.suite for plan in wanted):
            mine = [plan for plan in wanted if plan.suite is suite]
            _suite(suite, mine, work, options, outcomes)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print("\n".join(table(outcomes)))
    return 0


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Each variant beside the whole program, over the cases that all of them have."""
    rows = [
        "| program | cases | bad cases | cells harmed | legit lost | safe wrong | restored share"
        " | step first | did not run | seconds, mean |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    names = list(dict.fromkeys(one.variant for one in outcomes))
    cases = [{one.case for one in outcomes if one.variant == name} for name in names]
    common = set.intersection(*cases) if cases else set()
    for name in names:
        mine = [one for one in outcomes if one.variant == name and one.case in common]
        shares = [one.share for one in mine if one.share is not None]
        ranks = [one.rank for one in mine if one.rank is not None]
        share = f"{sum(shares) / len(shares):.3f}" if shares else "-"
        seconds = sum(one.seconds for one in mine) / max(1, len(mine))
        rows.append(
            f"| {name} | {len(mine)} | {sum(one.bad for one in mine)}"
            f" | {sum(one.harmed for one in mine)} | {sum(one.lost for one in mine)}"
            f" | {sum(one.wrong_safe for one in mine)} | {share}"
            f" | {sum(rank == 1 for rank in ranks)} of {len(ranks)}"
            f" | {sum(bool(one.trouble) for one in mine)} | {seconds:.1f} |"
        )
    return rows


def _suite(
    suite: Suite, plans: Sequence[Plan], work: Path, options: argparse.Namespace,
    outcomes: list[Outcome],
) -> None:  # fmt: skip
    """Every variant of every case that is not known yet."""
    known = {(one.case, one.variant) for one in outcomes}
    variants = [WHOLE, *options.variants]
    left = [plan for plan in plans if any((_name(plan), one) not in known for one in variants)]
    if not left:
        return
    server = OwnServer()
    try:
        load_backup(server, suite, options.samples, "sample", ROWS[options.size])
        for plan in left:
            try:
                case = make_case(server, "sample", plan, work / plan.name / "given")
            except NotHere as why:
                print(f"{plan.name}: {why}")
                continue
            for variant in variants:
                if (_name(plan), variant) not in known:
                    one = _outcome(server, case, variant, work / plan.name / variant)
                    outcomes.append(one)
                    _keep(options.results, one)
                    print(json.dumps(asdict(one)), flush=True)
            shutil.rmtree(work / plan.name, ignore_errors=True)
    finally:
        server.close()


def _outcome(server: OwnServer, case: Case, variant: str, work: Path) -> Outcome:
    program = PRODUCT if variant == WHOLE else (sys.executable, "-m", "tests.ablated", variant)
    got = score(server, case, work, program)
    named = got.measures.named
    counts = bool(named) and not named[0].outside and not case.truth.masked
    return Outcome(
        _name(case.plan), variant, not got.gates_hold, got.repair.harmed,
        got.repair.legitimate_lost, got.wrong_safe,
        got.repair.share if got.repair.restorable else None, named[0].rank if counts else None,
        round(got.seconds, 1), got.trouble,
    )  # fmt: skip


def _name(plan: Plan) -> str:
    return f"{plan.size} {plan.name}"


def _keep(file: Path | None, one: Outcome) -> None:
    if file is not None:
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(asdict(one), ensure_ascii=False) + "\n")


def _read(file: Path | None) -> list[Outcome]:
    if file is None or not file.exists():
        return []
    found = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            found.append(Outcome(**json.loads(text)))
        except json.JSONDecodeError:  # cut off when a run died
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
