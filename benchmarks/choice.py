"""Which cases a command line names: a stratified sample where it names none, else all of those."""

import argparse
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.faults import CLASSES, CONTROLS
from benchmarks.generator import STEPS
from benchmarks.history import Plan
from benchmarks.log import LEVELS, MODES
from benchmarks.sample import COUNTS, LOGS, SHARES, Space, absent, sample
from benchmarks.suites import SUITES, Suite

SKEWS = (0.0, 0.8, 1.1)
SAMPLES = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "pg"


def plans(suite: Suite, size: str, seeds: Iterable[int], classes: Sequence[str]) -> Iterator[Plan]:
    """Every case of a suite with an exact log as intended: fault classes at every share, controls
    where they can differ."""
    for seed in seeds:
        for fault_class in classes:
            shares = SHARES if fault_class in CLASSES else (0.0, 0.6)
            for share in shares[:1] if fault_class == "nothing-changed" else shares:
                yield Plan(suite, fault_class, share, seed, STEPS[size], size)


def variants(suite: Suite, options: argparse.Namespace) -> Iterator[Plan]:
    """The same at every level, mode and set of complaints that was asked for. A class that is told
    as executed has no other mode; nothing can be spoiled where nothing happened."""
    for plan in plans(suite, options.size, options.seeds, options.classes):
        if plan.missing not in options.shares:
            continue
        plan = replace(plan, steps=options.steps or plan.steps, faults=options.faults)
        if plan.fault_class == "nothing-changed":
            yield plan
            continue
        for level in options.levels:
            for mode in options.modes:
                for complaints in options.complaints:
                    yield replace(plan, level=level, mode=mode, complaints=complaints)


def chosen(options: argparse.Namespace) -> tuple[list[Plan], list[str]]:
    """The cases to run, and what they leave out although it was there to choose from."""
    suites = [suite for suite in SUITES if suite.name in options.suites]
    if not options.sample:
        named = (plan for suite in suites for plan in variants(suite, options))
        return _skewed(named, options.skew), []
    if options.size == "M":  # the others have the rows that they have
        suites = [suite for suite in suites if suite.build is not None]
    logs = tuple(
        log
        for log in LOGS
        if (log.level in options.levels or "levels" not in options.named)
        and (log.mode in options.modes or "modes" not in options.named)
        and (log.complaints in options.complaints or "complaints" not in options.named)
    )
    if not logs:
        raise SystemExit("no log of the sample is like that: leave out --sample")
    space = Space(tuple(suites), tuple(options.classes), tuple(options.shares), logs)
    drawn = [
        replace(plan, steps=options.steps or plan.steps, faults=options.faults)
        for seed in options.seeds
        for plan in sample(space, options.size, seed, options.sample)
    ]
    return _skewed(drawn, options.skew), absent(drawn, space)


def _skewed(plans: Iterable[Plan], skews: Sequence[float]) -> list[Plan]:
    """Each case with each skew; sample databases have none."""
    return [
        replace(plan, skew=skew)
        for plan in plans
        for skew in ((0.0,) if plan.suite.file else dict.fromkeys(skews))
    ]


def parser_of(prog: str, told: str) -> argparse.ArgumentParser:
    """The options that name cases, and where they and their results are."""
    parser = argparse.ArgumentParser(
        prog=prog, description=told, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = [*CLASSES, *CONTROLS]
    parser.add_argument("--size", choices=list(STEPS), default="XS")
    parser.add_argument("--steps", type=int, default=0, help="legitimate steps, if not the size's")
    parser.add_argument("--seeds", type=_seeds, default=(102,), help="102 or 102-104")
    parser.add_argument("--sample", type=int, help="cases for each seed, out of what is named")
    parser.add_argument("--all", action="store_true", help="every case that is named")
    parser.add_argument("--suites", nargs="+", choices=[suite.name for suite in SUITES])
    parser.add_argument("--classes", nargs="+", choices=known)
    parser.add_argument("--shares", nargs="+", type=float, help="of missing steps: 0 0.3 0.6")
    parser.add_argument("--levels", nargs="+", choices=list(LEVELS), help="G0 if not named")
    parser.add_argument("--modes", nargs="+", choices=MODES, help="intended if not named")
    parser.add_argument("--complaints", nargs="+", help="0 1 3v 10vf: see README; 0 if not named")
    parser.add_argument(
        "--skew",
        nargs="+",
        type=float,
        default=[0.0],
        choices=SKEWS,
        help="of the rows that work of made suites is about, by Zipf; 0: all alike",
    )
    parser.add_argument("--faults", type=int, default=0, help="in each case; 0: as the seed says")
    parser.add_argument("--samples", type=Path, default=SAMPLES, help="the folder of sample dumps")
    parser.add_argument("--results", type=Path, help="keep finished cases here, and go on from it")
    return parser


def settled(
    parser: argparse.ArgumentParser, arguments: Sequence[str], sample: int | None = None
) -> argparse.Namespace:
    """The options with what was not named filled in; `sample` cases when nothing says otherwise
    (None: a sample of the size's, and only when nothing is named)."""
    options = parser.parse_args(arguments)
    options.said = shlex.join(arguments)
    unnamed: dict[str, Sequence[object]] = {
        "suites": [suite.name for suite in SUITES],
        "classes": [*CLASSES, *CONTROLS],
        "shares": list(SHARES),
        "levels": ["G0"],
        "modes": ["intended"],
        "complaints": ["0"],
    }
    options.named = {name for name in unnamed if getattr(options, name) is not None}
    for name, values in unnamed.items():
        if name not in options.named:
            setattr(options, name, values)
    if options.all and options.sample:
        parser.error("--all and --sample: one of them")
    if options.sample is None and not options.all:
        options.sample = sample or (None if options.named else COUNTS[options.size])
    return options


def _seeds(text: str) -> tuple[int, ...]:
    first, _, last = text.partition("-")
    return tuple(range(int(first), int(last or first) + 1))
