"""Is there room on the disk, asked before anything is loaded."""

import shutil
from pathlib import Path

from recovery.model import EngineError, Exit


def ensure_space(path: Path, needed_bytes: int) -> None:
    """Promise that `needed_bytes` are free where `path` is (or will be).

    Raises EngineError(COULD_NOT_TELL) saying how much is free and how much is needed."""
    place = path
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed_bytes:
        raise EngineError(
            Exit.COULD_NOT_TELL,
            f"not enough room on the disk of {path}: {_readable(needed_bytes)} needed,"
            f" {_readable(free)} free",
            where=str(path),
            hint="make room, or choose another place for scratch data",
        )


def _readable(amount_bytes: int) -> str:
    amount = float(amount_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
