"""Where scratch data lives, whose it is, and what dead runs left there.

<place>/<owner>/            one cluster
    lock                    held (flock) for as long as somebody works with it
    cluster.json            written last: a folder without it is not whole
    case                    the case folder it belongs to, if any
    data/  server.log
<home>/s/<name>/            sockets, apart because a socket's path has at most 107 bytes
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from recovery.model import EngineError, Exit
from recovery.scratch.binaries import NOBODY

EPHEMERAL = "run-"  # owners of one run only: removed at the end, or by the next run
OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Marker:
    """What cluster.json says: made by which server version, in which life of the machine."""

    version: str
    boot: str


def home() -> Path:
    """The folder of this user for everything scratch; private, made when absent.

    Raises EngineError(REFUSED) when somebody else made it first."""
    folder = Path("/var/tmp") / f"dbmend-{os.geteuid()}"
    return _private(folder)


def claim_place(place: Path | None) -> Path:
    """The folder that holds clusters; made when absent, and open to the server's user."""
    if place is None:
        return home()
    place = place.absolute()
    place.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        closed = [p for p in (place, *place.parents) if not p.stat().st_mode & 0o001]
        if closed:
            raise EngineError(
                Exit.UNUSABLE,
                f"scratch data cannot live in {place}: {closed[-1]} is closed to the unprivileged"
                " user that the server runs as",
                where=str(closed[-1]),
                hint="choose another place, or none for the one in /var/tmp",
            )
    return place


class Folder:
    """One cluster's folder, locked for us until `release`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def log(self) -> Path:
        return self.path / "server.log"

    @property
    def sockets(self) -> Path:
        name = hashlib.sha256(str(self.path).encode()).hexdigest()[:12]
        return home() / "s" / name

    @property
    def ephemeral(self) -> bool:
        return self.path.name.startswith(EPHEMERAL)

    def marker(self) -> Marker | None:
        try:
            found = json.loads((self.path / "cluster.json").read_text("utf-8"))
            return Marker(version=str(found["version"]), boot=str(found["boot"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def mark(self, version: str) -> None:
        fresh = self.path / "cluster.json.new"
        fresh.write_text(json.dumps(asdict(Marker(version, boot_id()))), "utf-8")
        fresh.rename(self.path / "cluster.json")

    def belongs_to(self, case: Path) -> None:
        (self.path / "case").write_text(str(case.absolute()), "utf-8")

    def make_sockets(self) -> Path:
        self.remove_sockets()
        _private(self.sockets.parent)
        self.sockets.with_suffix(".of").write_text(str(self.path), "utf-8")
        self.sockets.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(self.sockets, NOBODY, NOBODY)
        return self.sockets

    def empty(self) -> None:
        """Everything but the lock is deleted."""
        for name in ("cluster.json", "cluster.json.new", "server.log"):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.data, ignore_errors=True)
        self.remove_sockets()

    def remove_sockets(self) -> None:
        shutil.rmtree(self.sockets, ignore_errors=True)
        self.sockets.with_suffix(".of").unlink(missing_ok=True)

    def release(self, *, remove: bool) -> None:
        if self._lock < 0:
            return
        if remove:
            self.empty()
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1


def take_folder(place: Path, owner: str) -> Folder:
    """The owner's folder, ours alone until released; what dead owners left is cleared away.

    Raises EngineError(REFUSED) when another process works with it."""
    assert OWNER.fullmatch(owner), owner
    gate = os.open(place / ".gate", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # One at a time: a sweep that looks at our folder must not be taken for its owner.
        fcntl.flock(gate, fcntl.LOCK_EX)
        _sweep(place)
        folder = _try_lock(place / owner)
    finally:
        os.close(gate)
    if folder is None:
        raise EngineError(
            Exit.REFUSED,
            f"the scratch server of '{owner}' is in use by another process",
            where=str(place / owner),
            hint="wait until it is done",
        )
    return folder


def _sweep(place: Path) -> None:
    """Stop the servers of dead owners and remove what nobody will come back for."""
    for path in sorted(place.iterdir()):
        if not (path / "lock").is_file():
            continue
        folder = _try_lock(path)
        if folder is None:
            continue
        stop_orphan(folder.data)
        folder.remove_sockets()
        folder.release(remove=folder.ephemeral or _case_is_gone(path))
    for note in (home() / "s").glob("*.of"):
        try:
            gone = not Path(note.read_text("utf-8")).exists()
        except FileNotFoundError:  # another run sweeps too, and was faster
            continue
        if gone:
            shutil.rmtree(note.with_suffix(""), ignore_errors=True)
            note.unlink(missing_ok=True)


def stop_orphan(data: Path) -> None:
    """Stop the server of this data folder if one runs; the pid file alone is not believed."""
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text("utf-8").split("\n")[0])
    except (OSError, ValueError):
        return
    if _is_server_of(pid, data):
        deadline = time.monotonic() + 15
        os.kill(pid, signal.SIGQUIT)
        while _is_server_of(pid, data):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
    else:
        # The process is another one by now; a server would take it for its predecessor.
        pid_file.unlink(missing_ok=True)


def boot_id() -> str:
    """Differs between two lives of the machine; '' where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
    except OSError:
        return ""


def _private(folder: Path) -> Path:
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    seen = folder.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
        raise EngineError(
            Exit.REFUSED,
            f"{folder} exists and belongs to somebody else",
            where=str(folder),
            hint="remove it, or choose another place for scratch data",
        )
    # The server's user passes through but cannot list.
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    return folder


def _try_lock(path: Path) -> Folder | None:
    while True:
        _private(path)
        try:
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue  # removed between the two lines by a process that is done with it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        try:
            same = os.path.samestat(os.fstat(lock), os.stat(path / "lock"))
        except FileNotFoundError:
            same = False
        if same:
            return Folder(path, lock)
        os.close(lock)


def _case_is_gone(path: Path) -> bool:
    try:
        return not Path((path / "case").read_text("utf-8")).exists()
    except OSError:
        return False


def _is_server_of(pid: int, data: Path) -> bool:
    if Path("/proc/self/cwd").exists():
        try:
            state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
            return state != "Z" and os.readlink(f"/proc/{pid}/cwd") == str(data)
        except OSError:
            return False
    answer = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return str(data) in answer.stdout
