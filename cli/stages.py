"""The way from evidence to the report: whole (`assess`), or stage by stage."""

from collections.abc import Callable
from pathlib import Path

import rich_click as click

from cli.face import Command, budget, in_and_out, run, scratch
from recovery.case.result import Result
from recovery.case.world import Inputs, World

CASE = click.Path(path_type=Path)


def evidence(command: Command) -> Command:
    """The options that name the inputs of a case."""
    command = click.option(
        "--case",
        required=True,
        type=CASE,
        metavar="DIR",
        help="The case folder: new, or to be resumed.",
    )(command)
    command = click.option(
        "--steps",
        type=CASE,
        multiple=True,
        metavar="FILE",
        help="The step log: what was done since the backup.",
    )(command)
    command = click.option(
        "--current",
        required=True,
        type=CASE,
        multiple=True,
        metavar="FILE",
        help="A dump of the damaged database as it is now.",
    )(command)
    return click.option(
        "--backup",
        required=True,
        type=CASE,
        multiple=True,
        metavar="FILE",
        help="A dump from before the damage: the one the step log starts from. Again for more"
        " backups of the same database.",
    )(command)


def _inputs(backup: tuple[Path, ...], current: tuple[Path, ...], steps: tuple[Path, ...]) -> Inputs:
    """One file each, but backups: the last of two must not win silently."""
    given = (("--current", current), ("--steps", steps))
    for name, paths in given:
        if len(paths) > 1:
            raise click.UsageError(f"{name} is given {len(paths)} times: this version takes one")
    return Inputs(backup[0], current[0], steps[0] if steps else None, backup[1:])


@click.command()
@evidence
@budget
@scratch
@in_and_out
def assess(
    backup: tuple[Path, ...], current: tuple[Path, ...], steps: tuple[Path, ...], case: Path
) -> int:
    """The whole way: open, load, compare, replay, locate, plan, rehearse, report.

    Running it again resumes where it stopped. Nothing is written to the evidence.
    Exit 0: clean; 1: damage was found; 3: something could not be told.
    """
    inputs = _inputs(backup, current, steps)
    from recovery import engine

    return run(lambda world: engine.assess(case, inputs=inputs, world=world))


@click.command("open")
@evidence
@scratch
@in_and_out
def open_(
    backup: tuple[Path, ...], current: tuple[Path, ...], steps: tuple[Path, ...], case: Path
) -> int:
    """Make a case folder: hash the evidence, check every input."""
    inputs = _inputs(backup, current, steps)
    from recovery import engine

    return run(lambda world: engine.open_case(case, inputs=inputs, world=world))


@click.command()
@click.argument("case", type=CASE)
@scratch
@in_and_out
def load(case: Path) -> int:
    """Load backup and current state into scratch databases."""
    from recovery import engine

    return _stage(engine.load, case)


@click.command()
@click.argument("case", type=CASE)
@scratch
@in_and_out
def compare(case: Path) -> int:
    """Compare the two states row by row: diff.json, diff.parquet."""
    from recovery import engine

    return _stage(engine.compare, case)


@click.command()
@click.argument("case", type=CASE)
@scratch
@in_and_out
def replay(case: Path) -> int:
    """Run the step log on a copy of the backup and record what each step did."""
    from recovery import engine

    return _stage(engine.replay, case)


@click.command()
@click.argument("case", type=CASE)
@budget
@scratch
@in_and_out
def locate(case: Path) -> int:
    """Find what went wrong and which cells it damaged: assessment.json, damage.parquet."""
    from recovery import engine

    return _stage(engine.locate, case)


@click.command()
@click.argument("case", type=CASE)
@scratch
@in_and_out
def plan(case: Path) -> int:
    """Propose a repair in groups to decide on: plan.json."""
    from recovery import engine

    return _stage(engine.plan, case)


@click.command()
@click.argument("case", type=CASE)
@scratch
@in_and_out
def rehearse(case: Path) -> int:
    """Run the repair on a copy of the current state, with proof: rehearsal.json."""
    from recovery import engine

    return _stage(engine.rehearse, case)


@click.command()
@click.argument("case", type=CASE)
@scratch
@in_and_out
def report(case: Path) -> int:
    """Say how deep and how surely data can be restored: report/depth.*."""
    from recovery import engine

    return _stage(engine.report, case)


def _stage(verb: Callable[..., Result], case: Path) -> int:
    def call(world: World) -> Result:
        return verb(case, world=world)

    return run(call)
