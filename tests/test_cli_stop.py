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
    duckdb.execute("SELECT sum(sqrt(a.range + b.range)) FROM range(10000000) a, range(1000000) b")

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
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (
        130,
        "dbmend: interrupted\n  next:  run the same command again: it resumes\n",
    )
