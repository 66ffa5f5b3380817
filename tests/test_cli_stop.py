"""Ctrl-C inside a library that turns it into an error of its own is still Ctrl-C; and it does not
wait for the end of a query that other threads work on."""

import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import sys
import rich_click as click
import cli.main as program

@click.command()
def busy():
    from diffing.duck import connect
    connection = connect(":memory:", {{"threads": {threads}}})
    connection.execute("CREATE TABLE n AS SELECT range AS i FROM range(1000000)")
    print("busy", flush=True)
    connection.execute("SELECT sum(sqrt(a.i + b.i)) FROM n a, n b")

program.app.add_command(busy)
program.app.commands["busy"] = busy
sys.argv = ["dbmend", "busy"]
program.main()
"""


# With one thread it is the program's own that works and looks for signals between blocks of rows.
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_long_query_is_interrupted(threads, number):
    program = PROGRAM.format(threads=threads)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        try:
            time.sleep(0.5)
            asked = time.monotonic()
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
            took = time.monotonic() - asked
        finally:
            process.kill()  # nothing once it has ended; or else leaving the block waits for ever
    # Where the interruption meets the command line first, an empty line ends the line of the ^C.
    assert (process.returncode, err.lstrip("\n")) == (
        130,
        "dbmend: interrupted\n  next:  run the same command again: it resumes\n",
    )
    assert took < 10  # a second or two; the query itself would go on for the better part of an hour


def test_a_query_that_nobody_asked_to_stop_goes_on():
    """A signal for somebody else breaks nothing off."""
    program = """
import os, signal, time
import cli.main as program
from diffing.duck import connect
signal.signal(signal.SIGUSR1, lambda *_: None)
program._listen()
connection = connect(":memory:", {})
os.kill(os.getpid(), signal.SIGUSR1)
time.sleep(0.5)
print(connection.execute("SELECT count(*) FROM range(1000000)").fetchone(), flush=True)
os._exit(0)  # what libraries say about themselves at the end is of no interest
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout, done.stderr) == ("(1000000,)\n", "")
