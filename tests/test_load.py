"""Dumps into scratch: the real ones whole, the damaged ones with every violation told, and the
hostile ones without harm."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from recovery.load import Finding, Loaded, load
from recovery.model import EngineError, Exit
from recovery.scratch.cluster import Cluster, open_cluster
from recovery.scratch.state import LoadedState
from recovery.sources.detect import open_source

ROOT = Path(__file__).parents[1]
DUMPS = ROOT.parent / "shared" / "data" / "pg"


@pytest.fixture
def given(scratch: Cluster, tmp_path: Path):
    """Loads a text as a dump into the database `given`."""

    def loaded(text: str) -> Loaded:
        path = tmp_path / "dump.sql"
        path.write_text(HEAD + text + TAIL, "utf-8")
        return load(open_source(path), scratch, "given")

    yield loaded
    scratch.drop("given")


@pytest.fixture
def owner() -> Iterator[str]:
    """Of a server that stays when it is closed; gone at the end of the test all the same."""
    name = f"case-load-{os.getpid()}-{threading.get_ident()}"
    yield name
    open_cluster(name).remove()


HEAD = """--
-- PostgreSQL database dump
--

"""
TAIL = """
--
-- PostgreSQL database dump complete
--
"""


def _rows(scratch: Cluster, question: str) -> list[tuple[object, ...]]:
    with scratch.connect("given") as connection:
        return connection.execute(question.encode()).fetchall()


@pytest.mark.parametrize(
    ("name", "tables", "rows", "keys"),
    [
        ("pagila.sql", 15, 46273, 21),
        ("chinook.sql", 11, 15607, 11),
        ("northwind.sql", 14, 3362, 13),
        ("northwind.dump", 14, 3362, 13),
    ],
)
def test_real_dumps_load_whole(
    scratch: Cluster, tmp_path: Path, name: str, tables: int, rows: int, keys: int
) -> None:
    loaded = load(open_source(DUMPS / name), scratch, "real")
    state = LoadedState(scratch, "real", loaded.unloaded)
    found = sum(
        state.export(table, [column.name for column in table.columns], tmp_path / "rows")
        for table in state.schema.tables
    )
    assert [f for f in loaded.findings if f.kind != "owner"] == []
    assert loaded.unloaded == {}
    assert (len(state.schema.tables), found, len(state.schema.foreign_keys)) == (tables, rows, keys)
    with scratch.connect("real") as connection:
        assert connection.execute(
            "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relowner ="
            " 'jail'::regrole AND (relreplident <> 'f' OR relpersistence <> 'p')"
        ).fetchone() == (0,)
    scratch.drop("real")


SHOP = """
CREATE TABLE public.parent (id integer NOT NULL, name text, CONSTRAINT named CHECK (name <> ''));
CREATE TABLE public.child (id integer, parent_id integer, paid boolean NOT NULL);
COPY public.parent (id, name) FROM stdin;
{parents}\\.
COPY public.child (id, parent_id, paid) FROM stdin;
{children}\\.
ALTER TABLE ONLY public.parent ADD CONSTRAINT parent_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.child ADD CONSTRAINT child_pkey PRIMARY KEY (id);
CREATE UNIQUE INDEX child_once ON public.child USING btree (abs(parent_id)) WHERE (id > 2);
ALTER TABLE ONLY public.child ADD CONSTRAINT child_fkey FOREIGN KEY (parent_id)
    REFERENCES public.parent(id);
