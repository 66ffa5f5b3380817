"""What `./go` does: makes the environment of this checkout once, then runs a verb inside it.

Standard library only, for a machine that has python3 and nothing else. The environment is
`.venv`, filled from requirements.lock (wheels alone, every one checked against its hash) by the
pip in third_party/. Which package index is asked is pip's own affair: PIP_INDEX_URL, PIP_CERT,
pip.conf and proxies count as they always do.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(os.path.abspath(__file__)).parent
USAGE = """usage: ./go VERB [ARGUMENTS]

  demo [DIR]            build the sample case, run all of it, say where to look
  test [PYTEST ARGS]    the tests
  check [--all]         format, lint, types, layers, tests, the built wheel; --all: what needs more
  bench [ARGUMENTS]     the benchmarks
  fuzz [ARGUMENTS]      made-up histories against the fast what-if; 10,000 without arguments
  dbmend [ARGUMENTS]    the program itself, from this checkout
"""

if sys.version_info < (3, 11):  # noqa: UP036 - said here, before anything an older Python chokes on
    for _name in ("python3.14", "python3.13", "python3.12", "python3.11"):
        _newer = shutil.which(_name)
        # A version manager leaves commands on the PATH that lead nowhere: try it first.
        if _newer and subprocess.run([_newer, "-c", ""], stderr=subprocess.PIPE).returncode == 0:
            os.execv(_newer, [_newer, "-B", __file__] + sys.argv[1:])  # noqa: RUF005
    print(
        "dbmend needs Python 3.11 or newer; this is %s (%s).\n"  # noqa: UP031
        "Install one, for instance the package python3.11, and run the same command again."
        % (sys.version.split()[0], sys.executable),
        file=sys.stderr,
    )
    sys.exit(2)

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
PIP = ROOT / "third_party" / "pip-26.3-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"
NEEDED_BYTES = 900_000_000


class Stop(Exception):
    """Set-up cannot go on; the text says in plain words why and what to do."""


def main(arguments: list[str]) -> int:
    """Exit status of the verb; 2 when the call or the machine is unusable."""
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if verb in ("", "help", "-h", "--help"):
        print(USAGE, end="")
        return 0 if verb else 2
    try:
        if verb == "check":
            prepare()
            sys.path.insert(0, str(ROOT / ".ci"))
            from check import Checkout, check

            checkout = Checkout(ROOT, PYTHON, pip_command, pip_environment())
            return check(rest, checkout)
        commands = {
            "demo": [str(VENV / "bin" / "dbmend"), "demo"],
            "test": ["-m", "pytest"],
            "bench": ["-m", "benchmarks.run"],
            "fuzz": ["-m", "benchmarks.fuzz_whatif"],
            "dbmend": [str(VENV / "bin" / "dbmend")],
        }
        if verb not in commands:
            print(f"./go: no such verb: {verb}\n\n{USAGE}", end="", file=sys.stderr)
            return 2
        prepare()
    except Stop as stop:
        print(f"dbmend set-up: {stop}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ndbmend set-up: interrupted; the next run starts it afresh", file=sys.stderr)
        return 130
    if verb in ("test", "bench", "fuzz"):
        os.chdir(ROOT)
    os.execv(PYTHON, [str(PYTHON), *commands[verb], *rest])


def prepare() -> None:
    """After this `.venv` holds exactly the lock and this checkout. At once when it already does.

    A killed set-up leaves no stamp and is made afresh by the next run; of several runs at once
    one works and the others wait.
    """
    if is_ready():
        return
    import fcntl

    try:
        guard = open(ROOT / ".venv.lock", "w")  # noqa: SIM115 - held until this process ends
    except OSError as error:
        raise Stop(unwritable(error)) from error
    with guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is setting up; waiting for it")
            fcntl.flock(guard, fcntl.LOCK_EX)
        if is_ready():
            return
        try:
            if stamp("lock") != locked_digest():
                make_environment()
            install_checkout()
        except OSError as error:
            raise Stop(unwritable(error)) from error


def is_ready() -> bool:
    return (
        PYTHON.exists()
        and stamp("lock") == locked_digest()
        and stamp("checkout") == checkout_digest()
    )


def make_environment() -> None:
    say("setting up .venv from requirements.lock (once; about half a minute)")
    if VENV.exists() and not (VENV / "made-by-go").exists():
        raise Stop(f"{VENV} is there and was not made by ./go. Move it away and run this again.")
    free = shutil.disk_usage(ROOT).free
    if free < NEEDED_BYTES:
        raise Stop(
            f"only {free // 10**6} MB are free on the disk of {ROOT}; "
            f"about {NEEDED_BYTES // 10**6} MB are needed. Make room and run this again."
        )
    if hashlib.sha256(PIP.read_bytes()).hexdigest() != PIP_SHA256:
        raise Stop(f"{PIP} is not the file this checkout was made with. Fetch the checkout again.")
    shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir()
    (VENV / "made-by-go").touch()
    try:
        import venv
    except ImportError as error:
        raise Stop(
            "this Python comes without its standard module venv. "
            "Install the full python3 package (python3-minimal is not enough)."
        ) from error
    venv.EnvBuilder(symlinks=True, with_pip=False).create(VENV)
    install(["--require-hashes", "--only-binary=:all:", "--requirement", str(LOCK)])
    write_stamp("lock", locked_digest())


def install_checkout() -> None:
    # Built by the locked hatchling, so nothing is asked of any index here.
    install(["--no-index", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    write_stamp("checkout", checkout_digest())


def install(arguments: list[str]) -> None:
    command = [*pip_command(PYTHON), "install", "--quiet", "--progress-bar=off", *arguments]
    done = subprocess.run(
        command,
        env=pip_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        raise Stop(reason(done.stdout) + "\n\nWhat pip said:\n  " + "\n  ".join(lines[-12:]))


def pip_command(python: Path) -> list[str]:
    """pip out of third_party/, run by and installing for `python`, which needs no pip itself."""
    return [str(python), str(PIP / "pip"), "--disable-pip-version-check", "--no-input"]


def pip_environment() -> dict[str, str]:
    # Where to install is decided here; where from, and through what, is the user's to say.
    own = {"PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV"}
    own |= {"PYTHONHOME", "PYTHONPATH"}
    kept = {name: value for name, value in os.environ.items() if name not in own}
    return {"PIP_RETRIES": "2", **kept, "PIP_USER": "0"}


def reason(output: str) -> str:
    """The plain words for a failed installation, by what pip printed."""
    text = output.lower()
    if "no space left" in text or "disk quota" in text:
        return "the disk is full. Make room and run this again."
    if "do not match the hashes" in text:
        return (
            "a downloaded package is not the one that was locked. It was not installed. "
            "Ask whoever runs your package mirror; try again with PIP_NO_CACHE_DIR=1."
        )
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    network = ("connection", "resolution", "timed out", "proxy", "ssl", "max retries")
    if any(word in text for word in network):
        return (
            "the package index cannot be reached. Check the network; behind a mirror or proxy "
            "set PIP_INDEX_URL, PIP_CERT or HTTPS_PROXY, and run this again."
        )
    if "from versions: none" in text:
        return (
            "the package index cannot be reached, or has nothing ready-made for this machine "
            f"({machine}). Check the network; behind a mirror or proxy set PIP_INDEX_URL, "
            "PIP_CERT or HTTPS_PROXY, and run this again."
        )
    if "no matching distribution" in text:
        return f"the package index lacks a locked version for this machine ({machine})."
    return "the environment could not be installed."


def unwritable(error: OSError) -> str:
    if error.errno == 28:
        return "the disk is full. Make room and run this again."
    return (
        f"cannot write to {error.filename or ROOT}: {error.strerror}. "
        "Run this from a copy of the checkout that belongs to you."
    )


def locked_digest() -> str:
    """Changes when the environment has to be made anew: other packages, Python or place."""
    found = hashlib.sha256(LOCK.read_bytes())
    found.update(repr((str(ROOT), sys.version_info[:2], PIP_SHA256)).encode())
    return found.hexdigest()


def checkout_digest() -> str:
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()


def stamp(name: str) -> str:
    try:
        return (VENV / f"stamp-{name}").read_text()
    except OSError:
        return ""


def write_stamp(name: str, digest: str) -> None:
    half = VENV / f"stamp-{name}.new"
    with open(half, "w") as out:
        out.write(digest)
        out.flush()
        os.fsync(out.fileno())
    half.replace(VENV / f"stamp-{name}")


def say(text: str) -> None:
    print(f"dbmend set-up: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
