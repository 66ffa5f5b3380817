"""evidence/manifest.json: the inputs of a case as a document."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import cast

from recovery.case.evidence import Exhibit, Stamp
from recovery.case.reading import Reader, damaged
from recovery.case.result import Json
from recovery.model import Evidence, Role

ROLES = ("backup", "current", "steps", "rules", "other-backup", "import", "restore")


def name(position: int, exhibits: tuple[Exhibit, ...]) -> str:
    """`backup`, `current`, `steps`; other backups are `backup-2` and on, files that steps name
    `import-1` and `restore-1` and on."""
    role = exhibits[position].evidence.role
    count = Counter(item.evidence.role for item in exhibits[: position + 1])[role]
    match role:
        case "other-backup":
            return f"backup-{count + 1}"
        case "import" | "restore":
            return f"{role}-{count}"
        case _:
            return role if count == 1 else f"{role} {count}"


def named(exhibits: tuple[Exhibit, ...]) -> tuple[tuple[str, Exhibit], ...]:
    return tuple((name(position, exhibits), item) for position, item in enumerate(exhibits))


def hashes(exhibits: tuple[Exhibit, ...]) -> dict[str, str]:
    return {key: item.evidence.sha256 for key, item in named(exhibits)}


def described(exhibit: Exhibit, kind: str, detail: str, taken_at: str) -> Exhibit:
    at = datetime.fromisoformat(taken_at) if taken_at else None
    known = replace(exhibit.evidence, kind=kind, detail=detail, taken_at=at)
    return replace(exhibit, evidence=known)


def to_json(exhibits: tuple[Exhibit, ...]) -> Mapping[str, Json]:
    return {"evidence": [_entry(item) for item in exhibits]}


def _entry(item: Exhibit) -> Mapping[str, Json]:
    known = item.evidence
    stamp = item.stamp
    return {
        "role": known.role,
        "path": str(known.path),
        "kind": known.kind,
        "detail": known.detail,
        "taken_at": known.taken_at.isoformat() if known.taken_at else None,
        "before": {"size": known.size, "sha256": known.sha256},
        "after": {"size": item.after_size, "sha256": item.after_sha256},
        "verified_at": item.verified_at.isoformat(),
        "file": {
            "inode": stamp.inode,
            "size": stamp.size,
            "modified_ns": stamp.modified_ns,
            "changed_ns": stamp.changed_ns,
        },
    }


def read(document: Reader) -> tuple[Exhibit, ...]:
    return tuple(_exhibit(entry) for entry in document.many("evidence"))


def _exhibit(entry: Reader) -> Exhibit:
    role = entry.text("role")
    if role not in ROLES:
        raise damaged(entry.place, f"'{role}' is no role")
    before, after, file = entry.one("before"), entry.one("after"), entry.one("file")
    known = Evidence(
        role=cast(Role, role),
        path=Path(entry.text("path")),
        size=before.whole("size"),
        sha256=before.text("sha256"),
        kind=entry.text("kind"),
        detail=entry.text("detail"),
        taken_at=entry.moment_or_none("taken_at"),
    )
    stamp = Stamp(
        file.whole("inode"),
        file.whole("size"),
        file.whole("modified_ns"),
        file.whole("changed_ns"),
    )
    return Exhibit(
        known, stamp, after.whole("size"), after.text("sha256"), entry.moment("verified_at")
    )


def differences(known: tuple[Exhibit, ...], given: tuple[Exhibit, ...]) -> tuple[str, ...]:
    """In words, which inputs are others by content; none: the case was made from these."""
    before = {key: item.evidence for key, item in named(known)}
    now = {key: item.evidence for key, item in named(given)}
    return tuple(
        _difference(key, before.get(key), now.get(key))
        for key in dict.fromkeys((*before, *now))
        if _digest(before.get(key)) != _digest(now.get(key))
    )


def _difference(name: str, before: Evidence | None, now: Evidence | None) -> str:
    match before, now:
        case None, Evidence(path=path):
            return f"{name} {path} is new"
        case Evidence(path=path), None:
            return f"{name} {path} is not given now"
        case Evidence(sha256=old), Evidence(path=path, sha256=new):
            return f"{name} {path} differs (SHA-256 {new[:12]}…, was {old[:12]}…)"
        case _:
            return name


def _digest(evidence: Evidence | None) -> str:
    return evidence.sha256 if evidence else ""
