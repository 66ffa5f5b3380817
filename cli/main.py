"""The command line: every verb, and the one place where whatever happens becomes an exit code."""

import errno
import gc
import os
import signal
import sys
import tempfile
import time
import traceback
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from threading import Event, Thread, main_thread
from types import FrameType
from typing import NoReturn

import rich_click as click
from rich.table import Table
from rich.text import Text

from cli import about, output, repair, stages
from cli.exits import MEANINGS
from cli.face import Face
from cli.progress import logger
from recovery.model import EngineError, Exit

COMMANDS = (
    about.demo,
    stages.assess,
    stages.open_,
    stages.load,
    stages.compare,
    stages.replay,
    stages.locate,
    stages.plan,
    stages.rehearse,
    stages.report,
    about.status,
    repair.decide,
    repair.agree,
    repair.script,
    repair.apply,
    repair.undo,
    about.close,
    about.steps,
    about.schema_,
    about.doctor,
    about.completion,
)
_GARBAGE = 50_000  # objects made and not freed before some are looked at
PACKAGES = ("cli", "recovery", "repair_rules", "diffing")


def version() -> str:
    try:
        return version_of("dbmend")
    except PackageNotFoundError:  # run from the sources, not installed
        return "from sources"


class Root(click.RichGroup):
    """Commands in the order of the work; the help ends with the table of exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            known = ", ".join(self.commands)
            raise click.UsageError(f"no such command '{args[0]}'; there are: {known}", ctx)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.RichContext, formatter: click.RichHelpFormatter) -> None:  # type: ignore[override]
        super().format_help(ctx, formatter)
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 1))
        table.add_column(justify="right")
        table.add_column()
        for code, meaning in MEANINGS:
            table.add_row(Text(str(int(code))), Text(meaning))
        formatter.write(Text(" Exit status"), table)


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), prog_name="dbmend", message="%(prog)s %(version)s")
def app() -> None:
    """Finds what human error or disk failure damaged in a database, repairs it with proven
    scripts, and says how deep recovery goes."""


for _command in COMMANDS:
    app.add_command(_command)


def main() -> NoReturn:
    """The program. Never returns: the exit code is one of recovery.model.Exit."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    _listen()
    # Whoever ends us wants the scratch server ended too. In the background, Ctrl-C is ignored.
    for number in _STOPPING:
        if number != signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupted)
    # A short life with little garbage: what was imported stays, the rest is looked at seldom.
    gc.freeze()
    gc.set_threshold(_GARBAGE, 20, 100)
    sys.exit(run(sys.argv[1:]))


_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PAUSE = 0.2  # seconds
_asked_to_stop = Event()


def _listen() -> None:
    """A signal that comes while a query runs ends the program when the query ends: a thread beside
    it breaks the query off."""
    heard, said = os.pipe()
    os.set_blocking(said, False)
    signal.set_wakeup_fd(said, warn_on_full_buffer=False)
    Thread(target=_break_off, args=(heard,), daemon=True, name="signals").start()


def _break_off(heard: int) -> None:
    while numbers := os.read(heard, 64):
        place = _at()
        # Where the program is cleaning up already, nothing is broken off any more.
        while any(number in _STOPPING for number in numbers) and _at() == place:
            _break_off_queries()
            time.sleep(_PAUSE)


def _break_off_queries() -> None:
    # Who has not imported it waits for no query. To import it here, while the program may be ending
    # already, has crashed it.
    break_off = getattr(sys.modules.get("diffing.duck"), "break_off", None)
    if break_off is not None:
        break_off()


def _at() -> tuple[int, int] | None:
    """Where the program itself is: it stays in one place for as long as it waits for a query."""
    frame = sys._current_frames().get(main_thread().ident or 0)
    while frame is not None and frame.f_code is _interrupted.__code__:
        frame = frame.f_back
    return (id(frame), frame.f_lasti) if frame is not None else None


def _interrupted(number: int, frame: FrameType | None) -> None:
    _asked_to_stop.set()
    raise KeyboardInterrupt


def run(arguments: list[str]) -> int:
    """Run one command line; the exit code."""
    face = Face()
    try:
        code = app.main(arguments, prog_name="dbmend", standalone_mode=False, obj=face)
    except EngineError as error:
        return _failed(face, error.code, error.message, where=error.where, hint=error.hint)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "dbmend"
        return _failed(face, Exit.UNUSABLE, error.format_message(), hint=f"{path} --help")
    except (click.Abort, KeyboardInterrupt):
        return _stopped(face)
    except Exception as error:  # the only place: whatever nobody expected
        # A library that is interrupted inside its own code raises an error of its own.
        return _stopped(face) if _asked_to_stop.is_set() else _unexpected(face, error)
    return int(code or 0)


def _stopped(face: Face) -> int:
    hint = "run the same command again: it resumes"
    return _failed(face, Exit.INTERRUPTED, "interrupted", hint=hint)


def _failed(face: Face, code: Exit, message: str, *, where: str = "", hint: str = "") -> int:
    if face.json_log:
        logger().error(message, code=int(code), where=where, hint=hint)
    else:
        output.show_error(message, where=where, hint=hint)
    return int(code)


def _unexpected(face: Face, error: Exception) -> int:
    """Say so without the error's own text, which may hold values of rows; that goes to a file."""
    trouble = _trouble(error)
    if trouble:
        code, message = Exit.COULD_NOT_TELL, trouble
        hint = "put that right and run the same command again: it resumes"
    else:
        code, message = Exit.BUG, f"a bug in dbmend: {type(error).__name__} at {_place(error)}"
        hint = "report it with this file; it may hold values of rows, read it before"
    try:
        handle, name = tempfile.mkstemp(prefix="dbmend-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"dbmend {version()}\n")
            traceback.print_exception(error, file=file)
    except OSError as failed:
        name, hint = "", f"{hint}; the traceback could not be written: {failed.strerror}"
    return _failed(face, code, message, where=name, hint=hint)


def _trouble(error: Exception) -> str:
    """What happened around us, where it is no fault of ours that nobody met it earlier."""
    import duckdb
    import psycopg

    match error:
        case OSError(errno=errno.ENOSPC | errno.EDQUOT) | psycopg.errors.DiskFull():
            return "the disk is full"
        case duckdb.IOException() if "No space left" in str(error):
            return "the disk is full"
        case MemoryError() | duckdb.OutOfMemoryException() | psycopg.errors.OutOfMemory():
            return "there is not enough memory"
        case psycopg.OperationalError():
            return "the connection to a server was lost, or it could not go on"
        case _:
            return ""


def _place(error: Exception) -> str:
    """The last line of our own on the way to the error, as `recovery/load.py:12`."""
    home = Path(__file__).parent.parent
    ours = [
        f"{path.relative_to(home)}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if (path := Path(frame.filename)).is_relative_to(home)
        and path.relative_to(home).parts[0] in PACKAGES
    ]
    return ours[-1] if ours else "an unknown place"


if __name__ == "__main__":
    main()
