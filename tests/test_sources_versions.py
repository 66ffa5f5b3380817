"""Archives of every version that is read, made byte by byte: only the newest pg_dump is at hand."""

import zlib
from pathlib import Path

import pytest

from recovery.model import EngineError
from recovery.sources import open_source
from recovery.sources.model import Statement, TableData

ROWS = b"1\tone\n2\t\\N\n"


def number(value: int, size: int) -> bytes:
    return bytes([value < 0]) + abs(value).to_bytes(size, "little")


def archive(minor: int, *, size: int = 4, positions: bool = True, trailing: bytes = b"") -> bytes:
    """One table with two rows and its key; search_path per schema before version 1.13."""

    def integer(value: int) -> bytes:
        return number(value, size)

    def text(value: str | None) -> bytes:
        return integer(-1) if value is None else integer(len(value)) + value.encode()

    def entry(
        dump_id: int, kind: str, tag: str, section: int, definition: str, copy: str, position: int
    ) -> bytes:
        schema = None if tag == kind else "public"
        found = integer(dump_id) + integer(bool(copy)) + text("0") + text("0") + text(tag)
        found += text(kind) + integer(section) + text(definition) + text("") + text(copy or None)
        found += text(schema) + text(None)
        found += text(None) if minor >= 14 else b""
        found += integer(0) if minor >= 16 else b""
        found += text("ivan") + text("false") + text(None)
        state = (2 if positions else 1) if copy else 3
        return found + bytes([state]) + position.to_bytes(8, "little")

    def contents(position: int) -> bytes:
        entries = [
            entry(1, "ENCODING", "ENCODING", 2, "SET client_encoding = 'UTF8';\n", "", 0),
            entry(
                2, "STDSTRINGS", "STDSTRINGS", 2, "SET standard_conforming_strings = 'on';\n", "", 0
            ),
            entry(4, "TABLE", "t", 2, "CREATE TABLE t (\n    a integer,\n    b text\n);\n", "", 0),
            entry(5, "TABLE DATA", "t", 3, "", "COPY t (a, b) FROM stdin;\n", position),
            entry(
                6,
                "CONSTRAINT",
                "t t_pkey",
                4,
                "ALTER TABLE ONLY t\n    ADD CONSTRAINT t_pkey PRIMARY KEY (a);\n",
                "",
                0,
            ),
        ]
        return integer(len(entries)) + b"".join(entries)

    header = b"PGDMP" + bytes([1, minor, 0, size, 8, 1])
    header += bytes([1]) if minor >= 15 else integer(-1)
    header += b"".join(integer(part) for part in (5, 4, 3, 2, 0, 126, 0))
    header += text("shop") + text("12.3 (Debian)") + text("12.4")
    packed = zlib.compress(ROWS + b"\\.\n\n\n")
    block = b"\1" + integer(5) + integer(len(packed)) + packed + integer(0)
    position = len(header) + len(contents(0))
    return header + contents(position) + block + trailing


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize("minor", [12, 13, 14, 15, 16])
def test_every_version_is_read(tmp_path: Path, minor: int, size: int, positions: bool) -> None:
    path = tmp_path / "old.dump"
    path.write_bytes(archive(minor, size=size, positions=positions))
    source = open_source(path)
    assert source.problems() == ()
    found: list[tuple[str, str, str, str]] = []
    for item in source.items():
        match item:
            case Statement():
                found.append((item.section, item.kind, item.name, " ".join(item.sql.split())))
            case TableData():
                found.append(("data", item.table, item.copy, b"".join(item.chunks()).decode()))
    assert found == [
        ("pre-data", "SET", "", "SET check_function_bodies = false"),
        ("pre-data", "SET", "", "SET xmloption = content"),
        ("pre-data", "SET", "", "SET row_security = off"),
        ("pre-data", "SET", "", "SET client_encoding = 'UTF8'"),
        ("pre-data", "SET", "", "SET standard_conforming_strings = 'on'"),
        ("pre-data", "SET", "", 'SET search_path = "public", pg_catalog'),
        ("pre-data", "TABLE", "public.t", "CREATE TABLE t ( a integer, b text )"),
        ("data", "public.t", 'COPY "public"."t" ("a", "b") FROM stdin', ROWS.decode()),
        (
            "post-data",
            "CONSTRAINT",
            "public.t t_pkey",
            "ALTER TABLE ONLY t ADD CONSTRAINT t_pkey PRIMARY KEY (a)",
        ),
    ]
    info = source.info
    assert (info.database, info.server_version, info.dump_version) == ("shop", "12.3", "12.4")
    assert info.taken_at is not None
    assert info.taken_at.isoformat() == "2026-01-02T03:04:05+00:00"


@pytest.mark.parametrize(
    ("minor", "message"),
    [
        (
            11,
            "this archive has version 1.11: archives before 1.12 (PostgreSQL 9.0) are not read",
        ),
        (
            17,
            "this archive has version 1.17: it was made by a newer pg_dump than this version can "
            "read (up to 1.16, PostgreSQL 18)",
        ),
    ],
)
def test_other_versions_are_refused_by_name(tmp_path: Path, minor: int, message: str) -> None:
    path = tmp_path / "other.dump"
    path.write_bytes(archive(minor))
    with pytest.raises(EngineError) as raised:
        open_source(path)
    assert raised.value.message == message


def test_bytes_behind_the_last_block_are_named(tmp_path: Path) -> None:
    path = tmp_path / "longer.dump"
    end = len(archive(14))
    path.write_bytes(archive(14, trailing=b"more"))
    assert [problem.message for problem in open_source(path).problems()] == [
        f"bytes follow behind the last block, from byte {end} on"
    ]
