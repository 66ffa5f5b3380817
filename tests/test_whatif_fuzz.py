"""The fast what-if says of any small history what a replay of all of it says, and what plain runs
without the product say; and an engine that looks at less is found out.

`./go fuzz` does the same with more of them.
"""

from pathlib import Path

import pytest

from recovery.scratch.cluster import Cluster
from tests.histories import make_case
from tests.test_house import product_imports
from tests.whatif_fuzz import FAULTS, UNANSWERED_MAX, WEAKER, caught, fuzz

FIRST = 1000  # below are the seeds of tuning
BASES = 50  # 300 histories: each base goes otherwise in six ways
PARTS = 2  # test processes
WHOLE = 2  # of these six are held against a replay of all of it; in the nightly command all
SEEDS = range(FIRST, FIRST + 2 * BASES, 2)  # three for each schema


def test_the_same_seed_makes_the_same_case() -> None:
    assert make_case(FIRST, FAULTS) == make_case(FIRST, FAULTS)
    assert make_case(FIRST, FAULTS) != make_case(FIRST + 1, FAULTS)


def test_what_makes_histories_and_runs_them_plainly_imports_nothing_of_the_product() -> None:
    here = Path(__file__).parent
    makers = [*here.glob("any_*.py"), here / "histories.py", here / "plain_runs.py"]
    assert len(makers) >= 6
    assert {path.name: product_imports(path) for path in makers if product_imports(path)} == {}


@pytest.mark.parametrize("part", range(PARTS))
def test_all_ways_tell_the_same(scratch: Cluster, tmp_path: Path, part: int) -> None:
    share = BASES // PARTS
    tally = fuzz(scratch, tmp_path, SEEDS[part * share : (part + 1) * share], whole=WHOLE)
    print(tally)
    assert tally.histories == share * FAULTS
    assert [str(finding) for finding in tally.findings] == []
    # Refusing everything, or telling only what leaves no trace, must not pass.
    assert tally.unanswered <= UNANSWERED_MAX, tally
    assert tally.different >= tally.histories // 8
    assert tally.plainly >= tally.histories // 2


# The first seeds, of those from FIRST on, at which an engine that looks at less is wrong.
FOUND_OUT = {
    "phantoms": 1066,
    "old_images": 1066,
    "triggers": 1204,
    "constraints": 1066,
    "predicates": 1029,
    "expressions": 1066,
    "failures": 1066,
    "sequences": 1048,
    "writes": 1020,
    "copies": 1048,
}


@pytest.mark.parametrize("name", WEAKER)
def test_an_engine_that_looks_at_less_is_found_out(
    scratch: Cluster, tmp_path: Path, name: str
) -> None:
    """By one base of six histories each, which the sound engine tells rightly."""
    found = caught(scratch, tmp_path, [FOUND_OUT[name]], {name: WEAKER[name]})
    assert found.keys() == {name}
