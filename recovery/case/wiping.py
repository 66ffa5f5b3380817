"""`dbmend close`: everything in a case folder that holds values of rows goes, what proves the work
stays: hashes, counts, decisions, the journal. Files that dbmend did not make are left and named.

Files are removed, not overwritten: on the disks of today overwriting proves nothing. Copies that
were made elsewhere (`dbmend script -o`, exported reports) are not known here.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recovery.case.files import sha256
from recovery.case.result import Json

CLOSED = "closed.json"
KEPT = frozenset(
    {
        CLOSED,
        "case.toml",
        "journal.jsonl",
        "stages.json",
        "review.json",
        "script.json",
        "diff.json",
        "earlier.json",
        ".lock",
        "evidence",
    }
)
WIPED = (
    "case.duckdb",
    "case.duckdb.wal",
    "case.duckdb.tmp",
    "diff.parquet",
    "damage.parquet",
    "load.json",
    "replay.json",
    "warnings.json",
    "assessment.json",
    "plan.json",
    "rehearsal.json",
    "repair.sql",
    "undo.sql",
    "report",
    "applied",
    "scratch.json",
    "work",
)


@dataclass(frozen=True, slots=True)
class Wiped:
    removed: tuple[str, ...]
    left: tuple[str, ...]  # not made by dbmend


def inventory(case: Path) -> Mapping[str, Json]:
    """Size and hash of every file that will be wiped, taken before."""
    return {"wiped": [_entry(case, name) for name in _files(case)]}


def wipe(case: Path) -> Wiped:
    """Remove them. Raises OSError where the file system does not allow it."""
    removed = _files(case)
    for name in WIPED:
        remove(case / name)
    left = tuple(sorted(entry.name for entry in case.iterdir() if entry.name not in KEPT))
    return Wiped(removed, left)


def remove(path: Path) -> None:
    """A file or a folder with all it holds; links are removed, not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _entry(case: Path, name: str) -> Mapping[str, Json]:
    path = case / name
    return {"path": name, "size": path.stat().st_size, "sha256": sha256(path)}


def _files(case: Path) -> tuple[str, ...]:
    found: list[str] = []
    for name in WIPED:
        path = case / name
        if path.is_dir() and not path.is_symlink():
            for parent, _, names in os.walk(path):
                found += [str(Path(parent, one).relative_to(case)) for one in names]
        elif path.is_file():
            found.append(name)
    return tuple(sorted(found))
