"""Everything beside the main way: the demo, where a case stands, what this machine has, schemas,
step logs, shell completion."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from click.shell_completion import get_completion_class

from cli import output
from cli.face import current, in_and_out, run, scratch
from cli.stages import CASE
from recovery.case.documents import KINDS, schema
from recovery.case.result import Result
from recovery.model import Exit, Problem, StepLog

if TYPE_CHECKING:
    from recovery.steps.read import Reading

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("folder", type=CASE, required=False, metavar="[DIR]")
@scratch
@in_and_out
def demo(folder: Path | None) -> int:
    """Build the sample case, run all of it, say where to look.

    DIR gets the evidence, the truth and the case; without it a new folder for temporary files.
    Exit 0 when everything that the evidence can tell was restored and nothing was made wrong.
    """
    from recovery import upkeep

    return run(lambda world: upkeep.demo(folder, world=world))


@click.command()
@click.argument("case", type=CASE)
@in_and_out
def status(case: Path) -> int:
    """Where the case stands, what is open, what to do next; verifies the journal."""
    from recovery import standing

    return run(lambda world: standing.status(case, world=world))


@click.command()
@click.argument("case", type=CASE)
@scratch
@in_and_out
def close(case: Path) -> int:
    """Wipe the rows of a case; hashes, decisions and the journal stay."""
    from recovery import upkeep

    return run(lambda world: upkeep.close(case, world=world))


@click.command()
@scratch
@in_and_out
def doctor() -> int:
    """What this machine has, what is missing, and the command that brings it."""
    from recovery import upkeep

    return run(lambda world: upkeep.doctor(world=world))


@click.command("schema")
@click.argument("kind", type=click.Choice(KINDS), metavar="KIND")
def schema_(kind: str) -> int:
    """Print the JSON Schema of a document.

    KIND: steps, diff, assessment, plan, review, rehearsal, manifest or depth.
    """
    output.write(json.dumps(schema(kind), ensure_ascii=False, indent=1))
    return int(Exit.FINE)


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), metavar="bash|zsh|fish")
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the completion of a shell, to be put where it looks for it.

    bash: dbmend completion bash > ~/.local/share/bash-completion/completions/dbmend
    """
    maker = get_completion_class(shell)
    assert maker is not None, "the shells offered are those that can be completed"
    root = context.find_root().command
    output.write(maker(root, {}, "dbmend", "_DBMEND_COMPLETE").source())
    return int(Exit.FINE)


@click.group()
def steps() -> None:
    """Work on a step log."""


@steps.command()
@click.argument("file", type=CASE)
@in_and_out
def check(file: Path) -> int:
    """Every fault of a step log with its line."""
    from recovery.doubts import examined

    return current().show(checked(str(file), examined(file)))


def checked(file: str, reading: "Reading") -> Result:
    """What `steps check` says about a file."""
    problems = tuple(str(problem) for problem in reading.problems)
    if reading.log is None:
        count = len(problems)
        summary = (*problems, f"{count} {'fault' if count == 1 else 'faults'}")
    else:
        summary = (_contents(file, reading.log),)
    return Result(
        exit=Exit.FINE if reading.log else Exit.UNUSABLE,
        summary=summary,
        warnings=tuple(str(warning) for warning in reading.warnings),
        document={
            "dbmend": "steps-check/1",
            "file": file,
            "usable": reading.log is not None,
            "steps": len(reading.log.steps) if reading.log else None,
            "problems": [_problem(problem) for problem in reading.problems],
            "warnings": [_problem(warning) for warning in reading.warnings],
        },
    )


def _contents(file: str, log: StepLog) -> str:
    prose = sum(1 for step in log.steps if step.action is None)
    covers = "complete" if log.complete else ", ".join(sorted(log.covered)) or "partial"
    return (
        f"{file}: no faults; {len(log.steps)} steps ({prose} in words only), "
        f"{len(log.complaints)} complaints, covers: {covers}"
    )


def _problem(problem: Problem) -> dict[str, str | int]:
    return {"line": problem.line, "message": problem.message, "hint": problem.hint}
