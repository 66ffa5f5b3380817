"""Each ablation takes out of the program what its name says, in a process of its own, and nothing
else; the table compares over the same cases."""

import subprocess
import sys
from dataclasses import replace

import pytest

from benchmarks.ablations import VARIANTS, WHOLE, Outcome, table
from tests.benched import ROOT

LOOK = """
import sys
from recovery.localize import grade, score, search
from recovery.model import FaultClass
from recovery.replay.whatif import SOUND
from tests.ablated import WEAKENED

def state():
    classes = [one.fault_class for one in search.DEVIATIONS]
    return {
        "no-phantom-test": SOUND.phantoms,
        "no-storage-models": FaultClass.STORAGE in classes,
        "no-priors": (score._SUSPECT, score._ROWS_REPORTED) != (0, 0),
        "no-certain-repair": grade.doubt.__name__ == "doubt",
    }

assert all(state().values())
WEAKENED[sys.argv[1]]()
gone = [name for name, there in state().items() if not there]
assert gone == [sys.argv[1]], gone
for hypothesis in search.DEVIATIONS:
    flat = "_flat" in hypothesis.propose.__qualname__
    assert flat == (sys.argv[1] == "no-priors"), hypothesis
"""


@pytest.mark.parametrize("name", VARIANTS)
def test_an_ablation_takes_out_one_part(name: str) -> None:
    command = [sys.executable, "-c", LOOK, name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_program_without_a_part_is_still_the_program() -> None:
    command = [sys.executable, "-m", "tests.ablated", "no-priors", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "dbmend" in done.stdout, done


def test_programs_are_compared_over_the_cases_that_all_of_them_have() -> None:
    good = Outcome("XS a", WHOLE, False, 0, 0, 0, 1.0, 1, 10.0, "")
    bad = replace(good, variant="no-priors", bad=True, harmed=3, lost=2, share=0.5, rank=2)
    alone = replace(good, case="XS b", harmed=9)
    rows = table([good, alone, bad])
    assert rows[2] == "| whole | 1 | 0 | 0 | 0 | 0 | 1.000 | 1 of 1 | 0 | 10.0 |"
    assert rows[3] == "| no-priors | 1 | 1 | 3 | 2 | 0 | 0.500 | 0 of 1 | 0 | 10.0 |"
