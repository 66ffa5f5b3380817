"""The scratch server: started and stopped, shared out, cleaned up after, and not to be left."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

from recovery.model import EngineError, Exit
from recovery.scratch import places
from recovery.scratch.binaries import find_binaries, reachable
from recovery.scratch.cluster import Cluster, ensure_space, open_cluster, server_trouble
from recovery.scratch.pristine import lay_out

ROOT = Path(__file__).parents[1]


@pytest.fixture
def place():
    """A folder that the server's own user can reach: a test's own folder is closed to others."""
    folder = places.home() / f"run-place-{os.getpid()}-{threading.get_ident()}"
    shutil.rmtree(folder, ignore_errors=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_databases_are_made_cloned_renamed_and_dropped(scratch: Cluster, database: str) -> None:
    with scratch.connect(database) as connection:
        connection.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    copy, renamed = f"{database}~copy", f"{database} copy"
    scratch.clone(database, copy)
    scratch.rename(copy, renamed)
    assert (scratch.exists(database), scratch.exists(copy), scratch.exists(renamed)) == (
        True,
        False,
        True,
    )
    with scratch.connect(renamed) as connection:
        connection.execute("INSERT INTO t VALUES (2)")
        assert connection.execute("SELECT a FROM t ORDER BY a").fetchall() == [(1,), (2,)]
        scratch.drop(renamed)  # although somebody is connected
    scratch.drop(renamed)
    assert not scratch.exists(renamed)
    with scratch.connect(database) as connection:
        assert connection.execute("SELECT a FROM t").fetchall() == [(1,)]


def test_the_roles_are_what_they_say(scratch: Cluster, database: str) -> None:
    question = """SELECT current_user::text, rolsuper, rolreplication, rolcreaterole,
        rolcreatedb, current_setting('search_path'), current_setting('TimeZone'),
        current_setting('statement_timeout') FROM pg_roles WHERE rolname = current_user"""
    found = []
    for role in ("jail", "capture", "keeper"):
        with scratch.connect(database, role, statement_timeout_seconds=2.5) as connection:
            found.append(connection.execute(question).fetchone())
    path = '"$user", public'
    assert found == [
        ("jail", False, False, False, False, path, "UTC", "2500ms"),
        ("capture", False, True, False, False, path, "UTC", "2500ms"),
        ("keeper", True, True, True, True, "pg_catalog", "UTC", "2500ms"),
    ]


def test_logical_decoding_works(scratch: Cluster, database: str) -> None:
    with scratch.connect(database) as jail, scratch.connect(database, "capture") as capture:
        jail.execute("CREATE TABLE t (a int)")
        capture.execute("SELECT pg_create_logical_replication_slot('s', 'test_decoding')")
        jail.execute("INSERT INTO t VALUES (7)")
        changes = capture.execute(
            "SELECT data FROM pg_logical_slot_get_changes('s', NULL, NULL, 'include-xids', '0')"
        ).fetchall()
        capture.execute("SELECT pg_drop_replication_slot('s')")
    assert changes == [("BEGIN",), ("table public.t: INSERT: a[integer]:7",), ("COMMIT",)]


def test_data_is_kept_when_closed_and_gone_when_removed(place: Path) -> None:
    with open_cluster("case-a", place=place) as cluster:
        cluster.create("backup")
    with open_cluster("case-a", place=place) as cluster:
        assert cluster.databases() == ("backup",)
        folder = cluster.place
        assert folder == place / "case-a"
        cluster.remove()
    assert not folder.exists()


def test_a_new_cluster_is_unpacked_and_made_again_where_what_was_kept_is_broken(
    place: Path, tmp_path: Path
) -> None:
    programs = reachable(find_binaries(), places.home())
    store = place / "kept"
    store.mkdir(parents=True)
    seen = []
    for number, break_it in enumerate((None, None, b"", b"no archive")):
        data = place / str(number) / "data"
        data.parent.mkdir()
        if break_it is not None:
            next(store.iterdir()).write_bytes(break_it)
        lay_out(data, programs, store)
        (archive,) = store.iterdir()
        found = {
            str(one.relative_to(data)): (one.stat().st_uid, oct(one.stat().st_mode))
            for one in (data, *data.rglob("*"))
        }
        seen.append((archive.stat().st_ino, found))
    assert seen[0][1]["PG_VERSION"] == (os.geteuid() or 65534, "0o100600")
    assert seen[0][1]["."] == (os.geteuid() or 65534, "0o40700")
    assert [one[1].keys() for one in seen] == [seen[0][1].keys()] * 4
    assert seen[0] == seen[1]
    assert seen[2][0] != seen[1][0]
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(EngineError) as failed:
        lay_out(place / "5" / "data", programs, blocked)
    assert failed.value.code == Exit.COULD_NOT_TELL
    assert failed.value.message.startswith("a scratch server could not be set up: ")


def test_the_owner_of_one_run_leaves_nothing(place: Path) -> None:
    with open_cluster("run-a", place=place) as cluster:
        folder = cluster.place
        assert folder is not None and folder.exists()
    assert not folder.exists()


def test_a_case_in_use_is_refused_and_others_are_not(place: Path) -> None:
    with open_cluster("run-a", place=place) as a, open_cluster("run-b", place=place) as b:
        with pytest.raises(EngineError) as refused:
            open_cluster("run-a", place=place)
        a.create("same name")
        assert (a.databases(), b.databases()) == (("same name",), ())
    assert (refused.value.code, refused.value.message) == (
        Exit.REFUSED,
        "the scratch server of 'run-a' is in use by another process",
    )


CHILD = """
import sys, time
from pathlib import Path
from recovery.scratch.cluster import open_cluster
cluster = open_cluster(sys.argv[1], place=Path(sys.argv[2]))
cluster.create("made")
print(Path(cluster.place, "data", "postmaster.pid").read_text().split()[0], flush=True)
time.sleep(60)
"""


def _child(owner: str, place: Path) -> tuple[subprocess.Popen[str], int]:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, owner, str(place)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    return child, int(child.stdout.readline())


def _gone(pid: int) -> bool:
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(("owner", "kept"), [("run-killed", False), ("case-killed", True)])
def test_a_killed_owner_takes_its_server_along(place: Path, owner: str, kept: bool) -> None:
    child, server = _child(owner, place)
    child.kill()
    child.wait()
    assert child.stdout is not None
    child.stdout.close()
    assert _gone(server)
    with open_cluster("run-next", place=place):
        assert (place / owner).exists() is kept
    if kept:
        with open_cluster(owner, place=place) as cluster:
            assert cluster.databases() == ("made",)


@pytest.mark.parametrize("owner", ["run-orphan", "case-orphan"])
def test_a_server_that_outlived_its_guardian_is_stopped_by_the_next_run(
    place: Path, owner: str
) -> None:
    programs = find_binaries()
    with open_cluster("case-made", place=place) as cluster:
        cluster.create("made")
    (place / "case-made").rename(place / owner)
    data = place / owner / "data"
    sockets = ("-c", "listen_addresses=", "-c", f"unix_socket_directories={data}")
    orphan = subprocess.Popen(
        [programs.program("postgres"), "-D", str(data), *sockets],
        user=65534 if os.geteuid() == 0 else None,
        group=65534 if os.geteuid() == 0 else None,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    while not (data / "postmaster.pid").exists():
        assert orphan.poll() is None, "the server ended by itself"
        time.sleep(0.02)
    time.sleep(0.3)
    assert orphan.poll() is None
    with open_cluster("run-next", place=place):
        orphan.wait(20)
        assert (place / owner).exists() is owner.startswith("case")


def test_a_pid_file_that_names_somebody_else_stops_nobody(place: Path) -> None:
    with open_cluster("case-a", place=place) as cluster:
        cluster.create("made")
    innocent = subprocess.Popen(["sleep", "60"])
    try:
        (place / "case-a" / "data" / "postmaster.pid").write_text(f"{innocent.pid}\n/elsewhere\n")
        with open_cluster("case-a", place=place) as cluster:
            assert cluster.databases() == ("made",)
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_what_belongs_to_a_case_that_is_gone_is_removed(place: Path, tmp_path: Path) -> None:
    case = tmp_path / "case"
    case.mkdir()
    open_cluster("case-a", place=place, case=case).close()
    open_cluster("run-next", place=place).close()
    assert (place / "case-a").exists()
    case.rmdir()
    open_cluster("run-next", place=place).close()
    assert not (place / "case-a").exists()


def test_a_server_that_dies_is_no_finding_but_no_answer(place: Path) -> None:
    with open_cluster("run-a", place=place) as cluster:
        cluster.create("a")
        with cluster.connect("a") as connection:
            pid = int((place / "run-a/data/postmaster.pid").read_text().split()[0])
            os.kill(pid, signal.SIGQUIT)
            assert _gone(pid)
            with pytest.raises(EngineError) as died, server_trouble(cluster):
                connection.execute("SELECT 1")
            assert died.value.code == Exit.COULD_NOT_TELL
            with pytest.raises(psycopg.errors.UndefinedTable), server_trouble(cluster):
                raise psycopg.errors.UndefinedTable("a statement's own mistake passes")
        with pytest.raises(EngineError) as absent:
            cluster.databases()
        assert absent.value.code == Exit.COULD_NOT_TELL


def test_room_is_asked_for(tmp_path: Path) -> None:
    ensure_space(tmp_path / "not" / "made", 1)
    with pytest.raises(EngineError) as full:
        ensure_space(tmp_path, 1 << 60)
    assert full.value.code == Exit.COULD_NOT_TELL
    assert full.value.message.startswith(
        f"not enough room on the disk of {tmp_path}: 1048576.0 TiB"
    )


def test_programs_in_a_closed_folder_are_copied(tmp_path: Path, place: Path) -> None:
    source = find_binaries().folder.parent
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for part in ("bin", "lib", "share"):
        if (source / part).exists():
            shutil.copytree(source / part, closed / part, symlinks=True)
    with open_cluster("run-a", place=place, binaries=closed / "bin") as cluster:
        cluster.create("a")
        assert cluster.databases() == ("a",)
    with pytest.raises(EngineError) as absent:
        open_cluster("run-a", place=place, binaries=tmp_path)
    assert absent.value.code == Exit.UNUSABLE
    for copy in places.home().glob("bin-*"):
        shutil.rmtree(copy)


def test_the_server_does_not_run_as_root(scratch: Cluster) -> None:
    assert scratch.place is not None
    pid = (scratch.place / "data" / "postmaster.pid").read_text().split()[0]
    assert os.stat(f"/proc/{pid}").st_uid == (os.geteuid() or 65534)


def test_a_server_given_by_dsn(scratch: Cluster, database: str) -> None:
    """Also by a user who is no superuser; everything is taken away again."""
    with scratch.connect(database, "keeper") as keeper:
        keeper.execute("CREATE ROLE plain LOGIN CREATEDB CREATEROLE REPLICATION")
        keeper.execute("CREATE ROLE poor LOGIN")
        assert scratch.place is not None
        hba = scratch.place / "data" / "pg_hba.conf"
        before = hba.read_text()
        hba.write_text("local all all trust\n" + before)
        keeper.execute("SELECT pg_reload_conf()")
        time.sleep(0.2)
    try:
        dsn = psycopg.conninfo.make_conninfo(scratch.conninfo(database, "jail"), options="")
        plain = psycopg.conninfo.make_conninfo(dsn, user="plain")
        known = scratch.databases()
        with open_cluster("case-x", dsn=plain) as cluster:
            cluster.create("a" * 70)
            cluster.create("backup")
            with cluster.connect("backup") as jail:
                jail.execute("CREATE TABLE t (a int)")
            cluster.clone("backup", "copy")
            with cluster.connect("copy") as jail, cluster.connect("copy", "capture"):
                assert jail.execute("SELECT count(*) FROM t").fetchone() == (0,)
            with pytest.raises(EngineError) as refused:
                open_cluster("case-x", dsn=plain)
            assert refused.value.code == Exit.REFUSED
            assert set(cluster.databases()) >= {"backup", "copy"}
        with open_cluster("case-x", dsn=plain) as cluster:
            assert cluster.exists("copy")
            cluster.remove()
        assert scratch.databases() == known
        with pytest.raises(EngineError) as poor:
            open_cluster("case-x", dsn=psycopg.conninfo.make_conninfo(dsn, user="poor"))
        assert poor.value.code == Exit.UNUSABLE
        assert poor.value.message == (
            "the server given by DSN cannot hold scratch data; it lacks: the right CREATEDB;"
            " the right CREATEROLE; the right REPLICATION"
        )
        with scratch.connect(database, "keeper") as keeper:
            roles = keeper.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^dbmend'")
            assert roles.fetchall() == []
            keeper.execute("DROP ROLE plain; DROP ROLE poor")
    finally:
        hba.write_text(before)


HOSTILE = {
    "a program": "COPY (SELECT 1) TO PROGRAM 'touch {file}'",
    "a program read": "CREATE TABLE p (a text); COPY p FROM PROGRAM 'touch {file}'",
    "a file written": "COPY (SELECT 1) TO '{file}'",
    "a file read": "SELECT pg_read_file('/etc/passwd')",
    "a folder listed": "SELECT pg_ls_dir('/')",
    "a large object exported": "SELECT lo_export(lo_from_bytea(0, 'x'), '{file}')",
    "a large object imported": "SELECT lo_import('/etc/passwd')",
    "the server's settings": "ALTER SYSTEM SET archive_command = 'touch {file}'",
    "settings reloaded": "SELECT pg_reload_conf()",
    "dblink": "CREATE EXTENSION dblink",
    "postgres_fdw": "CREATE EXTENSION postgres_fdw",
    "file_fdw": "CREATE EXTENSION file_fdw",
    "a C function": "CREATE FUNCTION f(text) RETURNS int LANGUAGE c AS '/lib/libc.so.6', 'system'",
    "an internal function": "CREATE FUNCTION f() RETURNS int LANGUAGE internal AS 'pg_read_file'",
    "a library": "LOAD '/tmp/evil.so'",
    "an event trigger": "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS"
    " 'BEGIN END'; CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION f()",
    "another role": "SET ROLE keeper",
    "another session": "SET SESSION AUTHORIZATION keeper",
    "more rights": "ALTER ROLE jail SUPERUSER",
    "a new superuser": "CREATE ROLE evil SUPERUSER LOGIN",
    "membership": "GRANT keeper TO jail",
    "files by membership": "GRANT pg_read_server_files TO jail",
    "a subscription": "CREATE SUBSCRIPTION s CONNECTION 'host=example.org' PUBLICATION p",
    "a database dropped": "DROP DATABASE {database}",
    "a database changed": "ALTER DATABASE {database} SET role = 'keeper'",
    "triggers off": "SET session_replication_role = replica",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_the_jail_holds(scratch: Cluster, database: str, tmp_path: Path, what: str) -> None:
    file = Path("/var/tmp") / f"dbmend-hostile-{os.getpid()}"
    text = HOSTILE[what].replace("{file}", str(file)).replace("{database}", database)
    with scratch.connect(database) as jail:
        with pytest.raises(psycopg.Error):
            for part in text.split("; "):
                jail.execute(part.encode())
        assert jail.execute("SELECT current_user::text").fetchone() == ("jail",)
    assert not file.exists()


def test_the_jail_reaches_no_other_database_of_the_server(scratch: Cluster) -> None:
    for name in ("postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(scratch.conninfo(name, "jail"))


def test_settings_of_a_dump_do_not_reach_the_keeper(scratch: Cluster, database: str) -> None:
    with scratch.connect(database) as jail:
        jail.execute("ALTER ROLE jail SET search_path = evil")
        jail.execute("ALTER ROLE jail SET DateStyle = 'German'")
    with scratch.connect(database) as jail, scratch.connect(database, "keeper") as keeper:
        shown = [c.execute("SHOW search_path").fetchone() for c in (jail, keeper)]
        assert shown == [('"$user", public',), ("pg_catalog",)]
        assert jail.execute("SHOW DateStyle").fetchone() == ("ISO, YMD",)
        jail.execute("ALTER ROLE jail SET default_transaction_read_only = on")
    scratch.clone(database, f"{database}_copy")
    with scratch.connect(f"{database}_copy") as jail:
        assert jail.execute("SHOW default_transaction_read_only").fetchone() == ("off",)
    scratch.drop(f"{database}_copy")
