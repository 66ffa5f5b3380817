"""Files of a case folder: written whole or not at all, for the owner alone."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recovery.model import EngineError, Exit

FOLDER_MODE = 0o700
FILE_MODE = 0o600
BLOCK = 1 << 20
TEMPORARY = ".part"


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary name to write to; on leaving it is synced and becomes `path` in one move.

    When the block raises, or the process is killed, `path` is what it was before. Raises
    EngineError(COULD_NOT_TELL) when the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        os.chmod(temporary, FILE_MODE)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise disk_trouble(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def create(path: Path, content: bytes) -> None:
    """A new file, from its first moment for the owner alone. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def disk_trouble(error: OSError, path: Path) -> EngineError:
    """A failed write as what a person can act on."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EngineError(
            Exit.COULD_NOT_TELL,
            "the disk is full",
            where=str(path),
            hint="free some space and run the same command again: it resumes",
        )
    reason = error.strerror or str(error)
    return EngineError(Exit.COULD_NOT_TELL, f"cannot be written: {reason}", where=str(path))


def sha256(path: Path) -> str:
    """Hex digest of the content; the file is opened read-only. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


OWN_FOLDERS = ("evidence", "report", "work", "applied")


def seal(case: Path) -> None:
    """0700 and 0600 on what a case folder is made of; links and other folders are left alone."""
    os.chmod(case, FOLDER_MODE)
    for folder in (case, *(case / name for name in OWN_FOLDERS)):
        if not folder.is_dir() or folder.is_symlink():
            continue
        os.chmod(folder, FOLDER_MODE)
        for path in folder.iterdir():
            if path.is_file() and not path.is_symlink():
                os.chmod(path, FILE_MODE)
