"""A new, empty cluster. `initdb` takes a second of processor time and makes the same every time:
it is run once per installation, and what it made is kept as one archive, beside the scratch data.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recovery.model import EngineError, Exit
from recovery.scratch.binaries import NOBODY, Binaries

KEEPER = "keeper"
_DATA = "data"
_KEPT = 3  # archives of so many server programs


def lay_out(data: Path, binaries: Binaries, store: Path) -> None:
    """Make the data folder of a cluster whose superuser is the keeper; `data` must not exist. The
    archive is kept in `store`.

    Raises EngineError(COULD_NOT_TELL) when it could not be made."""
    with _told(data):
        archive = store / f"pristine-{_stamp(binaries)}.tar"
        if not (archive.exists() and _unpack(archive, data)):
            shutil.rmtree(data, ignore_errors=True)
            _make(archive, binaries)
            if not _unpack(archive, data):
                raise OSError(f"{archive} cannot be read")


def _stamp(binaries: Binaries) -> str:
    """Another one for another server program, and for another way of making it. Copies of a
    program share theirs."""
    found = (binaries.folder / "postgres").stat()
    program = (binaries.version, str(found.st_mtime_ns), str(found.st_size))
    said = "|".join([*program, *_options(binaries)])
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _options(binaries: Binaries) -> tuple[str, ...]:
    locale: tuple[str, ...] = ("--locale=C", "--lc-ctype=C.UTF-8")
    if binaries.major >= 17:
        locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
    own = (f"--username={KEEPER}", "--encoding=UTF8", "--auth=trust")
    return (*own, *locale, "--no-sync", "--no-instructions")


def _unpack(archive: Path, data: Path) -> bool:
    """False when the archive is not whole."""
    try:
        with tarfile.open(archive) as file:
            file.extractall(data.parent, numeric_owner=True, filter="tar")
    except (tarfile.TarError, EOFError):
        return False
    return (data / "PG_VERSION").exists()


def _make(archive: Path, binaries: Binaries) -> None:
    building = Path(tempfile.mkdtemp(prefix="pristine-", dir=archive.parent))
    whole = building.with_suffix(".new")
    root = os.geteuid() == 0
    try:
        if root:
            os.chown(building, NOBODY, NOBODY)
        made = subprocess.run(
            [binaries.program("initdb"), f"--pgdata={building}", *_options(binaries)],
            capture_output=True,
            text=True,
            errors="backslashreplace",
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            user=NOBODY if root else None,
            group=NOBODY if root else None,
            extra_groups=[] if root else None,
            check=False,
        )
        if made.returncode:
            raise OSError(made.stderr.strip())
        with whole.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w") as archived:
                archived.add(building, _DATA)
            os.fsync(file.fileno())
        whole.rename(archive)
        _thin_out(archive.parent)
    finally:
        shutil.rmtree(building, ignore_errors=True)
        whole.unlink(missing_ok=True)


def _thin_out(store: Path) -> None:
    """What was made for programs that have been replaced since goes."""
    made = sorted((one.stat().st_mtime_ns, one) for one in store.glob("pristine-????????????.tar"))
    for _, archive in made[:-_KEPT]:
        archive.unlink(missing_ok=True)


@contextmanager
def _told(data: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EngineError(
            Exit.COULD_NOT_TELL,
            f"a scratch server could not be set up: {error}",
            where=str(data),
            hint="see whether the disk is full, the folder writable and the user known here",
        ) from error
