"""Stands between us and a scratch server, so that the server never outlives us.

Run as a program of its own (`python -I -S guardian.py uid gid postgres arguments...`): it starts
the server as its child, without privileges, and waits on standard input. A letter asks for a stop
(`f` fast, `q` at once); the end of the pipe means that we are gone, however we went, and stops the
server at once. Should this program be killed itself, the kernel stops the server.
"""

import ctypes
import os
import select
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> int:
    uid, gid, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    guardian = os.getpid()
    server = os.fork()
    if server == 0:
        _become_server(uid, gid, command, libc, guardian)
    asking = [0, ended]
    while True:
        ready, _, _ = select.select(asking, [], [])
        if 0 in ready:
            letter = os.read(0, 1)
            os.kill(server, signal.SIGINT if letter == b"f" else signal.SIGQUIT)
            if letter == b"":
                asking.remove(0)
        if ended in ready:
            os.read(ended, 64)
            done, status = os.waitpid(server, os.WNOHANG)
            if done:
                return abs(os.waitstatus_to_exitcode(status))


def _become_server(
    uid: int, gid: int, command: list[str], libc: ctypes.CDLL | None, guardian: int
) -> None:
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        if uid >= 0:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        if libc is not None:  # after setuid, which would clear it
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
        if os.getppid() == guardian:
            os.execv(command[0], command)
    finally:
        os._exit(127)


if __name__ == "__main__":
    sys.exit(main())
