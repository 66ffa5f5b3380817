"""`./go check`: every step is run, none hides another; a table at the end, and what was NOT RUN.

Standard library only. Exit status 0 when every step passed, else 1; 2 for a wrong call.
"""

import hashlib
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PRODUCT = ("cli", "recovery", "repair_rules", "diffing")


@dataclass(frozen=True, slots=True)
class Outcome:
    name: str
    passed: bool
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Checkout:
    """The checkout under test: its folder, its environment, and the words that call pip."""

    root: Path
    python: Path
    pip: Callable[[Path], list[str]]
    environment: dict[str, str]


def check(arguments: list[str], checkout: Checkout) -> int:
    if arguments not in ([], ["--all"]):
        print("usage: ./go check [--all]", file=sys.stderr)
        return 2
    everything = arguments == ["--all"]
    with tempfile.TemporaryDirectory(prefix="dbmend-check-") as place:
        outcomes, not_run = run_steps(Path(place), checkout, everything=everything)
    return report(outcomes, not_run)


def run_steps(
    place: Path, checkout: Checkout, *, everything: bool
) -> tuple[list[Outcome], list[str]]:
    root, tools = checkout.root, checkout.python.parent

    def step(name: str, *command: str) -> Outcome:
        return run(name, [list(command)], root, checkout.environment)

    results = place / "results.xml"
    more = ["--more"] if everything else []
    outcomes = [
        step("format", str(tools / "ruff"), "format", "--check", "."),
        step("lint", str(tools / "ruff"), "check", "."),
        step("types", str(tools / "mypy"), *PRODUCT, "bootstrap.py", ".ci/check.py"),
        step("types of benchmarks", str(tools / "mypy"), "benchmarks"),
        step("layers", str(tools / "lint-imports")),
        # The command of the README, so that it is what is checked.
        step("tests", "sh", str(root / "go"), "test", f"--junitxml={results}", *more),
        *wheel_and_demo(place, checkout),
    ]
    return outcomes, skipped_tests(results)


def wheel_and_demo(place: Path, checkout: Checkout) -> list[Outcome]:
    """Builds as pipx and uv do (the build backend comes from the index), installs the wheel into
    an empty environment with nothing of the checkout in reach, and runs the demo there."""
    python, pip = checkout.python, checkout.pip
    empty = place / "empty"
    quiet = ["--quiet", "--progress-bar=off"]

    def step(name: str, *commands: list[str]) -> Outcome:
        return run(name, list(commands), place, checkout.environment)

    built = step(
        "wheel",
        [*pip(python), "wheel", *quiet, "--no-deps", "-w", str(place), str(checkout.root)],
        [str(python), "-m", "venv", "--without-pip", str(empty)],
    )
    wheels = sorted(place.glob("dbmend-*.whl"))
    if not built.passed or len(wheels) != 1:
        return [built, Outcome("demo from the wheel", False, 0, "no wheel to install")]
    alone = place / "alone.txt"
    digest = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    alone.write_text(f"dbmend @ {wheels[0].as_uri()} --hash=sha256:{digest}\n")
    lock = ["--require-hashes", "-r", str(alone), "-c", str(checkout.root / "requirements.lock")]
    install = [*pip(empty / "bin" / "python"), "install", *quiet, "--only-binary=:all:", *lock]
    installed = step("wheel installed alone", install)
    if not installed.passed:
        return [built, installed, Outcome("demo from the wheel", False, 0, "not installed")]
    demo = [str(empty / "bin" / "dbmend"), "demo", str(place / "demo")]
    return [built, installed, step("demo from the wheel", demo)]


def run(name: str, commands: list[list[str]], place: Path, environment: dict[str, str]) -> Outcome:
    print(f"\n== {name}", flush=True)
    started = time.monotonic()
    for command in commands:
        try:
            status = subprocess.run(command, cwd=place, env=environment, check=False).returncode
        except OSError as error:
            print(error, flush=True)
            status = 127
        if status != 0:
            note = f"exit status {status} of {Path(command[0]).name}"
            return Outcome(name, False, time.monotonic() - started, note)
    return Outcome(name, True, time.monotonic() - started)


def skipped_tests(results: Path) -> list[str]:
    """`why (how many tests)` for everything pytest skipped, from its own result file."""
    if not results.exists():
        return ["tests: none finished"]
    reasons: dict[str, int] = {}
    for skipped in ElementTree.parse(results).iter("skipped"):
        why = skipped.get("message", "no reason given").removeprefix("NOT RUN: ")
        reasons[why] = reasons.get(why, 0) + 1
    return [f"{why} ({count} tests)" for why, count in sorted(reasons.items())]


def report(outcomes: list[Outcome], not_run: list[str]) -> int:
    print("\n== summary")
    for outcome in outcomes:
        word = "passed" if outcome.passed else "FAILED"
        print(f"{word}  {outcome.name:<24}{outcome.seconds:7.1f} s  {outcome.note}".rstrip())
    for what in not_run:
        print(f"NOT RUN {what}")
    return 0 if all(outcome.passed for outcome in outcomes) else 1
