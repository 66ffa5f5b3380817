"""The cases that are run when nobody names them: some of everything, and always the same."""

from collections import Counter

import pytest

from benchmarks.choice import chosen
from benchmarks.faults import CLASSES, CONTROLS
from benchmarks.run import parse_options
from benchmarks.sample import COUNTS, Space, absent, sample, strata
from benchmarks.suites import SUITES

SPACE = Space(SUITES)


@pytest.mark.parametrize("size", ("XXS", "XS", "S"))
@pytest.mark.parametrize("seed", (1, 2, 102, 103))
def test_a_sample_has_some_of_everything(size: str, seed: int) -> None:
    plans = sample(SPACE, size, seed, COUNTS[size])
    assert absent(plans, SPACE) == []
    assert len({plan.name for plan in plans}) == COUNTS[size]
    found = strata(plans)
    assert max(found["suite"].values()) - min(found["suite"].values()) <= 1
    assert found["class"]["legitimate-only"] == round(0.1 * COUNTS[size])
    assert found["class"]["nothing-changed"] == round(0.05 * COUNTS[size])
    assert found["level"]["G0"] > found["level"]["G2"] > found["level"]["G3"] > 0


def test_a_sample_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    names = [[one.name for one in sample(SPACE, "XS", seed, 120)] for seed in (102, 102, 103)]
    assert names[0] == names[1]
    assert not set(names[0]) & set(names[2])


def test_classes_meet_different_suites_and_shares() -> None:
    plans = sample(SPACE, "XS", 102, 120)
    for name in CLASSES:
        mine = [plan for plan in plans if plan.fault_class == name]
        assert len({plan.suite.name for plan in mine}) >= 3, name
        assert len({plan.missing for plan in mine}) >= 2, name
    pairs = Counter((plan.suite.name, plan.fault_class) for plan in plans)
    assert max(n for (_, name), n in pairs.items() if name not in CONTROLS) <= 2


def test_what_a_sample_leaves_out_is_said() -> None:
    plans = sample(SPACE, "XS", 102, 10)
    assert "class storage" in absent(plans, SPACE)


def test_who_names_cases_gets_all_of_them_and_who_names_none_gets_a_sample() -> None:
    def count(*arguments: str) -> int:
        return len(chosen(parse_options(arguments))[0])

    assert count() == COUNTS["XS"]
    assert count("--size", "S", "--seeds", "102-103") == 2 * COUNTS["S"]
    assert count("--suites", "bank", "--classes", "skipped", "--levels", "G0", "G2") == 6
    assert count("--all") == len(SUITES) * (3 * len(CLASSES) + 3)
    skewed = ("--suites", "bank", "pagila", "--classes", "skipped", "--shares", "0")
    assert count(*skewed, "--skew", "0.8", "1.1") == 3  # a sample database has no skew
    assert count("--suites", "bank", "--modes", "executed", "--sample", "7") == 7
    drawn = chosen(parse_options(("--suites", "bank", "--modes", "executed", "--sample", "9")))[0]
    assert {(one.suite.name, one.mode) for one in drawn if one.fault_class in CLASSES} == {
        ("bank", "executed")
    }
