"""What a person chose for the way in and out of every command, and how a verb is called with it."""

import re
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
    budget_seconds: float | None = None

    def progress(self) -> AbstractContextManager[Progress]:
        return progress(json_log=self.json_log)

    def world(self, shown: Progress) -> World:
        return World(shown, _now, self.scratch_place, self.pg_bin, self.dsn, self.budget_seconds)

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


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in its stubs alone
    """Seconds, from '90', '90s', '10m' or '2h'."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(value).strip().lower())
        if not found or not float(found[1]):
            self.fail(f"{value!r} is no time: give seconds, or 90s, 10m, 2h", param, ctx)
        return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def budget(command: Command) -> Command:
    """How long faults may be searched for."""
    return click.option(
        "--budget",
        type=Duration(),
        metavar="TIME",
        expose_value=False,
        callback=_set_budget,
        help="The longest time to search for faults: 90s, 10m, 2h. What was not tried by then "
        "limits what is claimed (exit 3). [default: until everything was tried]",
    )(command)


def _set_budget(context: click.Context, option: click.Parameter, value: float | None) -> None:
    context.ensure_object(Face).budget_seconds = value


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
