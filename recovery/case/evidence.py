"""The manifest of a case: size and SHA-256 of every input, before and after. Inputs are opened
read-only and never written; when one changed, nothing that was found can be relied on."""

import os
import stat
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from recovery.case.files import sha256
from recovery.model import EngineError, Evidence, Exit, Role

NAMES = {
    "backup": "backup",
    "current": "current state",
    "steps": "step log",
    "rules": "rules file",
    "other-backup": "other backup",
    "import": "imported file",
    "restore": "source that was restored from",
}


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the file system says: as long as it says the same, the content is the same. A write
    moves the change time, which no program can set back."""

    inode: int
    size: int
    modified_ns: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One input: as it was when the case was opened, and when it was last looked at."""

    evidence: Evidence
    stamp: Stamp
    after_size: int
    after_sha256: str
    verified_at: datetime


def take(evidence: Evidence, at: datetime) -> Exhibit:
    """Measure an input: `size` and `sha256` of `evidence` are replaced by what the file has.

    Raises EngineError(UNUSABLE) when there is no such file, or none that can be read.
    """
    path = Path(os.path.abspath(evidence.path))
    stamp = _stamp(path, evidence.role)
    try:
        digest = sha256(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise EngineError(
            Exit.UNUSABLE, f"the {NAMES[evidence.role]} cannot be read: {reason}", where=str(path)
        ) from error
    if _stamp(path, evidence.role) != stamp:
        raise EngineError(
            Exit.REFUSED,
            f"the {NAMES[evidence.role]} was written to while it was read",
            where=str(path),
            hint="work on a copy that nobody writes to",
        )
    known = replace(evidence, path=path, size=stamp.size, sha256=digest)
    return Exhibit(known, stamp, stamp.size, digest, at)


def verify(exhibit: Exhibit, at: datetime, *, whole: bool) -> Exhibit:
    """The same input looked at again: with `whole`, or when the file system shows a change, every
    byte is read. Raises EngineError(REFUSED) when the content is not what it was."""
    known = exhibit.evidence
    try:
        stamp = _stamp(known.path, known.role)
        digest = known.sha256
        if whole or stamp != exhibit.stamp:
            digest = sha256(known.path)
    except OSError as error:
        raise _changed(known, f"cannot be read any more: {error.strerror}") from error
    except EngineError as error:
        raise _changed(known, "is no longer there") from error
    if (stamp.size, digest) != (known.size, known.sha256):
        raise _changed(known, "is not what it was when the case was opened")
    return replace(exhibit, stamp=stamp, after_size=stamp.size, after_sha256=digest, verified_at=at)


def _changed(known: Evidence, how: str) -> EngineError:
    return EngineError(
        Exit.REFUSED,
        f"the {NAMES[known.role]} {how}: nothing found so far can be relied on",
        where=str(known.path),
        hint=f"bring back the file with SHA-256 {known.sha256}, or open a new case",
    )


def _stamp(path: Path, role: Role) -> Stamp:
    try:
        found = path.stat()
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise EngineError(
            Exit.UNUSABLE, f"the {NAMES[role]} cannot be read: {reason}", where=str(path)
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise EngineError(Exit.UNUSABLE, f"the {NAMES[role]} is no file", where=str(path))
    return Stamp(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
