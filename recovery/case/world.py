"""What a verb is given beside the case: the clock, where progress goes, where scratch may be."""

from dataclasses import dataclass
from pathlib import Path

from recovery.model import Clock, Progress


@dataclass(frozen=True, slots=True)
class World:
    """`scratch_place`, `pg_bin`, `dsn` as page 3's options; None: the embedded server in its
    usual place. A DSN may hold a password: it is never written anywhere."""

    progress: Progress
    clock: Clock
    scratch_place: Path | None = None
    pg_bin: Path | None = None
    dsn: str | None = None
    budget_seconds: float | None = None  # how long faults may be searched for; None: to the end


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files a case is made from. `others`: more backups of the same database; the step log
    starts from `backup`."""

    backup: Path
    current: Path
    steps: Path | None = None
    others: tuple[Path, ...] = ()
