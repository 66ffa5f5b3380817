"""The hand-written cases: they load, their truth speaks of cells that are there, and where the log
is complete, running it as it was meant gives that truth."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from benchmarks.generator import load_dump
from benchmarks.server import OwnServer
from recovery.demo.twin import State, compact, prepare, read_state, shapes

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
CASES = sorted(folder.name for folder in FIXTURES.iterdir() if folder.is_dir())


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    own = OwnServer()
    yield own
    own.close()


def loaded(server: OwnServer, dump: Path, *statements: str) -> State:
    server.drop("fixture")
    server.create("fixture")
    load_dump(server, dump, "fixture")
    with server.connect("fixture") as connection:
        prepare(connection)
        for statement in statements:
            connection.execute(statement.encode())
        return read_state(connection, shapes(connection))


def corrected(server: OwnServer, case: Path) -> State:
    """The current state with every target of the truth in its place."""
    state = loaded(server, case / "current.sql")
    with server.connect("fixture") as connection:
        columns = {shape.name: shape.columns for shape in shapes(connection)}
    for cell in json.loads((case / "truth.json").read_text())["cells"]:
        rows, key = state[cell["table"]], cell["key"]
        names = columns[cell["table"]]
        if cell["column"]:
            assert key in rows
            row = dict(zip(names, rows[key], strict=True)) | {cell["column"]: cell["target"]}
            rows[key] = tuple(row[name] for name in names)
        else:
            assert key not in rows
            row = json.loads(cell["target"])
            assert compact(row) == cell["target"] and tuple(row) == names
            rows[key] = tuple(row.values())
    return state


@pytest.mark.parametrize("name", CASES)
def test_truth_names_cells_that_are_wrong(server: OwnServer, name: str) -> None:
    case = FIXTURES / name
    truth = json.loads((case / "truth.json").read_text())
    right, current = corrected(server, case), loaded(server, case / "current.sql")
    assert (right != current) == (truth["verdict"] == "damaged") == bool(truth["cells"])


@pytest.mark.parametrize("name", ("suspect_delete", "wrong_factor"))
def test_a_complete_log_as_meant_gives_the_truth(server: OwnServer, name: str) -> None:
    case = FIXTURES / name
    log = YAML(typ="safe").load(case / "steps.yaml")
    assert log["covers"] == "complete"
    texts = [step["sql"] for step in log["steps"] if "sql" in step and not step.get("suspect")]
    replayed = loaded(server, case / "backup.sql", "SET search_path = public", *texts)
    assert replayed == corrected(server, case)
