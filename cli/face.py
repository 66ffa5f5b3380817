"""What a person chose for the way in and out of every command, and how a verb is called with it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import rich_click as click

from cli import output
from cli.progress import progress
from recovery.case.result import Result
from recovery.case.world import World
from recovery.model import Progress

Command = TypeVar("Command", bound=Callable[..., int])


@dataclass(slots=True)
class Face:
    """Filled by the options of the command that runs."""

    as_json: bool = False
    json_log: bool = False
    scratch_place: Path | None = None
    pg_bin: Path | None = None
    dsn: str | None = None

    def progress(self) -> AbstractContextManager[Progress]:
        return progress(json_log=self.json_log)

    def world(self, shown: Progress) -> World:
        return World(shown, _now, self.scratch_place, self.pg_bin, self.dsn)

    def show(self, result: Result) -> int:
        """Print the result; the exit code of the process."""
        if self.as_json:
            output.show_json(result)
        else:
            output.show(result)
        return int(result.exit)


def _now() -> datetime:
    return datetime.now(UTC)


def current() -> Face:
    """The choices for the command that runs now."""
    context = click.get_current_context()
    assert context is not None, "options are read inside a command"
    return context.ensure_object(Face)


def run(verb: Callable[[World], Result]) -> int:
    """Call a verb of the engine with the world as chosen, show what came out of it."""
    face = current()
    with face.progress() as shown:
        result = verb(face.world(shown))
    return face.show(result)


def in_and_out(command: Command) -> Command:
    """The options that every verb has."""
    command = click.option(
        "--log",
        type=click.Choice(["json"]),
        expose_value=False,
        callback=_set_log,
        help="Progress and errors as JSON lines on stderr.",
    )(command)
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_set_json,
        help="The result as one JSON document on stdout.",
    )(command)


def scratch(command: Command) -> Command:
    """Where the scratch server comes from."""
    command = click.option(
        "--dsn",
        metavar="DSN",
        expose_value=False,
        callback=_set_dsn,
        help="A server to use as scratch (passwords: PGPASSWORD or ~/.pgpass). "
        "[default: one of the case's own]",
    )(command)
    command = click.option(
        "--pg-bin",
        metavar="DIR",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=_set_pg_bin,
        help="The folder with postgres and initdb. [default: the bundled ones]",
    )(command)
    return click.option(
        "--scratch-place",
        metavar="DIR",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=_set_place,
        help="Where scratch databases are kept; about four times the size of the dumps. The same "
        "for every command of a case. [default: below /var/tmp]",
    )(command)


def _set_json(context: click.Context, option: click.Parameter, value: bool) -> None:
    context.ensure_object(Face).as_json = value


def _set_log(context: click.Context, option: click.Parameter, value: str | None) -> None:
    context.ensure_object(Face).json_log = value == "json"


def _set_place(context: click.Context, option: click.Parameter, value: Path | None) -> None:
    context.ensure_object(Face).scratch_place = value


def _set_pg_bin(context: click.Context, option: click.Parameter, value: Path | None) -> None:
    context.ensure_object(Face).pg_bin = value


def _set_dsn(context: click.Context, option: click.Parameter, value: str | None) -> None:
    context.ensure_object(Face).dsn = value if value is None else address(context, option, value)


def address(context: click.Context, option: click.Parameter, value: str) -> str:
    """A connection string that can be read. The driver's own words would quote it, password and
    all."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(value)
    except ProgrammingError:
        raise click.BadParameter(
            "no connection string: give postgresql://user@host/database, or host=… user=… dbname=…",
            ctx=context,
        ) from None
    return value
