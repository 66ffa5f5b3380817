"""The product on small cases of every kind of database, the public ones too: whatever the log is
like, nothing is harmed, nothing lost, and nothing wrong is called safe."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.choice import SAMPLES
from benchmarks.generator import STEPS, load_backup, make_case
from benchmarks.history import Plan
from benchmarks.score import score
from benchmarks.server import OwnServer
from benchmarks.suites import SUITES
from benchmarks.targets import FLOORS

needs_samples = pytest.mark.skipif(
    not SAMPLES.exists(), reason="NOT RUN: needs the sample dumps beside the checkout"
)
ROWS = 300


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    own = OwnServer()
    yield own
    own.close()


@pytest.mark.parametrize(
    ("suite", "fault_class", "missing", "level", "mode", "complaints"),
    (
        pytest.param("pagila", "missing-where", 0.3, "G0", "intended", "0", marks=needs_samples),
        pytest.param("chinook", "wrong-value", 0.0, "G0", "intended", "0", marks=needs_samples),
        ("bank", "skipped", 0.3, "G0", "unknown", "3"),
        ("orders", "wrong-predicate", 0.6, "G2", "intended", "0"),
        ("tenants", "wrong-target", 0.3, "G0", "executed", "3vf"),
        ("ledger", "storage", 0.0, "G0", "intended", "0"),
    ),
)
def test_gates_hold_on_every_kind_of_database(
    server: OwnServer,
    tmp_path: Path,
    suite: str,
    fault_class: str,
    missing: float,
    level: str,
    mode: str,
    complaints: str,
) -> None:
    chosen = next(one for one in SUITES if one.name == suite)
    plan = Plan(
        chosen, fault_class, missing, 4, STEPS["XXS"], "XXS", level, mode, complaints, faults=1
    )
    load_backup(server, chosen, SAMPLES, suite, ROWS)
    case = make_case(server, suite, plan, tmp_path / "given")
    server.drop(suite)
    assert case.cells, "a case without damage tests nothing"
    result = score(server, case, tmp_path / "run")
    assert result.trouble == ""
    assert result.gates_hold, (result.repair, result.measures.wrong_cells)
    assert result.verdict != "clean"
    if level == "G0" and mode == "intended":
        assert result.repair.share_of_data >= FLOORS[missing], result.repair
