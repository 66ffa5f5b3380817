"""The case folder: what is in it, who may write, what a killed run leaves, what never changes."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path

import jsonschema
import pytest

from diffing.model import Ledger, SchemaDivergence, Sides, Status, TableDiff
from recovery.case import decisions, serial
from recovery.case import evidence as evidence_module
from recovery.case.documents import KINDS, schema
from recovery.case.folder import CaseFolder
from recovery.case.journal import START, append, verify
from recovery.case.result import Json
from recovery.model import (
    Alternative,
    Assessment,
    Check,
    Decision,
    EngineError,
    Evidence,
    Exit,
    Fault,
    FaultClass,
    Grade,
    Group,
    HazardNote,
    Label,
    OperationHead,
    Plan,
    PlanRefusal,
    Question,
    Rehearsal,
    Role,
    Script,
    TableDepth,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROOT = Path(__file__).parent.parent


def noon() -> datetime:
    return NOON


@pytest.fixture
def evidence(tmp_path: Path) -> tuple[Evidence, ...]:
    roles: tuple[tuple[Role, str], ...] = (("backup", "rows"), ("current", "rows then"))
    made = []
    for role, content in roles:
        path = tmp_path / f"{role}.dump"
        path.write_text(content)
        path.chmod(0o444)
        made.append(Evidence(role, path, 0, ""))
    return tuple(made)


def prepare(path: Path, evidence: tuple[Evidence, ...]) -> CaseFolder:
    return CaseFolder.prepare(path, evidence, noon, version="1.0")


def refusal(call: Callable[[], object]) -> tuple[Exit, str]:
    with pytest.raises(EngineError) as caught:
        call()
    return caught.value.code, caught.value.message


def modes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): f"{path.stat().st_mode & 0o777:o}"
        for path in (folder, *folder.rglob("*"))
    }


# --- making, resuming, locking ------------------------------------------------------------------


def test_a_new_case_is_private_and_knows_its_evidence(
    tmp_path: Path, evidence: tuple[Evidence, ...]
) -> None:
    with prepare(tmp_path / "case", evidence) as case:
        case.write_document("diff.json", "diff", {"tables": []})
        with case.writing("report/depth.ru.html") as path:
            path.write_text("x")
        (case.path / "case.duckdb").write_text("made by another library")
        name = case.id
    assert modes(tmp_path / "case") == {
        ".": "700",
        ".lock": "600",
        "case.toml": "600",
        "case.duckdb": "600",
        "diff.json": "600",
        "evidence": "700",
        "evidence/manifest.json": "600",
        "journal.jsonl": "600",
        "report": "700",
        "report/depth.ru.html": "600",
    }
    with CaseFolder.open(tmp_path / "case", noon) as case:
        assert case.id == name
        assert case.settings["sources"] == {
            "backup": str(tmp_path / "backup.dump"),
            "current": str(tmp_path / "current.dump"),
        }
        assert [(e.evidence.role, e.evidence.size, e.evidence.sha256) for e in case.evidence()] == [
            ("backup", 4, sha256(b"rows").hexdigest()),
            ("current", 9, sha256(b"rows then").hexdigest()),
        ]
        manifest = json.loads(case.read("evidence/manifest.json"))
        jsonschema.Draft202012Validator(schema("manifest")).validate(manifest)


def test_options_and_odd_names_survive_the_settings_file(tmp_path: Path) -> None:
    odd = tmp_path / 'ба"к\\ап\n\x7f.dump'
    odd.write_text("x")
    options = {"on moved": 'skip "all"', "place": "/ä"}
    found = Evidence("backup", odd, 0, "")
    with CaseFolder.prepare(tmp_path / "c", (found,), noon, version="1", options=options) as case:
        assert case.settings["sources"] == {"backup": str(odd)}
        assert case.settings["options"] == options


def test_only_one_process_writes_and_anyone_may_look(
    tmp_path: Path, evidence: tuple[Evidence, ...]
) -> None:
    place = tmp_path / "case"
    with prepare(place, evidence):
        for call in (
            lambda: CaseFolder.open(place, noon),
            lambda: prepare(place, evidence),
        ):
            assert refusal(call) == (Exit.REFUSED, f"the case is in use by process {os.getpid()}")
        assert CaseFolder.look(place, noon).journal().intact
    CaseFolder.open(place, noon).release()


def test_a_lock_ends_with_its_process_however_it_ends(
    tmp_path: Path, evidence: tuple[Evidence, ...]
) -> None:
    place = tmp_path / "case"
    prepare(place, evidence).release()
    child = killed(f"case = CaseFolder.open(Path({str(place)!r}), noon)")
    assert child == -signal.SIGKILL
    CaseFolder.open(place, noon).release()


def test_bad_places_and_inputs_leave_nothing(
    tmp_path: Path, evidence: tuple[Evidence, ...]
) -> None:
    absent = Evidence("backup", tmp_path / "no.dump", 0, "")
    folder = Evidence("current", tmp_path, 0, "")
    place = tmp_path / "case"
    assert refusal(lambda: prepare(place, (absent,))) == (
        Exit.UNUSABLE,
        "the backup cannot be read: no such file",
    )
    assert refusal(lambda: prepare(place, (folder,))) == (
        Exit.UNUSABLE,
        "the current state is no file",
    )
    assert not place.exists()
    assert refusal(lambda: CaseFolder.open(place, noon)) == (
        Exit.UNUSABLE,
        "no such case folder",
    )
    other = tmp_path / "other"
    other.mkdir()
    (other / "letters.txt").write_text("mine")
    assert refusal(lambda: prepare(other, evidence)) == (
        Exit.UNUSABLE,
        "the folder holds other things (letters.txt): no case is made there",
    )
    assert refusal(lambda: CaseFolder.open(other, noon)) == (
        Exit.UNUSABLE,
        "this folder is no case",
    )
    assert [path.name for path in other.iterdir()] == ["letters.txt"]
    assert refusal(lambda: prepare(tmp_path / "a" / "b", evidence)) == (
        Exit.UNUSABLE,
        "the case folder cannot be made: No such file or directory",
    )


def test_other_evidence_is_refused_by_name_and_moved_evidence_is_not(
    tmp_path: Path, evidence: tuple[Evidence, ...]
) -> None:
    place = tmp_path / "case"
    prepare(place, evidence).release()
    backup, current = evidence
    moved = Evidence("backup", backup.path.rename(tmp_path / "moved.dump"), 0, "")
    with prepare(place, (moved, current)) as case:
        assert case.evidence()[0].evidence.path == moved.path
        assert [entry.what for entry in case.journal().entries] == [
            "opened the case",
            "inputs were moved",
        ]
    log = tmp_path / "steps.yaml"
    log.write_text("x")
    other = tmp_path / "other.dump"
    other.write_text("others")
    given = (moved, Evidence("current", other, 0, ""), Evidence("steps", log, 0, ""))
    code, message = refusal(lambda: prepare(place, given))
    assert code is Exit.REFUSED
    new, old = (sha256(content).hexdigest()[:12] for content in (b"others", b"rows then"))
    assert message == (
        f"the case was made from other evidence: current {other} differs "
        f"(SHA-256 {new}…, was {old}…); steps {log} is new"
    )
    with CaseFolder.open(place, noon) as case:  # the refused call holds no lock
        assert len(case.evidence()) == 2


def test_evidence_that_changes_is_noticed_even_with_its_times_set_back(
    tmp_path: Path, evidence: tuple[Evidence, ...]
) -> None:
    path = evidence[0].path
    with prepare(tmp_path / "case", evidence) as case:
        case.verify_evidence()
        case.verify_evidence(whole=True)
        os.utime(path, (1, 1))  # touched, not changed
        case.verify_evidence()
        before = path.stat()
        path.chmod(0o644)
        path.write_text("ROWS")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert refusal(case.verify_evidence) == (
            Exit.REFUSED,
            "the backup is not what it was when the case was opened: "
            "nothing found so far can be relied on",
        )
        path.unlink()
        assert refusal(case.verify_evidence) == (
            Exit.REFUSED,
            "the backup is no longer there: nothing found so far can be relied on",
        )


# --- whole or not at all ------------------------------------------------------------------------


def killed(code: str) -> int:
    """Run `code` in a process of its own that is killed with -9 when it is through."""
    program = (
        "import os, signal\n"
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from recovery.case.folder import CaseFolder\n"
        "from recovery.case import folder, files\n"
        "from recovery.model import Evidence\n"
        "def noon(): return datetime(2026, 3, 1, 12, tzinfo=UTC)\n"
        "def die(*args, **kwargs): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{code}\ndie()\n"
    )
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode


def test_a_document_is_whole_whenever_its_writer_is_killed(
    tmp_path: Path, evidence: tuple[Evidence, ...]
) -> None:
    place = tmp_path / "case"
    with prepare(place, evidence) as case:
        case.write_document("diff.json", "diff", {"n": 1})
    code = (
        f"case = CaseFolder.open(Path({str(place)!r}), noon)\n"
        "(case.work / 'spill').write_text('x')\n"
        "files._sync = die\n"
        "case.write_document('diff.json', 'diff', {'n': 2})"
    )
    assert killed(code) == -signal.SIGKILL
    assert [path.name for path in place.glob(".*.part")] != []
    with CaseFolder.open(place, noon) as case:
        assert case.read_document("diff.json", "diff").whole("n") == 1
        assert sorted(modes(place)) == [
            ".",
            ".lock",
            "case.toml",
            "diff.json",
            "evidence",
            "evidence/manifest.json",
            "journal.jsonl",
        ]


def test_a_case_that_was_killed_while_it_was_made_is_made_again(
    tmp_path: Path, evidence: tuple[Evidence, ...]
) -> None:
    place = tmp_path / "case"
    inputs = [(one.role, str(one.path)) for one in evidence]
    code = (
        "folder.write_toml = die\n"
        f"inputs = [Evidence(role, Path(path), 0, '') for role, path in {inputs!r}]\n"
        f"CaseFolder.prepare(Path({str(place)!r}), inputs, noon, version='1')"
    )
    assert killed(code) == -signal.SIGKILL
    assert (place / "journal.jsonl").exists() and not (place / "case.toml").exists()
    with prepare(place, evidence) as case:
        assert [entry.what for entry in case.journal().entries] == ["opened the case"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, evidence: tuple[Evidence, ...]) -> None:
    with prepare(tmp_path / "case", evidence) as case:
        case.write("repair.sql", b"old")
        with pytest.raises(ValueError), case.writing("repair.sql") as path:
            path.write_text("half")
            raise ValueError
        assert case.read("repair.sql") == b"old"
        assert list(case.path.glob(".*.part")) == []


def test_a_full_disk_is_said_so(
    tmp_path: Path, evidence: tuple[Evidence, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with prepare(tmp_path / "case", evidence) as case:
        case.write("repair.sql", b"old")

        def full(*args: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        assert refusal(lambda: case.write("repair.sql", b"new")) == (
            Exit.COULD_NOT_TELL,
            "the disk is full",
        )
        assert refusal(lambda: case.record("x", "y")) == (Exit.COULD_NOT_TELL, "the disk is full")
        monkeypatch.undo()
        assert case.read("repair.sql") == b"old"


def test_documents_that_were_tampered_with_are_named(
    tmp_path: Path, evidence: tuple[Evidence, ...]
) -> None:
    with prepare(tmp_path / "case", evidence) as case:
        assert refusal(lambda: case.read_document("plan.json", "plan")) == (
            Exit.UNUSABLE,
            "plan.json cannot be read: No such file or directory",
        )
        case.write("plan.json", b"{")
        assert refusal(lambda: case.read_document("plan.json", "plan"))[1] == (
            "this document of the case is damaged: it is no JSON"
        )
        case.write_document("plan.json", "diff", {})
        assert refusal(lambda: case.read_document("plan.json", "plan"))[1] == (
            "this document of the case is damaged: 'plan/1' is expected, this is 'diff/1'"
        )
        case.write_document("plan.json", "plan", {"digest": "d", "groups": [{"id": 7}]})
        with pytest.raises(EngineError) as caught:
            serial.read_plan(case.read_document("plan.json", "plan"))
        assert caught.value.message == "this document of the case is damaged: 'refusals' is missing"


# --- journal ------------------------------------------------------------------------------------


def test_every_change_of_the_journal_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for number in range(4):
        head = append(path, at=NOON, who="Иванова", what=f"step {number}")
    lines = path.read_bytes().splitlines(keepends=True)
    assert verify(path).head == head
    assert [entry.number for entry in verify(path).entries] == [1, 2, 3, 4]
    assert json.loads(lines[0])["before"] == START
    changed = lines[1].replace(b"step 1", b"step 9")
    cases = {
        (2, "was changed: it does not have the hash it holds"): [lines[0], changed, *lines[2:]],
        (2, "does not follow the line before it"): [lines[0], *lines[2:]],
        (3, "does not follow the line before it"): [*lines[:2], lines[3], lines[2]],
        (4, "was changed: it does not have the hash it holds"): [
            *lines[:3],
            lines[3].replace(b"step 3", b"step 4"),
        ],
        (1, "is no JSON"): [b"\xff\n", *lines[1:]],
        (3, "is no line of a journal"): [*lines[:2], b"[]\n", *lines[2:]],
    }
    for (line, why), content in cases.items():
        path.write_bytes(b"".join(content))
        found = verify(path)
        assert (found.broken, found.why, found.intact) == (line, why, False)
        append(path, at=NOON, who="x", what="goes on")  # a broken chain is never healed
        assert (verify(path).broken, verify(path).why) == (line, why)


def test_a_line_that_a_killed_run_did_not_finish_is_cut_and_said_so(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    append(path, at=NOON, who="x", what="one")
    whole = path.read_bytes()
    append(path, at=NOON, who="x", what="two")
    path.write_bytes(path.read_bytes()[: len(whole) + 20])
    assert (verify(path).intact, verify(path).torn) == (True, 20)
    append(path, at=NOON, who="x", what="three")
    found = verify(path)
    assert (found.intact, found.torn) == (True, 0)
    assert [(entry.what, dict(entry.detail)) for entry in found.entries] == [
        ("one", {}),
        ("cut an unfinished line", {"bytes": 20}),
        ("three", {}),
    ]


def test_no_journal_yet_is_an_empty_one(tmp_path: Path) -> None:
    assert verify(tmp_path / "journal.jsonl").entries == ()


# --- stages -------------------------------------------------------------------------------------


def test_a_stage_is_done_only_on_the_same_inputs_and_untouched_outputs(
    tmp_path: Path, evidence: tuple[Evidence, ...]
) -> None:
    seconds = count()

    def clock() -> datetime:
        return NOON + timedelta(seconds=next(seconds))

    with CaseFolder.prepare(tmp_path / "case", evidence, clock, version="1") as case:
        assert refusal(lambda: case.begin("load")) == (
            Exit.UNUSABLE,
            "'open' has not been done yet",
        )
        case.begin("open")
        assert not case.is_done("open")
        case.finish("open")
        case.begin("load")
        case.finish("load", options={"jobs": "2"})
        case.begin("compare")
        case.write("diff.json", b"1")
        case.finish("compare", ("diff.json",))
        stages = ("open", "load", "compare")
        assert [case.is_done(one) for one in stages] == [True, False, True]
        assert case.is_done("load", {"jobs": "2"}) and not case.is_done("load", {"jobs": "3"})
        case.write("diff.json", b"2")
        assert not case.is_done("compare")
        case.write("diff.json", b"1")
        assert case.is_done("compare")
        # Done again with the same result: what stands on it has to be done again all the same.
        case.begin("load")
        assert [one.stage for one in case.finished()] == ["open"]
        case.finish("load", options={"jobs": "2"})
        assert not case.is_done("compare")


def test_a_killed_stage_counts_as_not_done(tmp_path: Path, evidence: tuple[Evidence, ...]) -> None:
    place = tmp_path / "case"
    with prepare(place, evidence) as case:
        case.begin("open")
        case.finish("open")
        case.begin("load")
        case.finish("load")
    code = f"case = CaseFolder.open(Path({str(place)!r}), noon)\ncase.begin('load')"
    assert killed(code) == -signal.SIGKILL
    with CaseFolder.open(place, noon) as case:
        assert (case.is_done("open"), case.is_done("load")) == (True, False)
        assert case.journal().intact


def test_the_last_stage_reads_every_byte_of_the_evidence(
    tmp_path: Path, evidence: tuple[Evidence, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with prepare(tmp_path / "case", evidence) as case:
        for stage in ("open", "load", "compare", "replay", "locate", "plan", "rehearse"):
            case.begin(stage)
            case.finish(stage)
        read: list[Path] = []

        def other(path: Path) -> str:
            read.append(path)
            return "other"

        monkeypatch.setattr(evidence_module, "sha256", other)
        case.begin("report")
        assert refusal(lambda: case.finish("report"))[0] is Exit.REFUSED
        assert read == [evidence[0].path]
        assert not case.is_done("report")


# --- closing ------------------------------------------------------------------------------------


def test_closing_wipes_rows_and_keeps_what_proves_the_work(
    tmp_path: Path, evidence: tuple[Evidence, ...]
) -> None:
    place = tmp_path / "case"
    with prepare(place, evidence) as case:
        for name in ("case.duckdb", "diff.parquet", "repair.sql", "report/depth.ru.html"):
            case.write(name, b"secret rows")
        case.write_document("diff.json", "diff", {})
        (place / "notes.txt").write_text("of a person")
        wiped = case.close("Иванова")
    assert wiped.removed == ("case.duckdb", "diff.parquet", "repair.sql", "report/depth.ru.html")
    assert wiped.left == ("notes.txt",)
    assert sorted(path.name for path in place.iterdir()) == [
        ".lock",
        "case.toml",
        "closed.json",
        "diff.json",
        "evidence",
        "journal.jsonl",
        "notes.txt",
    ]
    for path in place.rglob("*"):
        assert path.is_dir() or b"secret" not in path.read_bytes()
    assert json.loads((place / "closed.json").read_bytes())["wiped"][0] == {
        "path": "case.duckdb",
        "size": 11,
        "sha256": sha256(b"secret rows").hexdigest(),
    }
    assert refusal(lambda: CaseFolder.open(place, noon)) == (
        Exit.REFUSED,
        "the case was closed: its rows are wiped",
    )
    with CaseFolder.open(place, noon, closed=True) as case:
        assert case.close("Иванова").removed == ()
        assert case.journal().entries[-1].what == (
            "closed the case: rows are wiped, hashes are kept"
        )
        assert [entry.what for entry in case.journal().entries].count("opened the case") == 1


# --- values and their documents -----------------------------------------------------------------

ASSESSMENT = Assessment(
    verdict="damaged",
    faults=(
        Fault(
            "f1",
            "7",
            FaultClass.MISSING_WHERE,
            (("column", "price"), ("factor", "1.10")),
            0.1 + 0.2,
            ("Все строки", "120 of 120"),
            "UPDATE product SET price = price * 1.10",
            "user",
            True,
            ((Label.DIRECT, 3), (Label.LOST_WORK, 2**60)),
        ),
        Fault("f2", "8", FaultClass.AS_DESCRIBED, (), 1e-9, (), "", accepted=False),
    ),
    tables=(
        TableDepth(
            "public.orders",
            ((Grade.PROVEN, 3), (Grade.LOST, 1)),
            ((Grade.PROVEN, 2),),
            ((Label.DIRECT, 4),),
            5,
            6,
            NOON,
        ),
        TableDepth('"a.b".c', (), (), (), 0, 1, None),
    ),
    questions=(Question("q1", "Which?", (Alternative("A", "then a", 1),), 2),),
    none_of_these=0.05,
    assumptions=("a",),
    coverage=("b",),
    does_not_prove=("c", "d"),
    warnings=("swapped",),
)
PLAN = Plan(
    (
        Group(
            "g1",
            "f1",
            "mass-update",
            Grade.PROVEN,
            OperationHead("set-cells", "public.orders", ("total",), 2, 2, "ab", ("touch",)),
            (HazardNote("FIRES_TRIGGER", "audit"), HazardNote("STALE_VALUES", "")),
            "because",
        ),
        Group(
            "g2",
            "f1",
            "missing-rows",
            Grade.STALE,
            OperationHead("insert-rows", "public.lines", ("a", "b"), 1, 2, "cd"),
            (),
            "",
            ("g1",),
        ),
    ),
    (PlanRefusal("f1", "public.x", "rows were edited", 9),),
    "digest",
)
REHEARSAL = Rehearsal(
    "body", True, (Check("targets", True, "all", (("cells", 3),)), Check("undo", False, ""))
)
LEDGER = Ledger(
    (
        TableDiff(
            "public.orders",
            ("a", "b"),
            Status.DIFFERENT,
            "",
            Sides(3, 4),
            1,
            1,
            1,
            2,
            Sides(0, 0),
            Sides(0, 0),
            (("total", 1),),
            1,
            Sides(0, 1),
            "all",
        ),
        TableDiff("public.x", (), Status.NOT_COMPARED, "no rows"),
    ),
    (SchemaDivergence("view", "public.v", "select 1", ""),),
)


@pytest.mark.parametrize(
    ("kind", "value", "write", "read"),
    [
        ("assessment", ASSESSMENT, serial.assessment_json, serial.read_assessment),
        ("plan", PLAN, serial.plan_json, serial.read_plan),
        ("rehearsal", REHEARSAL, serial.rehearsal_json, serial.read_rehearsal),
        ("diff", LEDGER, serial.ledger_json, serial.read_ledger),
        ("script", Script("body\n", "-- кто\n", "d"), serial.script_json, serial.read_script),
    ],
)
def test_values_come_back_from_their_documents_exactly(
    tmp_path: Path,
    evidence: tuple[Evidence, ...],
    kind: str,
    value: object,
    write: Callable[[object], dict[str, Json]],
    read: Callable[[object], object],
) -> None:
    with prepare(tmp_path / "case", evidence) as case:
        case.write_document("document.json", kind, write(value))
        assert read(case.read_document("document.json", kind)) == value
        if kind in KINDS:
            document = json.loads(case.read("document.json"))
            jsonschema.Draft202012Validator(schema(kind)).validate(document)


def test_every_kind_has_a_schema_and_others_are_refused() -> None:
    for kind in KINDS:
        jsonschema.Draft202012Validator.check_schema(schema(kind))
        properties = schema(kind)["properties"]
        assert isinstance(properties, dict)
        assert properties["dbmend"] == {"const": f"{kind}/1"}
    assert refusal(lambda: schema("recipe")) == (
        Exit.UNUSABLE,
        "no document is called 'recipe'",
    )


# --- decisions ----------------------------------------------------------------------------------


def decision(group: str, *, approved: bool, plan: str = "digest") -> Decision:
    return Decision(group, approved, "Иванова", NOON, "note", ("STALE_VALUES",), plan)


def test_decisions_count_for_their_plan_and_the_latest_word_counts(
    tmp_path: Path, evidence: tuple[Evidence, ...]
) -> None:
    with prepare(tmp_path / "case", evidence) as case:
        assert decisions.read_review(case) == decisions.Review()
        decisions.decide(case, (decision("g1", approved=True), decision("g2", approved=True)))
        decisions.decide(case, (decision("g2", approved=False),))
        decisions.decide(case, (decision("g2", approved=True, plan="another"),))
        review = decisions.agree(case, decisions.Agreement("Петров", NOON, "report-1"))
        assert decisions.read_review(case) == review
        assert len(review.decisions) == 4
        assert [group.id for group in review.approved(PLAN)] == ["g1"]
        assert review.agreed("report-1") == decisions.Agreement("Петров", NOON, "report-1")
        assert review.agreed("report-2") is None
        assert [(entry.who, entry.what) for entry in case.journal().entries][1:] == [
            ("Иванова", "approved group g1"),
            ("Иванова", "approved group g2"),
            ("Иванова", "rejected group g2"),
            ("Иванова", "approved group g2"),
            ("Петров", "agreed to the report"),
        ]
        document = json.loads(case.read("review.json"))
        jsonschema.Draft202012Validator(schema("review")).validate(document)


def test_groups_are_meant_by_id_by_grade_or_all() -> None:
    assert [group.id for group in decisions.select(PLAN, ("safe",))] == ["g1"]
    assert [group.id for group in decisions.select(PLAN, ("g2", "safe"))] == ["g1", "g2"]
    assert [group.id for group in decisions.select(PLAN, ("all",))] == ["g1", "g2"]
    assert refusal(lambda: decisions.select(PLAN, ("g1", "g9", "x"))) == (
        Exit.UNUSABLE,
        "no such group in this plan: g9, x",
    )


def test_every_hazard_needs_consent_by_its_name() -> None:
    assert decisions.unconsented(PLAN.groups[0], ()) == ("FIRES_TRIGGER", "STALE_VALUES")
    assert decisions.unconsented(PLAN.groups[0], ("STALE_VALUES",)) == ("FIRES_TRIGGER",)
    assert decisions.unconsented(PLAN.groups[0], ("all",)) == ()
    assert decisions.unconsented(PLAN.groups[1], ()) == ()
