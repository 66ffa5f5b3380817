"""journal.jsonl: who did what when. Each line holds the hash of the one before and its own, so a
line that was changed, removed or put in afterwards is named.

The chain shows what happened inside; that whole lines are missing at the end shows only against
a hash that was kept elsewhere (the head is printed by `status` and stands in the report).
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from recovery.case.files import FILE_MODE, disk_trouble
from recovery.case.result import Json

START = "0" * 64


@dataclass(frozen=True, slots=True)
class Entry:
    number: int
    at: str
    who: str
    what: str
    detail: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Verified:
    """`broken` is the first line that does not fit (0: none), `why` says in words what is wrong;
    `head` is the hash of the last line that fits. `torn`: bytes of a last line that a killed run
    did not finish."""

    entries: tuple[Entry, ...]
    head: str
    broken: int = 0
    why: str = ""
    torn: int = 0

    @property
    def intact(self) -> bool:
        return self.broken == 0


def verify(path: Path) -> Verified:
    """Follow the chain from the first line; stops at the first one that does not fit."""
    content = path.read_bytes() if path.exists() else b""
    whole, _, rest = content.rpartition(b"\n")
    entries: list[Entry] = []
    head = START
    for number, line in enumerate(whole.split(b"\n") if whole else (), start=1):
        try:
            entry, own = _read(line, number, head)
        except _Broken as error:
            return Verified(tuple(entries), head, number, str(error))
        entries.append(entry)
        head = own
    return Verified(tuple(entries), head, torn=len(rest))


def append(
    path: Path, *, at: datetime, who: str, what: str, detail: Mapping[str, Json] | None = None
) -> str:
    """Add a line and sync it; returns its hash. `detail` must hold no values of rows.

    What a killed run left of its last line is cut off first, and said so. Raises EngineError when
    the disk is full. The caller holds the lock of the case.
    """
    known = verify(path)
    lines: list[str] = []
    head, number = known.head, len(known.entries)
    if not known.intact:
        # A broken chain is never healed: it goes on behind the last line as it is.
        head, number = _last(path)
    if known.torn:
        number += 1
        cut: Mapping[str, Json] = {"bytes": known.torn}
        line, head = _line(number, at, "dbmend", "cut an unfinished line", cut, head)
        lines.append(line)
    line, head = _line(number + 1, at, who, what, detail or {}, head)
    lines.append(line)
    try:
        _write(path, "".join(lines).encode(), cut=known.torn)
    except OSError as error:
        raise disk_trouble(error, path) from error
    return head


class _Broken(Exception):
    """A line that does not fit; the message says how."""


def _line(
    number: int, at: datetime, who: str, what: str, detail: Mapping[str, Json], before: str
) -> tuple[str, str]:
    """The line with its end, and its hash."""
    fields: dict[str, Json] = {
        "n": number,
        "at": at.isoformat(),
        "who": who,
        "what": what,
        "detail": detail,
        "before": before,
    }
    own = _hash(fields)
    return _compact({**fields, "hash": own}) + "\n", own


def _compact(fields: Mapping[str, Json]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def _hash(fields: Mapping[str, Json]) -> str:
    return hashlib.sha256(_compact(fields).encode("utf-8", "surrogatepass")).hexdigest()


def _read(line: bytes, number: int, head: str) -> tuple[Entry, str]:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise _Broken("is no JSON") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("hash"), str):
        raise _Broken("is no line of a journal")
    own = str(fields.pop("hash"))
    if _hash(fields) != own:
        raise _Broken("was changed: it does not have the hash it holds")
    if fields.get("before") != head or fields.get("n") != number:
        raise _Broken("does not follow the line before it")
    entry = Entry(
        number, str(fields["at"]), str(fields["who"]), str(fields["what"]), fields["detail"]
    )
    return entry, own


def _last(path: Path) -> tuple[str, int]:
    """Hash and number to go on from behind a broken chain: those of the bytes that are there."""
    lines = path.read_bytes().rpartition(b"\n")[0].split(b"\n")
    return hashlib.sha256(lines[-1]).hexdigest(), len(lines)


def _write(path: Path, content: bytes, *, cut: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, FILE_MODE)
    try:
        end = os.lseek(handle, 0, os.SEEK_END) - cut
        os.ftruncate(handle, end)
        os.lseek(handle, end, os.SEEK_SET)
        written = 0
        while written < len(content):
            written += os.write(handle, content[written:])
        os.fsync(handle)
    finally:
        os.close(handle)
