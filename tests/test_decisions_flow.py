"""From a finished assessment to a repaired database and back, and every way in which that is
refused. The whole way in `test_the_whole_way_and_back` is the control of the refusals."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest

from recovery.scratch.cluster import Cluster
from tests import walked
from tests.walked import Dbmend, Ended, Shop, stamps

SECRET = "geheim-9182"
TABLES = ("orders", "payments")


@pytest.fixture(scope="module")
def shop(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return walked.make_shop(scratch, tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def dbmend() -> Iterator[Dbmend]:
    with walked.dbmend() as runner:
        yield runner


@dataclass(frozen=True, slots=True)
class Stops:
    """Copies of one case at every stop of its way."""

    assessed: Path
    decided: Path
    scripted: Path  # of what is approved, not agreed
    agreed: Path


@pytest.fixture(scope="module")
def stops(shop: Shop, dbmend: Dbmend, tmp_path_factory: pytest.TempPathFactory) -> Stops:
    """`status` says at each stop what comes next."""
    folder = tmp_path_factory.mktemp("stops")
    case = folder / "case"
    assert dbmend.assess(shop, case).code == 1
    kept: list[Path] = []

    def stop(after: str) -> None:
        assert dbmend("status", case, "--json").document["next"] == after.format(case=case)
        kept.append(shutil.copytree(case, folder / f"stop{len(kept)}"))

    stop("dbmend decide {case} GROUP... approve|reject --by NAME")
    assert dbmend("decide", case, "safe", "approve", "--by", "Пётр", "--accept", "all").code == 0
    stop("dbmend agree {case} --by NAME")
    ended = dbmend("script", case, *dbmend.scratch)
    assert ended.code == 0, ended.err
    assert f"The customer has not agreed yet: dbmend agree {case} --by NAME" in ended.out
    stop("dbmend agree {case} --by NAME")
    assert dbmend("agree", case, "--by", "Анна").code == 0
    stop("dbmend apply {case} --to DSN, or run repair.sql with psql")
    return Stops(*kept)


@pytest.fixture
def case(stops: Stops, tmp_path: Path) -> Path:
    """A case that is ready to be applied."""
    return shutil.copytree(stops.agreed, tmp_path / "case")


@dataclass(frozen=True, slots=True)
class Target:
    """The customer's database, on another server than the case's scratch."""

    dsn: str

    def rows(self) -> dict[str, list[bytes]]:
        """Every row of every table, as text, in the order of keys."""
        with psycopg.connect(self.dsn) as connection:
            return {table: self._rows(connection, table) for table in TABLES}

    def _rows(self, connection: psycopg.Connection, table: str) -> list[bytes]:
        statement = f"COPY (SELECT * FROM {table} ORDER BY 1) TO STDOUT"
        with connection.cursor().copy(statement.encode()) as copy:
            return [bytes(row) for row in copy]

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement.encode())

    def value(self, statement: str) -> str:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            row = connection.execute(statement.encode()).fetchone()
        assert row is not None
        return str(row[0])


@pytest.fixture
def target(scratch: Cluster, database: str, shop: Shop) -> Target:
    dsn = scratch.conninfo(database, "jail") + f" password={SECRET}"
    walked.restore(dsn, shop.current)
    return Target(dsn)


def refused(ended: Ended, message: str, hint: str) -> bool:
    """Exit 4, nothing on stdout, and an error that begins so and says what comes next."""
    assert (ended.code, ended.out) == (4, ""), ended
    assert ended.error["message"].startswith(message), ended.err
    assert ended.error["next"] == hint, ended.err
    return True


def untouched(case: Path) -> dict[str, object]:
    """Everything of a case but its lock."""
    return {name: stamp for name, stamp in stamps(case).items() if name != ".lock"}


# --- deciding -------------------------------------------------------------------------------------


def test_hazards_need_consent_by_name(stops: Stops, dbmend: Dbmend, tmp_path: Path) -> None:
    case = shutil.copytree(stops.assessed, tmp_path / "case")
    before = untouched(case)
    hint = "--accept HAZARD for each that you accept, or --accept all"
    said = (
        "consent is missing for these hazards; nothing was decided:\n"
        "G1: SUPPRESSES_TRIGGER: quiet would fire on update; switched off for the time of the write"
    )
    for accepted in ((), ("--accept", "STALE_VALUES")):
        ended = dbmend("decide", case, "all", "approve", "--by", "Пётр", *accepted)
        assert refused(ended, said, hint)
        assert untouched(case) == before
    named = ("--accept", "SUPPRESSES_TRIGGER")
    assert dbmend("decide", case, "all", "approve", "--by", "Пётр", *named).code == 0
    decisions = json.loads((case / "review.json").read_text("utf-8"))["decisions"]
    assert [(one["group"], one["approved"], one["accepted"]) for one in decisions] == [
        ("G1", True, ["SUPPRESSES_TRIGGER"]),
        ("G2", True, []),
    ]


def test_a_group_that_is_none(stops: Stops, dbmend: Dbmend, tmp_path: Path) -> None:
    case = shutil.copytree(stops.assessed, tmp_path / "case")
    before = untouched(case)
    ended = dbmend("decide", case, "G1", "G9", "reject", "--by", "Пётр")
    assert (ended.code, ended.out) == (2, "")
    assert ended.error["message"] == "no such group in this plan: G9"
    assert ended.error["next"] == "one of safe, all, G1, G2"
    assert untouched(case) == before


def test_rejecting_is_a_finding_and_leaves_nothing_to_do(
    stops: Stops, dbmend: Dbmend, tmp_path: Path
) -> None:
    case = shutil.copytree(stops.assessed, tmp_path / "case")
    assert dbmend("decide", case, "all", "reject", "--by", "Пётр").code == 1
    assert "Every group was rejected: nothing is to be repaired." in dbmend("status", case).out


def test_no_script_of_nothing(stops: Stops, dbmend: Dbmend) -> None:
    ended = dbmend("script", stops.assessed, *dbmend.scratch)
    hint = f"dbmend decide {stops.assessed} safe approve --by NAME"
    assert refused(ended, "nothing is approved: no script is made", hint)
    assert not (stops.assessed / "repair.sql").exists()


def test_a_plan_that_was_changed_is_not_decided_on(
    stops: Stops, dbmend: Dbmend, tmp_path: Path
) -> None:
    case = shutil.copytree(stops.assessed, tmp_path / "case")
    plan = case / "plan.json"
    plan.write_text(plan.read_text("utf-8").replace("SUPPRESSES_TRIGGER", "NO_KEY"), "utf-8")
    ended = dbmend("decide", case, "all", "approve", "--by", "Пётр", "--accept", "NO_KEY")
    hint = f"dbmend plan {case} makes it again; look at it before you decide"
    assert refused(ended, "what 'plan' wrote into the case is not what it was", hint)
    assert not (case / "review.json").exists()
    looked = dbmend("status", case)
    assert "What 'plan' wrote was changed since, or what it stands on." in looked.out


# --- before anything is run -----------------------------------------------------------------------


def test_apply_needs_the_customer(
    stops: Stops, dbmend: Dbmend, tmp_path: Path, target: Target
) -> None:
    case, before = shutil.copytree(stops.scripted, tmp_path / "case"), target.rows()
    hint = f"dbmend agree {case} --by NAME"
    ended = dbmend("apply", case, "--to", target.dsn)
    assert refused(ended, "the customer has not agreed to this report", hint)
    assert target.rows() == before


def test_apply_needs_a_script(stops: Stops, dbmend: Dbmend, target: Target) -> None:
    ended = dbmend("apply", stops.decided, "--to", target.dsn)
    assert refused(ended, "there is no script yet", f"dbmend script {stops.decided}")


def test_a_changed_plan_or_decision_stops_the_script(
    case: Path, dbmend: Dbmend, target: Target
) -> None:
    before = target.rows()
    assert dbmend("decide", case, "G2", "reject", "--by", "Пётр").code == 1
    ended = dbmend("apply", case, "--to", target.dsn)
    assert refused(ended, "the script is not of what is approved now", f"dbmend script {case}")
    assert dbmend("decide", case, "G2", "approve", "--by", "Пётр").code == 0
    plan = case / "plan.json"
    plan.write_text(plan.read_text("utf-8").replace("missing", "MISSING"), "utf-8")
    plan.write_text(plan.read_text("utf-8").replace("its condition", "anything"), "utf-8")
    ended = dbmend("apply", case, "--to", target.dsn)
    assert ended.code == 4, ended
    assert ended.error["message"].startswith("what 'plan' wrote into the case is not what it was")
    assert target.rows() == before


def test_an_edited_script_is_not_run(case: Path, dbmend: Dbmend, target: Target) -> None:
    before, script = target.rows(), case / "repair.sql"
    text = script.read_text("utf-8")
    assert text.count("'10.50'")
    script.write_text(text.replace("'10.50'", "'10.51'"), "utf-8")
    ended = dbmend("apply", case, "--to", target.dsn)
    said = "repair.sql is not the text that was rehearsed: it was changed"
    assert refused(ended, said, f"dbmend script {case}")
    assert target.rows() == before


def test_a_report_that_changes_voids_the_agreement(
    case: Path, shop: Shop, dbmend: Dbmend, target: Target
) -> None:
    before = target.rows()
    page = case / "report" / "depth.ru.html"
    page.write_text(page.read_text("utf-8").replace("24", "0"), "utf-8")
    ended = dbmend("apply", case, "--to", target.dsn)
    assert ended.code == 4
    assert ended.error["message"].startswith("what 'report' wrote into the case is not what it")
    assert dbmend.assess(shop, case).code == 1
    ended = dbmend("apply", case, "--to", target.dsn)
    hint = f"dbmend agree {case} --by NAME"
    assert refused(ended, "the customer has not agreed to this report", hint)
    assert dbmend("status", case, "--json").document["next"] == hint
    assert target.rows() == before


def test_a_journal_that_was_tampered_with(case: Path, dbmend: Dbmend, target: Target) -> None:
    before, journal = target.rows(), case / "journal.jsonl"
    journal.write_text(journal.read_text("utf-8").replace("Анна", "Нина"), "utf-8")
    looked = dbmend("status", case)
    assert looked.code == 4
    assert "THE JOURNAL IS BROKEN at line " in looked.out
    for verb in ("apply", "undo"):
        ended = dbmend(verb, case, "--to", target.dsn)
        assert ended.code == 4
        assert ended.error["message"].startswith("the journal is broken at line ")
    assert target.rows() == before


# --- the target -----------------------------------------------------------------------------------


def test_the_whole_way_and_back(case: Path, dbmend: Dbmend, target: Target) -> None:
    before = target.rows()
    done = dbmend("apply", case, "--to", target.dsn, "--json")
    assert (done.code, done.document["state"]) == (0, "applied"), done.err
    assert done.document["before"] == {"ready": 24, "done": 0, "moved": 0}
    repaired = target.rows()
    assert repaired != before
    assert target.value("SELECT total FROM orders WHERE id = 5") == "50.50"  # not meant
    assert target.value("SELECT total FROM orders WHERE id = 6") == "66.55"  # meant
    assert target.value("SELECT customer FROM orders WHERE id = 5") == "Иванова-Ким"  # kept
    assert target.value("SELECT amount FROM payments WHERE order_id = 17") == "170.50"
    following = dbmend("status", case, "--json").document["next"]
    assert following == f"dbmend close {case}, or dbmend undo {case} --to DSN"
    again = dbmend("apply", case, "--to", target.dsn, "--json")
    assert (again.code, again.document["state"]) == (0, "already applied")
    assert target.rows() == repaired
    for state in ("applied", "already applied"):
        undone = dbmend("undo", case, "--to", target.dsn, "--json")
        assert (undone.code, undone.document["state"]) == (0, state)
        assert target.rows() == before
    following = dbmend("status", case, "--json").document["next"]
    assert following == f"dbmend apply {case} --to DSN, or run repair.sql with psql"


def test_another_database(case: Path, dbmend: Dbmend, target: Target) -> None:
    """Once with the same tables and other rows, once with other tables."""
    target.execute("UPDATE payments SET amount = 1; UPDATE orders SET customer = 'x' || id")
    target.execute("UPDATE orders SET total = total + 1")
    before = target.rows()
    ended = dbmend("apply", case, "--to", target.dsn)
    assert ended.code == 4, ended
    assert "repair.sql: refused. " in ended.out
    assert target.rows() == before
    target.execute("ALTER TABLE payments RENAME TO loans")
    ended = dbmend("apply", case, "--to", target.dsn)
    assert ended.code == 4
    assert "wrong database: no table public.payments" in ended.out
    following = dbmend("status", case, "--json").document["next"]
    assert following.startswith(f"dbmend apply {case}")  # nothing was done


def test_a_database_that_moved_on(case: Path, dbmend: Dbmend, target: Target) -> None:
    target.execute("UPDATE orders SET total = 99 WHERE id = 5")
    before = target.rows()
    ended = dbmend("apply", case, "--to", target.dsn)
    assert ended.code == 4
    assert "public.orders 5: moved" in ended.out
    assert target.rows() == before
    accepted = ("script", case, "--on-moved", "skip", *dbmend.scratch)
    assert dbmend(*accepted).code == 0
    done = dbmend("apply", case, "--to", target.dsn)
    assert done.code == 1, done  # done, and a row was left out
    assert "skipped: 1" in done.out
    assert target.value("SELECT total FROM orders WHERE id = 5") == "99.00"
    assert target.value("SELECT total FROM orders WHERE id = 4") == "40.50"
    assert target.rows()["payments"] != before["payments"]


def test_a_target_that_cannot_be_reached(case: Path, dbmend: Dbmend) -> None:
    ended = dbmend("apply", case, "--to", f"postgresql://u:{SECRET}@127.0.0.1:1/x")
    assert (ended.code, ended.out) == (3, "")
    assert ended.error["message"].startswith("the target cannot be reached: ")
    assert ended.error["next"].startswith("Nothing was run.")
    bad = dbmend("apply", case, "--to", f"postgresql://u:{SECRET}@[x/y")
    assert (bad.code, bad.out) == (2, "")
    assert SECRET not in ended.err + bad.err


def test_a_connection_that_is_lost_in_the_middle(
    case: Path, dbmend: Dbmend, target: Target, scratch: Cluster
) -> None:
    """Whether it was applied is not known, and said so; the same command finds out."""
    before = target.rows()
    with (
        psycopg.connect(target.dsn) as holder,
        dbmend.started("apply", case, "--to", target.dsn) as process,
    ):
        holder.execute("SELECT 1 FROM orders WHERE id = 1 FOR UPDATE")
        with scratch.keeper("postgres") as keeper:
            end = time.monotonic() + 30
            ask = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'dbmend' AND wait_event_type = 'Lock'"
            )
            while not keeper.execute(ask).fetchall():
                assert time.monotonic() < end
                time.sleep(0.02)
        out, err = process.communicate(timeout=30)
    ended = Ended(process.returncode, out, err)
    assert (ended.code, ended.out) == (3, ""), ended
    assert ended.error["message"].startswith("the connection was lost before the target said ")
    assert target.rows() == before
    looked = dbmend("status", case)
    assert "How repair.sql ended on " in looked.out
    assert dbmend("apply", case, "--to", target.dsn).code == 0
    assert target.rows() != before


def test_the_way_back_is_kept(case: Path, dbmend: Dbmend, target: Target) -> None:
    """Decisions and scripts that come later take no undo away."""
    before = target.rows()
    assert dbmend("apply", case, "--to", target.dsn).code == 0
    assert dbmend("decide", case, "G2", "reject", "--by", "Пётр").code == 1
    assert dbmend("script", case, *dbmend.scratch).code == 0
    undone = dbmend("undo", case, "--to", target.dsn, "--json")
    assert (undone.code, undone.document["state"]) == (0, "applied"), undone
    assert target.rows() == before


# --- afterwards -----------------------------------------------------------------------------------


def test_closing_wipes_rows_and_keeps_hashes(
    stops: Stops, shop: Shop, dbmend: Dbmend, tmp_path: Path
) -> None:
    case = shutil.copytree(stops.agreed, tmp_path / "case")
    wiped = {
        str(path.relative_to(case)): sha256(path.read_bytes()).hexdigest()
        for path in case.rglob("*")
        if path.is_file()
    }
    ended = dbmend("close", case, "--json")
    assert (ended.code, ended.document["left"]) == (0, []), ended.err
    gone = set(ended.document["removed"])
    assert {"case.duckdb", "repair.sql", "undo.sql", "diff.parquet", "report/depth.json"} <= gone
    for name in gone:
        assert not (case / name).exists()
    kept = json.loads((case / "closed.json").read_text("utf-8"))["wiped"]
    assert {one["path"]: one["sha256"] for one in kept} == {name: wiped[name] for name in gone}
    for path in case.rglob("*"):
        assert path.is_dir() or "Заказчик".encode() not in path.read_bytes(), path
    assert dbmend.folders() == []  # of scratch too: the other copies load it again
    assert dbmend("status", case).code == 0
    assert dbmend("close", case).code == 0
    again = dbmend.assess(shop, case)
    assert (again.code, again.error["message"]) == (4, "the case was closed: its rows are wiped")


@pytest.fixture
def server(scratch: Cluster) -> Iterator[str]:
    """A server to be given by DSN, with a password in it that it does not ask for."""
    assert scratch.place is not None
    hba = scratch.place / "data" / "pg_hba.conf"
    before = hba.read_text("utf-8")
    with scratch.keeper("postgres") as keeper:
        hba.write_text("local all all trust\n" + before, "utf-8")
        keeper.execute("SELECT pg_reload_conf()")
        time.sleep(0.2)
        dsn = scratch.conninfo("postgres", "keeper")
        yield psycopg.conninfo.make_conninfo(dsn, options="", password=SECRET)
        hba.write_text(before, "utf-8")
        keeper.execute("SELECT pg_reload_conf()")


def test_passwords_are_nowhere(
    shop: Shop,
    dbmend: Dbmend,
    tmp_path: Path,
    scratch: Cluster,
    server: str,
    target: Target,
    stops: Stops,
) -> None:
    case = tmp_path / "own"
    files = ("--backup", shop.backup, "--current", shop.current, "--steps", shop.steps)
    shown = []
    for words in (
        ("open", *files, "--case", case),
        ("load", case, "--dsn", server, "--log", "json"),
        ("compare", case, "--dsn", server, "--json"),
    ):
        ended = dbmend(*words)
        assert ended.code in (0, 1), ended.err
        shown.append(ended)
    ready = shutil.copytree(stops.agreed, tmp_path / "ready")
    shown += [dbmend("apply", ready, "--to", target.dsn), dbmend("status", ready)]
    for folder in (case, ready, dbmend.place):
        for path in folder.rglob("*"):
            assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
    assert not [one for one in shown if SECRET in one.out + one.err]
    ours = "SELECT count(*) FROM pg_database WHERE datname LIKE 'dbmend_case-%'"
    with scratch.keeper("postgres") as keeper:
        assert keeper.execute(ours).fetchone() == (2,)
        assert dbmend("close", case).code == 0  # finds the server without being told
        assert keeper.execute(ours).fetchone() == (0,)
