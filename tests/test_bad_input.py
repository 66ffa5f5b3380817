"""What cannot be used is told at once, with what, where and what next; the evidence stays as it
was, and nothing is made. `test_the_same_call_with_good_input_works` is the control of them all."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from recovery.scratch.cluster import Cluster
from tests import walked
from tests.walked import Dbmend, Ended, Shop, stamps

NOTHING_MADE = "check the name, or ask for the file again; nothing was made"


@pytest.fixture(scope="module")
def shop(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return walked.make_shop(scratch, tmp_path_factory.mktemp("shop"))


@pytest.fixture
def dbmend(tmp_path: Path) -> Iterator[Dbmend]:
    with walked.dbmend() as runner:
        yield runner


@dataclass(frozen=True, slots=True)
class Given:
    """One call: the shop's files, some of them replaced."""

    shop: Shop
    folder: Path
    dbmend: Dbmend

    def assess(self, **files: Path) -> Ended:
        named = {"backup": self.shop.backup, "current": self.shop.current, "steps": self.shop.steps}
        words = [word for name, path in (named | files).items() for word in (f"--{name}", path)]
        return self.dbmend("assess", *words, "--case", self.case, *self.dbmend.scratch)

    @property
    def case(self) -> Path:
        return self.folder / "case"

    def file(self, name: str, content: bytes | str) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def nothing_was_made(self, *files: Path) -> bool:
        """No case, no server, nothing in the scratch place, no report of a bug."""
        return (
            not self.case.exists()
            and self.dbmend.no_server_is_left()
            and not list(self.dbmend.place.iterdir())
        )


@pytest.fixture
def given(shop: Shop, tmp_path: Path, dbmend: Dbmend) -> Iterator[Given]:
    """Whatever happens in a test, the shop's files are untouched afterwards."""
    before = stamps(shop.folder)
    yield Given(shop, tmp_path, dbmend)
    assert stamps(shop.folder) == before


def refused(ended: Ended, message: str, where: object = "", hint: str = NOTHING_MADE) -> bool:
    """Exit 2, nothing on stdout, and just this error."""
    told = {"message": message, "where": str(where), "next": hint}
    assert (ended.code, ended.out, ended.error) == (2, "", told), ended.err
    return True


# --- files ----------------------------------------------------------------------------------------


def test_the_same_call_with_good_input_works(given: Given) -> None:
    ended = given.assess()
    assert ended.code == 1, ended.err
    assert "dbmend: " not in ended.err
    assert "2 groups proposed, 0 refused." in ended.out.splitlines()
    assert given.dbmend.no_server_is_left()
    assert len(given.dbmend.folders()) == 1  # kept for the next command, until the case is closed
    assert given.dbmend("close", given.case).code == 0
    assert given.dbmend.folders() == []


@pytest.mark.parametrize("role", ["backup", "current"])
def test_no_such_file(given: Given, role: str) -> None:
    path = given.folder / "none.sql"
    assert refused(given.assess(**{role: path}), "there is no such file", path)
    assert given.nothing_was_made()


def test_an_empty_file(given: Given) -> None:
    path = given.file("empty.sql", b"")
    said = "the file is empty (0 bytes): the backup that should have filled it has failed"
    assert refused(given.assess(backup=path), said, path)
    assert given.nothing_was_made()


def test_a_text_that_is_no_dump(given: Given) -> None:
    path = given.file("letter.txt", "Dear colleague,\n\nthe backup is on the other disk.\n" * 9)
    said = "this is text, but no dump: it begins 'Dear colleague,'"
    hint = (
        "a plain dump (pg_dump) or a custom archive (pg_dump -Fc), as it is or packed with gzip or"
        " zstd"
    )
    assert refused(given.assess(current=path), said, path, hint)
    assert given.nothing_was_made()


def test_an_archive_of_a_version_that_nobody_knows_yet(given: Given) -> None:
    content = bytearray((given.shop.folder / "backup.dump").read_bytes())
    content[6] = 99  # PGDMP, major, minor
    path = given.file("newer.dump", bytes(content))
    ended = given.assess(backup=path)
    assert (ended.code, ended.error["where"]) == (2, str(path))
    assert ended.error["message"].startswith("this archive has version 1.99: ")
    assert given.nothing_was_made()


