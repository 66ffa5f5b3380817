"""The command line from outside: what goes to stdout and stderr, and with which exit code."""

import ast
import errno
import json
import os
import pty
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from cli import main as cli_main
from cli import output
from cli.exits import MEANINGS
from cli.face import Face
from cli.main import app
from recovery.case.documents import KINDS
from recovery.case.result import Grid, Result
from recovery.model import EngineError, Exit

ROOT = Path(__file__).parent.parent
COMMANDS = (
    "demo, assess, open, load, compare, replay, locate, plan, rehearse, report, status, decide, "
    "agree, script, apply, undo, close, steps, schema, doctor, completion"
)


def dbmend(
    *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command line in this process: exit code, stdout, stderr."""
    code = cli_main.run(list(arguments))
    shown = capsys.readouterr()
    return code, shown.out, shown.err


# --- usage --------------------------------------------------------------------------------------


def test_help_ends_with_the_table_of_exit_codes() -> None:
    found = dbmend("--help", environment={"COLUMNS": "400", "TERMINAL_WIDTH": "400"})
    assert found.returncode == 0
    _, _, table = found.stdout.partition("Exit status\n")
    rows = [line.split(maxsplit=1) for line in table.splitlines() if line.strip()]
    assert [(int(code), text.strip()) for code, text in rows] == [
        (int(code), meaning) for code, meaning in MEANINGS
    ]
    assert {code for code, _ in MEANINGS} == set(Exit)


def test_help_has_no_escapes_where_no_terminal_is() -> None:
    assert "\x1b" not in dbmend("--help").stdout


def test_every_command_has_a_help_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert ", ".join(app.commands) == COMMANDS
    for name in app.commands:
        code, out, err = called(capsys, name, "--help")
        assert (code, err) == (0, "")
        assert f"Usage: dbmend {name}" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["review", "case"],
            f"dbmend: no such command 'review'; there are: {COMMANDS}\n  next:  dbmend --help\n",
        ),
        (
            ["assess", "--backup", "a", "--case", "c"],
            "dbmend: Missing option '--current'.\n  next:  dbmend assess --help\n",
        ),
        (
            ["open", "--backup", "a", "--current", "b", "--current", "c", "--case", "d"],
            "dbmend: --current is given 2 times: this version takes one\n"
            "  next:  dbmend open --help\n",
        ),
        (
            ["load", "case", "--quick"],
            "dbmend: No such option '--quick'.\n  next:  dbmend load --help\n",
        ),
        (
            ["decide", "case", "g1", "--by", "x"],
            "dbmend: the last word must be approve or reject, this is 'g1'\n"
            "  next:  dbmend decide --help\n",
        ),
        (
            ["decide", "case", "approve", "--by", "x"],
            "dbmend: name at least one group, or safe, or all\n  next:  dbmend decide --help\n",
        ),
        (
            ["agree", "case", "--by", " "],
            "dbmend: --by needs a name\n  next:  dbmend agree --help\n",
        ),
        (
            ["apply", "case"],
            "dbmend: Missing option '--to'.\n  next:  dbmend apply --help\n",
        ),
    ],
)
def test_usage_errors(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert called(capsys, *arguments) == (2, "", said)


def test_version() -> None:
    found = dbmend("--version")
    assert (found.returncode, found.stderr) == (0, "")
    assert re.fullmatch(r"dbmend \S.*\n", found.stdout)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    code, out, _ = called(capsys, "completion", shell)
    assert code == 0
    assert "_DBMEND_COMPLETE" in out and "dbmend" in out


def test_completion_offers_commands() -> None:
    words = {"COMP_WORDS": "dbmend sch", "COMP_CWORD": "1", "_DBMEND_COMPLETE": "bash_complete"}
    assert dbmend(environment=words).stdout.splitlines() == ["plain,schema"]


@pytest.mark.parametrize("kind", KINDS)
def test_schema_prints_a_document_and_nothing_else(
    capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    code, out, err = called(capsys, "schema", kind)
    assert (code, err) == (0, "")
    assert json.loads(out)["properties"]["dbmend"] == {"const": f"{kind}/1"}


# --- steps check --------------------------------------------------------------------------------


def test_steps_check_of_a_good_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "steps.yaml"
    path.write_text(
        "dbmend: steps/1\ncovers: [b, a.c]\nsteps:\n"
        "- {id: 1, at: 2026-03-02T00:00:00Z, what: x}\n"
        "- {id: 2, at: 2026-03-01T00:00:00Z, sql: select 1}\n"
    )
    warning = "step 2 is listed after step 1 but was done before it"
    assert called(capsys, "steps", "check", str(path)) == (
        0,
        f"WARNING: {path}:5: {warning} (taken in the order of time)\n"
        f"{path}: no faults; 2 steps (1 in words only), 0 complaints, covers: a.c, public.b\n",
        "",
    )
    code, out, err = called(capsys, "steps", "check", str(path), "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "dbmend": "steps-check/1",
        "file": str(path),
        "usable": True,
        "steps": 2,
        "problems": [],
        "warnings": [{"line": 5, "message": warning, "hint": "taken in the order of time"}],
    }


def test_steps_check_of_a_bad_log_shows_every_fault_and_escapes_none_through(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "steps.json"
    path.write_text(
        '{"dbmend": "steps/1", "steps": [{"id": "\\u001b[2J[red]", "what": "x",\n"a": 1}]}'
    )
    assert called(capsys, "steps", "check", str(path)) == (
        2,
        f"{path}:2: step \\x1b[2J[red]: unknown field 'a' (did you mean 'at'?)\n1 fault\n",
        "",
    )


# --- what happens to results and errors ---------------------------------------------------------

RESULT = Result(
    Exit.FINDINGS,
    ("2 tables differ",),
    (Grid("Tables", ("table", "rows"), (("public.orders", "12"), ("[b]x\x07", "3"))),),
    ("backup and current are swapped",),
    {"dbmend": "diff/1", "names": ("Анна",)},
)


def test_a_result_for_a_person_and_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert Face().show(RESULT) == 1
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "WARNING: backup and current are swapped",
        "2 tables differ",
        "",
        "Tables",
        "table           rows",
        "────────────────────",
        "public.orders     12",
        "[b]x\\x07           3",
    ]
    assert Face(as_json=True).show(RESULT) == 1
    assert json.loads(capsys.readouterr().out) == {
        "dbmend": "diff/1",
        "names": ["Анна"],
        "warnings": ["backup and current are swapped"],
    }


def failing(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `schema` meet `error`: the way from an error to an exit code is the same everywhere."""

    def fail(kind: str) -> None:
        raise error

    monkeypatch.setattr("cli.about.schema", fail)


def test_an_engine_error_is_message_place_and_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for code in (Exit.UNUSABLE, Exit.COULD_NOT_TELL, Exit.REFUSED):
        failing(EngineError(code, "no\nway \x1b[1m", where="a.dump:7", hint="go on"), monkeypatch)
        assert called(capsys, "schema", "plan") == (
            int(code),
            "",
            "dbmend: no\nway \\x1b[1m\n  where: a.dump:7\n  next:  go on\n",
        )


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failing(KeyboardInterrupt(), monkeypatch)
    code, out, err = called(capsys, "schema", "plan")
    assert (code, out) == (130, "")
    assert err.strip() == ("dbmend: interrupted\n  next:  run the same command again: it resumes")


def test_a_bug_is_said_without_values_and_its_traceback_is_private(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing(KeyError("card 4111"), monkeypatch)
    code, out, err = called(capsys, "schema", "plan")
    (written,) = tmp_path.iterdir()
    line = next(
        node.lineno
        for node in ast.walk(ast.parse((ROOT / "cli/about.py").read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "schema"
    )
    assert (code, out) == (70, "")
    assert err == (
        f"dbmend: a bug in dbmend: KeyError at cli/about.py:{line}\n"
        f"  where: {written}\n"
        "  next:  report it with this file; it may hold values of rows, read it before\n"
    )
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert "KeyError: 'card 4111'" in written.read_text()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (psycopg.errors.DiskFull("could not extend file"), "the disk is full"),
        (
            psycopg.OperationalError("server closed the connection"),
            "the connection to a server was lost, or it could not go on",
        ),
        (MemoryError(), "there is not enough memory"),
    ],
)
def test_trouble_around_us_is_no_bug(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    error: Exception,
    said: str,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing(error, monkeypatch)
    code, out, err = called(capsys, "schema", "plan")
    (written,) = tmp_path.iterdir()
    assert (code, out) == (3, "")
    assert err == (
        f"dbmend: {said}\n  where: {written}\n"
        "  next:  put that right and run the same command again: it resumes\n"
    )


def test_errors_as_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, "agree", "case", "--by", " ", "--log", "json")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    said = json.loads(line)
    assert said.pop("timestamp")
    assert said == {
        "event": "--by needs a name",
        "level": "error",
        "code": 2,
        "where": "",
        "hint": "dbmend agree --help",
    }


def test_the_reader_of_a_pipe_may_go_first() -> None:
    script = f"{sys.executable} -m cli schema depth | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    found = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (found.stdout, found.stderr) == ("0\n", "")


def test_output_of_any_text_where_the_terminal_knows_only_ascii(tmp_path: Path) -> None:
    path = tmp_path / "журнал.yaml"
    path.write_text("dbmend: steps/1\nsteps:\n- {id: ж, what: x}\n")
    found = dbmend("steps", "check", str(path), environment={"PYTHONIOENCODING": "ascii"})
    assert (found.returncode, found.stderr) == (0, "")
    assert "\\u0436" in found.stdout


PROGRAM = """
import time, sys
from cli.main import app, main
from cli.progress import progress
import rich_click as click
@app.command()
def work():
    with progress(json_log={json_log}) as shown:
        shown.stage("load", total=2)
        shown.advance()
        shown.note("half [red]way\\x07")
        shown.stage("compare")
        print("ready", flush=True)
        {then}
    return 0
sys.argv = ["dbmend", "work"]
main()
"""


def test_progress_in_a_pipe_and_as_json() -> None:
    plain = python(PROGRAM.format(json_log=False, then="pass"))
    assert plain.stderr == "load ...\n  half [red]way\\x07\ncompare ...\n"
    lines = python(PROGRAM.format(json_log=True, then="pass")).stderr.splitlines()
    events = [
        {
            key: value
            for key, value in json.loads(line).items()
            if key not in ("timestamp", "seconds")
        }
        for line in lines
    ]
    assert events == [
        {"level": "info", "event": "stage began", "stage": "load", "total": 2},
        {"level": "info", "event": "note", "stage": "load", "text": "half [red]way\x07"},
        {"level": "info", "event": "stage over", "stage": "load", "done": 1},
        {"level": "info", "event": "stage began", "stage": "compare", "total": 0},
        {"level": "info", "event": "stage over", "stage": "compare", "done": 0},
    ]


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize("colour", [True, False])
def test_progress_on_a_terminal(colour: bool) -> None:
    ours, theirs = pty.openpty()
    quiet = {} if colour else {"NO_COLOR": "1"}
    environment = {**os.environ, "TERM": "xterm-256color", **quiet}
    environment.pop("CI", None)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(json_log=False, then="pass")],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    out, _ = process.communicate()
    os.close(ours)
    assert (process.returncode, out) == (0, b"ready\n")
    text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", shown).decode()
    assert "half [red]way\\x07" in text
    assert re.search(r"load  \d+\.\d s", text) and re.search(r"compare  \d+\.\d s", text)
    assert bool(re.search(rb"\x1b\[(2;)?3[0-9]", shown)) is colour


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 4096)
    except OSError:  # the other side of the terminal is closed
        return b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_an_interruption(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(json_log=False, then="time.sleep(30)")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    began = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == 130
    assert err.endswith("dbmend: interrupted\n  next:  run the same command again: it resumes\n")
    assert time.monotonic() - began < 10


def test_the_listener_for_signals_imports_nothing() -> None:
    """It may be at work while the program ends, when an import crashes."""
    program = "import sys, cli.main as m; m._break_off_queries(); print('duckdb' in sys.modules)"
    assert python(program).stdout == "False\n"


def test_printable_keeps_letters_and_shows_controls() -> None:
    assert output.printable("Анна\n\t\x1b\x9b\u202e\ud800é") == (
        "Анна\n\\x09\\x1b\\x9b\\u202e\\ud800é"
    )
