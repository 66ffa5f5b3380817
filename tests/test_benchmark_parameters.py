"""What a tool says was executed is judged by what it does, not by how it is written."""

from collections.abc import Iterator

import pytest

from benchmarks.generator import Case
from benchmarks.parameters import NOTHING, RIGHT, SILENT, WRONG, parameters
from tests.benched import Bench, plan, webshops


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with webshops(tmp_path_factory.mktemp("cases")) as made:
        yield made


def said(bench: Bench, case: Case, step: str, **told: object) -> str:
    (word,) = parameters(
        bench.server, case, [{"step": step, "class": case.faults[0].fault_class, **told}]
    )
    return word


def test_a_statement_is_right_when_it_does_the_same(bench: Bench) -> None:
    case = bench.make(plan("missing-where", 0.0, 1))
    ran = next(one.executed for one in case.history.happenings if one.id == "fault")
    assert " WHERE " not in ran
    for right in (ran, f"{ran} -- all of them", f"{ran.replace('UPDATE', 'update')} WHERE id > 0"):
        assert said(bench, case, "fault", statement=right) == RIGHT, right
    for wrong in (f"{ran} WHERE id > 7", ran.replace("+ ", "- "), "what was meant", "SELECT 1"):
        assert said(bench, case, "fault", statement=wrong) == WRONG, wrong
    assert said(bench, case, "fault") == SILENT
    assert said(bench, case, "1", statement=ran) == ""  # another step


def test_what_no_statement_says_is_read_from_the_parameters(bench: Bench) -> None:
    repeated = bench.make(plan("repeated", 0.0, 1))
    times = dict(repeated.faults[0].strike.parameters)["times"]
    assert said(bench, repeated, "fault", parameters={"times": times}) == RIGHT
    assert said(bench, repeated, "fault", parameters={"times": "9"}) == WRONG
    order = bench.make(plan("wrong-order", 0.0, 1))
    first, second = order.faults[0].steps
    swapped = {"first": second, "second": first}
    assert said(bench, order, first, parameters=swapped) == RIGHT
    assert said(bench, order, first, parameters=swapped | {"first": "1"}) == WRONG
    flipped = bench.make(plan("storage", 0.0, 4))
    assert said(bench, flipped, "", parameters={"model": "bits"}) == RIGHT
    assert said(bench, flipped, "", parameters={"model": "stale"}) == WRONG
    skipped = bench.make(plan("skipped", 0.0, 1))
    assert said(bench, skipped, "fault") == NOTHING