def test_a_dump_that_was_cut_off(given: Given) -> None:
    content = given.shop.backup.read_bytes()
    cut = content.index(b"COPY public.orders") + 200
    path = given.file("cut.sql", content[:cut])
    ended = given.assess(backup=path)
    line = content[:cut].count(b"\n") + 1
    (fault,) = ended.error["message"].splitlines()[1:]
    assert (ended.code, ended.out) == (2, "")
    assert fault.startswith(f"{path}:{line}: table public.orders: after ")
    assert fault.endswith(f"it ends at byte {cut} before the end mark \\.")
    assert given.nothing_was_made()


def test_an_archive_that_was_cut_off(given: Given) -> None:
    content = (given.shop.folder / "backup.dump").read_bytes()
    path = given.file("cut.dump", content[: len(content) - 700])
    ended = given.assess(backup=path)
    assert (ended.code, ended.error["where"]) == (2, str(path))
    assert ended.error["message"].startswith("the archive is cut off or damaged: ")
    assert given.nothing_was_made()


def test_the_current_data_of_another_database(given: Given) -> None:
    text = given.shop.current.read_text("utf-8")
    path = given.file("other.sql", text.replace("orders", "books").replace("payments", "loans"))
    said = (
        "the current data is of another database: it has 2 tables, the backup has 2, and 0 have the"
        " same name"
    )
    hint = "check which file belongs to which customer"
    assert refused(given.assess(current=path), said, path, hint)
    assert given.nothing_was_made()


BAD_STEPS = """\
dbmend: steps/1
covers: partial
colour: red
steps:
  - id: "1"
    at: 2026-03-01T10:00:00
    what: no zone anywhere
  - id: "2"
    at: 2026-03-01T11:00:00Z
    what: [a, list]
    sqll: SELECT 1
  - id: "2"
    at: 2026-03-01T12:00:00Z
    what: twice
    rows: many
    sql: UPDAT x
"""
STEP_FAULTS = (
    "3: the log: unknown field 'colour' (known: dbmend, timezone, describes, covers, steps,"
    " complaints)",
    "6: step 1: '2026-03-01T10:00:00' has no zone (write the zone (+03:00), or 'timezone:' at the"
    " top of the log)",
    "8: step 2: says nothing (give it 'what', or one of sql, edit, import, restore, event)",
    "10: step 2: 'what' must be text, this is a list",
    "11: step 2: unknown field 'sqll' (did you mean 'sql'?)",
    "12: step 2: this id is used already (first in line 8)",
    "15: step 2: 'rows' must be a whole number, this is 'many'",
    '16: step 2: this SQL cannot be parsed: syntax error at or near "UPDAT"',
)


def test_every_fault_of_a_step_log_at_once(given: Given) -> None:
    path = given.file("steps.yaml", BAD_STEPS)
    lines = ["the step log cannot be used: 8 faults", *(f"{path}:{fault}" for fault in STEP_FAULTS)]
    hint = "correct these lines, then again"
    assert refused(given.assess(steps=path), "\n".join(lines), path, hint)
    assert given.nothing_was_made()


def test_all_bad_inputs_at_once(given: Given) -> None:
    content = given.shop.backup.read_bytes()
    cut = given.file("cut.sql", content[:2200])
    steps = given.file("steps.yaml", BAD_STEPS)
    given.case.mkdir()
    (given.case / "letter").write_text("of a person")
    none = given.folder / "none.dump"
    ended = given.assess(backup=cut, current=none, steps=steps)
    told = ended.error["message"].splitlines()
    assert ended.code == 2
    assert told[:4] == [
        "the case cannot be opened:",
        f"{given.case}: the folder holds other things (letter): no case is made there",
        f"{none}: there is no such file",
        f"{steps}: the step log cannot be used: 8 faults",
    ]
    assert told[4:12] == [f"{steps}:{fault}" for fault in STEP_FAULTS]
    assert [line.split(":")[0] for line in told[12:]] == [str(cut)]
    assert [path.name for path in given.case.iterdir()] == ["letter"]


# --- the case folder ------------------------------------------------------------------------------


