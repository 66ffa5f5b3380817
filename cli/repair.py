"""From the plan to the repaired database: decide, agree, script, apply, undo."""

from pathlib import Path
from typing import Literal, cast

import rich_click as click

from cli.face import address, in_and_out, run, scratch
from cli.stages import CASE

WORDS = ("approve", "reject")


@click.command()
@click.argument("case", type=CASE)
@click.argument("words", nargs=-1, required=True, metavar="GROUP... approve|reject")
@click.option("--by", required=True, metavar="NAME", help="Who decides.")
@click.option("--note", default="", metavar="TEXT", help="Why.")
@click.option(
    "--accept",
    multiple=True,
    metavar="HAZARD",
    help="A hazard that is accepted, or all. May be repeated.",
)
@in_and_out
def decide(case: Path, words: tuple[str, ...], by: str, note: str, accept: tuple[str, ...]) -> int:
    """Approve or reject groups of the plan.

    GROUP is a group's id, `safe` (all that are graded proven or consistent) or `all`.
    """
    groups, word = words[:-1], words[-1]
    if word not in WORDS:
        raise click.UsageError(f"the last word must be approve or reject, this is '{word}'")
    if not groups:
        raise click.UsageError("name at least one group, or safe, or all")
    who = _name(by)
    from recovery import repair

    return run(
        lambda world: repair.decide(
            case,
            groups=groups,
            approve=word == "approve",
            by=who,
            note=note,
            accept=accept,
            world=world,
        )
    )


@click.command()
@click.argument("case", type=CASE)
@click.option("--by", required=True, metavar="NAME", help="Who agrees for the customer.")
@in_and_out
def agree(case: Path, by: str) -> int:
    """Record the customer's consent to the report as it is now; a new report needs a new one."""
    who = _name(by)
    from recovery import repair

    return run(lambda world: repair.agree(case, by=who, world=world))


@click.command()
@click.argument("case", type=CASE)
@click.option(
    "-o",
    "--output",
    type=CASE,
    metavar="DIR",
    help="Where to write a copy of the scripts. They hold customers' values.",
)
@click.option(
    "--on-moved",
    type=click.Choice(["refuse", "skip"]),
    default="refuse",
    show_default=True,
    help="What the script does about rows that were changed since the rehearsal.",
)
@click.option(
    "--keep-saved", is_flag=True, help="Keep the old values in a schema of the target as well."
)
@scratch
@in_and_out
def script(case: Path, output: Path | None, on_moved: str, keep_saved: bool) -> int:
    """Write repair.sql and undo.sql of what is approved, after rehearsing exactly that text."""
    from recovery import repair

    moved = cast(Literal["refuse", "skip"], on_moved)
    return run(
        lambda world: repair.script(
            case, output=output, keep_saved=keep_saved, on_moved=moved, world=world
        )
    )


@click.command()
@click.argument("case", type=CASE)
@click.option(
    "--to", required=True, metavar="DSN", callback=address, help="The database to repair."
)
@in_and_out
def apply(case: Path, to: str) -> int:
    """Run the reviewed script, byte for byte, on the target.

    Exit 0: applied, or applied already; 4: refused, nothing was changed; 3: not known, run it
    again to learn it.
    """
    from recovery import repair

    return run(lambda world: repair.apply(case, to=to, world=world))


@click.command()
@click.argument("case", type=CASE)
@click.option(
    "--to", required=True, metavar="DSN", callback=address, help="The database that was repaired."
)
@in_and_out
def undo(case: Path, to: str) -> int:
    """Take back the repair that was applied last; rows changed since are never overwritten."""
    from recovery import repair

    return run(lambda world: repair.undo(case, to=to, world=world))


def _name(by: str) -> str:
    """A decision without a name is none."""
    if not by.strip():
        raise click.UsageError("--by needs a name")
    return by.strip()
