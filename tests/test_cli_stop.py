"""Ctrl-C inside a library that turns it into an error of its own is still Ctrl-C."""

import signal
import subprocess
import sys
import time

PROGRAM = """
import sys
import duckdb
import rich_click as click
import cli.main as program

@click.command()
def busy():
    print("busy", flush=True)
    # Signals are looked at by the thread that works between blocks of rows: it must be ours.
    duckdb.execute("SET threads = 1")
    duckdb.execute("SELECT sum(sqrt(range)) FROM range(1000000000000)")

program.app.add_command(busy)
program.app.commands["busy"] = busy
sys.argv = ["dbmend", "busy"]
program.main()
"""


def test_a_long_query_is_interrupted():
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        try:
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()  # nothing once it has ended; or else leaving the block waits for ever
    assert (process.returncode, err) == (
        130,
        "dbmend: interrupted\n  next:  run the same command again: it resumes\n",
    )