"""


def test_intact_rows_leave_no_finding(scratch: Cluster, given) -> None:
    loaded = given(SHOP.format(parents="1\ta\n2\tb\n", children="1\t1\tt\n2\t\\N\tf\n"))
    assert loaded == Loaded((), {})
    assert _rows(
        scratch, "SELECT conname FROM pg_constraint WHERE conrelid > 16000 ORDER BY 1"
    ) == [
        ("child_fkey",),
        ("child_pkey",),
        ("named",),
        ("parent_pkey",),
    ]


def test_every_violation_is_a_finding_with_its_rows(scratch: Cluster, given) -> None:
    loaded = given(
        SHOP.format(parents="1\ta\n1\tЯ\n2\t\n", children="1\t1\tt\n2\t9\tf\n3\t4\tt\n4\t-4\t\\N\n")
    )
    unpaid = '{"id":"4","parent_id":"-4","paid":null}'
    assert loaded == Loaded(
        (
            _violation(
                "public.parent named",
                'check constraint "named" of relation "parent" is violated by some row',
                8,
                '{"id":"2","name":""}',
            ),
            _violation(
                "public.child NOT NULL of paid",
                'column "paid" of relation "child" contains null values',
                13,
                unpaid,
            ),
            _violation(
                "public.parent parent_pkey",
                'could not create unique index "parent_pkey"',
                19,
                '{"id":"1","name":"a"}',
                '{"id":"1","name":"Я"}',
            ),
            _violation(
                "public.child_once",
                'could not create unique index "child_once"',
                21,
                '{"id":"3","parent_id":"4","paid":"t"}',
                unpaid,
            ),
            Finding(
                "statement",
                "public.child child_fkey",
                'there is no unique constraint matching given keys for referenced table "parent"',
                22,
            ),
        ),
        {},
    )
    assert _rows(scratch, "SELECT count(*) FROM parent, child") == [(12,)]


def test_orphans_are_named(scratch: Cluster, given) -> None:
    loaded = given(SHOP.format(parents="1\ta\n", children="1\t1\tt\n2\t9\tf\n3\t\\N\tt\n"))
    told = _violation(
        "public.child child_fkey",
        'insert or update on table "child" violates foreign key constraint "child_fkey"',
        19,
        '{"id":"2","parent_id":"9","paid":"f"}',
    )
    assert loaded == Loaded((told,), {})


def test_many_violating_rows_are_counted_and_some_shown(scratch: Cluster, given) -> None:
    loaded = given(SHOP.format(parents="1\ta\n" * 250, children=""))
    (key, foreign) = loaded.findings
    assert key.message.startswith("rows that violate it: 250, the first 100 are shown; it stays")
    assert (key.rows, foreign.kind) == (('{"id":"1","name":"a"}',) * 100, "statement")


def _violation(name: str, why: str, line: int, *rows: str) -> Finding:
    message = f"rows that violate it: {len(rows)}; it stays absent: {why}"
    return Finding("violation", name, message, line, rows)


def test_rows_that_cannot_be_loaded_are_said(scratch: Cluster, given) -> None:
    loaded = given(
        """
CREATE TABLE public.good (a integer);
CREATE TABLE public.bad (a integer);
CREATE TABLE public.part (a integer) PARTITION BY LIST (a);
CREATE TABLE public.part_1 PARTITION OF public.part FOR VALUES IN (1);
CREATE TABLE public.odd (a no_such_type);
COPY public.good (a) FROM stdin;
1
\\.
COPY public.bad (a) FROM stdin;
1
x
\\.
COPY public.part_1 (a) FROM stdin;
2
\\.
COPY public.odd (a) FROM stdin;
2
\\.
INSERT INTO public.good VALUES (2);
INSERT INTO public.good VALUES ('y');
"""
    )
    why = {
        "public.bad": 'invalid input syntax for type integer: "x" (row 2 of the block)',
        "public.odd": 'type "no_such_type" does not exist',
        "public.good": 'invalid input syntax for type integer: "y"',
    }
    assert {table: reason.split(": ", 1)[1] for table, reason in loaded.unloaded.items()} == {
        **why,
        "public.part": 'new row for relation "part_1" violates partition constraint'
        " (row 1 of the block)",
    }
    assert [(f.kind, f.object) for f in loaded.findings] == [
        ("statement", "public.odd"),
        ("rows", "public.bad"),
        ("rows", "public.part"),
        ("rows", "public.good"),
    ]
    assert _rows(scratch, "SELECT a FROM good ORDER BY a") == [(1,), (2,)]


def test_what_real_dumps_contain(scratch: Cluster, given) -> None:
    loaded = given(
        r"""
