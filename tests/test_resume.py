"""Whatever ends a run in the middle, the next one goes on, and what comes out is byte for byte
what an undisturbed run finds out."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from recovery.scratch.cluster import Cluster
from tests import walked
from tests.walked import Dbmend, Ended, Shop, documents, stamps

# The lines on stderr at which a run is disturbed: one of every stage. The first "load ..." comes
# before there is a server, the second says that one is there and the backup is being loaded.
PLACES = (
    ("reading the evidence ...", 1),
    ("load ...", 1),
    ("load ...", 2),
    ("compare ...", 1),
    ("replay ...", 1),
    ("locate ...", 1),
    ("rehearsing ...", 1),
    ("report ...", 1),
)
FINISHED = {"diff.json", "replay.json", "assessment.json", "plan.json"}


@pytest.fixture(scope="module")
def shop(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return walked.make_shop(scratch, tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def dbmend() -> Iterator[Dbmend]:
    with walked.dbmend() as runner:
        yield runner


@dataclass(frozen=True, slots=True)
class Calm:
    """An undisturbed run: its case, and what it printed with --json --log json."""

    case: Path
    ended: Ended


@pytest.fixture(scope="module")
def calm(shop: Shop, dbmend: Dbmend, tmp_path_factory: pytest.TempPathFactory) -> Calm:
    case = tmp_path_factory.mktemp("undisturbed") / "case"
    ended = dbmend.assess(shop, case, "--json", "--log", "json")
    assert ended.code == 1, ended.err
    assert dbmend.no_server_is_left()
    shutil.rmtree(dbmend.place / dbmend.folders()[0])  # as after a loss of scratch
    return Calm(case, ended)


@pytest.fixture(scope="module")
def undisturbed(calm: Calm) -> dict[str, bytes]:
    found = documents(calm.case)
    assert found.keys() == FINISHED
    return found


def is_whole(shop: Shop, dbmend: Dbmend, case: Path, undisturbed: dict[str, bytes]) -> bool:
    """One more run ends well, and with what an undisturbed one finds out."""
    ended = dbmend.assess(shop, case)
    assert ended.code == 1, ended.err
    assert documents(case) == undisturbed
    checks = json.loads((case / "rehearsal.json").read_text())["checks"]
    assert [check["name"] for check in checks if not check["passed"]] == []
    looked = dbmend("status", case)
    assert looked.code == 0, looked.out
    assert not list(case.rglob("*.part"))
    assert dbmend.no_server_is_left()
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_run_that_is_ended_at_every_stage_in_turn(
    shop: Shop,
    dbmend: Dbmend,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    case = tmp_path / "case"
    before = stamps(shop.folder)
    words = dbmend.words_of_assess(shop, case)
    for line, times in PLACES:
        with dbmend.started(*words) as process:
            dbmend.wait_for(process, line, times)
            # Ctrl-C comes from a person: a little later than the line.
            time.sleep(0.15 if number == signal.SIGINT and line != "report ..." else 0)
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
        if number == signal.SIGINT:
            assert process.returncode == 130, (line, err)
            assert err.endswith(
                "dbmend: interrupted\n  next:  run the same command again: it resumes\n"
            )
        else:
            assert process.returncode == -signal.SIGKILL, (line, err)
        assert dbmend.no_server_is_left(), line
    assert is_whole(shop, dbmend, case, undisturbed)
    assert stamps(shop.folder) == before
    assert dbmend("close", case).code == 0
    assert dbmend.folders() == []


def stop(process_id: int, *, seconds: float = 10) -> None:
    """Halt a process and wait until it stands."""
    os.kill(process_id, signal.SIGSTOP)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            return
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("whole_server", "places"),
    [
        (True, (("load ...", 2), ("compare ...", 2), ("replay ...", 2), ("rehearsing", 1))),
        (False, (("replay ...", 2), ("rehearsing", 1))),
    ],
    ids=["the server", "one of its processes"],
)
def test_a_server_that_dies_in_the_middle(
    shop: Shop,
    dbmend: Dbmend,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    whole_server: bool,
    places: tuple[tuple[str, int], ...],
) -> None:
    case = tmp_path / "case"
    words = dbmend.words_of_assess(shop, case)
    for line, times in places:
        with dbmend.started(*words) as process:
            dbmend.wait_for(process, line, times)
            stop(process.pid)
            (postmaster,) = dbmend.postmasters()
            if whole_server:
                os.kill(postmaster, signal.SIGKILL)
            else:
                kill_sessions(dbmend, process.pid)
            os.kill(process.pid, signal.SIGCONT)
            out, err = process.communicate(timeout=120)
        assert process.returncode == 3, (line, out, err)
        assert out == ""
        error = walked.Ended(3, out, err).error
        assert "run" in error["next"] and "again" in error["next"], error
        assert dbmend.no_server_is_left(), line
    assert is_whole(shop, dbmend, case, undisturbed)
    assert dbmend("close", case).code == 0
    assert dbmend.folders() == []


def kill_sessions(dbmend: Dbmend, run: int) -> None:
    """End every process that serves the halted `run`, as a crash would; it is let on for a moment
    as long as it has none. The server itself recovers."""
    while True:
        sessions = [
            pid
            for pid in dbmend.servers()
            if b"[local]" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        for pid in sessions:
            os.kill(pid, signal.SIGKILL)
        if sessions:
            return
        os.kill(run, signal.SIGCONT)
        time.sleep(0.01)
        stop(run)


def test_a_finished_case_is_not_worked_on_again(
    shop: Shop, dbmend: Dbmend, calm: Calm, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """Re-running changes nothing, starts no server, and does not void an agreement."""
    case = shutil.copytree(calm.case, tmp_path / "case")
    assert dbmend("agree", case, "--by", "Анна").code == 0
    before = {name: stamp for name, stamp in stamps(case).items() if name != ".lock"}
    report = stamps(case / "report")
    again = dbmend.assess(shop, case, "--json", "--pg-bin", "/nonsense")
    told, first = again.document, calm.ended.document
    assert (again.code, again.err) == (1, "")
    assert {**told, "case": ""} == {**first, "case": ""}
    assert {name: stamp for name, stamp in stamps(case).items() if name != ".lock"} == before
    assert stamps(case / "report") == report
    assert documents(case) == undisturbed
    assert dbmend("status", case, "--json").document["next"].startswith("dbmend decide ")


def test_stage_by_stage_is_the_same_as_the_whole_way(
    shop: Shop, dbmend: Dbmend, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """And `status` names the next command each time."""
    case = tmp_path / "case"
    files = ("--backup", shop.backup, "--current", shop.current, "--steps", shop.steps)
    assert dbmend("open", *files, "--case", case).code == 0
    codes = []
    for verb in ("load", "compare", "replay", "locate", "plan", "rehearse", "report"):
        assert dbmend("status", case, "--json").document["next"] == f"dbmend {verb} {case}"
        ended = dbmend(verb, case, *dbmend.scratch, "--json")
        codes.append(ended.code)
        assert ended.document["dbmend"].endswith("/1"), verb
        assert dbmend.no_server_is_left()
    assert codes == [0, 1, 0, 1, 1, 0, 0]
    assert documents(case) == undisturbed


def test_a_stage_before_its_time(shop: Shop, dbmend: Dbmend, tmp_path: Path) -> None:
    case = tmp_path / "case"
    files = ("--backup", shop.backup, "--current", shop.current)
    assert dbmend("open", *files, "--case", case).code == 0
    ended = dbmend("locate", case, *dbmend.scratch)
    assert (ended.code, ended.error) == (
        2,
        {
            "message": "'replay' has not been done yet",
            "where": str(case),
            "next": f"dbmend replay {case}",
        },
    )


def test_json_alone_on_stdout_and_log_lines_on_stderr(calm: Calm) -> None:
    assert calm.ended.document["dbmend"] == "assess/1"
    assert calm.ended.document["locate"]["verdict"] == "damaged"
    lines = [json.loads(line) for line in calm.ended.err.splitlines()]
    begun = [line["stage"] for line in lines if line["event"] == "stage began"]
    for stage in ("load", "compare", "replay", "locate", "plan", "rehearse", "report"):
        assert stage in begun
