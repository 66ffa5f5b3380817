"""One PostgreSQL server on a folder of its own: made, started, stopped. Reachable through its
private socket alone; nothing on the network.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from recovery.model import EngineError, Exit
from recovery.scratch import guardian
from recovery.scratch.binaries import NOBODY, Binaries
from recovery.scratch.places import Folder, boot_id, home, stop_orphan
from recovery.scratch.pristine import KEEPER, lay_out

JAIL, CAPTURE = "jail", "capture"
PORT = 5432  # only names the socket file

# The log must not repeat customers' values: errors (which quote them) stay out of it.
SETTINGS = (
    ("listen_addresses", ""),
    ("port", str(PORT)),
    ("unix_socket_permissions", "0700"),
    ("wal_level", "logical"),
    ("max_wal_senders", "10"),
    ("max_replication_slots", "20"),
    ("max_connections", "60"),
    ("dynamic_shared_memory_type", "mmap"),
    ("shared_buffers", "64MB"),
    ("maintenance_work_mem", "128MB"),
    ("max_wal_size", "1GB"),
    ("checkpoint_timeout", "30min"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "on"),  # decoding sees only what was flushed
    ("autovacuum", "off"),
    ("jit", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("log_min_messages", "log"),
    ("log_min_error_statement", "panic"),
    ("log_error_verbosity", "terse"),
    ("log_checkpoints", "off"),
)
HBA = f"""local all {KEEPER},{JAIL},{CAPTURE} trust
local replication {CAPTURE} trust
"""
START_SECONDS = 60
FAST_STOP_SECONDS = 10  # after a crash of its sessions a server may never end in peace
STOP_SECONDS = 60


class Server:
    """A running server. The guardian process is our child, the server is the guardian's."""

    def __init__(self, folder: Folder, binaries: Binaries) -> None:
        self.folder = folder
        self.binaries = binaries
        self._guardian: subprocess.Popen[bytes] | None = None

    def intact(self) -> bool:
        """Whether the data folder can be started again: whole, of this version, and not torn by
        a crash of the machine (scratch data is not synced)."""
        marker = self.folder.marker()
        torn = (self.folder.data / "postmaster.pid").exists()
        return (
            marker is not None
            and marker.version.split(".")[0] == str(self.binaries.major)
            and not (torn and marker.boot != boot_id())
        )

    def initialize(self) -> None:
        """A new, empty cluster; whatever the folder held is gone."""
        self.folder.empty()
        data = self.folder.data
        lay_out(data, self.binaries, home())
        (data / "pg_hba.conf").write_text(HBA, "utf-8")

    def start(self) -> None:
        """Raises EngineError(COULD_NOT_TELL) with the end of the log when it does not come up."""
        stop_orphan(self.folder.data)
        sockets = self.folder.make_sockets()
        settings = [*SETTINGS, ("unix_socket_directories", str(sockets))]
        arguments = [part for name, value in settings for part in ("-c", f"{name}={value}")]
        root = os.geteuid() == 0
        with self.folder.log.open("ab") as log:
            self.folder.log.chmod(0o600)
            self._guardian = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", str(Path(guardian.__file__))),
                    *((str(NOBODY), str(NOBODY)) if root else ("-1", "-1")),
                    *(self.binaries.program("postgres"), "-D", str(self.folder.data)),
                    *arguments,
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for us; we then stop the server in order
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._guardian.poll() is not None or time.monotonic() > deadline:
                self.stop(at_once=True)
                raise EngineError(
                    Exit.COULD_NOT_TELL,
                    "the scratch server did not start: " + self.last_words(),
                    where=str(self.folder.log),
                )
            time.sleep(0.01)

    def stop(self, *, at_once: bool = False) -> None:
        """Does nothing when it is stopped already."""
        child, self._guardian = self._guardian, None
        if child is None or child.stdin is None:
            return
        try:
            if not at_once:
                child.stdin.write(b"f")
                child.stdin.flush()
                child.wait(FAST_STOP_SECONDS)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass  # closing the pipe stops it the hard way
        with suppress(BrokenPipeError):
            child.stdin.close()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        self.folder.remove_sockets()

    @property
    def running(self) -> bool:
        return self._guardian is not None and self._guardian.poll() is None

    def last_words(self, *, lines: int = 5) -> str:
        """The end of the server's log, for an error message."""
        try:
            with self.folder.log.open("rb") as log:
                log.seek(max(0, self.folder.log.stat().st_size - 8192))
                text = log.read().decode("utf-8", "backslashreplace")
        except OSError:
            return "its log cannot be read"
        return " | ".join(text.strip().splitlines()[-lines:]) or "its log is empty"

    def _is_ready(self) -> bool:
        try:
            lines = (self.folder.data / "postmaster.pid").read_text("utf-8").split("\n")
        except (OSError, ValueError):
            return False
        return len(lines) > 7 and lines[7].strip() == "ready"


def _environment() -> dict[str, str]:
    """No variable of ours reaches the server: neither libpq's nor a locale."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