\restrict abcdefghijklmnop
SET statement_timeout = 0;
SET transaction_timeout = 0;
SET setting_of_tomorrow = 0;
SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);
CREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA public;
CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA public;
CREATE EXTENSION IF NOT EXISTS cube WITH SCHEMA public;
CREATE EXTENSION IF NOT EXISTS earthdistance WITH SCHEMA public;
CREATE EXTENSION IF NOT EXISTS no_such_thing WITH SCHEMA public;
COMMENT ON EXTENSION citext IS 'case-insensitive';
CREATE COLLATION public.german (provider = icu, locale = 'de', deterministic = false);
CREATE UNLOGGED TABLE public.t (
    id uuid DEFAULT public.uuid_generate_v4() NOT NULL,
    a text COLLATE pg_catalog."de-x-icu",
    b text COLLATE public.german
);
ALTER TABLE public.t OWNER TO shop_owner;
CREATE SEQUENCE public.s START WITH 1;
ALTER TABLE public.s OWNER TO shop_owner;
INSERT INTO public.t (a, b) VALUES ('ä', 'B');
SELECT pg_catalog.setval('public.s', 41, true);
ALTER TABLE public.t ENABLE ROW LEVEL SECURITY;
ALTER TABLE ONLY public.t FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON public.t TO readers USING (false);
GRANT SELECT ON TABLE public.t TO readers;
GRANT SELECT ON TABLE public.t TO "Odd Name";
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA public GRANT ALL ON TABLES TO readers;
CREATE PUBLICATION everything FOR ALL TABLES;
\unrestrict abcdefghijklmnop
"""
    )
    assert [(f.kind, f.object, f.message) for f in loaded.findings] == [
        (
            "setting",
            "SET setting_of_tomorrow = 0",
            'ignored: unrecognized configuration parameter "setting_of_tomorrow"',
        ),
        (
            "extension",
            "uuid-ossp",
            "replaced by functions of the same names; not all of them exist",
        ),
        (
            "extension",
            "no_such_thing",
            "not on the scratch server; what needs it is missing too",
        ),
        ("collation", "public.german", APPROXIMATE),
        ("collation", "de-x-icu", APPROXIMATE),
        ("skipped", "DEFAULT ACL", "rights of objects yet to be made mean nothing here"),
        ("skipped", "everything", "nothing leaves the scratch server"),
        (
            "owner",
            "shop_owner",
            "owner of 2 objects, which belong to the scratch server's role here",
        ),
    ]
    assert loaded.unloaded == {}
    schema = LoadedState(scratch, "given").schema
    table = schema.table("public.t")
    assert [(c.name, c.family) for c in table.columns] == [
        ("id", "text"),
        ("a", "text"),
        ("b", "citext"),
    ]
    assert [(s.name, s.last_value, s.is_called) for s in schema.sequences] == [
        ("public.s", 41, True)
    ]
    assert [o.name for o in schema.objects if o.kind in ("extension", "function")] == [
        "citext",
        "cube",
        "earthdistance",
    ]
    assert _rows(scratch, "SELECT a, b, relpersistence FROM t, pg_class WHERE relname = 't'") == [
        ("ä", "B", "p")
    ]


APPROXIMATE = "not on the scratch server: order by code point instead, so order is approximate"


def test_a_dump_in_another_encoding(scratch: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "dump.sql"
    text = """SET client_encoding = 'WIN1251';
