"""What every test may ask for: an empty database on dbmend's own scratch server.

`scratch` is the server (one per test process, gone at the end), `database` the name of a fresh
empty database on it, `postgresql` a plain connection of pytest-postgresql to the same server.
`demo_case` is a finished run of `dbmend demo`: half a minute, once per test process that asks.
"""

import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import hypothesis
import psycopg
import pytest
from pytest_postgresql import factories

from recovery.scratch.cluster import Cluster, open_cluster

# The same examples on every machine, and no verdict that depends on how busy it is.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.load_profile("house")

# A check that is started in the background ignores Ctrl-C, and so would the programs under test.
signal.signal(signal.SIGINT, signal.default_int_handler)

_numbers = count(1)


@pytest.fixture(scope="session")
def scratch() -> Iterator[Cluster]:
    # The process id keeps test runs that go on at the same time apart.
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    with open_cluster(f"tests-{worker}-{os.getpid()}") as cluster:
        yield cluster
        cluster.remove()


@pytest.fixture
def database(scratch: Cluster) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    scratch.create(name)
    yield name
    scratch.drop(name)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the scratch server is, in the words pytest-postgresql asks for."""

    host: str
    port: str
    user: str
    password: str
    options: str = ""
    maintenance_dbname: str = "postgres"
    template_dbname: str = "template0"


@pytest.fixture(scope="session")
def scratch_address(scratch: Cluster) -> Address:
    parts = psycopg.conninfo.conninfo_to_dict(scratch.conninfo("postgres", "keeper"))
    words = {name: str(value) for name, value in parts.items()}
    return Address(
        host=words["host"],
        port=words.get("port", "5432"),
        user=words["user"],
        password=words.get("password", ""),
    )


@dataclass(frozen=True, slots=True)
class DemoCase:
    """One run of `dbmend demo demo`, started in `folder.parent`."""

    folder: Path
    exit: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def demo_case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoCase]:
    """For reading: who wants to change the case takes a copy of the folder."""
    place = tmp_path_factory.mktemp("sample")
    done = subprocess.run(
        [sys.executable, "-m", "cli", "demo", "demo"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    yield DemoCase(place / "demo", done.returncode, done.stdout, done.stderr)
    settings = place / "demo" / "case" / "case.toml"
    if settings.exists():
        name = tomllib.loads(settings.read_text("utf-8"))["case"]["id"]
        open_cluster(f"case-{name}").remove()


postgresql_noproc = factories.postgresql_noproc(depends_on="scratch_address", dbname="plain")
postgresql = factories.postgresql("postgresql_noproc")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--more",
        action="store_true",
        help="run the tests marked needs_more too; with it every skipped test is a failure",
    )
    parser.addoption(
        "--update-docs",
        action="store_true",
        help="write what the commands in README.md and docs/ really print into these pages",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--more"):
        return
    for item in items:
        for mark in item.iter_markers("needs_more"):
            what = mark.args[0] if mark.args else "more than this environment"
            item.add_marker(pytest.mark.skip(reason=f"NOT RUN: needs {what}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under --more nothing is passed over in silence: what is absent fails."""
    report = yield
    if item.config.getoption("--more") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        longrepr = report.longrepr
        text = str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
        why = text.removeprefix("Skipped: ").removeprefix("NOT RUN: ")
        reasons[why] = reasons.get(why, 0) + 1
    for why, times in sorted(reasons.items()):
        terminalreporter.write_line(f"NOT RUN: {why} ({times} tests)", yellow=True)