def test_a_folder_that_is_no_case(given: Given) -> None:
    hint = "dbmend open --backup FILE --current FILE --case DIR makes one"
    assert refused(given.dbmend("status", given.case), "no such case folder", given.case, hint)
    given.case.mkdir()
    (given.case / "letter").write_text("of a person")
    assert refused(given.dbmend("load", given.case), "this folder is no case", given.case, hint)
    said = "the folder holds other things (letter): no case is made there"
    assert refused(given.assess(), said, given.case, "give an empty or a new folder")
    assert [path.name for path in given.case.iterdir()] == ["letter"]


def open_case(given: Given) -> Ended:
    files = ("--backup", given.shop.backup, "--current", given.shop.current)
    return given.dbmend("open", *files, "--steps", given.shop.steps, "--case", given.case)


def test_a_case_that_somebody_works_on(given: Given) -> None:
    assert open_case(given).code == 0
    words = given.dbmend.words_of_assess(given.shop, given.case)
    with given.dbmend.started(*words) as first:
        given.dbmend.wait_for(first, "load ...")
        os.kill(first.pid, signal.SIGSTOP)
        second = given.assess()
        looked = given.dbmend("status", given.case)
        os.kill(first.pid, signal.SIGCONT)
        os.kill(first.pid, signal.SIGINT)
        first.communicate(timeout=60)
    assert (second.code, second.out) == (4, "")
    assert second.error == {
        "message": f"the case is in use by process {first.pid}",
        "where": str(given.case),
        "next": "wait until it has ended; nothing was changed",
    }
    assert looked.code == 0  # looking is always possible
    assert first.returncode == 130


def test_a_case_that_was_made_from_other_evidence(given: Given) -> None:
    assert open_case(given).code == 0
    before = stamps(given.case)
    text = given.shop.current.read_text("utf-8")
    other = given.file("other.sql", text.replace("Иванова-Ким", "Иванова"))
    ended = given.assess(current=other)
    assert (ended.code, ended.error["where"]) == (4, str(given.case))
    said = ended.error["message"]
    assert said.startswith(f"the case was made from other evidence: current {other} differs (SHA-")
    assert {**stamps(given.case), ".lock": before[".lock"]} == before
    assert open_case(given).code == 0


def test_evidence_that_changes_while_the_case_is_open(given: Given) -> None:
    mine = given.file("mine.sql", given.shop.current.read_bytes())
    own = replace(given, shop=given.shop)
    files = ("--backup", own.shop.backup, "--current", mine, "--steps", own.shop.steps)
    assert own.dbmend("open", *files, "--case", own.case).code == 0
    mine.write_bytes(mine.read_bytes() + b"-- later\n")
    ended = own.dbmend("load", own.case, *own.dbmend.scratch)
    assert ended.code == 4
    assert ended.error["message"] == (
        "the current state is not what it was when the case was opened: nothing found so far can be"
        " relied on"
    )