CREATE TABLE public."Товар" (a text);
COPY public."Товар" (a) FROM stdin;
Ёлка
\\.
INSERT INTO public."Товар" VALUES ('Мяч');
"""
    path.write_bytes((HEAD + text + TAIL).encode("cp1251"))
    assert load(open_source(path), scratch, "given") == Loaded((), {})
    assert _rows(scratch, 'SELECT a FROM "Товар" ORDER BY a') == [("Ёлка",), ("Мяч",)]
    scratch.drop("given")


def test_a_script_in_an_order_of_its_own(scratch: Cluster, given) -> None:
    """Old dumps name nothing in full and change search_path; scripts drop, mix and insert."""
    loaded = given(
        """
DROP TABLE IF EXISTS a.t;
ALTER TABLE ONLY a.t DROP CONSTRAINT t_pkey;
DROP TABLE a.t;
DROP ROLE somebody;
CREATE SCHEMA a;
CREATE SCHEMA b;
SET search_path = a, pg_catalog;
CREATE TABLE t (id integer);
ALTER TABLE t ADD CONSTRAINT t_pkey PRIMARY KEY (id);
CREATE VIEW v AS SELECT * FROM later;
INSERT INTO t VALUES (1);
ALTER TABLE t OWNER TO somebody;
CREATE TABLE later (id integer);
SET search_path = b, pg_catalog;
CREATE TABLE t (id integer);
CREATE INDEX t_id ON t (id);
INSERT INTO t VALUES (2);
INSERT INTO a.t VALUES (3);
"""
    )
    assert loaded == Loaded(
        (Finding("owner", "somebody", OWNER_OF_ONE, 0),),
        {},
    )
    schema = LoadedState(scratch, "given").schema
    assert [(c.table, c.name) for c in schema.constraints] == [("a.t", "t_pkey")]
    assert [o.name for o in schema.objects if o.kind in ("index", "view")] == ["b.t_id", "a.v"]
    assert _rows(scratch, "SELECT a.t.id, b.t.id FROM a.t, b.t ORDER BY 1") == [(1, 2), (3, 2)]


OWNER_OF_ONE = "owner of 1 objects, which belong to the scratch server's role here"


def test_triggers_and_rules_do_not_act_on_the_rows_loaded(scratch: Cluster, given) -> None:
    loaded = given(
        """
CREATE TABLE public.t (a integer);
CREATE TABLE public.log (a integer);
CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.log VALUES (NEW.a); RETURN NEW; END $$;
CREATE TRIGGER note BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.note();
CREATE RULE twice AS ON INSERT TO public.t DO ALSO INSERT INTO public.log VALUES (0);
CREATE MATERIALIZED VIEW public.m AS SELECT a FROM public.t WITH NO DATA;
INSERT INTO public.t VALUES (1);
REFRESH MATERIALIZED VIEW public.m;
"""
    )
    assert loaded == Loaded((), {})
    assert _rows(scratch, "SELECT (SELECT count(*) FROM log), a FROM m") == [(0, 1)]


def test_a_hostile_dump_loads_without_harm(scratch: Cluster, given) -> None:
    """Each attack is a refused statement; triggers and views act as the jail in replay too."""
    file = Path("/var/tmp") / f"dbmend-hostile-load-{os.getpid()}"
    loaded = given(
        f"""
CREATE FUNCTION public.now_evil() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    EXECUTE 'ALTER ROLE jail SUPERUSER';
    RETURN NEW;
