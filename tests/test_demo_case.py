"""The demonstration case is what it says: same bytes every time, a truth that leads from the
damaged database to the intended one, a log whose times are the database's own."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.generator import load_dump
from benchmarks.server import OwnServer
from recovery.demo.build import build_with
from recovery.demo.history import FAULT, history
from recovery.demo.twin import State, prepare, read_state, shapes


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    own = OwnServer()
    yield own
    own.close()


@pytest.fixture(scope="module")
def case(server: OwnServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    build_with(folder, server)
    return folder


def state(server: OwnServer, dump: Path) -> State:
    server.drop("loaded")
    server.create("loaded")
    load_dump(server, dump, "loaded")
    with server.connect("loaded") as connection:
        prepare(connection)
        return read_state(connection, shapes(connection))


def test_same_bytes_every_time(server: OwnServer, case: Path, tmp_path: Path) -> None:
    build_with(tmp_path, server)
    assert {file.name: file.read_bytes() for file in case.iterdir()} == {
        file.name: file.read_bytes() for file in tmp_path.iterdir()
    }


def test_truth_turns_the_current_state_into_the_intended_one(server: OwnServer, case: Path) -> None:
    current, intended = state(server, case / "current.sql"), state(server, case / "intended.sql")
    names = columns(server)
    assert current != intended
    for cell in json.loads((case / "truth.json").read_text())["cells"]:
        rows, key, column = current[cell["table"]], cell["key"], cell["column"]
        if column:
            at = names[cell["table"]].index(column)
            row = list(rows[key])
            row[at] = cell["target"]
            rows[key] = tuple(row)
        elif cell["target"] is None:
            del rows[key]
        else:
            rows[key] = tuple(json.loads(cell["target"]).values())
    assert current == intended


def columns(server: OwnServer) -> dict[str, tuple[str, ...]]:
    with server.connect("loaded") as connection:
        return {shape.name: shape.columns for shape in shapes(connection)}


def test_every_grade_has_something_to_stand_on(case: Path) -> None:
    cells = json.loads((case / "truth.json").read_text())["cells"]
    kinds = Counter((cell["table"], cell["label"], cell["restorable"]) for cell in cells)
    for wanted in (
        ("public.products", "direct", True),
        ("public.products", "lost-work", False),
        ("public.order_lines", "collateral", True),
        ("public.order_lines", "collateral", False),
        ("public.orders", "collateral", True),
        ("public.payments", "collateral", True),
        ("public.price_log", "cascade", True),
    ):
        assert kinds[wanted] > 0, wanted


def test_log_has_forty_steps_and_half_of_the_work() -> None:
    entries = history(2026)
    work = [entry for entry in entries if entry.executed and entry.id != FAULT]
    logged = sum(entry.logged for entry in work)
    assert 40 <= sum(entry.logged for entry in entries) <= 45
    assert 0.45 <= logged / len(work) <= 0.55
    changed = [entry for entry in entries if entry.executed != entry.intended]
    assert [entry.id for entry in changed] == [FAULT]


def test_times_in_the_database_are_the_times_of_the_steps(server: OwnServer, case: Path) -> None:
    state(server, case / "current.sql")
    fault = next(entry for entry in history(2026) if entry.id == FAULT)
    with server.connect("loaded") as connection:
        query = "SELECT count(*) FROM price_log WHERE changed_at = %s"
        assert connection.execute(query, (fault.at,)).fetchone() == (300,)


def test_nothing_of_the_clock_is_left_behind(case: Path) -> None:
    for name in ("backup.sql", "current.sql", "intended.sql"):
        text = (case / name).read_text()
        assert "history_clock" not in text
        assert text.count("DEFAULT now()") == 6
        assert "NEW.touched_at := now();" in text
