"""One process at a time writes to a case."""

import fcntl
import os
from pathlib import Path

from recovery.case.files import FILE_MODE
from recovery.model import EngineError, Exit

LOCK = ".lock"


def take_lock(path: Path) -> int:
    """An exclusive lock that ends with the process, however it ends. Raises EngineError."""
    try:
        handle = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, FILE_MODE)
    except OSError as error:
        reason = error.strerror or str(error)
        raise EngineError(
            Exit.UNUSABLE, f"the case folder cannot be written to: {reason}", where=str(path)
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
        os.close(handle)
        by = f" by process {holder}" if holder else ""
        raise EngineError(
            Exit.REFUSED,
            f"the case is in use{by}",
            where=str(path),
            hint="wait until it has ended; nothing was changed",
        ) from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle
