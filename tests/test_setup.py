"""`./go` on a machine where something is wrong, interrupted, or done twice at once.

The checkout is copied, so that the environment these tests run in is never touched.
"""

import importlib.util
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
NEEDED = ("go", "bootstrap.py", "pyproject.toml", "requirements.lock", "LICENSE", "README.md")
FOLDERS = ("third_party", "cli", "recovery", "repair_rules", "diffing")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "check out"
    place.mkdir()
    for name in NEEDED:
        shutil.copy(ROOT / name, place / name)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    return place


@pytest.fixture
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "bootstrap.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def go(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(checkout / "go"), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def seconds_of_children() -> float:
    """Processor time, which does not depend on what else the machine is doing."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_without_a_verb_it_says_what_there_is(checkout: Path):
    said = go(checkout)
    assert said.returncode == 2
    assert said.stdout.startswith("usage: ./go VERB [ARGUMENTS]\n")


def test_an_unknown_verb_makes_nothing(checkout: Path):
    said = go(checkout, "tets")
    assert (said.returncode, said.stderr.splitlines()[0]) == (2, "./go: no such verb: tets")
    assert not (checkout / ".venv").exists()


def test_no_network_is_said_in_plain_words_and_leaves_nothing_that_counts(checkout: Path):
    said = go(
        checkout,
        "test",
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_CONFIG_FILE=os.devnull,
        PIP_FIND_LINKS="",
        PIP_RETRIES="0",
        PIP_NO_CACHE_DIR="1",
    )
    assert said.returncode == 2
    assert "dbmend set-up: the package index cannot be reached" in said.stderr
    assert not list((checkout / ".venv").glob("stamp-*"))


def test_a_foreign_environment_is_not_deleted(checkout: Path):
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "precious").touch()
    said = go(checkout, "test")
    assert said.returncode == 2
    assert "was not made by ./go. Move it away" in said.stderr
    assert (checkout / ".venv" / "precious").exists()


def test_a_folder_that_cannot_be_written_is_named(checkout: Path):
    # In a place that everybody may enter: as root the command is run by nobody.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as shared:
        Path(shared).chmod(0o755)
        place = Path(shutil.copytree(checkout, Path(shared) / "checkout"))
        place.chmod(0o555)
        nobody = 65534 if os.geteuid() == 0 else None
        said = subprocess.run(
            [str(place / "go"), "test"], user=nobody, capture_output=True, text=True, check=False
        )
        place.chmod(0o755)
    assert said.returncode == 2
    assert f"cannot write to {place / '.venv.lock'}" in said.stderr


def test_a_changed_installer_is_refused(checkout: Path):
    (wheel,) = (checkout / "third_party").glob("pip-*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    said = go(checkout, "test")
    assert said.returncode == 2
    assert "is not the file this checkout was made with" in said.stderr


@pytest.mark.parametrize(
    ("output", "plain"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full."),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", "a downloaded package is not the one"),
        ("NewConnectionError: Connection refused", "the package index cannot be reached."),
        ("Temporary failure in name resolution", "the package index cannot be reached."),
        ("SSLCertVerificationError", "the package index cannot be reached."),
        ("No matching distribution found for x (from versions: none)", "the package index cannot"),
        ("No matching distribution found for x==2 (from versions: 1)", "the package index lacks"),
        ("something else", "the environment could not be installed."),
    ],
)
def test_what_pip_printed_becomes_plain_words(bootstrap: ModuleType, output: str, plain: str):
    assert bootstrap.reason(output).startswith(plain)


def test_where_to_install_is_not_the_users_settings_business(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_TARGET", "elsewhere")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("PIP_INDEX_URL", "the mirror")
    assert bootstrap.pip_environment() == {
        "PIP_RETRIES": "2",
        "PIP_INDEX_URL": "the mirror",
        "PIP_USER": "0",
    }


def test_a_prepared_checkout_starts_at_once():
    before = seconds_of_children()
    said = go(ROOT, "test", "--version")
    assert said.returncode == 0
    assert seconds_of_children() - before < 2


@pytest.mark.needs_more("a package index")
def test_killed_then_twice_at_once_then_at_once(checkout: Path):
    command = [str(checkout / "go"), "test", "--version"]
    first = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    while not (checkout / ".venv" / "bin" / "python").exists():
        assert first.poll() is None
        time.sleep(0.05)
    time.sleep(1.5)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not list((checkout / ".venv").glob("stamp-*"))

    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [one.communicate() for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert sum("another run is setting up" in errors for _, errors in said) == 1

    before = seconds_of_children()
    assert go(checkout, "test", "--version").returncode == 0
    assert seconds_of_children() - before < 2
    installed = [str(checkout / ".venv" / "bin" / "python"), "-m", "pip", "--version"]
    assert subprocess.run(installed, capture_output=True, check=False).returncode != 0