# --- the scratch server ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--pg-bin", "/nonsense"), "no PostgreSQL server program could be run: /nonsense: "),
        (
            ("--dsn", "postgresql://u:geheim@127.0.0.1:1/x"),
            "the server for scratch data cannot be reached: ",
        ),
        (("--dsn", "nonsense geheim"), "Invalid value for '--dsn': no connection string: "),
        (("--dsn", "postgresql://u:geheim@[x/y"), "Invalid value for '--dsn': no connection "),
    ],
)
def test_a_scratch_server_that_cannot_be_had(
    given: Given, words: tuple[str, str], said: str
) -> None:
    files = ("--backup", given.shop.backup, "--current", given.shop.current)
    ended = given.dbmend("assess", *files, "--case", given.case, *words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.error["message"].startswith(said)
    assert "geheim" not in ended.err
    assert given.nothing_was_made()


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A file system of its own, at a path that the server's user can reach."""

    path: Path

    def make(self, size: str) -> bool:
        return self._mount("-o", f"size={size},mode=0711", "-t", "tmpfs", "tmpfs", str(self.path))

    def resize(self, size: str) -> bool:
        return self._mount("-o", f"remount,size={size}", str(self.path))

    def _mount(self, *words: str) -> bool:
        done = subprocess.run(["mount", *words], check=False, stderr=subprocess.DEVNULL)
        return done.returncode == 0


@pytest.fixture
def small_disk() -> Iterator[SmallDisk]:
    path = Path("/var/tmp") / f"dbmend-small-{os.getpid()}-{time.monotonic_ns()}"
    path.mkdir()
    disk = SmallDisk(path)
    if os.geteuid() or not disk.make("60m"):
        path.rmdir()
        pytest.skip("NOT RUN: needs the right to mount a small file system")
    yield disk
    subprocess.run(["umount", "-l", str(path)], check=True)
    path.rmdir()


def test_a_disk_that_gets_full(given: Given, small_disk: SmallDisk) -> None:
    """There is no room to begin, then it runs out in the middle, then there is room."""
    rows = "".join(f"{n}\t{'x' * 600}\n" for n in range(12_000))
    table = "CREATE TABLE public.big (id integer, v text);\n\n"
    block = f"{table}COPY public.big (id, v) FROM stdin;\n{rows}\\.\n\n\n"
    mark = "--\n-- PostgreSQL database dump complete\n"
    backup, current = (
        given.file(f"big_{file.name}", file.read_text("utf-8").replace(mark, block + mark))
        for file in (given.shop.backup, given.shop.current)
    )
    before = stamps(given.folder)
    files = ("--backup", backup, "--current", current, "--steps", given.shop.steps)
    words = ("assess", *files, "--case", given.case)
    there = ("--scratch-place", small_disk.path)

    ended = given.dbmend(*words, *there)
    assert (ended.code, ended.out) == (3, ""), ended.err
    assert ended.error["message"].startswith(f"not enough room on the disk of {small_disk.path}")
    assert ended.error["next"] == "make room, or choose another place for scratch data"

    assert small_disk.resize("90m")
    ended = given.dbmend(*words, *there)
    assert (ended.code, ended.out) == (3, ""), ended.err
    assert ended.error["message"].startswith("the disk of the scratch server is full: ")
    assert ended.error["next"] == "make room, or choose another place"

    assert small_disk.resize("500m")
    ended = given.dbmend(*words, *there)
    assert ended.code == 1, ended.err
    assert given.dbmend("close", given.case).code == 0
    assert not [path for path in small_disk.path.iterdir() if path.is_dir()]
    assert stamps(given.folder) == before


def test_a_case_folder_on_a_disk_that_gets_full(given: Given, small_disk: SmallDisk) -> None:
    assert small_disk.resize("150k")
    own = replace(given, folder=small_disk.path)
    ended = own.assess()
    assert (ended.code, ended.out) == (3, ""), ended.err
    assert ended.error["message"].startswith("the disk is full")
    assert own.dbmend.no_server_is_left()
    assert small_disk.resize("50m")
    assert own.assess().code == 1
    assert own.dbmend("close", own.case).code == 0


# --- swapped --------------------------------------------------------------------------------------


def test_backup_and_current_swapped_in_time(given: Given) -> None:
    """Archives say when they were made. Every output says what that means."""
    old, new = given.shop.folder / "backup.dump", given.shop.folder / "current.dump"
    ended = given.assess(backup=new, current=old)
    (first, *_) = [line for line in ended.out.splitlines() if line.startswith("WARNING: ")]
    assert first.endswith("are they swapped?")
    case = given.case
    for verb in ("status", "plan"):
        assert first in given.dbmend(verb, case).out.splitlines(), verb
    for verb in ("status", "locate"):
        warnings = given.dbmend(verb, case, "--json").document["warnings"]
        assert any("swapped" in str(one) for one in warnings), verb
    for language, word in (("en", "swapped"), ("ru", "перепутаны")):
        page = (case / "report" / f"depth.{language}.html").read_text("utf-8")
        assert word in page, language


def test_backup_and_current_in_their_order_give_no_warning(given: Given) -> None:
    old, new = given.shop.folder / "backup.dump", given.shop.folder / "current.dump"
    ended = given.dbmend("open", "--backup", old, "--current", new, "--case", given.case)
    assert ended.code == 0, ended.err
    assert "WARNING" not in ended.out