END $$;
CREATE FUNCTION public.citext(text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN EXECUTE 'ALTER ROLE jail SUPERUSER'; RETURN $1; END $$;
CREATE EXTENSION earthdistance WITH SCHEMA public;
CREATE EXTENSION dblink WITH SCHEMA public;
CREATE FUNCTION public.system(text) RETURNS integer LANGUAGE c AS '/lib/libc.so.6', 'system';
ALTER SYSTEM SET archive_command = 'touch {file}';
SET SESSION AUTHORIZATION keeper;
SET ROLE keeper;
COPY (SELECT 1) TO PROGRAM 'touch {file}';
DROP DATABASE given;
CREATE EVENT TRIGGER evil ON ddl_command_start EXECUTE FUNCTION public.now_evil();
CREATE TABLE public.t (a integer);
CREATE TRIGGER evil BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.now_evil();
SELECT pg_read_file('/etc/passwd');
SELECT lo_export(1, '{file}');
DO $$ BEGIN PERFORM pg_ls_dir('/'); END $$;
GRANT keeper TO jail;
CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p;
"""
    )
    assert len(loaded.findings) == 12
    assert not file.exists()
    with scratch.connect("given") as jail:
        with pytest.raises(Exception, match="permission denied"):
            jail.execute("INSERT INTO t VALUES (1)")
        assert jail.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'jail'").fetchone() == (
            False,
        )
        assert (
            jail.execute("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'").fetchall()
            == []
        )
        assert (
            jail.execute(
                "SELECT proname FROM pg_proc WHERE proname = 'system'"
                " AND pronamespace = 'public'::regnamespace"
            ).fetchall()
            == []
        )
        assert jail.execute("SHOW archive_command").fetchone() != (f"touch {file}",)


def test_loading_again_replaces_and_a_broken_dump_leaves_nothing(
    scratch: Cluster, given, tmp_path: Path
) -> None:
    given("CREATE TABLE public.t (a integer);")
    given("CREATE TABLE public.u (a integer);")
    assert _rows(scratch, "SELECT relname FROM pg_class WHERE relkind = 'r' AND oid > 16000") == [
        ("u",)
    ]
    cut = tmp_path / "cut.dump"
    cut.write_bytes((DUMPS / "northwind.dump").read_bytes()[:30_000])
    with pytest.raises(EngineError) as broken:
        load(open_source(cut), scratch, "cut")
    assert broken.value.code == Exit.UNUSABLE
    assert [name for name in scratch.databases() if name.startswith("cut")] == []


class Stop:
    """A Progress that does something when the first table is there."""

    def __init__(self, act) -> None:
        self._act = act

    def stage(self, name: str, *, total: int = 0) -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        self._act()

    def note(self, text: str) -> None:
        pass


def test_a_server_that_dies_or_a_hand_that_stops_leaves_no_half_database(owner: str) -> None:
    def die() -> None:
        assert cluster.place is not None
        pid = (cluster.place / "data" / "postmaster.pid").read_text().split()[0]
        os.kill(int(pid), signal.SIGQUIT)
        time.sleep(0.5)

    def interrupt() -> None:
        raise KeyboardInterrupt

    source = open_source(DUMPS / "chinook.sql")
    with open_cluster(owner) as cluster, pytest.raises(EngineError) as died:
        load(source, cluster, "backup", Stop(die))
    assert died.value.code == Exit.COULD_NOT_TELL
    assert died.value.message.startswith("the scratch server went away: ")
    with open_cluster(owner) as cluster, pytest.raises(KeyboardInterrupt):
        load(source, cluster, "backup", Stop(interrupt))
    with open_cluster(owner) as cluster:
        assert not cluster.exists("backup")
        assert load(source, cluster, "backup") == Loaded((), {})
        cluster.remove()


KILLED = """
import sys
from pathlib import Path
from recovery.load import load
from recovery.scratch.cluster import open_cluster
from recovery.sources.detect import open_source

class Stop:
    def stage(self, name, *, total=0): pass
    def advance(self, amount=1):
        print("loading", flush=True)
        sys.stdin.readline()
    def note(self, text): pass

cluster = open_cluster(sys.argv[1])
load(open_source(Path(sys.argv[2])), cluster, "backup", Stop())
"""


def test_a_load_that_was_killed_is_never_taken_for_a_whole_one(owner: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, owner, str(DUMPS / "chinook.sql")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None and child.stdin is not None
    assert child.stdout.readline() == b"loading\n"
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    with open_cluster(owner) as cluster:
        assert not cluster.exists("backup")
        assert load(open_source(DUMPS / "chinook.sql"), cluster, "backup").unloaded == {}
        assert cluster.databases() == ("backup",)
        cluster.remove()
